"""Events of every type that there is so far, from a running relay, against the skeletons of the requirements."""

import calendar
import email.utils
import json
import smtplib
import time

import pytest

from relay.mail.eicar import TEST_FILE
from tests.product import Product, Receiver, eventually
from tests.shapes import EVENTS, event_faults, faults, skeletons

pytestmark = pytest.mark.timeout(120)

KINDS = {
    "Send": "send",
    "Delivery": "delivery",
    "DeliveryDelay": "deliveryDelay",
    "Bounce": "bounce",
    "Complaint": "complaint",
    "Reject": "reject",
}
DELAYS = {
    "full": ("452 4.2.2 mailbox full", "MailboxFull"),
    "spam": ("451 4.7.1 looks like spam to us", "SpamDetected"),
    "slow": ("421 4.7.28 rate limited, too many messages from your address", "IPFailure"),
    "other": ("450 4.3.0 try again later", "RecipientServerError"),
}


def answer(verb, line):
    if verb != "RCPT":
        return None
    for word, (reply, _) in DELAYS.items():
        if f"<{word}@" in line:
            return reply
    return "550 5.1.1 no such user" if "<nobody@" in line else None


@pytest.fixture(scope="module")
def receiver():
    with Receiver(answer=answer) as made:
        yield made


@pytest.fixture(scope="module")
def relay(receiver):
    settings = {
        "streams": [{"name": "lines", "batch_age": "200ms"}],
        "delivery": {"retry": ["1h"], "lifetime": "2h"},
    }
    with Product(receiver.port, **settings) as product:
        product.run("configuration-set", "create", "all")
        product.run("event-destination", "create", "all", "lines", "--types", "all", "--stream", "lines")
        yield product


HEADER = "X-SES-CONFIGURATION-SET: all\r\nX-SES-MESSAGE-TAGS: campaign=a-b_c, other=1\r\n"


def streamed(relay, message_id, kind=None, count=1):
    """Return the records of a message that its stream has, once there are as many."""

    def look():
        found = []
        for path in sorted((relay.data_dir / "streams" / "lines").glob("2*/**/*.jsonl")):
            found += [json.loads(line) for line in path.read_bytes().splitlines()]
        own = [one for one in found if one["mail"]["messageId"] == message_id and kind in {None, one["eventType"]}]
        return len(own) >= count and own

    return eventually(look, 60, f"{count} {kind} of {message_id}")


def returned(product, path, text, at):
    with smtplib.SMTP("127.0.0.1", product.mx_port) as client:
        client.ehlo()
        client.mail("")
        assert client.rcpt(path)[0] == 250
        assert client.data(text.format(path=path, date=email.utils.formatdate(at)).encode())[0] == 250


REPORT = (
    "From: MAILER-DAEMON@remote.example\r\nTo: {path}\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
    "Date: {date}\r\n"
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
    "--b\r\nContent-Type: text/plain\r\n\r\nIt did not work.\r\n"
    "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.remote.example\r\n\r\n"
    "Final-Recipient: rfc822; late@remote.example\r\nAction: failed\r\nStatus: 5.2.2\r\n\r\n--b--\r\n"
)


@pytest.fixture(scope="module")
def sent(relay, receiver):
    """Send one message for each event that there is; message ids by what they are for."""
    made = {name: relay.send(f"{name}@remote.example", headers=HEADER) for name in (*DELAYS, "nobody", "late")}
    made["unheaded"] = _without_to(relay)
    made["complaint"] = relay.send("complaint@simulator.relay.example", headers=HEADER)
    made["bounce"] = relay.send("bounce@simulator.relay.example", headers=HEADER)
    relay.run("suppression", "add", "listed@remote.example", "--reason", "COMPLAINT")
    made["listed"] = relay.send("listed@remote.example", headers=HEADER)
    made["reject"] = relay.send("user@remote.example", headers=HEADER, body=TEST_FILE.decode() + "\r\n")
    path = eventually(lambda: [m for m in receiver.messages if m[1] == ["late@remote.example"]])[0][0]
    mail = streamed(relay, made["late"], "Delivery")[0]["mail"]
    accepted = _seconds(mail["timestamp"])
    # A date has whole seconds, and a report is not older than its message.
    made["reported"] = eventually(lambda: (now := int(time.time())) > accepted and now)
    returned(relay, path, REPORT, made["reported"])
    return made


def _without_to(relay):
    with relay.client() as client:
        client.ehlo_or_helo_if_needed()
        client.mail("app@example.com")
        client.rcpt("hidden@remote.example")
        text = (
            f"From: =?utf-8?q?B=C3=B6rse?= <app@example.com>\r\nMessage-ID: <own@example.com>\r\n{HEADER}\r\nhi\r\n"
        )
        code, reply = client.data(text.encode())
        assert code == 250, reply
        return reply.decode().split()[-1]


