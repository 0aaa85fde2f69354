"""What every child process has in common: its life from the fork to its exit code.

The supervisor forks; `run_child` makes an event loop, starts the body, answers pings, passes reloads and drains
on, and turns every ending into an exit code. What a child does is its body's: a worker, permits, the office, events.
All bodies get the same `ChildContext` and keep the promises of `ChildBody`.

A child never outlives the supervisor: the kernel kills it (PR_SET_PDEATHSIG), and end of file on the control line
ends it where that is not to be had. That is a crash like any other, and loses nothing.
"""

import asyncio
import contextlib
import importlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import uvloop

from relay.errors import RelayError
from relay.ports import Json
from relay.runtime.board import Board, Phase, Row
from relay.runtime.config.incoming import Listener as ListenerConfig
from relay.runtime.config.model import Config
from relay.runtime.control import Channel, from_memory_file
from relay.runtime.observe.log import StructuredLog, adopt_libraries
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.rpc import Ops, Server
from relay.runtime.sockets import Place, place_of, places_of

EX_SOFTWARE = 70
_BEAT_SECONDS = 1.0
_RELOAD_WAIT_SECONDS = 5.0


class Role(StrEnum):
    """What a child process is for."""

    PERMITS = "permits"
    OFFICE = "office"
    EVENTS = "events"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Listener:
    """A configured listener and this process's listening socket for it, already listening, not blocking."""

    config: ListenerConfig
    socket: socket.socket


@dataclass(slots=True)
class ChildContext:
    """What a body is made from. `index` counts workers from 1 and is 0 for the others.

    `ops` are answered at `run/<name>.sock` once the body has started; `row` is this process's part of the board.
    """

    role: Role
    index: int
    name: str
    config: Config
    listeners: tuple[Listener, ...]
    board: Board
    row: Row
    log: StructuredLog
    metrics: ProcessMetrics
    ops: Ops
    run_dir: Path


class ChildBody(Protocol):
    """What a child does, called on its event loop. A RelayError from `start` ends a relay that is starting."""

    async def start(self) -> None:
        """Take up work; return when it is ready."""
        ...

    async def reload(self, config: Config, listeners: Sequence[Listener]) -> None:
        """Take on a validated configuration whole, or raise RelayError and go on with the old one.

        A listener kept has the same socket object as before; the runner closes the sockets that are gone after this
        returns. Called again with the old configuration when another process could not take the new one.
        """
        ...

    async def drain(self, timeout_seconds: float) -> None:
        """Stop accepting, let what runs end within the time, close everything."""
        ...

    def ping(self) -> None:
        """Called a few times a minute; an exception ends the process, which is then restarted."""
        ...


BodyFactory = Callable[[ChildContext], ChildBody]

BODIES: Mapping[Role, str] = {
    Role.PERMITS: "relay.runtime.permits.body:PermitsBody",
    Role.OFFICE: "relay.runtime.office:OfficeBody",
    Role.EVENTS: "relay.runtime.events.body:EventsBody",
    Role.WORKER: "relay.runtime.worker:WorkerBody",
}


def child_name(role: Role, index: int) -> str:
    """Return the name of a process, which is the name of its socket, its board row and its log field."""
    return f"{role}-{index:04d}" if role is Role.WORKER else str(role)


def find_body(name: str) -> BodyFactory:
    """Import `module:attribute`."""
    module, _, attribute = name.partition(":")
    found: BodyFactory = getattr(importlib.import_module(module), attribute)
    return found


def listeners_for(config: Config, sockets: Mapping[Place, socket.socket]) -> tuple[Listener, ...]:
    """Pair configured listeners with the sockets a process holds, in the order of the configuration."""
    pairs = ((entry, sockets.get(place_of(entry.kind, entry.address, entry.port))) for entry in config.listeners)
    return tuple(Listener(entry, found) for entry, found in pairs if found is not None)


def run_child(context: ChildContext, channel: Channel, sockets: dict[Place, socket.socket], body: BodyFactory) -> int:
    """Live as a child; return the exit code."""
    log = context.log
    adopt_libraries(log)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_Life(context, channel, sockets, body).live())
    except Exception as error:  # noqa: BLE001 (the last place that can say why a process ended)
        _report(log, "the process failed", error)
        return EX_SOFTWARE
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


