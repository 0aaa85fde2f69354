"""Feedback that is mailed to senders, or not, as their identities say; complaints of feedback loops."""

import smtplib

import pytest

from tests.product import Product, Receiver, eventually


def answer(verb, line):
    return "550 5.1.1 no such user" if verb == "RCPT" and "nobody" in line else None


@pytest.fixture(scope="module")
def receiver():
    with Receiver(answer=answer) as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Product(receiver.port, workers=2) as made:
        yield made


@pytest.fixture
def settings(product):
    """Change the notifications of the identity; everything is as before afterwards."""
    yield lambda *words: product.json("identity", "notifications", "set", "example.com", *words)
    product.run("identity", "notifications", "set", "example.com", "--forwarding", "--bounce-topic", "none")


def mailed(receiver, needle, *, to="app@example.com"):
    return [m for m in receiver.messages if m[0] == "" and m[1] == [to] and needle.encode() in m[2]]


def event_of(product, kind, message_id):
    return eventually(
        lambda: [event for event in product.events(kind) if event["mail"]["messageId"] == message_id],
        what=f"{kind} of {message_id}",
    )


def told_meanwhile(product, receiver, needle):
    """Say whether feedback was mailed that must have come before that of a later message."""
    product.run("identity", "notifications", "set", "example.com", "--forwarding")
    product.send("nobody@marker.example")
    eventually(lambda: mailed(receiver, "nobody@marker.example"))
    return bool(mailed(receiver, needle))


@pytest.mark.req("NOTIF-002", "NOTIF-009", "NOTIF-011")
def test_forwarding_is_on_and_off_only_where_somebody_else_is_told(product, receiver, settings):
    shown = product.json("identity", "notifications", "show", "example.com")
    assert shown["ForwardingEnabled"] is True
    product.send("nobody1@remote.example")
    eventually(lambda: mailed(receiver, "nobody1@remote.example"))

    settings("--no-forwarding")  # nobody else is told, so it is mailed all the same
    product.send("nobody2@remote.example")
    eventually(lambda: mailed(receiver, "nobody2@remote.example"))


def arf(original, *, recipient="", author="fbl@provider.example", kind="abuse", path=""):
    rcpt = f"Original-Rcpt-To: <{recipient}>\r\n" if recipient else ""
    rcpt += f"Original-Mail-From: <{path}>\r\n" if path else ""
    return (
        (
            f"From: <{author}>\r\nTo: <fbl@relay.example>\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
            "--b\r\nContent-Type: text/plain\r\n\r\nThis is a complaint.\r\n"
            "--b\r\nContent-Type: message/feedback-report\r\n\r\n"
            f"Feedback-Type: {kind}\r\nUser-Agent: Loop/2.0\r\nVersion: 1\r\n{rcpt}"
            "Arrival-Date: Thu, 26 Nov 2026 01:00:00 +0000\r\n\r\n"
            "--b\r\nContent-Type: message/rfc822\r\n\r\n"
        ).encode()
        + original
        + b"\r\n--b--\r\n"
    )


def report(product, content, to="fbl@relay.example"):
    with smtplib.SMTP("127.0.0.1", product.mx_port) as client:
        client.ehlo()
        client.mail("")
        assert client.rcpt(to)[0] == 250
        assert client.data(content)[0] == 250


def left(receiver, recipient):
    return eventually(lambda: [m for m in receiver.messages if m[1] == [recipient]])[0]


@pytest.mark.req("NOTIF-004", "NOTIF-008")
def test_a_bounce_goes_to_the_mail_from_with_the_header_section_and_not_the_body(product, receiver):
    headers = "X-Order: 4711\r\nX-SES-MESSAGE-TAGS: a=b\r\n"
    product.send("nobody3@remote.example", "the words of it\r\n", headers, sender="returns@example.com")
    (mail,) = eventually(lambda: mailed(receiver, "nobody3@remote.example", to="returns@example.com"))
    assert b"From: App <app@example.com>" in mail[2]
    assert b"X-Order: 4711" in mail[2]
    assert b"the words of it" not in mail[2]
    assert mailed(receiver, "nobody3@remote.example", to="app@example.com") == []


@pytest.mark.req("NOTIF-004", "NOTIF-007")
def test_a_complaint_goes_to_the_mail_from_and_original_return_paths_say_nothing(product, receiver):
    paths = set()
    for _ in range(2):
        product.send("cross@provider.example", sender="returns@example.com")
    mails = eventually(
        lambda: len(found := [m for m in receiver.messages if m[1] == ["cross@provider.example"]]) == 2 and found
    )
    for path, _, _ in mails:
        local, _, domain = path.partition("@")
        assert domain == "bounce.relay.example"
        assert not any(word in local for word in ("cross", "provider", "returns"))
        assert local.isalnum()
        paths.add(path)
    assert len(paths) == 2
    report(product, arf(f"Return-Path: <{mails[0][0]}>\r\n".encode() + mails[0][2]))
    eventually(lambda: mailed(receiver, "This is a complaint", to="returns@example.com"))


