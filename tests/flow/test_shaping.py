"""Shaping rules through the whole product: what replies do, what traces, events and commands say about it."""

import datetime as dt
import json
import signal

import pytest

from relay.testing.internet import FakeInternet
from tests.product import Product, eventually

DOMAINS = {"big.test": [""], "small.test": [""], "many.test": ["slow-dot.0.03"], "example.com": [""]}
RULES = """\
name: bigmail
about: A provider made up for this test.
match: {hosts: ["*.big.test"]}
limits: {connections: 3, connections_start: 1}
exceptions:
  - {source: 192.0.2.77, limits: {connections: 1}}
  - {pool: bulk, limits: {connections: 2}}
responses:
  - {name: slow, code: 421, text: 'slow down', slow: {to: 50%, lasts: 10m}, examples: ['421 4.7.0 slow down']}
  - {name: give-up, code: 450, text: 'never', bounce: true}
  - {name: blocked, code: 5xx, text: 'is blocked', retry: 1, retry_after: 1s}
"""
MANY = """\
name: manymail
match: {hosts: ["*.many.test"]}
limits: {connections: 3, connections_start: 1}
"""


@pytest.fixture(scope="module")
def net():
    with FakeInternet(DOMAINS).in_thread() as made:
        yield made


@pytest.fixture(scope="module")
def product(net):
    settings = {
        "dns": {"nameservers": [net.dns.nameserver], "timeout": "1s"},
        "delivery": {
            "port": net.port,
            "allow_private_destinations": True,
            "retry": ["1s"],
            "retry_jitter_percent": 0,
            "connection_idle": "0s",
        },
        "shaping": {"directory": "shaping"},
    }
    made = Product(**settings)
    (made.directory / "shaping").mkdir()
    (made.directory / "shaping" / "bigmail.yaml").write_text(RULES)
    (made.directory / "shaping" / "manymail.yaml").write_text(MANY)
    with made:
        yield made


@pytest.fixture
def big(net):
    host = net.hosts["mx1.big.test"]
    yield host
    host.replies = {}


@pytest.fixture
def small(net):
    host = net.hosts["mx1.small.test"]
    yield host
    host.replies = {}


def attempts(product, message_id, count=1):
    def made():
        found = product.json("trace", message_id)["deliveries"][0]["attempts"]
        return found if len(found) >= count else None

    return eventually(made, what=f"attempt {count} of {message_id}")


def test_the_rule_that_decided_is_in_trace_log_and_metrics(product, big):
    big.replies = {"mail": "421 4.7.0 slow down please"}
    message_id = product.send("rule@big.test")
    first = attempts(product, message_id)[0]
    assert first["rule"] == "bigmail/slow"
    assert first["effects"] == ["slow to 50% for 600 s"]
    assert "rule bigmail/slow: slow to 50% for 600 s" in product.run("trace", message_id).stdout
    eventually(
        lambda: '"rule": "bigmail/slow"' in product.log_text() or '"rule":"bigmail/slow"' in product.log_text()
    )
    eventually(lambda: 'relay_shaping_effects_total{kind="slow"}' in product.metrics())


def test_a_rule_bounces_at_once_what_would_be_tried_for_hours(product, big):
    big.replies = {"rcpt": "450 4.2.1 never for this one"}
    message_id = product.send("bounce@big.test")
    bounces = product.wait_event("Bounce")
    found = eventually(lambda: [one for one in bounces if one["mail"]["messageId"] == message_id] or None)
    assert "450 4.2.1 never" in found[0]["bounce"]["bouncedRecipients"][0]["diagnosticCode"]
    assert attempts(product, message_id)[0]["rule"] == "bigmail/give-up"


def test_a_refusal_of_the_address_is_tried_again_and_then_believed(product, big):
    big.replies = {"mail": "550 5.7.1 192.0.2.1 is blocked"}
    message_id = product.send("blocked@big.test")
    made = attempts(product, message_id, 2)
    assert [one["rule"] for one in made] == ["bigmail/blocked", "bigmail/blocked"]
    assert [one["outcome"] for one in made] == ["temporary", "permanent"]


