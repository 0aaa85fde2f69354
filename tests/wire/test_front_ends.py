"""Whoever speaks for others: load balancers (PROXY), front ends (XCLIENT), and networks that are let in or not."""

import struct
from dataclasses import replace

import pytest

from relay.smtp.server.policy import ListenerKind, SessionPolicy, TlsMode
from tests.wire.door import ACCOUNT, HOST, POLICIES, USER, Client, client_context

LOOPBACK = ("127.0.0.0/8",)
PROXIED = SessionPolicy(HOST, kind=ListenerKind.MX, proxy_networks=LOOPBACK)
IMPLICIT = SessionPolicy(HOST, tls=TlsMode.IMPLICIT, proxy_networks=LOOPBACK)
TRUSTING = replace(POLICIES["trusted"], proxy_networks=LOOPBACK)
NAMING = SessionPolicy(HOST, tls=TlsMode.NONE, auth_in_clear=True, xclient_networks=LOOPBACK)
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 25\r\n"
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11"
    + struct.pack(">H", 19)
    + bytes((192, 0, 2, 8, 10, 0, 0, 1, 1, 1, 1, 2))
    + b"\4\0\4tlvs"
)


def behind(door, policy, header):
    client = Client(door.port(policy))
    client.send(header)
    return client


def take(client, recipient="postmaster@relay.example"):
    """Submit a message; return the last reply."""
    for line in ("MAIL FROM:<a@example.com>", f"RCPT TO:<{recipient}>", "DATA"):
        answer = client.say(line)
        if answer[0] not in "23":
            return answer
    return client.say(b"From: a\r\n\r\nx\r\n.")


@pytest.mark.parametrize(("header", "address"), [(V1, "192.0.2.7"), (V2, "192.0.2.8")])
def test_the_header_names_the_client(door, header, address):
    client = behind(door, PROXIED, header + b"EHLO x\r\n")
    assert client.line().startswith(b"220 ")
    assert client.reply()[-1] == b"250 Ok"
    assert door.gate._addresses == {address: 1}
    assert take(client).startswith("250 Ok")
    assert door.product.received[-1].source_address == address
    client.close()
    door.wait(lambda: door.gate.total == 0)


def test_the_header_may_come_in_pieces_and_nothing_is_said_before(door):
    client = Client(door.port(PROXIED))
    client.socket.settimeout(0.2)
    for octet in V1[:-1]:
        client.send(bytes((octet,)))
    with pytest.raises(TimeoutError):
        client.line()
    assert door.gate.total == 0
    client.socket.settimeout(20)
    client.send(V1[-1:])
    assert client.line().startswith(b"220 ")
    assert door.gate._addresses == {"192.0.2.7": 1}


def test_before_tls_from_the_first_byte(door):
    client = behind(door, IMPLICIT, V1)
    client.socket = client_context().wrap_socket(client.socket, server_hostname=HOST)
    assert client.line().startswith(b"220 ")
    assert client.say("EHLO x") == "250 Ok"
    client.login()
    assert take(client).startswith("250 Ok")
    assert door.product.submissions[-1].source_address == "192.0.2.7"
    assert door.product.auth_results == [("192.0.2.7", USER, True)]


@pytest.mark.parametrize(
    "text", [b"EHLO x\r\n", b"PROXY TCP4 1.2.3.4 x 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", b"P" * 5000]
)
def test_what_is_no_header_ends_the_connection(door, text):
    """D23: without its header a balancer's connection is nobody's; nothing is said and nothing counted."""
    client = behind(door, PROXIED, text)
    assert client.rest_until_closed() == b""
    door.wait(lambda: door.product.counts.get(("relay_sessions_refused_total", "proxy_header")))
    assert door.gate.total == 0
    door.wait(lambda: not door.door.connections)


def test_a_header_that_never_ends_is_not_waited_for(door):
    client = behind(door, PROXIED, V1[:20])
    door.wait(lambda: door.door.connections)
    door.clock.ahead_seconds += 6
    client.send(V1[20:21])  # a drip does not help: the deadline is absolute
    assert client.rest_until_closed() == b""
    assert door.product.counts["relay_sessions_refused_total", "proxy_header"] == 1


def test_a_balancer_without_a_client_is_served_and_not_trusted(door):
    """UNKNOWN and LOCAL: a health check gets its greeting; the balancer's own address earns nobody trust."""
    for header in (b"PROXY UNKNOWN\r\n", V2[:12] + b"\x20\x00\x00\x00"):
        client = behind(door, TRUSTING, header)
        assert client.line().startswith(b"220 ")
        assert client.say("EHLO x") == "250 Ok"
        assert client.say("MAIL FROM:<a@example.com>") == "530 Authentication required"
        assert client.say("QUIT") == "221 Bye"


