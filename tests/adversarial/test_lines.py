"""Section A: line discipline and smuggling, over the real listeners, counted where the mail arrives."""

import random
import re

import pytest

from tests.adversarial.wire import Wire, message, open_listener, settled, with_mark
from tests.product import eventually

FORMS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\0\r\n", b"\r\n\0.\r\n",
    b"\r\n.\r\r\n",
]  # fmt: skip
LISTENERS = ["submission", "implicit", "trusted", "mx"]
SECOND = (
    b"MAIL FROM:<app@example.com>\r\nRCPT TO:<postmaster@relay.example>\r\nDATA\r\n"
    b"From: app@example.com\r\nX-Mark: smuggled\r\n\r\nsmuggled"
)


def recipient(kind):
    return "postmaster@relay.example" if kind == "mx" else "user@remote.example"


@pytest.mark.req("SMTP-023")
@pytest.mark.parametrize("kind", LISTENERS)
def test_no_form_smuggles_a_second_message_in(kind, product, receiver):
    """A05 to A09: one reply each, nothing of it arrives, and the session is in step for the message after it."""
    mark = f"after-smuggling-{kind}"
    client = open_listener(product, kind)
    for form in FORMS:
        for text in (
            message("first", b"first" + form + SECOND + b"\r\n"),
            b"From: app@example.com\r\nX-Mark: first\r\nSubject: x" + form + SECOND + b"\r\n\r\nbody\r\n",
        ):
            assert client.transaction(text, recipients=[recipient(kind)])[:3] == "554", form
            assert client.say("NOOP") == "250 Ok"  # exactly one reply to all of it
        assert client.transaction(message(f"{mark}-{form!r}"), recipients=[recipient(kind)])[:3] == "250"
    settled(product)
    assert with_mark(receiver.messages, "smuggled") == []
    assert with_mark(receiver.messages, "X-Mark: first") == []
    assert len(with_mark(receiver.messages, mark)) == len(FORMS)


@pytest.mark.req("SMTP-023")
def test_no_form_smuggles_through_the_streaming_path(product, receiver):
    client = open_listener(product, "trusted")
    padding = (b"p" * 998 + b"\r\n") * 400  # above what is kept in memory
    for form in FORMS:
        text = message("first-large", padding + b"first" + form + SECOND + b"\r\n" + padding)
        assert client.transaction(text)[:3] == "554", form
    assert client.transaction(message("after-large", padding))[:3] == "250"
    settled(product)
    assert with_mark(receiver.messages, "smuggled") == []
    assert with_mark(receiver.messages, "first-large") == []
    assert with_mark(receiver.messages, "after-large")[0][2].endswith(padding)


def test_a_command_behind_a_bare_end_of_line_is_not_executed(product, receiver):
    """A bare LF or CR in a command never begins another one."""
    client = open_listener(product, "trusted")
    for bare in (b"\n", b"\r", b"\r\r", b"\n\r"):
        client.send(b"MAIL FROM:<app@example.com>" + bare + b"RCPT TO:<evil@remote.example>\r\n")
        assert client.reply()[:3] == "500"
        client.silent(0.1)  # a second refusal may follow, for the rest of the line
        while client.buffer:
            assert client.reply()[:3] == "500"
        assert client.say("DATA")[:3] == "503"
    assert not [m for m in receiver.messages if "evil@remote.example" in m[1]]


@pytest.mark.req("SMTP-023")
@pytest.mark.parametrize("kind", ["submission", "mx"])
@pytest.mark.parametrize("copies", [1, 3000])
def test_dots_arrive_byte_for_byte(kind, copies, product, receiver):
    """A11."""
    lines = [b".", b"..", b"...", b"a.b", b"", b" .", b".x", b"x" * 998, b"." * 998] * copies
    mark = f"dots-{kind}-{copies}"
    stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
    assert open_listener(product, kind).transaction(message(mark, stuffed), recipients=[recipient(kind)])[:3] == "250"
    settled(product)
    arrived = with_mark(receiver.messages, mark)
    assert len(arrived) == 1
    assert arrived[0][2].split(b"\r\n\r\n", 1)[1] == b"".join(line + b"\r\n" for line in lines)


@pytest.mark.req("SMTP-024")
def test_long_lines_leave_wrapped_or_not_at_all(product, receiver):
    """A21, A25: 998 octets pass unchanged; longer ones are re-encoded; a signed part that long is refused."""
    client = open_listener(product, "submission")
    assert client.transaction(message("line-998", b"x" * 998 + b"\r\n"))[:3] == "250"
    for size in (999, 1000, 5000, 400_000):
        body = b"y" * size + b"\r\nend =20 \xc3\xa9\r\n"
        answer = client.transaction(message(f"line-{size}.", body, b"Content-Type: text/plain; charset=utf-8\r\n"))
        assert answer[:3] == "250"
    signed = (
        b'Content-Type: multipart/signed; boundary="b"; micalg=x; protocol="x/y"\r\n\r\n--b\r\n\r\n'
        + b"z" * 5000
        + b"\r\n--b\r\nContent-Type: x/y\r\n\r\nx\r\n--b--\r\n"
    )
    assert client.transaction(b"From: app@example.com\r\nX-Mark: line-signed\r\n" + signed)[:3] == "554"
    settled(product)
    assert with_mark(receiver.messages, "line-signed") == []
    assert with_mark(receiver.messages, "line-998")[0][2].endswith(b"\r\n\r\n" + b"x" * 998 + b"\r\n")
    for size in (999, 1000, 5000, 400_000):
        head, _, body = with_mark(receiver.messages, f"line-{size}.")[0][2].partition(b"\r\n\r\n")
        assert max(len(line) for line in body.split(b"\r\n")) <= 998
        encoding = re.search(rb"(?im)^content-transfer-encoding: *(\S+)", head)[1].lower()
        assert _decoded(body, encoding) == b"y" * size + b"\r\nend =20 \xc3\xa9\r\n"


