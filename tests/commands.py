"""Relay commands in processes of their own, forked from one that has imported them: no half second of imports each.

What is run is what `relay` runs, with standard streams, environment and exit code of its own; other programs are
modules with a `main`.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.image"])
_PR_SET_CHILD_SUBREAPER = 36
_START_SECONDS = 60
_RELAY = "relay.runtime.cli"


def run_command(arguments, *, input_text=None, env=None, timeout_seconds=60, module=_RELAY):
    """Run a command to its end; as `subprocess.run` with captured text."""
    with tempfile.TemporaryDirectory(prefix="relay-command-") as directory:
        streams = [Path(directory) / name for name in ("in", "out", "err")]
        for stream in streams:
            stream.touch()
        streams[0].write_text(input_text or "")
        given = dict(os.environ) | (env or {})
        process = _SERVER.Process(target=_child, args=(list(arguments), given, str(Path.cwd()), streams, module))
        process.start()
        process.join(timeout_seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["relay", *arguments], timeout_seconds)
        _, out, error = (stream.read_text() for stream in streams)
        done = subprocess.CompletedProcess(["relay", *arguments], process.exitcode, out, error)
        process.close()
        return done


class Service:
    """A command that runs on, a child of this process as one of `subprocess.Popen`; its output is added to a file."""

    def __init__(self, arguments, log, *, env=None, module=_RELAY):
        self.returncode = None
        with tempfile.TemporaryDirectory(prefix="relay-command-") as directory, _adopting():
            told = Path(directory) / "pid"
            streams = [Path(os.devnull), Path(log), Path(log)]
            command = (list(arguments), dict(os.environ) | (env or {}), str(Path.cwd()), streams, module)
            process = _SERVER.Process(target=_parent_of_service, args=(command, told))
            process.start()
            process.join(_START_SECONDS)
            self.pid = int(told.read_text())
            process.close()

    def poll(self):
        """Return the exit code, or minus the signal; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout=None):
        """Wait for its end and return its exit code."""
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("relay", timeout)
            time.sleep(0.005)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def _adopting():
    """Let orphans of our descendants become children of this process meanwhile."""
    control = ctypes.CDLL(None, use_errno=True).prctl
    assert control(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        control(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _parent_of_service(command, told):
    """Fork the service and end, so that the service is adopted by the process that asked for it."""
    pid = os.fork()
    if pid:
        told.write_text(str(pid))
        return
    code = 1
    try:
        os.closerange(3, 1024)  # what belongs to the fork server
        _child(*command)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)


def _child(arguments, env, directory, streams, module):
    os.environ.clear()
    os.environ.update(env)
    os.chdir(directory)
    append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    for number, (path, flags) in enumerate(zip(streams, (os.O_RDONLY, append, append), strict=True)):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    sys.argv = ["relay", *arguments]
    import_module(module).main()
