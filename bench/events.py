"""Events on their way out: `python -m bench.events [--quick] [--events N] [--waiting N]`.

Measured are the CPU and the rate at which files of operators, metrics, streams and routing take events from a log,
batch by batch as in the events process, with synced files; and a queue in which a destination that is dead keeps
many events waiting: memory, disk, and the time to find what is due, as it grows.
"""

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from bench.figures import Figure, arguments, at_least, at_most, finish, show_reference
from relay.events.bus import BusCourier
from relay.events.counting import MetricsApplier
from relay.events.dispatcher import Dispatcher
from relay.events.file import FileDestination
from relay.events.outbox import Outbox, Subscription
from relay.events.router import Router
from relay.events.stream import DirectoryStore, FileSink, Stream, StreamCourier
from relay.model.event import LoggedEvent
from relay.model.event_destination import (
    DestinationKind,
    Dimension,
    DimensionSource,
    EventDestination,
    EventType,
)
from relay.model.message import NewEvent
from relay.ports.events import Gathering, NewItem
from relay.runtime.clock import SteadyClock
from relay.runtime.observe.metrics import ProcessMetrics
from relay.store.event_counts import EventCounts
from relay.store.event_queue import EventQueue
from relay.store.outbox import OutboxCursors
from relay.testing.log import MemoryLog

BATCH = 500
LOG = 7
ACCOUNT = "000000000001"
EVENTS_A_MESSAGE = 2
CPU_MAX_US = 100.0
RATE_MIN = 5000.0
MEMORY_MAX_MIB = 64.0  # more with a million waiting than with none
DISK_BOUND_BYTES = 2 << 30
FIGURES: list[Figure] = []
AGE_SECONDS = 14 * 86400.0


def event(number: int) -> NewEvent:
    """Return an event as a 10-KB message with usual headers gives."""
    headers = [{"name": f"X-Header-{n}", "value": f"some value of a usual length {n}"} for n in range(12)]
    kind, body = (("Send", "send"), ("Delivery", "delivery"))[number % 2]
    mail = {
        "timestamp": "2026-11-26T01:00:00.000Z",
        "messageId": f"0001019a{number:08x}-00000000-0000-4000-8000-000000000000-000000",
        "source": "app@example.com",
        "sourceArn": f"arn:aws:ses:local-1:{ACCOUNT}:identity/example.com",
        "sendingAccountId": ACCOUNT,
        "destination": ["user@remote.example"],
        "headersTruncated": False,
        "headers": headers,
        "commonHeaders": {"from": ["App <app@example.com>"], "to": ["user@remote.example"], "messageId": "x"},
        "tags": {"campaign": [f"c{number % 20}"], "ses:configuration-set": ["all"], "ses:source-ip": ["192.0.2.1"]},
    }
    details = {
        "timestamp": "2026-11-26T01:00:01.000Z",
        "processingTimeMillis": 900,
        "recipients": ["user@remote.example"],
        "smtpResponse": "250 2.0.0 taken",
        "reportingMTA": "relay.example",
    }
    record = {"eventType": kind, "mail": mail, body: details if kind == "Delivery" else {}}
    return NewEvent(f"id/{number}", kind, mail["messageId"], orjson.dumps(record))


class Log:
    """A shard's log in memory."""

    shard = 1

    def __init__(self, rows: Sequence[NewEvent]) -> None:
        self._rows = rows

    def log(self) -> int:
        """Return which log it is."""
        return LOG

    def last(self) -> int:
        """Return the highest number in it."""
        return len(self._rows)

    def read(self, after: int, limit: int) -> Sequence[tuple[int, NewEvent]]:
        """Return events above a number."""
        return [(n + 1, self._rows[n]) for n in range(after, min(after + limit, len(self._rows)))]


class Destinations:
    """What the catalog would say: one destination."""

    def __init__(self, one: EventDestination) -> None:
        self._one = one

    def refresh(self) -> bool:
        """Nothing changes."""
        return False

    def any(self) -> bool:
        """There is one."""
        return True

    def of(self, _account: str, _set: str) -> Sequence[EventDestination]:
        """Return it."""
        return (self._one,)

    def metrics(self) -> frozenset[tuple[str, str, str]]:
        """Return its key."""
        return frozenset({(ACCOUNT, "all", self._one.name)})

    def close(self) -> None:
        """Nothing is open."""


def destination(kind: DestinationKind, target: str = "", *dimensions: Dimension) -> EventDestination:
    """Return a destination of all events."""
    return EventDestination(
        ACCOUNT, "all", "d", enabled=True, types=tuple(EventType), kind=kind, target=target, dimensions=dimensions
    )


def told(what: str, count: int, begun: tuple[float, float], *, targets: bool = True) -> None:
    """Note what a number of events took since `begun`."""
    cpu, wall = time.process_time() - begun[0], time.monotonic() - begun[1]
    micros, rate = 1e6 * cpu / count * EVENTS_A_MESSAGE, count / wall
    if targets:
        FIGURES.append(at_most(f"{what}: CPU a message", micros, CPU_MAX_US, "us"))
        FIGURES.append(at_least(f"{what}: rate", rate, RATE_MIN, "events/s"))
    else:
        FIGURES.append(Figure(f"{what}: CPU a message", "-", f"{micros:.1f} us"))
        FIGURES.append(Figure(f"{what}: rate", "-", f"{rate:.0f} events/s"))


def now() -> tuple[float, float]:
    """Return CPU and wall clock."""
    return time.process_time(), time.monotonic()


def apply_all(applier: Router | MetricsApplier, rows: Sequence[NewEvent]) -> None:
    """Give all events to an applier as the carrier does."""
    applier.open()
    applier.follow(1, LOG, len(rows))
    for start in range(0, len(rows), BATCH):
        applier.apply(1, [LoggedEvent(1, start + n + 1, one) for n, one in enumerate(rows[start : start + BATCH])])


