"""What each command is answered in each state of a session (RFC 5321 section 4.1.4): the table, seen from outside."""

from dataclasses import replace

import pytest

from relay.smtp.server.client import Client
from relay.smtp.server.dialect import Dialect
from relay.smtp.server.policy import ListenerKind, SessionPolicy, TlsMode
from relay.smtp.server.session import Session
from relay.smtp.server.state import State
from relay.smtp.server.table import TABLE
from tests.unit.smtp.test_server import Product

SUBMISSION = SessionPolicy("h.example")
IMPLICIT = replace(SUBMISSION, tls=TlsMode.IMPLICIT)
MX = replace(SUBMISSION, kind=ListenerKind.MX)

MAIL = b"MAIL FROM:<a@example.com>\r\n"
RCPT = b"RCPT TO:<ok@example.net>\r\n"
BEFORE = {
    State.CLEAR: (SUBMISSION, b"EHLO x\r\n"),
    State.HELLO: (MX, b""),
    State.GREETED: (IMPLICIT, b"EHLO x\r\n"),
    State.READY: (MX, b"EHLO x\r\n"),
    State.MAIL: (MX, b"EHLO x\r\n" + MAIL),
    State.RCPT: (MX, b"EHLO x\r\n" + MAIL + RCPT),
    State.CHUNKS: (MX, b"EHLO x\r\n" + MAIL + RCPT + b"BDAT 6\r\nx: y\r\n"),
}
#                              CLEAR HELLO GREETED READY MAIL RCPT CHUNKS
ANSWERS = {
    b"EHLO x":                (250,   250,   250,   250,  250,  250,  250),
    b"HELO x":                (530,   250,   250,   250,  250,  250,  250),
    b"NOOP":                  (250,   250,   250,   250,  250,  250,  250),
    b"RSET":                  (530,   250,   250,   250,  250,  250,  250),
    b"RSET x":                (530,   501,   501,   501,  501,  501,  501),
    b"HELP":                  (530,   214,   214,   214,  214,  214,  214),
    b"VRFY a":                (530,   252,   252,   252,  252,  252,  252),
    b"EXPN a":                (530,   502,   502,   502,  502,  502,  502),
    b"STARTTLS":              (220,   220,   503,   220,  220,  220,  220),
    b"AUTH PLAIN":            (530,   503,   334,   530,  503,  503,  503),
    b"MAIL FROM:<>":          (530,   503,   530,   250,  503,  503,  503),
    b"RCPT TO:<ok@b.example>": (530,  503,   530,   503,  250,  250,  503),
    b"DATA":                  (530,   503,   530,   503,  503,  354,  503),
    b"BDAT 0":                (530,   502,   530,   503,  503,  250,  250),
    b"XCLIENT ADDR=192.0.2.9": (220,  220,   220,   220,  503,  503,  503),
    b"ETRN x":                (530,   502,   502,   502,  502,  502,  502),
    b"FOO":                   (530,   500,   500,   500,  500,  500,  500),
    b"QUIT":                  (221,   221,   221,   221,  221,  221,  221),
    b"GET / HTTP/1.1":        (421,   421,   421,   421,  421,  421,  421),
}  # fmt: skip


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
@pytest.mark.parametrize("command", ANSWERS, ids=lambda command: command.decode().partition(" ")[0])
def test_answers(command: bytes, state: State) -> None:
    policy, before = BEFORE[state]
    product = Product()
    session = Session(Dialect(policy), product, product, "192.0.2.1", trusted=False)
    session.may_name = True
    session.receive(before)
    session.take_output()
    assert session.state is state
    session.receive(command + b"\r\n")
    last = session.take_output().rstrip().rpartition(b"\r\n")[2]
    assert int(last[:3]) == ANSWERS[command][list(State).index(state)]


def test_every_command_is_in_the_table_of_this_test() -> None:
    listed = {verb for row in TABLE.values() for verb in row}
    assert listed <= {command.partition(b" ")[0] for command in ANSWERS}


@pytest.mark.parametrize(
    ("policy", "trusted", "steps", "state"),
    [
        (SUBMISSION, False, "", State.CLEAR),
        (SUBMISSION, False, "hello", State.CLEAR),
        (SUBMISSION, True, "", State.HELLO),
        (SUBMISSION, False, "tls", State.HELLO),
        (SUBMISSION, False, "hello tls", State.HELLO),
        (SUBMISSION, False, "tls hello", State.GREETED),
        (SUBMISSION, False, "tls hello login", State.READY),
        (SUBMISSION, False, "tls hello login logout", State.GREETED),
        (IMPLICIT, False, "", State.HELLO),
        (IMPLICIT, False, "hello", State.GREETED),
        (MX, False, "", State.HELLO),
        (MX, False, "hello", State.READY),
        (MX, False, "hello tls", State.HELLO),
    ],
)
def test_where_a_session_is_between_messages(
    policy: SessionPolicy, steps: str, state: State, *, trusted: bool
) -> None:
    """It follows from who the client is."""
    client = Client(Dialect(policy), "192.0.2.1", trusted=trusted)
    for step in steps.split():
        if step == "hello":
            client.greets("x", esmtp=True)
        elif step == "tls":
            client.secures()
        elif step == "login":
            client.logs_in("u", "1")
        else:
            client.loses_login()
    assert client.state is state
