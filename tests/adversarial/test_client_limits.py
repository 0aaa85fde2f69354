"""Section E: what clients can use up, and what the others notice of it."""

import contextlib
import os
import resource
import smtplib
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.adversarial.wire import Wire, message, open_listener, settled, trusting, with_mark
from tests.product import Product, Receiver, eventually

CONNECTIONS_MAX = 24


@pytest.fixture(scope="module")
def arrivals():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def small(arrivals):
    """A relay with small limits, so that reaching them takes seconds."""
    limits = {
        "disk_free_min": "1MB",
        "message_size_max": 2_000_000,
        "connections_max": CONNECTIONS_MAX,
        "connections_per_address_max": 8,
        "connections_per_account_max": 3,
        "idle_timeout": "30s",
        "command_timeout": "2s",
        "data_timeout": "2s",
    }
    with Product(arrivals.port, limits=limits) as made:
        yield made


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.req("SMTP-025")
def test_a_harvest_of_recipients_ends(small):
    """E05, E06: junk, blanks and unknown users; twenty errors and it is over."""
    for lines, wanted in (
        ([b"MAIL FROM:<>"] + [b"RCPT TO:<user%d@relay.example>" % n for n in range(200)], 20),
        ([b"", b"XYZZY"] * 50, 20),
    ):
        client = Wire(small.mx_port)
        client.send(b"EHLO x\r\n" + b"".join(line + b"\r\n" for line in lines))
        text = client.rest().decode()
        assert text.endswith("421 Too many errors\r\n")
        assert text.count("\r\n5") == wanted


@pytest.mark.req("SMTP-026")
def test_a_dripping_command_is_cut_at_its_deadline(small):
    begin = time.monotonic()
    client = Wire(small.trusted_port, source="127.0.4.1")
    client.socket.settimeout(0.25)
    while time.monotonic() - begin < 10:
        try:
            client.send(b"N")
            data = client.socket.recv(1000)
        except TimeoutError:
            continue
        break
    assert data == b"451 Timeout waiting for data from client\r\n"
    assert 0.9 < time.monotonic() - begin < 6  # 2 s by a clock that ticks once a second


@pytest.mark.req("SMTP-026")
def test_silence_within_data_is_cut_and_relays_nothing(small, arrivals):
    client = Wire(small.trusted_port, source="127.0.4.2")
    client.say("EHLO x")
    client.say("MAIL FROM:<app@example.com>")
    client.say("RCPT TO:<user@remote.example>")
    client.say("DATA")
    client.send(message("silent") + b".\r")
    assert client.rest() == b"451 Timeout waiting for data from client\r\n"
    settled(small)
    assert with_mark(arrivals.messages, "silent") == []


HEADS = {
    "comments": b"Cc: " + b"(" * 98_000 + b")" * 98_000 + b" a@b.example\r\n",
    "escapes": b"Reply-To: (" + b"\\(" * 98_000 + b") a@b.example\r\n",
    "words": b"Subject: " + b"\r\n ".join([b"=?x-unknown?q?=41?="] * 8_000) + b"\r\n",
    "words in From": b"From: " + b" ".join([b"=?utf-8?b?QQ==?="] * 12_000) + b" <app@example.com>\r\n",
    "continuations": b"Content-Type: text/plain"
    + b"".join(b";\r\n name*%d*=utf-8''a" % n for n in range(9_000))
    + b"\r\n",
    "recipients": b"To: " + b",\r\n ".join(b"a%d@b.example" % n for n in range(12_000)) + b"\r\n",
    "groups": b"Cc: " + b"g:" * 60_000 + b";" * 60_000 + b"\r\n",
    "quotes": b'To: "' + b'\\"' * 90_000 + b'" <a@b.example>\r\n',
    "fields": b"".join(b"X-%d: y\r\n" % n for n in range(20_000)),
    "folds": b"Subject: x" + b"\r\n " * 60_000 + b"y\r\n",
    "references": b"References: " + b"\r\n ".join([b"<a@b.example>"] * 15_000) + b"\r\n",
    "boundaries": b"Content-Type: multipart/mixed; boundary=" + b"b" * 900 + b"\r\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_hostile_headers_hold_nobody_up(name, small):
    """E13 to E15: answered in seconds, never with a 4xx, and a neighbour waits less than two."""
    own_from = b"" if name == "words in From" else b"From: app@example.com\r\n"
    neighbour = Wire(small.trusted_port, source="127.0.4.3")
    bomb = Wire(small.trusted_port, source="127.0.4.4")
    neighbour.say("EHLO x")
    bomb.say("EHLO x")
    answers = []
    begin = time.monotonic()
    thread = threading.Thread(
        target=lambda: answers.append(bomb.transaction(own_from + HEADS[name] + b"\r\nhi" + b" x\r\n" * 3))
    )
    thread.start()
    slowest = 0.0
    while thread.is_alive():
        asked = time.monotonic()
        assert neighbour.say("MAIL FROM:<app@example.com>") == "250 Ok"
        assert neighbour.say("RSET") == "250 Ok"
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.02)
    thread.join()
    assert answers[0][0] in "25"
    assert time.monotonic() - begin < 15
    assert slowest < 2
    neighbour.socket.close()
    bomb.socket.close()


