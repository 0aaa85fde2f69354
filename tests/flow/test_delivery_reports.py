"""RFC 3461 from outside: what a sender asks to be told is passed on, or told by the relay, or not told at all."""

import email
import email.policy
import smtplib

import pytest

from relay.mail.reading.status import read_report
from tests.product import Product, Receiver, eventually

SUBMITTER = "app@example.com"


class Hop(Receiver):
    """A receiver that notes its commands; `offer` are the extensions of its EHLO answer."""

    def __init__(self, *offer, refuse=None):
        self.lines = []
        self.refuse = refuse or {}
        self.offer = "\r\n".join(["250-receiver", *(f"250-{line}" for line in offer), "250 8BITMIME"])
        super().__init__(answer=self.reply)

    def reply(self, verb, line):
        self.lines.append(line)
        if verb == "EHLO":
            return self.offer
        return self.refuse.get(line.partition("<")[2].partition("@")[0]) if verb == "RCPT" else None

    def said(self, text):
        """Return the commands that mention a text, once there are any."""
        return eventually(lambda: [line for line in self.lines if text in line], what=text)

    def transactions(self):
        return [line for line in self.lines if line.startswith("MAIL")]


@pytest.fixture(scope="module")
def plain():
    refuse = {"gone": "550 5.1.1 no such user", "slow": "451 4.2.1 later"}
    with Hop("PIPELINING", refuse=refuse) as made:
        yield made


@pytest.fixture(scope="module")
def able():
    with Hop("PIPELINING", "DSN", "DELIVERBY 10", "LIMITS RCPTMAX=3 MAILMAX=2") as made:
        yield made


@pytest.fixture(scope="module")
def product(plain, able):
    routes = [
        {"domain": "able.example", "smarthost": f"127.0.0.1:{able.port}"},
        {"domain": "*.kept.example", "smarthost": f"127.0.0.1:{able.port}", "return_path": "original"},
        {"domain": "*", "smarthost": f"127.0.0.1:{plain.port}"},
    ]
    delivery = {"retry": ["1s"], "delay_report_after": "1s", "lifetime": "1h"}
    with Product(routes=routes, delivery=delivery) as made:
        yield made


def submit(product, recipients, mail=(), body="Hello\r\n", sender=SUBMITTER):
    """Submit a message to recipients, each with the parameters of its RCPT; return its id."""
    client = product.client()
    with client:
        client.ehlo_or_helo_if_needed()
        assert client.mail(sender, mail)[0] == 250
        for recipient, parameters in recipients.items():
            code, answer = client.rcpt(recipient, parameters)
            assert code == 250, answer
        text = f"From: {SUBMITTER}\r\nTo: {', '.join(recipients)}\r\nSubject: told\r\n\r\n{body}"
        code, answer = client.data(text.encode())
        assert code == 250, answer
        return answer.decode().split()[-1]


def reports(plain, message_id):
    """Return the reports about a message that its sender got."""
    return [data for _, to, data in plain.messages if to == [SUBMITTER] and message_id.encode() in data]


def one_report(plain, message_id):
    return eventually(lambda: reports(plain, message_id), what="a report")[0]


def over(product, message_id):
    """Wait until no delivery of a message is queued."""
    eventually(
        lambda: all(one["state"] != "queued" for one in product.json("trace", message_id)["deliveries"]),
        what="the end of the message",
    )


def no_report(product, plain, message_id):
    """Make sure that no report was written: those that are on their way arrive before the next message does."""
    over(product, message_id)
    mark = submit(product, {"mark@plain.example": []})
    eventually(lambda: [data for _, _, data in plain.messages if mark.encode() in data], what="the mark")
    none_waits(product)
    assert reports(plain, message_id) == []


def none_waits(product):
    """Wait until no report to the submitter is queued."""
    eventually(
        lambda: all(row["recipient"] != SUBMITTER for row in product.rows("queue", "list")),
        what="no report that waits",
    )


def test_a_host_without_dsn_is_reported_as_the_end(product, plain):
    """RFC 3461 section 5.2.2 and 6: relayed, with the identifiers of the submitter, headers only."""
    asked = ["NOTIFY=SUCCESS", "ORCPT=rfc822;List+2BOwner@example.org"]
    message_id = submit(product, {"ok@plain.example": asked}, ["RET=FULL", "ENVID=QQ+2B314159"])
    report = one_report(plain, message_id)
    (sender, _, _), *_ = [one for one in plain.messages if one[2] == report]
    assert sender == ""
    parsed = email.message_from_bytes(report, policy=email.policy.default)
    assert parsed["Auto-Submitted"] == "auto-generated"
    text, status, original = parsed.iter_parts()
    assert "handed to the mail systems" in text.get_content()
    assert original.get_content_type() == "text/rfc822-headers"
    message, recipient = status.get_payload()
    assert message["Original-Envelope-Id"] == "QQ+314159"
    assert recipient["Original-Recipient"] == "rfc822; List+Owner@example.org"
    assert (recipient["Action"], recipient["Status"][0]) == ("relayed", "2")
    assert recipient["Final-Recipient"] == "rfc822; ok@plain.example"
    assert all("NOTIFY" not in line and "RET=" not in line for line in plain.lines)
    product.wait_event("Delivery")


