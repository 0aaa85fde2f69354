"""Section C: AUTH and who may send, on the whole product."""

import base64
import threading
import time

import dkim
import pytest

from tests.adversarial.wire import Wire, message, open_listener, settled, trusting, with_mark, zone
from tests.product import Product, Receiver, eventually

WRONG = "535 Authentication Credentials Invalid"


@pytest.mark.req("SMTP-010", "SMTP-013")
def test_auth_cases_in_one_session(product):
    """C02 to C11: every refusal keeps the session in step, and the right password still works after them."""
    client = Wire(product.implicit_port, context=trusting(product), implicit=True)
    client.say("EHLO x")
    for command, code in [
        ("MAIL FROM:<app@example.com>", "530"), ("RCPT TO:<user@remote.example>", "530"), ("DATA", "530"),
        ("AUTH", "501"), ("AUTH NTLM TlRMTVNTUAABAAAA", "504"), ("AUTH ANONYMOUS", "504"), ("AUTH " + "X" * 40,
        "504"),
        ("AUTH CRAM-MD5", "504"), ("AUTH XOAUTH2 dXNlcj0=", "504"), ("AUTH PLAIN !!!!", "501"),
        ("AUTH PLAIN =", "501"), ("AUTH PLAIN AA=A", "501"), ("AUTH PLAIN " + "A" * 65536, "500"),
    ]:  # fmt: skip
        assert client.say(command)[:3] == code, command[:40]
    assert client.say("auth plain")[:3] == "334"
    assert client.say("*")[:3] == "501"
    assert client.say("AUTH LOGIN")[:3] == "334"
    assert client.say("A" * 65536)[:3] in {"500", "501"}
    assert client.say("NOOP") == "250 Ok"
    token = base64.b64encode(f"\0{product.user}\0{product.password}".encode()).decode()
    assert client.say(f"auth plain {token}   ") == "235 Authentication successful"
    assert client.say(f"AUTH PLAIN {token}")[:3] == "503"
    assert client.say("MAIL FROM:<app@example.com> AUTH=<>")[:3] == "250"
    assert client.say(f"AUTH PLAIN {token}")[:3] == "503"
    assert client.say("RSET")[:3] == "250"
    assert client.say("MAIL FROM:<app@example.com> AUTH=+zz")[:3] == "501"


@pytest.mark.req("CRED-001", "SMTP-010")
def test_refusals_name_no_reason(product):
    """No oracle: unknown users, wrong passwords, odd bytes and foreign secrets get one and the same text."""
    tokens = [
        f"\0nobody\0{product.password}", f"\0{product.user}\0wrong", f"\0{product.user}\0", "\0\0",
        f"\0{product.user.upper()}\0{product.password}", f"\0{product.user}\0{product.password} ",
        f"admin\0{product.user}x\0{product.password}", f"\0{product.user}%00\0{product.password}",
        "\0" + "u" * 3000 + "\0p", "\0' OR 1=1 --\0x", "\0ü\0ü",
    ]  # fmt: skip
    for number, token in enumerate(tokens):
        client = Wire(product.implicit_port, context=trusting(product), implicit=True, source=f"127.0.2.{number + 1}")
        client.say("EHLO x")
        answer = client.say("AUTH PLAIN " + base64.b64encode(token.encode()).decode())
        assert answer in {WRONG, "501 Cannot decode authentication response"}, token
        assert client.say("MAIL FROM:<app@example.com>")[:3] == "530"
        client.socket.close()


@pytest.mark.req("SMTP-008", "CRED-001")
def test_an_authorization_identity_gives_nobody_elses_rights(product, receiver):
    """Sendmail's `U:root` works, and the session is the user's whatever name stands there."""
    other = product.json("credentials", "create")["smtp"]
    client = Wire(product.implicit_port, context=trusting(product), implicit=True)
    client.say("EHLO x")
    token = f"{other['username']}\0{product.user}\0{product.password}"
    assert client.say("AUTH PLAIN " + base64.b64encode(token.encode()).decode())[:3] == "235"
    product.run("credentials", "revoke", other["username"])
    assert client.transaction(message("acting-for-nobody"))[:3] == "250"