def test_a_half_closed_client_gets_its_answer_and_one_delivery(small, arrivals):
    """E19."""
    client = Wire(small.trusted_port, source="127.0.4.5", greeted=False)
    client.send(b"EHLO x\r\nMAIL FROM:<app@example.com>\r\nRCPT TO:<user@remote.example>\r\nDATA\r\n")
    client.send(message("half-closed") + b".\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    assert b"\r\n250 Ok 0" in client.rest()
    settled(small)
    assert len(with_mark(arrivals.messages, "half-closed")) == 1


@pytest.mark.req("SMTP-018")
def test_an_endless_upload_uses_no_disk(small):
    """E28: fifty times the limit; the data directory never grows by more than the limit and a megabyte."""

    def used():
        total = 0
        for path in small.data_dir.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_blocks * 512
        return total

    client = Wire(small.trusted_port, source="127.0.4.6")
    client.say("EHLO x")
    client.say("MAIL FROM:<app@example.com>")
    client.say("RCPT TO:<user@remote.example>")
    client.say("DATA")
    before, most = used(), 0
    block = (b"z" * 998 + b"\r\n") * 1000
    client.send(b"From: app@example.com\r\n\r\n")
    for _ in range(100):
        client.send(block)
        most = max(most, used())
    client.send(b".\r\n")
    assert client.reply() == "552 Message is too long."
    assert client.say("NOOP") == "250 Ok"
    assert most - before <= 3_000_000


@pytest.mark.req("SMTP-027")
def test_the_caps_are_told_and_stress_is_seen(small):
    """E23, E26: 421 and not silence; above 80 % one error is enough, and the metrics say so."""
    kept = [Wire(small.trusted_port, source="127.0.5.1") for _ in range(8)]
    over = Wire(small.trusted_port, source="127.0.5.1", greeted=False)
    assert over.rest() == b"421 Too many concurrent SMTP connections\r\n"
    for number in range(2, 4):
        kept += [Wire(small.trusted_port, source=f"127.0.5.{number}") for _ in range(8)]
    assert len(kept) == CONNECTIONS_MAX
    over = Wire(small.trusted_port, source="127.0.5.9", greeted=False)
    assert over.rest() == b"421 Too many concurrent SMTP connections\r\n"
    eventually(lambda: "relay_sessions_stressed 1.0" in small.metrics(), 15, "stress in the metrics")
    kept[0].send(b"XYZZY\r\n")
    assert kept[0].rest().endswith(b"421 Too many errors\r\n")
    for client in kept:
        client.socket.close()
    eventually(lambda: "relay_sessions_stressed 0.0" in small.metrics(), 15, "the end of stress")
    fresh = open_listener(small, "trusted", source="127.0.5.1")
    assert fresh.say("XYZZY")[:3] == "500"
    assert fresh.say("NOOP") == "250 Ok"


@pytest.mark.req("SMTP-027")
def test_an_account_has_a_cap_of_its_own_from_wherever_it_comes(small):
    kept = [open_listener(small, "submission", source=f"127.0.6.{number}") for number in range(1, 4)]
    over = Wire(small.implicit_port, context=trusting(small), implicit=True, source="127.0.6.9")
    assert over.say("EHLO x") == "250 Ok"
    assert over.login(small.user, small.password) == "421 Too many concurrent SMTP connections"
    assert open_listener(small, "trusted", source="127.0.5.1").say("NOOP") == "250 Ok"
    kept[0].socket.close()

    def let_in():
        with Wire(small.implicit_port, context=trusting(small), implicit=True, source="127.0.6.9") as again:
            again.say("EHLO x")
            return again.login(small.user, small.password)[:3] == "235"

    eventually(let_in, what="room for one more")


def test_no_descriptors_left_is_survived_without_spinning(small, arrivals):
    """E22: the worker may open hardly anything more; it waits instead of spinning, and recovers."""
    pid = small.children()["worker-0001"]
    open_now = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()) + 1
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + 4, before[1]))
    crowd = []
    try:
        for number in range(20):
            crowd.append(Wire(small.trusted_port, source=f"127.0.6.{number % 4 + 1}", greeted=False))
        used = cpu_seconds(pid)
        time.sleep(1.5)
        assert cpu_seconds(pid) - used < 0.75
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        for client in crowd:
            client.socket.close()

    def taken():
        try:
            with smtplib.SMTP("127.0.0.1", small.trusted_port, timeout=5) as client:
                client.sendmail("app@example.com", ["user@remote.example"], message("after-descriptors"))
                return True
        except (OSError, smtplib.SMTPException):
            return False

    eventually(taken, 20, "recovery")
    eventually(lambda: with_mark(arrivals.messages, "after-descriptors"), 20)
    assert small.children()["worker-0001"] == pid