def test_trust_is_by_the_address_in_the_header(door):
    client = behind(door, TRUSTING, V1)
    client.line()
    client.say("EHLO x")
    assert client.say("MAIL FROM:<a@example.com>") == "530 Authentication required"
    inside = behind(door, TRUSTING, V1.replace(b"192.0.2.7", b"127.9.9.9"))
    inside.line()
    inside.say("EHLO x")
    assert take(inside).startswith("250 Ok")


def test_whoever_is_no_balancer_is_an_ordinary_client(door):
    """A header from elsewhere is a command that is not known (D23)."""
    policy = replace(PROXIED, proxy_networks=("192.0.2.0/24",))
    client = behind(door, policy, V1)
    assert client.line().startswith(b"220 ")
    assert client.line() == b"500 Command not recognized"


def test_limits_are_by_the_real_address(door):
    door.gate.per_address_max = 2
    kept = [behind(door, PROXIED, V1) for _ in range(2)]
    assert all(client.line().startswith(b"220 ") for client in kept)
    third = behind(door, PROXIED, V1)
    assert third.line() == b"421 Too many concurrent SMTP connections"
    other = behind(door, PROXIED, V2)
    assert other.line().startswith(b"220 ")
    for client in (*kept, third, other):
        client.close()
    door.wait(lambda: door.gate.total == 0)


# --- networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "denied", "served"),
    [
        ((), (), True),
        (("127.0.0.0/8",), (), True),
        (("192.0.2.0/24",), (), False),
        ((), ("127.0.0.1/32",), False),
        (("127.0.0.0/8",), ("127.0.0.1/32",), False),
        (("127.0.0.0/8", "::/0"), ("127.0.0.2/32",), True),
    ],
)
def test_networks_of_a_listener(door, allowed, denied, served):
    client = Client(door.port(SessionPolicy(HOST, allowed_networks=allowed, denied_networks=denied)))
    line = client.line()
    if served:
        assert line.startswith(b"220 ")
        return
    assert line == b"554 Access denied"
    assert client.rest_until_closed() == b""
    assert door.product.counts["relay_sessions_refused_total", "denied"] == 1
    assert door.gate.total == 0


def test_a_denied_client_gets_no_handshake(door):
    policy = SessionPolicy(HOST, tls=TlsMode.IMPLICIT, denied_networks=LOOPBACK)
    client = Client(door.port(policy))
    client.send(b"\x16\x03\x01")
    assert client.rest_until_closed() == b""
    assert door.product.counts["relay_sessions_refused_total", "denied"] == 1


def test_networks_hold_for_the_client_behind_a_balancer(door):
    policy = replace(PROXIED, allowed_networks=("192.0.2.8/32",))
    assert behind(door, policy, V1).line() == b"554 Access denied"
    assert behind(door, policy, V2).line().startswith(b"220 ")


# --- XCLIENT ------------------------------------------------------------------------------------------------------


def features(client):
    client.send(b"EHLO x\r\n")
    return [line.decode()[4:] for line in client.reply()]


def test_only_front_ends_may_name_clients(door, connect):
    client = connect(replace(NAMING, xclient_networks=("192.0.2.0/24",)), "greeted")
    assert not [line for line in features(client) if "XCLIENT" in line]
    assert client.say("XCLIENT ADDR=192.0.2.9") == "500 Command not recognized"
    client = connect("submission", "greeted")
    assert client.say("XCLIENT ADDR=192.0.2.9") == "530 Must issue a STARTTLS command first"


def test_a_named_client_begins_anew(door, connect):
    client = connect(NAMING, "greeted")
    assert "XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT" in features(client)
    client.login()
    greeting = client.say("XCLIENT NAME=c.example ADDR=192.0.2.9 HELO=c.example PROTO=SMTP")
    assert greeting.startswith("220 relay.example ESMTP")
    assert client.say("MAIL FROM:<a@example.com>") == "503 Bad sequence of commands"
    features(client)
    assert client.say("MAIL FROM:<a@example.com>") == "530 Authentication required"
    client.login()
    assert door.product.auth_results[-1] == ("192.0.2.9", USER, True)
    assert door.gate._addresses == {"192.0.2.9": 1}
    assert take(client).startswith("250 Ok")
    submission = door.product.submissions[-1]
    assert (submission.source_address, submission.helo) == ("192.0.2.9", "c.example")
    client.close()
    door.wait(lambda: door.gate.total == 0)


def test_not_within_a_transaction(connect):
    client = connect(NAMING)
    client.login()
    assert client.say("MAIL FROM:<a@example.com>") == "250 Ok"
    assert client.say("XCLIENT ADDR=192.0.2.9") == "503 Bad sequence of commands"
    assert client.say("RSET") == "250 Ok"
    assert client.say("XCLIENT ADDR=bad") == "501 Syntax: XCLIENT attribute=value..."


