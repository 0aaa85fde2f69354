"""The health check of containers, against a real HTTP server."""

import http.server
import threading

import pytest

from relay.runtime import health


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/healthz" else 503)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield listening.server_address[1]
        listening.shutdown()
        thread.join()


def environment(directory, listeners):
    (directory / "relay.yaml").write_text(f"hostname: relay.example\nlisteners: [{listeners}]\n")
    return {"RELAY_CONFIG": str(directory / "relay.yaml")}


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_relay_that_is_well(tmp_path, server, address):
    where = f"{{kind: metrics, address: {address}, port: {server}, allow_remote: true}}"
    assert health.ask(environment(tmp_path, where)) == ""


def test_a_relay_that_is_not(tmp_path, server):
    settings = environment(tmp_path, f"{{kind: metrics, port: {server}}}")
    assert health.ask(settings, "/readyz") == f"127.0.0.1:{server} answered 503."


def test_a_relay_that_is_not_there(tmp_path, server):
    assert "No answer from 127.0.0.1:1: " in health.ask(environment(tmp_path, "{kind: metrics, port: 1}"))


def test_nothing_to_ask(tmp_path):
    assert "no metrics listener" in health.ask(environment(tmp_path, "{kind: mx, port: 25}"))
    assert "does not exist" in health.ask({"RELAY_CONFIG": str(tmp_path / "none.yaml")})


def test_the_command_says_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RELAY_CONFIG", str(tmp_path / "none.yaml"))
    assert health.main() == 1
    assert "does not exist" in capsys.readouterr().err
