"""Reports in odd forms: what is mended, what is found in them, and what is left alone."""

import base64
import time

import pytest

from relay.mail.classify import classify
from relay.mail.reading.opened import READ_MAX_BYTES, as_text, decoded, open_message, visible
from relay.mail.reading.origin import Origin, origin_of
from relay.mail.reading.status import clean_address
from relay.mail.replies import Fault
from tests.unit.mail.messages import MESSAGE_ID

HEAD = (
    "From: MAILER-DAEMON@mx.example\nTo: token@bounce.relay.example\nSubject: Undelivered Mail\nMIME-Version: 1.0\n"
)
REPORT = 'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n'


def status_report(status, top=REPORT, part="Content-Type: message/delivery-status\n", returned=""):
    text = f"{HEAD}{top}\n--b\nContent-Type: text/plain\n\nFailed.\n--b\n{part}\n{status}\n"
    if returned:
        text += f"--b\nContent-Type: text/rfc822-headers\n\n{returned}\n"
    return (text + "--b--\n").encode()


def rows(found):
    return [(each.address, each.action, each.status) for each in found.recipients]


ONE = "Final-Recipient: rfc822; a@rcpt.example\nAction: failed\nStatus: 5.1.1\n"


@pytest.mark.req("EVT-019")
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (f"Reporting-MTA: dns; mx.example\n\n{ONE}", [("a@rcpt.example", "failed", "5.1.1")]),
        (f"Reporting-MTA: dns; mx.example\n{ONE}", [("a@rcpt.example", "failed", "5.1.1")]),
        (
            f"Reporting-MTA: dns; mx.example\n\n{ONE}{ONE.replace('a@', 'b@').replace('5.1.1', '5.2.2')}",
            [("a@rcpt.example", "failed", "5.1.1"), ("b@rcpt.example", "failed", "5.2.2")],
        ),
        ("Final-Recipient: rfc822;<a@rcpt.example>\nAction: FAILURE (x)\nStatus: 5.1.1 (bad)\n",
         [("a@rcpt.example", "failed", "5.1.1")]),
        ("Original-Recipient: rfc822; a@rcpt.example\nAction: failed\nStatus: 5.0.0\n",
         [("a@rcpt.example", "failed", "5.0.0")]),
        (f"Final-Recipient: x400; /c=de/s=a/\n{ONE.replace('Final', 'Original')}",
         [("a@rcpt.example", "failed", "5.1.1")]),
        ("Final-Recipient: utf-8; \\x{FC}ber@rcpt.example\nAction: failed\nStatus: 5.1.1\n",
         [("über@rcpt.example", "failed", "5.1.1")]),
        ("Final-Recipient: utf-8; über@rcpt.example\nAction: failed\nStatus: 5.1.1\n",
         [("über@rcpt.example", "failed", "5.1.1")]),
        ("Final-Recipient: rfc822; a@rcpt.example\n\tAction: x\nAction: failed\nStatus: 5.1.1\nno field\n",
         [("a@rcpt.example", "failed", "5.1.1")]),
    ],
)  # fmt: skip
def test_status_parts_are_mended(status, expected):
    found = classify(status_report(status))
    assert (found.kind, rows(found)) == ("bounce", expected)


@pytest.mark.req("EVT-019")
def test_status_parts_in_other_wrappings():
    coded = base64.encodebytes(ONE.replace("\n", "\r\n").encode()).decode()
    for part, status in (
        ("Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n", coded),
        ("Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: 8bit\n", ONE),
        ("content-type: MESSAGE/Delivery-Status; charset=x\n", ONE.replace("\n", "\r")),
    ):
        assert rows(classify(status_report(status, part=part))) == [("a@rcpt.example", "failed", "5.1.1")]
    mixed = 'Content-Type: multipart/mixed; boundary="b"\n'
    assert classify(status_report(ONE, top=mixed)).kind == "bounce"
    assert classify(status_report(ONE, top=mixed).replace(b"MAILER-DAEMON", b"lea.kim")).kind == "none"


def test_raw_octets_and_long_lines_do_not_hide_a_report():
    odd = status_report(ONE).replace(b"Undelivered Mail", "Unzustellbar: Grüße ".encode("latin-1") + b"x" * 3000)
    assert rows(classify(odd)) == [("a@rcpt.example", "failed", "5.1.1")]


@pytest.mark.req("FLOW-012")
def test_our_message_id_is_found_in_what_came_back():
    returned = f"Received: by relay.example id {MESSAGE_ID}; x\nFrom: a@b.example"
    assert classify(status_report(ONE, returned=returned)).message_id == MESSAGE_ID


