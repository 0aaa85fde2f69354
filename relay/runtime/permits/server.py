"""The permits process: one event loop around a ledger and a desk for lanes, and nothing else.

It grants nothing before it knows what every shard committed: each worker announces its own shard when it connects; a
shard that no worker owns is read from its file. A worker that goes away leaves its leases behind; they count as
spent until the shard announces again. Of leases nothing is kept on disk: the shards are the truth. Lanes are in
`relay.runtime.permits.lanes`.
"""

import asyncio
import os
import socket
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from relay.policy.leases import Grant, Ledger, Usage
from relay.policy.quota import first_minute
from relay.ports import Clock
from relay.runtime.permits.lanes import ACTIONS as LANE_ACTIONS
from relay.runtime.permits.lanes import LaneDesk, WorkerLanes
from relay.runtime.permits.protocol import BUFFERED_MAX_BYTES, Lines, Note, ProtocolError, encode
from relay.runtime.permits.values import count as _count
from relay.runtime.permits.values import name as _name
from relay.runtime.permits.warmup import ACTIONS as WARM_UP_ACTIONS
from relay.runtime.permits.warmup import WarmUpDesk
from relay.schedule.throttle import AuthFailures, FailureLimits

WAITING_SECONDS = 2.0  # as long as a worker waits for an answer
WAITING_MAX = 100_000
ANNOUNCED_ENTRIES_MAX = 5_000_000
BACKLOG = 128
_TICK_SECONDS = 0.25
_SWEEP_SECONDS = 60.0

ReadUsage = Callable[[int, int], Usage | None]


