"""Where a delivery leaves from and how fast: what an attempt asks before it connects and before it sends.

Three questions, one protocol each, with the plain answer of a relay on which nothing is configured:
`Sources` choose the address of a delivery, `Shapes` say how a destination may be used, and a `Gate` gives the
connections and messages of a lane, counted over all workers. None of them waits: an answer comes at once or by a
call back on the event loop.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.model.lane import Lane, Source
from relay.model.message import Delivery
from relay.model.outcome import Outcome, Stage
from relay.ports import MailHost
from relay.schedule.effects import NO_REACTION, Effect, Reaction, Standing
from relay.schedule.shaping import Shape
from relay.smtp.client.answer import Answer, local_failure

IPV4 = frozenset({4})
IPV6 = frozenset({6})
ANY_FAMILY = IPV4 | IPV6


def family(address: str) -> int:
    """Return 4 or 6."""
    return 6 if ":" in address else 4


Wake = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Deferral:
    """No address may carry the delivery now: it is put off until `not_before_ms`, without an attempt.

    `text` has no times in it, so that the same cause is told once; `enhanced` is its code (RFC 3463).
    """

    text: str
    not_before_ms: int
    enhanced: str = "4.7.0"


Recall = Callable[[Lane], bool]
Change = Callable[[str], None]
Chosen = Callable[[Source | Deferral | Answer], None]


STANDING_MS_MAX = 900_000  # an operator may end an effect early: mail that waits looks again


def put_off(lane: Lane, standing: Standing, now_ms: int) -> Deferral:
    """Return how a delivery waits for the end of an effect."""
    text = f"{lane.destination} asked for it ({standing.kind.value}, rule {standing.rule}): {standing.reply}"
    return Deferral(text[:1000], min(standing.until_ms, now_ms + STANDING_MS_MAX))


class Sources(Protocol):
    """Chooses source addresses."""

    def choose(self, delivery: Delivery, site: str, provider: str, families: frozenset[int], then: Chosen) -> None:
        """Give the source of a delivery to `then`, from inside the call when it is known.

        `families` (4, 6) are those that the hosts can have; an Answer ends the attempt. What was chosen is spent or
        given back by `settled`.
        """
        ...

    def settled(self, delivery: Delivery, provider: str, source: Source, outcome: Outcome | None) -> None:
        """Note what became of a choice; None: it was not used (drain, withdrawal)."""
        ...

    def gone(self, address: str) -> bool:
        """Note that the host does not have an address; False: it may be chosen again all the same."""
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """Room in a warm-up: granted, or not before a time (milliseconds since 1970).

    `late`: what has no room should wait, not leave from elsewhere (POOL-015).
    """

    not_before_ms: int = 0
    late: bool = False


GRANTED = Room()


class Volumes(Protocol):
    """Counts what may leave today from addresses that warm up, over all workers."""

    def take(self, source: str, provider: str, done: Callable[[Room], None], *, engaged: bool = False) -> None:
        """Take room for one message from an address to a provider (or to a site that is none's).

        `done` may be called from inside. `engaged`: mail that goes first.
        """
        ...

    def give_back(self, source: str, provider: str) -> None:
        """Give room back that was not used."""
        ...

    def room_a_day(self, source: str) -> int:
        """Return what may leave from an address today, to all."""
        ...


class Shapes(Protocol):
    """Knows how destinations may be used."""

    def special(self, domain: str) -> str:
        """Return a name for what a recipient domain has of its own whatever its hosts are, "" for most."""
        ...

    def shape(self, site: str, hosts: Sequence[MailHost], *, domain: str = "", routed: bool = False) -> Shape:
        """Return the limits of a site. Called for each site seldom, and again after `apply`.

        `domain`: the one that is special; `routed`: the only host is a smart host.
        """
        ...

    def react(self, shape: Shape, outcome: Outcome) -> Reaction:
        """Return what the rules of a shape make of a remote's reply; NO_REACTION for most."""
        ...


class Gate(Protocol):
    """Gives the connections and messages of lanes.

    `wake` is called once for each refusal, when it may be asked for again.
    """

    def join(self, on_recall: Recall, on_change: Change) -> None:
        """Be told of two things.

        `on_recall`: somebody else waits for a connection of a lane; give one back soon, an idle one at once, and
        return whether one will come. `on_change`: something stands in the way of mail to a destination since now.
        """
        ...

    def connect(self, lane: Lane, shape: Shape, wake: Wake) -> bool:
        """Take the right to one connection; False: not now."""
        ...

    def disconnect(self, lane: Lane) -> None:
        """Give the right to one connection back."""
        ...

    def message(self, lane: Lane, shape: Shape, wake: Wake) -> bool:
        """Take the right to send one message; False: not now."""
        ...

    def apply(self, lane: Lane, delivery: Delivery, effects: Sequence[Effect], reply: str) -> None:
        """Put effects into force for all workers, and keep them over restarts."""
        ...

    def standing(self, lane: Lane, delivery: Delivery) -> Standing | None:
        """Return what keeps a delivery from this lane now (PAUSE, SWITCH, SUSPEND), None: nothing. No waiting."""
        ...

    def settled(self, lane: Lane, outcome: Outcome) -> None:
        """Note what became of an attempt on a lane."""
        ...


class PlainSources:
    """The addresses of the configuration, one for each site: always the same, so that retries come from it too."""

    def __init__(self, addresses: Sequence[str] = ()) -> None:
        self._addresses = tuple(addresses)

    def choose(self, delivery: Delivery, site: str, provider: str, families: frozenset[int], then: Chosen) -> None:
        """Answer at once."""
        del delivery, provider
        if not self._addresses:
            then(Source())
            return
        fitting = [one for one in self._addresses if family(one) in families]
        if fitting:
            then(Source(fitting[zlib.crc32(site.encode()) % len(fitting)]))
        else:
            then(local_failure(Stage.CONNECT, "4.4.1", f"No source address of the family of {site}"))

    def settled(self, delivery: Delivery, provider: str, source: Source, outcome: Outcome | None) -> None:
        """Nothing was taken."""

    def gone(self, address: str) -> bool:
        """There is no other."""
        del address
        return False


class PlainVolumes:
    """Grants everything."""

    def take(self, source: str, provider: str, done: Callable[[Room], None], *, engaged: bool = False) -> None:
        """Grant."""
        del source, provider, engaged
        done(GRANTED)

    def give_back(self, source: str, provider: str) -> None:
        """Nothing was taken."""

    def room_a_day(self, source: str) -> int:
        """Say that there is no end."""
        del source
        return 1 << 40


class PlainShapes:
    """The same limits for every destination."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def special(self, domain: str) -> str:
        """No domain is."""
        del domain
        return ""

    def shape(self, site: str, hosts: Sequence[MailHost], *, domain: str = "", routed: bool = False) -> Shape:
        """Return the one there is."""
        del site, hosts, domain, routed
        return self._shape

    def react(self, shape: Shape, outcome: Outcome) -> Reaction:
        """No reply means anything."""
        del shape, outcome
        return NO_REACTION


class PlainGate:
    """Counts the connections of one process."""

    def __init__(self) -> None:
        self._open: dict[Lane, int] = {}
        self._waiting: dict[Lane, list[Wake]] = {}
        self._recalls: list[Recall] = []

    def join(self, on_recall: Recall, on_change: Change) -> None:
        """Be told when somebody else waits; nothing ever changes."""
        del on_change
        self._recalls.append(on_recall)

    def connect(self, lane: Lane, shape: Shape, wake: Wake) -> bool:
        """Take one while there are any."""
        if self._open.get(lane, 0) >= shape.connections:
            waiting = self._waiting.setdefault(lane, [])
            if wake not in waiting:
                waiting.append(wake)
                any(recall(lane) for recall in self._recalls)
            return False
        self._open[lane] = self._open.get(lane, 0) + 1
        return True

    def disconnect(self, lane: Lane) -> None:
        """Give one back; whoever waits asks again."""
        left = self._open[lane] - 1
        if left:
            self._open[lane] = left
        else:
            del self._open[lane]
        for wake in self._waiting.pop(lane, ()):
            wake()

    def message(self, lane: Lane, shape: Shape, wake: Wake) -> bool:
        """Messages are not counted."""
        del lane, shape, wake
        return True

    def apply(self, lane: Lane, delivery: Delivery, effects: Sequence[Effect], reply: str) -> None:
        """Nothing is kept."""

    def standing(self, lane: Lane, delivery: Delivery) -> Standing | None:
        """Nothing stands in the way."""
        del lane, delivery
        return None

    def settled(self, lane: Lane, outcome: Outcome) -> None:
        """Nothing is learnt."""
