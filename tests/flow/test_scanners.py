"""Messages with bad content, from outside: accepted, scanned before the first attempt, delivered to nobody."""

import base64
import json
import os
import quopri
import signal

import pytest

from relay.mail.eicar import TEST_FILE
from tests.product import Product, Receiver, eventually
from tests.scanners import Clamd, Rspamd

pytestmark = pytest.mark.timeout(120)

RETRY = {"retry": ["500ms"], "retry_jitter_percent": 0}


def attachment(encoding, data):
    """Return header fields and body of a message with a file."""
    fields = 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="part"\r\n'
    text = "--part\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n"
    label = f"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: {encoding}\r\n"
    name = 'Content-Disposition: attachment; filename="sample.txt"\r\n\r\n'
    return fields, f"{text}--part\r\n{label}{name}{data}\r\n--part--\r\n"


def based(data):
    return base64.encodebytes(data).decode().replace("\n", "\r\n")


def quoted(data):
    return quopri.encodestring(data).decode().replace("\n", "\r\n")


def settled(relay, message_id):
    """Return the trace of a message once nothing of it is open."""

    def look():
        found = relay.json("trace", message_id)
        return all(one["state"] not in ("queued", "held") for one in found["deliveries"]) and found

    return eventually(look, what="the end of the message")


def events_of(relay, message_id, kind):
    return [event for event in relay.events(kind) if event["mail"]["messageId"] == message_id]


def wait_events(relay, message_id, kind):
    return eventually(lambda: events_of(relay, message_id, kind), what=kind)


def states(trace):
    return {one["recipient"]: one["state"] for one in trace["deliveries"]}


# --- without any scanner -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def plain(receiver):
    with Product(receiver.port) as product:
        yield product


EICAR_MAILS = {
    "body": ("", TEST_FILE.decode() + "\r\n"),
    "base64": attachment("base64", based(TEST_FILE)),
    "quoted-printable": attachment("quoted-printable", quoted(b"x" * 30 + TEST_FILE)),
    "plain": attachment("7bit", TEST_FILE.decode()),
    "large": attachment("BASE64", based(os.urandom(400_000) + TEST_FILE + os.urandom(100_000))),
}


@pytest.mark.parametrize("name", EICAR_MAILS)
@pytest.mark.req("SIM-011", "FLOW-006", "EVT-013", "QUOTA-003")
def test_the_test_file_is_accepted_and_rejected(plain, receiver, name):
    headers, body = EICAR_MAILS[name]
    everybody = ["one@remote.example", "two@other.example", "success@simulator.amazonses.com"]
    before, counted = len(receiver.messages), plain.json("quota", "show")["sentLast24Hours"]
    message_id = plain.send(everybody, headers=headers, body=body)
    (event,) = wait_events(plain, message_id, "Reject")
    assert set(event) == {"eventType", "mail", "reject"}
    assert event["reject"] == {"reason": "Bad content"}
    assert event["mail"]["destination"] == everybody
    trace = settled(plain, message_id)
    assert states(trace) == dict.fromkeys(everybody, "rejected")
    assert [one["attempts"] for one in trace["deliveries"]] == [[], [], []]
    eventually(lambda: plain.json("trace", message_id)["scan"], what="what the scan said")
    assert plain.json("trace", message_id)["scan"]["detail"] == "EICAR test file"
    assert plain.json("quota", "show")["sentLast24Hours"] == counted + 2
    # Whatever was to be delivered or reported would be there before a message that was sent later.
    plain.send("after@remote.example", body="the end\r\n")
    receiver.wait(before + 1)
    assert [recipients for _, recipients, _ in receiver.messages[before:]] == [["after@remote.example"]]
    assert events_of(plain, message_id, "Bounce") == []


def test_a_message_without_it_is_delivered(plain, receiver):
    before = len(receiver.messages)
    headers, body = attachment("base64", based(os.urandom(500_000) + TEST_FILE[:-1]))
    message_id = plain.send(headers=headers, body=body)
    receiver.wait(before + 1)
    assert states(settled(plain, message_id)) == {"user@remote.example": "delivered"}
    assert plain.json("trace", message_id)["scan"] is None


# --- with clamd and rspamd -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clamd(tmp_path_factory):
    with Clamd(str(tmp_path_factory.mktemp("clamd") / "clamd.ctl")) as running:
        yield running


@pytest.fixture(scope="module")
def rspamd():
    with Rspamd() as running:
        yield running


@pytest.fixture(scope="module")
def relay(receiver, clamd, rspamd):
    content = {
        "scanners": [
            {"type": "clamav", "address": clamd.address, "timeout": "700ms"},
            {"type": "rspamd", "url": rspamd.url, "timeout": "700ms", "reject_score": 15},
        ]
    }
    with Product(receiver.port, content=content, delivery=RETRY) as product:
        yield product


