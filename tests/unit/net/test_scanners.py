"""The adapters of clamd and rspamd against stand-ins on real sockets: every answer, and every way to have none."""

import asyncio
import time

import pytest

from relay.model.content import BodyFile, Content
from relay.model.scan import ScanVerdict
from relay.net.clamd import ClamdScanner, judge
from relay.net.rspamd import RspamdScanner, score_of
from tests.product import free_ports
from tests.scanners import Clamd, Rspamd

HEAD = b"Subject: hello\r\n\r\n"
CLEAN = Content(HEAD, b"nothing here\r\n")
INFECTED = Content(HEAD, b"a VIRUS here\r\n")


def scan(scanner, content=CLEAN):
    return asyncio.run(scanner.scan(content))


@pytest.fixture(params=["tcp", "unix"])
def clamd(request, tmp_path):
    with Clamd(str(tmp_path / "clamd.ctl") if request.param == "unix" else None) as running:
        yield running


@pytest.fixture
def rspamd():
    with Rspamd() as running:
        yield running


@pytest.mark.req("FLOW-006")
def test_clamd_says_clean_or_names_the_virus(clamd):
    scanner = ClamdScanner(clamd.address, 10)
    assert scan(scanner).verdict is ScanVerdict.CLEAN
    found = scan(scanner, INFECTED)
    assert (found.verdict, found.detail) == (ScanVerdict.INFECTED, "Test.Virus-1")
    assert clamd.seen == [content.head + content.body for content in (CLEAN, INFECTED)]


@pytest.mark.req("FLOW-007")
def test_rspamd_gives_a_score_and_no_verdict(rspamd):
    scanner = RspamdScanner(rspamd.url, 10, "secret")
    assert scan(scanner).spam_score == 0.5
    spam = scan(scanner, Content(b"X-Score: 99.5\r\n\r\n", b"buy\r\n"))
    assert (spam.verdict, spam.spam_score) == (ScanVerdict.CLEAN, 99.5)
    assert rspamd.headers["password"] == "secret"


@pytest.mark.parametrize("kind", [Clamd, Rspamd])
def test_a_large_body_is_streamed_from_its_part_of_the_file(kind, tmp_path):
    data = bytes(range(32, 127)) * 50_000
    path = tmp_path / "body"
    path.write_bytes(b"before" + data + b"after")
    content = Content(HEAD, BodyFile(str(path), 6, len(data)))
    with kind() as running:
        assert scan(scanner_of(running), content).verdict is ScanVerdict.CLEAN
        assert running.seen == [HEAD + data]
        path.write_bytes(b"before" + data[:1000])
        assert scan(scanner_of(running), content).verdict is ScanVerdict.FAILED


def scanner_of(running, timeout_seconds=10.0):
    if isinstance(running, Clamd):
        return ClamdScanner(running.address, timeout_seconds)
    return RspamdScanner(running.url, timeout_seconds)


@pytest.mark.parametrize("kind", [Clamd, Rspamd])
@pytest.mark.parametrize("mode", ["garbage", "close", "reset", "error", "flood"])
def test_no_answer_that_makes_sense_is_a_failed_scan(kind, mode):
    with kind(mode=mode) as running:
        found = scan(scanner_of(running))
    assert found.verdict is ScanVerdict.FAILED
    assert found.detail
    assert found.detail.isprintable()


@pytest.mark.parametrize("kind", [Clamd, Rspamd])
@pytest.mark.parametrize("mode", ["silent", "drip"])
def test_one_deadline_holds_for_the_whole_scan(kind, mode):
    with kind(mode=mode) as running:
        begun = time.monotonic()
        found = scan(scanner_of(running, 0.3))
        assert time.monotonic() - begun < 5
    assert (found.verdict, found.detail) == (ScanVerdict.FAILED, "no answer within 0.3 s")


@pytest.mark.parametrize("kind", [Clamd, Rspamd])
def test_nobody_there_is_a_failed_scan(kind, tmp_path):
    (port,) = free_ports(1)
    if kind is Rspamd:
        assert scan(RspamdScanner(f"http://127.0.0.1:{port}", 5)).verdict is ScanVerdict.FAILED
    else:
        for address in (f"127.0.0.1:{port}", str(tmp_path / "missing.ctl")):
            assert scan(ClamdScanner(address, 5)).verdict is ScanVerdict.FAILED


@pytest.mark.parametrize(("mode", "detail"), [("error", "INSTREAM size limit exceeded. ERROR"), ("reset", None)])
def test_clamd_may_break_off_in_the_middle(tmp_path, mode, detail):
    path = tmp_path / "body"
    path.write_bytes(b"x" * 30_000_000)
    with Clamd(mode=mode) as running:
        found = scan(ClamdScanner(running.address, 10), Content(HEAD, BodyFile(str(path), 0, 30_000_000)))
    assert found.verdict is ScanVerdict.FAILED
    assert detail in (None, found.detail)


@pytest.mark.parametrize(
    ("reply", "verdict", "detail"),
    [
        ("stream: OK", ScanVerdict.CLEAN, ""),
        ("OK", ScanVerdict.CLEAN, ""),
        ("stream: Win.Test.EICAR_HDB-1 FOUND", ScanVerdict.INFECTED, "Win.Test.EICAR_HDB-1"),
        ("stream: Name with blanks FOUND", ScanVerdict.INFECTED, "Name with blanks"),
        ("instream(local): Name FOUND", ScanVerdict.INFECTED, "Name"),
        ("stream: Can't allocate memory ERROR", ScanVerdict.FAILED, "stream: Can't allocate memory ERROR"),
        ("", ScanVerdict.FAILED, "unintelligible answer: "),
        ("stream: OK and more", ScanVerdict.FAILED, "unintelligible answer: stream: OK and more"),
        ("FOUND", ScanVerdict.FAILED, "unintelligible answer: FOUND"),
        ("stream: OK\nstream: X FOUND", ScanVerdict.FAILED, "unintelligible answer: stream: OK?stream: X FOUND"),
    ],
)
def test_what_clamd_says(reply, verdict, detail):
    found = judge(reply, "clamav")
    assert (found.verdict, found.detail) == (verdict, detail)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        (b'{"score": 5}', 5.0),
        (b'{"score": -3.25, "action": "no action"}', -3.25),
        (b'{"score": "5"}', None),
        (b'{"score": true}', None),
        (b'{"score": NaN}', None),
        (b'{"score": 1e999}', None),
        (b'{"score": 1e300}', None),
        (b"[5]", None),
        (b"{}", None),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_what_rspamd_says(reply, score):
    assert score_of(reply) == score
