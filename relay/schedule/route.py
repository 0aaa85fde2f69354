"""Where mail for a domain goes: a route that the operator wrote, or the mail exchangers of the domain. Pure."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class TlsMode(StrEnum):
    """TLS to a next hop; `REQUIRE` also verifies the certificate on routes.

    `IMPLICIT` does too, and begins with the first byte (RFC 8314 section 3.3); it is for routes only.
    """

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    REQUIRE = "require"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `domain` is exact, `*.example` for every name below it, or `*`; `host` a name or an IP address."""

    domain: str
    host: str
    port: int = 25
    tls: TlsMode = TlsMode.OPPORTUNISTIC
    username: str = ""
    password: str = field(default="", repr=False)
    several_recipients: bool = False  # `return_path: original`


class RouteTable:
    """Finds the closest route: exact, then the longest wildcard, then `*`; the first one where two are equal."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._routes: dict[str, Route] = {}
        for route in routes:
            self._routes.setdefault(route.domain.lower(), route)

    def find(self, domain: str) -> Route | None:
        """Return the route for a recipient domain, None for mail exchangers."""
        routes = self._routes
        if not routes:
            return None
        found = routes.get(domain)
        rest = domain
        while found is None and rest:
            rest = rest.partition(".")[2]
            found = routes.get(f"*.{rest}") if rest else routes.get("*")
        return found


def unroutable(domain: str) -> str:
    """Return why mail for a domain can never be routed by DNS, "" when it may be (RFC 5321 2.3.5, RFC 6761 6)."""
    if domain.startswith("["):
        return "" if literal_address(domain) else "Address literal is malformed"
    last = domain.rstrip(".").rpartition(".")[2]
    if last in ("localhost", "invalid") or "." not in domain.rstrip("."):
        return "Recipient domain is not a public domain name"
    return ""


def literal_address(domain: str) -> str:
    """Return the IP address of an address literal such as `[192.0.2.1]`, "" when it is none (RFC 5321 4.1.3)."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return ""
    text = domain[1:-1]
    if text.lower().startswith("ipv6:"):
        text = text[5:]
    return ip_address(text)


def ip_address(text: str) -> str:
    """Return an IP address in its normal form, "" when the text is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
