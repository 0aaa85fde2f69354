"""The walk: what is refused where, what changes, what never does, and that nothing drives it out of bounds."""

import base64
import json
import subprocess
import sys
import time

import pytest

from relay.mail.attachments import REFUSED_EXTENSIONS, ContentRules
from relay.mail.compose import apply_edits
from relay.mail.encode import Plan
from relay.mail.headers import join_head, parse_head
from relay.mail.reencode import Request, examine
from relay.mail.scan import scan_body
from relay.mail.structure import inspect
from relay.model.refusal import Reason, Refusal

MZ = base64.encodebytes(b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0" + bytes(60)).replace(b"\n", b"\r\n")
EXE = b"Content-Type: application/x-msdownload; name=a.exe\r\n\r\nx"


def walk(kind, body, **options):
    fields = parse_head(b"From: a@b.example\r\n" + (b"Content-Type: " + kind + b"\r\n" if kind else b"") + b"\r\n")
    index = {field.key: field for field in fields}
    options = {"eight_bit": not body.isascii(), **options}
    walked = inspect(fields, index, body, 0, len(body), ContentRules(), **options)
    if isinstance(walked, Refusal):
        return walked
    assert walked.fields is fields or options["eight_bit"]
    return join_head(walked.fields), apply_edits(walked, body)


def parts(*inner, boundary=b"b", end=True):
    body = b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" for one in inner)
    return body + (b"--" + boundary + b"--\r\n" if end else b"")


def nested(depth, inner=b"\r\ninnermost"):
    for level in range(depth):
        boundary = b"l%d" % level
        inner = b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n\r\n" + parts(inner, boundary=boundary)
    kind, _, body = inner.partition(b"\r\n\r\n")
    return kind.removeprefix(b"Content-Type: "), body


def attached(message, encoding=b"7bit"):
    return b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + message


INNER = b"From: x@y.example\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"
MIXED = b"multipart/mixed; boundary=b"


@pytest.mark.req("MIME-002")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"text/plain; name=a.exe", b"x"),
        (b"application/octet-stream; name*=utf-8''a%2eexe", b"x"),
        (MIXED, parts(b"\r\nx", EXE)),
        (MIXED, parts(b"Content-Disposition: inline; filename=a.exe\r\n\r\nx")),
        (MIXED, parts(b"Content-Disposition: inline; filename=a.exe")),
        (MIXED, parts(b'junk line\r\nCONTENT-disposition : x;\r\n\tfilename="\xe9.exe"\r\n\r\nx')),
        (b"multipart/mixed; boundary*0=b; boundary*1=c", parts(EXE, boundary=b"bc")),
        (b"multipart/mixed;" + b" a=b;" * 500 + b" boundary=b", parts(EXE)),
        (b"multipart/mixed", b"preamble\r\n" + parts(EXE)),
        nested(20, EXE),
        (MIXED, parts(attached(INNER + parts(EXE, boundary=b"i")))),
        (MIXED, parts(attached(base64.encodebytes(INNER + parts(EXE, boundary=b"i")), b"base64"))),
        (MIXED, parts(attached(attached(b"From: x\r\n" + EXE)))),
        (b"multipart/digest; boundary=b", parts(b"\r\nSubject: x\r\n" + EXE)),
        (b"multipart/signed; boundary=b", parts(EXE)),
    ],
)
def test_refused_names_are_found_in_every_part(kind, body):
    refused = walk(kind, body)
    assert refused.reason is Reason.ATTACHMENT
    assert refused.text.startswith("Transaction failed: Illegal filename '")


@pytest.mark.parametrize(
    ("head", "refused"),
    [
        (b"Content-Type: image/png; name=a.png", True),
        (b"Content-Type: application/octet-stream", True),
        (b"Content-Type: text/plain\r\nContent-Disposition: attachment", True),
        (b"Content-Type: text/plain", False),
    ],
)
def test_content_is_looked_at_in_attachments(head, refused):
    walked = walk(MIXED, parts(head + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + MZ))
    assert isinstance(walked, Refusal) is refused
    if refused:
        assert walked.text.endswith("program (.exe).")


