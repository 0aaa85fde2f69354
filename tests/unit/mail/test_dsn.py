"""Reports: what is written can be read, by us and by the standard library; hostile ones are None or bounded."""

import email
import email.policy
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.classify import classify
from relay.mail.dsn import RecipientStatus, cut_head, fold
from relay.mail.feedback import Cause, status_of, write_feedback
from relay.mail.headers import parse_head
from relay.mail.reading.status import read_report
from relay.mail.scan import scan_body
from relay.model.outcome import Outcome, Stage, Verdict
from tests.unit.mail.messages import HEAD, MESSAGE_ID, NOW_MS, message

REPORT_ID = MESSAGE_ID.replace("0193", "0194", 1)
OUTCOME = Outcome(
    Verdict.PERMANENT, Stage.RCPT, 550, "5.1.1", "No such\x00 user é " + "x " * 400, remote_host="mx.rcpt.example"
)


def feedback(cause=Cause.FAILED, recipients=None, head=HEAD, sender="app@sender.example"):
    recipients = recipients or [status_of("someone@rcpt.example", OUTCOME)]
    return write_feedback(cause, message(sender), recipients, head, "relay.example", REPORT_ID, NOW_MS)


def whole(mail):
    return mail.content.head + mail.content.body


@pytest.mark.req("HDR-021")
@pytest.mark.parametrize("cause", list(Cause))
def test_report_is_a_proper_message(cause):
    mail = feedback(cause)
    assert mail.recipient == "app@sender.example"
    assert not mail.smtputf8
    assert whole(mail).isascii()
    assert scan_body(mail.content.body) == mail.facts
    assert mail.facts.longest_line_bytes <= 998
    assert not any(byte in whole(mail).replace(b"\r\n", b"") for byte in (b"\r", b"\n", b"\0"))
    fields = parse_head(mail.content.head)
    assert isinstance(fields, list)
    parsed = email.message_from_bytes(whole(mail), policy=email.policy.default)
    assert not parsed.defects
    assert parsed.get_content_type() == "multipart/report"
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["To"].addresses[0].addr_spec == "app@sender.example"
    kinds = [part.get_content_type() for part in parsed.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    assert "someone@rcpt.example" in next(parsed.iter_parts()).get_content()


@pytest.mark.req("EVT-019")
def test_written_report_is_read_back():
    report = read_report(whole(feedback()))
    assert report.reporting_mta == "dns; relay.example"
    (one,) = report.recipients
    assert (one.address, one.action, one.status, one.remote_mta) == (
        "someone@rcpt.example", "failed", "5.1.1", "dns; mx.rcpt.example",
    )  # fmt: skip
    assert one.diagnostic.startswith("smtp; 550 5.1.1 No such? user ? x x")
    assert [field.key for field in report.original] == [field.key for field in parse_head(HEAD)]


def test_status_class_is_permanent():
    late = Outcome(Verdict.TEMPORARY, Stage.CONNECT, 0, "4.4.1", "timed out")
    assert status_of("a@b.example", late, Cause.EXPIRED).status == "5.4.1"
    assert (
        status_of("a@b.example", Outcome(Verdict.TEMPORARY, Stage.RCPT, 450, "", "x"), Cause.EXPIRED).status
        == "5.4.7"
    )


def test_original_body_never_comes_back_and_heads_are_cut():
    mail = feedback(head=b"Subject: x\r\n" + (b"X-B: " + b"z" * 900 + b"\r\n") * 200 + b"\r\n")
    assert len(whole(mail)) < 40_000
    assert len(cut_head(b"X: " + b"y" * 100_000 + b"\r\n\r\n")) <= 32 * 1024
    assert cut_head(HEAD) is HEAD


def test_utf8_is_reported_in_ascii():
    mail = feedback(recipients=[RecipientStatus("jö@b.example")], head="Subject: Grüße\r\n\r\n".encode())
    assert whole(mail).isascii()
    report = read_report(whole(mail))
    assert report.recipients[0].address == "jö@b.example"
    assert report.original[0].value == "Grüße".encode()
    assert feedback(sender="jö@b.example").smtputf8


def test_many_recipients_are_cut():
    mail = feedback(recipients=[RecipientStatus(f"a{n}@b.example") for n in range(1000)])
    assert len(read_report(whole(mail)).recipients) == 100
    assert b"and 900 more" in mail.content.body


def test_fold_keeps_words():
    assert fold("a b").split() == ["a", "b"]
    folded = fold("word " * 100)
    assert max(map(len, folded.split("\r\n"))) <= 78
    assert folded.split() == ["word"] * 100


POSTFIX = b"""Return-Path: <>\r
From: MAILER-DAEMON@mx.example (Mail Delivery System)\r
Subject: Undelivered Mail Returned to Sender\r
To: token@bounce.relay.example\r
Auto-Submitted: auto-replied\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status;\r
\tboundary="4XyZ.1/mx.example"\r
\r
This is a MIME-encapsulated message.\r
\r
--4XyZ.1/mx.example\r
Content-Description: Notification\r
Content-Type: text/plain; charset=us-ascii\r
\r
I'm sorry.\r
\r
--4XyZ.1/mx.example\r
Content-Description: Delivery report\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.example\r
X-Postfix-Queue-ID: 4XyZ\r
Arrival-Date: Mon, 23 Nov 2026 03:38:23 +0000 (UTC)\r
\r
Final-Recipient: rfc822; someone@rcpt.example\r
Original-Recipient: rfc822;someone@rcpt.example\r
Action: ACTION\r
Status: STATUS\r
Remote-MTA: dns; inner.rcpt.example\r
Diagnostic-Code: smtp; DIAGNOSTIC\r
\r
--4XyZ.1/mx.example\r
Content-Description: Undelivered Message\r
Content-Type: message/rfc822\r
\r
Received: by relay.example (Relay) with ESMTPSA\r
\tid MESSAGEID; Mon, 23 Nov 2026 03:38:23 +0000\r
From: app@sender.example\r
\r
Body.\r
\r
--4XyZ.1/mx.example--\r
"""


def postfix(action=b"failed", status=b"5.1.1", diagnostic=b"550 5.1.1 user unknown"):
    filled = POSTFIX.replace(b"ACTION", action).replace(b"STATUS", status).replace(b"DIAGNOSTIC", diagnostic)
    return filled.replace(b"MESSAGEID", MESSAGE_ID.encode())


@pytest.mark.req("EVT-019", "FLOW-012")
def test_bounce_is_classified():
    assert classify(postfix()).as_json() == {
        "kind": "bounce",
        "messageId": MESSAGE_ID,
        "recipients": [
            {
                "emailAddress": "someone@rcpt.example",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 user unknown",
            }
        ],
        "bounceType": "Permanent",
        "bounceSubType": "NoEmail",
        "complaintFeedbackType": None,
        "rule": "RFC 3464 bounce: no-such-mailbox (status 1.1)",
    }
    assert classify(postfix().replace(b"\r\n", b"\n")) == classify(postfix())


@pytest.mark.parametrize(
    ("action", "status", "diagnostic", "kind", "bounce"),
    [
        (b"delayed", b"4.4.1", b"connect timed out", "delay", None),
        (b"delivered", b"2.0.0", b"250 ok", "success", None),
        (b"relayed", b"2.0.0", b"250 ok", "success", None),
        (b"Failed (x)", b"5.2.2", b"552 5.2.2 full", "bounce", "MailboxFull"),
        (b"failed", b"4.4.7", b"expired", "bounce", "General"),
        (b"failed", b"nonsense", b"nonsense", "bounce", "Undetermined"),
        (b"unheard-of", b"5.0.0", b"x", "none", None),
    ],
)
def test_actions(action, status, diagnostic, kind, bounce):
    found = classify(postfix(action, status, diagnostic))
    assert found.kind == kind
    assert (found.bounce.bounce_sub_type if found.bounce else None) == bounce


ARF = (
    b"From: fbl@provider.example\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nA complaint.\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\n"
    b"Feedback-Type: abuse\r\nUser-Agent: Provider/1.0\r\nVersion: 1\r\nOriginal-Rcpt-To: <someone@rcpt.example>\r\n"
    b"Arrival-Date: Mon, 23 Nov 2026 03:38:23 +0000\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b"From: app@sender.example\r\nMessage-ID: <" + MESSAGE_ID.encode() + b"@relay.example>\r\n\r\nBody\r\n--b--\r\n"
)


def test_complaint_is_classified():
    found = classify(ARF)
    assert (found.kind, found.message_id, found.rule) == ("complaint", MESSAGE_ID, "RFC 5965")
    assert found.as_json()["complaintFeedbackType"] == "abuse"
    assert found.recipients[0].address == "someone@rcpt.example"
    assert found.complaint.user_agent == "Provider/1.0"
    assert classify(ARF.replace(b": abuse", b": strange")).complaint.feedback_type == "other"


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        (b"Auto-Submitted: auto-replied", "auto-reply"),
        (b"Auto-Submitted: no", "none"),
        (b"X-Autoreply: yes", "auto-reply"),
        (b"Precedence: auto_reply", "auto-reply"),
        (b"Subject: Out of office: back soon", "auto-reply"),
        (b"Subject: Automatic reply: x", "auto-reply"),
        (b"Subject: hello", "none"),
    ],
)
def test_automatic_replies(field, kind):
    assert classify(b"From: a@b.example\r\n" + field + b"\r\n\r\nI am away.\r\n").kind == kind


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\r\n",
        b"\x00" * 1000,
        b"no head",
        b"A: b\r\n" * 300_000,
        POSTFIX.replace(b"Final-Recipient", b"Final"),
        POSTFIX.replace(b"4XyZ.1/mx.example\r\n", b"other\r\n"),
        POSTFIX.replace(b"Action:", b"Action" + b"x" * 500_000 + b":"),
        POSTFIX.replace(b"\r\nFinal-Recipient", b"\r\nFinal-Recipient: rfc822; a@b\r\n\r\nFinal-Recipient" * 50_000),
        POSTFIX.replace(b"--4XyZ.1/mx.example\r\n", b"--4XyZ.1/mx.example\r\n\r\n" * 20_000),
        POSTFIX * 5000,
        ARF.replace(b"Original-Rcpt-To", b"Original-Rcpt-To: <x@y>\r\nOriginal-Rcpt-To" * 20_000),
    ],
    ids=range(12),
)
def test_hostile_reports_cost_little(hostile):
    begun = time.process_time()
    found = classify(hostile)
    assert len(found.recipients) <= 1000
    assert time.process_time() - begun < 10  # linear; what is not takes minutes


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_reports_are_values(data):
    source = bytearray(data.draw(st.sampled_from([postfix(), ARF])))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(source) - 1))
        source[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=6))
    assert classify(bytes(source)).kind in {"bounce", "delay", "complaint", "auto-reply", "success", "none"}