def _decoded(body, encoding):
    import binascii
    import quopri

    if encoding == b"base64":
        return binascii.a2b_base64(body)
    assert encoding == b"quoted-printable"
    return quopri.decodestring(body)


def test_no_bare_end_of_line_ever_left(product, receiver):
    """Whatever this module sent: every octet CR and LF that arrived is part of a CRLF."""
    open_listener(product, "trusted").transaction(message("bare-check"))
    settled(product)
    assert receiver.messages
    for _, _, data in receiver.messages:
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", data)


@pytest.mark.req("SMTP-022", "SMTP-025")
def test_pipelined_bad_recipients_and_data(product):
    """A18."""
    client = open_listener(product, "trusted")
    client.send(b"MAIL FROM:<app@example.com>\r\nRCPT TO:<x y>\r\nRCPT TO:<>\r\nDATA\r\nNOOP\r\n")
    assert [client.reply()[:3] for _ in range(5)] == ["250", "553", "553", "554", "250"]


def test_a_client_that_talks_before_the_greeting(product, receiver):
    """A19: wholly accepted, with its replies in order."""
    client = Wire(product.trusted_port, greeted=False)
    client.send(
        b"EHLO x\r\nMAIL FROM:<app@example.com>\r\nRCPT TO:<user@remote.example>\r\nDATA\r\n"
        + message("pregreet")
        + b".\r\nQUIT\r\n"
    )
    codes = re.findall(rb"(?m)^(\d{3}) ", client.rest())
    assert codes == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"]
    settled(product)
    assert len(with_mark(receiver.messages, "pregreet")) == 1


def begun(product):
    client = open_listener(product, "trusted")
    assert client.say("MAIL FROM:<app@example.com>") == "250 Ok"
    assert client.say("RCPT TO:<user@remote.example>") == "250 Ok"
    return client


def test_malformed_chunks_never_desynchronise(product, receiver):
    """A26: what is no size is one refused line; where HELO knows of no chunks, BDAT is none."""
    client = begun(product)
    for argument in ("-1", "18446744073709551616", "0x10", "", "LAST", "5 5", "5 LAST x", "1.5"):
        assert client.say(f"BDAT {argument}".rstrip())[:3] == "501"
    assert client.say("RSET") == "250 Ok"
    assert client.say("HELO x") == "250 relay.example"
    assert client.say("BDAT 0 LAST")[:3] == "502"
    # Out of place, a chunk is consumed whole: nothing in it is a command.
    client = open_listener(product, "trusted")
    smuggled = b"MAIL FROM:<app@example.com>\r\nRCPT TO:<evil@remote.example>\r\nDATA\r\n\r\n.\r\n"
    client.send(b"BDAT %d LAST\r\n%bNOOP\r\n" % (len(smuggled), smuggled))
    assert [client.reply()[:3], client.reply()[:3]] == ["503", "250"]
    assert not [to for _, to, _ in receiver.messages if to == ["evil@remote.example"]]


def chunked(text, sizes):
    """Return a text as BDAT commands with chunks of some sizes, the last one taking what is left."""
    out, at = [], 0
    for size in sizes:
        out.append(b"BDAT %d\r\n%b" % (size, text[at : at + size]))
        at += size
    return b"".join([*out, b"BDAT %d LAST\r\n%b" % (len(text) - at, text[at:])])


def test_chunks_are_joined_as_they_were_cut(product, receiver):
    """A27: CRLF across two chunks, dots that need no stuffing, no line end at the end; all in one write."""
    text = message("chunks", body=b".\r\n..\r\n.x\r\nQUIT\r\nlast line")
    whole = len(text) + 1  # with its number
    for number, sizes in enumerate([(text.index(b"\r\n.x") + 2,), (1,) * 30, (0, 5, 0), (whole,), ()]):
        marked = text.replace(b"X-Mark: chunks", b"X-Mark: chunks%d" % number)
        client = begun(product)
        client.send(chunked(marked, sizes))
        replies = [client.reply() for _ in range(len(sizes) + 1)]
        assert {reply[:6] for reply in replies[:-1]} <= {"250 Ok"}
        assert re.fullmatch(r"250 Ok \S{50,}", replies[-1])
    settled(product)
    for number in range(5):
        (found,) = with_mark(receiver.messages, f"chunks{number}")
        assert found[2].endswith(b"\r\n\r\n.\r\n..\r\n.x\r\nQUIT\r\nlast line\r\n")


