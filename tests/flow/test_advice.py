"""`relay lint` and `relay auth-test` against a real name server (DLV-001, DLV-005, DNSBL-004)."""

import json

import pytest

from tests.nameserver import NameServer
from tests.product import Product, Receiver, eventually

ADDRESS = "127.0.22.1"
ZONES = {
    "example": "",
    "domains.example": "bad.example 1 IN A 127.0.1.2\n",
    "everybody.example": "* 1 IN A 127.0.0.2\n",
    "relay.example": f'bounce 1 IN TXT "v=spf1 ip4:{ADDRESS} -all"\n',
    "shop.example": "",
}
MESSAGE = (
    "From: no-reply@shop.example\r\nTo: bob@remote.example\r\nSubject: x\r\n\r\n"
    "http://www.bad.example/ and http://good.example/\r\n"
)
LISTS = [{"name": "Bad", "zone": "domains.example"}, {"name": "Given up", "zone": "everybody.example"}]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    with NameServer(tmp_path_factory.mktemp("zones"), ZONES) as server:
        yield server


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def relay(names, receiver):
    settings = {
        "dns": {"nameservers": [names.address], "cache_entries_max": 0},
        "delivery": {"source_addresses": [ADDRESS]},
        "own_checks": {"enabled": False, "domain_lists": LISTS},
        "reputation": {"every": "0.2s", "sampled_per_hour": 50},
    }
    with Product(receiver.port, domain="shop.example", **settings) as product:
        yield product


@pytest.mark.req("DLV-001", "DNSBL-004")
def test_links_on_a_list_are_told(relay):
    done = relay.run("lint", "--json", check=False, input_text=MESSAGE)
    found = {one["rule"]: one["subject"] for one in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 65
    assert found == {"no-reply": "no-reply@shop.example", "listed-link": "bad.example"}
    # The list that has every name, "invalid" too, has nobody (RFC 5782 section 5).
    clean = MESSAGE.replace("no-reply", "ann").replace("bad.example", "good.example")
    assert relay.run("lint", input_text=clean).returncode == 0


def test_addresses_that_nobody_sees_are_left_out_unless_they_are_named(relay):
    """They have no place in an SPF record, and on no block list."""
    checked = relay.run("dnsbl", "check")
    assert "There is nothing to ask" in checked.stderr
    assert "own_checks.private_addresses" in checked.stderr
    refused = relay.run("spf", check=False)
    assert refused.returncode == 75
    assert f"{ADDRESS} cannot be seen by any receiver" in refused.stderr


@pytest.mark.req("REP-022")
def test_sampled_mail_that_points_to_a_listed_domain_opens_a_case(relay):
    html = "MIME-Version: 1.0\r\nContent-Type: text/html\r\n"
    bad, good = '<img src="https://cdn.bad.example/a.png">\r\n', '<a href="https://good.example/">x</a>\r\n'

    def cases():
        return relay.rows("reputation", "cases", "--account", relay.account)

    def evidence():
        return relay.json("reputation", "case", number)["evidence"]

    relay.send(headers=html, body=good)
    relay.send(headers=html, body=bad)
    (case,) = eventually(cases, what="a case")
    assert (case["kind"], case["state"]) == ("domain-blocklist", "under review")
    assert case["cause"] == "Messages point to listed domains: bad.example."
    number = str(case["case"])
    assert "cdn.bad.example" in relay.run("reputation", "sample", number).stdout
    relay.send(headers=html, body=bad)  # sending goes on, and what it points to is looked at
    eventually(lambda: evidence() == 1, what="evidence")
    relay.run("reputation", "extend", number, "--reason", "Thank you for the changes.")
    assert evidence() == 0  # only mail after the fix counts
    relay.send(headers=html, body=good)
    relay.send(headers=html, body=bad)
    eventually(lambda: evidence() == 1, what="evidence after the fix")
    assert [one["case"] for one in cases()] == [case["case"]]


def judged(relay, *options):
    done = relay.run("auth-test", "bob@remote.example", "--from", "ann@shop.example", "--json", *options, check=False)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.req("DLV-005", "AUTHN-003")
def test_what_a_receiver_sees_before_and_after_the_records_are_published(relay, receiver, names):
    code, before = judged(relay, "--dry-run")
    assert (code, before["dmarc"]["result"], before["spfAligned"]) == (75, "fail", False)
    assert [one["result"] for one in before["spf"]] == [
        "pass"
    ]  # of the relay's own domain, which is not the sender's
    assert {(one["result"], one["reason"]) for one in before["dkim"]} == {("fail", "there is no such record in DNS")}
    records = relay.run("identity", "records", "shop.example", "--format", "bind").stdout
    lines = "".join(f"{line}\n" for line in records.splitlines() if not line.startswith(";"))
    names.publish("shop.example", lines + '_dmarc 1 IN TXT "v=DMARC1;p=reject"\n')
    sent_before = len(receiver.messages)
    code, after = judged(relay)
    assert (code, after["dmarc"]) == (
        0,
        {"result": "pass", "by": ["dkim"], "record": "v=DMARC1;p=reject", "policy": "reject"},
    )
    assert [(one["result"], one["domain"], one["aligned"], one["reason"]) for one in after["dkim"]] == [
        ("pass", "shop.example", True, None)
    ]
    assert after["sent"]["accepted"]
    eventually(lambda: len(receiver.messages) > sent_before, what="the message itself")
    assert after["sent"]["messageId"] in relay.run("trace", after["sent"]["messageId"]).stdout


def test_who_may_not_send_is_told_so(relay):
    done = relay.run("auth-test", "bob@remote.example", "--from", "eve@other.example", check=False)
    assert "Email address is not verified" in done.stderr


def test_spf_is_asked_for_addresses_that_the_message_may_leave_from(relay):
    """An address that the host does not have, and one of another account, are nobody's business here."""
    other = "000000000077"
    relay.run("account", "create", other)
    relay.run("address", "add", "192.0.2.66")
    relay.run("address", "add", "127.0.0.66", "--account", other)
    eventually(lambda: relay.json("address", "show", "192.0.2.66")["absentSince"], what="the host to say so")
    _, found = judged(relay, "--dry-run")
    assert [one["address"] for one in found["spf"]] == [ADDRESS]


def test_doctor_says_which_addresses_it_did_not_look_at(relay):
    rows = [row for row in relay.rows("doctor", check=False) if row["check"] == "source addresses"]
    (skipped,) = [row for row in rows if row["result"] == "skipped"]
    assert ADDRESS in skipped["detail"]
    assert "private" in skipped["detail"]
    assert "own_checks.private_addresses" in skipped["next"]