@pytest.mark.req("CRED-011")
def test_a_credential_revoked_within_a_transaction_sends_nothing(product, receiver):
    """C14: between RCPT and the end of data is not too late."""
    made = product.json("credentials", "create")["smtp"]
    client = Wire(product.implicit_port, context=trusting(product), implicit=True)
    client.say("EHLO x")
    assert client.login(made["username"], made["password"])[:3] == "235"
    assert client.transaction(message("before-revocation"))[:3] == "250"
    client.say("MAIL FROM:<app@example.com>")
    client.say("RCPT TO:<user@remote.example>")
    client.say("DATA")
    product.run("credentials", "revoke", made["username"])
    client.send(message("after-revocation") + b".\r\n")
    assert client.reply()[0] == "5"
    assert client.say("MAIL FROM:<app@example.com>")[:3] == "530"
    settled(product)
    assert len(with_mark(receiver.messages, "before-revocation")) == 1
    assert with_mark(receiver.messages, "after-revocation") == []


def test_one_domain_in_all_its_spellings(product, receiver):
    """C31: case and U-label are the same identity, a trailing dot is refused."""
    product.run("identity", "create", "bücher.example")
    product.run("identity", "verify", "--force", "bücher.example")
    client = open_listener(product, "submission")
    for number, (address, options) in enumerate([
        ("x@xn--bcher-kva.example", ""), ("x@XN--Bcher-KVA.Example", ""), ("x@bücher.example", " SMTPUTF8"),
        ("x@BÜCHER.example", " SMTPUTF8"),
    ]):  # fmt: skip
        text = f"From: {address}\r\nTo: u@remote.example\r\nX-Mark: spelling-{number}\r\n\r\nx\r\n".encode()
        answer = client.transaction(text, sender="x@xn--bcher-kva.example", options=options)
        assert answer[:3] == ("250" if "Ü" not in address else answer[:3])
    for address in (
        "x@xn--bcher-kva.example.",
        "x@bu\u0308cher.example",
        "x@bücher\u3002example",
        "x@b\u00fccher.ex\u00admple",
    ):
        text = f"From: {address}\r\nX-Mark: spelling-bad\r\n\r\nx\r\n".encode()
        assert client.transaction(text, sender="", options=" SMTPUTF8")[:3] == "554", address
    settled(product)
    assert with_mark(receiver.messages, "spelling-bad") == []
    lookup = zone(product, "xn--bcher-kva.example")
    for number in range(3):
        data = with_mark(receiver.messages, f"spelling-{number}")[0][2]
        assert b"d=xn--bcher-kva.example" in data
        if number < 2:  # dkimpy reads no U-label in a signed From
            assert dkim.verify(data, dnsfunc=lookup)


@pytest.mark.req("IDENT-002")
def test_a_subdomain_identity_covers_neither_its_parent_nor_its_neighbours(product):
    """C32: rights go down the tree only, and there are no wildcards."""
    product.run("identity", "create", "mail.shop.example")
    product.run("identity", "verify", "--force", "mail.shop.example")
    for wildcard in ("*.shop.example", "*"):
        assert product.run("identity", "create", wildcard, check=False).returncode != 0
    client = open_listener(product, "submission")
    for domain, code in [
        ("mail.shop.example", "250"), ("a.mail.shop.example", "250"), ("shop.example", "554"),
        ("xmail.shop.example", "554"), ("mail.shop.example.evil.example", "554"), ("b.shop.example", "554"),
    ]:  # fmt: skip
        text = f"From: x@{domain}\r\n\r\nx\r\n".encode()
        assert client.transaction(text, sender="app@example.com")[:3] == code, domain


