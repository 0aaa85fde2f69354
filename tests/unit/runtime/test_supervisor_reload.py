"""HUP: whole or not at all, without losing a session and without leaking a descriptor."""

import fcntl
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from relay.runtime.rpc import Client
from tests.unit.runtime.conftest import is_alive, stop, wait_until

RELOADS = int(os.environ.get("RELAY_TEST_RELOADS", "200"))  # 1,000 in the long run; one leaked each shows at once


def _limit_of(relay, name):
    with Client(relay.data / "run" / f"{name}.sock") as client:
        return client.call("limits")["connections_max"]


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def _descriptors(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_a_good_reload_reaches_every_process_and_keeps_sessions(relay):
    relay.write_config()
    relay.start().ready()
    session, pid, _name = relay.connect()
    added = _free_port()
    relay.write_config(ports=(0, added), connections_max=77)
    relay.signal(signal.SIGHUP)
    relay.until("reloaded", listeners=2)
    assert {_limit_of(relay, name) for name in ("worker-0001", "worker-0002", "office", "events", "permits")} == {77}
    client, _pid, _name = relay.connect(added)
    client.close()
    relay.write_config(ports=(0,))
    relay.signal(signal.SIGHUP)
    relay.until("reloaded", listeners=1)
    with pytest.raises(ConnectionRefusedError):
        relay.connect(added)
    session.settimeout(0.05)
    with pytest.raises(TimeoutError):  # still open
        session.recv(1)
    assert is_alive(pid)
    session.close()
    stop(relay)


def test_a_worker_started_after_a_reload_has_the_new_configuration(relay):
    relay.write_config(workers=1)
    relay.start().ready()
    relay.write_config(workers=1, connections_max=55)
    relay.signal(signal.SIGHUP)
    relay.until("reloaded")
    os.kill(relay.pid_of("worker-0001"), signal.SIGKILL)
    relay.pid_of("worker-0001", 2)
    assert _limit_of(relay, "worker-0001") == 55
    stop(relay)


def test_a_bad_reload_keeps_the_old_configuration_and_logs_every_fault(relay):
    relay.write_config()
    relay.start().ready()
    relay.write_config(connections_max=0, extra="colour: blue\n")
    relay.signal(signal.SIGHUP)
    event = "reload refused, the old configuration stays"
    faults = [relay.until(event, count)["fault"] for count in (1, 2)]
    assert any("colour" in fault for fault in faults)
    assert any("connections_max" in fault for fault in faults)
    assert _limit_of(relay, "worker-0001") == 100
    relay.write_config(connections_max=66)
    relay.signal(signal.SIGHUP)
    relay.until("reloaded")
    assert _limit_of(relay, "worker-0001") == 66
    stop(relay)


def test_a_port_that_cannot_be_bound_refuses_the_reload(relay):
    relay.write_config()
    relay.start().ready()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        relay.write_config(ports=(0, taken.getsockname()[1]), connections_max=1)
        relay.signal(signal.SIGHUP)
        assert "already in use" in relay.until("reload refused, the old configuration stays")["fault"]
    assert _limit_of(relay, "worker-0001") == 100
    stop(relay)


def test_what_needs_a_restart_refuses_the_reload(relay):
    relay.write_config(workers=2)
    relay.start().ready()
    relay.write_config(workers=3, connections_max=1)
    relay.signal(signal.SIGHUP)
    assert "workers" in relay.until("reload refused, the old configuration stays")["fault"]
    assert _limit_of(relay, "worker-0002") == 100
    stop(relay)


def test_when_one_process_cannot_take_it_all_go_back(relay):
    relay.write_config()
    relay.start().ready()
    relay.flag("refuse", "worker-0002")
    added = _free_port()
    relay.write_config(ports=(0, added), connections_max=88)
    relay.signal(signal.SIGHUP)
    line = relay.until("reload refused, the old configuration stays")
    assert line["fault"] == "worker-0002: this process cannot take it"
    relay.flag("refuse", "worker-0002", on=False)
    relay.write_config(ports=(0, added), connections_max=89)
    relay.signal(signal.SIGHUP)
    relay.until("reloaded", listeners=2)
    assert {_limit_of(relay, name) for name in ("worker-0001", "worker-0002")} == {89}
    client, _pid, _name = relay.connect(added)
    client.close()
    stop(relay)


def test_a_reload_waits_until_all_have_gone_back(relay):
    """A port that a refused reload opened is free again before the next one binds it."""
    relay.write_config()
    relay.start().ready()
    relay.flag("refuse", "worker-0002")
    relay.flag("linger", "worker-0001")
    added = _free_port()
    relay.write_config(ports=(0, added), connections_max=88)
    relay.signal(signal.SIGHUP)
    relay.until("reload refused, the old configuration stays")
    relay.flag("refuse", "worker-0002", on=False)
    relay.signal(signal.SIGHUP)
    time.sleep(0.3)  # time for a reload that does not wait, to fail
    relay.flag("linger", "worker-0001", on=False)
    relay.until("reloaded", listeners=2)
    assert sum(line["event"].startswith("reload refused") for line in relay.lines) == 1
    stop(relay)


def test_the_newest_configuration_stays_when_an_earlier_one_takes_long(relay):
    """A process that was slow to start is told of two reloads at once."""
    relay.write_config(workers=1)
    relay.start().ready()
    for name in ("slow", "wait-101"):
        relay.flag(name, "worker-0001")
    os.kill(relay.pid_of("worker-0001"), signal.SIGKILL)
    relay.until("process ended and is started again")
    relay.write_config(workers=1, connections_max=101)
    relay.signal(signal.SIGHUP)
    relay.until("reloaded")
    relay.flag("slow", "worker-0001", on=False)
    relay.until("reloading", process="worker-0001", connections_max=101)
    relay.write_config(workers=1, connections_max=102)
    relay.signal(signal.SIGHUP)
    relay.until("reloading", process="office", connections_max=102)
    relay.flag("wait-101", "worker-0001", on=False)
    for limit in (101, 102):
        relay.until("took it", process="worker-0001", connections_max=limit)
    relay.until("reloaded", 2)
    assert _limit_of(relay, "worker-0001") == 102
    stop(relay)


def test_a_disk_that_is_full_ends_no_relay(relay):
    relay.write_config(workers=1)
    relay.start().ready()
    (relay.data / "run" / "listeners.json.new").mkdir()  # so it cannot be written, as on a full disk
    relay.write_config(workers=1, connections_max=55)
    relay.signal(signal.SIGHUP)
    relay.until("the list of open ports is out of date")
    relay.until("reloaded")
    assert _limit_of(relay, "worker-0001") == 55
    stop(relay)


def test_a_reload_under_way_ends_nobody_in_a_drain(relay):
    relay.write_config(workers=1, drain="30s")
    relay.start(timing={"reload": 0.5}).ready()
    session, pid, _name = relay.connect()
    relay.flag("wait-55", "worker-0001")
    relay.write_config(workers=1, connections_max=55, drain="30s")
    relay.signal(signal.SIGHUP)
    relay.until("reloading", process="worker-0001")
    begin = time.monotonic()
    relay.signal(signal.SIGTERM)
    relay.until("draining")
    wait_until(lambda: time.monotonic() > begin + 2, "the time for the reload is not over")
    assert is_alive(pid)
    session.close()
    assert relay.wait() == 0
    assert "process did not reload in time and is started again" not in [line.get("event") for line in relay.lines]


def test_a_process_drains_after_the_reload_it_is_at(relay):
    """The other way round the reload would open doors, or fail at those that the drain has closed."""
    relay.write_config(workers=1, drain="30s")
    relay.start().ready()
    session, _pid, _name = relay.connect()
    added = _free_port()
    relay.flag("wait-55", "worker-0001")
    relay.write_config(workers=1, ports=(0, added), connections_max=55, drain="30s")
    relay.signal(signal.SIGHUP)
    relay.until("reloading", process="worker-0001")
    relay.signal(signal.SIGTERM)
    relay.until("draining")
    relay.flag("wait-55", "worker-0001", on=False)
    relay.until("took it", process="worker-0001")
    wait_until(lambda: not _accepts(added), "open in a drain")
    session.close()
    assert relay.wait() == 0


def _accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_reload_asked_for_during_the_start_follows_it(relay):
    """Until the relay is ready, too, a HUP is no reason to end."""
    run = relay.data / "run"
    run.mkdir(mode=0o700, parents=True)
    relay.write_config(workers=1)
    with (run / "children.lock").open("w") as earlier:
        fcntl.flock(earlier, fcntl.LOCK_EX)  # as if a process of an earlier relay still lived: the start waits
        relay.start()
        wait_until((run / "supervisor.pid").exists, "the start has not come so far")
        relay.write_config(workers=1, connections_max=66)
        relay.signal(signal.SIGHUP)
    relay.until("reloaded")
    relay.ready()
    wait_until(lambda: _limit_of(relay, "worker-0001") == 66, "still as it was at the start")
    stop(relay)


@pytest.mark.slow
def test_many_reloads_leak_nothing_and_lose_no_session(relay):
    relay.write_config(workers=1)
    relay.start().ready()
    session, _pid, _name = relay.connect()
    pids = [relay.process.pid, *(relay.pid_of(name) for name in ("permits", "office", "worker-0001"))]
    added = _free_port()
    before = []
    for count in range(1, RELOADS + 1):
        relay.write_config(workers=1, ports=(0, added) if count % 2 else (0,), connections_max=count)
        relay.signal(signal.SIGHUP)
        relay.until("reloaded")
        relay.lines.clear()
        if count == 10:
            before = [_descriptors(pid) for pid in pids]
    after = [_descriptors(pid) for pid in pids]
    assert all(now <= then for now, then in zip(after, before, strict=True)), (before, after)
    session.settimeout(0.05)
    with pytest.raises(TimeoutError):
        session.recv(1)
    stop(relay)