def test_the_text_for_people_is_asked_where_the_report_says_little():
    status = "Final-Recipient: rfc822; a@rcpt.example\nAction: failed\nStatus: 5.0.0\n"
    text = b"Failed.\n\na@rcpt.example: 552 5.2.2 mailbox full\n"
    found = classify(status_report(status).replace(b"Failed.\n", text))
    assert (found.bounce.bounce_sub_type, found.verdict.fault) == ("MailboxFull", Fault.MAILBOX)
    assert classify(status_report(status)).as_json()["bounceSubType"] == "General"


# --- complaints ----------------------------------------------------------------------------------------------------


def loop(
    fields, original="From: a@b.example\nTo: a@rcpt.example\n", author="fbl@rcpt.example", top="multipart/report"
):
    return (
        f"From: {author}\nSubject: report\nMIME-Version: 1.0\nContent-Type: {top}; report-type=feedback-report;"
        f" boundary=b\n\n--b\nContent-Type: text/plain\n\nx\n--b\nContent-Type: message/feedback-report\n\n{fields}\n"
        f"--b\nContent-Type: message/rfc822\n\n{original}\nBody\n--b--\n"
    ).encode()


@pytest.mark.req("EVT-026")
def test_every_field_of_a_feedback_report():
    fields = (
        "Feedback-Type: Fraud\nUser-Agent: Loop/1.0\nVersion: 1\nOriginal-Envelope-Id: x\n"
        "Original-Mail-From: <token@bounce.relay.example>\nOriginal-Rcpt-To: <a@rcpt.example>\n"
        "Original-Rcpt-To: rfc822; b@rcpt.example\nReceived-Date: Mon, 23 Nov 2026 03:38:23 +0000\n"
        "Reporting-MTA: dns; mx.rcpt.example\nSource-IP: 192.0.2.5\nIncidents: 3\nReported-Domain: b.example\n"
        "Reported-URI: http://b.example/\nAuthentication-Results: mx; spf=pass\nX-New: field\n"
    )
    found = classify(loop(fields))
    complaint = found.complaint
    assert (found.kind, complaint.feedback_type, complaint.user_agent) == ("complaint", "fraud", "Loop/1.0")
    assert complaint.arrival_date == "Mon, 23 Nov 2026 03:38:23 +0000"
    assert complaint.recipients == ("a@rcpt.example", "b@rcpt.example")
    assert complaint.return_paths == ("token@bounce.relay.example",)
    assert not complaint.redacted


@pytest.mark.req("EVT-026")
@pytest.mark.parametrize(
    ("said", "type_"),
    [("abuse", "abuse"), ("AUTH-FAILURE", "auth-failure"), ("not-spam", "not-spam"), ("virus", "virus"),
     ("opt-out", "other"), ("", "other")],
)  # fmt: skip
def test_feedback_types(said, type_):
    found = classify(loop(f"Feedback-Type: {said}\nUser-Agent: x\nVersion: 1\n"))
    assert found.as_json()["complaintFeedbackType"] == type_


@pytest.mark.req("EVT-028")
@pytest.mark.parametrize(
    "named",
    [
        "",
        "Original-Rcpt-To: <redacted@rcpt.example>\n",
        "Original-Rcpt-To: redacted\n",
        "Redacted-Address: redacted\nRedacted-Address: redacted@\n",
        "Original-Rcpt-To: 0f3a9c1d2b7e4f60a1b2c3d4e5f60718\n",
        "Original-Rcpt-To: rfc822; xxx@rcpt.example\n",
    ],
)
def test_recipients_that_were_blacked_out_are_those_at_the_provider(named):
    original = "From: a@b.example\nTo: a@rcpt.example, Someone <b@rcpt.example>\nCc: c@other.example\n"
    complaint = classify(loop(f"Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\n{named}", original)).complaint
    assert complaint.recipients == ("a@rcpt.example", "b@rcpt.example")
    assert complaint.redacted


@pytest.mark.req("EVT-028")
def test_nobody_is_named_where_nothing_says_who_it_was():
    original = "From: a@b.example\nTo: a@one.example, b@two.example\n"
    found = classify(loop("Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\n", original))
    assert (found.kind, found.recipients) == ("complaint", ())


