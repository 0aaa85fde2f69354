"""How source addresses are shown: as a table, as fields, and for programs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relay.runtime.cli.output import iso, when, write_fields, write_table

if TYPE_CHECKING:
    from relay.model.pool import SourceAddress


def address_table(addresses: "Sequence[SourceAddress]", *, empty: str) -> None:
    """Write a table of addresses."""
    write_table(
        ("Address", "Account", "Pool", "Weight", "Warm-up", "State", "Reverse DNS"),
        (
            (
                one.address,
                one.account or ("reserve" if one.reserve else "all"),
                one.pool_name or "-",
                one.weight,
                warm_up(one),
                state(one),
                reverse(one),
            )
            for one in addresses
        ),
        empty=empty,
    )


def address_fields(one: "SourceAddress", hostname: str) -> None:
    """Write one address, a field a line."""
    write_fields(
        {
            "address": one.address,
            "account": one.account or ("the relay's reserve" if one.reserve else "all"),
            "pool": one.pool_name or "-",
            "EHLO name": one.helo_name or f"{hostname} (the relay's)",
            "weight": one.weight,
            "warm-up": warm_up(one),
            "state": state(one),
            "reverse DNS": reverse(one),
            "PTR names": ", ".join(one.reverse.names) or "-",
            "looked at": when(one.reverse.checked_ms),
            "named by": "delivery.source_addresses" if one.origin == "config" else "a command",
            "own range": "yes" if one.registered else "no",
            "added": when(one.created_ms),
        }
    )


def warm_up(one: "SourceAddress") -> str:
    """Return how an address is warmed up."""
    return f"{one.warmup_percent} %" if one.warmup == "percent" else str(one.warmup)


def state(one: "SourceAddress") -> str:
    """Return whether mail can leave from an address, and why not."""
    from relay.schedule.pools import unusable  # noqa: PLC0415

    why = unusable(one)
    if one.absent_ms:
        return f"not of this host since {when(one.absent_ms)}"
    return why.removeprefix("is ").replace("has no reverse", "waits for reverse") if why else "in use"


def reverse(one: "SourceAddress") -> str:
    """Return what DNS says, in a few words."""
    found = one.reverse
    if found.state == "confirmed":
        return "ok" if found.helo else f"{found.names[0]}, not the EHLO name"
    return f"no answer ({found.error})" if found.state == "unavailable" else str(found.state)


def as_object(one: "SourceAddress") -> dict[str, Any]:
    """Return an address for programs."""
    return {
        "address": one.address,
        "account": one.account or None,
        "pool": one.pool_name or None,
        "reserve": one.reserve,
        "managed": one.managed,
        "ehloName": one.helo_name or None,
        "weight": one.weight,
        "warmup": str(one.warmup),
        "warmupPercent": one.warmup_percent if one.warmup == "percent" else None,
        "warmupStarted": iso(one.warmup_started_ms),
        "origin": str(one.origin),
        "absentSince": iso(one.absent_ms),
        "suspended": one.suspended or None,
        "ownRange": one.registered,
        "reverseDns": {
            "state": str(one.reverse.state),
            "names": list(one.reverse.names),
            "ehloNameFits": one.reverse.helo,
            "error": one.reverse.error or None,
            "checked": iso(one.reverse.checked_ms),
        },
        "created": iso(one.created_ms),
    }
