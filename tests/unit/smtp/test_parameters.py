"""Parameters of MAIL and RCPT: what is read is canonical, can be written back, and never breaks out of its field."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.model.notification import (
    NO_WISHES,
    DeliverBy,
    Notice,
    decode_xtext,
    notify_words,
    original_recipient,
    passed_on,
    recipient_wishes,
    wants,
)
from relay.smtp.server.parameters import mail_parameters, rcpt_parameters
from relay.smtp.server.reply import Reply

ALL = frozenset({"DSN", "SMTPUTF8", "FUTURERELEASE", "DELIVERBY"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"NOTIFY=never", "NOTIFY=NEVER"),
        (b"notify=Delay,FAILURE,success", "NOTIFY=SUCCESS,FAILURE,DELAY"),
        (b"ORCPT=RFC822;a+2Bb@example.org", "ORCPT=RFC822;a+2Bb@example.org"),
        (b" ORCPT=rfc822;x   NOTIFY=SUCCESS ", "NOTIFY=SUCCESS ORCPT=rfc822;x"),
        ("ORCPT=utf-8;ä\\x{5C}é@example.org".encode(), "ORCPT=utf-8;\\x{E4}\\x{5C}\\x{E9}@example.org"),
        (b"ORCPT=rfc822;" + b"x" * 493, "ORCPT=rfc822;" + "x" * 493),
        (b"", ""),
    ],
)
def test_recipient_parameters(text, expected):
    assert rcpt_parameters(text, ALL, smtputf8=True) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"ORCPT=rfc822;" + b"x" * 494, b"ORCPT=;x", b"ORCPT=rfc822;", b"ORCPT=rfc 822;x", b"ORCPT=utf-8;\xff\xfe",
        b"ORCPT=utf-8;a+b", b"ORCPT=utf-8;\\x{0A}", b"ORCPT=utf-8;\\x{110000}", b"ORCPT=utf-8;\\x{e4}",
        b"ORCPT=rfc822;a+0a", b"ORCPT=rfc822;a+80", b"NOTIFY", b"NOTIFY=,", b"NOTIFY=SUCCESS,", b"=x", b"NOTIFY==x",
    ],
)  # fmt: skip
def test_refused_recipient_parameters(text):
    assert isinstance(rcpt_parameters(text, ALL, smtputf8=True), Reply)


def test_what_is_not_offered_is_unknown():
    for text in (b"RET=FULL", b"ENVID=x", b"HOLDFOR=1", b"BY=1;R", b"SMTPUTF8"):
        answer = mail_parameters(text, frozenset())
        assert isinstance(answer, Reply)
        assert answer.code == 555
    answer = rcpt_parameters(b"NOTIFY=NEVER", ALL - {"DSN"}, smtputf8=False)
    assert isinstance(answer, Reply)
    assert answer.code == 555


def test_sender_parameters():
    found = mail_parameters(b"RET=hdrs ENVID=a+20b HOLDUNTIL=2030-01-02T03:04:05Z BY=+60;rt SIZE=7 SMTPUTF8", ALL)
    assert not isinstance(found, Reply)
    assert (found.ret, found.envelope_id, found.hold_until_ms) == ("HDRS", "a+20b", 1_893_553_445_000)
    assert (found.deliver_by, found.size_bytes, found.smtputf8) == (DeliverBy(60, returns=True, traced=True), 7, True)
    assert mail_parameters(b"SIZE=7 BODY=8BITMIME", ALL).wishes is NO_WISHES


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=80), st.booleans())
@example("\u05c8".encode(), True)  # no character yet: embedded, nobody would take it
def test_whatever_is_taken_can_stand_in_a_command_and_a_field(value, smtputf8):
    """Nothing that was read can end a line or begin another parameter, in RCPT as in Original-Recipient."""
    for text in (b"ORCPT=rfc822;" + value, b"ORCPT=utf-8;" + value, b"NOTIFY=" + value, value):
        found = rcpt_parameters(text, ALL, smtputf8=smtputf8)
        if isinstance(found, Reply):
            continue
        assert found.isascii()
        assert found.isprintable() or not found
        assert decode_xtext(original_recipient(found)).isprintable() or not original_recipient(found)
        assert recipient_wishes(notify_words(found), original_recipient(found)) == found
        assert rcpt_parameters(found.encode(), ALL, smtputf8=False) == found
    found = mail_parameters(b"ENVID=" + value, ALL)
    assert isinstance(found, Reply) or decode_xtext(found.envelope_id).isprintable()


@pytest.mark.parametrize(
    ("wishes", "wanted"),
    [
        ("", {Notice.FAILURE}),
        ("ORCPT=rfc822;x", {Notice.FAILURE}),
        ("NOTIFY=NEVER", set()),
        ("NOTIFY=SUCCESS", {Notice.SUCCESS}),
        ("NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;x", set(Notice)),
    ],
)
def test_what_is_wanted(wishes, wanted):
    assert {notice for notice in Notice if wants(wishes, notice)} == wanted


@pytest.mark.parametrize(
    ("wishes", "ours"),
    [
        ("", ""),
        ("ORCPT=rfc822;x", "ORCPT=rfc822;x"),
        ("NOTIFY=NEVER ORCPT=rfc822;x", "NOTIFY=FAILURE ORCPT=rfc822;x"),
        ("NOTIFY=SUCCESS,DELAY", "NOTIFY=SUCCESS,DELAY,FAILURE"),
        ("NOTIFY=FAILURE", "NOTIFY=FAILURE"),
    ],
)
def test_what_goes_on(wishes, ours):
    assert passed_on(wishes, return_path_is_ours=False) == wishes
    assert passed_on(wishes, return_path_is_ours=True) == ours