@pytest.mark.req("EVT-026", "EVT-028")
@pytest.mark.parametrize("author", ["staff@hotmail.example", "someone@provider.example"])
def test_a_loop_that_attaches_the_message_alone(author):
    """The form of Microsoft's JMRP: the recipient is in a field of the message."""
    raw = (
        f"From: {author}\nSubject:  complaint about message from 192.0.2.5\nMIME-Version: 1.0\n"
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        "X-HmXmrOriginalRecipient: a@rcpt.example\nX-Reporter-IP: 192.0.2.9\n"
        f"Message-ID: <{MESSAGE_ID}@relay.example>\nFrom: a@b.example\n\nBody\n--b--\n"
    ).encode()
    found = classify(raw)
    assert (found.kind, found.message_id) == ("complaint", MESSAGE_ID)
    assert found.complaint.recipients == ("a@rcpt.example",)
    passed_on = raw.replace(b" complaint about message from 192.0.2.5", b"look at this").replace(b"staff", b"lea")
    assert classify(passed_on).kind == "none"


def test_a_report_that_a_person_passed_on_is_no_complaint():
    fields = "Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\n"
    assert classify(loop(fields, author="lea@person.example", top="multipart/mixed")).kind == "none"


# --- free form -----------------------------------------------------------------------------------------------------


def notice(text, subject="Undelivered Mail", author="MAILER-DAEMON@mx.example", more=""):
    return f"From: {author}\nTo: token@bounce.relay.example\nSubject: {subject}\n{more}\n{text}".encode()


QMAIL = "I'm afraid I wasn't able to deliver your message to the following addresses.\n\n<{0}>:\n{1}\n\n<{2}>:\n{3}\n"


@pytest.mark.req("EVT-022", "EVT-023")
def test_each_recipient_of_a_notice_has_its_own_judgement():
    text = QMAIL.format("a@rcpt.example", "550 5.1.1 no such user", "b@rcpt.example", "552 5.2.2 over quota")
    found = classify(notice(text))
    assert [each.address for each in found.recipients] == ["a@rcpt.example", "b@rcpt.example"]
    assert [each.bounce.bounce_sub_type for each in found.judgements] == ["NoEmail", "MailboxFull"]
    assert found.verdict.bounce.bounce_type == "Permanent"
    assert found.recipients[0].diagnostic == "smtp; 550 5.1.1 no such user"


def test_a_copy_of_the_message_is_not_searched_for_recipients():
    text = QMAIL.format("a@rcpt.example", "550 no", "a@rcpt.example", "550 no")
    copy = "--- Below this line is a copy of the message.\n\n"
    copy += f"Received: by x id {MESSAGE_ID}; d\nTo: c@rcpt.example\n\n<d@e.example>:\n"
    found = classify(notice(text + copy))
    assert [each.address for each in found.recipients] == ["a@rcpt.example"]
    assert found.message_id == MESSAGE_ID


def test_a_notice_that_names_nobody_is_about_whom_the_message_was_to():
    text = "The message could not be delivered: 550 no such user\n\n"
    text += "--- Original message ---\nFrom: x@y.example\nTo: a@rcpt.example\n\n"
    assert [each.address for each in classify(notice(text)).recipients] == ["a@rcpt.example"]


@pytest.mark.parametrize(
    ("text", "subject", "kind"),
    [
        ("Your message has not yet been delivered to a@rcpt.example. We will keep trying.", "Warning: x", "delay"),
        ("a@rcpt.example could not be delivered. I'm giving up.", "Delayed mail", "bounce"),
    ],
)
def test_what_is_tried_further_is_a_delay(text, subject, kind):
    assert classify(notice(text, subject)).kind == kind


@pytest.mark.parametrize(
    ("more", "author", "origin"),
    [
        ("", "MAILER-DAEMON@mx.example", Origin.SYSTEM),
        ("", "Mail Delivery System <postmaster@mx.example>", Origin.SYSTEM),
        ("", "Ines <postmaster@mx.example>", Origin.PERHAPS),
        ("Return-Path: <>\n", "gate@mx.example", Origin.PERHAPS),
        ("X-Failed-Recipients: a@b.example\n", "x@mx.example", Origin.SYSTEM),
        ("", "lea@person.example", Origin.SOMEBODY),
        ("List-Id: <l.example>\n", "MAILER-DAEMON@mx.example", Origin.SOMEBODY),
    ],
)
def test_who_wrote_it(more, author, origin):
    assert origin_of(open_message(notice("x", author=author, more=more)).fields) is origin


