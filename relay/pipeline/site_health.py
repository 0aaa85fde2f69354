"""How many connections the hosts of a site bear, and what is known when they bear none.

`limit` starts low, rises by one with each delivery, and falls to what the hosts bear when they refuse a connection
while others are open; for a while it does not rise then. When none is borne it begins at one again, and for a moment
later deliveries get the same answer, so that a dead site empties quickly. Times are monotonic seconds.
"""

from relay.model.dialogue import Skipped, Try
from relay.pipeline.site_item import Item, Target
from relay.ports import Json
from relay.schedule.shaping import Shape
from relay.smtp.client.answer import Answer

_Story = tuple[tuple[Try, ...], tuple[Skipped, ...]]


class Health:
    """`limit` connections; `answer` is what came of the last connection that could be made, None while one can."""

    __slots__ = ("_dead_until", "_refused_until", "_story", "answer", "limit", "target")

    def __init__(self, shape: Shape) -> None:
        self.limit = min(shape.connections_start, shape.connections)
        self.answer: Answer | None = None
        self.target: Target | None = None
        self._refused_until = 0.0
        self._dead_until = 0.0
        self._story: _Story = ((), ())

    # --- how many ---

    def bound(self, shape: Shape) -> None:
        """Go by other limits."""
        self.limit = min(self.limit, shape.connections)

    def grow(self, now: float) -> bool:
        """Note a delivery; return True when the site may have a connection more for it."""
        if now < self._refused_until:
            return False
        self.limit += 1
        return True

    def refused_beside(self, others: int, until: float) -> None:
        """Note that the hosts bear the other connections and no more (cohort feedback)."""
        self.limit = max(1, others)
        self._refused_until = until

    # --- none ---

    def died(self, answer: Answer, target: Target | None, story: _Story, until: float) -> None:
        """Note that none is borne: from one up again, whatever it was before."""
        self.limit, self._refused_until = 1, 0.0
        self.answer, self.target, self._story = answer, target, story
        self._dead_until = until

    def revived(self) -> None:
        """Note that a connection is borne."""
        self.answer = None

    def forgive(self) -> None:
        """Forget that no host took a connection: somebody knows better."""
        self.answer = None
        self._dead_until = self._refused_until = 0.0

    def dead(self, now: float) -> bool:
        """Say whether the pause after a failure lasts."""
        return self._dead_until > now

    def tell(self, item: Item) -> None:
        """Let a delivery that gets the answer know what it came of."""
        item.tries, item.skipped = self._story

    def state(self, now: float) -> Json:
        """Return how it is now, for people."""
        return {
            "limit": self.limit,
            "dead_seconds": round(max(0.0, self._dead_until - now), 1),
            "dead_reply": self.answer.text[:300] if self.answer is not None else "",
        }
