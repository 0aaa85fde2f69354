"""Configuration sets over SMTP: by header, by default, switched off, and what they ask of delivery."""

import json
import sqlite3

import pytest

from tests.product import Product, Receiver, eventually


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:  # does not offer STARTTLS
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Product(receiver.port, delivery={"lifetime": "4s", "retry": ["1s"]}, suppression=True) as made:
        yield made


def attempt(product, headers="", recipients=("user@remote.example",), sender="app@example.com"):
    """Submit and return "code text" of the reply to the data."""
    with product.client() as client:
        client.ehlo_or_helo_if_needed()
        client.mail(sender)
        for recipient in recipients:
            client.rcpt(recipient)
        code, text = client.data(f"From: {sender}\r\n{headers}\r\nhi\r\n".encode())
        return f"{code} {text.decode()}"


def named(name):
    return f"X-SES-CONFIGURATION-SET: {name}\r\n"


def stored(product, message_id):
    with sqlite3.connect(product.data_dir / "spool" / "0001" / "spool.db") as connection:
        query = "SELECT accepted_ms, expires_ms, options FROM message WHERE message_id = ?"
        return connection.execute(query, (message_id,)).fetchone()


@pytest.mark.req("HDR-012", "CFG-011", "TAG-004")
def test_a_set_is_named_by_a_header_that_nobody_else_sees(product, receiver):
    product.run("configuration-set", "create", "news")
    before = len(receiver.messages)
    reply = attempt(product, named("news"))
    assert reply.startswith("250 Ok ")
    *_, (_, _, data) = receiver.wait(before + 1)
    assert b"x-ses" not in data.lower()
    message_id = reply.split()[-1]
    for kind in ("Send", "Delivery"):
        event = eventually(
            lambda kind=kind: next((e for e in product.events(kind) if e["mail"]["messageId"] == message_id), None)
        )
        assert event["mail"]["tags"]["ses:configuration-set"] == ["news"]


@pytest.mark.req("ERR-008", "CFG-013", "ERR-010")
def test_an_unknown_set_is_refused_and_nothing_queued(product):
    sent = product.json("quota", "show")["sentLast24Hours"]
    for name in ("nothing", "NEWS2", "x" * 500, "a;b"):
        assert attempt(product, named(name)) == "554 Message rejected: Configuration set does not exist"
    assert product.json("quota", "show")["sentLast24Hours"] == sent
    product.run("account", "create", "000000000077", "--production")
    product.run("configuration-set", "create", "theirs", "--account", "000000000077")
    assert attempt(product, named("theirs")) == "554 Message rejected: Configuration set does not exist"


@pytest.mark.req("FLOW-022")
def test_the_set_is_checked_after_the_recipients_and_before_the_identity(product):
    reply = attempt(product, named("nothing"), sender="x@foreign.example")
    assert reply == "554 Message rejected: Configuration set does not exist"
    assert "Duplicate header" in attempt(product, named("nothing") + "Subject: a\r\nSubject: b\r\n")


@pytest.mark.req("CFG-009", "PAUSE-004")
def test_a_set_can_be_switched_off_while_all_other_mail_goes_on(product):
    product.run("configuration-set", "create", "switched")
    assert attempt(product, named("switched")).startswith("250")
    product.run("configuration-set", "set", "switched", "--no-sending")
    assert attempt(product, named("switched")) == (
        "554 Message rejected: Sending paused for configuration set switched."
    )
    assert attempt(product).startswith("250")
    product.run("configuration-set", "set", "switched", "--sending")
    assert attempt(product, named("switched")).startswith("250")


