"""Re-encoding: only parts that break the goal change, they decode to what they were, signed parts never change."""

import base64
import email
import email.policy
import json
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.encode import Goal, Unconvertible, convert, downgrade, strip_own_signatures
from relay.mail.headers import join_head, parse_head
from relay.mail.scan import scan_body

TOP = b"From: a@b.example\r\nMIME-Version: 1.0\r\n"


def run(head, body, goal):
    result = convert(parse_head(head), body, goal)
    if isinstance(result, Unconvertible):
        return result
    return join_head(result[0]), result[1]


def leaves(head, body):
    parsed = email.message_from_bytes(head + body, policy=email.policy.default)
    return [part.get_payload(decode=True) for part in parsed.walk() if not part.is_multipart()]


def conforms(body, goal):
    facts = scan_body(body)
    return facts.longest_line_bytes <= 998 and not (goal is Goal.SEVEN_BIT and facts.eight_bit)


EIGHT_BIT_PART = b"--b\r\n\r\n" + b"\xfc" * 1200 + b"\r\n--b--\r\n"
TEXT = TOP + b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"


@pytest.mark.req("SMTP-024")
@pytest.mark.parametrize("goal", list(Goal))
def test_body_that_keeps_to_the_goal_is_the_same_object(goal):
    body = b"x" * 998 + b"\r\n.\r\nplain  \r\n"
    head = TOP + b"Content-Type: text/plain\r\n\r\n"
    fields = parse_head(head)
    assert convert(fields, body, goal) == (fields, body)
    assert convert(fields, body, goal)[1] is body


@pytest.mark.req("SMTP-024", "MIME-008")
@pytest.mark.parametrize("goal", list(Goal))
@pytest.mark.parametrize(
    "body",
    [
        b"Gr\xfc\xdfe\r\n" + b"x" * 999 + b"\r\n",
        b"\xe4" * 100_000 + b"\r\n",
        b"a " * 100_000 + b"\r\n",
        (b"word " * 200 + b"\r\n") * 100,
        b"trailing blank \xfc \r\n\t\r\n.\r\n..\r\nFrom x\r\n= equals =3D" + b"y" * 2000 + b"\r\n",
        b"\r\n" * 50_000 + b"\xfc" * 5000 + b"\r\n",
    ],
    ids=range(6),
)
def test_text_decodes_to_what_it_was(body, goal):
    head, coded = run(TEXT, body, goal)
    assert conforms(coded, goal)
    assert coded.endswith(b"\r\n")
    assert b"\r" not in coded.replace(b"\r\n", b"")
    assert b"\n" not in coded.replace(b"\r\n", b"")
    assert b"charset=iso-8859-1" in head
    assert head.count(b"Content-Transfer-Encoding") == 1
    assert leaves(head, coded)[0].replace(b"\r\n", b"\n") == body.replace(b"\r\n", b"\n")


NESTED_TOP = TOP + b'Content-Type: multipart/mixed; boundary="out er"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'
CLEAN_PART = b"--out er\r\nContent-Type: text/html\r\n\r\n<p>clean  </p>\r\n\r\n"
INNER = (
    b"--out er\r\nContent-Type: multipart/alternative; boundary=out\r\n\r\n"
    b"--out\r\nContent-Type: text/plain; charset=utf-8\r\nX-Part: kept\r\n\r\nGr\xc3\xbc\xc3\x9fe "
    + b"z"
    * 1200
    + b"\r\n"
    b"--out\r\nContent-Type: application/x-data\r\nContent-Transfer-Encoding: binary\r\n\r\n\x80\x81"
    + b"q"
    * 1100
    + b"\r\n"
    b"--out--\r\nepilogue\r\n"
)
WRAPPED = (
    b"--out er\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"From: x@y.example\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n\xc3\xbc\r\n"
)
NESTED = b"preamble\r\n" + CLEAN_PART + INNER + WRAPPED + b"--out er--\r\n"


@pytest.mark.req("SMTP-024", "MIME-008")
@pytest.mark.parametrize("goal", list(Goal))
def test_nested_parts(goal):
    head, coded = run(NESTED_TOP, NESTED, goal)
    assert conforms(coded, goal)
    assert b"preamble\r\n" + CLEAN_PART in coded
    assert b"\r\nepilogue\r\n" in coded
    assert b"X-Part: kept\r\n" in coded
    before, after = leaves(NESTED_TOP, NESTED), leaves(head, coded)
    assert len(before) == len(after) == 4
    assert before[0] == after[0]
    assert before[1] == after[1]
    assert after[2].rstrip(b"\r\n") == before[2].rstrip(b"\r\n")
    assert before[3] == after[3]
    if goal is Goal.SEVEN_BIT:
        assert b"8bit" not in head + coded


