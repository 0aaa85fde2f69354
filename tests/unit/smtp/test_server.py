"""The engine alone: whatever the pieces input arrives in, the replies are the same."""

import base64
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.model.content import BodyFile, Content
from relay.model.message import Submission
from relay.model.refusal import Accepted, Reason, Refusal
from relay.smtp.server import reply
from relay.smtp.server import text as server_text
from relay.smtp.server.dialect import Dialect
from relay.smtp.server.door import AuthAnswer, Blocked
from relay.smtp.server.envelope import Envelope
from relay.smtp.server.policy import ListenerKind, SessionPolicy, TlsMode
from relay.smtp.server.session import Session

TRUSTED = SessionPolicy("h.example", tls=TlsMode.NONE, trusted_networks=("x",), trusted_account="1")
SCRIPT = (
    b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nFrom: a\r\n\r\n..x\r\n\r\n.\r\n"
    b"NOOP\r\nFOO\r\n\r\nMAIL FROM:<x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n.\r\n"
    b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nFrom: a\r\nx\ny\r\n.\r\nQUIT\r\n"
)


class Product:
    """Intake and door of a session; answers at once unless it is told to wait."""

    def __init__(self, *, late: bool = False) -> None:
        self.late = late
        self.taken: list[Submission] = []
        self.due: list[Callable[[], None]] = []
        self.auth_answer: AuthAnswer = "1"
        self.result: Accepted | Refusal | None = None
        self.written = bytearray()
        self.aborted = 0
        self.session: Session

    def may_start(self, size_bytes: int) -> Refusal | None:
        return None

    def account_of(self, principal: str) -> str | None:
        return "1"

    def may_receive(self, recipient: str) -> Refusal | None:
        return None if recipient.startswith("ok") else Refusal(Reason.NOT_LOCAL)

    def submit(self, submission: Submission, done: Callable[[Accepted | Refusal], None]) -> None:
        self.taken.append(submission)
        result = self.result or Accepted(f"id-{len(self.taken)}")
        if self.late:
            self.due.append(lambda: done(result))
        else:
            done(result)

    receive = submit

    def now_ms(self) -> int:
        return 1_700_000_000_000

    def client_named(self, address: str | None) -> bool | reply.Reply:
        return False

    def authenticate(self, username: str, password: str, done: Callable[[AuthAnswer], None]) -> None:
        if self.late:
            self.due.append(lambda: done(self.auth_answer))
        else:
            done(self.auth_answer)

    def open_sink(self) -> "Product":
        return self

    def write(self, chunk: bytes) -> None:
        self.written += chunk

    def finish(self, done: Callable[[BodyFile | Refusal], None]) -> None:
        done(BodyFile("path", 0, len(self.written)))

    def abort(self) -> None:
        self.aborted += 1

    def refused(self, label: str) -> None:
        """Counted elsewhere."""

    def failed(self, error: Exception) -> None:
        raise error

    def resumed(self) -> None:
        """The test takes the output itself."""


def _session(product: Product, policy: SessionPolicy = TRUSTED, *, trusted: bool = True) -> Session:
    product.session = Session(Dialect(policy), product, product, "192.0.2.1", trusted=trusted)
    return product.session


def _play(pieces: list[bytes]) -> tuple[bytes, list[Content]]:
    product = Product()
    session = _session(product)
    out = b""
    for piece in pieces:
        session.receive(piece)
        out += session.take_output()
    return out, [submission.content for submission in product.taken]


WHOLE = _play([SCRIPT])


@pytest.mark.req("SMTP-025")
def test_the_script_says_what_it_should() -> None:
    out, contents = WHOLE
    codes = [line[:3] for line in out.decode().splitlines() if line[3] == " "]
    assert codes == ["250"] * 3 + [
        "354",
        "250",
        "250",
        "500",
        "500",
        "553",
        "250",
        "250",
        "354",
        "250",
        "250",
        "250",
        "354",
        "554",
        "221",
    ]
    assert contents == [Content(b"From: a\r\n\r\n", b".x\r\n\r\n"), Content(b"\r\n", b"")]