@pytest.mark.req("API-021", "CFG-015", "CFG-016", "CFG-017", "IDENT-003", "IDENT-004")
def test_the_default_of_the_identity_counts_where_the_message_names_none(product):
    for name in ("parent", "child", "other"):
        product.run("configuration-set", "create", name)
    for identity in ("defaults.example", "sub.defaults.example", "me@sub.defaults.example"):
        product.run("identity", "create", identity)
        product.run("identity", "verify", "--force", identity)
    product.run("configuration-set", "default", "defaults.example", "parent")
    product.run("configuration-set", "default", "sub.defaults.example", "child")

    def used(sender, headers=""):
        options = stored(product, attempt(product, headers, sender=sender).split()[-1])[2]
        return json.loads(options)["configuration_set"] if options else None

    assert used("a@defaults.example") == "parent"
    assert used("a@deep.sub.defaults.example") == "child"
    assert used("me@sub.defaults.example") is None
    assert used("a@defaults.example", named("other")) == "other"
    product.run("configuration-set", "delete", "parent")
    assert attempt(product, sender="a@defaults.example") == "554 Message rejected: Configuration set does not exist"
    assert used("a@defaults.example", named("other")) == "other"
    product.run("configuration-set", "default", "defaults.example")
    assert used("a@defaults.example") is None


@pytest.mark.req("TLS-004", "CFG-005")
def test_mail_that_requires_tls_waits_and_then_bounces_and_never_leaves_in_clear(product, receiver):
    product.run("configuration-set", "create", "strict", "--tls", "REQUIRE")
    before = len(receiver.messages)
    message_id = attempt(product, named("strict")).split()[-1]
    plain = attempt(product)
    receiver.wait(before + 1)

    def bounced():
        found = [event for event in product.events("Bounce") if event["mail"]["messageId"] == message_id]
        return found and found[0]["bounce"]

    bounce = eventually(bounced)
    assert "TLS is required" in bounce["bouncedRecipients"][0]["diagnosticCode"]
    delays = [event for event in product.events("DeliveryDelay") if event["mail"]["messageId"] == message_id]
    assert delays
    trace = product.json("trace", message_id)
    attempts = trace["deliveries"][0]["attempts"]
    assert len(attempts) >= 2
    receiver.wait(before + 2)  # the message without the set, and the report to its sender
    relayed = [data for _, _, data in receiver.messages[before:]]
    assert not [data for data in relayed if f"id {message_id}".encode() in data and b"multipart/report" not in data]
    assert any(f"id {plain.split()[-1]}".encode() in data for data in relayed)


def test_a_set_may_give_its_mail_another_time(product):
    product.run("configuration-set", "create", "slow", "--max-delivery-seconds", "300")
    accepted_ms, expires_ms, _ = stored(product, attempt(product, named("slow")).split()[-1])
    assert expires_ms - accepted_ms == 300_000
    accepted_ms, expires_ms, _ = stored(product, attempt(product).split()[-1])
    assert expires_ms - accepted_ms == 4_000


@pytest.mark.req("SUPP-019", "SUPP-021")
def test_a_set_chooses_which_entries_of_the_list_stop_its_mail(product):
    product.run("suppression", "add", "gone@remote.example", "--reason", "bounce")
    product.run("suppression", "add", "angry@remote.example", "--reason", "complaint")
    product.run("configuration-set", "create", "as-account")
    product.run("configuration-set", "create", "all", "--suppressed-reasons", "none")
    product.run("configuration-set", "create", "complaints", "--suppressed-reasons", "COMPLAINT")
    recipients = ("gone@remote.example", "angry@remote.example")

    def of(message_id, kind):
        return [event for event in product.events(kind) if event["mail"]["messageId"] == message_id]

    def stopped(name):
        message_id = attempt(product, named(name), recipients).split()[-1]
        eventually(lambda: sum(len(of(message_id, kind)) for kind in ("Delivery", "Bounce", "Complaint")) == 2)
        bounced = [event["bounce"]["bouncedRecipients"][0]["emailAddress"] for event in of(message_id, "Bounce")]
        lists = [event["complaint"]["complainedRecipients"] for event in of(message_id, "Complaint")]
        return {*bounced, *(one[0]["emailAddress"] for one in lists)}

    assert stopped("as-account") == set(recipients)
    assert stopped("complaints") == {"angry@remote.example"}
    assert stopped("all") == set()