@pytest.mark.parametrize("goal", list(Goal))
def test_badly_encoded_parts_are_mended(goal):
    data = bytes(range(256)) * 40
    head = TOP + b"Content-Type: application/x-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    result, coded = run(head, base64.b64encode(data) + b"\r\n", goal)
    assert conforms(coded, goal)
    assert leaves(result, coded) == [data]
    head = TOP + b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    body = b"=C3=BC" * 30_000 + b"\xc3\xbc=\r\nsoft\r\n"
    result, coded = run(head, body, goal)
    if goal is Goal.SEVEN_BIT:
        assert conforms(coded, goal)
    assert scan_body(coded).longest_line_bytes <= 998
    assert leaves(result, coded) == leaves(head, body)


@pytest.mark.req("MIME-004")
@pytest.mark.parametrize("goal", list(Goal))
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"multipart/signed; boundary=b", b"--b\r\n\r\n" + b"\xfc" * 1200 + b"\r\n--b\r\n\r\nsig\r\n--b--\r\n"),
        (b"multipart/encrypted; boundary=b", b"--b\r\n\r\n" + b"\xfc" * 1200 + b"\r\n--b--\r\n"),
        (b"application/pkcs7-mime", b"\xfc" * 1200 + b"\r\n"),
        (b"message/partial; id=x; number=1", b"\xfc" * 1200 + b"\r\n"),
        (b"multipart/mixed", b"\xfc" * 1200 + b"\r\n"),
        (b"multipart/mixed; boundary=" + b"b" * 900, b"\xfc" * 1200 + b"\r\n"),
        (b"multipart/mixed; boundary=b", b"no delimiter \xfc" * 200 + b"\r\n"),
        (b"multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64", EIGHT_BIT_PART),
        (b"text/plain\r\nContent-Transfer-Encoding: x-uuencode", b"\xfc" * 1200 + b"\r\n"),
        (b"multipart/mixed; boundary=b", b"--b\r\nbad head\xfc\r\n\r\n" + b"\xfc" * 1200 + b"\r\n--b--\r\n"),
        (b"multipart/mixed; boundary=b", b"--b\r\n\r\n" * 6000 + b"\xfc" * 1200 + b"\r\n--b--\r\n"),
    ],
)  # fmt: skip
def test_what_must_not_be_altered(kind, body, goal):
    result = run(TOP + b"Content-Type: " + kind + b"\r\n\r\n", body, goal)
    assert isinstance(result, Unconvertible)
    assert result.text


def test_signed_part_beside_others_stays():
    signed = (
        b"--b\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\ntext \r\n--s\r\n\r\nsig\r\n--s--\r\n"
    )
    body = signed + b"--b\r\n\r\n" + b"x" * 2000 + b"\r\n--b--\r\n"
    _, coded = run(TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", body, Goal.SHORT_LINES)
    assert coded.startswith(signed)
    assert conforms(coded, Goal.SHORT_LINES)


def test_offending_preamble_and_epilogue_are_dropped():
    body = b"x" * 2000 + b"\r\n--b\r\n\r\ntext\r\n--b--\r\n" + b"y" * 2000 + b"\r\n"
    _, coded = run(TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", body, Goal.SHORT_LINES)
    assert coded == b"--b\r\n\r\ntext\r\n--b--\r\n"


def test_deep_nesting_is_refused():
    depth = 200
    opening = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1) for n in range(depth)
    )
    body = opening + b"--b%d\r\n\r\n" % depth + b"x" * 2000 + b"\r\n"
    result = run(TOP + b"Content-Type: multipart/mixed; boundary=b0\r\n\r\n", body, Goal.SHORT_LINES)
    assert isinstance(result, Unconvertible)


def test_mime_version_is_added_to_an_encoded_message():
    head, _ = run(b"From: a@b.example\r\n\r\n", b"x" * 2000 + b"\r\n", Goal.SHORT_LINES)
    assert b"MIME-Version: 1.0\r\n" in head


