"""A relay with trivial children, run as a real process."""

import contextlib
import json
import os
import select
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.commands import Service

WAIT_SECONDS = 30.0

BASE = """\
hostname: relay.example
data_dir: data
workers: {workers}
listeners:
{listeners}
limits: {{connections_max: {connections_max}, drain_timeout: {drain}}}
"""


class RelayProcess:
    """Starts the program and reads its log as it comes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.config = directory / "relay.yaml"
        self.process = None
        self.lines = []
        self._buffer = b""

    def write_config(self, *, workers=2, ports=(0,), connections_max=100, drain="2s", extra="", metrics=False):
        listeners = "\n".join(f'  - {{kind: mx, address: "127.0.0.1", port: {port}, tls: none}}' for port in ports)
        if metrics:
            listeners += '\n  - {kind: metrics, address: "127.0.0.1", port: 0}'
        text = BASE.format(workers=workers, listeners=listeners, connections_max=connections_max, drain=drain)
        self.config.write_text(text + extra)

    def start(self, *, timing=None, environment=None):
        pipe = self.directory / "log"
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        self.descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        command = [str(self.config), json.dumps(timing or {})]
        self.process = Service(command, pipe, env=environment, module="tests.unit.runtime.relay_process")
        return self

    def until(self, event, count=1, **fields):
        """Wait for the n-th line with this event and these fields, and return it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            found = [line for line in self.lines if line.get("event") == event and fields.items() <= line.items()]
            if len(found) >= count:
                return found[count - 1]
            if not self._read(deadline):
                raise AssertionError(f"no line {event!r} {fields}; the log is:\n" + "\n".join(map(str, self.lines)))

    def _read(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self.descriptor], [], [], left)[0]:
            return False
        data = os.read(self.descriptor, 65536)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"text": line.decode()})
        return bool(data)

    def ready(self):
        self.until("ready")
        return self

    def port(self, index=0):
        return json.loads((self.data / "run" / "listeners.json").read_text())[index]["port"]

    def pid_of(self, name, count=1):
        return self.until("process ready", count, name=name)["pid"]

    def connect(self, port=None):
        """Return an open connection, and the pid and name that answered."""
        client = socket.create_connection(("127.0.0.1", port or self.port()), timeout=WAIT_SECONDS)
        answer = b""
        while not answer.endswith(b"\n"):
            data = client.recv(100)
            if not data:
                raise AssertionError("closed without an answer")
            answer += data
        pid, name = answer.decode().split()
        return client, int(pid), name

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        code = self.process.wait(WAIT_SECONDS)
        while self._read(time.monotonic() + 1):
            pass
        return code

    def text(self):
        return "\n".join(str(line.get("text", "")) for line in self.lines)

    def flag(self, name, process, *, on=True):
        path = self.data / f"{name}.{process}"
        if on:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            path.touch()
        else:
            path.unlink()

    def close(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.descriptor)


@pytest.fixture
def relay(tmp_path):
    found = RelayProcess(tmp_path)
    yield found
    found.close()


def is_alive(pid):
    """Say whether a process still runs (a zombie does not)."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(condition, what):
    """Wait for something that has no event of its own."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def stop(relay):
    relay.signal(signal.SIGTERM)
    assert relay.wait() == 0
