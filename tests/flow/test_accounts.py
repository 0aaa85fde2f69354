"""Several accounts of one relay: the sandbox, and that none of them reaches into another."""

import smtplib

import pytest

from tests.product import Product, Receiver, eventually

A, B = "000000000001", "000000000002"
SANDBOXED = "000000000003"


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Product(receiver.port) as made:
        made.run("account", "create", B, "--production")
        made.run("identity", "create", "b.example", "--account", B)
        made.run("identity", "verify", "--force", "b.example", "--account", B)
        made.run("account", "create", SANDBOXED, "--contact", "owner@s.example")
        made.run("quota", "set", "--daily", "200", "--rate", "-1", "--account", SANDBOXED)
        for identity in ("s.example", "friend@elsewhere.example"):
            made.run("identity", "create", identity, "--account", SANDBOXED)
            made.run("identity", "verify", "--force", identity, "--account", SANDBOXED)
        made.logins = {
            each: made.json("credentials", "create", "--account", each)["smtp"] for each in (A, B, SANDBOXED)
        }
        yield made


def session(product, account):
    client = smtplib.SMTP("127.0.0.1", product.port, timeout=30)
    client.starttls()
    client.login(product.logins[account]["username"], product.logins[account]["password"])
    return client


def attempt(product, account, sender, recipients=("user@remote.example",), client=None):
    """Submit and return "code text" of the reply to the data."""
    own = client or session(product, account)
    code, text = own.mail(sender)
    assert code == 250, text
    for recipient in recipients:
        own.rcpt(recipient)
    code, text = own.data(f"From: {sender}\r\n\r\nhi\r\n".encode())
    if client is None:
        own.quit()
    return f"{code} {text.decode()}"


NOT_VERIFIED = (
    "554 Message rejected: Email address is not verified. The following identities failed the check in region "
    "LOCAL-1: "
)


@pytest.mark.req("SBX-002", "ERR-001")
def test_in_the_sandbox_every_recipient_must_be_verified(product):
    mixed = ("a@s.example", "x@remote.example", "friend@elsewhere.example", "y@remote.example", "b@sub.s.example")
    assert attempt(product, SANDBOXED, "me@s.example", mixed) == NOT_VERIFIED + "x@remote.example, y@remote.example"
    good = ("a@s.example", "friend@elsewhere.example", "friend+tag@elsewhere.example", "b@sub.s.example")
    assert attempt(product, SANDBOXED, "me@s.example", good).startswith("250")
    assert attempt(product, SANDBOXED, "me@s.example", ("Friend@elsewhere.example",)).startswith(NOT_VERIFIED)
    simulated = ("success@simulator.amazonses.com", "bounce+x@simulator.relay.example")
    assert attempt(product, SANDBOXED, "me@s.example", simulated).startswith("250")
    near = "success@simulator.amazonses.com.example"
    assert attempt(product, SANDBOXED, "me@s.example", (*simulated, near)) == NOT_VERIFIED + near
    assert attempt(product, SANDBOXED, "me@s.example", ("x@b.example",)) == NOT_VERIFIED + "x@b.example"


@pytest.mark.req("ERR-002", "SBX-002")
def test_many_failing_recipients_are_cut(product):
    reply = attempt(product, SANDBOXED, "me@s.example", [f"r{n}@remote.example" for n in range(12)])
    assert reply.startswith(NOT_VERIFIED + "r0@remote.example, r1@remote.example")
    assert reply.endswith("...")
    assert len(reply) <= 510


@pytest.mark.req("SBX-003", "SBX-005")
def test_outside_the_sandbox_any_recipient_is_allowed_and_senders_are_checked_as_before(product):
    account = "000000000004"
    product.run("account", "create", account)
    product.run("identity", "create", "out.example", "--account", account)
    product.run("identity", "verify", "--force", "out.example", "--account", account)
    product.logins[account] = product.json("credentials", "create", "--account", account)["smtp"]
    eventually(lambda: attempt(product, account, "me@out.example") == NOT_VERIFIED + "user@remote.example")
    details = ("--mail-type", "MARKETING", "--website-url", "https://out.example", "--use-case", "News.")
    request = product.json("account", "request", "production", "--account", account, "--rate", "100", *details)
    assert attempt(product, account, "me@out.example") == NOT_VERIFIED + "user@remote.example"
    product.run("account", "review", "grant", str(request["request"]))
    eventually(lambda: attempt(product, account, "me@out.example").startswith("250"))  # a bucket fills first
    assert attempt(product, account, "me@else.example") == NOT_VERIFIED + "me@else.example"