def test_a_time_that_a_reply_names_goes_before_the_schedule(product, small):
    small.replies = {"rcpt": "451 4.7.1 Greylisted, try again in 40 minutes"}
    first = attempts(product, product.send("grey@small.test"))[0]
    assert first["rule"] is None
    waits = dt.datetime.fromisoformat(first["nextAttempt"]) - dt.datetime.fromisoformat(first["finished"])
    assert dt.timedelta(minutes=40) <= waits < dt.timedelta(minutes=45)
    small.replies = {"rcpt": "451 4.7.1 Greylisted"}
    message_id = product.send("soon@small.test")
    attempts(product, message_id)
    small.replies = {}
    eventually(lambda: product.json("trace", message_id)["deliveries"][0]["state"] == "delivered")


@pytest.mark.req("DNSBL-002")
def test_a_listing_is_named_in_event_and_trace_with_advice(product, small):
    small.replies = {"rcpt": "554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org; See: the page"}
    message_id = product.send("listed@small.test")
    attempt = attempts(product, message_id)[0]
    assert attempt["blocklist"] == "zen.spamhaus.org"
    assert "postmaster" in attempt["advice"]
    assert "use another address" in attempt["advice"]
    assert "listed by zen.spamhaus.org" in product.run("trace", message_id).stdout

    def event():
        found = [one for one in product.events("Bounce") if one["mail"]["messageId"] == message_id]
        return found[0]["bounce"]["bouncedRecipients"][0] if found else None

    assert eventually(event)["blocklist"] == "zen.spamhaus.org"
    eventually(lambda: 'relay_blocklisted_total{list="zen.spamhaus.org"}' in product.metrics())


def test_explain_says_which_rules_apply_and_why(product, big):
    big.replies = {"mail": "421 4.7.0 slow down again"}
    message_id = product.send("explained@big.test")
    attempts(product, message_id)
    found = product.json("shaping", "explain", "someone@big.test")
    assert found["rules"] == found["destination"] == "bigmail"
    assert found["why"] == "host mx1.big.test fits *.big.test"
    assert found["hosts"] == [{"preference": 10, "host": "mx1.big.test"}]
    limits = {one["name"]: (one["value"], one["from"].rpartition("/")[2]) for one in found["limits"]}
    assert limits["connections"] == (3, "bigmail.yaml")
    assert limits["messages_per_connection"] == (100, "delivery.messages_per_connection")
    assert limits["messages_per_minute"] == (0, "none is set")
    replies = [one["reply"] for hour in found["lastHour"] for one in hour["replies"]]
    assert "421 4.7.0 slow down again" in replies
    assert found["queued"] >= 1
    text = product.run("shaping", "explain", "big.test").stdout
    assert "host mx1.big.test fits *.big.test" in text
    assert "421 4.7.0 slow down again  [bigmail/slow (slow to 50% for 600 s)]" in text


def test_explain_from_an_address_with_limits_of_its_own(product):
    for address, pool in (("192.0.2.77", "one"), ("192.0.2.78", "bulk")):
        product.run("pool", "create", pool)
        product.run("address", "add", address, "--account", product.account, "--pool", pool)
    found = product.json("shaping", "explain", "big.test", "--from", "192.0.2.77")
    limits = {one["name"]: one for one in found["limits"]}
    assert limits["connections"]["value"] == 1
    assert limits["connections"]["from"].startswith("exception for 192.0.2.77")
    found = product.json("shaping", "explain", "big.test", "--pool", "bulk")
    limits = {one["name"]: one for one in found["limits"]}
    assert limits["connections"]["value"] == 2
    assert limits["connections"]["from"].startswith("exception for bulk")
    assert product.json("shaping", "explain", "big.test", "--from", "192.0.2.78")["limits"] == found["limits"]
    for option, given, said in (
        ("--from", "192.0.2.79", "192.0.2.79 is no source address of this relay"),
        ("--pool", "nothing", "There is no pool nothing; `relay pool list` names all"),
    ):
        refused = product.run("shaping", "explain", "big.test", option, given, check=False)
        assert refused.returncode == 64
        assert said in refused.stderr


def test_explain_of_somebody_whom_no_rules_know(product):
    found = product.json("shaping", "explain", "x@small.test")
    assert (found["rules"], found["destination"]) == ("default", "mx1.small.test")
    assert found["why"] == "no provider fits: rules for all"


@pytest.mark.parametrize(
    ("target", "about"),
    [("x@nowhere.test", "does not exist"), ("a b", "must be a domain name"), ("localhost", "No mail can go")],
)
def test_explain_of_what_cannot_get_mail(product, target, about):
    done = product.run("shaping", "explain", target, check=False)
    assert done.returncode == 64
    assert about in done.stderr