@dataclass(frozen=True, slots=True)
class PermitsSettings:
    """What the process needs to know.

    `shards` are all shards on disk. `read_usage(shard, first_minute)` returns a shard's usage by account and minute,
    or None when it cannot be read now or when a running worker owns it and will announce it itself; it is asked
    for shards that did not announce within `announce_grace_seconds`, and again until it answers. `serving(shard)`
    says whether its worker may have connections to receivers: lanes wait until those have announced.
    """

    shards: tuple[int, ...]
    read_usage: ReadUsage
    announce_grace_seconds: float = 3.0
    failures: FailureLimits = field(default_factory=FailureLimits)
    serving: Callable[[int], bool] = lambda _shard: True


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that came before all shards were known."""

    worker: "_Worker"
    note: Note
    since: float


class PermitsServer:
    """All workers' connections and what they share."""

    def __init__(
        self,
        settings: PermitsSettings,
        clock: Clock,
        desk: LaneDesk | None = None,
        warmup: WarmUpDesk | None = None,
    ) -> None:
        self.desk = desk or LaneDesk(clock)
        self.warmup = warmup
        self.epoch = uuid.uuid4().hex
        self.failures = AuthFailures(settings.failures)
        self.ledger = Ledger(clock.monotonic())
        self.clock = clock
        self._settings = settings
        self._started = clock.monotonic()
        self._swept = self._started
        self._workers: set[_Worker] = set()
        self._waiting: list[_Waiting] = []
        self._ready = False
        self._lanes_open = False

    @property
    def ready(self) -> bool:
        """True once the usage of every shard is known."""
        return self._ready

    def joined(self, worker: "_Worker") -> None:
        """Take up a connection, and tell it what is known."""
        self._workers.add(worker)
        worker.tell(["hello", self.epoch])
        for row in self.failures.snapshot(self.clock.monotonic()):
            worker.tell(["recalled", *row])

    def left(self, worker: "_Worker") -> None:
        """Forget a connection; what its shard holds stays counted."""
        self._workers.discard(worker)
        self.desk.left(worker)

    def announced(self, worker: "_Worker", shard: int, usage: Usage, held: dict[int, tuple[str, int]]) -> None:
        """Take over a shard's announcement; an older connection of the same shard is closed."""
        for other in [other for other in self._workers if other is not worker and other.shard == shard]:
            other.end()
        self.ledger.announce(shard, usage, held, self.clock.monotonic(), self.clock.now_ms())
        self.desk.announced(worker, worker.lanes, worker.process)
        self.look()

    def take(self, worker: "_Worker", note: Note) -> None:
        """Answer a request for a lease, later when not all shards are known yet."""
        if not self._ready:
            if len(self._waiting) < WAITING_MAX:
                self._waiting.append(_Waiting(worker, note, self.clock.monotonic()))
            return
        _, lease_id, account, recipients, counted, quota, rate = note
        now = self.clock.monotonic()
        grant = self.ledger.take(
            worker.shard, lease_id, account, recipients, counted=counted, daily_quota=quota, rate=rate, now=now
        )
        worker.tell(["granted", lease_id] if grant is Grant.GRANTED else ["refused", lease_id, grant.value])

    def spread(self, sender: "_Worker", note: Note) -> None:
        """Note an authentication result and pass it on to the other workers."""
        word, address, username = note
        now = self.clock.monotonic()
        if word == "failed":
            self.failures.failed(address, username, now)
        else:
            self.failures.succeeded(address, username, now)
        for worker in self._workers:
            if worker is not sender:
                worker.tell(note)

    def tick(self) -> None:
        """Read shards that nobody announced, expire leases."""
        now = self.clock.monotonic()
        if not self._ready and now - self._started >= self._settings.announce_grace_seconds:
            self._read_missing()
        self.look()
        self.desk.tick()
        if now - self._swept >= _SWEEP_SECONDS:
            self._swept = now
            self.ledger.sweep(now)
            self.desk.sweep()

    def look(self) -> None:
        """Start to grant once every shard is known."""
        if not self._lanes_open and all(map(self._lanes_known, self._settings.shards)):
            self._lanes_open = True
            self.desk.open()
        if self._ready or not self.ledger.announced.issuperset(self._settings.shards):
            return
        self._ready = True
        waiting, self._waiting = self._waiting, []
        oldest = self.clock.monotonic() - WAITING_SECONDS
        for request in waiting:
            # Who waited longer has told its client to come back; who is gone will never answer.
            if request.since >= oldest and request.worker in self._workers:
                self.take(request.worker, request.note)

    def close(self) -> None:
        """End all connections."""
        for worker in list(self._workers):
            worker.end()

    def _lanes_known(self, shard: int) -> bool:
        """Say whether a shard's worker has announced its connections, or cannot have any."""
        if any(worker.shard == shard and worker.announced for worker in self._workers):
            return True
        return not self._settings.serving(shard)

    def _read_missing(self) -> None:
        now_ms = self.clock.now_ms()
        for shard in sorted(set(self._settings.shards) - self.ledger.announced):
            usage = self._settings.read_usage(shard, first_minute(now_ms))
            if usage is not None:
                self.ledger.announce(shard, usage, {}, self.clock.monotonic(), now_ms)


