"""Send rate and rolling quota: exact over workers, restarts and crashes."""

import os
import signal
import smtplib
import threading

import pytest

from tests.product import Product, Receiver, eventually


@pytest.fixture(scope="module")
def receiver():
    with Receiver(keep_bytes=False) as made:
        yield made


def submit_many(product, count, results):
    """Submit over one session after the other (reuse-port spreads them over workers)."""
    for _ in range(count):
        with smtplib.SMTP("127.0.0.1", product.trusted_port) as client:
            client.ehlo()
            client.mail("app@example.com")
            client.rcpt("user@remote.example")
            results.append(client.data(b"From: app@example.com\r\n\r\nhi\r\n"))


def flood(product, threads, each):
    results = []
    running = [threading.Thread(target=submit_many, args=(product, each, results)) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return results


def submitted(product, recipients):
    """Submit one message to so many recipients; say whether it was taken."""
    with smtplib.SMTP("127.0.0.1", product.trusted_port) as client:
        client.ehlo()
        client.mail("app@example.com")
        for number in range(recipients):
            client.rcpt(f"u{number}@remote.example")
        return client.data(b"From: app@example.com\r\n\r\nhi\r\n")[0] == 250


QUOTA = (454, b"Throttling failure: Daily message quota exceeded")
RATE = (454, b"Throttling failure: Maximum sending rate exceeded")


@pytest.mark.req("QUOTA-001", "QUOTA-003", "QUOTA-005", "ERR-010")
def test_the_daily_quota_is_exact_over_workers_crashes_and_restarts(receiver):
    with Product(receiver.port, workers=2) as product:
        product.run("quota", "set", "--daily", "30", "--rate", "-1")
        results = flood(product, 4, 5)
        assert [code for code, _ in results] == [250] * 20
        os.kill(product.children()["worker-0001"], signal.SIGKILL)
        eventually(product.is_ready)
        results = flood(product, 4, 2)
        assert [code for code, _ in results] == [250] * 8
        product.stop()
        product.start()
        results = flood(product, 2, 4)
        assert sorted(code for code, _ in results) == [250, 250] + [454] * 6
        assert [reply for reply in results if reply[0] == 454] == [QUOTA] * 6
        shown = product.json("quota", "show")
        assert (shown["dailyQuota"], shown["sentLast24Hours"]) == (30, 30)


def used(product):
    shown = product.json("quota", "show")
    return tuple(shown[name] for name in ("sentLast24Hours", "dailyQuota", "remaining", "usedPercent"))


@pytest.mark.req("FLOW-002", "QUOTA-001", "QUOTA-006")
def test_a_request_that_would_pass_the_quota_is_refused_whole(receiver):
    with Product(receiver.port) as product:
        product.run("quota", "set", "--daily", "5", "--rate", "-1")
        product.send([f"u{n}@remote.example" for n in range(4)])
        assert used(product) == (4, 5, 1, 80.0)
        with pytest.raises(AssertionError, match="454"):
            product.send([f"v{n}@remote.example" for n in range(2)])
        product.send("w@remote.example")
        assert used(product) == (5, 5, 0, 100.0)


@pytest.mark.req("QUOTA-002", "QUOTA-005")
def test_a_rate_lets_a_burst_through_and_then_a_request_into_debt(receiver):
    with Product(receiver.port, workers=2) as product:
        product.run("quota", "set", "--daily", "-1", "--rate", "1")
        eventually(lambda: submitted(product, 5), what="a token: a fresh bucket is empty for a second")
        results = flood(product, 2, 3)
        assert set(results) == {RATE}


@pytest.mark.req("SMTP-030", "QUOTA-002")
def test_a_throttled_request_passes_later_unchanged(receiver):
    with Product(receiver.port) as product:
        product.run("quota", "set", "--daily", "-1", "--rate", "2")
        results = []

        def passes():
            submit_many(product, 1, results)
            return results[-1][0] == 250 and len(results) > 2

        eventually(passes)
        assert set(results) >= {RATE} or all(code == 250 for code, _ in results)


@pytest.mark.req("FLOW-022", "ERR-004")
def test_the_first_failing_check_is_the_one_reported(receiver):
    """Account state, then syntax, then identity, then quota."""
    with Product(receiver.port) as product:

        def attempt(headers):
            with smtplib.SMTP("127.0.0.1", product.trusted_port) as client:
                client.ehlo()
                client.mail("app@example.com")
                client.rcpt("user@remote.example")
                code, text = client.data(f"{headers}\r\n\r\nhi\r\n".encode())
                return f"{code} {text.decode()}"

        product.run("quota", "set", "--daily", "1", "--rate", "-1")
        assert attempt("From: app@example.com").startswith("250")
        assert attempt("From: app@example.com").startswith("454 Throttling failure: Daily")
        assert "not verified" in attempt("From: x@foreign.example")
        assert "Duplicate header 'Subject'" in attempt("From: x@foreign.example\r\nSubject: a\r\nSubject: b")
        product.run("account", "pause", product.account, "--yes", check=False)
        product.run("account", "pause", product.account, check=False)
        refused = attempt("From: x@foreign.example\r\nSubject: a\r\nSubject: b")
        assert refused.startswith("554 Message rejected: Sending paused for this account")


def test_while_permits_is_away_limited_accounts_wait_and_nothing_is_exceeded(receiver):
    with Product(receiver.port, workers=2) as product:
        product.run("quota", "set", "--daily", "10", "--rate", "-1")
        assert {code for code, _ in flood(product, 2, 3)} == {250}
        os.kill(product.children()["relay-permits"], signal.SIGKILL)
        results = flood(product, 2, 4)
        assert {code for code, _ in results} <= {250, 451, 454}
        eventually(product.is_ready)
        results += flood(product, 1, 8)
        assert sum(1 for code, _ in results if code == 250) == 4