def test_a_large_message_in_chunks(product, receiver):
    """Over 256 KiB the chunks go to a file; what arrives is the same to the octet."""
    body = b"".join(b"%07d %b\r\n" % (number, b"." * (number % 60)) for number in range(30_000))
    text = message("large-chunks", body=body)
    client = begun(product)
    client.send(chunked(text, [100_000] * (len(text) // 100_000)))
    replies = [client.reply() for _ in range(len(text) // 100_000 + 1)]
    assert replies[-1].startswith("250 Ok ")
    settled(product)
    (found,) = with_mark(receiver.messages, "large-chunks")
    assert found[2].endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize("bad", [b"a\nb", b"a\rb", b"a\0b", b"\n", b"\r"])
@pytest.mark.req("SMTP-023")
def test_bad_line_endings_in_chunks_are_refused(bad, product, receiver):
    """Decision 14: bare CR and LF are refused by BDAT too, after the chunk, and nothing of it is left."""
    for sizes in ((), (100,), (-1,)):
        text = message("bad-chunk", body=b"x" * 100 + bad)
        client = begun(product)
        client.send(chunked(text, [size % len(text) for size in sizes]) + b"NOOP\r\n")
        codes = [client.reply() for _ in range(len(sizes) + 2)]
        assert any(code.startswith("554 Transaction failed: Lines must end") for code in codes), codes
        assert codes[-1] == "250 Ok"
        assert not any(re.match(r"250 Ok \S+", code) for code in codes)
    settled(product)
    assert not with_mark(receiver.messages, "bad-chunk")


def test_a_message_over_the_limit_in_chunks(product):
    """The limit holds over all chunks; the chunk that passes it is consumed and refused, those behind it too."""
    client = begun(product)
    line = b"x" * 98 + b"\r\n"
    head = message("too-large", body=b"")
    client.send(b"BDAT %d\r\n%b" % (len(head), head))
    assert client.reply() == "250 Ok"
    chunk = line * 50_000
    codes = []
    for last in (b"", b"", b" LAST"):
        client.send(b"BDAT %d%b\r\n%b" % (len(chunk), last, chunk))
        codes.append(client.reply()[:3])
    assert codes == ["250", "552", "503"]
    assert client.say("NOOP") == "250 Ok"


def test_chunks_given_up_leave_nothing(product):
    """RSET, a new EHLO and a lost link in the middle of a large message: no file stays in incoming/."""
    incoming = product.data_dir / "spool" / "0001" / "incoming"
    for end in (b"RSET\r\n", b"EHLO x\r\n", b"QUIT\r\n", b""):
        client = begun(product)
        head, chunk = message("given-up"), b"x" * 98 + b"\r\n"
        client.send(b"BDAT %d\r\n%bBDAT %d\r\n%b" % (len(head), head, 3_000_000, chunk * 30_000))
        assert [client.reply(), client.reply()] == ["250 Ok", "250 Ok"]
        eventually(lambda: list(incoming.iterdir()), what="the file of the body")
        client.send(end)
        if not end:
            client.socket.close()
        eventually(lambda: not list(incoming.iterdir()), what="an empty directory")


SEEDS = [
    b"EHLO x\r\n", b"MAIL FROM:<app@example.com> SIZE=10\r\n", b"RCPT TO:<user@remote.example>\r\n", b"DATA\r\n",
    b"From: app@example.com\r\n\r\nhi\r\n.\r\n", b"STARTTLS\r\n", b"AUTH PLAIN AGEAYg==\r\n", b"RSET\r\n",
    b"VRFY x\r\n", b"AUTH LOGIN\r\n", b"*\r\n", b"BDAT 5\r\nhello", b"\r\n", b"QUIT\r\n",
]  # fmt: skip


def test_mutated_sessions_break_nothing(product):
    """A28: random sessions with a fixed seed; no fault is logged and the relay answers afterwards."""
    chance = random.Random(20261123)
    ports = [product.trusted_port, product.mx_port, product.port, product.implicit_port]
    for number in range(400):
        session = bytearray(b"".join(chance.choices(SEEDS, k=chance.randint(1, 12))))
        for _ in range(chance.randint(0, 6)):
            place = chance.randrange(len(session) or 1)
            session += b"" if session else b"\0"
            action = chance.randrange(3)
            if action == 0:
                session[place] = chance.randrange(256)
            elif action == 1:
                session[place:place] = chance.randbytes(chance.choice([1, 3, 600]))
            else:
                del session[place : place + chance.randint(1, 4)]
        client = Wire(ports[number % 4], greeted=False, source=f"127.0.1.{1 + number % 250}")
        with client:
            client.send(bytes(session))
            client.socket.shutdown(1)
            client.rest()
    assert open_listener(product, "submission").say("NOOP") == "250 Ok"
    assert "session fault" not in product.log_text()
    assert "Traceback" not in product.log_text()
    assert product.is_ready()
