"""What is noted of a dialogue: all of it in order, bounded, without secrets and without the message."""

import base64

import pytest

from relay.model.content import Content
from relay.smtp.client.envelope import Transaction
from relay.smtp.client.options import ClientOptions, TlsUse
from relay.smtp.client.reply import Reply
from relay.smtp.client.session import Client
from relay.smtp.client.transcript import HEAD_ENTRIES, PART_MAX_CHARACTERS, Transcript

USER, PASSWORD = "relay-user", "s3cret password"


class Wire:
    def unsent(self):
        return False

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data

    def write_content(self, content):
        raise AssertionError

    def start_tls(self):
        raise AssertionError

    def close(self):
        pass

    abort = close


class User:
    def __init__(self):
        self.told = []

    def session_ready(self):
        self.told.append("ready")

    def session_failed(self, answer):
        self.told.append(answer)

    def transaction_done(self, transaction, answers):
        self.told.append(answers)

    def session_over(self):
        self.told.append("over")


def session(**options):
    wire, user, log = Wire(), User(), Transcript(10.0)
    client = Client(wire, user, ClientOptions("us.test", TlsUse.NEVER, **options), 10.0, log)
    return client, wire, user, log


def texts(log):
    return [f"{line.who} {line.text}" for line in log.lines()]


def test_a_dialogue_is_noted_in_order_with_its_times():
    client, _, _, log = session()
    client.receive(b"220 mx.test hello\r\n", 10.5)
    client.receive(b"250-mx.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n", 11.0)
    content = Content(b"Subject: x\r\n\r\n", b"the body of the message\r\n")
    assert client.send(Transaction("s@us.test", ("r@mx.test",), content, False, False, None), 12.0) is None
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n", 12.25)
    client.receive(b"550 5.7.1 \x1b[31mno\r\n", 13.0)
    assert texts(log) == [
        "S 220 mx.test hello",
        "C EHLO us.test",
        "S 250-mx.test",
        "S 250-PIPELINING",
        "S 250 8BITMIME",
        "C MAIL FROM:<s@us.test>",
        "C RCPT TO:<r@mx.test>",
        "C DATA",
        "S 250 ok",
        "S 250 ok",
        "S 354 go",
        f"C ({content.size_bytes} octets of message)",
        "S 550 5.7.1 \\x1b[31mno",
    ]
    times = {line.text: line.at_ms for line in log.lines()}
    assert (times["EHLO us.test"], times["DATA"]) == (500, 2000)


@pytest.mark.parametrize(("offer", "steps"), [("PLAIN", 1), ("LOGIN", 3)])
def test_no_secret_of_an_authentication_is_noted_even_if_the_host_repeats_it(offer, steps):
    client, wire, _, log = session(username=USER, password=PASSWORD, clear_auth=True)
    client.receive(b"220 mx.test\r\n", 10.0)
    client.receive(b"250-mx.test\r\n250 AUTH %s\r\n" % offer.encode(), 10.0)
    for _ in range(steps - 1):
        client.receive(b"334 VXNlcm5hbWU6\r\n", 10.0)
    spoken = wire.data.split(b"\r\n")[-2].split()[-1]
    client.receive(b"535 5.7.8 bad login %s (%s)\r\n" % (spoken, PASSWORD.encode()), 10.0)
    noted = "\n".join(texts(log))
    assert base64.b64encode(PASSWORD.encode()).decode() in wire.data.decode() or offer == "PLAIN"
    for secret in (PASSWORD, spoken.decode(), base64.b64encode(USER.encode()).decode()):
        assert secret not in noted
    assert "C (credentials hidden)" in noted
    assert "S 535 5.7.8 bad login (hidden) ((hidden))" in noted


def test_a_second_transaction_has_the_setup_and_its_own_part_only():
    log = Transcript(0.0)
    log.received(0.1, Reply(220, [b"hello"]))
    for number in range(3):
        log.begin()
        log.sent(1.0 + number, b"MAIL FROM:<%d@x.test>\r\n" % number)
    assert texts(log) == ["S 220 hello", "C MAIL FROM:<2@x.test>"]
    assert log.messages == 3


def test_a_long_dialogue_keeps_its_beginning_and_its_end():
    log = Transcript(0.0)
    for number in range(5000):
        log.received(0.0, Reply(250, [b"%05d " % number + b"x" * 90]))
    lines = log.lines()
    assert sum(len(line.text) for line in lines) < 2 * PART_MAX_CHARACTERS + 100
    assert lines[0].text.startswith("250 00000")
    assert lines[-1].text.startswith("250 04999")
    assert any(line.who == "-" for line in lines)


def test_one_endless_reply_is_bounded():
    log = Transcript(0.0)
    log.received(0.0, Reply(250, [b"y" * 4000] * 200))
    assert sum(len(line.text) for line in log.lines()) < 2 * PART_MAX_CHARACTERS + 100


def test_a_few_more_entries_than_are_kept_at_the_head_are_all_there():
    log = Transcript(0.0)
    for number in range(HEAD_ENTRIES + 10):
        log.note(0.0, str(number))
    assert [line.text for line in log.lines()] == [str(number) for number in range(HEAD_ENTRIES + 10)]
