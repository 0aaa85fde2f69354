"""What content rules cost: CPU microseconds of a 10-KB message, CPU seconds of a 40-MB one.

    python -m bench.content [--quick] [--json FILE]

10 KB, in the worker: plain text, HTML, HTML in base64, multipart/alternative, multipart/mixed with an attachment,
each with a boundary of its own as clients write them. 40 MB, in the helper process: an attachment, many small parts,
20 levels; the whole CPU time of `relay.mail.reencode.examine`, files included.
"""

import base64
import os
import tempfile
import time
from pathlib import Path

from bench.figures import Figure, arguments, at_most, finish, show_reference
from relay.mail.attachments import REFUSED_EXTENSIONS, ContentRules
from relay.mail.encode import Plan
from relay.mail.headers import parse_head
from relay.mail.reencode import Request, examine
from relay.mail.scan import scan_body
from relay.mail.structure import inspect

HEAD = b"From: App <app@sender.example>\r\nTo: someone@rcpt.example\r\nSubject: Usual\r\nMIME-Version: 1.0\r\n"
TEXT = b"A line of text as people write them, not too long and not too short.\r\n"
HTML = b'<p>A line of <b>text</b> with <a href="https://example.com/page?a=b">a link</a></p>\r\n'
MESSAGES = 200
SIZE = 40_000_000


def lines(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def part(head: bytes, body: bytes, boundary: bytes) -> bytes:
    return b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + body + b"\r\n"


def plain(_: bytes) -> tuple[bytes, bytes]:
    return b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit", TEXT * 146


def html(_: bytes) -> tuple[bytes, bytes]:
    return b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable", HTML * 122


def html_base64(_: bytes) -> tuple[bytes, bytes]:
    return b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64", lines(HTML * 90)


def alternative(boundary: bytes) -> tuple[bytes, bytes]:
    kind = b'Content-Type: multipart/alternative; boundary="' + boundary + b'"'
    body = part(plain(b"")[0], TEXT * 60, boundary) + part(html(b"")[0], HTML * 70, boundary)
    return kind, body + b"--" + boundary + b"--\r\n"


def mixed(boundary: bytes) -> tuple[bytes, bytes]:
    kind = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"'
    name = b"Invoice " + boundary[-4:] + b".pdf"
    head = (
        b'Content-Type: application/pdf; name="' + name + b'"\r\nContent-Transfer-Encoding: base64\r\n'
        b'Content-Disposition: attachment; filename="' + name + b'"'
    )
    body = part(plain(b"")[0], TEXT * 40, boundary) + part(head, lines(b"%PDF-1.7 " + b"\x93" * 5000), boundary)
    return kind, body + b"--" + boundary + b"--\r\n"


def prepared(make) -> list[tuple]:
    """Return messages as `inspect` takes them, each with its own boundary."""
    made = []
    for number in range(MESSAGES):
        kind, body = make(b"===============%019d==" % (number * 7919 + time.time_ns() % 10**9))
        fields = parse_head(HEAD + kind + b"\r\n\r\n")
        made.append((fields, {field.key: field for field in fields}, body, scan_body(body).eight_bit))
    return made


def small(make, rounds: int) -> float:
    """Return CPU microseconds a message, the best of some rounds; each takes messages that no cache has seen."""
    best = float("inf")
    rules = ContentRules()
    for _ in range(rounds):
        messages = prepared(make)
        begun = time.process_time()
        for fields, index, body, eight_bit in messages:
            walked = inspect(fields, index, body, 0, len(body), rules, eight_bit=eight_bit)
            assert isinstance(walked, Plan)
        best = min(best, (time.process_time() - begun) / MESSAGES)
    return best * 1e6


def nested(depth: int, inner: bytes) -> tuple[bytes, bytes]:
    """Return the Content-Type and body of multiparts within each other."""
    kind, body = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64", inner
    for level in range(depth):
        boundary = b"level-%02d" % level
        body = part(kind, body, boundary) + b"--" + boundary + b"--\r\n"
        kind = b"Content-Type: multipart/mixed; boundary=" + boundary
    return kind, body


def large(kind: bytes, body: bytes, directory: Path) -> float:
    """Return CPU seconds of the helper for one message in a file."""
    path = directory / "body"
    path.write_bytes(body)
    facts = scan_body(body)
    request = Request(
        (HEAD + kind + b"\r\n\r\n").decode(), False, str(path), 0, len(body), facts.eight_bit,
        facts.longest_line_bytes, tuple(REFUSED_EXTENSIONS), str(directory / "result"),
    )  # fmt: skip
    begun = time.process_time()
    said = examine(request)
    seconds = time.process_time() - begun
    assert "refused" not in said, said
    (directory / "result").unlink(missing_ok=True)
    return seconds


def main() -> None:
    args = arguments(__doc__).parse_args()
    show_reference()
    figures: list[Figure] = []
    for make in (plain, html, html_base64, alternative, mixed):
        name = make.__name__.replace("_", " in ")
        figures.append(at_most(f"content rules, 10 KB, {name}", small(make, 5 if args.quick else 25), 80, "us"))
    attachment = lines(os.urandom(SIZE * 3 // 4 - SIZE // 40))
    page = part(b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable", HTML * 38_000, b"b")
    marked = page.replace(b'<a href=3D"', b'<a ses:no-track href=3D"').replace(b"<a href", b"<a ses:no-track href")
    cases = {
        "one attachment": nested(1, attachment),
        "20 levels": nested(20, attachment),
        "4000 parts": (
            b"Content-Type: multipart/mixed; boundary=b",
            part(b"Content-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64", attachment[:9880], b"b")
            * 4000
            + b"--b--\r\n",
        ),
        "HTML with instructions": (b"Content-Type: multipart/mixed; boundary=b", marked + b"--b--\r\n"),
    }
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        for name, (kind, body) in cases.items():
            seconds = large(kind, body, Path(directory))
            figures.append(at_most(f"content rules, {len(body) / 1e6:.0f} MB, {name}", seconds, 1, "s"))
    finish(figures, args.json)


if __name__ == "__main__":
    main()
