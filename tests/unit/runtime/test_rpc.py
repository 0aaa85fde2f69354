"""Calls over unix sockets: results, refusals, hostile input, and limits."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from relay.errors import StorageError, TemporaryError, UsageError
from relay.runtime import rpc
from relay.runtime.observe.log import open_log
from relay.runtime.rpc import Client, NotRunningError, Ops, RemoteError, Server, ask


@pytest.fixture
def served(tmp_path):
    """A server on a thread with its own loop; the path is far longer than the kernel's 107 bytes."""
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    path = directory / "worker-0001.sock"
    ops = Ops()
    ops.add("echo", lambda request: {"got": request})
    ops.add("number", lambda request: rpc.number(request, "n", least=1, most=9))
    ops.add("full", _raise(StorageError("the disk is full; free space")))
    ops.add("broken", _raise(ZeroDivisionError("secret detail")))
    ops.add("surrogate", _raise(UsageError("bad \udc80 byte")))
    ops.add("huge", lambda _request: "x" * rpc.LINE_MAX_BYTES)
    ops.add("unserialisable", lambda _request: object())
    ops.add("items", _page)
    ops.add("slow", _slow)
    loop = asyncio.new_event_loop()
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    server = Server(path, ops, open_log("json", "info", descriptor))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    yield path
    asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    os.close(descriptor)
    assert not path.exists()


def _raise(error):
    def handler(_request):
        raise error

    return handler


def _page(request):
    after = rpc.number(request, "after", 0)
    return {"items": list(range(after, min(after + 3, 8))), "next": after + 3 if after + 3 < 8 else None}


async def _slow(_request):
    await asyncio.sleep(60)


def test_a_call_returns_its_result(served):
    with Client(served) as client:
        assert client.call("echo", name="ü")["got"]["name"] == "ü"
        assert client.call("number", n=3) == 3


def test_pages_are_walked(served):
    with Client(served) as client:
        assert list(client.pages("items")) == list(range(8))


def test_ask_from_a_loop(served):
    assert asyncio.run(ask(served, "number", n=5)) == 5


@pytest.mark.parametrize(
    ("op", "arguments", "sentence", "code"),
    [
        ("full", {}, "the disk is full; free space", 75),
        ("nonsense", {}, "there is no such operation", 64),
        ("number", {}, "must be a whole number from 1 to 9", 64),
        ("number", {"n": 10}, "must be a whole number from 1 to 9", 64),
        ("number", {"n": True}, "must be a whole number from 1 to 9", 64),
        ("huge", {}, "ask for a smaller page", 64),
        ("unserialisable", {}, "the log of the relay says why", 1),
        ("surrogate", {}, "bad", 64),
    ],
)
def test_refusals_are_sentences(served, op, arguments, sentence, code):
    with Client(served) as client:
        with pytest.raises(RemoteError, match=sentence) as caught:
            client.call(op, **arguments)
        assert caught.value.exit_code == code
        assert client.call("number", n=1) == 1  # the connection lives on


def test_a_fault_is_logged_and_not_told(served, tmp_path):
    with Client(served) as client, pytest.raises(RemoteError) as caught:
        client.call("broken")
    assert "secret" not in str(caught.value)
    assert "ZeroDivisionError: secret detail" in (tmp_path / "log").read_text()


def _raw(path, data):
    with socket.socket(socket.AF_UNIX) as connection, rpc.short_address(path) as address:
        connection.settimeout(30)
        connection.connect(address)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return b""
        answer = b""
        try:
            while more := connection.recv(65536):
                answer += more
        except ConnectionError:
            pass
        return answer


@pytest.mark.parametrize(
    "line",
    [b"\n", b"[]\n", b"null\n", b"\xff\xfe\n", b"{\n", b'{"op": 7}\n', b'{"op": ["echo"]}\n', b"[" * 5000 + b"\n"],
)
def test_hostile_lines_get_a_refusal(served, line):
    answer = json.loads(_raw(served, line))
    assert answer["ok"] is False
    assert answer["id"] is None


def test_a_line_without_end_is_cut_off(served):
    assert _raw(served, b"x" * (rpc.LINE_MAX_BYTES + 100_000)) == b""


def test_an_unfinished_line_gets_nothing(served):
    assert _raw(served, b'{"op": "echo"}') == b""


def test_several_requests_in_one_write_are_answered_in_order(served):
    data = b"".join(json.dumps({"id": n, "op": "number", "n": n}).encode() + b"\n" for n in range(1, 10))
    assert [json.loads(line)["result"] for line in _raw(served, data).splitlines()] == list(range(1, 10))


def test_connections_are_bounded(served):
    clients = [Client(served) for _ in range(rpc.CONNECTIONS_MAX)]
    for client in clients:
        client.call("number", n=1)
    with pytest.raises(TemporaryError), Client(served) as one_more:
        one_more.call("number", n=1)
    for client in clients:
        client.close()


def test_a_call_has_a_time_limit(served):
    with (
        Client(served, timeout_seconds=0.1) as client,
        pytest.raises(TemporaryError, match="no answer in 0"),
    ):
        client.call("slow")
    with pytest.raises(TemporaryError, match="no answer"):
        asyncio.run(ask(served, "slow", 0.1))


def test_a_relay_that_is_not_running_is_a_sentence(tmp_path):
    for path in (tmp_path / "none.sock", tmp_path / "missing" / "none.sock"):
        with pytest.raises(NotRunningError, match="the relay is not running") as caught:
            Client(path)
        assert caught.value.exit_code == 69
        with pytest.raises(NotRunningError):
            asyncio.run(ask(path, "ping"))


def test_a_request_that_is_too_long_is_refused_before_it_is_sent(served):
    with Client(served) as client, pytest.raises(UsageError):
        client.call("echo", text="x" * rpc.LINE_MAX_BYTES)


def test_the_socket_is_private(served):
    assert served.stat().st_mode & 0o777 == 0o600


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_another_user_gets_no_answer(tmp_path):
    """Even when the file system lets them in, the server looks at who they are (SO_PEERCRED)."""
    program = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(30)\n"
        "if sys.argv[2] != '0': os.setuid(int(sys.argv[2]))\n"
        "s.connect('\\0' + sys.argv[1])\n"
        's.sendall(b\'{"id": 1, "op": "ping"}\\n\')\n'
        "sys.stdout.buffer.write(s.recv(100))\n"
    )
    name = f"relay-test-{os.getpid()}"
    ops = Ops()
    ops.add("ping", lambda _request: "pong")

    async def play():
        server = Server(tmp_path / "unused.sock", ops, open_log("json", "error", 2))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("\0" + name)
        running = await asyncio.start_unix_server(server._serve, sock=listener)
        answers = []
        for uid in ("0", "65534"):
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, name, uid, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            answers.append((await child.communicate())[0])
        running.close()
        return answers

    root, nobody = asyncio.run(play())
    assert b"pong" in root
    assert nobody == b""
