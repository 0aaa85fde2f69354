"""Options that several commands share, and the readers of values such as HOST:PORT."""

import ipaddress
import sys
from pathlib import Path
from typing import Annotated

import typer

from relay.errors import UsageError

PORT_MAX = 65535

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file [RELAY_CONFIG, ./relay.yaml, /etc/relay/relay.yaml].",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, one object a line.")]
AccountOption = Annotated[
    str, typer.Option("--account", metavar="ID", help="The account, 12 digits.", show_default="000000000001")
]
DEFAULT_ACCOUNT = "000000000001"


def confirm(question: str) -> None:
    """Ask on standard error, and leave when the answer is no. Raise UsageError when there is nobody to ask."""
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        raise UsageError("Nothing was done, because there is nobody to ask: give --yes.") from None
    if not agreed:
        raise typer.Abort


def read_endpoint(text: str, *, default_host: str = "127.0.0.1") -> tuple[str, int]:
    """Return host and port of "HOST:PORT", "[IPV6]:PORT", ":PORT" or "PORT"."""
    host, colon, port = text.rpartition(":")
    if not colon:
        host = ""
    host = host.removeprefix("[").removesuffix("]") or default_host
    if not (port.isascii() and port.isdigit()) or int(port) > PORT_MAX:
        raise UsageError(f"{text!r} is no HOST:PORT.")
    return host, int(port)


def endpoint(host: str, port: int) -> str:
    """Return "HOST:PORT", with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Say whether a host as written can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
