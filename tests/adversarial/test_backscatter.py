"""Sections K and P: nothing is sent to people who did not ask, and every log line stays one JSON object."""

import json
import smtplib
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.classify import SHAPES
from relay.policy.forward_limit import FORWARDS_MAX
from tests.adversarial.wire import Wire, message, open_listener, settled, waiting, with_mark
from tests.product import eventually
from tests.webhook import Webhook


def bounce_of(product, message_id):
    return eventually(
        lambda: [e for e in product.events("Bounce") if e["mail"]["messageId"] == message_id], what="bounce"
    )


def return_path(product, receiver, mark):
    """Send one message and return (its id, the return path it had)."""
    with open_listener(product, "submission") as client:
        answer = client.transaction(message(mark))
    settled(product)
    return answer.split()[-1], with_mark(receiver.messages, mark)[0][0]


def deliver(product, path, text, sender="", times=1):
    replies = []
    with smtplib.SMTP("127.0.0.1", product.mx_port, timeout=120) as client:
        for _ in range(times):
            client.ehlo()
            client.mail(sender)
            code, _ = client.rcpt(path)
            replies.append(client.data(text)[0] if code == 250 else code)
    return replies


REPORT = (
    b"From: MAILER-DAEMON@remote.example\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nIt did not work.\r\n"
    b"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.remote.example\r\n\r\n"
    b"Final-Recipient: rfc822; user@remote.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    b"Diagnostic-Code: smtp; 550 gone\r\n\r\n--b--\r\n"
)


@pytest.mark.req("FLOW-018")
def test_of_two_recipients_the_unknown_one_is_refused(product, receiver):
    """K04."""
    message_id, path = return_path(product, receiver, "two-recipients")
    with smtplib.SMTP("127.0.0.1", product.mx_port, timeout=60) as client:
        client.ehlo()
        client.mail("")
        codes = [client.rcpt(each)[0] for each in (path, "x" + path[1:], path.replace("@", "x@"))]
        assert codes == [250, 550, 550]
        assert client.data(REPORT)[0] == 250
    assert len(bounce_of(product, message_id)) == 1


def test_a_storm_of_reports_leaves_room_for_everything_else(product, receiver):
    """K16: reports by the hundred on several connections; mail goes out meanwhile, and each report is taken."""
    message_id, path = return_path(product, receiver, "before-the-storm")
    with ThreadPoolExecutor(4) as pool:
        storms = [pool.submit(deliver, product, path, REPORT, "", 150) for _ in range(4)]
        for number in range(5):
            return_path(product, receiver, f"in-the-storm-{number}")
        assert all(storm.result() == [250] * 150 for storm in storms)
    assert len(bounce_of(product, message_id)) == 1


HOSTILE = ["recipients", "status fields", "parts in parts", "empty parts", "addresses", "vague diagnostics"]


