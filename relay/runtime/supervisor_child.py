"""One child as the supervisor sees it: forking it, its line, its health, and when to start it again."""

import gc
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from relay.runtime import privileges
from relay.runtime.board import Board
from relay.runtime.children import (
    EX_SOFTWARE,
    BodyFactory,
    ChildContext,
    Role,
    child_name,
    listeners_for,
    new_epoch,
    run_child,
)
from relay.runtime.config.model import Config
from relay.runtime.control import Channel
from relay.runtime.observe.log import StructuredLog
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.rpc import Ops
from relay.runtime.sockets import Listening, Place, places_of

_CRASH_LOOP = 5  # deaths without settling in between
_CHILD_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient the supervisor is, in seconds."""

    ping: float = 5.0
    hang: float = 30.0
    start: float = 900.0  # adopting a shard after a crash reads all of it
    restart_first: float = 0.1
    restart_max: float = 5.0
    settled: float = 30.0  # a child that lived so long failed for a new reason
    reload: float = 30.0
    drain_rest: float = 5.0  # permits and office, after the workers


@dataclass(slots=True)
class Child:
    """The state of one child. Times are on the monotonic clock; `pid` 0 means that it does not run."""

    role: Role
    index: int
    pid: int = 0
    channel: Channel | None = None
    ready: bool = False
    started: float = 0.0
    unanswered: int = 0  # pings since it last said something
    start_due: float = 0.0
    failures: int = 0
    held: set[Place] = field(default_factory=set)
    generation: int = 0  # of the configuration it has
    failure: tuple[int, str] | None = None

    @property
    def name(self) -> str:
        """Name of the process."""
        return child_name(self.role, self.index)

    def hung(self, timing: Timing) -> bool:
        """Say whether the process has not answered for too long.

        Counted in pings: while the supervisor itself stands still, such as in a container that is paused, it asks
        nobody, and holds it against nobody afterwards.
        """
        return bool(self.pid) and self.unanswered * timing.ping > (timing.hang if self.ready else timing.start)

    def healthy(self, timing: Timing) -> bool:
        """Say whether the service manager may be told that this child is well; a start may take its time, once."""
        return (self.ready or self.failures < _CRASH_LOOP) and not self.hung(timing)

    def died(self, now: float, timing: Timing) -> float:
        """Note the death; return after how many seconds to start it again: at once first, then ever later."""
        if self.ready and now - self.started >= timing.settled:
            self.failures = 0
        delay = (
            0.0 if self.failures == 0 else min(timing.restart_max, timing.restart_first * 2 ** (self.failures - 1))
        )
        self.failures = min(self.failures + 1, 30)
        self.pid = 0
        self.ready = False
        self.held = set()
        if self.channel is not None:
            self.channel.close()
        self.channel = None
        self.start_due = now + delay
        return delay


@dataclass(frozen=True, slots=True)
class Nest:
    """What all children are born with."""

    board: Board
    log: StructuredLog
    run_dir: Path
    bodies: dict[Role, BodyFactory]
    leave_behind: Callable[[Child], None]  # in the child: close what belongs to the supervisor


def sockets_of(child: Child, config: Config, listening: Listening) -> dict[Place, socket.socket]:
    """Return the sockets of a child under a configuration; one that it does not serve would swallow clients."""
    if child.role in (Role.PERMITS, Role.EVENTS):
        return {}
    held = listening.of_worker(child.index) if child.role is Role.WORKER else listening.of_office()
    return {place: held[place] for place in places_of(config.listeners) if place in held}


def start_child(child: Child, config: Config, sockets: dict[Place, socket.socket], nest: Nest) -> Channel:
    """Fork; return the line, in the supervisor only. Raise OSError when the kernel refuses."""
    ours, theirs = Channel.pair()
    nest.board.rows[child.name].begin()
    parent = os.getpid()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _CHILD_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            ours.close()
            _be_child(child, config, sockets, nest=nest, channel=theirs, parent=parent)
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
    child.pid = pid
    child.channel = ours
    child.started = time.monotonic()
    child.unanswered = 0
    child.held = set(sockets)
    child.failure = None
    return ours


def _be_child(
    child: Child,
    config: Config,
    sockets: dict[Place, socket.socket],
    *,
    nest: Nest,
    channel: Channel,
    parent: int,
) -> None:
    """Everything a child does between the fork and its exit. Never returns."""
    code = EX_SOFTWARE
    try:
        privileges.die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor drains us
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CHILD_SIGNALS)
        nest.leave_behind(child)
        privileges.name_process("relay-" + child.name.replace("worker-", "w"))  # 15 characters are shown
        gc.enable()
        nest.board.rows[child.name].own(os.getpid())
        context = ChildContext(
            role=child.role,
            index=child.index,
            name=child.name,
            config=config,
            listeners=listeners_for(config, sockets),
            board=nest.board,
            row=nest.board.rows[child.name],
            log=nest.log.bind(process=child.name),
            metrics=ProcessMetrics(new_epoch()),
            ops=Ops(),
            run_dir=nest.run_dir,
        )
        code = run_child(context, channel, sockets, nest.bodies[child.role])
    except BaseException:  # noqa: BLE001 (nothing of a child may ever run the supervisor's code)
        traceback.print_exc()
    finally:
        os._exit(code)
