"""The wording of the relay's own mails: readable by every mail program, and safe whatever the values hold."""

import email
import email.policy
import re

import pytest

from relay.mail.headers import parse_head
from relay.mail.letter import Letterhead, display_name, letter, unstructured, wrapped
from relay.mail.notices import (
    ReviewStep,
    StateChange,
    address_expired,
    paused,
    review,
    state_change,
    time_left,
    verification_request,
)
from relay.mail.words import decode_words
from relay.model.check import Aspect, CheckState

NOW = 1_795_000_000_000
HOUR = 3_600_000
OURS = Letterhead("Relay", "local-1", "relay.example", "no-reply@relay.example", "abuse@relay.example")
ACCOUNT = "000000000001"


def read(made):
    head, body = made
    assert isinstance(parse_head(head, smtputf8=True), list)
    lines = (head + body).split(b"\r\n")
    assert all(b"\n" not in line and b"\r" not in line and len(line) <= 998 for line in lines)
    mail = email.message_from_bytes(head + body, policy=email.policy.default)
    assert not mail.defects
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["MIME-Version"] == "1.0"
    return mail


def test_a_verification_request():
    mail = read(
        verification_request(
            OURS, "joe@x.example", ACCOUNT, "https://r/verify/abc", expires_ms=NOW + 24 * HOUR, now_ms=NOW
        )
    )
    assert mail["Subject"] == "Relay - Email Address Verification Request in region local-1"
    assert mail["From"] == "Relay <no-reply@relay.example>"
    assert mail["To"] == "joe@x.example"
    text = mail.get_content()
    assert "    https://r/verify/abc" in text.splitlines()
    assert ACCOUNT in text
    assert "abuse@relay.example" in text


@pytest.mark.parametrize("aspect", Aspect)
@pytest.mark.parametrize("state", CheckState)
def test_every_change_of_state_has_words(aspect, state):
    change = StateChange(ACCOUNT, "x.example", aspect, state, NOW + 71 * HOUR, "No such record.", "bounce.x.example")
    mail = read(state_change(OURS, "joe@y.example", change, now_ms=NOW))
    text = mail.get_content()
    assert "x.example" in mail["Subject"]
    assert "local-1" in mail["Subject"]
    assert "No such record." in text
    assert "bounce.x.example" in text
    assert ("71 hours" in text) is (state is CheckState.TEMPORARY_FAILURE)


def test_a_temporary_failure_says_how_long_there_is_and_a_failure_what_to_do():
    change = StateChange(ACCOUNT, "x.example", Aspect.DKIM, CheckState.TEMPORARY_FAILURE, NOW + 72 * HOUR)
    assert "72 hours" in read(state_change(OURS, "j@y.example", change, now_ms=NOW)).get_content()
    change = StateChange(ACCOUNT, "x.example", Aspect.DKIM, CheckState.FAILED)
    text = read(state_change(OURS, "j@y.example", change, now_ms=NOW)).get_content()
    assert "no longer signed" in " ".join(text.split())
    assert "relay identity show x.example" in text
    text = read(address_expired(OURS, "j@y.example", ACCOUNT, "joe@x.example", now_ms=NOW)).get_content()
    assert "relay identity resend joe@x.example" in text


@pytest.mark.parametrize("step", ReviewStep)
def test_reviews(step):
    made = review(
        OURS,
        "j@y.example",
        account=ACCOUNT,
        request="a higher sending quota",
        step=step,
        now_ms=NOW,
        details=[("messages a day", "50000")],
        reason="Welcome.",
    )
    mail = read(made)
    assert mail["Subject"] == f"Relay - Request for a higher sending quota {step.value} in region local-1"
    assert "messages a day: 50000" in mail.get_content()
    assert "Welcome." in mail.get_content()


def test_a_pause_is_told_with_its_reason():
    mail = read(paused(OURS, "j@y.example", account=ACCOUNT, now_ms=NOW, reason="Too many bounces."))
    assert mail["Subject"] == f"Relay - Sending paused for account {ACCOUNT} in region local-1"
    assert "Too many bounces." in mail.get_content()


@pytest.mark.parametrize(
    ("left_ms", "text"),
    [(72 * HOUR, "72 hours"), (HOUR, "1 hour"), (HOUR - 1, "59 minutes"), (60_000, "1 minute"), (-5, "0 minutes")],
)
def test_time_left(left_ms, text):
    assert time_left(left_ms) == text


HOSTILE = 'x\r\nBcc: victim@z.example\r\n\r\nbody\u2028\x00\x85\ud800<>"=?utf-8?q?a?='


def test_no_value_adds_a_field_or_a_line():
    wicked = Letterhead(HOSTILE, HOSTILE, "relay.example", HOSTILE, HOSTILE)
    change = StateChange(HOSTILE, HOSTILE, Aspect.MAIL_FROM, CheckState.FAILED, 0, HOSTILE, HOSTILE)
    for made in (
        verification_request(wicked, HOSTILE, HOSTILE, HOSTILE, expires_ms=NOW, now_ms=NOW),
        state_change(wicked, HOSTILE, change, now_ms=NOW),
        paused(wicked, HOSTILE, account=HOSTILE, now_ms=NOW, reason=HOSTILE * 200),
        review(wicked, HOSTILE, account="", request=HOSTILE * 50, step=ReviewStep.DENIED, now_ms=NOW),
    ):
        head, _ = made
        fields = parse_head(head, smtputf8=True)
        names = [field.key for field in fields]
        assert names == [
            b"from",
            b"to",
            b"subject",
            b"date",
            b"auto-submitted",
            b"mime-version",
            b"content-type",
            b"content-transfer-encoding",
        ]
        assert head.count(b"\r\n\r\n") == 1
        assert max(map(len, head.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    "text", ["Grüße aus Köln " * 20, "日本語" * 50, "plain " * 50, "x" * 900, "a =?utf-8?q?b?= c", "é"]
)
def test_subjects_come_back_as_they_were(text):
    text = text.strip()
    raw = unstructured("Subject", text)
    assert raw.isascii()
    assert all(len(line) <= 76 or "=?" not in line for line in raw.split("\r\n"))
    assert decode_words(re.sub(r"\r\n(?= )", "", raw).removeprefix("Subject: ")) == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Relay", "Relay"), ("Smith, Joe", '"Smith, Joe"'), ('a"b\\', '"a\\"b\\\\"'), ("Ré", "=?utf-8?b?UsOp?=")],
)
def test_display_names(name, shown):
    assert display_name(name) == shown


def test_text_beyond_ascii_travels_as_quoted_printable():
    _, body = made = letter(OURS, "joe@x.example", "Hi", ["Grüße"], NOW)
    assert body.isascii()
    assert "Grüße" in read(made).get_content()


def test_an_address_beyond_ascii_stays_itself():
    head, _ = made = letter(OURS, "jürgen@x.example", "Hi", ["x"], NOW)
    assert "\r\nTo: <jürgen@x.example>\r\n".encode() in head
    read(made)


def test_paragraphs_are_wrapped_and_verbatim_lines_are_not():
    long = "    " + "u" * 100
    assert wrapped(["word " * 30, long, long, "end"]).split("\r\n") == [
        *["word " * 13 + "word"] * 2,
        "word word",
        "",
        long,
        long,
        "",
        "end",
        "",
    ]
