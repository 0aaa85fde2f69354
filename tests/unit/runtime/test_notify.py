"""The service manager hears of start, reload, stop, and of the health of all children."""

import contextlib
import os
import signal
import socket

import pytest

from relay.runtime.notify import Notifier
from tests.unit.runtime.conftest import stop


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A socket that stands for the service manager, and its NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@relay-test-{os.getpid()}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listener.settimeout(30)
        yield listener, name


def _until(listener, wanted):
    """Return all messages up to the first that has the line `wanted`."""
    messages = []
    while not messages or wanted not in messages[-1].split("\n"):
        messages.append(listener.recv(4096).decode())
    return messages


def test_life_of_a_relay(relay, manager):
    listener, name = manager
    relay.write_config()
    relay.start(environment={"NOTIFY_SOCKET": name})
    assert "STATUS=2 workers, 1 listeners" in _until(listener, "READY=1")[-1]
    relay.write_config(connections_max=5)
    relay.signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in _until(listener, "RELOADING=1")[-1]
    _until(listener, "READY=1")
    relay.write_config(connections_max=0)
    relay.signal(signal.SIGHUP)
    _until(listener, "RELOADING=1")
    assert "reload refused" in _until(listener, "READY=1")[-1]
    relay.signal(signal.SIGTERM)
    _until(listener, "STOPPING=1")
    assert relay.wait() == 0


def test_a_reload_does_not_complete_a_start(relay, manager):
    listener, name = manager
    relay.write_config()
    relay.flag("slow", "worker-0001")
    relay.start(environment={"NOTIFY_SOCKET": name}).until("process ready", name="office")
    relay.signal(signal.SIGHUP)
    relay.until("reloaded")
    relay.flag("slow", "worker-0001", on=False)
    relay.ready()
    relay.signal(signal.SIGTERM)
    assert sum("READY=1" in message for message in _until(listener, "STOPPING=1")) == 1
    assert relay.wait() == 0


def test_the_watchdog_is_fed_only_while_all_children_answer(relay, manager):
    listener, name = manager
    relay.write_config()
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000"}
    relay.start(timing={"ping": 0.05, "hang": 0.5, "restart_max": 0.05}, environment=environment).ready()
    for _ in range(3):
        _until(listener, "WATCHDOG=1")
    relay.flag("crash", "worker-0001")
    os.kill(relay.pid_of("worker-0001"), signal.SIGKILL)
    relay.until("process ended and is started again", 6, name="worker-0001")
    _drop_all(listener)
    listener.settimeout(0.5)
    with pytest.raises(TimeoutError):  # ten intervals without a sign of life
        _until(listener, "WATCHDOG=1")
    listener.settimeout(30)
    relay.flag("crash", "worker-0001", on=False)
    _until(listener, "WATCHDOG=1")
    stop(relay)


def _drop_all(listener):
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while listener.recv(4096):
            pass


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "30000000"}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
    ],
)
def test_how_often_the_manager_wants_to_hear(environment, seconds):
    assert Notifier(environment, 7).watchdog_seconds == seconds


def test_without_a_manager_nothing_happens(tmp_path):
    for name in ("", "relative", str(tmp_path / "nobody"), "@relay-test-nobody"):
        notifier = Notifier({"NOTIFY_SOCKET": name}, 1)
        notifier.ready("x")
        notifier.close()
        notifier.ready("x")
