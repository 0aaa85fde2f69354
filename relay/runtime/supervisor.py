"""The first process: it holds the listening sockets, keeps the children alive, reloads and drains.

A plain `selectors` loop without threads, so that it can fork at any time. It never touches mail. What can happen:
a signal, a packet from a child, the death of a child, a moment that comes due. Three phases: RUNNING, then DRAINING
(workers first, because they need permits and the office until the end), then FINISHING (the others).

A reload is done whole or not at all: the file is validated, new ports are bound, every ready child takes the new
configuration; when one of them cannot, those that did get the old one back. A child that is just starting gets what
is current once it is ready.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from relay.errors import ConfigurationError, RelayError
from relay.ports import Json
from relay.runtime import privileges, supervisor_start
from relay.runtime.board import Board
from relay.runtime.children import BODIES, BodyFactory, Role, child_name, find_body
from relay.runtime.config.environment import check, refuse_errors
from relay.runtime.config.load import load
from relay.runtime.config.model import Config
from relay.runtime.config.reload import reload_changes
from relay.runtime.control import to_memory_file
from relay.runtime.notify import Notifier
from relay.runtime.observe.log import StructuredLog, open_log
from relay.runtime.sockets import Listening, Place, places_of
from relay.runtime.supervisor_child import Child, Nest, Timing, start_child

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_TICK_SECONDS_MAX = 1.0
_KILL_GRACE_SECONDS = 2.0
_SIGNAL_BYTES = 256


class Phase(Enum):
    """What the supervisor is doing."""

    RUNNING = "running"
    DRAINING = "draining"
    FINISHING = "finishing"


@dataclass(slots=True)
class Reload:
    """A reload that children are taking on. `waiting` has those that have not answered.

    `back`: the old configuration again, after one of them could not take the new one.
    """

    config: Config
    generation: int
    opened: list[Place]
    deadline: float
    waiting: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    back: bool = False


def serve(
    config_path: Path,
    *,
    bodies: Mapping[Role, BodyFactory] | None = None,
    timing: Timing | None = None,
) -> int:
    """Run the relay until it is told to stop; return the exit code.

    Raise RelayError, with the exit code to leave with, for what keeps it from starting.
    """
    loaded = load(config_path)
    findings = check(loaded, now_ms=int(time.time() * 1000), ports=False)
    refuse_errors(findings)
    config = loaded.config
    log = open_log(config.logging.format, config.logging.level)
    for finding in findings:
        log.warning("configuration", text=str(finding))
    target = supervisor_start.run_as_of(config)
    os.umask(0o077)
    run_dir = supervisor_start.prepare_directories(config.data_dir, target)
    with privileges.acting_as(target):
        lock = supervisor_start.RunLock.take(run_dir)
    workers = config.worker_count(len(os.sched_getaffinity(0)))
    listening = Listening(workers)
    listening.open(places_of(config.listeners))
    privileges.raise_open_files(supervisor_start.open_files_wanted(config))
    found = dict(bodies) if bodies is not None else {role: find_body(name) for role, name in BODIES.items()}
    supervisor_start.preload()  # before root is given up: the library may be where only root can read
    privileges.drop(target)
    if bodies is None:
        supervisor_start.prepare_catalog(config)
    supervisor = Supervisor(
        config_path, config, workers=workers, listening=listening, lock=lock, log=log, bodies=found, timing=timing
    )
    return supervisor.run()


class Supervisor:
    """The loop. Made by `serve`, after the ports are bound and root is given up."""

    def __init__(
        self,
        config_path: Path,
        config: Config,
        *,
        workers: int,
        listening: Listening,
        lock: supervisor_start.RunLock,
        log: StructuredLog,
        bodies: dict[Role, BodyFactory],
        timing: Timing | None = None,
    ) -> None:
        self._config_path = config_path
        self._config = config
        self._listening = listening
        self._lock = lock
        self._timing = timing or Timing()
        self._run_dir = config.data_dir / "run"
        self._workers = workers
        self._children = [Child(role, 0) for role in Role if role is not Role.WORKER]
        self._children += [Child(Role.WORKER, index) for index in range(1, workers + 1)]
        self._log = log.bind(process="supervisor")
        self._board = Board([child_name(child.role, child.index) for child in self._children])
        self._nest = Nest(self._board, log, self._run_dir, bodies, self._leave_behind)
        self._notifier = Notifier(os.environ, os.getpid())
        self._selector = selectors.DefaultSelector()
        self._signals_in, self._signals_out = socket.socketpair()
        self._phase = Phase.RUNNING
        self._deadline = 0.0
        self._ping_due = 0.0
        self._watchdog_due = 0.0
        self._reload: Reload | None = None
        self._reload_wanted = False
        self._generation = 0
        self._announced = False
        self._failure: RelayError | None = None

    # --- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Start everything, and return the exit code when everything has ended.

        Raise RelayError when a child said why the relay cannot start.
        """
        self._catch_signals()
        self._note_open_ports()
        for place, port in self._listening.bound().items():
            self._log.info("listening", address=place.address, port=port)
        privileges.name_process("relay")
        self._notifier.status("starting")
        try:
            while not self._finished():
                self._tick(time.monotonic())
                for key, _events in self._selector.select(self._patience(time.monotonic())):
                    self._read(key)
                self._reap()
        finally:
            self._close()
        self._log.info("stopped")
        if self._failure is not None:
            raise self._failure
        return 0

    def _catch_signals(self) -> None:
        self._signals_in.setblocking(False)
        self._signals_out.setblocking(False)
        signal.set_wakeup_fd(self._signals_out.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        self._selector.register(self._signals_in, selectors.EVENT_READ, None)

    def _finished(self) -> bool:
        return self._phase is not Phase.RUNNING and not any(child.pid for child in self._children)

    def _read(self, key: selectors.SelectorKey) -> None:
        if key.data is None:
            for number in self._signals_in.recv(_SIGNAL_BYTES):
                self._on_signal(number)
            return
        child: Child = key.data
        if child.channel is None:
            return
        try:
            packet = child.channel.receive()
        except BlockingIOError:
            return
        if packet is None:
            self._selector.unregister(key.fileobj)  # it is dying; its death is noticed by SIGCHLD
            return
        self._on_packet(child, packet[0])

    def _patience(self, now: float) -> float:
        """Return how long to wait for something to happen."""
        due = [self._ping_due, now + _TICK_SECONDS_MAX]
        if self._phase is Phase.RUNNING:
            due += [child.start_due for child in self._children if not child.pid]
        if self._notifier.watchdog_seconds:
            due.append(self._watchdog_due)
        return max(0.0, min(due) - now)

    def _tick(self, now: float) -> None:
        """Do what has come due."""
        if self._phase is Phase.RUNNING:
            self._start_due(now)
        elif now >= self._deadline:
            self._next_phase(now, forced=True)
        if now >= self._ping_due:
            self._ping_due = now + self._timing.ping
            self._ping_all(now)
        if self._reload is not None and now >= self._reload.deadline:
            self._give_up_waiting(self._reload)
        if self._notifier.watchdog_seconds and now >= self._watchdog_due:
            self._watchdog_due = now + self._notifier.watchdog_seconds
            if self._phase is not Phase.RUNNING or all(child.healthy(now, self._timing) for child in self._children):
                self._notifier.watchdog()

    # --- children ------------------------------------------------------------------------------------------------

    def _start_due(self, now: float) -> None:
        for child in self._children:
            if child.pid or now < child.start_due:
                continue
            start_child(child, self._current(), self._sockets_of(child, self._current()), self._nest)
            child.generation = self._reload.generation if self._reload else self._generation
            assert child.channel is not None
            self._selector.register(child.channel, selectors.EVENT_READ, child)

    def _sockets_of(self, child: Child, config: Config) -> dict[Place, socket.socket]:
        """Return the sockets of a child under a configuration; one that it does not serve would swallow clients."""
        if child.role in (Role.PERMITS, Role.EVENTS):
            return {}
        wanted = set(places_of(config.listeners))
        listening = self._listening
        held = listening.of_worker(child.index) if child.role is Role.WORKER else listening.of_office()
        return {place: found for place, found in held.items() if place in wanted}

    def _leave_behind(self, child: Child) -> None:
        """In a new child: close everything of the supervisor that it must not keep open."""
        self._lock.leave(self._run_dir)
        self._notifier.close()
        self._selector.close()
        self._signals_in.close()
        self._signals_out.close()
        for other in self._children:
            if other.channel is not None:
                other.channel.close()
        self._listening.close_all_except(self._sockets_of(child, self._current()).values())

    def _on_packet(self, child: Child, message: Json) -> None:
        child.answered = time.monotonic()
        op = message.get("op")
        if op == "ready":
            child.ready = True
            self._log.info("process ready", name=child.name, pid=child.pid)
            if self._reload is None and child.generation != self._generation:
                self._send_configuration(child, self._config, self._generation)
            self._announce()
        elif op == "failed":
            child.failure = (int(message["code"]), str(message["error"]))
        elif op == "reloaded":
            self._on_reloaded(child, message)

    def _announce(self) -> None:
        if self._announced or not all(child.ready for child in self._children):
            return
        self._announced = True
        self._log.info("ready", workers=self._workers, pid=os.getpid())
        self._notifier.ready(self._status())

    def _status(self) -> str:
        return f"{self._workers} workers, {len(self._listening.places())} listeners"

    def _ping_all(self, now: float) -> None:
        for child in self._children:
            if child.channel is not None:
                child.channel.send({"op": "ping"})
            if child.hung(now, self._timing):
                self._log.error("process does not answer and is ended", name=child.name, pid=child.pid)
                self._kill(child)

    def _kill(self, child: Child) -> None:
        if child.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)

    def _reap(self) -> None:
        for child in self._children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._on_death(child, status)

    def _on_death(self, child: Child, status: int) -> None:
        """Take a dead child off the books, and start it again unless all is to end."""
        pid = child.pid
        self._drain_packets(child)
        ready = child.ready
        if child.channel is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.channel)
        delay = child.died(time.monotonic(), self._timing)
        self._board.rows[child.name].clear()
        if self._reload is not None:
            self._taken_on(self._reload, child)
        if self._phase is not Phase.RUNNING:
            self._next_phase(time.monotonic(), forced=False)
            return
        if child.failure is not None and not self._announced and not ready:
            self._abandon_start(child)
            return
        how = _how_it_ended(status)
        say = self._log.error if status else self._log.warning  # 0: an operator ended it
        say("process ended and is started again", name=child.name, pid=pid, how=how, delay_seconds=delay)

    def _drain_packets(self, child: Child) -> None:
        """Read what the child said last."""
        while child.channel is not None:
            try:
                packet = child.channel.receive()
            except BlockingIOError:
                return
            if packet is None:
                return
            self._on_packet(child, packet[0])

    def _abandon_start(self, child: Child) -> None:
        """A process said why the relay cannot start: stop, and leave with its sentence."""
        assert child.failure is not None
        code, sentence = child.failure
        self._failure = RelayError(sentence)
        self._failure.exit_code = code
        self._drain("start failed")

    # --- signals -------------------------------------------------------------------------------------------------

    def _on_signal(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop(signal.Signals(number).name)
        elif number == signal.SIGHUP:
            self._reload_wanted = True
            self._begin_reload()

    def _stop(self, why: str) -> None:
        """Drain; the second time, end at once."""
        if self._phase is Phase.RUNNING:
            self._drain(why)
            return
        self._log.warning("ending at once", signal=why)
        for child in self._children:
            self._kill(child)

    def _drain(self, why: str) -> None:
        self._phase = Phase.DRAINING
        timeout = self._config.limits.drain_timeout
        self._log.info("draining", why=why, timeout_seconds=timeout)
        self._notifier.stopping("draining")
        self._listening.close(self._listening.places())
        self._deadline = time.monotonic() + timeout + _KILL_GRACE_SECONDS
        self._tell_to_drain(timeout)
        self._next_phase(time.monotonic(), forced=False)

    def _ending(self) -> list[Child]:
        """Return the children that this phase ends."""
        return [
            child
            for child in self._children
            if child.pid and (self._phase is Phase.FINISHING or child.role is Role.WORKER)
        ]

    def _tell_to_drain(self, timeout: float) -> None:
        for child in self._ending():
            if child.channel is None or not child.channel.send({"op": "drain", "timeout_seconds": timeout}):
                self._kill(child)

    def _next_phase(self, now: float, *, forced: bool) -> None:
        """Go on when everybody who is to end has ended; `forced`: their time is over."""
        left = self._ending()
        if forced:
            for child in left:
                self._log.warning("process did not end in time and is killed", name=child.name, pid=child.pid)
                self._kill(child)
            self._deadline = now + _KILL_GRACE_SECONDS
            return
        if left or self._phase is Phase.FINISHING:
            return
        self._phase = Phase.FINISHING
        self._deadline = now + self._timing.drain_rest + _KILL_GRACE_SECONDS
        self._tell_to_drain(self._timing.drain_rest)

    # --- reload --------------------------------------------------------------------------------------------------

    def _note_open_ports(self) -> None:
        fault = supervisor_start.write_listeners(self._run_dir, self._listening.bound())
        if fault:
            self._log.warning("the list of open ports is out of date", error=fault)

    def _current(self) -> Config:
        """Return the configuration that a child starting now gets."""
        return self._reload.config if self._reload is not None else self._config

    def _begin_reload(self) -> None:
        """Validate the file, open what is new, and pass it on; one reload at a time."""
        if not self._reload_wanted or self._reload is not None or self._phase is not Phase.RUNNING:
            return
        self._reload_wanted = False
        self._notifier.reloading()
        try:
            config = self._read_new_configuration()
            opened = self._listening.open(places_of(config.listeners))
        except RelayError as error:
            self._refuse_reload(str(error).splitlines())
            return
        self._generation += 1
        reload = Reload(config, self._generation, opened, time.monotonic() + self._timing.reload)
        reload.waiting = {child.name for child in self._children if child.ready}
        self._reload = reload
        for child in self._children:
            if child.ready and not self._send_configuration(child, config, reload.generation):
                self._kill(child)
        self._end_reload_if_done(reload)

    def _read_new_configuration(self) -> Config:
        loaded = load(self._config_path)
        findings = check(loaded, now_ms=int(time.time() * 1000), ports=False)
        refuse_errors(findings)
        for finding in findings:
            self._log.warning("configuration", text=str(finding))
        refusal = reload_changes(self._config, loaded.config).refusal
        if refusal:
            raise ConfigurationError(refusal)
        return loaded.config

    def _refuse_reload(self, faults: list[str]) -> None:
        for fault in faults:
            self._log.error("reload refused, the old configuration stays", fault=fault)
        self._notifier.ready(f"reload refused; {self._status()}")

    def _send_configuration(self, child: Child, config: Config, generation: int) -> bool:
        """Send a configuration and the sockets that the child does not have yet."""
        assert child.channel is not None
        sockets = self._sockets_of(child, config)
        new = [place for place in sockets if place not in child.held]
        memory = to_memory_file(config)
        try:
            message = {
                "op": "reload",
                "id": generation,
                "opened": [[place.office, place.address, place.port] for place in new],
            }
            sent = child.channel.send(message, [memory, *(sockets[place].fileno() for place in new)])
        finally:
            os.close(memory)
        child.held = set(sockets)
        child.generation = generation
        return sent

    def _on_reloaded(self, child: Child, message: Json) -> None:
        reload = self._reload
        if reload is None or message.get("id") != reload.generation:
            if not message.get("ok"):  # a straggler that cannot live with what all others have
                self._kill(child)
            return
        if not message.get("ok"):
            reload.faults.append(f"{child.name}: {message.get('error', '')}")
            child.generation = -1
            child.held &= set(places_of(self._config.listeners))
        self._taken_on(reload, child)

    def _taken_on(self, reload: Reload, child: Child) -> None:
        reload.waiting.discard(child.name)
        self._end_reload_if_done(reload)

    def _give_up_waiting(self, reload: Reload) -> None:
        for child in self._children:
            if child.name in reload.waiting:
                self._log.error("process did not reload in time and is started again", name=child.name)
                self._kill(child)
        reload.deadline = time.monotonic() + self._timing.reload

    def _end_reload_if_done(self, reload: Reload) -> None:
        """Make the new configuration the current one when all have it; take it back when one could not."""
        if self._reload is not reload or reload.waiting:
            return
        self._reload = None
        if reload.faults and not reload.back:
            self._take_back(reload)
        elif not reload.back:
            self._config = reload.config
            self._listening.close(self._listening.places() - set(places_of(reload.config.listeners)))
            self._note_open_ports()
            self._log.info("reloaded", listeners=len(self._listening.places()))
            self._notifier.ready(self._status())
        self._update_stragglers()
        if self._reload is not None:
            self._end_reload_if_done(self._reload)
        self._begin_reload()

    def _take_back(self, reload: Reload) -> None:
        """Go back to the old configuration; until every child has it, the new ports are still open in some."""
        self._listening.close(reload.opened)
        self._generation += 1
        self._refuse_reload(reload.faults)
        waiting = {child.name for child in self._children if child.ready}
        deadline = time.monotonic() + self._timing.reload
        self._reload = Reload(self._config, self._generation, [], deadline, waiting, back=True)

    def _update_stragglers(self) -> None:
        """Give every ready child with another configuration the current one."""
        for child in self._children:
            if not child.ready or child.generation == self._generation:
                continue
            if not self._send_configuration(child, self._config, self._generation):
                self._kill(child)

    # --- the end -------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Leave nothing behind, however the loop ended."""
        for child in self._children:
            self._kill(child)
        signal.set_wakeup_fd(-1)
        self._listening.close(self._listening.places())
        self._selector.close()
        self._signals_in.close()
        self._signals_out.close()
        self._notifier.close()
        self._lock.release()


def _how_it_ended(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.waitstatus_to_exitcode(status)}"
