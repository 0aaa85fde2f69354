"""What cannot be delivered: events, reports to the sender, suppressed recipients, bounces that come back."""

import smtplib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.product import Product, Receiver, eventually


def answer(verb, line):
    if verb == "RCPT" and "nobody@" in line:
        return "550 5.1.1 no such user"
    if verb == "RCPT" and "full@" in line:
        return "552 5.2.2 mailbox full"
    if verb == "RCPT" and "later@" in line:
        return "450 4.2.0 try again"
    return None


@pytest.fixture(scope="module")
def receiver():
    with Receiver(answer=answer) as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    delivery = {"retry": ["1s"], "lifetime": "3s", "retry_jitter_percent": 0}
    with Product(receiver.port, workers=2, delivery=delivery) as made:
        yield made


def reports(receiver, needle):
    return [m for m in receiver.messages if m[0] == "" and needle.encode() in m[2]]


def event_of(product, kind, message_id):
    return eventually(
        lambda: [event for event in product.events(kind) if event["mail"]["messageId"] == message_id],
        what=f"{kind} of {message_id}",
    )


@pytest.mark.req("FLOW-008", "EVT-017", "EVT-022")
def test_a_permanent_refusal_bounces_at_once_and_is_reported(product, receiver):
    message_id = product.send("nobody@remote.example")
    bounce = event_of(product, "Bounce", message_id)[0]["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "NoEmail")
    assert bounce["bouncedRecipients"][0]["emailAddress"] == "nobody@remote.example"
    assert bounce["bouncedRecipients"][0]["status"] == "5.1.1"
    assert "no such user" in bounce["bouncedRecipients"][0]["diagnosticCode"]
    report = eventually(lambda: reports(receiver, "nobody@remote.example"))[0]
    assert report[1] == ["app@example.com"]
    assert b"multipart/report" in report[2]
    assert b"Auto-Submitted: auto-" in report[2]


@pytest.mark.req("FLOW-009", "FLOW-010", "FLOW-011")
def test_a_temporary_refusal_is_retried_then_bounces_as_transient(product, receiver):
    message_id = product.send("later@remote.example")
    delays = event_of(product, "DeliveryDelay", message_id)
    assert delays[0]["deliveryDelay"]["delayedRecipients"][0]["status"] == "4.2.0"
    bounce = event_of(product, "Bounce", message_id)[0]["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Transient", "General")
    attempts = product.json("trace", message_id)["deliveries"][0]["attempts"]
    assert len(attempts) >= 3
    assert eventually(lambda: reports(receiver, "later@remote.example"))


@pytest.mark.req("EVT-023")
def test_a_full_mailbox_is_transient_even_by_a_5xx(product):
    bounce = event_of(product, "Bounce", product.send("full@remote.example"))[0]["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Transient", "MailboxFull")


@pytest.mark.req("SMTP-017")
def test_mail_of_the_null_sender_is_never_reported(product, receiver):
    message_id = product.send("nobody@null.example", sender="")
    event_of(product, "Bounce", message_id)
    product.send("nobody@marker.example")
    eventually(lambda: reports(receiver, "nobody@marker.example"))
    assert not reports(receiver, "nobody@null.example")


@pytest.mark.req("SUPP-010", "EVT-012", "EVT-025")
def test_a_suppressed_recipient_is_never_contacted(product, receiver):
    product.run("suppression", "add", "Stop@Quiet.example", "--reason", "BOUNCE")
    message_id = product.send(["stop@quiet.example", "go@quiet.example"])
    bounce = event_of(product, "Bounce", message_id)[0]["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "OnAccountSuppressionList")
    assert [r["emailAddress"] for r in bounce["bouncedRecipients"]] == ["stop@quiet.example"]
    event_of(product, "Delivery", message_id)
    assert not [m for m in receiver.messages if "stop@quiet.example" in m[1]]
    product.run("suppression", "remove", "stop@quiet.example")
    product.send("stop@quiet.example")
    eventually(lambda: [m for m in receiver.messages if "stop@quiet.example" in m[1]])


REPORT = (
    "From: MAILER-DAEMON@remote.example\r\nTo: {path}\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
    "--b\r\nContent-Type: text/plain\r\n\r\nIt did not work.\r\n"
    "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.remote.example\r\n\r\n"
    "Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    "Diagnostic-Code: smtp; 550 gone\r\n\r\n--b--\r\n"
)


def deliver_report(product, path, recipient):
    with smtplib.SMTP("127.0.0.1", product.mx_port) as client:
        client.ehlo()
        client.mail("")
        code, text = client.rcpt(path)
        if code != 250:
            return code, text
        return client.data(REPORT.format(path=path, recipient=recipient).encode())


@pytest.mark.req("FLOW-012", "SMTP-003")
def test_a_bounce_that_comes_back_is_matched_told_and_mailed_on_once(product, receiver):
    for number in range(4):  # with two workers, some arrive at the worker that does not own the message
        recipient = f"left{number}@remote.example"
        message_id = product.send(recipient)
        path = eventually(lambda r=recipient: [m for m in receiver.messages if m[1] == [r]])[0][0]
        for _ in range(2):
            assert deliver_report(product, path, recipient)[0] == 250
        bounce = event_of(product, "Bounce", message_id)[0]["bounce"]
        assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "NoEmail")
        assert bounce["bouncedRecipients"] == [
            {
                "emailAddress": recipient,
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 gone",
            }
        ]
        mailed = eventually(lambda r=recipient: reports(receiver, r))
        assert mailed[0][1] == ["app@example.com"]
        assert len([e for e in product.events("Bounce") if e["mail"]["messageId"] == message_id]) == 1


def path_of(receiver, recipient):
    """Return the return path that mail to a recipient left with."""
    return eventually(lambda: [m for m in receiver.messages if m[1] == [recipient]], what=recipient)[0][0]


def deliver(product, path, text):
    with smtplib.SMTP("127.0.0.1", product.mx_port) as client:
        client.sendmail("", [path], text.replace("\n", "\r\n").encode())


QMAIL = (
    "From: MAILER-DAEMON@mx.remote.example\nTo: {path}\nSubject: failure notice\nDate: {date}\nX-Raw: Grüße\n\n"
    "Hi. This is the qmail-send program at mx.remote.example.\nI'm afraid I wasn't able to deliver your message to"
    " the following addresses.\n\n<renamed@elsewhere.example>:\n{reply}\n"
)


@pytest.mark.req("FLOW-012", "EVT-020", "EVT-022", "EVT-023")
def test_a_bounce_in_free_form_is_told_as_one(product, receiver):
    """K14: the return path names message and recipient, whatever the text calls it; the text says why."""
    for name, reply, kind, status in (
        ("free1", "550 5.1.1 no such user", ("Permanent", "NoEmail"), "5.1.1"),
        ("free2", "the mailbox is over quota", ("Transient", "MailboxFull"), None),
        ("free3", "554 5.7.1 client host blocked using bl.lists.example", ("Transient", "General"), "5.7.1"),
    ):
        recipient = f"{name}@remote.example"
        message_id = product.send(recipient)
        path = path_of(receiver, recipient)
        sent = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
        text = QMAIL.format(path=path, reply=reply, date=format_datetime(sent))
        eventually(lambda until=sent: datetime.now(UTC) > until, what="the report's own time")
        deliver(product, path, text)
        bounce = event_of(product, "Bounce", message_id)[0]["bounce"]
        assert (bounce["bounceType"], bounce["bounceSubType"]) == kind
        (one,) = bounce["bouncedRecipients"]
        assert (one["emailAddress"], one.get("status")) == (recipient, status)
        assert reply in one["diagnosticCode"]
        assert datetime.fromisoformat(bounce["timestamp"]) == sent


@pytest.mark.req("FLOW-013", "EVT-024")
def test_automatic_replies_and_ordinary_mail_at_a_return_path_are_no_bounces(product, receiver):
    """K13: they go on to the sender as they are; nothing is counted, and nothing is answered."""
    recipient = "away@remote.example"
    message_id = product.send(recipient)
    path = path_of(receiver, recipient)
    head = f"From: {recipient}\nTo: {path}\nSubject: "
    deliver(product, path, f"{head}away\nAuto-Submitted: auto-replied\n\nI am away; user unknown here.\n")
    deliver(product, path, f"{head}Fwd: failure notice\n\n> <{recipient}>: 550 5.1.1 no such user\n")
    deliver(product, path, QMAIL.format(path=path, reply="550 5.1.1 no such user", date="x"))
    event_of(product, "Bounce", message_id)
    assert len(event_of(product, "Bounce", message_id)) == 1
    for needle in (b"I am away; user unknown here", b"Fwd: failure notice"):
        mailed = eventually(lambda n=needle: [m for m in receiver.messages if n in m[2]], what=str(needle))
        assert [(m[0], m[1]) for m in mailed] == [("", ["app@example.com"])]


@pytest.mark.req("FLOW-018")
def test_a_return_path_that_we_did_not_sign_is_refused(product, receiver):
    product.send("token@remote.example")
    path = eventually(lambda: [m for m in receiver.messages if m[1] == ["token@remote.example"]])[0][0]
    local, _, domain = path.partition("@")
    forged = local[:-3] + ("aaa" if local[-3:] != "aaa" else "bbb")
    assert deliver_report(product, f"{forged}@{domain}", "x@y.example")[0] == 550
    assert deliver_report(product, f"anything@{domain}", "x@y.example")[0] == 550


@pytest.mark.req("SMTP-003")
def test_the_mx_listener_relays_for_nobody(product):
    code, text = deliver_report(product, "someone@remote.example", "x@y.example")
    assert (code, text) == (530, b"Authentication required")


def test_postmaster_of_our_own_domains_reaches_the_contact(product, receiver):
    assert deliver_report(product, "postmaster@relay.example", "x@y.example")[0] == 250
    eventually(lambda: [m for m in receiver.messages if m[1] == ["postmaster@relay.example"]])
