"""How one destination may be used from one source address. Pure values; who makes them reads the rules."""

from dataclasses import dataclass

from relay.model.lane import Source


@dataclass(frozen=True, slots=True)
class Shape:
    """Limits of a lane, over all workers; 0 where there is none.

    `provider` is the name under which sites of one receiver share their limits, "" for a site of its own.
    `connections_start` is what a worker begins with before the first success. `recipients` is how many one
    transaction may carry where it may carry several (decision 17). `rules` names the rules that its replies are
    judged by, and `exceptions` what is different from some of our addresses.
    """

    provider: str = ""
    connections: int = 20
    connections_start: int = 5
    connections_per_minute: int = 0
    messages_per_minute: int = 0
    messages_per_connection: int = 100
    recipients: int = 100
    rules: str = ""
    exceptions: tuple["ShapeException", ...] = ()

    def at(self, source: Source) -> "Shape":
        """Return the limits that hold from a source: those of its address, else of its pool, else the general."""
        if not self.exceptions:
            return self
        fitting = [one for one in self.exceptions if one.fits(source)]
        return min(fitting, key=_general).shape if fitting else self


@dataclass(frozen=True, slots=True)
class ShapeException:
    """Limits from one source address or from one pool."""

    shape: Shape
    source: str = ""
    pool: str = ""

    def fits(self, source: Source) -> bool:
        """Say whether mail from a source goes by these limits."""
        return source.address == self.source if self.source else source.pool == self.pool


def _general(exception: ShapeException) -> bool:
    return not exception.source
