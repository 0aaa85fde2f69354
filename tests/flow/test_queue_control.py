"""The queue in an operator's hands, on a relay that runs: choose, hold, bounce, move, watch, and what was said."""

import json
import signal
import subprocess
import threading
import time

import pytest

from relay.testing.internet import FakeInternet
from tests.product import RELAY, Product, eventually

DOMAINS = {
    "later.test": ["rcpt-451"],
    "busy.test": ["data-451"],
    "shared.test": ["rcpt-451"],
    "good.test": [""],
    "wall.test": ["tls tls-drop rcpt-450"],
    "crypt.test": ["tls rcpt-451"],
    "two.test": ["mail-421", "rcpt-452"],
    "big.test": ["rcpt-451"],
    "loose.test": ["rcpt-451"],
}
# Another domain with the hosts of shared.test.
ZONES = {"tenant.test": {"MX": ["10 mx1.shared.test."]}, "named.test": {"FAULT": "servfail"}}
RULES = {
    "bigprovider": "match:\n  hosts: ['*.big.test']\n  domains: [named.test]\n",
    "loose": "rollup: false\nmatch:\n  hosts: [mx1.loose.test]\n",
}


@pytest.fixture(scope="module")
def net():
    with FakeInternet(DOMAINS, ZONES, network="127.0.41").in_thread() as made:
        yield made


@pytest.fixture(scope="module")
def relay(net, tmp_path_factory):
    directory = tmp_path_factory.mktemp("rules")
    for name, text in RULES.items():
        (directory / f"{name}.yaml").write_text(f"name: {name}\nabout: A provider of these tests\n{text}")
    settings = {
        "shaping": {"directory": str(directory)},
        "dns": {"nameservers": [net.dns.nameserver], "timeout": "2s"},
        "delivery": {"port": net.port, "allow_private_destinations": True, "retry": ["1h"]},
        "routes": [{"domain": "routed.test", "smarthost": f"mx1.later.test:{net.port}"}],
    }
    with Product(workers=2, **settings) as made:
        yield made


@pytest.fixture
def queue(relay):
    """A relay with an empty queue."""

    def emptied():
        relay.run("queue", "delete", "--all", "--yes", check=False)  # what is under way is left alone
        return relay.rows("queue", "list") == []

    eventually(emptied, what="an empty queue")
    return relay


def tried(relay, *recipients, count=1):
    """Send to recipients and wait until each was attempted; return the message ids."""
    ids = [relay.send(recipient) for recipient in recipients for _ in range(count)]
    wanted = set(ids)

    def all_tried():
        return wanted <= {row["messageId"] for row in relay.rows("queue", "list") if row["attempts"]}

    eventually(all_tried, what="an attempt at each")
    return ids


def listed(relay, *choice):
    return sorted(row["recipient"] for row in relay.rows("queue", "list", *choice))


def count(relay, *choice):
    return relay.json("queue", "count", *choice)["count"]


def test_deliveries_are_chosen_by_site_reply_and_source(queue):
    tried(queue, "a@later.test", "b@shared.test", "c@tenant.test", "d@busy.test", "e@routed.test")
    assert listed(queue, "--site", "mx1.shared.test") == ["b@shared.test", "c@tenant.test"]
    assert listed(queue, "--site", "later.test") == ["a@later.test", "e@routed.test"], "below it, and by route"
    assert listed(queue, "--site", "shared.test", "--domain", "tenant.test") == ["c@tenant.test"]
    assert listed(queue, "--site", "test") == [
        "a@later.test",
        "b@shared.test",
        "c@tenant.test",
        "d@busy.test",
        "e@routed.test",
    ]
    assert listed(queue, "--source", "127.0.0.1", "--recipient", "d@*") == ["d@busy.test"]
    assert listed(queue, "--source", "127.0.0.9") == []
    assert count(queue, "--reply", "451") == 5
    sites = {row["name"]: row["deliveries"] for row in queue.rows("queue", "list", "--by", "site")}
    assert sites == {"mx1.later.test": 2, "mx1.shared.test": 2, "mx1.busy.test": 1}