def test_a_host_with_dsn_is_told_and_reports_itself(product, plain, able):
    """Section 5.2.1, with a return path of the relay: failures are always wanted there."""
    asked = ["NOTIFY=SUCCESS,DELAY", "ORCPT=utf-8;\\x{E4}@example.org"]
    message_id = submit(product, {"told@able.example": asked}, ["RET=HDRS", "ENVID=id1"])
    (rcpt,) = able.said("told@able.example")
    assert rcpt == "RCPT TO:<told@able.example> NOTIFY=SUCCESS,DELAY,FAILURE ORCPT=utf-8;\\x{E4}@example.org"
    (mail,) = able.said("ENVID=id1")
    assert mail.endswith(" RET=HDRS ENVID=id1")
    return_path = mail.partition("<")[2].partition(">")[0]
    assert return_path.endswith("@bounce.relay.example")
    over(product, message_id)
    eventually(lambda: able.messages)
    assert reports(plain, message_id) == []
    # What the host reports later comes to the return path, and goes on to the sender, once.
    report = success_report("told@able.example")
    for _ in range(2):
        with smtplib.SMTP("127.0.0.1", product.mx_port, timeout=30) as remote:
            remote.sendmail("", [return_path], report)
    eventually(lambda: [data for _, to, data in plain.messages if to == [SUBMITTER] and b"x-success-mark" in data])
    metrics = eventually(lambda: (text := product.metrics()) and 'result="repeat"' in text and text)
    assert "relay_feedback_total" in metrics
    assert len([data for _, _, data in plain.messages if b"x-success-mark" in data]) == 1


def success_report(recipient, action="delivered"):
    return (
        "From: MAILER-DAEMON@able.example\r\nTo: <>\r\nSubject: x-success-mark\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nDelivered.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; able.example\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: 2.0.0\r\n\r\n--b--\r\n"
    )


def test_a_report_that_nobody_asked_for_ends_here(product, plain, able):
    """K06: with NEVER nothing goes on, though the host was asked for failures."""
    message_id = submit(product, {"quiet@able.example": ["NOTIFY=NEVER"]}, ["ENVID=quiet"])
    (rcpt,) = able.said("quiet@able.example")
    assert rcpt.endswith(" NOTIFY=FAILURE")
    (mail,) = able.said("ENVID=quiet")
    over(product, message_id)
    return_path = mail.partition("<")[2].partition(">")[0]
    for action in ("delivered", "delayed", "failed"):
        with smtplib.SMTP("127.0.0.1", product.mx_port, timeout=30) as remote:
            remote.sendmail("", [return_path], success_report("quiet@able.example", action).replace("2.0.0", "5.0.0"))
    product.wait_event("Bounce")
    no_report(product, plain, message_id)


def test_a_route_that_keeps_the_return_path_passes_everything_on(product, able):
    """Section 5.2.1: unchanged, several recipients at once, within the limits that the host announces (RFC 9422)."""
    asked = {f"u{index}@a.kept.example": ["NOTIFY=NEVER" if index % 2 else "NOTIFY=DELAY"] for index in range(7)}
    message_id = submit(product, asked, ["RET=FULL", "ENVID=kept"])
    over(product, message_id)
    sent = [message for message in able.messages if message[0] == SUBMITTER]
    assert sorted(to for _, each, _ in sent for to in each) == sorted(asked)
    assert max(len(each) for _, each, _ in sent) == 3
    rcpts = [line for line in able.lines if "@a.kept.example" in line and line.startswith("RCPT")]
    assert sorted(rcpts) == sorted(f"RCPT TO:<{to}> {parameters[0]}" for to, parameters in asked.items())
    # MAILMAX: never more than two transactions on a connection, which are kept and used again otherwise.
    mails, sessions = (sum(line.startswith(verb) for line in able.lines) for verb in ("MAIL", "EHLO"))
    assert mails <= 2 * sessions


@pytest.mark.parametrize(("ret", "whole"), [("RET=FULL", True), ("RET=HDRS", False), ("", False)])
def test_failures_return_what_was_asked_for(product, plain, ret, whole):
    """Section 4.3."""
    mail = [ret] if ret else []
    message_id = submit(product, {"gone@plain.example": ["NOTIFY=FAILURE"]}, mail, body="the secret body\r\n")
    report = one_report(plain, message_id)
    assert (b"the secret body" in report) == whole
    read = read_report(report)
    assert [(one.action, one.status) for one in read.recipients] == [("failed", "5.1.1")]


def test_a_large_message_never_comes_back_whole(product, plain):
    """K07."""
    body = "".join(f"{'x' * 76}\r\n" for _ in range(4000))
    message_id = submit(product, {"gone@plain.example": []}, ["RET=FULL"], body=body)
    assert len(one_report(plain, message_id)) < 20_000


