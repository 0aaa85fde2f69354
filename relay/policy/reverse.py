"""What the reverse DNS of a source address is worth to receivers (RFC 1912 section 2.1, RFC 8601 section 2.7.3).

Receivers ask for the PTR record of the address, then whether the host it names has that address. The name in EHLO
should be such a host as well (RFC 5321 section 4.1.1.1).
"""

import ipaddress
from collections.abc import Mapping

from relay.model.pool import Reverse, ReverseDns
from relay.policy.records import Answer

NAMES_MAX = 5  # PTR records that are looked at
GOOD_MS = 3600 * 1000
BAD_MS = 600_000
UNANSWERED_MS = 60_000
ERROR_MAX_CHARACTERS = 200


def pointer(address: str) -> str:
    """Return the name of the PTR record of an address, without a final dot."""
    return ipaddress.ip_address(address).reverse_pointer


def names_of(ptr: Answer) -> tuple[str, ...]:
    """Return the names that PTR records say, in lower case."""
    return tuple(dict.fromkeys(value.rstrip(".").lower() for value in ptr.values if value.strip(".")))[:NAMES_MAX]


def judge(address: str, ptr: Answer, forward: Mapping[str, Answer], helo_name: str, now_ms: int) -> ReverseDns:
    """Return what was found. `forward` has the addresses of each of the names; `helo_name` is the name in EHLO."""
    names = names_of(ptr)
    if ptr.failure:
        return ReverseDns(
            Reverse.UNAVAILABLE, (), error=_short(ptr.failure), checked_ms=now_ms, next_ms=now_ms + UNANSWERED_MS
        )
    if not names:
        return ReverseDns(Reverse.MISSING, checked_ms=now_ms, next_ms=now_ms + BAD_MS)
    confirmed = [name for name in names if _has(forward.get(name), address)]
    if confirmed:
        helo = helo_name.lower() in confirmed
        wait_ms = GOOD_MS if helo else BAD_MS
        return ReverseDns(Reverse.CONFIRMED, names, helo=helo, checked_ms=now_ms, next_ms=now_ms + wait_ms)
    failure = next((one.failure for name in names if (one := forward.get(name)) is not None and one.failure), "")
    state = Reverse.UNAVAILABLE if failure else Reverse.UNCONFIRMED
    wait_ms = UNANSWERED_MS if failure else BAD_MS
    return ReverseDns(state, names, error=_short(failure), checked_ms=now_ms, next_ms=now_ms + wait_ms)


def _has(answer: Answer | None, address: str) -> bool:
    wanted = ipaddress.ip_address(address)
    return answer is not None and any(_address(value) == wanted for value in answer.values)


def _address(text: str) -> object:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _short(text: str) -> str:
    return text[:ERROR_MAX_CHARACTERS]