def test_a_hold_that_ends_by_itself_is_exact_and_outlives_a_restart(queue, net):
    """Held mail is not sent before its time, and then without anybody's doing."""
    taken = net.hosts["mx1.good.test"].received
    before = len(taken)
    queue.run("queue", "hold", "--domain", "good.test", "--new", "--for", "3s")
    begun = time.monotonic()
    queue.send("held@good.test")
    (row,) = eventually(lambda: queue.rows("queue", "list", "--state", "held"))
    assert row["standingHold"]
    queue.stop(signal.SIGKILL)
    queue.start()
    assert len(taken) == before or time.monotonic() - begun > 3
    eventually(lambda: len(taken) == before + 1, what="the delivery after the hold")
    assert time.monotonic() - begun >= 3
    assert eventually(lambda: queue.rows("queue", "holds", "list") == [], what="the end of the standing hold")


def test_a_standing_hold_catches_new_mail_until_it_is_removed(queue, net):
    taken = net.hosts["mx1.good.test"].received
    before = len(taken)
    (waiting,) = tried(queue, "old@later.test")
    done = queue.json(
        "queue", "hold", "--domain", "later.test", "--domain", "good.test", "--new", "--reason", "outage"
    )
    assert done["count"] == 1
    ids = [queue.send("new@good.test") for _ in range(3)]
    eventually(lambda: count(queue, "--state", "held") == 4, what="four held")
    (hold,) = queue.rows("queue", "holds", "list")
    assert (hold["held"], hold["reason"]) == (4, "outage")
    queue.run("queue", "release", ids[0])
    eventually(lambda: len(taken) == before + 1, what="what an operator let go of")
    assert queue.json("queue", "holds", "remove", str(hold["hold"]))["released"] == 3
    eventually(lambda: len(taken) == before + 3, what="the rest")
    queue.send("free@good.test")
    eventually(lambda: len(taken) == before + 4, what="mail after the hold")
    assert [row["messageId"] for row in queue.rows("queue", "list")] == [waiting]


def test_a_bounce_by_an_operator_is_told_as_any_other(queue):
    (message_id,) = tried(queue, "gone@later.test")
    done = queue.json("queue", "bounce", message_id, "--reason", "The address book was wrong", "--yes")
    assert (done["count"], done["inFlight"]) == (1, 0)
    event = eventually(
        lambda: next((e for e in queue.events("Bounce") if e["mail"]["messageId"] == message_id), None),
        what="the Bounce event",
    )
    bounce = event["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Transient", "General")
    (told,) = bounce["bouncedRecipients"]
    assert told["emailAddress"] == "gone@later.test"
    assert told["status"] == "5.3.0"
    assert "The address book was wrong" in told["diagnosticCode"]
    (delivery,) = queue.json("trace", message_id)["deliveries"]
    assert delivery["state"] == "bounced"
    assert queue.run("queue", "bounce", message_id, "--yes", check=False).returncode == 64
    assert len([e for e in queue.events("Bounce") if e["mail"]["messageId"] == message_id]) == 1


def test_moving_changes_the_pool_from_the_next_attempt_on(queue):
    (message_id,) = tried(queue, "pool@later.test")
    (row,) = queue.rows("queue", "list")
    assert (row["pool"], row["sourceAddress"]) == (None, "127.0.0.1")
    assert queue.json("queue", "move", message_id, "--to", "default")["count"] == 1
    (row,) = queue.rows("queue", "list")
    assert row["sourceAddress"] is None


def test_moving_goes_to_a_pool_that_the_account_has(queue):
    (message_id,) = tried(queue, "pool@later.test")
    queue.run("pool", "create", "own-pool")
    try:
        refused = queue.run("queue", "move", message_id, "--to", "no-pool", check=False)
        assert refused.returncode == 64
        assert f"Account {queue.account} has no pool no-pool" in refused.stderr
        assert "default, own-pool, ses-default-dedicated-pool, ses-shared-pool" in refused.stderr
        assert queue.run("queue", "move", message_id, "--to", "no-pool", "--dry-run", check=False).returncode == 64
        (row,) = queue.rows("queue", "list")
        assert (row["pool"], row["sourceAddress"]) == (None, "127.0.0.1"), "nothing moved"
        assert queue.json("queue", "move", message_id, "--to", "own-pool")["count"] == 1
        (row,) = queue.rows("queue", "list")
        assert (row["pool"], row["sourceAddress"]) == ("own-pool", None)
    finally:
        queue.run("pool", "delete", "own-pool")


