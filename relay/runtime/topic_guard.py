"""Which addresses notifications may be posted to, from the configuration (TOPIC-140)."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network

from relay.net.guard import Guard
from relay.runtime.config.model import Config


def trusts(config: Config) -> Callable[[str], bool]:
    """Return what says whether an address lies in a network with consumers of the operator's own."""
    networks = [ip_network(network) for network in config.topics.private_networks]

    def trusted(address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found.version == network.version and found in network for network in networks)

    return trusted


def judge_of(config: Config) -> Callable[[str], str]:
    """Return what says why an address must not be connected to, "" when it may be: none of the relay's own."""
    own = {entry.address for entry in config.listeners} - {"0.0.0.0", "::"}  # noqa: S104 (names no address)
    guard, trusted = Guard(own), trusts(config)
    return lambda address: "" if trusted(address) else guard.judge(address)
