"""Shaping: what is added, removed, joined, refused, and that all else stays byte for byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.compose import Controls, Shaped, ShapeRules, needs_helper, parse_tags, shape
from relay.mail.headers import parse_head
from relay.mail.scan import scan_body
from relay.model.content import BodyFacts, BodyFile, Content
from relay.model.message import Protocol
from relay.model.refusal import Reason, Refusal
from tests.unit.mail.messages import DATE, HEAD, MESSAGE_ID, NOW_MS, submission

RULES = ShapeRules("relay.example")


WHITESPACE = "Local address contains control or whitespace"
EIGHT_BIT = "Transaction failed: Header field contains raw 8-bit characters; encoded words are required."


def shaped(head=HEAD, body=b"Hello\r\n", rules=RULES, **changes):
    return shape(submission(head, body, **changes), rules, MESSAGE_ID, NOW_MS)


def head_with(*lines, start=HEAD):
    return b"".join(line + b"\r\n" for line in lines) + start


def values(result, key):
    return [field.value for field in result.fields if field.key == key]


RECEIVED = f"Received: by relay.example (Relay) with ESMTPSA\r\n\tid {MESSAGE_ID};\r\n\t{DATE}\r\n".encode()


@pytest.mark.req("HDR-001", "HDR-017", "SMTP-032")
def test_complete_message_gets_received_only():
    result = shaped()
    assert result.head == RECEIVED + HEAD
    assert result.body == b"Hello\r\n"
    assert str(result.author) == "app@sender.example"
    assert result.controls == Controls()


def test_body_object_is_passed_on_untouched():
    made = submission(HEAD, b"x\r\n" * 1000)
    assert shape(made, RULES, MESSAGE_ID, NOW_MS).body is made.content.body
    assert shape(made, RULES, MESSAGE_ID, NOW_MS).facts is made.facts


@pytest.mark.req("SMTP-032")
def test_client_is_shown_only_by_rule_and_escaped():
    assert b"192.0.2.1" not in shaped().head
    assert b"client.example" not in shaped().head
    rules = ShapeRules("relay.example", received_client=True)
    first = shaped(rules=rules, helo="evil (\r\nBcc: x@y.example) ü").fields[0].raw
    assert first.startswith(b"Received: from evil????Bcc:?x?y.example??? ")
    assert b"([192.0.2.1])" in first
    assert first.count(b"\r\n") == 4
    assert b"[IPv6:2001:db8::1]" in shaped(rules=rules, source_address="2001:db8::1").fields[0].raw


@pytest.mark.parametrize("protocol", list(Protocol))
def test_with_keyword_is_the_protocol(protocol):
    assert f" with {protocol.value}\r\n".encode() in shaped(protocol=protocol).fields[0].raw


@pytest.mark.req("FLOW-003")
def test_missing_date_and_message_id_are_added_once():
    result = shaped(b"From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n")
    assert values(result, b"date") == [DATE.encode()]
    assert values(result, b"message-id") == [f"<{MESSAGE_ID}@relay.example>".encode()]


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 23 Nov 2026 01:00:00 +0100",
        "23 Nov 2026 01:00 GMT",
        "3 Nov 2026 01:00:00 EST (Eastern)",
        "Mon, 23 Nov 2026 23:59:60 -0000",
        "mon, 23 nov 2026 01:00:00 +0000",
    ],
)
def test_good_dates_are_kept(date):
    result = shaped(HEAD.replace(b"Mon, 23 Nov 2026 01:00:00 +0100", date.encode()))
    assert values(result, b"date") == [date.encode()]


@pytest.mark.parametrize(
    "date", ["", "yesterday", "2026-11-23T01:00:00Z", "Mon, 32 Nov 2026 01:00:00 +0000", "23 Nov 2026 25:00:00 +0000",
             "23 Nov 26 01:00:00 +0000", "Mon, 23 Nov 2026 01:00:00", "x" * 900]
)  # fmt: skip
def test_malformed_dates_are_replaced(date):
    result = shaped(HEAD.replace(b"Mon, 23 Nov 2026 01:00:00 +0100", date.encode()))
    assert values(result, b"date") == [DATE.encode()]


@pytest.mark.parametrize("value", [b"", b"abc", b"<abc>", b"<a b@c>", b"<a@b> <c@d>", b"a@b", b"<a@b", b"<@>"])
def test_malformed_message_ids_are_replaced(value):
    result = shaped(HEAD.replace(b"<abc.123@sender.example>", value))
    assert values(result, b"message-id") == [f"<{MESSAGE_ID}@relay.example>".encode()]


@pytest.mark.req("HDR-005", "HDR-006")
def test_date_and_message_id_are_replaced_by_rule():
    result = shaped(rules=ShapeRules("relay.example", replace_date=True, replace_message_id=True))
    assert values(result, b"date") == [DATE.encode()]
    assert values(result, b"message-id") == [f"<{MESSAGE_ID}@relay.example>".encode()]
    assert b"abc.123" not in result.head


@pytest.mark.req("HDR-008", "HDR-016")
def test_private_fields_are_removed():
    result = shaped(
        head_with(
            b"Bcc: secret@x.example,\r\n also@x.example", b"BCC:", b"Return-Path: <app@sender.example>",
            b"Bounces-To: b@x.example",
            b"X-SES-CONFIGURATION-SET: one", b"x-ses-any: two", b"Errors-To: e@x.example",
        )
    )  # fmt: skip
    assert result.head == RECEIVED + b"Errors-To: e@x.example\r\n" + HEAD
    assert str(result.return_path) == "app@sender.example"


@pytest.mark.req("HDR-012", "HDR-013", "HDR-015", "HDR-016")
def test_control_fields_are_read_and_the_first_counts():
    result = shaped(
        head_with(
            b"X-SES-Configuration-Set: one", b"X-SES-CONFIGURATION-SET: two", b"X-SES-MESSAGE-TAGS: a=1 ,  b = 2,",
            b"X-SES-SOURCE-ARN: arn:s", b"X-SES-FROM-ARN: arn:f", b"X-SES-RETURN-PATH-ARN: arn:r",
            b"X-SES-LIST-MANAGEMENT-OPTIONS: list; topic=t",
        )
    )  # fmt: skip
    assert result.controls == Controls("one", (("a", "1"), ("b", "2")), "arn:s", "arn:f", "arn:r", "list; topic=t")
    assert b"X-SES" not in result.head.upper()
    assert any(field.key == b"x-ses-message-tags" for field in result.submitted)


@pytest.mark.parametrize(("word", "engaged"), [(b"yes", True), (b" YES ", True), (b"no", False)])
def test_the_mark_of_engaged_recipients_is_read_and_removed(word, engaged):
    result = shaped(head_with(b"X-Relay-ENGAGED:" + word, b"X-SES-CONFIGURATION-SET: one"))
    assert result.controls == Controls("one", engaged=engaged)
    assert b"X-RELAY" not in result.head.upper()


@pytest.mark.parametrize("word", [b"", b"maybe", b"yes, please"])
def test_a_mark_that_says_nothing_is_refused(word):
    refusal = shaped(head_with(b"X-Relay-Engaged: " + word))
    assert refusal == Refusal(Reason.BAD_HEADER, "Header 'X-Relay-Engaged' is yes or no.")


@pytest.mark.req("HDR-019")
def test_control_fields_after_the_head_are_body():
    result = shaped(body=b"X-SES-CONFIGURATION-SET: one\r\n")
    assert result.controls == Controls()
    assert shaped(b"Subject: x\r\n\r\n", b"From: a@b.example\r\n") == Refusal(Reason.MISSING_FROM)


@pytest.mark.parametrize("text", ["", ",", "a", "a=", "=1", "a=ü", "a b=1", "a=1;b=2", "ses:x=1"])
def test_bad_tags_are_left_out(text):
    assert parse_tags(text) == ()


def test_tags_are_bounded():
    assert len(parse_tags(",".join(f"a{n}={n}" for n in range(100_000)))) <= 50


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: relay.example; dkim=pass",
        b"Authentication-Results: RELAY.EXAMPLE 1; none",
        b"Authentication-Results: (x) relay.example; spf=pass",
        b"Authentication-Results:\r\n relay.example;\r\n spf=pass",
        b"ARC-Authentication-Results: i=1; relay.example; spf=pass",
    ],
)
def test_forged_authentication_results_are_removed(field):
    assert shaped(head_with(field)).head == RECEIVED + HEAD


def test_authentication_results_of_others_stay():
    other = b"Authentication-Results: other.example; dkim=pass header.d=x.example\r\n"
    assert shaped(other + HEAD).head == RECEIVED + other + HEAD


@pytest.mark.req("HDR-004")
def test_repeated_lists_are_joined():
    result = shaped(
        head_with(b"To: a@x.example", b"Cc: c@x.example", b"to:\tb@x.example,\r\n\tbb@x.example", b"CC: d@x.example")
    )
    assert values(result, b"to") == [b"a@x.example,\tb@x.example,\tbb@x.example,\tsomeone@rcpt.example"]
    assert values(result, b"cc") == [b"c@x.example,\td@x.example"]
    assert [field.key for field in result.fields].index(b"to") < [field.key for field in result.fields].index(b"cc")


@pytest.mark.req("HDR-009", "HDR-003", "HDR-010", "HDR-011")
@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"To: a@b.example\r\n\r\n", "Transaction failed: Missing required header 'From'."),
        (b"\r\n", "Transaction failed: Missing required header 'From'."),
        (HEAD.replace(b"App <app@sender.example>", b""), "Transaction failed: Empty required header 'From'."),
        (head_with(b"Cc: "), "Transaction failed: Empty required header 'Cc'."),
        (HEAD.replace(b"someone@rcpt.example", b" "), "Transaction failed: Empty required header 'To'."),
        (head_with(b"From: x@y.example"), "Transaction failed: Duplicate header 'From'."),
        (head_with(b"from: x@y.example"), "Transaction failed: Duplicate header 'From'."),
        (head_with(b"SUBJECT: x"), "Transaction failed: Duplicate header 'Subject'."),
        (head_with(b"Content-type: text/html"), "Transaction failed: Duplicate header 'Content-Type'."),
        (head_with(b"Cc: nobody"), "Transaction failed: Missing final '@domain'"),
        (HEAD.replace(b"app@sender.example", b"app"), "Transaction failed: Missing final '@domain'"),
        (HEAD.replace(b"app@sender.example", b"a b@c.example"), "Transaction failed: " + WHITESPACE),
        (
            HEAD.replace(b"App <app@sender.example>", b"a@b.example, c@d.example"),
            "Transaction failed: From has several addresses and there is no Sender.",
        ),
        (head_with(b"Sender: a@b.example, c@d.example"), "Transaction failed: Sender has several addresses."),
        (head_with(b"Sender: nobody"), "Transaction failed: Missing final '@domain'"),
        (head_with(b"Return-Path: nobody"), "Transaction failed: Missing final '@domain'"),
        (HEAD.replace(b"A message", "Grüße".encode()), EIGHT_BIT),
    ],
)  # fmt: skip
def test_refusals(head, text):
    result = shaped(head)
    assert isinstance(result, Refusal)
    assert (result.reason.code, result.text) == (554, text)


@pytest.mark.req("HDR-009")
def test_no_to_is_fine():
    assert isinstance(shaped(HEAD.replace(b"To: someone@rcpt.example\r\n", b"")), Shaped)


@pytest.mark.req("HDR-011")
def test_several_authors_need_a_sender():
    head = HEAD.replace(b"App <app@sender.example>", b"a@b.example, C <c@d.example>")
    result = shaped(head_with(b"Sender: s@t.example", start=head))
    assert [str(each.address) for each in result.authors] == ["a@b.example", "c@d.example"]
    assert str(result.sender.address) == "s@t.example"
    assert str(result.author) == "a@b.example"


@pytest.mark.req("FLOW-020")
def test_a_loop_is_refused():
    trace = b"Received: by x.example; Mon, 23 Nov 2026 01:00:00 +0000\r\n"
    assert isinstance(shaped(trace * 99 + HEAD), Shaped)
    refusal = shaped(trace * 100 + HEAD)
    assert refusal.reason is Reason.LOOP
    assert refusal.reason.code == 554


@pytest.mark.req("MIME-006")
def test_mime_fields_are_filled_in():
    plain = b"From: a@b.example\r\nDate: Mon, 23 Nov 2026 01:00:00 +0100\r\nMessage-ID: <a@b>\r\n\r\n"
    result = shaped(plain)
    assert values(result, b"mime-version") == [b"1.0"]
    assert values(result, b"content-type") == [b"text/plain; charset=us-ascii"]
    assert values(result, b"content-transfer-encoding") == [b"7bit"]
    utf8 = shaped(plain, "Grüße\r\n".encode())
    assert values(utf8, b"content-type") == [b"text/plain; charset=utf-8"]
    assert values(utf8, b"content-transfer-encoding") == [b"8bit"]
    assert values(shaped(plain, b"Gr\xfc\xdfe\r\n"), b"content-type") == [b"text/plain; charset=unknown-8bit"]
    typed = b"Content-Type: text/html\r\n" + plain
    assert values(shaped(typed), b"mime-version") == [b"1.0"]
    assert values(shaped(typed), b"content-transfer-encoding") == []


def test_mime_fields_are_not_added_under_somebodys_signature():
    plain = b"From: a@b.example\r\nDate: Mon, 23 Nov 2026 01:00:00 +0100\r\nMessage-ID: <a@b>\r\n\r\n"
    signed = b"DKIM-Signature: v=1; d=other.example; h=from:mime-version; b=\r\n" + plain
    assert shaped(signed).head == RECEIVED + signed


@pytest.mark.req("SMTP-024")
def test_long_lines_are_encoded():
    body = b"short\r\n" + "Grüße ".encode() * 300 + b"\r\n"
    result = shaped(body=body)
    assert values(result, b"content-transfer-encoding") == [b"quoted-printable"]
    assert result.facts == scan_body(result.body)
    assert result.facts.longest_line_bytes <= 76
    assert not result.facts.eight_bit


@pytest.mark.req("SMTP-024")
def test_long_lines_in_signed_parts_are_refused():
    head = HEAD.replace(b"text/plain; charset=utf-8", b'multipart/signed; boundary="b"')
    body = b"--b\r\n\r\n" + b"x" * 999 + b"\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n--b--\r\n"
    result = shaped(head, body)
    assert result.reason is Reason.LINE_TOO_LONG
    assert result.reason.code == 554


def test_large_bodies_go_to_the_helper():
    body = BodyFile("/nowhere", 0, 10_000_000)
    assert needs_helper(submission(content=Content(HEAD, body), facts=BodyFacts(False, 998, b"")))
    assert not needs_helper(submission(body=b"x" * 2000 + b"\r\n"))


def test_smtputf8_message():
    head = HEAD.replace(b"App <app@sender.example>", "Jö <jö@bücher.example>".encode())
    result = shaped(head, smtputf8=True)
    assert str(result.author) == "jö@xn--bcher-kva.example"
    assert result.head.endswith(head)


LINES = st.lists(
    st.sampled_from(
        [b"From: ", b"To: ", b"Cc:", b"Date:", b"Bcc: ", b"X-SES-A: ", b"Sender:", b": ", b" ", b"X: "]
    ).flatmap(lambda start: st.binary(max_size=30).map(lambda rest: start + rest.replace(b"\r\n", b""))),
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(LINES, st.booleans())
def test_any_head_is_shaped_or_refused(lines, smtputf8):
    result = shaped(b"".join(line + b"\r\n" for line in lines) + b"\r\n", smtputf8=smtputf8)
    if isinstance(result, Refusal):
        return
    assert isinstance(parse_head(result.head, smtputf8=True), list)
    assert not {field.key for field in result.fields} & {b"bcc", b"return-path", b"x-ses-a"}
    assert len(values(result, b"from")) == 1