@pytest.mark.req("EVT-020", "EVT-026", "NOTIF-007", "NOTIF-008")
def test_a_complaint_with_our_return_path_is_told_once_and_mailed_on(product, receiver):
    for number in range(3):  # with two workers, some arrive at the worker that does not own the message
        recipient = f"angry{number}@provider.example"
        message_id = product.send(recipient)
        path, _, content = left(receiver, recipient)
        original = f"Return-Path: <{path}>\r\n".encode() + content
        for _ in range(2):
            report(product, arf(original))
        event = event_of(product, "Complaint", message_id)[0]
        complaint = event["complaint"]
        assert complaint["complainedRecipients"] == [{"emailAddress": recipient}]
        assert complaint["complaintFeedbackType"] == "abuse"
        assert complaint["userAgent"] == "Loop/2.0"
        assert complaint["arrivalDate"] == "2026-11-26T01:00:00.000Z"
        assert complaint["complaintSubType"] is None
        assert complaint["feedbackId"] != message_id
        mail = eventually(
            lambda r=recipient: mailed(receiver, f"for <{r}>") or mailed(receiver, "This is a complaint")
        )
        text = mail[-1][2]
        assert b"From: Mail Delivery System <MAILER-DAEMON@relay.example>" in text
        assert b"X-Original-From: <fbl@provider.example>" in text
        assert b"This is a complaint." in text
        assert len(event_of(product, "Complaint", message_id)) == 1


@pytest.mark.req("EVT-028", "FLOW-014")
def test_a_redacted_complaint_is_about_those_at_the_reporter(product, receiver):
    message_id = product.send(["one@provider.example", "two@provider.example", "three@other.example"])
    left(receiver, "three@other.example")
    original = f"Message-ID: <{message_id}@relay.example>\r\nSubject: x\r\n\r\nbody\r\n".encode()
    report(product, arf(original))
    found = event_of(product, "Complaint", message_id)[0]["complaint"]["complainedRecipients"]
    assert [one["emailAddress"] for one in found] == ["one@provider.example", "two@provider.example"]


@pytest.mark.req("EVT-028")
def test_a_complaint_may_name_the_return_path_beside_the_original(product, receiver):
    message_id = product.send(["first@provider.example", "second@provider.example"])
    path = left(receiver, "second@provider.example")[0]
    original = b"Subject: all names are taken out\r\n\r\nbody\r\n"
    report(product, arf(original, path=path))
    found = event_of(product, "Complaint", message_id)[0]["complaint"]["complainedRecipients"]
    assert [one["emailAddress"] for one in found] == ["second@provider.example"]


def test_a_report_that_names_its_recipient_is_about_that_one(product, receiver):
    message_id = product.send(["named@provider.example", "unnamed@provider.example"])
    left(receiver, "unnamed@provider.example")
    original = f"Message-ID: <{message_id}@relay.example>\r\nSubject: x\r\n\r\nbody\r\n".encode()
    report(product, arf(original, recipient="Named@Provider.example"), to="abuse@relay.example")
    found = event_of(product, "Complaint", message_id)[0]["complaint"]["complainedRecipients"]
    assert [one["emailAddress"] for one in found] == ["named@provider.example"]


@pytest.mark.req("NOTIF-016")
def test_a_complaint_written_by_hand_goes_to_the_contact_and_is_no_event(product, receiver):
    text = b"From: <somebody@remote.example>\r\nSubject: stop writing to me\r\n\r\nPlease.\r\n"
    report(product, text, to="abuse@relay.example")
    eventually(lambda: [m for m in receiver.messages if b"stop writing to me" in m[2]])
    strange = arf(b"Message-ID: <ffff0199bb1ab1c0-00000000-0000-4000-8000-000000000000-000000@relay.example>\r\n\r\n")
    report(product, strange)  # of no message of ours, of a shard that is nowhere: nothing happens, nothing waits
    report(product, arf(b"Subject: whose is it\r\n\r\nx\r\n"))
    eventually(lambda: [m for m in receiver.messages if b"whose is it" in m[2]])


@pytest.mark.req("NOTIF-009", "NOTIF-010")
def test_with_a_topic_and_without_forwarding_nothing_is_mailed(product, receiver, settings):
    product.run("topic", "create", "bounces")
    settings("--no-forwarding", "--bounce-topic", "arn:aws:sns:local-1:000000000001:bounces")
    message_id = product.send("nobody3@remote.example")
    event_of(product, "Bounce", message_id)
    assert not told_meanwhile(product, receiver, "nobody3@remote.example")


@pytest.mark.req("NOTIF-012")
def test_headers_are_chosen_by_kind(product, settings):
    shown = settings("--headers", "bounce,delivery")
    assert shown["HeadersInBounceNotificationsEnabled"] is True
    assert shown["HeadersInComplaintNotificationsEnabled"] is False
    assert product.run(
        "identity", "notifications", "set", "example.com", "--headers", "opens", check=False
    ).returncode
    assert settings("--headers", "none")["HeadersInDeliveryNotificationsEnabled"] is False
    assert product.run("identity", "notifications", "show", "unknown.example", check=False).returncode