def bench_file(directory: Path, rows: Sequence[NewEvent]) -> None:
    """The operator's file destination, from the log to the synced file."""

    async def publish() -> None:
        file = FileDestination("all", directory / "events.jsonl")
        cursors = OutboxCursors(directory / "outbox.db", MemoryLog())
        source = Log(rows)
        outbox = Outbox({1: source}, [Subscription(file)], cursors, _no_prune, MemoryLog())
        begun = now()
        await outbox.drain()
        told("file destination", len(rows), begun)
        file.close()
        cursors.close()

    asyncio.run(publish())


async def _no_prune(_shard: int, _seq: int) -> None:
    return None


def bench_metrics(directory: Path, rows: Sequence[NewEvent]) -> None:
    """Account-wide counters and one metrics destination of two dimensions."""
    dimensions = (
        Dimension("campaign", DimensionSource.MESSAGE_TAG, "none"),
        Dimension("X-Header-3", DimensionSource.EMAIL_HEADER, "none"),
    )
    one = destination(DestinationKind.METRICS, "", *dimensions)
    applier = MetricsApplier(
        lambda: EventCounts(directory / "metrics.db", MemoryLog(), series_max=1000), Destinations(one)
    )
    begun = now()
    apply_all(applier, rows)
    told("metrics destination", len(rows), begun)
    applier.close()


def bench_stream(directory: Path, rows: Sequence[NewEvent]) -> None:
    """Routing into the queue, then out of it into files of a directory."""
    queue = EventQueue(directory / "queue.db", MemoryLog(), bytes_max=1 << 40, age_seconds_max=AGE_SECONDS)
    target = f"arn:aws:firehose:local-1:{ACCOUNT}:deliverystream/lines"
    router = Router(
        lambda: queue, Destinations(destination(DestinationKind.STREAM, target)), SteadyClock(), lambda _targets: None
    )
    begun = now()
    apply_all(router, rows)
    told("stream: routing into the queue", len(rows), begun, targets=False)
    sink = FileSink("lines", DirectoryStore(directory / "stream", "lines"))
    courier = StreamCourier({"lines": Stream(Gathering(5 << 20, 0.0, 20_000), sink)})

    async def send() -> None:
        dispatcher = Dispatcher(queue, {"stream": courier}, SteadyClock(), MemoryLog(), ProcessMetrics("bench"))
        begun = now()
        await dispatcher.run_once()
        told("stream: from the queue into files", len(rows), begun, targets=False)
        await dispatcher.end(1)

    asyncio.run(send())
    queue.close()


def bench_waiting(directory: Path, count: int, make: Callable[[int], NewEvent]) -> None:
    """A million events for a destination that is dead, with a bound on the disk."""
    queue = EventQueue(directory / "dead.db", MemoryLog(), bytes_max=DISK_BOUND_BYTES, age_seconds_max=AGE_SECONDS)
    courier = BusCourier({}, "local-1", SteadyClock())  # a bus that is not there
    sample = make(1)
    before = _memory_mib()
    begun = time.monotonic()
    for start in range(0, count, BATCH):
        items = [
            NewItem(f"id/{n}", sample.kind, sample.payload, ("bus:dead",), ACCOUNT)
            for n in range(start, min(start + BATCH, count))
        ]
        queue.put(items, int(time.time() * 1000))
        queue.trim(int(time.time() * 1000))
        filled = start + BATCH
        if filled in {10_000, 100_000, count}:
            _look(directory, queue, filled, before, begun)
    asyncio.run(_serve(queue, courier))
    disk = sum(path.stat().st_size for path in directory.glob("dead.db*"))
    FIGURES.append(at_most(f"{count} waiting: more memory", _memory_mib() - before, MEMORY_MAX_MIB, "MiB"))
    FIGURES.append(at_most(f"{count} waiting: disk", disk / (1 << 20), DISK_BOUND_BYTES * 1.05 / (1 << 20), "MiB"))
    queue.close()


async def _serve(queue: EventQueue, courier: BusCourier) -> None:
    dispatcher = Dispatcher(queue, {"bus": courier}, SteadyClock(), MemoryLog(), ProcessMetrics("bench"))
    await dispatcher.run_once()
    await dispatcher.end(1)


def _look(directory: Path, queue: EventQueue, filled: int, before: float, begun: float) -> None:
    at = time.perf_counter()
    for _ in range(100):
        queue.due("bus:dead", int(time.time() * 1000), 8)
    seconds = (time.perf_counter() - at) / 100
    disk = sum(path.stat().st_size for path in directory.glob("dead.db*"))
    state = queue.target("bus:dead")
    sys.stdout.write(
        f"{filled:9,} events put: {state.waiting if state else 0:9,} wait, {disk >> 20:5} MiB on disk, "
        f"{_memory_mib() - before:4.0f} MiB more memory, {1e6 * seconds:5.0f} us to find what is due, "
        f"{filled / (time.monotonic() - begun):7,.0f} events/s\n"
    )


def _memory_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run the benchmark."""
    parser = arguments(__doc__)
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    options = parser.parse_args()
    if options.quick:
        options.events, options.waiting = 10_000, 100_000
    show_reference()
    rows = [event(number) for number in range(options.events)]
    sys.stdout.write(f"{options.events} events of {len(rows[0].payload)} bytes, two a message\n")
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        bench_file(Path(directory), rows)
        bench_metrics(Path(directory), rows)
        bench_stream(Path(directory), rows)
        if options.waiting:
            bench_waiting(Path(directory), options.waiting, event)
    finish(FIGURES, options.json)


if __name__ == "__main__":
    main()
