"""Fair shares: whose delivery goes next, and how much of a bounded place each sender may take. Pure.

A **flow** is what one account sends with one configuration set, transactional or bulk. Where deliveries wait for the
same thing, turns are dealt from the top: accounts by weight; within an account four turns for transactional mail to
one for bulk mail while both wait; within that, configuration sets by weight; within a set first attempts before
retries (`relay.schedule.lanes`). Accounts come first, so that nobody gains by calling all his mail transactional.
Turns are dealt by deficit round robin (Shreedhar and Varghese 1995): a turn costs the default weight, a lap adds the
own weight, and who leaves the queue leaves his credit. A turn is one delivery.

A place for a number of deliveries is shared by dynamic thresholds (Choudhury and Hahne 1998): nobody may hold more
than a multiple of what is free. One sender alone gets nearly all of it, several get shares by their weights, and
there is always room for the next one to come, without anybody counting senders.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b
from math import ceil
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from relay.model.message import WEIGHT_DEFAULT, Delivery, Message
from relay.schedule.lanes import Lanes, share

TRANSACTIONAL_A_BULK: Final = 4
FREE_MULTIPLE: Final = 7  # one sender alone gets 7/8 of a place
_DOMAIN_FREE_DIVISOR: Final = 2  # and one domain alone a third at most
_DOMAIN_LEAST: Final = 100  # but a hundredth of its bound while there is any room: a few are no crowd
_STRANDS_CACHED: Final = 4096

RETRY_BIT: Final = 1
BULK_BIT: Final = 2
NO_STRAND: Final = -(1 << 63)  # before all there can be on disk, damaged ones too

T = TypeVar("T")


class Flow(NamedTuple):
    """Whose turn a delivery uses."""

    account: str
    bulk: bool = False
    configuration_set: str = ""
    weight: int = WEIGHT_DEFAULT
    set_weight: int = WEIGHT_DEFAULT


def flow_of(message: Message) -> Flow:
    """Return the flow of a message, as it was fixed at acceptance."""
    options = message.options
    return Flow(message.account, options.bulk, options.configuration_set, options.weight, options.set_weight)


# --- strands on disk: where a delivery waits in the index ---


@lru_cache(maxsize=_STRANDS_CACHED)
def strand_number(account: str, configuration_set: str, domain: str, bits: int) -> int:
    """Return the number of a strand, 0 to 2**62: a digest, and in the lowest bits whether it is bulk, and retries.

    Two flows whose digests are equal share a strand, and nothing else comes of it. `domain` is "" for the flow's main
    strands, else that of a strand beside them for one domain of which a great deal waits.
    """
    name = f"{account}\0{configuration_set}\0{domain}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(name, digest_size=8).digest()) >> 4 << 2 | bits


def strand_of(delivery: Delivery, domain: str = "") -> int:
    """Return the main strand of a delivery, or that beside it for a domain."""
    message = delivery.message
    options = message.options
    bits = (BULK_BIT if options.bulk else 0) | (RETRY_BIT if delivery.attempts else 0)
    return strand_number(message.account, options.configuration_set, domain, bits)


def strand_beside(delivery: Delivery) -> int:
    """Return the strand for the domain of a delivery, where what waits for a crowded domain is out of others' way."""
    return strand_of(delivery, delivery.domain)


# --- a bounded place ------------------------------------------------------------------------------------------------


def allowance(free: int, weight: int) -> float:
    """Return how many of a place with `free` left one sender may hold."""
    return FREE_MULTIPLE * free * weight / WEIGHT_DEFAULT