def test_providers_of_the_shaping_rules_are_sites(queue):
    """By the hosts in DNS, by the domain alone where DNS has no answer for it, and by a route's host."""
    queue.send("a@later.test")
    queue.send("b@big.test")
    queue.send("c@routed.test")
    queue.send("d@named.test")
    queue.send("e@loose.test")
    assert listed(queue, "--site", "bigprovider") == ["b@big.test", "d@named.test"]
    assert listed(queue, "--site", "bigprovider", "--domain", "big.test") == ["b@big.test"]
    assert listed(queue, "--site", "loose") == ["e@loose.test"]
    assert listed(queue, "--site", "default") == [], "mail of no provider is not one site"
    sites = {row["name"]: row["deliveries"] for row in queue.rows("queue", "list", "--by", "site")}
    assert sites == {"mx1.later.test": 2, "bigprovider": 2, "mx1.loose.test (loose)": 1}


def test_many_are_held_and_released_while_the_relay_goes_on(queue, net):
    """Two shards, more than one batch would be slow to make here: every delivery changes once, mail goes on."""
    tried(queue, *(f"{n}@later.test" for n in range(40)))
    assert queue.json("queue", "hold", "--account", queue.account)["count"] == 40
    assert count(queue, "--state", "held") == 40
    assert queue.json("queue", "retry", "--all")["count"] == 0
    assert queue.json("queue", "release", "--all")["count"] == 40
    assert count(queue, "--state", "queued") == 40


def test_what_is_being_attempted_is_held_when_it_comes_back(net):
    with FakeInternet({"slow.test": ["slow-rcpt.1 rcpt-451"]}, network="127.0.42").in_thread() as slow:
        settings = {"port": slow.port, "allow_private_destinations": True, "retry": ["1s"]}
        with Product(dns={"nameservers": [slow.dns.nameserver]}, delivery=settings) as product:
            message_id = product.send("x@slow.test")
            eventually(lambda: slow.hosts["mx1.slow.test"].commands(b"RCPT"), what="an attempt")
            done = product.run("queue", "delete", message_id, "--yes", check=False)
            if done.returncode == 75:  # it was still under way
                assert "left alone" in done.stderr
                product.run("queue", "hold", message_id)
                (row,) = eventually(lambda: [r for r in product.rows("queue", "list") if r["attempts"]])
                assert row["state"] == "held"


def watch(relay, *arguments):
    return subprocess.Popen(
        [*RELAY, "queue", "watch", *arguments, "-c", str(relay.config)], stdout=subprocess.PIPE, text=True
    )


def test_watching_a_running_relay(queue):
    tried(queue, "a@later.test", "b@later.test", "c@busy.test")
    process = watch(queue, "--json", "--interval", "0.3", "--count", "4")
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout.readlines()))
    reader.start()
    queue.send("d@good.test")
    assert process.wait(30) == 0
    reader.join(10)
    first, *_, last = map(json.loads, lines)
    assert first["running"]
    assert first["workers"] == 2
    assert first["states"]["queued"] >= 3
    assert {one["name"] for one in first["domains"]} >= {"later.test", "busy.test"}
    assert {one["name"] for one in first["sites"]} >= {"mx1.later.test", "mx1.busy.test"}
    assert first["domains"][0]["reason"].startswith("451")
    assert first["rates"] is None
    assert set(last["rates"]) == {"accepted", "delivered", "deferred", "bounced"}


