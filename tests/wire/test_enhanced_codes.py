"""Decision 1 and RFC 2034: every reply of every dialogue has an enhanced status code, or none has one.

All that clients say in `dialogs/*.txt` is said to the engine twice. Exempt by RFC 2034 section 4 are the greeting,
the answers to EHLO and HELO, and 3xx.
"""

import re
from dataclasses import replace

import pytest

from relay.model.refusal import Reason
from relay.smtp.server.dialect import Dialect
from relay.smtp.server.session import Session
from tests.unit.smtp.test_server import Product
from tests.wire.door import POLICIES
from tests.wire.test_dialogs import FILES, _bytes

ENHANCED = re.compile(rb"(\d)\d\d[ -](\d)\.\d{1,3}\.\d{1,3} \S")
EXEMPT = re.compile(rb"3\d\d |220 relay\.example ESMTP|250[ -]relay\.example\Z")


def replies(path, *, enhanced):
    """Yield the reply lines of a dialogue, without the answers to EHLO."""
    session = None
    for line in path.read_text().splitlines():
        word, _, text = line.partition(" ")
        if word == "listener":
            policy = replace(POLICIES[text], enhanced_codes=enhanced, errors_max=1000)
            product = Product()
            session = Session(Dialect(policy), product, product, "127.0.0.1", trusted=bool(policy.trusted_account))
        elif word == "tls" and session.starting_tls:
            session.tls_started()
        elif word in (">", ">>"):
            session.receive(_bytes(text) + (b"\r\n" if word == ">" else b""))
            lines = session.take_output().split(b"\r\n")[:-1]
            ehlo = [index for index, each in enumerate(lines) if each == b"250-relay.example"]
            yield from lines[: ehlo[0]] if ehlo else lines


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.req("SMTP-031")
def test_every_reply_or_none(path):
    with_codes = [line for line in replies(path, enhanced=True) if not EXEMPT.match(line)]
    assert with_codes
    for line in with_codes:
        found = ENHANCED.match(line)
        assert found, line
        assert found.group(1) == found.group(2), line
    without = [line for line in replies(path, enhanced=False) if ENHANCED.match(line)]
    assert without == []


@pytest.mark.req("SMTP-031")
def test_every_reason_has_a_code_of_its_class():
    for reason in Reason:
        assert re.fullmatch(rf"{reason.code // 100}\.\d{{1,3}}\.\d{{1,3}}", reason.enhanced), reason
