"""TLS of the door, with real sockets and the real OpenSSL behind Python's ssl."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relay.smtpd.tls import server_context
from tests.wire.door import POLICIES, Client, Door, client_context, make_certificate


@pytest.mark.req("SMTP-006")
def test_three_hundred_fast_upgrades(door: Door) -> None:
    """The ClientHello follows the 220 as fast as a client can send it; none may be lost."""
    port = door.port("submission")
    context = client_context()
    for number in range(300):
        with socket.create_connection(("127.0.0.1", port), 20) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = b""
            raw.sendall(b"EHLO x\r\nSTARTTLS\r\n")
            while not data.endswith(b"220 Ready to start TLS\r\n"):
                data += raw.recv(4096)
            with context.wrap_socket(raw) as secure:
                secure.sendall(b"EHLO x\r\n")
                assert secure.recv(4096).startswith(b"250-relay.example"), number
    assert "relay_tls_failures_total" not in [name for name, *_ in door.product.counts]


@pytest.mark.req("SMTP-006")
def test_injected_commands_are_dropped(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("mx")
    client.send(b"STARTTLS\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<postmaster>\r\n")
    assert client.line() == b"220 Ready to start TLS"
    assert client.rest == b""
    client.socket = client_context().wrap_socket(client.socket)
    assert client.say("RCPT TO:<postmaster>") == "503 Bad sequence of commands"
    assert client.say("EHLO x") == "250 Ok"
    assert client.say("DATA") == "503 Bad sequence of commands"


@pytest.mark.req("SMTP-001", "SMTP-004")
def test_implicit_listener_greets_inside_tls(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("implicit", "login")
    assert client.say("QUIT") == "221 Bye"
    assert client.rest_until_closed() == b""


@pytest.mark.req("TLS-002")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(version: ssl.TLSVersion, door: Door) -> None:
    context = client_context()
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        context.minimum_version = version
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", door.port("implicit")), 20) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw)


@pytest.mark.req("TLS-002")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_suites_give_forward_secrecy(version: ssl.TLSVersion, door: Door) -> None:
    context = client_context()
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", door.port("implicit")), 20) as raw,
        context.wrap_socket(raw) as secure,
    ):
        cipher = secure.cipher()
        assert cipher is not None
        assert secure.version() == version.name.replace("_", ".")
        assert version is ssl.TLSVersion.TLSv1_3 or cipher[0].startswith(("ECDHE-", "DHE-"))


@pytest.mark.req("TLS-002")
@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256:AES256-SHA", "ECDHE-ECDSA-AES128-SHA", "aNULL:@SECLEVEL=0"])
def test_weak_suites_are_refused(ciphers: str, door: Door) -> None:
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    with socket.create_connection(("127.0.0.1", door.port("implicit")), 20) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw)


def test_plain_text_instead_of_a_hello(door: Door, connect: Callable[..., Client]) -> None:
    client = connect("submission")
    assert client.say("STARTTLS") == "220 Ready to start TLS"
    client.send(b"EHLO again\r\nMAIL FROM:<a@example.com>\r\n")
    answer = client.rest_until_closed()
    assert b"250" not in answer
    assert b"EHLO" not in answer
    assert door.product.counts["relay_tls_failures_total",] == 1


@pytest.mark.parametrize("close_notify", [False, True])
def test_truncation_yields_no_message(close_notify: bool, door: Door, connect: Callable[..., Client]) -> None:
    client = connect("implicit", "login")
    client.say("MAIL FROM:<a@example.com>")
    client.say("RCPT TO:<b@example.net>")
    client.say("DATA")
    client.send(b"From: a\r\n\r\nhalf a message\r\n.\r")
    secure = client.socket
    assert isinstance(secure, ssl.SSLSocket)
    if close_notify:
        secure.settimeout(5)
        secure.unwrap().close()
    else:
        raw = socket.socket(fileno=secure.detach())
        raw.shutdown(socket.SHUT_WR)
        raw.close()
    door.wait(lambda: door.door.sessions == 0)
    assert door.product.bodies == []


def test_stalled_handshakes_end_and_stop_nobody(door: Door, connect: Callable[..., Client]) -> None:
    port = door.port("implicit")
    stalled = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(10)]
    for raw in stalled:
        raw.sendall(b"\x16\x03\x01")
    connect("implicit", "login")
    door.wait(lambda: door.door.sessions == 11)
    door.clock.ahead_seconds += 11
    for raw in stalled:
        assert raw.recv(100) == b""
        raw.close()


@pytest.mark.parametrize("name", ["x" * 63 + ("." + "y" * 63) * 2, "unknown.example", None])
def test_server_names(name: str | None, door: Door) -> None:
    with (
        socket.create_connection(("127.0.0.1", door.port("implicit")), 20) as raw,
        client_context().wrap_socket(raw, server_hostname=name) as secure,
    ):
        assert secure.recv(100).startswith(b"220 ")


def test_new_certificate_for_new_sessions(door: Door, connect: Callable[..., Client], tmp_path: Path) -> None:
    """Sessions that are open keep theirs; reload drops none."""
    old = [connect("implicit", "login") for _ in range(20)]
    before = old[0].socket.getpeercert(binary_form=True)  # type: ignore[attr-defined]
    other = server_context(*make_certificate(tmp_path, "other.example"))
    door.call(lambda: setattr(door.tls, "context", other))
    new = connect("implicit", "login")
    assert new.socket.getpeercert(binary_form=True) != before  # type: ignore[attr-defined]
    assert [client.say("NOOP") for client in old] == ["250 Ok"] * 20


def test_renegotiation_is_refused(door: Door) -> None:
    """Python's ssl has no renegotiation, so the option that refuses it is what can be asked for."""
    context = server_context(*door.certificate)
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.req("SMTP-027")
def test_refused_inside_tls(door: Door, connect: Callable[..., Client]) -> None:
    door.gate.per_address_max = 1
    connect("trusted")
    client = connect("implicit", "connected")
    assert client.line() == b"421 Too many concurrent SMTP connections"


def test_byte_by_byte(door: Door, connect: Callable[..., Client]) -> None:
    """A session inside TLS whose records arrive one byte at a time."""
    port = door.port(replace(POLICIES["implicit"], instance="slow"))
    front = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        inner, _ = front.accept()
        with inner, socket.create_connection(("127.0.0.1", port)) as outer:
            outer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def back() -> None:
                while data := outer.recv(65536):
                    inner.sendall(data)

            returning = threading.Thread(target=back, daemon=True)
            returning.start()
            with contextlib.suppress(OSError):
                while data := inner.recv(65536):
                    for index in range(len(data)):
                        outer.sendall(data[index : index + 1])
            with contextlib.suppress(OSError):  # the door closed first
                outer.shutdown(socket.SHUT_WR)
            returning.join(5)

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    client = Client(front.getsockname()[1], implicit=True)
    assert client.line().startswith(b"220 ")
    assert client.say("EHLO x") == "250 Ok"
    client.login()
    assert client.say("QUIT") == "221 Bye"
    client.close()
    thread.join(10)
    front.close()