def test_resent_from_of_somebody_else_never_chooses_the_signature(product, receiver):
    """C30."""
    client = open_listener(product, "submission")
    headers = b"Resent-From: boss@else.example\r\nResent-Sender: x@else.example\r\nReply-To: y@else.example\r\n"
    assert client.transaction(message("resent", headers=headers))[:3] == "250"
    settled(product)
    data = with_mark(receiver.messages, "resent")[0][2]
    assert b"d=example.com" in data
    assert b"d=else.example" not in data
    assert dkim.verify(data, dnsfunc=zone(product))


# --- brute force -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded():
    """A relay of two workers with limits a test can reach."""
    limits = {
        "disk_free_min": "1MB",
        "auth": {"failures_per_minute": 6, "failures_per_day": 12, "delay_from": 3, "delay": "1s"},
    }
    with Receiver(keep_bytes=False) as receiver, Product(receiver.port, workers=2, limits=limits) as made:
        yield made


def attempt(product, source, user, password):
    """Log in once on a session of its own; return (reply, seconds)."""
    with Wire(product.implicit_port, context=trusting(product), implicit=True, source=source) as client:
        client.say("EHLO x")
        begin = time.monotonic()
        answer = client.login(user, password)
        return answer, time.monotonic() - begin


def test_failures_are_counted_over_workers_and_slow_down_from_the_third(guarded):
    answers = [attempt(guarded, "127.0.3.1", f"user{number}", "wrong") for number in range(10)]
    replies = [answer for answer, _ in answers]
    assert replies[:6] == [WRONG] * 6
    assert replies[6:] == ["421 Too many failed authentications"] * 4
    assert all(seconds < 0.9 for _, seconds in answers[:2])
    assert all(seconds >= 0.9 for _, seconds in answers[2:6])
    # From that address not even the right password is looked at; from elsewhere nobody is hindered.
    assert attempt(guarded, "127.0.3.1", guarded.user, guarded.password)[0].startswith("421")
    answer, seconds = attempt(guarded, "127.0.3.2", guarded.user, guarded.password)
    assert answer == "235 Authentication successful"
    assert seconds < 5  # a stranger's failures in another test may delay this user by a second


def test_a_failing_stranger_delays_a_user_but_never_locks_them_out(guarded):
    """Decision 23: many addresses try one user; the user is served, late at most."""
    for number in range(8):
        assert attempt(guarded, f"127.0.3.{10 + number}", guarded.user, "wrong")[0] == WRONG
    answer, seconds = attempt(guarded, "127.0.3.30", guarded.user, guarded.password)
    assert answer == "235 Authentication successful"
    assert seconds < 8


def test_an_address_with_a_recent_success_is_exempt(guarded):
    """Decision 23: one broken client behind a shared address does not shut out the others there."""
    assert attempt(guarded, "127.0.3.40", guarded.user, guarded.password)[0][:3] == "235"
    for _ in range(9):
        assert attempt(guarded, "127.0.3.40", "broken", "wrong")[0] == WRONG
    assert attempt(guarded, "127.0.3.40", guarded.user, guarded.password)[0][:3] == "235"


def test_parallel_guesses_pass_the_limit_by_little(guarded):
    """Thirty at once over two workers: what is checked stays near the limit, and the worker stays responsive."""
    replies = []
    threads = [
        threading.Thread(target=lambda n=n: replies.append(attempt(guarded, "127.0.3.50", f"p{n}", "x")[0]))
        for n in range(30)
    ]
    for thread in threads:
        thread.start()
    answer, seconds = attempt(guarded, "127.0.3.51", guarded.user, guarded.password)
    for thread in threads:
        thread.join()
    assert answer[:3] == "235"
    assert seconds < 3
    assert len(replies) == 30
    assert replies.count(WRONG) <= 12
    assert set(replies) <= {WRONG, "421 Too many failed authentications"}


def test_failures_leave_log_lines_without_passwords(guarded):
    attempt(guarded, "127.0.3.60", "somebody", "Secret-Guess-1")
    eventually(lambda: '"127.0.3.60"' in guarded.log_text())
    assert "Secret-Guess-1" not in guarded.log_text()
    assert guarded.password not in guarded.log_text()
