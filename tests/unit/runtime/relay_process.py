"""A supervisor with trivial children in a process of its own, for tests: `python relay_process.py CONFIG [TIMING]`.

The bodies answer every connection with their pid and name; what else they do is switched by files in the data
directory, so that a test can say "hang now" or "refuse the next reload". With a metrics listener in the
configuration the office is the real one.
"""

import asyncio
import contextlib
import ctypes
import errno
import json
import os
import signal
import sys
import time
from pathlib import Path

from relay.errors import RelayError, StorageError
from relay.runtime.children import Role
from relay.runtime.office import OfficeBody
from relay.runtime.supervisor import serve
from relay.runtime.supervisor_child import Timing


class EchoBody:
    def __init__(self, context):
        self.context = context
        self.servers = {}
        self.open = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def flag(self, name):
        return (self.context.config.data_dir / f"{name}.{self.context.name}").exists()

    async def start(self):
        while self.flag("slow"):  # noqa: ASYNC110 - told by a file
            await asyncio.sleep(0.01)
        if self.flag("orphan"):
            leave_orphan(self.context.config.data_dir / "orphan.pid")
        if self.flag("unstartable"):
            raise StorageError("the spool was written by a newer relay; install that one")
        if self.flag("crash"):
            raise RuntimeError("crash at start")
        self.context.ops.add("limits", lambda _: {"connections_max": self.context.config.limits.connections_max})
        await self.listen(self.context.listeners)

    async def listen(self, listeners):
        wanted = {listener.socket.fileno(): listener for listener in listeners}
        for fileno, listener in wanted.items():
            if fileno not in self.servers:
                self.servers[fileno] = await asyncio.start_server(self.answer, sock=listener.socket)
        for fileno in self.servers.keys() - wanted.keys():
            self.servers.pop(fileno).close()

    async def answer(self, reader, writer):
        self.open += 1
        self.idle.clear()
        self.context.row.sessions = self.open
        self.context.metrics.count("relay_sessions_total", "submission")
        writer.write(f"{os.getpid()} {self.context.name}\n".encode())
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()
        self.open -= 1
        self.context.row.sessions = self.open
        if not self.open:
            self.idle.set()

    async def reload(self, config, listeners):
        if self.flag("refuse"):
            raise RelayError("this process cannot take it")
        self.context.log.info("reloading", connections_max=config.limits.connections_max)
        while self.flag("linger") and len(listeners) < len(self.servers):  # noqa: ASYNC110 - told by a file
            await asyncio.sleep(0.01)
        while self.flag(f"wait-{config.limits.connections_max}"):  # noqa: ASYNC110 - told by a file
            await asyncio.sleep(0.01)
        await self.listen(listeners)
        self.context.log.info("took it", connections_max=config.limits.connections_max)

    async def drain(self, timeout_seconds):
        for server in self.servers.values():
            server.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.idle.wait(), timeout_seconds)

    def ping(self):
        if self.flag("stuck"):
            self.context.row.due_since(1)
        if self.flag("hang"):
            time.sleep(3600)


def leave_orphan(note):
    """Make a process that outlives this one."""
    pid = os.fork()
    if pid:
        note.write_text(str(pid))
        return
    for descriptor in range(3, 1000):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    while True:
        signal.pause()


def be_first_process():
    """Have orphans come to us, as the first process of a container does (PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def refuse_forks(data_dir):
    """Have the kernel refuse to fork while a file says so."""
    fork = os.fork

    def refusing():
        if (data_dir / "unforkable").exists():
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    os.fork = refusing


def main():
    be_first_process()
    refuse_forks(Path(sys.argv[1]).parent / "data")
    timing = Timing(**json.loads(sys.argv[2])) if len(sys.argv) > 2 else Timing()
    bodies = dict.fromkeys(Role, EchoBody)
    if "kind: metrics" in Path(sys.argv[1]).read_text():
        bodies[Role.OFFICE] = OfficeBody
    try:
        code = serve(Path(sys.argv[1]), bodies=bodies, timing=timing)
    except RelayError as error:
        sys.stderr.write(f"{error}\n")
        code = error.exit_code
    sys.exit(code)


if __name__ == "__main__":
    main()