@settings(max_examples=200)
@given(st.lists(st.integers(1, len(SCRIPT) - 1), max_size=30))
def test_any_split_gives_the_same(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(SCRIPT)]
    assert _play([SCRIPT[a:b] for a, b in pairwise(edges)]) == WHOLE


def test_byte_by_byte() -> None:
    assert _play([SCRIPT[index : index + 1] for index in range(len(SCRIPT))]) == WHOLE


@pytest.mark.req("SMTP-025")
def test_late_answers_keep_the_order() -> None:
    product = Product(late=True)
    session = _session(product)
    one = b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nx: y\r\n\r\n.\r\n"
    session.receive(b"HELO x\r\n" + one + one + b"NOOP\r\n")
    assert session.waiting
    assert session.take_output().endswith(b"354 End data with <CR><LF>.<CR><LF>\r\n")
    product.due.pop()()
    assert session.take_output().startswith(b"250 Ok id-1\r\n250 Ok\r\n250 Ok\r\n354 ")
    assert session.waiting
    product.due.pop()()
    assert session.take_output() == b"250 Ok id-2\r\n250 Ok\r\n"
    assert not session.waiting


def test_answer_after_the_client_left() -> None:
    product = Product(late=True)
    session = _session(product)
    session.receive(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nx: y\r\n\r\n.\r\n")
    session.take_output()
    session.lost()
    product.due.pop()()
    assert session.take_output() == b""
    assert product.aborted == 0


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_left_of_a_large_body_is_removed(kept: bool) -> None:
    """The spool has moved a body that it keeps when it answers; the door removes what was refused, or only read."""
    product = Product(late=True)
    product.result = None if kept else Refusal(Reason.TEMPORARY)
    session = _session(product)
    body = b"z" * 998 + b"\r\n"
    session.receive(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nx: y\r\n\r\n")
    for _ in range(500):
        session.receive(body)
    session.receive(b".\r\n")
    session.lost()
    assert product.aborted == 0
    product.due.pop()()
    assert bytes(product.written) == body * 500
    assert product.aborted == 1


@pytest.mark.req("SMTP-023")
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([b"\r\n", b".", b"..", b"x" * 333, b"\r\n.", b"y\r\n"]), min_size=1, max_size=30),
    st.lists(st.integers(1, 5000), min_size=1, max_size=10),
)
def test_streamed_bodies_are_exact(pieces: list[bytes], steps: list[int]) -> None:
    """The streaming path un-stuffs exactly, whatever the chunks."""
    body = (b"pad" * 300 + b"\r\n") * 500 + b"".join(pieces) + b"\r\n"
    stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in body.split(b"\r\n"))
    product = Product()
    session = _session(product)
    session.receive(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nx: y\r\n\r\n")
    session.receive(stuffed[:440_000])
    position = 440_000
    index = 0
    while position < len(stuffed):
        step = steps[index % len(steps)]
        session.receive(stuffed[position : position + step])
        position += step
        index += 1
    session.receive(b".\r\n")
    assert session.take_output().endswith(b"250 Ok id-1\r\n")
    assert bytes(product.written) == body


@pytest.mark.parametrize(
    ("policy", "secure", "login", "hello", "parameter", "keyword"),
    [
        (TlsMode.NONE, False, False, b"HELO", b"", "SMTP"),
        (TlsMode.NONE, False, False, b"EHLO", b"", "ESMTP"),
        (TlsMode.NONE, False, False, b"EHLO", b" SMTPUTF8", "UTF8SMTP"),
        (TlsMode.IMPLICIT, True, True, b"EHLO", b"", "ESMTPSA"),
        (TlsMode.IMPLICIT, True, False, b"EHLO", b"", "ESMTPS"),
        (TlsMode.IMPLICIT, True, True, b"EHLO", b" SMTPUTF8", "UTF8SMTPSA"),
    ],
)
def test_with_keyword(
    policy: TlsMode, *, secure: bool, login: bool, hello: bytes, parameter: bytes, keyword: str
) -> None:
    product = Product()
    session = _session(product, SessionPolicy("h.example", kind=ListenerKind.MX, tls=policy), trusted=False)
    assert session.encrypted == secure
    session.receive(hello + b" client.example\r\n")
    if login:
        session.receive(b"AUTH PLAIN " + base64.b64encode(b"\0u\0p") + b"\r\n")
    session.receive(b"MAIL FROM:<a@example.com>" + parameter + b"\r\nRCPT TO:<ok@example.net>\r\nDATA\r\n.\r\n")
    submission = product.taken[0]
    assert submission.protocol.value == keyword
    assert (submission.account, submission.principal) == (("1", "u") if login else ("", ""))
    assert submission.source_address == "192.0.2.1"
    assert submission.helo == "client.example"


def test_blocked_clients_and_undecodable_responses() -> None:
    product = Product()
    product.auth_answer = Blocked.BLOCKED
    session = _session(product, SessionPolicy("h.example", tls=TlsMode.IMPLICIT), trusted=False)
    session.receive(b"EHLO x\r\n")
    session.take_output()
    for token in (b"u\0p", b"\0\0p", b"\0u\0" + b"p" * 2000, b"\xff\0u\0p"):
        session.receive(b"AUTH PLAIN " + base64.b64encode(token) + b"\r\n")
        assert session.take_output() == reply.AUTH_UNDECODABLE.plain
    session.receive(b"AUTH PLAIN =\r\n")
    assert session.take_output() == reply.AUTH_UNDECODABLE.plain
    session.receive(b"AUTH PLAIN " + base64.b64encode(b"root\0u\0p") + b"\r\n")
    assert session.take_output() == reply.TOO_MANY_AUTH_FAILURES.plain
    assert session.closing


@pytest.mark.req("SMTP-031")
def test_every_reply_has_its_enhanced_code() -> None:
    replies = [value for value in vars(reply).values() if isinstance(value, reply.Reply)]
    assert len(replies) > 30
    for one in replies:
        line = one.rich.decode()
        assert line.startswith(str(one.code))
        assert one.code == 354 or line[4:6] == f"{one.code // 100}."
        assert len(line) <= 512


ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\n"


def test_a_text_without_end_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large is read to its end and refused there, but not for ever."""
    monkeypatch.setattr(server_text, "TEXT_EXCESS_MAX_BYTES", 4 << 20)
    product = Product()
    session = _session(product, replace(TRUSTED, message_size_max=1 << 20))
    session.receive(b"EHLO x\r\n" + ENVELOPE + b"DATA\r\nx: y\r\n\r\n")
    session.take_output()
    block = (b"z" * 998 + b"\r\n") * 1000
    for _ in range(5):
        session.receive(block)
    assert not session.closing
    session.receive(block)
    assert session.take_output() == b"552 Message is too long.\r\n"
    assert session.closing
    assert product.aborted == 1


@pytest.mark.req("SMTP-029")
@pytest.mark.parametrize(
    ("begun", "ending"),
    [
        (b"", b"EHLO x\r\n"),
        (b"", b"HELO x\r\n"),
        (b"", b"RSET\r\n"),
        (b"BDAT 2\r\nx\n", b""),
        (b"BDAT 6\r\nx: y\r\n", b"BDAT x\r\n"),
    ],
    ids=["ehlo", "helo", "rset", "refused-chunk", "malformed-chunk"],
)
def test_drain_ends_a_session_however_its_transaction_ends(begun: bytes, ending: bytes) -> None:
    session = _session(Product())
    session.receive(b"EHLO x\r\n" + ENVELOPE)
    if ending:
        session.receive(begun)
    session.drain()
    assert not session.closing
    session.receive(ending or begun)
    assert session.take_output().endswith(reply.CLOSING.plain)
    assert session.closing


@pytest.mark.req("SMTP-028")
def test_a_fault_before_the_intake_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is answered, and nothing is left of the body."""

    def broken(*_arguments: object) -> Submission:
        raise ValueError

    faults: list[Exception] = []
    product = Product()
    monkeypatch.setattr(product, "failed", faults.append)
    monkeypatch.setattr(Envelope, "submission", broken)
    session = _session(product)
    session.receive(b"EHLO x\r\n" + ENVELOPE + b"DATA\r\nx: y\r\n\r\n" + b"z\r\n" * 200_000 + b".\r\n")
    assert session.take_output().endswith(b"451 Temporary service failure\r\n")
    assert len(faults) == 1
    assert product.aborted == 1
    assert not session.waiting