def about(scanner, marker):
    return [message for message in scanner.seen if marker.encode() in message]


def delivered(receiver, marker):
    return [message for message in receiver.messages if marker.encode() in message[2]]


@pytest.mark.req("FLOW-006", "FLOW-007")
def test_a_clean_message_is_scanned_once_for_all_its_recipients(relay, receiver, clamd, rspamd):
    everybody = [f"r{number}@d{number % 7}.example" for number in range(40)]
    message_id = relay.send([*everybody, "success@simulator.relay.example"], body="marker-clean\r\nX-Score: 3.5\r\n")
    trace = settled(relay, message_id)
    assert set(states(trace).values()) == {"delivered"}
    assert len(delivered(receiver, "marker-clean")) == 40
    assert len(about(clamd, "marker-clean")) == len(about(rspamd, "marker-clean")) == 1
    assert (trace["scan"]["verdict"], trace["scan"]["spamScore"]) == ("clean", 3.5)
    assert about(clamd, "marker-clean")[0].startswith(b"DKIM-Signature:")
    assert "spam score 3.5" in relay.run("trace", message_id).stdout


@pytest.mark.req("FLOW-006", "EVT-013", "QUOTA-003")
def test_an_infected_message_reaches_nobody(relay, receiver, rspamd):
    counted = relay.json("quota", "show")["sentLast24Hours"]
    metric = 'relay_messages_rejected_total{cause="virus"}'
    infected = relay.metric(metric)
    everybody = ["one@remote.example", "two@other.example", "success@simulator.relay.example"]
    message_id = relay.send(everybody, body="marker-bad VIRUS\r\n")
    (event,) = wait_events(relay, message_id, "Reject")
    assert event["reject"] == {"reason": "Bad content"}
    trace = settled(relay, message_id)
    assert states(trace) == dict.fromkeys(everybody, "rejected")
    assert {one["lastReply"] for one in trace["deliveries"]} == {"Bad content: Test.Virus-1"}
    assert (trace["scan"]["verdict"], trace["scan"]["detail"]) == ("infected", "Test.Virus-1")
    assert relay.json("quota", "show")["sentLast24Hours"] == counted + 2
    relay.send("after@remote.example", body="marker-after-bad\r\n")
    eventually(lambda: delivered(receiver, "marker-after-bad"))
    assert delivered(receiver, "marker-bad") == []
    assert {event["eventType"] for event in relay.events() if event["mail"]["messageId"] == message_id} == {
        "Send",
        "Reject",
    }
    assert about(rspamd, "marker-bad") == []  # what is infected needs no score
    eventually(lambda: relay.metric(metric) > infected, what="the metric")


@pytest.mark.req("FLOW-006")
def test_a_large_infected_body_reaches_nobody(relay, receiver):
    message_id = relay.send(body="marker-large " + ("x" * 70 + "\r\n") * 10_000 + "VIRUS\r\n")
    wait_events(relay, message_id, "Reject")
    assert states(settled(relay, message_id)) == {"user@remote.example": "rejected"}
    assert delivered(receiver, "marker-large") == []
    assert list((relay.data_dir / "spool" / "0001" / "bodies").iterdir()) == []


@pytest.mark.req("FLOW-007")
def test_a_spam_score_rejects_from_the_threshold_on(relay, receiver):
    below = relay.send(body="marker-ham\r\nX-Score: 14.9\r\n")
    above = relay.send(body="marker-spam\r\nX-Score: 15\r\n")
    assert states(settled(relay, below)) == {"user@remote.example": "delivered"}
    trace = settled(relay, above)
    assert states(trace) == {"user@remote.example": "rejected"}
    assert (trace["scan"]["verdict"], trace["scan"]["spamScore"]) == ("spam", 15)
    wait_events(relay, above, "Reject")
    assert delivered(receiver, "marker-spam") == []


def test_the_doctor_asks_every_scanner(relay, rspamd):
    def looks():
        found = relay.run("doctor", "--json", check=False).stdout.splitlines()
        return [(one["result"], one["detail"]) for one in map(json.loads, found) if one["check"] == "scanners"]

    assert [result for result, _ in looks()] == ["ok", "ok"]
    rspamd.down()
    try:
        assert [result for result, _ in looks()] == ["ok", "warning"]
    finally:
        rspamd.up()