def test_try_replays_what_happened_against_other_rules(product, big, tmp_path):
    big.replies = {"rcpt": "451 4.3.0 odd words of ours"}
    message_id = product.send("tried@big.test")
    attempts(product, message_id)
    changed = tmp_path / "changed.yaml"
    changed.write_text(
        RULES.replace(
            "responses:\n", "responses:\n  - {name: odd, code: 451, text: 'odd words', bounce: true, pause: 3h}\n"
        )
    )
    found = product.json("shaping", "try", str(changed))
    rows = {row["rule"]: row for row in found["rules"]}
    assert rows["bigmail/odd"]["now"]["matches"] == 0
    assert rows["bigmail/odd"]["then"]["matches"] >= 1
    assert rows["bigmail/odd"]["then"]["bounced"] >= 1
    assert rows["bigmail/odd"]["then"]["effects"] == {"bounce": rows["bigmail/odd"]["then"]["matches"],
                                                     "pause": rows["bigmail/odd"]["then"]["matches"]}  # fmt: skip
    (lane,) = [one for one in found["lanes"] if one["then"] > one["now"]]
    assert (lane["destination"], lane["then"]) == ("bigmail", 180)
    assert found["attempts"] >= 1
    text = product.run("shaping", "try", str(changed)).stdout
    assert "bigmail/odd" in text
    assert "bounced by a rule" in text


def test_check_and_list(product, tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("name: mine\nmatch: {hosts: ['*.mine.test']}\n")
    bad.write_text("name: mine\nlimit: {}\n")
    assert "ok" in product.run("shaping", "check", str(good)).stdout
    done = product.run("shaping", "check", str(bad), check=False)
    assert done.returncode == 78
    assert "bad.yaml:2: limit: there is no such setting; did you mean `limits`?" in done.stdout
    done = product.run("shaping", "check", str(bad), "--json", check=False)
    assert json.loads(done.stdout)["findings"][0]["line"] == 2
    inside = product.directory / "shaping" / "bad.yaml"  # read twice, as one in force and as the one that is named
    inside.write_text("name: mine\nlimit: {}\n")
    try:
        done = product.run("shaping", "check", str(inside), check=False)
    finally:
        inside.unlink()
    assert done.stdout.count("there is no such setting") == 1
    names = {row["name"] for row in product.rows("shaping", "list")}
    assert {"bigmail", "gmail", "outlook", "yahoo", "default"} <= names
    shown = product.json("shaping", "list", "bigmail")
    assert [one["name"] for one in shown["responses"]] == ["bigmail/slow", "bigmail/give-up", "bigmail/blocked"]
    assert product.run("shaping", "list", "nobody", check=False).returncode == 64


def test_changed_rules_hold_after_a_reload_and_faulty_ones_are_refused_whole(product, big):
    file = product.directory / "shaping" / "bigmail.yaml"
    big.replies = {"rcpt": "450 4.9.9 words of the reload"}
    try:
        file.write_text(RULES.replace("give-up, code: 450, text: 'never'", "reloaded, code: 450, text: 'reload'"))
        product.process.send_signal(signal.SIGHUP)

        def decided():
            message_id = product.send("reload@big.test")
            return attempts(product, message_id)[0]["rule"] == "bigmail/reloaded"

        eventually(decided)
        file.write_text(RULES.replace("bounce: true", "bounce: maybe"))
        product.process.send_signal(signal.SIGHUP)
        eventually(lambda: "responses[1].bounce: must be true or false" in product.log_text())
        assert decided()
        assert product.run("check", check=False).returncode == 78
    finally:
        file.write_text(RULES)
        product.process.send_signal(signal.SIGHUP)


def test_a_provider_gets_no_more_connections_than_its_rules_say(product, net):
    host = net.hosts["mx1.many.test"]
    with product.client() as client:
        ids = [product.send(f"many{number}@many.test", client=client) for number in range(30)]
    for message_id in ids:
        attempts(product, message_id)
    assert 1 < host.open_most <= 3


def test_shaping_can_be_switched_off(product, big):
    """Faulty rules of a relay without shaping do not matter."""
    config = product.directory / "off.yaml"
    config.write_text(
        product.config.read_text().replace("directory: shaping", "directory: nowhere\n  enabled: false")
    )
    done = product.run("check", "-c", str(config), "--no-ports", config="none")
    assert "ok" in done.stdout
