"""The connections of one process: how many are open, who may open one, and who is next when there are none.

Owns the count against `connections_max` and the line of those who wait. Turns in that line are dealt to accounts by
weight (`relay.schedule.fair`), whatever number of sites each of them waits at. The last connections are kept: a
quarter for sites that have none, so that no number of busy sites keeps the next one waiting, and an account holds no
more than a multiple of what is free. What it does not own: limits of a single destination, and links.
"""

from collections import deque
from typing import Final, Protocol

from relay.schedule.fair import FairQueue, Flow, allowance

KEPT_SHARE: Final = 4
FEED_TRIES: Final = 50  # what lines up again is not asked over and over
TURN_MESSAGES: Final = 10  # that a connection carries before it makes room, while others wait


class Opener(Protocol):
    """A site that opens connections."""

    def pump(self) -> None:
        """Open a connection if one is needed still."""
        ...


class Connections:
    """Counts connections and lines up who waits for one."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0
        self._accounts: dict[str, int] = {}
        self._sites: dict[Opener, deque[str]] = {}  # by which accounts their connections were opened
        self._line: FairQueue[tuple[Opener, str]] = FairQueue()
        self._waiting: set[tuple[Opener, str]] = set()
        self._turn: Opener | None = None

    @property
    def crowded(self) -> bool:
        """True while somebody waits."""
        return bool(self._waiting)

    def admits(self, site: Opener, flow: Flow) -> bool:
        """Say whether a site may open a connection for somebody's mail; one that waits in line waits for its turn."""
        free = self.most - self.open
        if free <= 0 or (self._waiting and self._turn is not site):
            return False
        if site in self._sites and free <= self.most // KEPT_SHARE:
            return False
        held = self._accounts.get(flow.account, 0)
        return not held or held < allowance(free, flow.weight)

    def opened(self, site: Opener, flow: Flow) -> None:
        """Count a connection more."""
        self.open += 1
        self._accounts[flow.account] = self._accounts.get(flow.account, 0) + 1
        self._sites.setdefault(site, deque()).append(flow.account)

    def closed(self, site: Opener) -> None:
        """Count a connection less."""
        self.open -= 1
        accounts = self._sites[site]
        account = accounts.popleft()
        if not accounts:
            del self._sites[site]
        self._accounts[account] -= 1
        if not self._accounts[account]:
            del self._accounts[account]

    def line_up(self, site: Opener, flow: Flow) -> bool:
        """Let a site wait for a connection in the line of an account; False: it waits there already, or had its turn.

        When it is True, `feed` is to be called soon: a connection may be free.
        """
        if (site, flow.account) in self._waiting:
            return False
        self._waiting.add((site, flow.account))
        self._line.add(flow, (site, flow.account), first=True)
        return self._turn is None

    def feed(self) -> None:
        """Give connections to those who wait, in turn; each opens what it may, or lines up again."""
        for _ in range(min(len(self._line), FEED_TRIES)):
            if self.open >= self.most:
                return
            entry = self._line.take()
            self._waiting.discard(entry)
            self._turn = entry[0]
            entry[0].pump()
            self._turn = None