@pytest.mark.req("EVT-001", "EVT-002", "EVT-010", "EVT-011", "TAG-006")
def test_each_record_is_as_its_skeleton_says(relay, sent):
    wanted = {
        "late": ("Send", "Delivery", "Bounce"),
        "nobody": ("Send", "Bounce"),
        "complaint": ("Send", "Delivery", "Complaint"),
        "bounce": ("Send", "Bounce"),
        "listed": ("Send", "Complaint"),
        "reject": ("Send", "Reject"),
        "unheaded": ("Send", "Delivery"),
        **dict.fromkeys(DELAYS, ("Send", "DeliveryDelay")),
    }
    seen = set()
    for name, kinds in wanted.items():
        records = streamed(relay, sent[name], count=len(kinds))
        assert sorted(record["eventType"] for record in records) == sorted(kinds), name
        for record in records:
            assert event_faults(record) == [], name
            assert set(record) == {"eventType", "mail", KINDS[record["eventType"]]}
            tags = record["mail"]["tags"]
            assert tags["ses:configuration-set"] == ["all"]
            assert (tags["campaign"], tags["other"]) == (["a-b_c"], ["1"])
            eventually(lambda record=record: record in relay.events())
            seen.add(record["eventType"])
    assert seen == set(KINDS)


@pytest.mark.req("EVT-004", "EVT-005", "EVT-008")
def test_common_headers_are_an_object(relay, sent):
    mail = streamed(relay, sent["unheaded"], "Send")[0]["mail"]
    common = mail["commonHeaders"]
    assert common["from"] == ["Börse <app@example.com>"]
    assert common["to"] == []
    assert common["messageId"] == "<own@example.com>"
    assert mail["destination"] == ["hidden@remote.example"]
    assert mail["headersTruncated"] is False
    plain = streamed(relay, sent["nobody"], "Send")[0]["mail"]
    assert plain["commonHeaders"]["messageId"] == sent["nobody"]


@pytest.mark.req("EVT-016", "EVT-018", "EVT-019")
def test_a_delivery_may_be_followed_by_a_bounce_of_its_own(relay, sent):
    delivery = streamed(relay, sent["late"], "Delivery")[0]["delivery"]
    assert delivery["recipients"] == ["late@remote.example"]
    assert delivery["smtpResponse"].startswith("250 ")
    bounce = streamed(relay, sent["late"], "Bounce")[0]["bounce"]
    # What the report does not say is left out, not null.
    assert bounce["bouncedRecipients"] == [
        {"emailAddress": "late@remote.example", "action": "failed", "status": "5.2.2"}
    ]
    assert bounce["reportingMTA"] == "dns; mx.remote.example"


@pytest.mark.req("EVT-020")
def test_feedback_has_an_id_of_its_own_and_the_time_of_its_report(relay, sent):
    ids = set()
    for name, kind in (("late", "Bounce"), ("nobody", "Bounce"), ("complaint", "Complaint"), ("listed", "Complaint")):
        body = streamed(relay, sent[name], kind)[0][KINDS[kind]]
        assert body["feedbackId"] not in {sent[name], *ids}
        ids.add(body["feedbackId"])
    stamp = streamed(relay, sent["late"], "Bounce")[0]["bounce"]["timestamp"]
    assert stamp == time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(sent["reported"]))


@pytest.mark.req("EVT-029", "EVT-030", "EVT-031")
@pytest.mark.parametrize("name", DELAYS)
def test_a_delay_says_its_cause_its_end_and_who_reports(relay, sent, name):
    record = streamed(relay, sent[name], "DeliveryDelay")[0]
    delay = record["deliveryDelay"]
    reply, cause = DELAYS[name]
    assert delay["delayType"] == cause
    assert delay["reportingMTA"] == "127.0.0.1"
    (recipient,) = delay["delayedRecipients"]
    assert recipient["emailAddress"] == f"{name}@remote.example"
    assert recipient["status"] == reply.split()[1]
    assert reply.split(" ", 2)[2] in recipient["diagnosticCode"]
    accepted = _seconds(record["mail"]["timestamp"])
    assert abs(_seconds(delay["expirationTime"]) - accepted - 7200) < 5


def _seconds(text):
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


def test_the_skeletons_are_all_read():
    assert set(EVENTS.values()) <= set(skeletons())
    assert {"Topic envelope", "Bus envelope", "Notification Bounce", "NotifyMail", "PREFS"} <= set(skeletons())


def test_the_comparison_finds_what_is_wrong():
    good = {"eventType": "Reject", "mail": _mail(), "reject": {"reason": "Bad content"}}
    assert event_faults(good) == []
    assert event_faults(good | {"extra": 1}) == [" has extra, which nobody documented"]
    assert event_faults({"eventType": "Reject", "mail": _mail()}) == [" lacks reject"]
    assert event_faults(good | {"reject": {"reason": "Bad"}})
    assert event_faults(good | {"mail": _mail() | {"timestamp": "2026-01-01"}})
    assert event_faults(good | {"mail": _mail() | {"destination": "a@b.example"}})
    assert event_faults(good | {"mail": _mail() | {"headersTruncated": "false"}})
    assert event_faults(good | {"mail": _mail() | {"tags": {"a": "b"}}})
    assert event_faults({"eventType": "Rejected"})
    assert faults({"bounce": {}}, "Notification Bounce")
    assert faults({"complaintSubType": "Other"}, "Complaint")


def _mail():
    return {
        "timestamp": "2026-01-01T00:00:00.000Z",
        "messageId": "m",
        "source": "a@b.example",
        "sourceArn": "arn",
        "sendingAccountId": "000000000001",
        "destination": ["c@d.example"],
        "headersTruncated": False,
        "tags": {"ses:configuration-set": ["x"]},
    }