@pytest.mark.parametrize(
    "body",
    [b"--b\r\n" * 50_000, b"--b" * 80_000, b"--b--" * 50_000, b"\r\n--b" * 50_000, b"--b " + b" " * 200_000],
    ids=range(5),
)
def test_hostile_boundaries_cost_little(body):
    begun = time.process_time()
    run(TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", body + b"\r\n" + b"\xfc" * 2000, Goal.SEVEN_BIT)
    assert time.process_time() - begun < 10  # linear; what is not takes minutes


PIECES = st.lists(
    st.sampled_from([b"--b\r\n", b"--b--\r\n", b"--c\r\n", b"\r\n", b"Content-Type: multipart/mixed; boundary=c\r\n",
                     b"Content-Type: message/rfc822\r\n", b"Content-Transfer-Encoding: base64\r\n", b"\xfc\r\n",
                     b"x" * 1100 + b"\r\n", b"text\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n"]),
    max_size=25,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(PIECES, st.sampled_from(list(Goal)))
def test_any_body_reaches_the_goal_or_is_refused(pieces, goal):
    result = run(TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"".join(pieces), goal)
    if not isinstance(result, Unconvertible):
        assert conforms(result[1], goal)


def test_downgrade_and_own_signatures():
    ours = b"DKIM-Signature: v=1; a=rsa-sha256;\r\n\td=b.example;\r\n\tb=x\r\n"
    theirs = b"DKIM-Signature: v=1; d=other.example; b=y\r\n"
    head = ours + ours.replace(b"rsa", b"ed25519") + b"Received: x\r\n" + theirs + TEXT
    stripped, domains = strip_own_signatures(head)
    assert stripped == b"Received: x\r\n" + theirs + TEXT
    assert domains == ["b.example", "b.example"]
    new_head, new_body = downgrade(stripped, b"\xfc\r\n")
    assert new_body == b"=FC\r\n"
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in new_head
    assert theirs in new_head
    assert isinstance(downgrade("Subject: ü\r\n\r\n".encode(), b"x\r\n"), Unconvertible)


@pytest.mark.parametrize("goal", list(Goal))
def test_helper_process_does_the_same_as_memory(tmp_path, goal):
    source, result = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"prefix" + NESTED + b"suffix")
    arguments = [goal.value, str(source), "6", str(len(NESTED)), str(result)]
    done = subprocess.run(
        [sys.executable, "-m", "relay.mail.reencode", *arguments], input=NESTED_TOP, capture_output=True, check=True
    )
    answer = json.loads(done.stdout)
    head, body = run(NESTED_TOP, NESTED, goal)
    assert result.read_bytes() == body
    facts = scan_body(body)
    assert answer == {
        "head": head.decode("latin-1"),
        "size_bytes": len(body),
        "eight_bit": facts.eight_bit,
        "longest_line_bytes": facts.longest_line_bytes,
        "sha256_relaxed": facts.sha256_relaxed.hex(),
    }


def test_helper_process_refuses_with_a_sentence(tmp_path):
    source = tmp_path / "in"
    source.write_bytes(b"x" * 2000 + b"\r\n")
    head = TOP + b"Content-Type: multipart/mixed\r\n\r\n"
    command = [
        sys.executable,
        "-m",
        "relay.mail.reencode",
        "short-lines",
        str(source),
        "0",
        "2002",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, input=head, capture_output=True, check=False)
    assert done.returncode == 65
    assert "boundary" in json.loads(done.stdout)["error"]
    assert not (tmp_path / "out").exists()


def test_large_file_needs_little_memory(tmp_path):
    source, result = tmp_path / "in", tmp_path / "out"
    with source.open("wb") as out:
        for _ in range(24):
            out.write((b"\xfc" * 1500 + b"\r\n") * 700)
    size = source.stat().st_size
    code = (
        "import sys;from relay.mail.reencode import main;code=main(sys.argv[1:]);"
        "import re;"
        "sys.stderr.write(re.search(r'RssAnon:\\s+(\\d+)',open('/proc/self/status').read())[1]);sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "seven-bit", str(source), "0", str(size), str(result)]
    done = subprocess.run(command, input=TEXT, capture_output=True, check=True)
    assert int(done.stderr) < 40_000  # KiB: the file is 25 MB, its result three times that
    assert result.stat().st_size > 3 * size * 0.98