@pytest.mark.parametrize("mode", ["garbage", "silent", "drip", "error", "close", "down"])
@pytest.mark.req("FLOW-006")
def test_a_virus_scanner_that_fails_defers_until_it_is_back(relay, receiver, clamd, mode):
    marker = f"marker-defer-{mode}"
    if mode == "down":
        clamd.down()
    clamd.mode = mode
    message_id = relay.send(["one@remote.example", "success@simulator.relay.example"], body=f"{marker}\r\n")
    delays = wait_events(relay, message_id, "DeliveryDelay")
    assert delays[0]["deliveryDelay"]["delayType"] == "InternalFailure"
    (row, _) = relay.rows("queue", "list", "--message", message_id)
    assert "could not be scanned: clamav" in row["lastReply"]
    assert delivered(receiver, marker) == []
    clamd.mode = "normal"
    if mode == "down":
        clamd.up()
    assert set(states(settled(relay, message_id)).values()) == {"delivered"}
    assert len(delivered(receiver, marker)) == 1


@pytest.mark.req("FLOW-007")
def test_a_spam_scanner_that_fails_lets_the_message_pass_and_is_counted(relay, receiver, rspamd):
    unscanned = relay.metric("relay_messages_unscanned_total")
    rspamd.down()
    try:
        message_id = relay.send(body="marker-unscored\r\n")
        trace = settled(relay, message_id)
    finally:
        rspamd.up()
    assert states(trace) == {"user@remote.example": "delivered"}
    assert (trace["scan"]["verdict"], trace["scan"]["spamScore"]) == ("failed", None)
    eventually(lambda: relay.metric("relay_messages_unscanned_total") > unscanned, what="the metric")
    assert "delivered without a scan" in relay.log_text()


def test_a_retry_after_a_restart_needs_no_second_scan(relay, receiver, clamd):
    grey = {"on": True}
    receiver.answer = lambda verb, line: (
        "451 4.7.1 later" if verb == "RCPT" and "grey@" in line and grey["on"] else None
    )
    message_id = relay.send(["grey@remote.example", "user@remote.example"], body="marker-grey\r\n")
    wait_events(relay, message_id, "DeliveryDelay")
    relay.stop(signal.SIGKILL)
    grey["on"] = False
    relay.start()
    assert set(states(settled(relay, message_id)).values()) == {"delivered"}
    assert len(about(clamd, "marker-grey")) == 1


@pytest.mark.parametrize(("word", "state"), [("clean", "delivered"), ("VIRUS", "rejected")])
@pytest.mark.req("FLOW-006")
def test_a_crash_between_acceptance_and_scan_loses_and_leaks_nothing(relay, receiver, clamd, word, state):
    marker = f"marker-crash-{word}"
    clamd.mode = "silent"
    message_id = relay.send(body=f"{marker} {word}\r\n")
    eventually(lambda: about(clamd, marker), what="a scan that has begun")
    relay.stop(signal.SIGKILL)
    assert delivered(receiver, marker) == []
    clamd.mode = "normal"
    relay.start()
    assert states(settled(relay, message_id)) == {"user@remote.example": state}
    assert len(delivered(receiver, marker)) == (state == "delivered")
    assert len(wait_events(relay, message_id, "Reject")) == 1 if state == "rejected" else True


@pytest.mark.req("FLOW-006")
def test_mail_is_never_delivered_unscanned_not_even_at_its_end(receiver, tmp_path):
    content = {"scanners": [{"type": "clamav", "address": str(tmp_path / "nobody.ctl")}]}
    with Product(receiver.port, content=content, delivery=RETRY | {"lifetime": "2s"}) as relay:
        message_id = relay.send(body="marker-never\r\n")
        (event,) = wait_events(relay, message_id, "Bounce")
        assert "could not be scanned" in event["bounce"]["bouncedRecipients"][0]["diagnosticCode"]
        assert states(settled(relay, message_id)) == {"user@remote.example": "bounced"}
        # The report is mail of the relay itself: it is not scanned, and tells the sender.
        eventually(lambda: [mail for mail in receiver.messages if message_id.encode() in mail[2]])
        assert delivered(receiver, "marker-never") == []


def test_scanners_come_and_go_with_a_reload(plain, receiver, clamd):
    plain.values["content"] = {"scanners": [{"type": "clamav", "address": clamd.address}]}
    plain.save()
    plain.process.send_signal(signal.SIGHUP)
    eventually(lambda: plain.log_text().count("reloaded") == 1, what="the reload")
    message_id = plain.send(body="marker-reload VIRUS\r\n")
    assert states(settled(plain, message_id)) == {"user@remote.example": "rejected"}
    plain.values["content"] = {}
    plain.save()
    plain.process.send_signal(signal.SIGHUP)
    eventually(lambda: plain.log_text().count("reloaded") == 2, what="the second reload")
    message_id = plain.send(body="marker-reload again, VIRUS\r\n")
    assert states(settled(plain, message_id)) == {"user@remote.example": "delivered"}
