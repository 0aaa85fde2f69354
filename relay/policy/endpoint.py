"""Endpoints of subscriptions over HTTP: read strictly, so that nobody else reads another host in them (TOPIC-140).

Refused are other schemes, hosts that are neither a domain name nor an address in its one canonical form (`0x7f.1`,
`2130706433` and `127.1` are none), fragments, backslashes, blanks and whatever is not ASCII. A user and a password
are taken out of the address and never shown (TOPIC-139).
"""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from relay.mail.address import BadAddress, normal_domain

ENDPOINT_MAX_CHARS: Final = 2048
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
PORT_MAX: Final = 65535

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:(?P<login>[^@/?#\[\]]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?(?P<target>(?:[/?][!-~]*)?)\Z",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[!-~]+\Z")
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WebEndpoint:
    """Where to post: `host` is a domain name in lower case or an address; `target` the path with its query."""

    scheme: str
    host: str
    port: int
    target: str
    login: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """The host when it is an address, else ""."""
        return self.host if ":" in self.host or _NUMERIC.match(self.host.rpartition(".")[2]) else ""

    @property
    def authority(self) -> str:
        """What the Host header says: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """The address without user and password."""
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_web_endpoint(text: str, scheme: str) -> WebEndpoint | str:
    """Return the endpoint that a text names, of a scheme (`http` or `https`), or a sentence that says why not."""
    if len(text) > ENDPOINT_MAX_CHARS:
        return f"An endpoint has at most {ENDPOINT_MAX_CHARS} characters."
    match = _URL.match(text) if _PLAIN.match(text) and "\\" not in text and "#" not in text else None
    if match is None or match["scheme"].lower() != scheme or scheme not in DEFAULT_PORTS:
        return f"The endpoint of the protocol {scheme} is an address such as {scheme}://host.example/path, in ASCII."
    host = _host(match["host"])
    if host is None:
        return "The host of the endpoint is neither a domain name nor an address in its usual form."
    port = int(match["port"] or DEFAULT_PORTS[scheme])
    if not 0 < port <= PORT_MAX:
        return f"The port of the endpoint is from 1 to {PORT_MAX}."
    login = match["login"] or ""
    if login and ":" not in login:
        return "The endpoint names a user without a password: write user:password@ before the host."
    decoded = ":".join(unquote(part) for part in login.split(":", 1)) if login else ""
    if not decoded.isprintable():
        return "User and password of the endpoint have no control characters."
    target = match["target"] or "/"
    return WebEndpoint(scheme, host, port, target if target.startswith("/") else f"/{target}", decoded)


def _host(text: str) -> str | None:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            return None
    if _NUMERIC.match(text.rstrip(".").rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            return None
    domain = normal_domain(text.rstrip("."))
    return None if isinstance(domain, BadAddress) else domain
