"""Mutated sessions against the engine: it never raises, never grows, and answers afterwards (A28)."""

import random

from relay.smtp.server.dialect import Dialect
from relay.smtp.server.policy import ListenerKind, SessionPolicy, TlsMode
from relay.smtp.server.session import Session
from tests.unit.smtp.test_server import Product

SEEDS = [
    (
        b"EHLO x\r\nMAIL FROM:<a@example.com> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<ok@example.net>\r\nDATA\r\n"
        b"From: a\r\n\r\nbody\r\n..x\r\n.\r\nQUIT\r\n"
    ),
    b"EHLO x\r\nAUTH PLAIN AHUAcA==\r\nMAIL FROM:<>\r\nRCPT TO:ok@example.net\r\nRSET\r\nNOOP\r\n",
    b"HELO x\r\nAUTH LOGIN\r\ndQ==\r\ncA==\r\nVRFY a\r\nEXPN b\r\nHELP\r\nSTARTTLS\r\n",
    b'EHLO [::1]\r\nMAIL FROM:<"a b"@example.org> SMTPUTF8 AUTH=<>\r\nRCPT TO:<@x:ok@example.net>\r\nDATA\r\n.\r\n',
]
TOKENS = [
    b"\r", b"\n", b"\r\n", b"\0", b".", b"\r\n.\r\n", b"<", b">", b'"', b"\\",
    b" ", b"\xff", b"=", b"*", b"A" * 600,
    b"MAIL FROM:<a@b.example>\r\n", b"DATA\r\n", b"RSET\r\n", b"EHLO x\r\n", b"x" * 20000,
    b"GET / HTTP/1.1\r\n", b"\t",
]  # fmt: skip
POLICIES = [
    SessionPolicy("h.example", kind=ListenerKind.MX, tls=TlsMode.IMPLICIT, errors_max=10**6, message_size_max=9000),
    SessionPolicy("h.example", tls=TlsMode.NONE, trusted_account="1", errors_max=10**6, junk_commands_max=10**6),
    SessionPolicy("h.example"),
]
SESSIONS = 2000


def _mutate(chance: random.Random, seeds: list[bytes] = SEEDS) -> bytes:
    text = bytearray(chance.choice(seeds))
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(text) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            text[at:at] = chance.choice(TOKENS)
        elif kind == 1:
            del text[at : at + chance.randrange(1, 20)]
        elif kind == 2 and at < len(text):
            text[at] = chance.randrange(256)
        else:
            text[at:at] = chance.choice(seeds)[: chance.randrange(80)]
    return bytes(text)


CHUNKED = [
    (
        b"EHLO x\r\nMAIL FROM:<a@example.com> RET=FULL ENVID=x BY=60;R\r\nRCPT TO:<ok@example.net> NOTIFY=NEVER\r\n"
        b"BDAT 14\r\nFrom: a\r\n\r\nx\r\nBDAT 3 LAST\r\ny\r\nNOOP\r\n"
    ),
    (
        b"EHLO x\r\nXCLIENT ADDR=IPV6:::1 HELO=y LOGIN=u\r\nEHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<ok@example.net> "
        b"ORCPT=rfc822;a+2Bb\r\nBDAT 0\r\nRSET\r\nBDAT 9 LAST\r\n123456789QUIT\r\n"
    ),
]


def test_mutated_chunks() -> None:
    """A26: whatever is said of chunks, the engine never raises, never grows and ends no message by accident."""
    chance = random.Random(3030)
    for number in range(SESSIONS // 2):
        product = Product()
        policy = POLICIES[number % len(POLICIES)]
        session = Session(Dialect(policy), product, product, "192.0.2.1", trusted=bool(policy.trusted_account))
        session.may_name = True
        text = _mutate(chance, CHUNKED)
        step = chance.choice([1, 7, 10**6])
        for index in range(0, len(text), step):
            session.receive(text[index : index + step])
            out = session.take_output()
            assert all(line[:3].isdigit() for line in out.split(b"\r\n") if line)
        session.receive(b"\r\n" * 100)
        assert session.data_bytes < 100_000
        assert len(session._buffer) < 70_000


def test_mutated_sessions() -> None:
    chance = random.Random(20261123)
    answered = 0
    for number in range(SESSIONS):
        late = number % 3 == 0
        product = Product(late=late)
        policy = POLICIES[number % len(POLICIES)]
        session = Session(Dialect(policy), product, product, "192.0.2.1", trusted=bool(policy.trusted_account))
        text = _mutate(chance)
        step = chance.choice([1, 7, 100, 10**6])
        for index in range(0, len(text), step):
            session.receive(text[index : index + step])
            while product.due:
                product.due.pop()()
            out = session.take_output()
            assert all(line[:3].isdigit() for line in out.split(b"\r\n") if line)
        if session.closing:
            continue
        if session.starting_tls:
            session.tls_started()
        session.receive(b"\r\n.\r\n")
        while product.due:
            product.due.pop()()
        session.take_output()
        if session.closing:
            continue
        if session.starting_tls:
            session.tls_started()
        session.receive(b"\r\nNOOP\r\nZ99\r\n")
        out = session.take_output()
        assert out.split(b"\r\n")[-2][:3] in (b"500", b"530", b"421"), (text, out)
        assert len(session._buffer) == 0
        answered += 1
    assert answered > SESSIONS // 3
