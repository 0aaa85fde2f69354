"""The supervisor with real processes: start, restart, drain, and what keeps it from starting."""

import os
import signal
import socket
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.unit.runtime.conftest import RelayProcess, is_alive, stop, wait_until


def test_a_killed_worker_is_started_again_and_its_socket_stays(relay):
    relay.write_config(workers=1)
    relay.start().ready()
    port = relay.port()
    first = relay.pid_of("worker-0001")
    os.kill(first, signal.SIGKILL)
    line = relay.until("process ended and is started again", name="worker-0001")
    assert line["how"] == "signal SIGKILL"
    assert line["delay_seconds"] == 0
    client, pid, _name = relay.connect(port)  # waits in the queue of the socket, is never refused
    assert pid == relay.pid_of("worker-0001", 2) != first
    client.close()
    stop(relay)


@pytest.mark.parametrize("name", ["permits", "office", "events"])
def test_permits_and_office_are_started_again(relay, name):
    relay.write_config(workers=1)
    relay.start().ready()
    os.kill(relay.pid_of(name), signal.SIGKILL)
    assert relay.pid_of(name, 2) > 0
    stop(relay)


def test_restarts_back_off_and_recover(relay):
    relay.write_config(workers=1)
    relay.start(timing={"restart_first": 0.05, "restart_max": 0.2}).ready()
    relay.flag("crash", "office")
    os.kill(relay.pid_of("office"), signal.SIGKILL)
    fields = {"event": "process ended and is started again", "name": "office"}
    delays = [relay.until(count=n, **fields)["delay_seconds"] for n in range(1, 6)]
    assert delays == [0, 0.05, 0.1, 0.2, 0.2]
    relay.flag("crash", "office", on=False)
    assert relay.pid_of("office", 2)
    stop(relay)


def test_term_lets_open_sessions_end(relay):
    relay.write_config(workers=2, drain="20s")
    relay.start().ready()
    client, _pid, name = relay.connect()
    relay.signal(signal.SIGTERM)
    relay.until("draining")
    wait_until(lambda: not _accepts(relay.port()), "still accepting")
    assert relay.process.poll() is None
    client.close()
    assert relay.wait() == 0
    assert not [line for line in relay.lines if "killed" in line.get("event", "")], name


def _accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_drain_is_bounded(relay):
    relay.write_config(drain="100ms")
    relay.start().ready()
    client, _pid, _name = relay.connect()
    relay.signal(signal.SIGINT)
    assert relay.wait() == 0
    client.close()


def test_the_second_term_ends_at_once(relay):
    relay.write_config(drain="3600s")
    relay.start().ready()
    client, pid, _name = relay.connect()
    relay.signal(signal.SIGTERM)
    relay.until("draining")
    relay.signal(signal.SIGTERM)
    assert relay.wait() == 0
    assert not is_alive(pid)
    client.close()


def test_a_hung_worker_is_ended_and_started_again(relay):
    relay.write_config()
    relay.start(timing={"ping": 0.05, "hang": 0.5}).ready()
    relay.flag("hang", "worker-0002")
    relay.until("process does not answer and is ended", name="worker-0002")
    relay.flag("hang", "worker-0002", on=False)
    assert relay.pid_of("worker-0002", 2)
    stop(relay)


def test_a_supervisor_that_stood_still_holds_it_against_nobody(relay):
    """Such as in a container that is paused for a while: no process was asked meanwhile."""
    relay.write_config()
    relay.start(timing={"ping": 0.05, "hang": 0.5}).ready()
    relay.signal(signal.SIGSTOP)
    begin = time.monotonic()
    wait_until(lambda: time.monotonic() > begin + 1, "twice the time has not passed")
    relay.signal(signal.SIGCONT)
    relay.signal(signal.SIGHUP)
    relay.until("reloaded")
    assert "process does not answer and is ended" not in [line.get("event") for line in relay.lines]
    stop(relay)


def test_a_process_that_cannot_be_forked_is_tried_again(relay):
    relay.write_config()
    relay.start(timing={"restart_first": 0.05, "restart_max": 0.2}).ready()
    session, _pid, _name = relay.connect()
    (relay.data / "unforkable").touch()
    os.kill(relay.pid_of("office"), signal.SIGKILL)
    event = "process could not be started and is tried again"
    assert relay.until(event, 3, name="office")["delay_seconds"] == 0.2
    (relay.data / "unforkable").unlink()
    assert relay.pid_of("office", 2)
    session.settimeout(0.05)
    with pytest.raises(TimeoutError):  # nobody else was ended
        session.recv(1)
    session.close()
    stop(relay)


