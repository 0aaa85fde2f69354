"""Where `relay send` sends when no server is named: the configured relay, as a user of its own.

That user is made once; its password is kept in `keys/send.json`, as private as the master key beside it (mode 0600).
Revoke it like any other credential: the next `relay send` makes a new one.
"""

import json
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from relay.errors import ConfigurationError
from relay.runtime.cli.options import DEFAULT_ACCOUNT
from relay.runtime.cli.send_client import Server
from relay.runtime.cli.site import Site, open_site

if TYPE_CHECKING:
    from relay.runtime.config.incoming import Listener

NAME = "relay send"
FILE_MAX_BYTES = 4096


def configured_server(
    config: Path | None, *, port: int, tls: str, login: tuple[str, str], timeout_seconds: float
) -> Server:
    """Return the first submission listener that fits `port` and `tls` (0 and "" fit any), with `login` or our own."""
    site = open_site(config)
    listener = _listener(site, port, tls)
    trusted = listener.trust is not None and listener.tls == "none"
    username, secret = login if login[0] or trusted else own_login(site)
    return Server(
        host=_reachable(listener.address),
        port=listener.port,
        tls=listener.tls,
        username=username,
        password=secret,
        context=pinned_context(site.config.tls.certificate),
        timeout_seconds=timeout_seconds,
    )


def _listener(site: Site, port: int, tls: str) -> "Listener":
    for one in site.config.listeners:
        if one.kind == "submission" and port in (0, one.port) and tls in ("", one.tls):
            return one
    raise ConfigurationError("The configuration has no such submission listener; name a server with --host.")


def _reachable(address: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 (compared, not bound)


def pinned_context(certificate: Path) -> ssl.SSLContext:
    """Return a context that believes the relay's certificate, whatever name is on it, and the usual authorities."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(certificate)
    except OSError as error:
        raise ConfigurationError(f"{certificate} cannot be read: {error.strerror or error}.") from error
    context.check_hostname = False
    return context


def own_login(site: Site) -> tuple[str, str]:
    """Return user name and password of the relay's own test user; make it when there is none."""
    file = site.data_dir / "keys" / "send.json"
    known = _read(file)
    with site.catalog() as catalog:
        credential = catalog.credentials.get(known[0]) if known else None
        if known and credential is not None and credential.revoked_ms is None:
            return known
        made = catalog.credentials.create_smtp_user(DEFAULT_ACCOUNT, NAME)
    site.audit("credentials.create", DEFAULT_ACCOUNT, {"username": made.credential.username, "name": NAME})
    login = (made.credential.username, made.secret)
    _write(file, login)
    return login


def _read(file: Path) -> tuple[str, str] | None:
    try:
        with file.open("rb") as stream:
            value = json.loads(stream.read(FILE_MAX_BYTES))
        return str(value["username"]), str(value["password"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, login: tuple[str, str]) -> None:
    temporary = file.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump({"username": login[0], "password": login[1]}, stream)
    temporary.replace(file)
