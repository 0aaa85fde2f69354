"""Sizes, deadlines, connection limits, overload, drain: everything has a bound and the bound has a reply."""

import gc
import os
import resource
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relay.model.content import MEMORY_BODY_MAX_BYTES, BodyFile
from relay.model.refusal import Reason, Refusal
from relay.ports import AuthGate
from relay.smtp.server.session import Session
from relay.smtpd.connection import SmtpConnection
from tests.wire.door import ACCOUNT, POLICIES, USER, Client, Door

HEAD = b"From: a@example.com\r\n\r\n"


def _data(client: Client) -> None:
    assert client.say("MAIL FROM:<a@example.com>") == "250 Ok"
    assert client.say("RCPT TO:<b@example.net>") == "250 Ok"
    assert client.say("DATA").startswith("354")


def _message(client: Client, text: bytes) -> str:
    _data(client)
    client.send(text + b".\r\n")
    return client.reply()[-1].decode()


@pytest.mark.req("SMTP-018")
def test_size_is_exact_and_the_session_stays(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("small")
    room = 100_000 - len(HEAD)
    assert client.say("MAIL FROM:<a@example.com> SIZE=100001") == "552 Message is too long."
    assert _message(client, HEAD + b"x" * (room - 1) + b"\r\n") == "552 Message is too long."
    assert _message(client, HEAD + b"x" * (room - 2) + b"\r\n") == "250 Ok id-1"
    assert _message(client, HEAD + b"..\r\n" * (room // 3)) == "250 Ok id-2"
    assert _message(client, HEAD + b"..\r\n" * (room // 3 + 1)) == "552 Message is too long."
    assert _message(client, HEAD + b"x" * 3_000_000 + b"\r\n") == "552 Message is too long."
    assert client.say("NOOP") == "250 Ok"
    assert door.product.counts["relay_messages_refused_total", "size"] == 4


@pytest.mark.req("SMTP-018")
def test_upload_without_end_uses_no_room(door: Door, connect: Callable[..., Client]) -> None:
    """A hundred times the limit is read to its end and answered; disk and memory never hold more than the limit."""
    policy = replace(POLICIES["trusted"], message_size_max=2_000_000)
    client = connect(policy)
    _data(client)
    client.send(HEAD)
    block = (b"y" * 998 + b"\r\n") * 1000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    most = 0
    for _ in range(200):
        client.send(block)
        most = max(most, sum(path.stat().st_size for path in door.incoming.iterdir()))
    client.send(b".\r\n")
    assert client.reply() == [b"552 Message is too long."]
    assert client.say("NOOP") == "250 Ok"
    assert most <= 2_000_000 + (1 << 20)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    door.wait(lambda: not list(door.incoming.iterdir()))


@pytest.mark.parametrize("extra", [-1, 0, 1, 100_000])
def test_where_bodies_become_files(extra: int, door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    size = MEMORY_BODY_MAX_BYTES + extra
    body = (b"z" * 998 + b"\r\n") * (size // 1000) + b"q" * (size % 1000 - 2) + b"\r\n"
    assert len(body) == size
    assert _message(client, HEAD + body) == "250 Ok id-1"
    content = door.product.submissions[0].content
    assert door.product.bodies == [body]
    assert isinstance(content.body, BodyFile) == (extra > 0)
    assert content.size_bytes == len(HEAD) + size
    assert door.product.submissions[0].facts.longest_line_bytes == 998


def test_head_without_end(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    text = b"".join(b"X-%06d: %s\r\n" % (number, b"v" * 80) for number in range(8000))
    assert _message(client, text) == "554 Transaction failed: Header section is too large."
    assert (
        _message(client, text[:270_000] + b"\r\nbody\r\n") == "554 Transaction failed: Header section is too large."
    )
    assert client.say("NOOP") == "250 Ok"
    assert door.product.bodies == []


@pytest.mark.req("SMTP-028")
def test_incoming_directory_fails(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    door.incoming.rmdir()
    body = (b"z" * 998 + b"\r\n") * 3000
    assert _message(client, HEAD + body) == "454 Temporary service failure"
    door.incoming.mkdir()
    assert _message(client, HEAD + body) == "250 Ok id-1"


def test_refused_large_body_is_removed(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    door.product.answer = Refusal(Reason.NOT_VERIFIED, "LOCAL-1: a@example.com")
    assert _message(client, HEAD + (b"z" * 998 + b"\r\n") * 3000).startswith("554 Message rejected: Email address")
    door.wait(lambda: not list(door.incoming.iterdir()))


def test_large_body_of_a_client_that_leaves(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    _data(client)
    client.send(HEAD + (b"z" * 998 + b"\r\n") * 3000)
    door.wait(lambda: list(door.incoming.iterdir()))
    client.close()
    door.wait(lambda: not list(door.incoming.iterdir()))
    assert door.product.bodies == []


_UPLOADS = """
import socket, sys, threading
def upload():
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60) as client:
        client.sendall(b"HELO x\\r\\nMAIL FROM:<a@example.com>\\r\\nRCPT TO:<b@example.net>\\r\\nDATA\\r\\n")
        client.sendall(b"From: a@example.com\\r\\n\\r\\n")
        for _ in range(20):
            client.sendall((b"z" * 998 + b"\\r\\n") * 2000)
        client.sendall(b".\\r\\nQUIT\\r\\n")
        while client.recv(4096):
            pass
threads = [threading.Thread(target=upload) for _ in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_ten_large_messages_stop_nobody(door: Door, connect: Callable[..., Client]) -> None:
    """Ten messages of 40 MB at once: others wait less than half a second, and memory stays."""
    policy = replace(POLICIES["trusted"], message_size_max=50_000_000)
    door.product.keeps_bodies = False
    other = connect(policy)
    before = _resident_bytes()
    uploads = subprocess.Popen([sys.executable, "-c", _UPLOADS, str(door.port(policy))])
    slowest, grown = 0.0, 0
    while uploads.poll() is None:
        started = time.monotonic()
        assert other.say("MAIL FROM:<a@example.com>") == "250 Ok"
        slowest = max(slowest, time.monotonic() - started)
        assert other.say("RSET") == "250 Ok"
        grown = max(grown, _resident_bytes() - before)
        time.sleep(0.1)
    assert uploads.returncode == 0
    assert len(door.product.submissions) == 10
    assert {submission.content.size_bytes for submission in door.product.submissions} == {40_000_023}
    assert slowest < 0.5
    assert grown < 150 << 20


@pytest.mark.req("SMTP-026")
def test_silence_between_commands(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    door.clock.ahead_seconds += 299
    assert client.say("NOOP") == "250 Ok"
    door.clock.ahead_seconds += 301
    assert client.rest_until_closed() == b"451 Timeout waiting for data from client\r\n"
    door.wait(lambda: door.product.counts.get(("relay_sessions_ended_total", "idle")) == 1)


@pytest.mark.req("SMTP-026")
def test_silence_in_data(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    _data(client)
    client.send(HEAD + b"x" * 200_000)
    door.wait(lambda: any(connection._session.data_bytes > 200_000 for connection in door.door.connections))
    door.clock.ahead_seconds += 181
    assert client.rest_until_closed() == b"451 Timeout waiting for data from client\r\n"
    door.wait(lambda: door.product.counts.get(("relay_sessions_ended_total", "deadline")) == 1)
    assert door.product.bodies == []


def test_dripping_commands(door: Door, connect: Callable[..., Client]) -> None:
    """One byte every ten seconds is never silent, and still has an end."""
    client = connect("trusted")
    for _ in range(29):
        client.send(b"N")
        time.sleep(0.06)
        door.clock.ahead_seconds += 10
    assert door.door.sessions == 1
    for _ in range(3):
        client.send(b"N")
        time.sleep(0.06)
        door.clock.ahead_seconds += 10
    assert client.rest_until_closed() == b"451 Timeout waiting for data from client\r\n"


def _chunk(client: Client) -> None:
    for line in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"):
        assert client.say(line) == "250 Ok"
    assert client.say(b"BDAT 13\r\nFrom: a\r\n\r\n") == "250 Ok"


def test_silence_between_chunks(door: Door, connect: Callable[..., Client]) -> None:
    """What holds for DATA holds for BDAT from its first chunk on, while none is under way too."""
    client = connect("trusted")
    _chunk(client)
    door.clock.ahead_seconds += 181
    assert client.rest_until_closed() == b"451 Timeout waiting for data from client\r\n"
    door.wait(lambda: door.product.counts.get(("relay_sessions_ended_total", "rate")) == 1)
    assert door.product.bodies == []


def test_dripping_chunks(door: Door, connect: Callable[..., Client]) -> None:
    """Many small chunks are no way around the least rate."""
    client = connect("trusted")
    _chunk(client)
    answers = []
    for _ in range(5):
        time.sleep(0.06)
        door.clock.ahead_seconds += 10
        client.send(b"BDAT 2\r\nxx")
        answers.append(client.line())
    assert answers[0] == b"250 Ok"
    assert b"451 Timeout waiting for data from client" in answers
    door.wait(lambda: door.product.counts.get(("relay_sessions_ended_total", "rate")) == 1)


def test_dripping_data(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    _data(client)
    client.send(HEAD)
    for _ in range(4):
        time.sleep(0.06)
        door.clock.ahead_seconds += 10
        client.send(b"x" * 100)
    assert client.rest_until_closed() == b"451 Timeout waiting for data from client\r\n"
    door.wait(lambda: door.product.counts.get(("relay_sessions_ended_total", "rate")) == 1)


@pytest.mark.req("SMTP-027")
def test_connection_limits(door: Door, connect: Callable[..., Client]) -> None:
    door.gate.per_address_max = 3
    first = [connect("trusted") for _ in range(3)]
    assert connect("trusted", "connected").rest_until_closed() == b"421 Too many concurrent SMTP connections\r\n"
    first[0].close()
    door.wait(lambda: door.gate.total == 2)
    connect("trusted")
    door.gate.per_address_max = 0
    door.gate.connections_max = 3
    assert connect("trusted", "connected").rest_until_closed() == b"421 Too many concurrent SMTP connections\r\n"
    assert door.product.counts["relay_sessions_refused_total", "connections"] == 2


@pytest.mark.parametrize("kind", ["submission", "implicit", "mx"])
def test_new_connections_over_the_rate(
    kind: str, door: Door, connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """E07: refused in words, logged once a minute however many come; an address that logged in is let in."""
    monkeypatch.setattr(door.gate, "arrive", lambda _address: False)
    refusal = b"421 Too many new SMTP connections in a minute\r\n"
    for _ in range(3):
        assert connect(kind, "connected").rest_until_closed() == refusal
    assert door.product.counts["relay_sessions_refused_total", "rate"] == 3
    assert [line.split(" {")[0] for line in door.product.warnings] == ["an address makes too many new connections"]
    assert door.gate.total == 0
    door.product.auth_result("127.0.0.1", USER, succeeded=True)
    connect(kind)
    assert door.product.counts["relay_sessions_refused_total", "rate"] == 3


def test_a_trusted_network_has_no_rate_on_any_listener(
    door: Door, connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door.gate, "arrive", lambda _address: False)
    connect("trusted")
    connect("submission")


@pytest.mark.req("SMTP-027")
def test_sessions_of_one_account(door: Door, connect: Callable[..., Client]) -> None:
    door.gate.per_account_max = 1
    first = connect("implicit", "login")
    second = connect("implicit")
    assert second.say("AUTH PLAIN AGFsaWNlAHNlY3JldA==") == "421 Too many concurrent SMTP connections"
    first.close()
    door.wait(lambda: not door.gate._accounts)
    connect("implicit", "login")


@pytest.mark.req("SMTP-026")
def test_stress(door: Door, connect: Callable[..., Client]) -> None:
    """Above 80 % of all connections: ten seconds of silence, one error; below again: as before (decision 2)."""
    clients = [connect("trusted") for _ in range(8)]
    door.gate.connections_max = 9
    door.wait(lambda: door.door.stressed)
    assert door.product.gauges["relay_sessions_stressed",] == 1
    clients[0].send(b"FOO\r\n")
    assert clients[0].rest_until_closed() == b"500 Command not recognized\r\n421 Too many errors\r\n"
    door.clock.ahead_seconds += 11
    for client in clients[1:]:
        assert client.rest_until_closed() == b"451 Timeout waiting for data from client\r\n"
        client.close()
    clients[0].close()
    door.wait(lambda: not door.door.stressed)
    assert connect("trusted").say("FOO") == "500 Command not recognized"


def test_client_that_reads_nothing(door: Door, connect: Callable[..., Client]) -> None:
    """Replies that nobody takes are bounded, and the connection ends."""
    policy = replace(POLICIES["trusted"], errors_max=10**9, junk_commands_max=10**9)
    client = connect(policy)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.socket.settimeout(1.0)
    sent = 0
    try:
        while sent < 64 << 20:
            sent += client.socket.send(b"EHLO x\r\n" * 8192)
    except TimeoutError:
        pass
    assert sent < 64 << 20
    connection = next(iter(door.door.connections))
    assert connection._transport.get_write_buffer_size() < 4 << 20
    door.clock.ahead_seconds += 301
    time.sleep(0.2)
    door.clock.ahead_seconds += 5
    door.wait(lambda: door.door.sessions == 0)


@pytest.mark.req("SMTP-029")
def test_drain_between_messages_only(door: Door, connect: Callable[..., Client]) -> None:
    idle, busy = connect("trusted"), connect("trusted")
    _data(busy)
    draining = threading.Thread(target=lambda: door.call(lambda: door.door.drain(20)))
    draining.start()
    assert idle.rest_until_closed() == b"421 Service closing transmission channel\r\n"
    busy.send(HEAD + b"x\r\n.\r\n")
    assert busy.rest_until_closed() == b"250 Ok id-1\r\n421 Service closing transmission channel\r\n"
    draining.join(10)
    assert not draining.is_alive()
    with pytest.raises(ConnectionRefusedError):
        Client(door.ports["trusted"])


@pytest.mark.req("SMTP-029")
def test_messages_and_seconds_of_a_session(door: Door, connect: Callable[..., Client]) -> None:
    client = connect(replace(POLICIES["trusted"], messages_max=2))
    assert _message(client, HEAD) == "250 Ok id-1"
    assert _message(client, HEAD) == "250 Ok id-2"
    assert client.say("MAIL FROM:<a@example.com>") == "421 Too many messages in one session"
    client = connect(replace(POLICIES["trusted"], session_seconds_max=100.0))
    _data(client)
    client.send(HEAD + b"x" * 60_000)
    door.wait(lambda: any(connection._session.data_bytes > 60_000 for connection in door.door.connections))
    door.clock.ahead_seconds += 101
    time.sleep(0.2)
    client.send(b"\r\n.\r\n")
    assert client.rest_until_closed() == b"250 Ok id-3\r\n421 Service closing transmission channel\r\n"


def test_new_rules_are_for_new_sessions(door: Door, connect: Callable[..., Client]) -> None:
    old = connect("trusted")
    listener = door.door.listeners[0]
    door.call(lambda: listener.use(replace(POLICIES["trusted"], message_size_max=1000)))
    assert old.say("MAIL FROM:<a@example.com> SIZE=5000") == "250 Ok"
    assert connect("trusted").say("MAIL FROM:<a@example.com> SIZE=5000") == "552 Message is too long."


@pytest.mark.req("SMTP-012", "SMTP-028")
def test_faults_of_ours(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("implicit", "login")
    door.product.raises = True
    assert _message(client, HEAD) == "451 Temporary service failure"
    assert client.say("NOOP") == "250 Ok"
    other = connect("implicit")
    assert other.say("AUTH PLAIN AGFsaWNlAHNlY3JldA==") == "454 Temporary authentication failure"
    door.product.raises = False
    other.login()
    assert len(door.product.faults) == 2
    door.product.faults.clear()


@pytest.mark.req("SMTP-011")
@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason.ACCOUNT_CLOSED, "535 Account not subscribed to SES"),
        (Reason.AUTH_TEMPORARY, "454 Temporary authentication failure"),
    ],
)
def test_other_answers_to_auth(reason: Reason, text: str, door: Door, connect: Callable[..., Client]) -> None:
    door.product.auth_answer = Refusal(reason)
    assert connect("implicit").say("AUTH PLAIN AGFsaWNlAHNlY3JldA==") == text
    assert door.product.auth_results == []  # neither is a failure of the client


def test_delay_is_the_same_right_or_wrong(door: Door, connect: Callable[..., Client]) -> None:
    door.product.gate = AuthGate(refused=False, delay_seconds=0.3)
    texts = []
    for token in ("AGFsaWNlAHdyb25n", "AGJvYgB3cm9uZw==", "AGFsaWNlAHNlY3JldA=="):
        client = connect("implicit")
        started = time.monotonic()
        client.send(f"AUTH PLAIN {token}\r\nNOOP\r\n".encode())
        texts.append(client.line().decode())
        assert 0.25 < time.monotonic() - started < 2
        assert client.line() == b"250 Ok"  # in order, after the answer that took time
    assert texts == ["535 Authentication Credentials Invalid"] * 2 + ["235 Authentication successful"]
    assert door.product.auth_results == [
        ("127.0.0.1", USER, False),
        ("127.0.0.1", "bob", False),
        ("127.0.0.1", USER, True),
    ]
    door.product.gate = AuthGate(refused=True, delay_seconds=0.0)
    assert connect("implicit").say("AUTH PLAIN AGFsaWNlAHNlY3JldA==") == "421 Too many failed authentications"


def test_credential_revoked_meanwhile(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("implicit", "login")
    assert _message(client, HEAD) == "250 Ok id-1"
    assert door.product.submissions[0].account == ACCOUNT
    assert door.product.submissions[0].principal == USER
    door.product.accounts.clear()
    assert client.say("MAIL FROM:<a@example.com>") == "530 Authentication required"
    door.product.accounts[USER] = "000000000002"
    client.login()
    assert _message(client, HEAD) == "250 Ok id-2"
    assert door.product.submissions[1].account == "000000000002"


def test_disk_full_at_mail(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("trusted")
    door.product.start_answer = Refusal(Reason.DISK_FULL)
    assert client.say("MAIL FROM:<a@example.com>") == "452 Insufficient system storage"
    door.product.start_answer = None
    assert client.say("MAIL FROM:<a@example.com>") == "250 Ok"


def test_half_close_after_the_dot(door: Door, connect: Callable[..., Client]) -> None:
    door.product.hold_seconds = 0.2
    client = connect("trusted")
    _data(client)
    client.send(HEAD + b"x\r\n.\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.rest_until_closed() == b"250 Ok id-1\r\n"
    assert len(door.product.bodies) == 1


def test_input_is_held_while_an_answer_is_due(door: Door, connect: Callable[..., Client]) -> None:
    door.product.hold_seconds = 1.0
    client = connect("trusted")
    _data(client)
    client.send(HEAD + b"x\r\n.\r\n")
    client.socket.settimeout(0.3)
    sent = 0
    try:
        while sent < 64 << 20:
            sent += client.socket.send(b"MAIL FROM:<a@example.com>\r\nRSET\r\n" * 2000)
    except TimeoutError:
        pass
    connection = next(iter(door.door.connections))
    assert len(connection._session._buffer) < 1 << 20
    client.socket.settimeout(20)
    assert client.line() == b"250 Ok id-1"


def test_untrusted_address_on_a_trusting_listener(door: Door, connect: Callable[..., Client]) -> None:
    client = connect(replace(POLICIES["trusted"], trusted_networks=("10.0.0.0/8", "::1/128")))
    assert client.say("MAIL FROM:<a@example.com>") == "530 Authentication required"


def test_few_descriptors() -> None:
    """With too few descriptors the accept loop neither spins nor dies (E22)."""
    program = textwrap.dedent(
        """
        import resource, socket, sys, tempfile, threading, time
        from pathlib import Path
        from tests.wire.door import Client, Door, make_certificate
        directory = Path(tempfile.mkdtemp())
        door = Door(directory, make_certificate(directory))
        port = door.port("trusted")
        print(port, flush=True)
        limit = len(__import__("os").listdir("/proc/self/fd")) + 20
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        print("ready", flush=True)
        sys.stdin.readline()
        started, cpu = time.monotonic(), time.process_time()
        time.sleep(2)
        print((time.process_time() - cpu) / (time.monotonic() - started), flush=True)
        sys.stdin.readline()
        door.close()
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd(),
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        assert process.stdout.readline() == "ready\n"
        clients = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(100)]
        process.stdin.write("\n")
        process.stdin.flush()
        assert float(process.stdout.readline()) < 0.5
        for client in clients:
            client.close()
        deadline = time.monotonic() + 20
        while True:
            try:
                late = Client(port, timeout=3)
                assert late.line().startswith(b"220 ")
                break
            except (OSError, AssertionError):
                assert time.monotonic() < deadline
        assert late.say("NOOP") == "250 Ok"
        late.close()
    finally:
        process.stdin.write("\n")
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def test_harvest_on_the_mx_listener(door: Door, connect: Callable[..., Client]) -> None:
    """Guessing recipients ends the session (E06)."""
    client = connect("mx")
    client.send(b"MAIL FROM:<>\r\n" + b"".join(b"RCPT TO:<u%d@relay.example>\r\n" % number for number in range(200)))
    answer = client.rest_until_closed()
    assert answer.count(b"mailbox unavailable\r\n") == 20
    assert answer.endswith(b"421 Too many errors\r\n")


@pytest.mark.req("SMTP-029")
def test_drain_during_a_handshake(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("submission")
    assert client.say("STARTTLS") == "220 Ready to start TLS"
    started = time.monotonic()
    door.call(lambda: door.door.drain(20))
    assert time.monotonic() - started < 5
    assert client.rest_until_closed() == b""


@pytest.mark.req("SMTP-020")
def test_nothing_is_disclosed_before_the_end_of_data(door: Door, connect: Callable[..., Client]) -> None:
    """Every well-formed sender and recipient gets the same answer; the product is asked at the end only."""
    door.product.answer = Refusal(Reason.NOT_VERIFIED, "LOCAL-1: evil@elsewhere.example")
    client = connect("implicit", "login")
    assert client.say("MAIL FROM:<evil@elsewhere.example>") == "250 Ok"
    for recipient in ("a@example.com", "suppressed@example.com", "nobody@nowhere.example"):
        assert client.say(f"RCPT TO:<{recipient}>") == "250 Ok"
    assert client.say("DATA").startswith("354")
    client.send(HEAD + b".\r\n")
    assert client.reply()[-1].startswith(b"554 Message rejected: Email address is not verified.")
    assert len(door.product.submissions) == 1


def test_an_answer_that_never_comes(door: Door, connect: Callable[..., Client]) -> None:
    """Nobody waits for ever, not even for us; a client that is gone meanwhile does not keep its connection."""
    door.product.hold_seconds = 3600.0
    waiting, gone = connect("trusted"), connect("trusted")
    for client in (waiting, gone):
        _data(client)
        client.send(HEAD + b"x\r\n.\r\n")
    gone.socket.shutdown(socket.SHUT_WR)
    door.wait(lambda: len(door.product.submissions) == 2)
    door.clock.ahead_seconds += 590
    time.sleep(0.2)
    assert door.door.sessions == 2
    door.clock.ahead_seconds += 20
    assert waiting.rest_until_closed() == b"451 Temporary service failure\r\n"
    assert gone.rest_until_closed() == b"451 Temporary service failure\r\n"
    waiting.close()
    door.wait(lambda: door.door.sessions == 0)
    assert len(door.product.faults) == 2
    assert all("waited in vain" in fault for fault in door.product.faults)
    door.product.faults.clear()


def test_who_logs_in_anew_is_counted_for_the_new_account(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("implicit", "login")
    assert door.gate._accounts == {ACCOUNT: 1}
    door.product.accounts.clear()
    assert client.say("MAIL FROM:<a@example.com>") == "530 Authentication required"
    door.product.auth_answer = "000000000002"
    client.login()
    assert door.gate._accounts == {"000000000002": 1}
    client.close()
    door.wait(lambda: not door.gate._accounts)


def test_sessions_that_end_are_those_that_began(door: Door, connect: Callable[..., Client]) -> None:
    """A handshake that fails is counted as that, a refusal as that, and neither as the end of a session."""
    connect("implicit").say("QUIT")
    with socket.create_connection(("127.0.0.1", door.port("implicit")), 20) as raw:
        raw.sendall(b"EHLO x\r\n")
        while raw.recv(4096):
            pass
    door.wait(lambda: door.door.sessions == 0)
    counts = door.product.counts
    assert counts["relay_tls_failures_total",] == 1
    assert {key: value for key, value in counts.items() if key[0] == "relay_sessions_ended_total"} == {
        ("relay_sessions_ended_total", "quit"): 1
    }
    assert counts["relay_sessions_total", "submission"] == 1


def _alive() -> int:
    return sum(isinstance(one, (SmtpConnection, Session)) for one in gc.get_objects())


def test_a_session_leaves_nothing_to_the_garbage_collector(door: Door, connect: Callable[..., Client]) -> None:
    """Else thousands of short sessions cost more for being collected than for what they do."""
    for kind in ("trusted", "implicit"):
        door.port(kind)
    gc.collect()
    gc.disable()
    try:
        before = _alive()
        client = connect("trusted")
        assert _message(client, HEAD + (b"z" * 998 + b"\r\n") * 500) == "250 Ok id-1"
        assert connect("implicit").say("QUIT") == "221 Bye"
        assert _alive() > before
        client.close()
        door.wait(lambda: door.door.sessions == 0)
        door.wait(lambda: _alive() == before)
    finally:
        gc.enable()
