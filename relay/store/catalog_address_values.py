"""Source addresses as the catalog keeps them: what may be written, and rows as values. Pure."""

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.errors import UsageError
from relay.mail.address import BadAddress, normal_domain
from relay.model.pool import (
    PERCENT_MAX,
    WEIGHT_MAX,
    AddressRange,
    Origin,
    Reverse,
    ReverseDns,
    SourceAddress,
    WarmUp,
)
from relay.store.catalog_tables import Row


@dataclass(frozen=True, slots=True)
class Declared:
    """An address as the configuration has it; None where it says nothing."""

    address: str
    helo_name: str | None = None
    weight: int | None = None
    warmup: WarmUp | None = None
    warmup_percent: int | None = None

    @property
    def text(self) -> str:
        """What was said, to be compared with what is said later."""
        return json.dumps([self.helo_name, self.weight, self.warmup, self.warmup_percent])


def canonical(address: str) -> str:
    """Return an address in the form it is kept in. Raise UsageError for what no mail can leave from."""
    try:
        read = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        raise UsageError(f"{address[:80]!r} is no IPv4 or IPv6 address.") from None
    if read.is_unspecified or read.is_multicast or getattr(read, "scope_id", None):
        raise UsageError(f"No mail can leave from {read}.")
    return str(read)


def checked_helo(name: str) -> str:
    """Return a name for EHLO, "" for the relay's."""
    if not name:
        return ""
    domain = normal_domain(name)
    if isinstance(domain, BadAddress) or "_" in domain:
        raise UsageError(f"{name[:80]!r} is no host name.")
    return domain


def checked_weight(weight: int) -> int:
    """Return a weight: 0 lets an address rest."""
    if not 0 <= weight <= WEIGHT_MAX:
        raise UsageError(f"A weight is 0 to {WEIGHT_MAX}, not {weight}.")
    return weight


def checked_percent(percent: int) -> int:
    """Return how far an address is warmed up."""
    if not 0 <= percent <= PERCENT_MAX:
        raise UsageError(f"A percentage is 0 to {PERCENT_MAX}, not {percent}.")
    return percent


def addresses_of(rows: Iterable[Row], ranges: Sequence[AddressRange]) -> list[SourceAddress]:
    """Return the addresses of rows of `list_source_addresses`, marked where they are in a range of their account."""
    networks = [(network_of(one.network), one.account) for one in ranges]
    return [_address_of(row, networks) for row in rows]


def _address_of(row: Row, networks: Sequence[tuple["Network", str]]) -> SourceAddress:
    (address, account, pool, helo_name, weight, warmup, percent, started_ms, origin, reserve, absent_ms, suspended,
     created_ms, state, names, helo, error, checked_ms, next_ms, managed) = row  # fmt: skip
    return SourceAddress(
        address=address,
        account=account,
        pool=pool,
        helo_name=helo_name,
        weight=weight,
        warmup=WarmUp(warmup),
        warmup_percent=percent,
        warmup_started_ms=started_ms,
        origin=Origin(origin),
        reserve=bool(reserve),
        managed=bool(managed),
        absent_ms=absent_ms,
        suspended=suspended,
        registered=any(owner == account and inside(address, network) for network, owner in networks),
        reverse=ReverseDns(Reverse(state), tuple(json.loads(names)), bool(helo), error, checked_ms, next_ms),
        created_ms=created_ms,
    )


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network_of(text: str) -> Network:
    """Return a range in CIDR form. Raise UsageError."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise UsageError(f"{text[:80]!r} is no range such as 192.0.2.0/24.") from None


def inside(address: str, network: Network) -> bool:
    """Say whether an address lies in a range."""
    return ipaddress.ip_address(address) in network