@pytest.mark.req("MIME-005", "MIME-007")
@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        (MIXED, b"no part\r\n", "Missing start boundary"),
        (MIXED, parts(b"\r\nx", end=False), "Missing end boundary"),
        (MIXED, parts(b"Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nx"), "Missing end boundary"),
        (MIXED, parts(b"Content-Type: " + MIXED + b"\r\n\r\nx"),
         "Boundary of an inner multipart equals that of an outer one."),
        (b"text;x=y", b"", "Expected '/', got ;"),
        (MIXED, parts(b"Content-Type: text\r\n\r\nx"), "Expected '/', got end of field"),
        (b"multipart/mixed; boundary=b; boundary=c", b"", "Content-Type has several boundaries."),
        (*nested(41), "Parts are nested deeper than 40 levels."),
        (MIXED, parts(*[b"\r\nx"] * 5001), "Message has more than 5000 parts."),
        (MIXED, parts(*[b"X: " + b"y" * 200_000] * 21),
         "Header sections of parts are longer than 4194304 octets together."),
        (MIXED, parts(b"X: " + b"y" * 300_000), "Header section of a part is longer than 262144 octets."),
    ],
    ids=range(11),
)  # fmt: skip
def test_malformed_structure_is_refused(kind, body, text):
    assert walk(kind, body) == Refusal(Reason.BAD_STRUCTURE, text)


@pytest.mark.req("MIME-003", "MIME-005")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"", b"plain\r\n"),
        nested(20),
        nested(40),
        (MIXED, parts(b"\r\nx", b"", b"Content-Type: text/plain\r\n\r\n", b"odd head\r\n\r\n--bb\r\n--bcd\r\n")),
        (MIXED, b"--b\r\n\r\n--b\r\n--b--\r\nepilogue\r\n--b\r\n\r\n" + EXE),
        (MIXED, parts(*[b"Content-Disposition: attachment; filename=a.zip\r\n\r\nPK"] * 1000)),
        (b"multipart/mixed", b"no boundary, no dashes\r\n"),
        (MIXED, parts(attached(INNER + b"--i\r\n\r\ncut"))),  # returned mail is often cut short
        (MIXED, parts(attached(b"Content-Type: broken\r\n\r\nx"), attached(b""))),
        (MIXED, parts(b"Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBA==")),
        (b'multipart/mixed; boundary="a b\\"c"', parts(b"\r\nx", boundary=b'a b"c')),
    ],
    ids=range(11),
)  # fmt: skip
def test_the_rest_passes_unchanged(kind, body):
    assert walk(kind, body)[1] == body


HTML = b"Content-Type: text/html; charset=utf-8\r\n\r\n<a ses:no-track href=x>y</a>"
CLEAN = HTML.replace(b" ses:no-track", b"")


@pytest.mark.req("MIME-004", "MIME-011")
def test_only_html_bodies_of_the_message_itself_lose_instructions():
    plain = HTML.replace(b"html", b"plain")
    file = b"Content-Disposition: attachment\r\n" + HTML
    untouched = (plain, file, attached(HTML), b"Content-Type: multipart/signed; boundary=s\r\n\r\n"
                 + parts(HTML, boundary=b"s"))  # fmt: skip
    related = b"Content-Type: multipart/alternative; boundary=r\r\n\r\n"
    body = parts(HTML, *untouched, related + parts(plain, HTML, boundary=b"r"))
    expected = parts(CLEAN, *untouched, related + parts(plain, CLEAN, boundary=b"r"))
    assert walk(MIXED, body)[1] == expected
    assert walk(b"multipart/signed; boundary=b", body)[1] == body
    assert walk(b"text/html", HTML)[1] == CLEAN


@pytest.mark.req("MIME-010")
def test_labels_of_eight_bit_parts():
    seven = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nascii"
    wrong, right = seven[:-5] + b"\xe9", seven[:-5].replace(b"7bit", b"8bit") + b"\xe9"
    signed = b"Content-Type: multipart/signed; boundary=s\r\n\r\n" + parts(wrong, boundary=b"s")
    label = b"Content-Transfer-Encoding: 8bit\r\n"
    head, body = walk(MIXED, parts(seven, wrong, b"\r\n\xe9", signed))
    assert body == parts(seven, right, label + b"\r\n\xe9", signed)
    assert head.endswith(label + b"\r\n")
    assert walk(MIXED, parts(seven, wrong), relabel=False)[1] == parts(seven, wrong)
    assert walk(b"text/plain", b"\xe9\r\n")[0].endswith(label + b"\r\n")
    quoted = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n\xe9"
    assert walk(MIXED, parts(quoted))[1] == parts(quoted)