class _Life:
    """From start to exit code of one child."""

    def __init__(
        self, context: ChildContext, channel: Channel, sockets: dict[Place, socket.socket], body: BodyFactory
    ) -> None:
        self._context = context
        self._channel = channel
        self._sockets = sockets
        self._make_body = body
        self._body: ChildBody | None = None
        self._ended: asyncio.Future[int]
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._draining = False
        self._started = False
        self._beat_due = 0.0
        self._server: Server | None = None
        self._lines_dropped = context.log.lines_dropped

    async def live(self) -> int:
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        loop.set_exception_handler(self._stray)
        self._context.log.writer.attach(loop.call_soon)
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_reader(self._channel.fileno(), self._read_control)
        self._beat_due = loop.time()
        self._beat()
        self._spawn(self._start())
        code = await self._ended
        loop.remove_reader(self._channel.fileno())
        self._context.log.writer.detach()
        return code

    async def _start(self) -> None:
        context = self._context
        try:
            self._body = self._make_body(context)
            context.ops.add("metrics.snapshot", lambda _request: context.metrics.snapshot())
            context.ops.add("ping", lambda _request: {"process": context.name, "pid": os.getpid()})
            await self._body.start()
            # Kept: a listener that nobody refers to is closed when it is collected.
            self._server = Server(context.run_dir / f"{context.name}.sock", context.ops, context.log)
            await self._server.start()
        except RelayError as error:
            self._fail(error)
            return
        except OSError as error:
            _report(context.log, "the process could not start", error)
            self._end(EX_SOFTWARE)
            return
        self._started = True
        if self._draining:
            return
        context.row.enter(Phase.READY)
        self._channel.send({"op": "ready"})

    def _fail(self, error: RelayError) -> None:
        """End for a reason that has a sentence."""
        self._channel.send({"op": "failed", "code": error.exit_code, "error": str(error)[:10_000]})
        self._context.log.error("the process could not start", reason=str(error))
        self._end(error.exit_code)

    # --- what the supervisor says --------------------------------------------------------------------------------

    def _read_control(self) -> None:
        while True:
            try:
                packet = self._channel.receive()
            except BlockingIOError:
                return
            if packet is None:
                os._exit(1)  # the supervisor is gone; everything acknowledged is on disk
            self._obey(*packet)

    def _obey(self, message: Json, descriptors: list[int]) -> None:
        op = message.get("op")
        if op == "ping":
            if self._body is not None:
                self._body.ping()
            self._channel.send({"op": "pong"})
        elif op == "reload":
            self._spawn(self._reload(message, descriptors))
        elif op == "drain":
            self._drain(float(message["timeout_seconds"]))

    async def _reload(self, message: Json, descriptors: list[int]) -> None:
        """Take on the configuration of a memory file, with the sockets that came with it, or keep the old one.

        One after the other: a process that was slow to start may be told of two at once, and the later one holds.
        """
        async with self._reloading:
            answer = await self._take_on(message, descriptors)
        self._channel.send(answer)

    async def _take_on(self, message: Json, descriptors: list[int]) -> Json:
        config: Config = from_memory_file(descriptors[0])
        for (office, address, port), descriptor in zip(message["opened"], descriptors[1:], strict=True):
            self._sockets[Place(office, address, port)] = socket.socket(fileno=descriptor)
        context = self._context
        answer: Json = {"op": "reloaded", "id": message["id"], "ok": True}
        try:
            await self._hand_over(config)
        except Exception as error:  # noqa: BLE001 (whatever goes wrong, the old configuration stays)
            _report(context.log, "the process could not take the new configuration", error)
            reason = str(error) if isinstance(error, RelayError) else f"{type(error).__name__}: {error}"
            answer.update(ok=False, error=reason[:5000])
        self._close_sockets(self._sockets.keys() - set(places_of(context.config.listeners)))
        return answer

    async def _hand_over(self, config: Config) -> None:
        assert self._body is not None
        listeners = listeners_for(config, self._sockets)
        await self._body.reload(config, listeners)
        self._context.config = config
        self._context.listeners = listeners

    def _close_sockets(self, places: set[Place]) -> None:
        for place in places:
            self._sockets.pop(place).close()

    # --- the end -------------------------------------------------------------------------------------------------

    def _terminate(self) -> None:
        """SIGTERM: drain; a second one ends at once."""
        if self._draining:
            os._exit(1)
        self._drain(self._context.config.limits.drain_timeout)

    def _drain(self, timeout_seconds: float) -> None:
        if self._draining:
            return
        self._draining = True
        self._context.row.enter(Phase.DRAINING)
        self._spawn(self._drain_body(timeout_seconds))

    async def _drain_body(self, timeout_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):  # a reload under way would open doors again; none begins after it
            async with asyncio.timeout(min(timeout_seconds, _RELOAD_WAIT_SECONDS)):
                await self._reloading.acquire()
        if self._body is not None and self._started:
            await self._body.drain(timeout_seconds)
        if self._server is not None:
            await self._server.close()
        self._end(0)

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)

    # --- small things --------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Say that the loop turns, and how late it came to say so."""
        loop = asyncio.get_running_loop()
        self._context.row.beat()
        self._context.metrics.observe("relay_loop_lag_seconds", max(0.0, loop.time() - self._beat_due))
        self._beat_due = loop.time() + _BEAT_SECONDS
        dropped = self._context.log.lines_dropped
        if dropped > self._lines_dropped:
            self._context.metrics.count("relay_log_lines_dropped_total", amount=dropped - self._lines_dropped)
            self._lines_dropped = dropped
        loop.call_later(_BEAT_SECONDS, self._beat)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        self._context.log.error("the process failed", error=error)
        self._end(EX_SOFTWARE)

    def _stray(self, _loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
        """Log an exception that nobody awaited; the process goes on."""
        error = about.get("exception")
        fields = {"error": error} if error is not None else {}
        self._context.log.error("an exception was not handled", text=about.get("message", ""), **fields)


def _report(log: StructuredLog, event: str, error: BaseException) -> None:
    log.error(event, error=error)


def new_epoch() -> str:
    """Return a name for this run of this process, for counters that must not go back."""
    return f"{os.getpid()}-{time.monotonic_ns()}"
