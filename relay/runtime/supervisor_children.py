"""All children as the supervisor sees them: forked when due, listened to, pinged, ended, reaped."""

import contextlib
import os
import selectors
import signal
from collections.abc import Iterator, Sequence

from relay.ports import Json
from relay.runtime.config.model import Config
from relay.runtime.observe.log import StructuredLog
from relay.runtime.sockets import Listening
from relay.runtime.supervisor_child import Child, Nest, Timing, sockets_of, start_child


class Children:
    """The children, in the order in which they start."""

    def __init__(
        self,
        children: Sequence[Child],
        nest: Nest,
        selector: selectors.BaseSelector,
        timing: Timing,
        log: StructuredLog,
    ) -> None:
        self._children = children
        self._nest = nest
        self._selector = selector
        self._timing = timing
        self._log = log

    def __iter__(self) -> Iterator[Child]:
        return iter(self._children)

    def ready(self) -> list[Child]:
        """Return those that serve."""
        return [child for child in self._children if child.ready]

    def healthy(self) -> bool:
        """Say whether the service manager may be told that all is well."""
        return all(child.healthy(self._timing) for child in self._children)

    def start_due(self, now: float, config: Config, generation: int, listening: Listening) -> None:
        """Fork whoever does not run and may be started now; what the kernel refuses is tried again, ever later."""
        for child in self._children:
            if child.pid or now < child.start_due:
                continue
            try:
                channel = start_child(child, config, sockets_of(child, config, listening), self._nest)
            except OSError as error:
                delay = self.bury(child, now)
                self._log.error(
                    "process could not be started and is tried again",
                    name=child.name,
                    reason=str(error),
                    delay_seconds=delay,
                )
                continue
            child.generation = generation
            self._selector.register(channel, selectors.EVENT_READ, child)

    def said(self, child: Child) -> Iterator[Json]:
        """Yield what a child said since; at the end of its line it is dying, and `died` will tell."""
        while child.channel is not None:
            try:
                packet = child.channel.receive()
            except BlockingIOError:
                return
            if packet is None:
                self._stop_listening(child)
                return
            child.unanswered = 0
            yield packet[0]

    def ping(self) -> None:
        """Ask all whether they live, and end who did not answer for too long."""
        for child in self._children:
            if child.channel is not None:
                child.unanswered += 1
                child.channel.send({"op": "ping"})
            if child.hung(self._timing):
                self._log.error("process does not answer and is ended", name=child.name, pid=child.pid)
                self.kill(child)

    def kill(self, child: Child) -> None:
        """End a process at once; its death is noticed like any other."""
        if child.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)

    def died(self) -> Iterator[tuple[Child, int]]:
        """Yield who died, with the exit code, or with the negative number of the signal that ended it.

        A process is reaped after its turn: until `bury` nobody else can have its number. Orphans that come to us as
        the first process of a container are reaped, too.
        """
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            for child in self._children:
                if child.pid == found.si_pid:
                    yield child, found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            os.waitpid(found.si_pid, 0)

    def bury(self, child: Child, now: float) -> float:
        """Take a dead child off the books; return after how many seconds it is started again."""
        self._stop_listening(child)
        self._nest.board.rows[child.name].clear()
        return child.died(now, self._timing)

    def _stop_listening(self, child: Child) -> None:
        if child.channel is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.channel)
