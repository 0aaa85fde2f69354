"""The first process: it holds the listening sockets, keeps the children alive, reloads and drains.

A plain `selectors` loop without threads, so that it can fork at any time. It never touches mail. What can happen:
a signal, a packet from a child, the death of a child, a moment that comes due. Three phases: RUNNING, then DRAINING
(workers first, because they need permits and the office until the end), then FINISHING (the others).

Beside it: `supervisor_children` forks and reaps, `supervisor_reload` knows the configuration in force,
`supervisor_start` is what happens before.
"""

import os
import selectors
import signal
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from relay.errors import RelayError
from relay.ports import Json
from relay.runtime import privileges, supervisor_start
from relay.runtime.board import Board
from relay.runtime.children import BODIES, BodyFactory, Role, find_body
from relay.runtime.config.environment import check, refuse_errors
from relay.runtime.config.load import load
from relay.runtime.config.model import Config
from relay.runtime.notify import Notifier
from relay.runtime.observe.log import StructuredLog, open_log
from relay.runtime.sockets import Listening, places_of
from relay.runtime.supervisor_child import Child, Nest, Timing, sockets_of
from relay.runtime.supervisor_children import Children
from relay.runtime.supervisor_reload import Reloads
from relay.runtime.supervisor_signals import Signals

_TICK_SECONDS_MAX = 1.0
_KILL_GRACE_SECONDS = 2.0


class Phase(Enum):
    """What the supervisor is doing."""

    RUNNING = "running"
    DRAINING = "draining"
    FINISHING = "finishing"


def serve(
    config_path: Path,
    *,
    bodies: Mapping[Role, BodyFactory] | None = None,
    timing: Timing | None = None,
) -> int:
    """Run the relay until it is told to stop; return the exit code.

    Raise RelayError, with the exit code to leave with, for what keeps it from starting.
    """
    with Signals() as signals:
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
        listening = Listening(config.worker_count(len(os.sched_getaffinity(0))))
        listening.open(places_of(config.listeners))
        privileges.raise_open_files(supervisor_start.open_files_wanted(config))
        found = dict(bodies) if bodies is not None else {role: find_body(name) for role, name in BODIES.items()}
        supervisor_start.preload()  # before root is given up: the library may be where only root can read
        privileges.drop(target)
        if bodies is None:
            supervisor_start.prepare_catalog(config)
        return Supervisor(config_path, config, signals, listening, lock, log, found, timing or Timing()).run()