def test_ctrl_c_ends_watching_without_a_fuss(queue):
    process = watch(queue, "--interval", "5")
    assert "queued 0" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def dialogue(relay, message_id):
    (attempt,) = relay.json("trace", message_id)["deliveries"][0]["attempts"]
    return attempt["dialogue"]


def said(one, speaker):
    return [line["text"] for line in one["lines"] if line["from"] == speaker]


def test_a_trace_has_the_whole_dialogue_of_a_failed_attempt(queue):
    (message_id,) = tried(queue, "who@crypt.test")
    (only,) = dialogue(queue, message_id)["tries"]
    assert (only["host"], only["address"].rsplit(".", 1)[0]) == ("mx1.crypt.test", "127.0.41")
    client, server = said(only, "client"), said(only, "server")
    assert client[:3] == ["EHLO relay.example", "STARTTLS", "EHLO relay.example"]
    assert client[3].startswith("MAIL FROM:<")
    assert client[4].startswith("RCPT TO:<who@crypt.test>")
    assert server[0].startswith("220 ")
    assert any(text.startswith("250-") for text in server)
    assert any(text.startswith("451") for text in server)
    assert only["tls"]["version"] == "TLSv1.3"
    assert only["tls"]["cipher"].startswith("TLS_")
    assert only["tls"]["subject"].startswith("CN=fake internet")
    assert only["tls"]["issuer"].startswith("CN=fake internet")
    assert only["tls"]["verified"] is False
    shown = queue.run("trace", message_id).stdout
    assert "> RCPT TO:<who@crypt.test>" in shown
    assert "certificate of CN=fake internet" in shown
    assert "> RCPT" not in queue.run("trace", message_id, "--brief").stdout


def test_a_trace_tells_of_every_host_that_was_tried(queue):
    (message_id,) = tried(queue, "who@two.test")
    tries = dialogue(queue, message_id)["tries"]
    assert [one["host"] for one in tries][-1] in {"mx1.two.test", "mx2.two.test"}
    assert any(text.startswith("421") for one in tries for text in said(one, "server"))
    (message_id,) = tried(queue, "who@wall.test")
    first, second = dialogue(queue, message_id)["tries"]
    assert "TLS failed" in first["outcome"], "then the same host in clear"
    assert second["tls"] is None


def test_nothing_of_the_message_is_in_a_trace_and_nothing_is_kept_of_success(queue, net):
    secret = "the-content-of-the-message"
    message_id = queue.send("who@busy.test", body=f"{secret}\r\n")
    eventually(lambda: [row for row in queue.rows("queue", "list") if row["attempts"]])
    assert secret not in json.dumps(queue.json("trace", message_id))
    good = queue.send("fine@good.test")
    found = eventually(
        lambda: (one := queue.json("trace", good)["deliveries"][0])["state"] == "delivered" and one, what="delivery"
    )
    assert found["attempts"][0]["dialogue"] is None


def test_the_trace_setting(net):
    settings = {"port": net.port, "allow_private_destinations": True, "retry": ["1h"]}
    dns = {"nameservers": [net.dns.nameserver]}
    with Product(dns=dns, delivery={**settings, "trace": "all"}) as product:
        good = product.send("fine@good.test")
        product.wait_event("Delivery")
        (one,) = dialogue(product, good)["tries"]
        assert any(text.endswith("octets of message)") for text in said(one, "client"))
        assert said(one, "server")[-1].startswith("250")
        eventually(lambda: product.rows("queue", "list", "--state", "delivered") == [], what="history")
        assert dialogue(product, good)["tries"], "it moved to history with its message"
        product.values["delivery"]["trace"] = "none"
        product.save()
        product.process.send_signal(signal.SIGHUP)
        eventually(lambda: "reloaded" in product.log_text() or "reload" in product.log_text())
        later = eventually(lambda: _untold(product), what="an attempt under the new setting")
        assert later["attempts"]


def _untold(product):
    message_id = product.send("a@later.test")
    tried(product, "b@later.test")
    (delivery,) = product.json("trace", message_id)["deliveries"]
    attempts = delivery["attempts"]
    return delivery if attempts and attempts[0]["dialogue"] is None else None