def domain_allowance(free: int, most: int) -> int:
    """Return how many of a place with `free` left one domain may hold, `most` at most."""
    return min(most, max(1, most // _DOMAIN_LEAST, free // _DOMAIN_FREE_DIVISOR))


class Tenancy:
    """What one account holds of a place: in all, of it bulk, and by configuration set."""

    __slots__ = ("bulk", "held", "sets")

    def __init__(self) -> None:
        self.held = 0
        self.bulk = 0
        self.sets: dict[str, int] = {}

    def room(self, flow: Flow, free: int) -> int:
        """Return how many more of a flow it may hold while so many are free; 0 or less: none.

        Three quarters of its share may be bulk, and a configuration set takes what it leaves to others into account.
        """
        multiple = allowance(1, flow.weight)
        slack = multiple * free - self.held  # each that is taken makes it less by one, and the allowance with it
        left = ceil(slack / (1 + multiple))
        if flow.bulk:
            left = min(left, share(self.held + left) - self.bulk)
        of_set = allowance(1, flow.set_weight)
        set_slack = of_set * slack - self.sets.get(flow.configuration_set, 0)
        return min(free, left, ceil(set_slack / (1 + of_set * (1 + multiple))))

    def add(self, flow: Flow, count: int = 1) -> None:
        """Count one more, or with -1 one less."""
        self.held += count
        self.bulk += count if flow.bulk else 0
        left = self.sets.get(flow.configuration_set, 0) + count
        if left:
            self.sets[flow.configuration_set] = left
        else:
            del self.sets[flow.configuration_set]


# --- turns ----------------------------------------------------------------------------------------------------------


class _Turn(Protocol):
    credit: int
    weight: int


_Turner = TypeVar("_Turner", bound=_Turn)


def _next_turn(ring: deque[_Turner]) -> _Turner:
    """Return who goes next, at the head of the ring from now on, with the turn paid for."""
    while True:
        head = ring[0]
        if head.credit >= WEIGHT_DEFAULT:
            head.credit -= WEIGHT_DEFAULT
            return head
        head.credit += head.weight
        ring.rotate(-1)


class _Set(Generic[T]):
    __slots__ = ("credit", "lanes", "name", "weight")

    def __init__(self, name: str, weight: int) -> None:
        self.name = name
        self.weight = weight
        self.credit = weight
        self.lanes: Lanes[T] = Lanes()


class _Class(Generic[T]):
    """The configuration sets of an account that have mail of one class waiting."""

    __slots__ = ("ring", "sets")

    def __init__(self) -> None:
        self.sets: dict[str, _Set[T]] = {}
        self.ring: deque[_Set[T]] = deque()

    def set_for(self, flow: Flow) -> _Set[T]:
        found = self.sets.get(flow.configuration_set)
        if found is None:
            found = self.sets[flow.configuration_set] = _Set(flow.configuration_set, flow.set_weight)
            self.ring.append(found)
        found.weight = flow.set_weight  # what was accepted last knows best
        return found

    def drop(self, one: _Set[T]) -> None:
        del self.sets[one.name]
        self.ring.remove(one)


class _Account(Generic[T]):
    __slots__ = ("bulk", "credit", "name", "since_bulk", "transactional", "weight")

    def __init__(self, name: str, weight: int) -> None:
        self.name = name
        self.weight = weight
        self.credit = weight
        self.since_bulk = 0
        self.transactional: _Class[T] = _Class()
        self.bulk: _Class[T] = _Class()

    def next_class(self) -> _Class[T]:
        """Return the class whose turn it is; one of them has mail waiting."""
        if self.transactional.ring and (not self.bulk.ring or self.since_bulk < TRANSACTIONAL_A_BULK):
            self.since_bulk += 1
            return self.transactional
        self.since_bulk = 0
        return self.bulk


class FairQueue(Generic[T]):
    """Items of many flows with one way out. Within a flow the order is that of arrival, of each kind of attempt."""

    __slots__ = ("_accounts", "_count", "_lone", "_ring")

    def __init__(self) -> None:
        self._lone: tuple[Flow, T, bool] | None = None  # who waits alone, as most do, costs no place
        self._accounts: dict[str, _Account[T]] = {}
        self._ring: deque[_Account[T]] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        """Yield all that wait, in no order of turns; nothing may be added or taken meanwhile."""
        if self._lone is not None:
            yield self._lone[1]
        for account in self._ring:
            for one in (*account.transactional.ring, *account.bulk.ring):
                yield from one.lanes.lane(first=True)
                yield from one.lanes.lane(first=False)

    def add(self, flow: Flow, item: T, *, first: bool) -> None:
        """Let an item wait behind those of its flow; `first`: it is a first attempt, no retry."""
        if not self._count:
            self._lone = (flow, item, first)
        else:
            self._settle_lone()
            self._place(flow).lanes.lane(first=first).append(item)
        self._count += 1

    def put_back(self, flow: Flow, item: T, *, first: bool) -> None:
        """Let an item wait before those of its flow."""
        self._settle_lone()
        self._place(flow).lanes.lane(first=first).appendleft(item)
        self._count += 1

    def take(self) -> T:
        """Remove and return who goes next. Raise IndexError when nobody waits."""
        lone = self._lone
        if lone is not None:
            self._lone, self._count = None, 0
            return lone[1]
        account = _next_turn(self._ring)
        kind = account.next_class()
        one = _next_turn(kind.ring)
        item = one.lanes.take()
        self._count -= 1
        if not len(one.lanes):
            self._leave(account, kind, one)
        return item

    def peek(self) -> Flow:
        """Return a flow that waits, of an account that is to go soon. Raise IndexError when nobody waits."""
        if self._lone is not None:
            return self._lone[0]
        account = self._ring[0]
        kind = account.transactional if account.transactional.ring else account.bulk
        one = kind.ring[0]
        return Flow(account.name, kind is account.bulk, one.name, account.weight, one.weight)

    def take_while(self, flow: Flow, wanted: Callable[[T], bool], *, first: bool) -> list[T]:
        """Remove and return the items at the head of one line of a flow, as long as they are wanted."""
        self._settle_lone()
        account = self._accounts.get(flow.account)
        kind = None if account is None else account.bulk if flow.bulk else account.transactional
        one = kind.sets.get(flow.configuration_set) if kind else None
        found: list[T] = []
        if account is None or kind is None or one is None:
            return found
        lane = one.lanes.lane(first=first)
        while lane and wanted(lane[0]):
            found.append(lane.popleft())
        self._count -= len(found)
        if not len(one.lanes):
            self._leave(account, kind, one)
        return found

    def _settle_lone(self) -> None:
        if self._lone is not None:
            (flow, item, first), self._lone = self._lone, None
            self._place(flow).lanes.lane(first=first).append(item)

    def _place(self, flow: Flow) -> _Set[T]:
        account = self._accounts.get(flow.account)
        if account is None:
            account = self._accounts[flow.account] = _Account(flow.account, flow.weight)
            self._ring.append(account)
        account.weight = flow.weight
        return (account.bulk if flow.bulk else account.transactional).set_for(flow)

    def _leave(self, account: _Account[T], kind: _Class[T], one: _Set[T]) -> None:
        kind.drop(one)
        if not account.transactional.ring and not account.bulk.ring:
            del self._accounts[account.name]
            self._ring.remove(account)
