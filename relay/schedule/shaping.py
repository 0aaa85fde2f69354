"""How one destination may be used from one source address. Pure values; who makes them reads the rules."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """Limits of a lane, over all workers; 0 where there is none.

    `provider` is the name under which sites of one receiver share their limits, "" for a site of its own.
    `connections_start` is what a worker begins with before the first success.
    """

    provider: str = ""
    connections: int = 20
    connections_start: int = 5
    connections_per_minute: int = 0
    messages_per_minute: int = 0
    messages_per_connection: int = 100
