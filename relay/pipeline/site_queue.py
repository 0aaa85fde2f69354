"""The deliveries that wait for a site, dealt fairly between accounts, classes and sets (`relay.schedule.fair`).

First attempts go before retries, three to one. One that was withdrawn is passed over when its turn comes.
"""

from collections.abc import Callable

from relay.pipeline.site_item import Item
from relay.pipeline.site_protocols import Reports
from relay.schedule.fair import FairQueue


class SiteQueue(FairQueue[Item]):
    """Notes with `reports` which deliveries start, and which wait again."""

    __slots__ = ("_reports",)

    def __init__(self, reports: Reports) -> None:
        super().__init__()
        self._reports = reports

    def enter(self, item: Item) -> None:
        """Let a delivery wait."""
        self.add(item.flow, item, first=not item.job.delivery.attempts)

    def enter_again(self, items: list[Item]) -> None:
        """Take deliveries that had started back to the front."""
        for item in reversed(items):
            self._reports.waits_again(item)
            self.put_back(item.flow, item, first=not item.job.delivery.attempts)

    def first(self) -> Item | None:
        """Return a delivery that waits, and leave it where it is."""
        return next((item for item in self if item.waiting), None)

    def start(self) -> Item | None:
        """Give up the next delivery that was not withdrawn: it starts."""
        while self:
            item = self.take()
            if item.waiting:
                self._reports.started(item)
                return item
        return None

    def start_alike(self, item: Item, limit: int) -> list[Item]:
        """Give up those right behind that carry the same message under the same sender (decision 17)."""
        found: list[Item] = []
        delivery = item.job.delivery

        def joins(other: Item) -> bool:
            if not other.waiting:
                return True
            if len(found) >= limit or other.job.delivery.message.key != delivery.message.key:
                return False
            self._reports.started(other)
            found.append(other)
            return True

        self.take_while(item.flow, joins, first=not delivery.attempts)
        return found

    def clear(self) -> list[Item]:
        """Let go of everybody who waits, without starting them."""
        items: list[Item] = []
        while self:
            item = self.take()
            items += [item] if item.waiting else []
        return items

    def sift(self, keep: Callable[[Item], bool]) -> None:
        """Let go of those that shall not leave here now."""
        for item in self.clear():
            if keep(item):
                self.enter(item)