def test_trust_is_by_the_named_address(door, connect):
    """A front end that is trusted itself does not pass its trust on, also not to clients that it does not know."""
    policy = replace(POLICIES["trusted"], xclient_networks=LOOPBACK)
    for words, trusted in (
        ("ADDR=192.0.2.9", False),
        ("ADDR=[UNAVAILABLE]", False),
        ("ADDR=127.3.3.3", True),
        ("NAME=x", True),
    ):
        client = connect(policy)
        assert client.say(f"XCLIENT {words}").startswith("220 ")
        features(client)
        assert (client.say("MAIL FROM:<a@example.com>") == "250 Ok") == trusted, words
    client = connect(policy)
    assert client.say("XCLIENT ADDR=[UNAVAILABLE]").startswith("220 ")
    assert client.say("XCLIENT NAME=x").startswith("220 ")
    features(client)
    assert client.say("MAIL FROM:<a@example.com>") == "530 Authentication required"


def test_login_grants_what_is_configured_and_no_more(door, connect):
    client = connect(NAMING)
    assert client.say(f"XCLIENT ADDR=192.0.2.9 LOGIN={USER}") == "550 LOGIN is not taken from you"
    policy = replace(NAMING, xclient_login=True)
    client = connect(policy)
    assert client.say("XCLIENT ADDR=192.0.2.9 LOGIN=mallory") == "535 Authentication Credentials Invalid"
    assert client.say("MAIL FROM:<a@example.com>") == "530 Authentication required"
    assert client.say(f"XCLIENT ADDR=192.0.2.9 LOGIN={USER}").startswith("220 ")
    features(client)
    assert take(client).startswith("250 Ok")
    submission = door.product.submissions[-1]
    assert (submission.account, submission.principal, submission.source_address) == (ACCOUNT, USER, "192.0.2.9")
    door.product.accounts.clear()  # revoked: the next message is refused as after AUTH (CRED-011)
    assert client.say("MAIL FROM:<a@example.com>") == "530 Authentication required"


def test_login_waits_for_tls_where_passwords_do(connect):
    policy = SessionPolicy(HOST, xclient_networks=LOOPBACK, xclient_login=True)
    client = connect(policy)
    assert client.say(f"XCLIENT LOGIN={USER}") == "530 Must issue a STARTTLS command first"
    client.starttls()
    assert client.say(f"XCLIENT LOGIN={USER}").startswith("220 ")
    features(client)
    assert client.say("MAIL FROM:<a@example.com>") == "250 Ok"


def test_a_named_client_may_be_denied_or_one_too_many(door, connect):
    policy = replace(NAMING, denied_networks=("192.0.2.66/32",))
    client = connect(policy)
    assert client.say("XCLIENT ADDR=192.0.2.66") == "554 Access denied"
    assert client.rest_until_closed() == b""
    door.gate.per_address_max = 1
    first, second = connect(policy), None
    assert first.say("XCLIENT ADDR=192.0.2.9").startswith("220 ")
    second = connect(policy)
    assert second.say("XCLIENT ADDR=192.0.2.9") == "421 Too many concurrent SMTP connections"
    first.close()
    second.close()
    door.wait(lambda: door.gate.total == 0)


def test_a_reload_changes_the_networks_of_new_sessions(door):
    policy = SessionPolicy(HOST)
    client = Client(door.port(policy))
    assert client.line().startswith(b"220 ")
    (listener,) = door.door.listeners
    door.call(lambda: listener.use(replace(policy, denied_networks=LOOPBACK)))
    assert Client(door.port(policy)).line() == b"554 Access denied"
    assert client.say("EHLO x") == "250 Ok"  # sessions that are open go on
    door.call(lambda: listener.use(policy))
    assert Client(door.port(policy)).line().startswith(b"220 ")


@pytest.mark.req("SMTP-006")
def test_what_was_said_before_tls_does_not_count_by_xclient_either(door, connect):
    """Whoever sits in between could have said it (RFC 3207 section 4.2); but for the address, which only limits."""
    policy = SessionPolicy(HOST, kind=ListenerKind.MX, xclient_networks=LOOPBACK, xclient_login=True)
    client = connect(policy)
    assert client.say(f"XCLIENT ADDR=192.0.2.9 HELO=c.example PROTO=SMTP LOGIN={USER}").startswith("220 ")
    client.say("EHLO x")
    client.starttls()
    assert client.say("EHLO front.example") == "250 Ok"
    assert take(client, "b@example.net") == "530 Authentication required"
    client.say("RSET")
    assert take(client).startswith("250 Ok")
    submission = door.product.received[-1]
    assert (submission.account, submission.principal, submission.helo) == ("", "", "front.example")
    assert submission.protocol.value == "ESMTPS"
    assert submission.source_address == "192.0.2.9"
    assert door.gate._addresses == {"192.0.2.9": 1}
