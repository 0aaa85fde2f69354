"""The relay of `relay demo`: made once in a directory, kept after that, moved to other ports when asked.

Everything it needs stays on this machine: a catch-all route to the sink, the sink's DNS as the only name server.
`demo.json` beside the configuration remembers the ports and the SMTP login (mode 0600), so that the next run can
show the same lines to copy.
"""

import json
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.errors import ConfigurationError
from relay.runtime.cli.options import DEFAULT_ACCOUNT, PORT_MAX
from relay.runtime.cli.site import read_site
from relay.runtime.setup import Ports, init

DOMAIN = "example.test"
INBOX = "inbox.test"
PORT_BASE_DEFAULT = 2500
PORT_BASE_LEAST = 1024
PORT_BASE_MOST = PORT_MAX - 90
HOST = "127.0.0.1"
_MEMORY_MAX_BYTES = 65536


@dataclass(frozen=True, slots=True)
class DemoPorts:
    """The six ports of a demonstration, counted from a base."""

    base: int

    @property
    def submission(self) -> int:
        """Submission with STARTTLS."""
        return self.base + 87

    @property
    def submission_tls(self) -> int:
        """Submission with TLS from the first byte."""
        return self.base + 65

    @property
    def mx(self) -> int:
        """Bounces that come back."""
        return self.base + 25

    @property
    def metrics(self) -> int:
        """/metrics and /healthz."""
        return self.base + 90

    @property
    def sink(self) -> int:
        """The mailbox that all mail goes to."""
        return self.base + 26

    @property
    def dns(self) -> int:
        """The sink's DNS."""
        return self.base + 53

    def all(self) -> tuple[int, ...]:
        """All of them, always in the same order."""
        return (self.submission, self.submission_tls, self.mx, self.metrics, self.sink, self.dns)


@dataclass(frozen=True, slots=True)
class Demo:
    """A demonstration that is ready to start."""

    directory: Path
    ports: DemoPorts
    username: str
    password: str
    created: bool

    @property
    def config(self) -> Path:
        """The relay's configuration."""
        return self.directory / "relay.yaml"


def prepare(directory: Path, port_base: int) -> Demo:
    """Make the relay of a demonstration, or take up the one that is there. `port_base` 0: as it was, or 2500."""
    directory = directory.absolute()
    if port_base and not PORT_BASE_LEAST <= port_base <= PORT_BASE_MOST:
        raise ConfigurationError(
            f"The ports are counted from a number from {PORT_BASE_LEAST} to {PORT_BASE_MOST}, not {port_base}."
        )
    config = directory / "relay.yaml"
    if not config.exists():
        return _make(directory, DemoPorts(port_base or PORT_BASE_DEFAULT))
    kept = _recall(directory)
    ports = DemoPorts(int(kept.get("port_base", PORT_BASE_DEFAULT)))
    if port_base and port_base != ports.base:
        ports = _move(config, ports, DemoPorts(port_base))
    username, password = str(kept.get("username", "")), str(kept.get("password", ""))
    if not _works(config, username):
        username, password = _new_login(config)
    demo = Demo(directory, ports, username, password, created=False)
    _remember(demo)
    return demo


def require_free(demo: Demo) -> None:
    """Raise ConfigurationError that names every port in use and says how to choose others."""
    taken = [port for port in demo.ports.all() if not _is_free(port)]
    if not taken:
        return
    named = ", ".join(f"{HOST}:{port}" for port in taken)
    verb = "is" if len(taken) == 1 else "are"
    raise ConfigurationError(
        f"{named} {verb} in use by another program (or by another `make run`). Stop it, or count the ports from "
        f"another number: make run PORT_BASE={demo.ports.base + 1000}"
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _make(directory: Path, ports: DemoPorts) -> Demo:
    made = init(
        directory,
        hostname=f"relay.{DOMAIN}",
        ports=Ports(ports.submission, ports.submission_tls, ports.mx, ports.metrics),
        settings={
            "dns": {"nameservers": [f"{HOST}:{ports.dns}"]},
            "routes": [{"domain": "*", "smarthost": f"{HOST}:{ports.sink}"}],
        },
    )
    with read_site(made.config).catalog() as catalog:
        catalog.identities.create(DEFAULT_ACCOUNT, DOMAIN)
        catalog.identities.set_verified(DEFAULT_ACCOUNT, DOMAIN)
    demo = Demo(directory, ports, made.credentials.smtp_username, made.credentials.smtp_password, created=True)
    _remember(demo)
    return demo


def _move(config: Path, old: DemoPorts, new: DemoPorts) -> DemoPorts:
    """Write other ports into the configuration, wherever it names the old ones; the rest of the file stays."""
    table = {str(before): str(after) for before, after in zip(old.all(), new.all(), strict=True)}
    pattern = re.compile(r"(?<![\d.])(" + "|".join(table) + r")(?!\d)")
    text = pattern.sub(lambda found: table[found.group(1)], config.read_text())
    temporary = config.with_suffix(".new")
    temporary.write_text(text)
    temporary.chmod(config.stat().st_mode & 0o777)
    temporary.replace(config)
    return new


def _works(config: Path, username: str) -> bool:
    with read_site(config).catalog() as catalog:
        credential = catalog.credentials.get(username) if username else None
        if catalog.identities.get(DEFAULT_ACCOUNT, DOMAIN) is None:
            catalog.identities.create(DEFAULT_ACCOUNT, DOMAIN)
        catalog.identities.set_verified(DEFAULT_ACCOUNT, DOMAIN)
    return credential is not None and credential.revoked_ms is None


def _new_login(config: Path) -> tuple[str, str]:
    with read_site(config).catalog() as catalog:
        made = catalog.credentials.create_smtp_user(DEFAULT_ACCOUNT, "relay demo")
    return made.credential.username, made.secret


def _recall(directory: Path) -> dict[str, Any]:
    try:
        with (directory / "demo.json").open("rb") as stream:
            value = json.loads(stream.read(_MEMORY_MAX_BYTES))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _remember(demo: Demo) -> None:
    path = demo.directory / "demo.json"
    temporary = demo.directory / "demo.json.new"
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump({"port_base": demo.ports.base, "username": demo.username, "password": demo.password}, stream)
    temporary.replace(path)
