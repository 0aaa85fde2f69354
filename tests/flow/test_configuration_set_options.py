"""What a configuration set holds, whose default it is, and the tags of messages, from outside."""

import json

import pytest

from tests.product import Product, Receiver, eventually

NOBODY = "000000000099"


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Product(receiver.port) as made:
        yield made


def event(product, kind, message_id):
    return eventually(
        lambda: next((one for one in product.events(kind) if one["mail"]["messageId"] == message_id), None),
        what=f"{kind} of {message_id}",
    )


def tags(product, kind, message_id):
    return event(product, kind, message_id)["mail"]["tags"]


def refusal(product, sender):
    """Submit from an address and return code and text of the reply."""
    with product.client() as client:
        client.ehlo_or_helo_if_needed()
        client.mail(sender)
        client.rcpt("user@remote.example")
        code, text = client.data(f"From: {sender}\r\n\r\nhi\r\n".encode())
        return f"{code} {text.decode()}"


def verified(product, name, *words):
    product.run("identity", "create", name, *words)
    product.run("identity", "verify", "--force", name, *words)


@pytest.mark.req("CFG-001", "CFG-008", "REP-013")
def test_a_set_tells_everything_it_was_made_with(product):
    verified(product, "links.example")
    made = product.json(
        "configuration-set", "create", "whole", "--tls", "REQUIRE", "--pool", "ses-shared-pool",
        "--max-delivery-seconds", "300", "--suppressed-reasons", "BOUNCE", "--redirect-domain", "click.links.example",
        "--https", "REQUIRE", "--no-sending", "--reputation-metrics", "--engagement-metrics", "ENABLED",
        "--optimized-delivery", "disabled", "--tag", "team=news", "--tag", "empty",
    )  # fmt: skip
    found = product.json("configuration-set", "show", "whole")
    assert {**made, "tags": {"team": "news", "empty": ""}, "defaultOf": []} == found
    expected = {
        "tlsPolicy": "REQUIRE", "sendingPool": "ses-shared-pool", "maxDeliverySeconds": 300,
        "suppressedReasons": ["BOUNCE"], "redirectDomain": "click.links.example", "httpsPolicy": "REQUIRE",
        "sendingEnabled": False, "reputationMetrics": True, "engagementMetrics": "ENABLED",
        "optimizedDelivery": "DISABLED",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    text = product.run("configuration-set", "show", "whole").stdout
    for word in ("click.links.example", "ENABLED", "DISABLED", "team=news"):
        assert word in text

    plain = product.json("configuration-set", "create", "plain")
    assert plain["reputationMetrics"] is False  # of a new set
    assert plain["sendingEnabled"] is True
    assert plain["engagementMetrics"] is None
    assert plain["optimizedDelivery"] is None
    assert plain["lastFreshStart"] is None
    product.run("reputation", "fresh-start", "--set", "plain")
    assert product.json("configuration-set", "show", "plain")["lastFreshStart"]
    assert product.json("configuration-set", "set", "plain", "--reputation-metrics")["reputationMetrics"] is True
    assert product.json("configuration-set", "set", "plain", "--no-reputation-metrics")["reputationMetrics"] is False
    changed = product.json("configuration-set", "set", "whole", "--engagement-metrics", "account")
    assert (changed["engagementMetrics"], changed["optimizedDelivery"]) == (None, "DISABLED")
    done = product.run("configuration-set", "set", "whole", "--optimized-delivery", "maybe", check=False)
    assert done.returncode == 64
    assert "ENABLED, DISABLED" in done.stderr


@pytest.mark.req("CFG-004")
def test_too_many_or_bad_tags_make_no_set(product):
    words = [word for number in range(51) for word in ("--tag", f"k{number}=v")]
    for given in (words, ["--tag", "=value"], ["--tag", "bad!=x"]):
        done = product.run("configuration-set", "create", "tagged", *given, check=False)
        assert done.returncode == 64
        assert "tag" in done.stderr
        assert product.run("configuration-set", "show", "tagged", check=False).returncode == 64
    product.run("configuration-set", "create", "tagged", *words[:-2])
    assert len(product.json("configuration-set", "show", "tagged")["tags"]) == 50


@pytest.mark.req("CFG-007")
def test_links_lead_only_to_domains_that_are_verified(product):
    product.run("account", "create", NOBODY)
    verified(product, "theirs.example", "--account", NOBODY)
    product.run("identity", "create", "unproven.example")
    verified(product, "proven.example")
    for domain in ("theirs.example", "unproven.example", "click.unproven.example", "example", "notproven.example"):
        done = product.run("configuration-set", "create", "links", "--redirect-domain", domain, check=False)
        assert done.returncode == 64
        assert "verified" in done.stderr
        assert product.run("configuration-set", "show", "links", check=False).returncode == 64
    product.run("configuration-set", "create", "links", "--redirect-domain", "Proven.example")
    done = product.run("configuration-set", "set", "links", "--redirect-domain", "unproven.example", check=False)
    assert done.returncode == 64
    shown = product.json("configuration-set", "set", "links", "--redirect-domain", "a.b.proven.example")
    assert shown["redirectDomain"] == "a.b.proven.example"
    product.run("identity", "delete", "proven.example", "--yes")
    assert (
        product.json("configuration-set", "set", "links", "--tls", "REQUIRE")["tlsPolicy"] == "REQUIRE"
    )  # as it was
    assert product.json("configuration-set", "set", "links", "--redirect-domain", "")["redirectDomain"] is None


@pytest.mark.req("CFG-002")
def test_every_rule_of_a_set_holds_for_each_message(product):
    product.run("topic", "create", "of-set")
    product.run("topic", "subscribe", "of-set", "sqs", "of-set", "--raw")
    product.run("configuration-set", "create", "neither")
    product.run("configuration-set", "create", "both", "--pool", "ses-shared-pool", "--max-delivery-seconds", "600")
    product.run("event-destination", "create", "both", "told", "--types", "DELIVERY", "--topic", "of-set")
    sent = {
        name: [product.send(headers=f"X-SES-CONFIGURATION-SET: {name}\r\n") for _ in range(2)]
        for name in ("neither", "both")
    }
    for name, message_ids in sent.items():
        for message_id in message_ids:
            assert tags(product, "Delivery", message_id)["ses:configuration-set"] == [name]
    path = product.data_dir / "queues" / "000000000001" / "of-set.jsonl"
    told = eventually(
        lambda: path.exists() and len(lines := path.read_text().splitlines()) == 2 and [*map(json.loads, lines)]
    )
    assert {one["mail"]["messageId"] for one in told} == set(sent["both"])


@pytest.mark.req("CFG-014", "CFG-017", "CFG-018")
def test_the_default_of_an_identity_is_told_changed_and_missed(product):
    product.run("configuration-set", "create", "first")
    done = product.run("identity", "create", "fails.example", "--configuration-set", "missing", check=False)
    assert done.returncode == 64
    assert product.run("identity", "show", "fails.example", check=False).returncode
    product.run("identity", "create", "begins.example", "--configuration-set", "first")
    product.run("identity", "verify", "--force", "begins.example")
    assert product.json("identity", "show", "begins.example")["configurationSet"] == "first"
    assert product.run("identity", "set", "begins.example", "--configuration-set", "missing", check=False).returncode
    assert product.json("identity", "show", "begins.example")["configurationSet"] == "first"

    product.run("configuration-set", "delete", "first")
    assert product.json("identity", "show", "begins.example")["configurationSet"] == "first"  # it still names it
    for _ in range(2):
        assert refusal(product, "a@begins.example") == "554 Message rejected: Configuration set does not exist"
    product.run("identity", "set", "begins.example", "--configuration-set", "")
    assert product.json("identity", "show", "begins.example")["configurationSet"] is None
    assert refusal(product, "a@begins.example").startswith("250 Ok ")


@pytest.mark.req("TAG-001", "HDR-013")
def test_tags_come_from_a_header_that_nobody_else_sees(product, receiver):
    given = "X-SES-MESSAGE-TAGS: campaign=spring, n_2=a-B_9,bad name=x, =y, empty=, ses:from-domain=z\r\n"
    message_id = product.send("tagged@remote.example", headers=given)
    found = tags(product, "Send", message_id)
    assert {name: value for name, value in found.items() if not name.startswith("ses:")} == {
        "campaign": ["spring"],
        "n_2": ["a-B_9"],
    }
    assert found["ses:from-domain"] == ["example.com"]
    data = eventually(lambda: [m for m in receiver.messages if m[1] == ["tagged@remote.example"]])[0][2]
    assert b"x-ses" not in data.lower()


@pytest.mark.req("TAG-004", "TAG-005", "TAG-006")
def test_automatic_tags_come_by_themselves(product):
    product.run("configuration-set", "create", "automatic")
    message_id = product.send(headers="X-SES-CONFIGURATION-SET: automatic\r\nX-SES-MESSAGE-TAGS: own=1\r\n")
    sent, delivered = (tags(product, kind, message_id) for kind in ("Send", "Delivery"))
    assert sent == {
        "own": ["1"],
        "ses:configuration-set": ["automatic"],
        "ses:source-ip": ["127.0.0.1"],
        "ses:from-domain": ["example.com"],
        "ses:caller-identity": sent["ses:caller-identity"],
        "ses:operation": ["SendSmtpEmail"],
    }
    assert sent["ses:caller-identity"][0]
    assert delivered == {**sent, "ses:outgoing-ip": ["127.0.0.1"]}


@pytest.mark.req("DEST-013", "DEST-017")
def test_what_no_metric_can_carry_fails_no_send(product):
    product.run("configuration-set", "create", "measured")
    dimensions = ["--dimension", "EMAIL_HEADER:X-Genre=other", "--dimension", "MESSAGE_TAG:campaign=none"]
    product.run("event-destination", "create", "measured", "counts", "--types", "SEND", *dimensions)
    own = "X-SES-CONFIGURATION-SET: measured\r\n"
    raw = ("SMTPUTF8",)  # raw letters beyond ASCII need it, whatever they are for (HDR-022)
    values = (
        ("two words", ()),
        ("a" * 300, ()),
        ("", ()),
        ("=?utf-8?q?gr=C3=B6=C3=9Fe?=", ()),
        ("gr\u00f6\u00dfe", raw),
    )
    for value, options in values:
        headers = f"{own}X-Genre: {value}\r\nX-SES-MESSAGE-TAGS: campaign={value}\r\n"
        event(product, "Send", product.send(headers=headers, options=options))
