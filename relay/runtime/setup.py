"""What `relay init` does: a directory with a configuration, a certificate, keys and a first account.

Everything is checked before anything is made, the configuration file is written last, and when a step fails all that
was made is removed: the directory holds a relay that can start, or what it held before.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from relay.errors import ConfigurationError, UsageError
from relay.runtime.config.load import parse
from relay.runtime.config.model import Config
from relay.runtime.config.values import parse_hostname
from relay.runtime.privileges import find_user
from relay.runtime.setup_certificate import self_signed
from relay.runtime.setup_files import Created
from relay.signing.secrets import encode_master_key, new_master_key
from relay.store.catalog import open_catalog
from relay.store.catalog_accounts import DEFAULT_ACCOUNT

CONFIG_NAME = "relay.yaml"
FALLBACK_HOSTNAME = "relay.localhost"
_HEAD = """\
# Written by `relay init`. Every other setting has a default: see `docs/reference/configuration.md`.
# Check a change with `relay check`, then send HUP to the running relay.
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the listeners that `init` writes, all on loopback."""

    submission: int = 2587
    submission_tls: int = 2465
    mx: int = 2525
    metrics: int = 9090


@dataclass(frozen=True, slots=True)
class FirstCredentials:
    """The first account and its secrets, which nothing can show again."""

    account: str
    smtp_username: str
    smtp_password: str
    access_key_id: str
    access_key_secret: str


@dataclass(frozen=True, slots=True)
class InitResult:
    """What `init` made."""

    config: Path
    certificate: Path
    hostname: str
    credentials: FirstCredentials

    def as_json(self) -> dict[str, Any]:
        """Return the object that `relay init --json` prints."""
        made = self.credentials
        return {
            "config": str(self.config),
            "account": made.account,
            "smtp": {"username": made.smtp_username, "password": made.smtp_password},
            "access_key": {"id": made.access_key_id, "secret": made.access_key_secret},
            "certificate": str(self.certificate),
        }


def init(
    directory: Path,
    *,
    hostname: str = "",
    sandbox: bool = False,
    ports: Ports | None = None,
    data_dir: Path | None = None,
    run_as: str = "",
    settings: Mapping[str, Any] | None = None,
) -> InitResult:
    """Make a relay in `directory`, which may exist.

    `data_dir`: default `data` inside the directory. `run_as`: a user of this machine that root gives the data to.
    `settings`: further top-level settings for the file, as plain values. Raise UsageError when there is a relay
    already or a value cannot work, ConfigurationError when something cannot be written.
    """
    directory = directory.absolute()
    name = _hostname(hostname)
    text = _HEAD + _yaml(_settings(name, ports or Ports(), data_dir, run_as, settings or {}))
    file = directory / CONFIG_NAME
    config = _checked(text, file)
    _refuse_existing(file, config)
    created = Created(find_user(run_as, None) if run_as else None)
    try:
        created.directory(directory, 0o755)
        credentials = _make_data(created, config, sandbox=sandbox)
        _make_certificate(created, config)
        created.give_away()
        created.file(file, text.encode(), 0o640)
        created.share(file)  # a reload reads it as `run_as`
    except OSError as error:
        created.undo()
        raise ConfigurationError(f"Nothing was made: {error.filename or directory}: {error.strerror}.") from error
    except BaseException:
        created.undo()
        raise
    return InitResult(file, config.tls.certificate, name, credentials)


def first_credentials(data_dir: Path, master_key: bytes, *, sandbox: bool) -> FirstCredentials:
    """Make the default account in a fresh catalog, with an access key and an SMTP user."""
    with open_catalog(data_dir, master_key) as catalog:
        catalog.accounts.create(DEFAULT_ACCOUNT, sandbox=sandbox)
        key = catalog.credentials.create_access_key(DEFAULT_ACCOUNT, "made by relay init")
        user = catalog.credentials.create_smtp_user(DEFAULT_ACCOUNT, "made by relay init")
    return FirstCredentials(
        DEFAULT_ACCOUNT, user.credential.username, user.secret, key.credential.username, key.secret
    )


def _hostname(given: str) -> str:
    if given:
        try:
            return parse_hostname(given)
        except ValueError as error:
            raise UsageError(f"The host name {error}.") from None
    own = socket.gethostname()
    try:
        return parse_hostname(own) if "." in own else FALLBACK_HOSTNAME
    except ValueError:
        return FALLBACK_HOSTNAME


def _settings(
    hostname: str, ports: Ports, data_dir: Path | None, run_as: str, further: Mapping[str, Any]
) -> dict[str, Any]:
    listeners = (
        {"kind": "submission", "port": ports.submission, "tls": "starttls"},
        {"kind": "submission", "port": ports.submission_tls, "tls": "implicit"},
        {"kind": "mx", "port": ports.mx},
        {"kind": "metrics", "port": ports.metrics},
    )
    written = {
        "hostname": hostname,
        "data_dir": str(data_dir.absolute()) if data_dir else "data",
        "listeners": [
            {"kind": entry["kind"], "address": "127.0.0.1", **{k: v for k, v in entry.items() if k != "kind"}}
            for entry in listeners
        ],
        "tls": {"certificate": "tls/cert.pem", "key": "tls/key.pem"},
        "events": [{"name": "all", "type": "file", "path": "events.jsonl", "types": "all"}],
    }
    if run_as:
        written["run_as"] = {"user": run_as}
    return {**written, **further}


def _yaml(settings: Mapping[str, Any]) -> str:
    """Return one line a setting, with one line an entry in lists of groups."""
    lines = []
    for key, value in settings.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines.append(f"{key}:")
            lines += [f"  - {_flow(entry)}" for entry in value]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return str(text).removesuffix("...\n").strip()


def _checked(text: str, file: Path) -> Config:
    try:
        return parse(text, file).config
    except ConfigurationError as error:
        raise UsageError(f"Nothing was made, because the configuration would not work:\n{error}") from None


def _refuse_existing(file: Path, config: Config) -> None:
    for path in (file, config.data_dir / "catalog.db", config.data_dir / "keys" / "master.key", config.tls.key):
        if os.path.lexists(path):
            raise UsageError(f"{path} exists already, and init never overwrites; choose another directory.")


def _make_data(created: Created, config: Config, *, sandbox: bool) -> FirstCredentials:
    created.directory(config.data_dir, 0o700)
    created.directory(config.data_dir / "keys", 0o700)
    master_key = new_master_key()
    created.file(config.data_dir / "keys" / "master.key", encode_master_key(master_key), 0o600)
    for name in ("catalog.db", "suppression.db"):
        created.expect(config.data_dir, name)
    return first_credentials(config.data_dir, master_key, sandbox=sandbox)


def _make_certificate(created: Created, config: Config) -> None:
    certificate, key = self_signed(config.hostname)
    created.directory(config.tls.certificate.parent, 0o755)
    created.file(config.tls.key, key, 0o600)
    created.file(config.tls.certificate, certificate, 0o644)