@pytest.mark.parametrize("shape", HOSTILE)
def test_hostile_reports_are_read_and_the_next_one_too(product, receiver, shape):
    """Reports made to keep a reader busy, 300 KB each (10 MB: `bench.classify`)."""
    message_id, path = return_path(product, receiver, "hostile-" + shape.replace(" ", "-"))
    start, more = SHAPES[shape]
    lines = (start + more * (300_000 // len(more))).replace(b"a@b.cd " * 100, b"a@b.cd " * 100 + b"\r\n")
    (code,) = deliver(product, path, lines)
    assert code in {250, 550, 552, 554}
    assert deliver(product, path, REPORT) == [250]
    assert len(bounce_of(product, message_id)) == 1
    incoming = product.data_dir / "spool" / "0001" / "incoming"
    eventually(lambda: not list(incoming.iterdir()), what="the end of what was read")


@pytest.mark.req("FLOW-012")
def test_a_report_replayed_a_hundred_times_is_one_event(product, receiver):
    """K10."""
    message_id, path = return_path(product, receiver, "replayed")
    before = len([m for m in receiver.messages if m[0] == ""])
    assert deliver(product, path, REPORT, times=100) == [250] * 100
    assert len(bounce_of(product, message_id)) == 1
    settled(product)
    deliver(product, path, REPORT)
    settled(product)
    assert len(bounce_of(product, message_id)) == 1
    assert len([m for m in receiver.messages if m[0] == ""]) == before + 1


@pytest.mark.req("FLOW-018")
def test_forged_return_paths_are_refused_without_an_event(product, receiver):
    """K05, K11: changed, cut, swapped and foreign tokens."""
    _, path = return_path(product, receiver, "forged-path")
    local, _, domain = path.partition("@")
    other = "b" if local[-1] != "b" else "c"
    forged = [local[:-1] + other, other + local[1:], local[:-5], local + "aa", local[::-1], "a" * len(local), "x"]
    bounces = len(product.events("Bounce"))
    for token in forged:
        assert deliver(product, f"{token}@{domain}", REPORT) == [550], token
    assert deliver(product, f"{local}@remote.example", REPORT) == [530]
    assert deliver(product, path.upper(), REPORT) == [250]  # DNS and some hosts change case
    settled(product)
    assert len(product.events("Bounce")) <= bounces + 1  # the one in capitals


@pytest.mark.req("FLOW-013")
def test_an_automatic_reply_is_forwarded_and_never_answered(product, receiver):
    """K13: it goes to the submitter with the null sender, makes no event, and no loop."""
    message_id, path = return_path(product, receiver, "auto-reply-of")
    reply = (
        b"From: user@remote.example\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n"
        b"X-Mark: holiday\r\n\r\nAway.\r\n"
    )
    assert deliver(product, path, reply, sender="user@remote.example", times=3) == [250] * 3
    eventually(lambda: with_mark(receiver.messages, "holiday"))
    settled(product)
    assert [(m[0], m[1]) for m in with_mark(receiver.messages, "holiday")] == [("", ["app@example.com"])]
    assert not [e for e in product.events("Bounce") if e["mail"]["messageId"] == message_id]


def test_a_flood_of_answers_to_a_valid_return_path_is_bounded(product, receiver):
    """Each answer is another one: a few go on, all are taken, other mail goes out, and the bounce still counts."""
    message_id, path = return_path(product, receiver, "flooded")
    other, _ = return_path(product, receiver, "not-flooded")
    answers = [
        b"From: user@remote.example\r\nSubject: Away %d\r\nAuto-Submitted: auto-replied\r\n"
        b"X-Mark: flood\r\n\r\nAway, says %d.\r\n" % (number, number)
        for number in range(400)
    ]

    def flood(texts):
        return [deliver(product, path, text, sender="user@remote.example")[0] for text in texts]

    with ThreadPoolExecutor(4) as pool:
        floods = [pool.submit(flood, answers[part::4]) for part in range(4)]
        return_path(product, receiver, "beside-the-flood")
        assert all(one.result() == [250] * 100 for one in floods)
    eventually(lambda: product.metric('relay_feedback_total{result="limited"}') >= 390, 30)
    settled(product)
    assert len([m for m in with_mark(receiver.messages, "flood") if m[0] == ""]) == FORWARDS_MAX
    assert deliver(product, path, REPORT) == [250]
    assert len(bounce_of(product, message_id)) == 1
    assert not [event for event in product.events("Bounce") if event["mail"]["messageId"] == other]


def test_links_in_what_arrives_are_never_followed(product, receiver):
    """N09: a confirmation in the words of a notification service, as a report, an answer and a letter."""
    _, path = return_path(product, receiver, "asked-to-confirm")
    with Webhook() as trap:
        told = {"Type": "SubscriptionConfirmation", "Token": "x" * 64, "SubscribeURL": trap.url}
        head = b"From: no-reply@sns.example\r\nSubject: Confirm\r\nX-Mark: confirm-me\r\n"
        kind, body = b"Content-Type: application/json\r\n\r\n", json.dumps(told).encode() + b"\r\n"
        assert deliver(product, path, head + kind + body) == [250]
        assert deliver(product, path, head + b"Auto-Submitted: auto-replied\r\n" + kind + body) == [250]
        report = REPORT.replace(b"It did not work.", b"It did not work: " + trap.url.encode())
        assert deliver(product, path, report) == [250]
        eventually(lambda: [m for m in with_mark(receiver.messages, "confirm-me") if m[0] == ""])
        settled(product)
        assert trap.requests == []


def test_reports_are_small_whatever_was_sent(product, receiver):
    """K07: a large message that bounces comes back as headers only."""
    body = (b"secret-of-the-body " * 50 + b"\r\n") * 5000
    with open_listener(product, "submission") as client:
        answer = client.transaction(message("large-bounce", body), recipients=["nobody@remote.example"])
    bounce_of(product, answer.split()[-1])
    settled(product)
    report = [m for m in with_mark(receiver.messages, "large-bounce") if m[0] == ""]
    assert len(report) == 1
    assert len(report[0][2]) < 20_000
    assert b"secret-of-the-body" not in report[0][2]


@pytest.mark.req("SMTP-017")
def test_a_report_that_cannot_be_delivered_ends_there(product, receiver):
    """A bounce to a sender that refuses it makes no second bounce."""
    with open_listener(product, "submission") as client:
        answer = client.transaction(
            message("double-bounce"), sender="nobody@example.com", recipients=["nobody@remote.example"]
        )
    bounce_of(product, answer.split()[-1])
    settled(product)
    assert with_mark(receiver.messages, "double-bounce") == []
    assert waiting(product) == 0


@pytest.mark.req("FLOW-020")
def test_a_looping_report_is_refused(product, receiver):
    _, path = return_path(product, receiver, "loop-back")
    trace = b"Received: from a by b; Mon, 1 Jan 2026 00:00:00 +0000\r\n"
    assert deliver(product, path, b"X-First: y\r\n" + trace * 100 + REPORT) == [554]


# --- section P -------------------------------------------------------------------------------------------------


def test_no_input_breaks_the_log(product, receiver):
    """P04: EHLO names, addresses, headers, passwords and remote replies stay within one JSON line each."""
    evil = '"},{"event":"forged"}'
    for name in (evil, "a\x1b[31m", "a\x85b", "x" * 400):
        with Wire(product.trusted_port) as client:
            client.say(b"EHLO " + name.encode())
            client.say(f"MAIL FROM:<{name}@example.com>")
            client.say(f"RCPT TO:<{name}>")
    with Wire(product.implicit_port, context=open_listener(product, "implicit").context, implicit=True) as client:
        client.say("EHLO x")
        for user in ('u"}\r\n{"event":"forged"}', "u\x1b]0;t\x07", "u\u2028v", "\u202egnorw", "u" * 200):
            client.login(user, "p")
            if user.endswith("v"):
                break
    with open_listener(product, "submission") as client:
        odd = '"a\\"},{\\"event\\":\\"forged\\"}"@example.com'
        client.transaction(b"From: " + odd.encode() + b"\r\nSubject: x\r\n\r\nx\r\n", sender=odd)
        answer = client.transaction(message("hostile-reply"), recipients=["hostile@remote.example"])
    bounce_of(product, answer.split()[-1])
    with pytest.raises((urllib.error.HTTPError, urllib.error.URLError, OSError, ValueError)):
        urllib.request.urlopen(f"http://127.0.0.1:{product.metrics_port}/x%0d%0a%7b%22event%22", timeout=5).read()
    text = product.log_text()
    records = [json.loads(line) for line in text.rstrip("\n").split("\n")]
    assert not [record for record in records if record["event"] == "forged"]
    assert not [char for char in text if char != "\n" and (ord(char) < 32 or 127 <= ord(char) < 160)]
    assert not set("\u2028\u2029\u202e") & set(text)
    assert records
    for line in (product.data_dir / "events.jsonl").read_text().rstrip("\n").split("\n"):
        assert json.loads(line)["eventType"] != "forged"
    bounce = bounce_of(product, answer.split()[-1])[0]["bounce"]["bouncedRecipients"][0]["diagnosticCode"]
    assert "\x1b" not in bounce


def test_no_secret_is_in_the_log(product):
    """M22 for SMTP: neither passwords nor their encodings."""
    import base64

    open_listener(product, "submission")
    token = base64.b64encode(f"\0{product.user}\0{product.password}".encode()).decode()
    for secret in (product.password, token):
        assert secret not in product.log_text()


def test_metrics_answer_only_what_they_should(product):
    """P06: on loopback, read-only, and no path leads to a file."""
    addresses = {entry["address"] for entry in product.values["listeners"] if entry["kind"] == "metrics"}
    assert addresses == {"127.0.0.1"}
    for path in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/metrics/../relay.yaml", "//etc/passwd"):
        with socket.create_connection(("127.0.0.1", product.metrics_port), 10) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while part := raw.recv(65536):
                answer += part
        assert b"root:" not in answer
        assert b"hostname:" not in answer
        assert b" 200 " not in answer.partition(b"\r\n")[0]
    for request in (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", b"\0" * 100_000):
        with socket.create_connection(("127.0.0.1", product.metrics_port), 10) as raw:
            raw.settimeout(10)
            try:
                raw.sendall(request)
                assert b" 200 " not in raw.recv(200)
            except OSError:
                continue


def test_metrics_on_every_address_need_a_word_for_it(product):
    values = dict(product.values)
    kept = product.config.read_text()
    values["listeners"] = [
        entry | ({"address": "0.0.0.0"} if entry["kind"] == "metrics" else {}) for entry in values["listeners"]
    ]
    import yaml

    try:
        product.config.write_text(yaml.safe_dump(values))
        done = product.run("check", check=False)
    finally:
        product.config.write_text(kept)
    assert done.returncode == 78
    assert "allow_remote" in done.stdout + done.stderr