@pytest.mark.req("QUOTA-001", "QUOTA-005", "ERR-010")
def test_quota_refusals_queue_nothing_and_keep_the_session(arrivals):
    """E27: the counter is moved by what was accepted only."""
    with Product(arrivals.port) as product:  # of its own: others leave stress behind, when one error is too many
        product.run("quota", "set", "--daily", "3", "--rate", "-1")
        client = open_listener(product, "submission", source="127.0.4.7")
        four = [f"quota{n}@remote.example" for n in range(4)]
        refusal = "454 Throttling failure: Daily message quota exceeded"
        assert client.transaction(message("over-quota"), recipients=four) == refusal
        foreign = b"From: x@else.example\r\nX-Mark: over-quota\r\n\r\nx\r\n"
        assert client.transaction(foreign)[:3] == "554"
        assert client.transaction(message("in-quota"), recipients=four[:3])[:3] == "250"
        assert client.transaction(message("over-quota")) == refusal
        assert product.json("quota", "show")["sentLast24Hours"] == 3
        settled(product)
    assert with_mark(arrivals.messages, "over-quota") == []
    assert len(with_mark(arrivals.messages, "in-quota")) == 3


@pytest.fixture(scope="module")
def slow_to_admit(arrivals):
    """A relay of two workers that trusts 127.0/16 only and lets an address connect 20 times a minute."""
    made = Product(arrivals.port, workers=2, limits={"disk_free_min": "1MB", "connections_per_minute_max": 20})
    made.values["listeners"][2]["trust"]["networks"] = ["127.0.0.0/16"]
    made.save()
    with made:
        yield made


def _greeting(port, source):
    client = Wire(port, source=source, greeted=False)
    try:
        return client.line()
    finally:
        client.socket.close()


def test_a_storm_of_connections_is_refused_in_words(slow_to_admit):
    """E07: over the rate 421, on every listener and both workers; other strangers are let in."""
    ports = [slow_to_admit.port, slow_to_admit.mx_port]
    answers = [_greeting(ports[number % 2], "127.7.0.1") for number in range(150)]
    assert 20 <= sum(line.startswith("220 ") for line in answers) <= 25
    assert {line for line in answers if line[:3] != "220"} == {"421 Too many new SMTP connections in a minute"}
    assert _greeting(slow_to_admit.port, "127.7.0.2").startswith("220 ")
    refused = 'relay_sessions_refused_total{reason="rate"}'
    eventually(lambda: refused in slow_to_admit.metrics(), 15, "the refusals in the metrics")
    assert 1 <= slow_to_admit.log_text().count("an address makes too many new connections") <= 2


def test_applications_that_log_in_or_are_trusted_connect_as_fast_as_they_like(slow_to_admit):
    """One message a session, far over the rate of strangers (decision 23)."""
    for _ in range(60):
        open_listener(slow_to_admit, "submission", source="127.7.0.3").socket.close()
        assert _greeting(slow_to_admit.port, "127.0.0.1").startswith("220 ")
    assert _greeting(slow_to_admit.mx_port, "127.7.0.3").startswith("220 ")