def test_a_receipt_is_no_report():
    """RFC 8098: a mail that was read, or deleted, was delivered."""
    raw = (
        "Return-Path: <>\nFrom: lea@person.example\nSubject: Read: Your order\nMIME-Version: 1.0\n"
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n"
        "Content-Type: text/plain\n\nYour message was deleted without being read.\n--b\n"
        "Content-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; lea@person.example\n"
        "Disposition: automatic-action/MDN-sent-automatically; deleted\n--b--\n"
    )
    assert classify(raw.encode()).kind == "none"


def test_an_answer_to_a_report_is_none():
    text = "What does this mean? Could not be delivered: 550 no such user a@rcpt.example"
    assert classify(notice(text, "Re: Undelivered Mail", "postmaster@rcpt.example")).kind == "none"


# --- octets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "encoding", "expected"),
    [
        (b"YWJj", "base64", b"abc"),
        (b"YW Jj\r\n!", "base64", b"abc"),
        (b"YWJ", "base64", b"ab"),
        (b"Y", "base64", b""),
        (b"a=3D=\r\nb", "quoted-printable", b"a=b"),
        (b"abc", "x-unknown", b"abc"),
    ],
)
def test_transfer_encodings_are_undone_as_far_as_they_can_be(data, encoding, expected):
    assert decoded(data, encoding) == expected


@pytest.mark.parametrize(
    ("data", "charset", "expected"),
    [
        ("Größe".encode("latin-1"), "iso-8859-1", "Größe"),
        ("Größe".encode(), "us-ascii", "Größe"),
        ("Größe".encode("latin-1"), "utf-8", "Größe"),
        ("失敗".encode("iso-2022-jp"), "ISO-2022-JP", "失敗"),
        ("失敗".encode("cp932"), "cp932", "失敗"),
        (b"abc", "punycode", "abc"),
    ],
)
def test_octets_become_text_in_the_charset_that_fits(data, charset, expected):
    assert as_text(data, charset) == expected


def test_html_is_read_as_it_is_seen():
    text = visible(
        "<html><head><title>x</title></head><style>p{}</style><p>a &lt;b@c.example&gt;</p><br>d<script>e</script>"
    )
    assert [line.strip() for line in text.splitlines() if line.strip()] == ["a <b@c.example>", "d"]


@pytest.mark.parametrize(
    ("text", "address"),
    [("<a@b.example>", "a@b.example"), ("A <a@b.example> x", "a@b.example"), ("mailto:a@b.example", "a@b.example"),
     ("a@b.example (A Person)", "a@b.example"), ("'a@b.example'", "a@b.example"),
     ('"a b"@c.example', '"a b"@c.example')],
)  # fmt: skip
def test_addresses_are_cleaned(text, address):
    assert clean_address(text) == address


def _filled(start, more):
    return start + more * ((READ_MAX_BYTES - len(start)) // len(more))


_MULTIPART = (
    b"From: MAILER-DAEMON@x.example\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
)
_STATUS = b"--b\r\nContent-Type: message/delivery-status\r\n\r\n"
_BLOCK = (
    b"Final-Recipient: rfc822; a@b.cd\r\nAction: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; 550 %b\r\n\r\n"
)
_NOTICE = b"--b\r\nContent-Type: text/plain\r\n\r\n" + b"x y z\r\n something odd happened 5.0.0\r\n" * 700
HOSTILE = {
    "long diagnostics": (_MULTIPART + _STATUS, _BLOCK % (b"user mailbox un known <a@b.cd> http://x.y " * 20)),
    "a notice beside vague blocks": (_MULTIPART + _NOTICE + _STATUS, _BLOCK % b"oops"),
    "parts of fields": (_MULTIPART, b"--b\r\n" + b"Subject: =?utf-8?q?=41?=\r\n" * 800 + b"\r\n"),
    "fields with controls": (_MULTIPART, b"--b\r\n" + b"Subject: \x01 text that goes on\r\n" * 800 + b"\r\n"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_is_read_in_the_time_of_a_short_loop(name):
    """It is read on a worker's event loop: some 20 ms, compared with this machine at this moment."""

    def loop():
        for number in range(1_000_000):
            number.bit_length()

    content = _filled(*HOSTILE[name])
    least = min(_cpu_seconds(loop) for _ in range(3))
    assert min(_cpu_seconds(lambda: classify(content)) for _ in range(3)) < 2 * least
    assert len(classify(content).recipients) <= 100


def _cpu_seconds(call):
    begin = time.process_time()
    call()
    return time.process_time() - begin