@pytest.mark.req("ERR-001")
def test_no_account_sends_as_an_identity_of_another(product):
    for sender in ("app@example.com", "app@sub.example.com", "App@EXAMPLE.com"):
        assert attempt(product, B, sender).startswith(NOT_VERIFIED)
    assert attempt(product, A, "me@b.example") == NOT_VERIFIED + "me@b.example"
    assert attempt(product, A, "app@example.com").startswith("250")
    assert attempt(product, B, "me@b.example").startswith("250")


@pytest.mark.req("QUOTA-001")
def test_quotas_of_accounts_are_apart(product):
    used = product.json("quota", "show", "--account", A)["sentLast24Hours"]
    product.run("quota", "set", "--daily", str(used), "--rate", "-1", "--account", A)
    assert attempt(product, A, "app@example.com") == "454 Throttling failure: Daily message quota exceeded"
    before = product.json("quota", "show", "--account", B)["sentLast24Hours"]
    assert attempt(product, B, "me@b.example", ["u1@r.example", "u2@r.example"]).startswith("250")
    assert product.json("quota", "show", "--account", B)["sentLast24Hours"] == before + 2
    assert product.json("quota", "show", "--account", A)["sentLast24Hours"] == used
    product.run("quota", "set", "--daily", "-1", "--rate", "-1", "--account", A)


@pytest.mark.req("ERR-004", "PAUSE-002")
def test_a_pause_stops_one_account_only_and_in_open_sessions(product, receiver):
    product.run("account", "contact", A, "owner@a.example")
    with session(product, A) as client_a, session(product, B) as client_b:
        assert attempt(product, A, "app@example.com", client=client_a).startswith("250")
        product.run("account", "pause", A)
        paused = attempt(product, A, "app@example.com", client=client_a)
        assert paused.startswith("554 Message rejected: Sending paused for this account. For more information")
        assert attempt(product, B, "me@b.example", client=client_b).startswith("250")
        told = eventually(lambda: [m for m in receiver.messages if m[1] == ["owner@a.example"]], what="the contact")
        assert f"Sending paused for account {A}".encode() in told[0][2]
        product.run("account", "resume", A)
        assert attempt(product, A, "app@example.com", client=client_a).startswith("250")


@pytest.mark.req("CRED-011")
def test_a_credential_disabled_in_an_open_session_is_refused_at_the_next_mail(product):
    login = product.json("credentials", "create", "--account", B)
    product.logins["revoked"] = login["smtp"]
    client = session(product, "revoked")
    assert attempt(product, B, "me@b.example", client=client).startswith("250")
    product.run("user", "delete", login["user"], "--account", B)
    code, _ = client.mail("me@b.example")
    assert code in (421, 530, 535), code
    client.close()
    with pytest.raises(smtplib.SMTPAuthenticationError):
        session(product, "revoked")
    assert attempt(product, B, "me@b.example").startswith("250")


@pytest.mark.req("CRED-001")
def test_an_access_keys_secret_never_authenticates_a_session(product):
    made = product.json("credentials", "create", "--access-key", "--account", B)
    product.logins["key"] = {"username": made["access_key"]["id"], "password": made["access_key"]["secret"]}
    with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
        session(product, "key")
    assert caught.value.smtp_code == 535
    product.logins["key"] = made["smtp"]
    assert attempt(product, "key", "me@b.example").startswith("250")


@pytest.mark.req("QUOTA-013")
def test_a_quota_that_is_nearly_used_rises_by_rule(receiver):
    unknown = {"enabled": True, "bounce_rate_max": "100%", "complaint_rate_max": "100%", "outside_share_min": "0%"}
    with Product(receiver.port) as product:
        product.run("account", "contact", A, "owner@example.com")
        product.run("quota", "set", "--daily", "10", "--rate", "-1")
        product.send([f"u{n}@remote.example" for n in range(9)])
        product.stop()
        product.values["quota_rules"] = {"increase": {"enabled": True}}
        product.save()
        product.start()  # rates that are not known raise nothing
        assert product.json("quota", "show")["dailyQuota"] == 10
        product.stop()
        product.values["quota_rules"] = {"increase": unknown}
        product.save()
        product.start()
        assert eventually(lambda: product.json("quota", "show")["dailyQuota"] == 15)
        (change,) = product.rows("account", "review", "list", "--all")
        assert (change["kind"], change["state"], change["dailyQuota"]) == ("rule", "GRANTED", 15)
        assert "9 of 10" in change["reason"]
        audit = (product.data_dir / "audit.jsonl").read_text()
        assert '"account.rule"' in audit
        assert '"caller": "relay"' in audit
        product.send([f"v{n}@remote.example" for n in range(6)])
