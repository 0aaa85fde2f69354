"""The metrics listener of a running relay: /metrics, /healthz, /readyz."""

import http.client
import json
import os
import signal
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.runtime.conftest import stop, wait_until


@pytest.fixture
def served(relay):
    relay.write_config(metrics=True)
    relay.start(timing={"ping": 0.1}).ready()
    return relay


def _get(relay, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", relay.port(1), timeout=30)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _metrics(relay):
    families = text_string_to_metric_families(_get(relay, "/metrics")[1])
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_all_three_pages(served):
    assert _get(served, "/healthz") == (200, '{"status":"ok","faults":[]}')
    assert _get(served, "/readyz") == (200, '{"status":"ok","faults":[]}')
    found = _metrics(served)
    assert found["relay_process_up", "worker-0001"] == 1
    assert found["relay_permits_up",] == 1
    assert found["relay_process_restarts_total", "worker-0002"] == 0
    assert found["relay_connections_limit",] == 100
    assert _get(served, "/nothing")[0] == 404
    assert _get(served, "/metrics", "POST")[0] == 405
    stop(served)


def test_counters_survive_the_death_of_a_worker(served):
    clients = [served.connect()[0] for _ in range(12)]
    for client in clients:
        client.close()
    wait_until(lambda: _metrics(served).get(("relay_sessions_total", "submission")) == 12, "12 sessions")
    for name in ("worker-0001", "worker-0002"):
        os.kill(served.pid_of(name), signal.SIGKILL)
        served.pid_of(name, 2)
    wait_until(lambda: _metrics(served)["relay_process_restarts_total", "worker-0001"] == 1, "a restart")
    assert _metrics(served)["relay_sessions_total", "submission"] == 12
    client, _pid, _name = served.connect()
    client.close()
    wait_until(lambda: _metrics(served)["relay_sessions_total", "submission"] == 13, "13 sessions")
    stop(served)


def test_a_stuck_queue_turns_healthz_red(served):
    served.flag("stuck", "worker-0002")
    wait_until(lambda: _get(served, "/healthz")[0] == 503, "red")
    (fault,) = json.loads(_get(served, "/healthz")[1])["faults"]
    assert fault.startswith("the queue of worker-0002 is stuck")
    stop(served)


def test_readyz_says_who_is_not_there(served):
    served.flag("crash", "permits")
    os.kill(served.pid_of("permits"), signal.SIGKILL)
    wait_until(lambda: _get(served, "/readyz")[0] == 503, "red")
    assert "permits is" in _get(served, "/readyz")[1]
    served.flag("crash", "permits", on=False)
    wait_until(lambda: _get(served, "/readyz")[0] == 200, "green")
    stop(served)


def test_draining_is_alive_and_not_ready(relay):
    relay.write_config(metrics=True, drain="20s")
    relay.start().ready()
    client, _pid, _name = relay.connect()
    port = relay.port(1)
    page = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    page.request("GET", "/readyz")
    assert page.getresponse().read()
    relay.signal(signal.SIGTERM)
    relay.until("draining")
    wait_until(lambda: _get(relay, "/readyz")[0] == 503, "not ready")
    assert _get(relay, "/healthz")[0] == 200
    page.close()
    client.close()
    assert relay.wait() == 0


def test_the_pages_are_served_on_over_a_reload(served):
    page = http.client.HTTPConnection("127.0.0.1", served.port(1), timeout=30)
    page.request("GET", "/healthz")
    assert page.getresponse().read()
    served.write_config(metrics=True, connections_max=44)
    served.signal(signal.SIGHUP)
    served.until("reloaded")
    page.request("GET", "/healthz")  # on the same connection
    assert page.getresponse().status == 200
    page.close()
    wait_until(lambda: _metrics(served)["relay_connections_limit",] == 44, "the new limit")
    stop(served)


@pytest.mark.parametrize("data", [b"\xff" * 100, b"GET " + b"x" * 100_000, b"GET / HTTP/1.1\r\nA: " + b"y" * 100_000])
def test_nonsense_on_the_listener_is_survived(served, data):
    with socket.create_connection(("127.0.0.1", served.port(1)), timeout=30) as client:
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        except ConnectionError:
            pass
    assert _get(served, "/healthz")[0] == 200
    stop(served)