class _Worker(asyncio.Protocol):
    """One connection. Only processes of our own user may have one."""

    def __init__(self, server: PermitsServer) -> None:
        self.shard = 0
        self._server = server
        self._lines = Lines()
        self._out: list[Note] = []
        self._usage: dict[str, dict[int, int]] = {}
        self._held: dict[int, tuple[str, int]] = {}
        self._entries = 0
        self.announced = False
        self.lanes = WorkerLanes()
        self.process = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.process, user = _peer(self._transport.get_extra_info("socket"))
        if user not in {0, os.geteuid()}:
            self._transport.abort()
            return
        self._server.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio calls it so
        self._server.left(self)

    def data_received(self, data: bytes) -> None:
        try:
            for note in self._lines.feed(data):
                self._handle(note)
        except (ProtocolError, ValueError, TypeError, KeyError):
            self.end()

    def tell(self, note: Note) -> None:
        """Send a note with the others of this turn."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(note)

    def end(self) -> None:
        """Close the connection at once."""
        self._server.left(self)
        self._transport.abort()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > BUFFERED_MAX_BYTES:
            self.end()  # a worker that does not read is hung; it announces again when it is not
            return
        self._transport.write(encode(out))

    def _handle(self, note: Note) -> None:
        word = note[0]
        if word in _BEFORE or (word == "lane" and not self.announced):
            self._announce(note)
            return
        if not self.announced:
            msg = "nothing was announced"
            raise ProtocolError(msg)
        if word in LANE_ACTIONS:
            LANE_ACTIONS[word](self, self._server.desk, note)
        elif word in WARM_UP_ACTIONS and self._server.warmup is not None:
            WARM_UP_ACTIONS[word](self, self._server.warmup, note)
        else:
            _ACTIONS[word](self, self._server, note)

    def _announce(self, note: Note) -> None:
        """Collect an announcement; it counts when it is complete."""
        self._entries += 1
        if note[0] == "hello":
            self.shard = _count(note[1])
            self._usage, self._held, self._entries, self.announced = {}, {}, 0, False
            self.lanes = WorkerLanes()
        elif note[0] == "usage":
            _, account, flat = note
            pairs = zip(map(_count, flat[::2]), map(_count, flat[1::2]), strict=True)
            self._usage.setdefault(_name(account), {}).update(pairs)
            self._entries += len(flat)
        elif note[0] == "held":
            _, lease_id, account, recipients = note
            self._held[_count(lease_id)] = (_name(account), _count(recipients))
        elif note[0] == "lane":
            self.lanes.define(note)
        elif note[0] == "holds":
            self.lanes.held[_count(note[1])] = _count(note[2])
        else:
            self.announced = True
            self._server.announced(self, self.shard, self._usage, self._held)
            self._usage, self._held = {}, {}
        if self._entries > ANNOUNCED_ENTRIES_MAX:
            msg = "the announcement is too long"
            raise ProtocolError(msg)


def _take(worker: _Worker, server: PermitsServer, note: Note) -> None:
    _, lease_id, account, recipients, counted, quota, rate = note
    _count(lease_id), _name(account), _count(recipients), _count(counted)
    if not isinstance(quota, int) or not isinstance(rate, int | float):
        raise ProtocolError(str(note))
    server.take(worker, note)


def _spent(worker: _Worker, server: PermitsServer, note: Note) -> None:
    server.ledger.spent(worker.shard, _count(note[1]), _count(note[2]), server.clock.monotonic())


def _unused(worker: _Worker, server: PermitsServer, note: Note) -> None:
    server.ledger.unused(worker.shard, _count(note[1]))


def _add(worker: _Worker, server: PermitsServer, note: Note) -> None:
    _, account, minute, recipients = note
    now = server.clock.monotonic()
    server.ledger.add(worker.shard, _name(account), _count(minute), _count(recipients), now)


def _spread(worker: _Worker, server: PermitsServer, note: Note) -> None:
    _name(note[1]), _name(note[2])
    server.spread(worker, note)


def _query(worker: _Worker, server: PermitsServer, note: Note) -> None:
    worker.tell(["used", _count(note[1]), server.ledger.used(_name(note[2]), server.clock.monotonic())])


_BEFORE = frozenset({"hello", "usage", "held", "holds", "announced"})
_ACTIONS: dict[str, Callable[[_Worker, PermitsServer, Note], None]] = {
    "take": _take,
    "spent": _spent,
    "unused": _unused,
    "add": _add,
    "failed": _spread,
    "succeeded": _spread,
    "query": _query,
}


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Return process and user of the other side."""
    size = struct.calcsize("3i")
    process, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return process, user


def listen(path: str) -> socket.socket:
    """Return a listening unix socket at `path`, mode 0600; what an earlier process left there is removed."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        if os.path.lexists(path):
            os.unlink(path)  # noqa: PTH108 a path that is text everywhere else here
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


async def serve_permits(
    listener: socket.socket,
    settings: PermitsSettings,
    clock: Clock,
    stop: asyncio.Event,
    on_start: Callable[[PermitsServer], None] | None = None,
    *,
    desk: LaneDesk | None = None,
    warmup: WarmUpDesk | None = None,
) -> None:
    """Serve workers on a listening unix socket until `stop` is set; `on_start` is called when it serves."""
    permits = PermitsServer(settings, clock, desk, warmup)
    server = await asyncio.get_running_loop().create_unix_server(lambda: _Worker(permits), sock=listener)
    try:
        if on_start is not None:
            on_start(permits)
        while not stop.is_set():
            permits.tick()
            try:
                await asyncio.wait_for(stop.wait(), _TICK_SECONDS)
            except TimeoutError:
                continue
    finally:
        server.close()
        permits.close()
