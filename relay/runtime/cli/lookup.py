"""DNS questions of commands over the configured name servers: blocking ones, and the relay's own resolver."""

from typing import TYPE_CHECKING

import dns.exception
import dns.nameserver
import dns.resolver

from relay.net.resolver import DnsResolver
from relay.policy.dkim import publishes
from relay.runtime import settings
from relay.runtime.clock import SteadyClock

if TYPE_CHECKING:
    from relay.runtime.config.model import Config


def resolver(config: "Config") -> dns.resolver.Resolver:
    """Return a resolver that asks the configured name servers, or those of the machine."""
    servers = config.dns.nameservers
    made = dns.resolver.Resolver(configure=not servers)
    made.lifetime = config.dns.timeout
    if servers:
        made.nameservers = [dns.nameserver.Do53Nameserver(one.host, one.port) for one in servers]
    return made


def asking(config: "Config") -> DnsResolver:
    """Return the relay's own resolver for a command that waits on an event loop; it counts nothing."""
    return DnsResolver(settings.resolver_settings(config), SteadyClock())


def texts(config: "Config", name: str) -> list[str] | None:
    """Return the TXT values of a name, [] when it has none, None when DNS gave no answer."""
    try:
        found = resolver(config).resolve(name, "TXT", search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException:
        return None
    return [b"".join(record.strings).decode("utf-8", "replace") for record in found]


def key_state(config: "Config", name: str, public_txt: str) -> str:
    """Return "published", "missing", "different" or "unknown" for the record of a DKIM key."""
    found = texts(config, name)
    if found is None:
        return "unknown"
    if publishes(found, public_txt):
        return "published"
    return "different" if found else "missing"