BOMBS = {
    "parts": (MIXED, parts(*[b""] * 4999)),
    "lookalikes": (MIXED, b"--bx\r\n" * 40_000),
    "dashes": (b"multipart/mixed; boundary=" + b"-" * 60, b"-" * 250_000),
    "prefixes": nested(39, b"\r\n" + b"--l3x\r\n" * 30_000),
    "long line": (MIXED, b"--b" * 80_000),
    "encoded messages": (MIXED, parts(*[attached(b"QQ==", b"base64")] * 3000)),
    "heads": (MIXED, parts(*[b"Content-Type: a/b;" + b"x=y;" * 9000] * 7)),
    "words": (MIXED, parts(b'Content-Type: a/b; name="' + b"=?x?Q?y?= " * 20_000 + b'"\r\n\r\n')),
    "continuations": (MIXED, parts(b"Content-Type: a/b" + b"".join(b";name*%d=x" % n for n in range(18_000)))),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_bounded_time(name):
    kind, body = BOMBS[name]
    begun = time.process_time()
    walk(kind, body)
    assert time.process_time() - begun < 10  # linear; what is not takes minutes


# --- large bodies ----------------------------------------------------------------------------------------------


def request(tmp_path, kind, body):
    source = tmp_path / "in"
    source.write_bytes(b"before" + body + b"after")
    facts = scan_body(body)
    return Request(
        f"From: a@b.example\r\nContent-Type: {kind.decode()}\r\n\r\n", False, str(source), 6, len(body),
        facts.eight_bit, facts.longest_line_bytes, tuple(REFUSED_EXTENSIONS), str(tmp_path / "out"),
    )  # fmt: skip


def test_helper_says_what_the_walk_says(tmp_path):
    filler = b"Content-Type: application/pdf\r\n\r\n" + (b"x" * 70 + b"\r\n") * 40_000
    assert examine(request(tmp_path, MIXED, parts(filler))) == {}
    said = examine(request(tmp_path, MIXED, parts(filler, EXE)))
    assert said == {"refused": "ATTACHMENT", "text": "Illegal filename 'a.exe'."}
    assert not (tmp_path / "out").exists()


@pytest.mark.req("MIME-010", "MIME-011", "SMTP-024")
def test_helper_changes_bodies_in_files(tmp_path):
    filler = (b"y" * 70 + b"\r\n") * 10_000
    body = parts(HTML, b"\r\n" + b"z" * 2000, b"Content-Type: text/plain\r\n\r\n\xe9" + filler)
    said = examine(request(tmp_path, MIXED, body))
    made = (tmp_path / "out").read_bytes()
    facts = scan_body(made)
    assert said["body"] == {
        "size_bytes": len(made),
        "eight_bit": True,
        "longest_line_bytes": facts.longest_line_bytes,
        "sha256_relaxed": facts.sha256_relaxed.hex(),
    }
    assert facts.longest_line_bytes <= 998
    assert CLEAN in made
    assert said["head"].endswith("Content-Transfer-Encoding: 8bit\r\n\r\n")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out"]


def test_helper_serves_many_and_survives_a_fault(tmp_path):
    good = request(tmp_path, MIXED, parts(b"\r\nx" * 1000))
    bad = Request(**{field: getattr(good, field) for field in Request.__slots__ if field != "path"}, path="/nowhere")
    lines = good.line() + bad.line() + good.line()
    done = subprocess.run(
        [sys.executable, "-m", "relay.mail.reencode", "serve"], input=lines, capture_output=True, check=True
    )
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert first == third == {}
    assert "nowhere" in second["error"]


def test_hostile_large_body_is_answered_in_time(tmp_path):
    line = b"-" * 996 + b"\r\n"
    kind = b'multipart/mixed; boundary="' + b"-" * 900 + b'x"'
    begun = time.process_time()
    said = examine(request(tmp_path, kind, line * 20_000))
    assert said["text"] == "Missing start boundary"
    assert time.process_time() - begun < 10  # linear; what is not takes minutes


def test_plan_is_the_same_message_where_nothing_changes():
    fields = parse_head(b"From: a@b.example\r\n\r\n")
    assert inspect(fields, {}, b"x\r\n", 0, 3, ContentRules(), eight_bit=False) == Plan(fields, [])
