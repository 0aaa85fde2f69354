"""Events on their way from a shard to whoever wants them: sources, destinations, and files of effects."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from relay.model.event import LoggedEvent
from relay.model.message import NewEvent


class EventSource(Protocol):
    """The event log of one shard, read by the process that publishes it."""

    shard: int

    def log(self) -> int:
        """Return the random number of the log, which tells it from any other; 0 while there is none."""
        ...

    def last(self) -> int:
        """Return the highest number that was ever used in the log."""
        ...

    def read(self, after: int, limit: int) -> Sequence[tuple[int, NewEvent]]:
        """Return events with a sequence number above `after`, in order."""
        ...


class EventDestination(Protocol):
    """A place events are published to, at least once: `publish` returns after they are kept there."""

    name: str

    async def publish(self, events: Iterable[NewEvent]) -> None:
        """Publish in order; raise TemporaryError to be called again later with the same events."""
        ...


class Applier(Protocol):
    """A file of effects that keeps its own place in each shard's log, so that each event takes effect exactly once.

    All calls come from one thread of its own, `open` first. What `apply` and `skip` change is one transaction with
    the new place, synced on return; a crash leaves both or neither. They raise StorageError to be called again later.
    """

    name: str

    def open(self) -> None:
        """Open or create the file. Raise RelayError when it cannot be used."""
        ...

    def follow(self, shard: int, log: int, last: int) -> None:
        """Take the events of a log as those of a shard from now on; `last` is the highest number in it.

        Places are kept by log: that of another log, and one beyond `last`, count as none.
        """
        ...

    def place(self, shard: int) -> int:
        """Return the number of the last event of a shard's log that took effect, 0 for none."""
        ...

    def apply(self, shard: int, events: Sequence[LoggedEvent]) -> None:
        """Let events of a shard take effect, and move the place to the last of them; never empty, in order.

        Events at or below the place are left out: they are given again when whoever called did not hear the end.
        """
        ...

    def skip(self, shard: int, seq: int) -> None:
        """Move the place past an event that cannot take effect."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@dataclass(frozen=True, slots=True)
class NewItem:
    """Something to deliver to `targets`, kept once: the text of a record or of a notification.

    `key` never changes over all deliveries (the event's id, or the notification's), `kind` says what it is (`Send`,
    `Bounce`, ... `Notification`), `attributes` is a JSON object, `account` whose it is, "" for the relay's own.
    A target is a kind and a name, `stream:NAME`, `bus:ARN`, `subscription:ARN`.
    """

    key: str
    kind: str
    body: bytes
    targets: tuple[str, ...]
    account: str = ""
    subject: str = ""
    attributes: str = "{}"


@dataclass(frozen=True, slots=True)
class Item:
    """An item as it is kept; `id` is its number in the queue, `created_ms` when it came there."""

    id: int
    key: str
    kind: str
    account: str
    created_ms: int
    subject: str
    attributes: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Post:
    """An item for one target: `attempts` counts tries that failed, `error` says how the last one did."""

    item: Item
    target: str
    due_ms: int
    attempts: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A post that came to its end without being taken."""

    id: int
    post: Post
    died_ms: int


@dataclass(frozen=True, slots=True)
class TargetState:
    """What waits for a target; times are None when nothing does.

    `fresh_due_ms` and `tried_due_ms` are when the next post is due that was never tried, and that was.
    """

    name: str
    waiting: int
    waiting_bytes: int
    dead: int
    oldest_ms: int | None
    fresh_due_ms: int | None
    tried_due_ms: int | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a post: over (`due_ms` None), to be tried again at `due_ms`, or dead."""

    target: str
    item: int
    due_ms: int | None = None
    dead: bool = False
    error: str = ""


class Waiting(Protocol):
    """What waits for targets (`relay.store.event_queue`). Calls raise StorageError when the disk refuses."""

    def due(
        self,
        target: str,
        now_ms: int,
        limit: int,
        bytes_max: int,
        *,
        tried_max: int | None = None,
        fresh: bool = True,
        besides: Collection[int] = (),
    ) -> Sequence[Post]:
        """Return posts that are due, those tried before first; at most `limit` and about `bytes_max`.

        Those tried before are at most `tried_max`, half of the room where that is not said; without `fresh` there are
        no others. `besides`: not those of these items.
        """
        ...

    def settle(self, results: Sequence[Settled], now_ms: int) -> None:
        """Note what became of posts, all in one transaction."""
        ...

    def targets(self) -> Sequence[TargetState]:
        """Return all targets."""
        ...

    def target(self, name: str) -> TargetState | None:
        """Return one target, None when nothing waits for it."""
        ...

    def trim(self, now_ms: int) -> Mapping[str, int]:
        """Keep the bounds; return how many posts each target lost."""
        ...


class Verdict(StrEnum):
    """What became of a try: taken; not now; never (it becomes a dead letter at once); not tried, stays as it is."""

    DONE = "done"
    AGAIN = "again"
    REFUSED = "refused"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Sent:
    """The answer of a courier. `detail` is for operators: a status or a fault, never the text of an answer."""

    verdict: Verdict
    detail: str = ""


DONE = Sent(Verdict.DONE)


class Courier(Protocol):
    """Delivers the posts of one kind of target, one by one; a target's `parallel` posts at a time.

    Called on the event loop of the process `events`. `send` never raises for what the other side does, and ends
    within a minute. A try that is cut off by a crash is made again: at least once.
    """

    kind: str

    def parallel(self, target: str) -> int:
        """Return how many posts of a target may be on their way at a time, at least 1."""
        ...

    def patient(self, target: str) -> bool:
        """Say whether posts of a target are never given up: while it is down, one post at a time asks for all."""
        ...

    async def send(self, post: Post) -> Sent:
        """Try once to deliver a post."""
        ...

    def retry_seconds(self, post: Post) -> float | None:
        """Return how long to wait after a failed try, `post.attempts` of which came before; None to give up."""
        ...


@dataclass(frozen=True, slots=True)
class Gathering:
    """When the posts of a target are sent together: at so many bytes, or when the first waited so long."""

    size_bytes: int
    age_seconds: float
    count: int


@runtime_checkable
class GatheringCourier(Protocol):
    """Delivers the posts of one kind of target in batches. As Courier otherwise."""

    kind: str

    def gathering(self, target: str) -> Gathering:
        """Return when a batch is full."""
        ...

    async def send_batch(self, target: str, posts: Sequence[Post]) -> Sequence[Sent]:
        """Try once to deliver a batch; return what became of each post. Those to be sent again stay as they are."""
        ...


DestinationKey = tuple[str, str, str]
"""Account, configuration set and name of a destination; the last two are "" for an account as a whole."""


@dataclass(frozen=True, slots=True)
class CountedSeries:
    """What is counted together: events of a kind with the same dimensions, a JSON list of name and value."""

    destination: DestinationKey
    kind: str
    dimensions: str = "[]"