class Supervisor:
    """The loop. Made by `serve`, after the ports are bound and root is given up."""

    def __init__(  # noqa: PLR0917 - what was made before root was given up
        self,
        config_path: Path,
        config: Config,
        signals: Signals,
        listening: Listening,
        lock: supervisor_start.RunLock,
        log: StructuredLog,
        bodies: dict[Role, BodyFactory],
        timing: Timing,
    ) -> None:
        self._listening = listening
        self._lock = lock
        self._timing = timing
        self._run_dir = config.data_dir / "run"
        self._log = log.bind(process="supervisor")
        self._notifier = Notifier(os.environ, os.getpid())
        self._selector = selectors.DefaultSelector()
        self._signals = signals
        children = [Child(role, 0) for role in Role if role is not Role.WORKER]
        children += [Child(Role.WORKER, index) for index in range(1, listening.workers + 1)]
        board = Board([child.name for child in children])
        nest = Nest(board, log, self._run_dir, bodies, self._leave_behind)
        self._children = Children(children, nest, self._selector, timing, self._log)
        self._reloads = Reloads(
            config_path,
            config,
            self._children,
            listening,
            log=self._log,
            notifier=self._notifier,
            patience_seconds=timing.reload,
        )
        self._phase = Phase.RUNNING
        self._deadline = 0.0
        self._ping_due = 0.0
        self._watchdog_due = 0.0
        self._announced = False
        self._failure: RelayError | None = None

    # --- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Start everything, and return the exit code when everything has ended.

        Raise RelayError when a child said why the relay cannot start.
        """
        self._signals.catch((signal.SIGTERM, signal.SIGINT, signal.SIGCHLD))
        self._selector.register(self._signals, selectors.EVENT_READ, None)
        self._reloads.write_listeners()
        for place, port in self._listening.bound().items():
            self._log.info("listening", address=place.address, port=port)
        privileges.name_process("relay")
        self._notifier.status("starting")
        try:
            while not self._finished():
                self._tick(time.monotonic())
                for key, _events in self._selector.select(self._patience(time.monotonic())):
                    self._read(key.data)
                for child, code in self._children.died():
                    self._on_death(child, code)
        finally:
            self._close()
        self._log.info("stopped")
        if self._failure is not None:
            raise self._failure
        return 0

    def _finished(self) -> bool:
        return self._phase is not Phase.RUNNING and not any(child.pid for child in self._children)

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
            self._children.start_due(now, self._reloads.current(), self._reloads.generation, self._listening)
        elif now >= self._deadline:
            self._end_those_left(now)
        if now >= self._ping_due:
            self._ping_due = now + self._timing.ping
            self._children.ping()
        self._reloads.tick(now)
        if self._notifier.watchdog_seconds and now >= self._watchdog_due:
            self._watchdog_due = now + self._notifier.watchdog_seconds
            if self._phase is not Phase.RUNNING or self._children.healthy():
                self._notifier.watchdog()

    def _read(self, child: Child | None) -> None:
        if child is None:
            for number in self._signals.read():
                self._on_signal(number)
            return
        for message in self._children.said(child):
            self._on_packet(child, message)

    # --- what children do ----------------------------------------------------------------------------------------

    def _on_packet(self, child: Child, message: Json) -> None:
        op = message.get("op")
        if op == "ready":
            child.ready = True
            self._log.info("process ready", name=child.name, pid=child.pid)
            self._reloads.ready(child)
            self._announce()
        elif op == "failed":
            child.failure = (int(message["code"]), str(message["error"]))
        elif op == "reloaded":
            self._reloads.answered(child, message)

    def _announce(self) -> None:
        if self._announced or self._phase is not Phase.RUNNING or not all(child.ready for child in self._children):
            return
        self._announced = True
        self._log.info("ready", workers=self._listening.workers, pid=os.getpid())
        self._notifier.ready(self._reloads.status())

    def _on_death(self, child: Child, code: int) -> None:
        """Take a dead child off the books, and start it again unless all is to end."""
        self._read(child)  # what it said last
        pid, ready = child.pid, child.ready
        delay = self._children.bury(child, time.monotonic())
        self._reloads.done_with(child)
        if self._phase is not Phase.RUNNING:
            self._go_on()
        elif child.failure is not None and not self._announced and not ready:
            self._abandon_start(*child.failure)
        else:
            say = self._log.error if code else self._log.warning  # 0: an operator ended it
            how = f"exit code {code}" if code >= 0 else f"signal {_SIGNAL_NAMES.get(-code, -code)}"
            say("process ended and is started again", name=child.name, pid=pid, how=how, delay_seconds=delay)

    def _abandon_start(self, code: int, sentence: str) -> None:
        """A process said why the relay cannot start: stop, and leave with its sentence."""
        self._failure = RelayError(sentence)
        self._failure.exit_code = code
        self._drain("start failed")

    def _leave_behind(self, child: Child) -> None:
        """In a new child: close everything of the supervisor that it must not keep open."""
        self._lock.leave(self._run_dir)
        self._notifier.close()
        self._selector.close()
        self._signals.leave()
        for other in self._children:
            if other.channel is not None:
                other.channel.close()
        own = sockets_of(child, self._reloads.current(), self._listening)
        self._listening.close_all_except(own.values())

    # --- the end -------------------------------------------------------------------------------------------------

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._reloads.want()
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._stop(signal.Signals(number).name)

    def _stop(self, why: str) -> None:
        """Drain; the second time, end at once."""
        if self._phase is Phase.RUNNING:
            self._drain(why)
            return
        self._log.warning("ending at once", signal=why)
        for child in self._children:
            self._children.kill(child)

    def _drain(self, why: str) -> None:
        timeout = self._reloads.config.limits.drain_timeout
        self._log.info("draining", why=why, timeout_seconds=timeout)
        self._notifier.stopping("draining")
        self._reloads.stop()
        self._listening.close(self._listening.places())
        self._enter(Phase.DRAINING, timeout)
        self._go_on()

    def _enter(self, phase: Phase, timeout: float) -> None:
        """Tell those that this phase ends to do so within a time."""
        self._phase = phase
        self._deadline = time.monotonic() + timeout + _KILL_GRACE_SECONDS
        for child in self._ending():
            if child.channel is None or not child.channel.send({"op": "drain", "timeout_seconds": timeout}):
                self._children.kill(child)

    def _ending(self) -> list[Child]:
        """Return the children that this phase ends."""
        every = self._phase is Phase.FINISHING
        return [child for child in self._children if child.pid and (every or child.role is Role.WORKER)]

    def _go_on(self) -> None:
        """Turn to permits and the office when the workers have ended."""
        if self._phase is Phase.DRAINING and not self._ending():
            self._enter(Phase.FINISHING, self._timing.drain_rest)

    def _end_those_left(self, now: float) -> None:
        self._deadline = now + _KILL_GRACE_SECONDS
        for child in self._ending():
            self._log.warning("process did not end in time and is killed", name=child.name, pid=child.pid)
            self._children.kill(child)

    def _close(self) -> None:
        """Leave nothing behind, however the loop ended."""
        for child in self._children:
            self._children.kill(child)
        self._listening.close(self._listening.places())
        self._selector.close()
        self._notifier.close()
        self._lock.release()


_SIGNAL_NAMES = {one.value: one.name for one in signal.Signals}