def test_a_signal_without_a_name_ends_one_process_alone(relay):
    relay.write_config()
    relay.start().ready()
    os.kill(relay.pid_of("office"), 40)
    assert relay.until("process ended and is started again", name="office")["how"] == "signal 40"
    assert relay.pid_of("office", 2)
    stop(relay)


def test_orphans_are_reaped(relay):
    """In a container the relay is the first process: what a worker that died leaves behind comes to it."""
    relay.write_config(workers=1)
    relay.flag("orphan", "worker-0001")
    relay.start().ready()
    orphan = int((relay.data / "orphan.pid").read_text())
    relay.flag("orphan", "worker-0001", on=False)
    os.kill(relay.pid_of("worker-0001"), signal.SIGKILL)
    relay.pid_of("worker-0001", 2)
    os.kill(orphan, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{orphan}").exists(), "still a zombie")
    stop(relay)


def test_nothing_outlives_a_killed_supervisor_and_the_next_one_starts_at_once(relay, tmp_path):
    relay.write_config()
    relay.start().ready()
    relay.write_config(ports=(relay.port(),))
    pids = [relay.pid_of(name) for name in ("permits", "office", "events", "worker-0001", "worker-0002")]
    relay.process.kill()
    relay.process.wait()
    again = RelayProcess(tmp_path)
    try:
        again.start().ready()
        assert not any(map(is_alive, pids))
        client, _pid, _name = again.connect()
        client.close()
        stop(again)
    finally:
        again.close()


def test_a_second_relay_on_the_same_directory_is_refused(relay, tmp_path):
    relay.write_config()
    relay.start().ready()
    second = RelayProcess(tmp_path)
    try:
        second.start()
        assert second.wait() == 75
        assert f"already running with {relay.data} (process {relay.process.pid})" in second.text()
        assert "Traceback" not in second.text()
    finally:
        second.close()
    stop(relay)


def test_a_port_in_use_is_a_sentence(relay):
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        relay.write_config(ports=(port, 0))
        relay.start()
        assert relay.wait() == 75
    assert f"127.0.0.1:{port} is already in use by another program" in relay.text()
    assert "choose another port" in relay.text()
    assert "Traceback" not in relay.text()


def test_a_bad_configuration_does_not_start(relay):
    relay.write_config(extra="colour: blue\n")
    relay.start()
    assert relay.wait() == 78
    assert "colour" in relay.text()


def test_what_a_child_says_at_the_start_is_the_reason_the_relay_gives(relay):
    relay.write_config()
    relay.flag("unstartable", "worker-0001")
    relay.start()
    assert relay.wait() == 75
    assert "written by a newer relay" in relay.text()
    assert "Traceback" not in relay.text()


def test_an_unusable_data_directory_is_a_sentence(relay):
    relay.write_config()
    relay.data.write_text("a file")
    relay.start()
    assert relay.wait() == 78
    assert str(relay.data) in relay.text()
    assert "Traceback" not in relay.text()


def test_connections_spread_over_the_workers(relay):
    """One socket a worker: with 240 connections over 3 workers a share under 45 means a broken spread (5 sigma)."""
    relay.write_config(workers=3)
    relay.start().ready()
    clients = [relay.connect() for _ in range(240)]
    shares = Counter(name for _client, _pid, name in clients)
    for client, _pid, _name in clients:
        client.close()
    assert set(shares) == {"worker-0001", "worker-0002", "worker-0003"}
    assert min(shares.values()) >= 45
    stop(relay)


def test_children_hold_nothing_of_each_other(relay):
    """A child has its own listening socket and its own line, not those of its siblings."""
    relay.write_config(workers=4)
    relay.start().ready()
    for index in range(1, 5):
        pid = relay.pid_of(f"worker-{index:04d}")
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = {row[9] for row in rows if row[3] == "0A"}
        assert sum(link[8:-1] in listening for link in links if link.startswith("socket:")) == 1
        assert not [link for link in links if link.endswith("supervisor.pid")]
    stop(relay)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change user")
def test_root_is_given_up_for_good(relay, tmp_path):
    relay.write_config(extra="run_as: {user: nobody, group: nogroup}\n")
    for directory in (tmp_path, *list(tmp_path.parents)[:3]):
        if directory != directory.parent and str(directory) != "/tmp":
            directory.chmod(0o755)
    relay.start().ready()
    for pid in (relay.process.pid, relay.pid_of("worker-0001")):
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        assert set(status["Uid"].split()) == {"65534"}
        assert set(status["Gid"].split()) == {"65534"}
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == 0
        assert status["Umask"] == "0077"
    assert relay.data.stat().st_uid == 65534
    assert relay.data.stat().st_mode & 0o777 == 0o700
    stop(relay)
