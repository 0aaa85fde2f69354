"""One look at the reverse DNS of a source address: by the office, `relay address check` and `relay doctor`."""

import asyncio
from collections.abc import Awaitable, Callable

from relay.model.pool import ReverseDns
from relay.policy.records import Answer
from relay.policy.reverse import judge, names_of, pointer

Ask = Callable[[str, str], Awaitable[Answer]]


async def look(ask: Ask, address: str, helo_name: str, now_ms: int) -> ReverseDns:
    """Ask for the PTR record, then for the addresses of the names it says."""
    ptr = await ask(pointer(address), "PTR")
    names = names_of(ptr)
    kind = "AAAA" if ":" in address else "A"
    answers = await asyncio.gather(*(ask(name, kind) for name in names))
    return judge(address, ptr, dict(zip(names, answers, strict=True)), helo_name, now_ms)