def test_nobody_is_told_who_does_not_want_to_be(product, plain):
    """K06, and RFC 3461 section 4.1: the event is written all the same."""
    before = len(product.events("Bounce"))
    message_id = submit(product, {"gone@plain.example": ["NOTIFY=NEVER"], "ok@plain.example": ["NOTIFY=FAILURE"]})
    product.wait_event("Bounce", before + 1)
    no_report(product, plain, message_id)


def test_without_a_word_only_failures_are_told(product, plain):
    """What holds without DSN parameters: as ever."""
    message_id = submit(product, {"gone@plain.example": [], "ok@plain.example": []})
    over(product, message_id)
    report = read_report(one_report(plain, message_id))
    assert [one.address for one in report.recipients] == ["gone@plain.example"]
    assert len(reports(plain, message_id)) == 1


def test_a_delay_is_told_once(product, plain):
    """H14: one report of the delay however many attempts fail, then the failure."""
    message_id = submit(product, {"slow@plain.example": ["NOTIFY=DELAY,FAILURE"]}, ["ENVID=slow"])
    report = one_report(plain, message_id)
    parsed = email.message_from_bytes(report, policy=email.policy.default)
    message, recipient = next(
        part for part in parsed.walk() if part.get_content_type().endswith("-status")
    ).get_payload()
    assert message["Original-Envelope-Id"] == "slow"
    assert (recipient["Action"], recipient["Status"]) == ("delayed", "4.2.1")
    assert recipient["Will-Retry-Until"]
    attempts = product.json("trace", message_id)["deliveries"][0]["attempts"]
    eventually(
        lambda: len(product.json("trace", message_id)["deliveries"][0]["attempts"]) >= len(attempts) + 2,
        60,
        "further attempts",
    )
    assert len(reports(plain, message_id)) == 1
    product.run("queue", "delete", message_id, "--yes")


def test_the_null_sender_is_told_nothing(product, plain):
    """No report about a report, whatever it asks for."""
    before = len(product.events("Bounce"))
    message_id = submit(product, {"gone@plain.example": ["NOTIFY=SUCCESS,FAILURE,DELAY"]}, sender="")
    product.wait_event("Bounce", before + 1)
    no_report(product, plain, message_id)


def test_strangers_cause_no_reports(product, plain):
    """K05: the mx listener offers DSN to those who authenticate; who does not gets no report, forged or not."""
    with smtplib.SMTP("127.0.0.1", product.mx_port, timeout=30) as stranger:
        stranger.ehlo()
        assert stranger.has_extn("dsn")
        assert stranger.mail("victim@plain.example", ["RET=FULL"])[0] == 250
        assert stranger.rcpt("postmaster@relay.example", ["NOTIFY=SUCCESS,FAILURE,DELAY"])[0] == 250
        assert stranger.data(b"From: x@plain.example\r\nSubject: forged\r\n\r\nx\r\n")[0] == 250
    eventually(lambda: [data for _, _, data in plain.messages if b"Subject: forged" in data], what="the mail itself")
    none_waits(product)
    assert [to for _, to, _ in plain.messages if to == ["victim@plain.example"]] == []


def test_the_simulator_reports_as_asked(product, plain):
    host = "simulator.amazonses.com"
    told = submit(product, {f"success@{host}": ["NOTIFY=SUCCESS"], f"bounce@{host}": ["NOTIFY=NEVER"]})
    report = read_report(one_report(plain, told))
    assert [(one.address, one.action) for one in report.recipients] == [(f"success@{host}", "delivered")]
    over(product, told)
    assert len(reports(plain, told)) == 1


def test_a_time_limit_returns_the_message(product, plain, able):
    """RFC 2852: R ends the message's time, and a host that offers DELIVERBY hears what is left of it."""
    message_id = submit(product, {"slow@plain.example": []}, ["BY=3;R"])
    report = read_report(one_report(plain, message_id))
    assert [(one.action, one.status[0]) for one in report.recipients] == [("failed", "5")]
    submit(product, {"ok@able.example": []}, ["BY=600;R", "ENVID=by600"])
    (mail,) = able.said("ENVID=by600")
    assert 590 <= int(mail.partition("BY=")[2].partition(";")[0]) <= 600
    assert mail.endswith(";R")
    submit(product, {"ok@able.example": []}, ["BY=5;R", "ENVID=by5"])
    (mail,) = able.said("ENVID=by5")
    assert "BY=" not in mail  # less than the host takes: the relay sees to it


def test_a_time_limit_tells_of_the_delay_and_of_each_hop(product, plain):
    """RFC 2852: N reports that the time is over, T that the message was handed on; NEVER stands above both."""
    late = submit(product, {"slow@plain.example": []}, ["BY=2;N"])
    report = read_report(one_report(plain, late))
    assert [one.action for one in report.recipients] == ["delayed"]
    product.run("queue", "delete", late, "--yes")
    traced = submit(product, {"ok@plain.example": []}, ["BY=600;RT"])
    assert [one.action for one in read_report(one_report(plain, traced)).recipients] == ["relayed"]
    silent = submit(product, {"ok@plain.example": ["NOTIFY=NEVER"]}, ["BY=600;NT"])
    no_report(product, plain, silent)
