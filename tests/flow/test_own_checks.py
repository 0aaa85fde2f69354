"""The relay looks at itself as receivers do, and tells what changed (DNSBL-001, POOL-007)."""

import sqlite3

import pytest

from tests.authority import Certificate, WebServer, authority, server_context
from tests.nameserver import NameServer
from tests.product import Product, Receiver, eventually

ONE, TWO = "127.0.21.1", "127.0.21.2"
LISTED = """1.21.0.127 1 IN A 127.0.0.2
1.21.0.127 1 IN TXT "spam traps were hit"
"""
REFUSED = "*.127 1 IN A 127.255.255.254\n"
ZONES = {
    "example": "",
    "list.example": LISTED,
    "quiet.example": "",
    "refusing.example": REFUSED,
    "out.example": LISTED,
    "everybody.example": "* 1 IN A 127.0.0.2\n",
    "relay.example": f"""@ 1 IN A {ONE}
bounce 1 IN TXT "v=spf1 ip4:{ONE} -all"
bounce 1 IN MX 10 relay.example.
_mta-sts.bounce 1 IN TXT "v=STSv1; id=1;"
mta-sts.bounce 1 IN A 127.0.0.1
""",
    "127.in-addr.arpa": "1.21.0 1 IN PTR relay.example.\n",
    "ops.example": "@ 1 IN MX 10 relay.example.\n",
}
POLICY_HOST = "mta-sts.bounce.relay.example"
LISTS = [
    {"name": "Main", "zone": "list.example", "about": "https://list.example/why"},
    {"name": "Quiet", "zone": "quiet.example"},
    {"name": "Refusing", "zone": "refusing.example"},
    {"name": "Given up", "zone": "everybody.example", "action": "withdraw"},
]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    with NameServer(tmp_path_factory.mktemp("zones"), ZONES) as server:
        yield server


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


def policy(mode, host):
    text = f"version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: 86400\n"
    return {POLICY_HOST: (200, {"Content-Type": "text/plain"}, text.encode())}


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """The policy of the bounce domain, over HTTPS; `ca` is who is trusted."""
    directory, root = tmp_path_factory.mktemp("web"), authority()
    (directory / "ca.pem").write_bytes(root.pem())
    context = server_context(Certificate([POLICY_HOST], root), directory)
    with WebServer(context, policy("enforce", "relay.example")) as server:
        server.ca = directory / "ca.pem"
        yield server


@pytest.fixture(scope="module")
def relay(names, receiver, web):
    settings = {
        "mta_sts": {"allow_private_hosts": True, "ca_file": str(web.ca), "port": web.port},
        "contact": "chief@ops.example",
        "dns": {"nameservers": [names.address], "cache_entries_max": 0},
        "delivery": {"source_addresses": [ONE, TWO]},
        "own_checks": {"every": "10s", "private_addresses": True, "block_lists": LISTS},
    }
    with Product(receiver.port, **settings) as product:
        eventually(lambda: product.metric('relay_own_addresses_listed{list="Main"}') == 1, what="the first look")
        yield product


def letters(receiver):
    return [message[2].decode() for message in receiver.messages if "chief@ops.example" in message[1]]


def grades(relay):
    """Return what `relay doctor` says, by check and first word."""
    rows = relay.rows("doctor", check=False)
    return {(row["check"], row["detail"].split()[0]): row for row in rows}


@pytest.mark.req("DNSBL-001")
def test_a_listing_is_kept_told_and_ends(relay, receiver, names):
    (listing,) = relay.rows("dnsbl", "list")
    assert (listing["address"], listing["rblName"], listing["endTime"]) == (ONE, "Main", None)
    assert listing["description"] == "127.0.0.2 spam traps were hit"
    letter = eventually(lambda: next((one for one in letters(receiver) if f"{ONE} on Main" in one), None))
    assert "spam traps were hit" in letter
    assert "https://list.example/why" in letter
    assert relay.run("dnsbl", "check", ONE, check=False).returncode == 69
    names.publish("list.example", "")
    try:
        eventually(lambda: relay.metric('relay_own_addresses_listed{list="Main"}') == 0, what="the end")
        assert relay.rows("dnsbl", "list") == []
        (ended,) = relay.rows("dnsbl", "list", "--all")
        assert ended["listingTime"] == listing["listingTime"] < ended["endTime"]
        eventually(lambda: any("Mended: 127.0.21.1 on Main" in one for one in letters(receiver)), what="good news")
        assert relay.run("dnsbl", "check", ONE).returncode == 0
    finally:
        names.publish("list.example", LISTED)
        eventually(lambda: relay.metric('relay_own_addresses_listed{list="Main"}') == 1, what="the next one")


@pytest.mark.req("DNSBL-001")
def test_a_list_that_does_not_talk_to_us_lists_nobody(relay):
    rows = relay.rows("dnsbl", "check", ONE, TWO, check=False)
    assert {(row["address"], row["rblName"]): row["result"] for row in rows} == {
        (ONE, "Main"): "listed",
        (ONE, "Quiet"): "not listed",
        (ONE, "Refusing"): "unknown",
        (ONE, "Given up"): "unknown",
        (TWO, "Main"): "not listed",
        (TWO, "Quiet"): "not listed",
        (TWO, "Refusing"): "unknown",
        (TWO, "Given up"): "unknown",
    }
    assert all("has everybody" in row["description"] for row in rows if row["rblName"] == "Given up")
    assert {row["suspended"] for row in relay.rows("address", "list")} == {None}


def test_names_and_records_are_judged_for_each_address(relay):
    found = grades(relay)
    assert found["reverse name", ONE]["result"] == "ok"
    assert found["reverse name", TWO]["result"] == "error"
    assert "PTR record" in found["reverse name", TWO]["next"]
    rows = [row for row in relay.rows("doctor", check=False) if row["check"] == "SPF"]
    assert {row["detail"].split()[2]: row["result"] for row in rows} == {ONE: "ok", TWO: "error"}
    assert found["certificate", "relay.example"]["result"] in ("ok", "warning")
    metrics = 'relay_own_checks{check="reverse name",grade="error"}'
    assert relay.metric(metrics) == 1


def test_the_mta_sts_policy_of_our_own_domains_is_read(relay, web):
    """Nothing is fetched without a record; a policy has to name the hosts; one that is not served is told."""
    found = grades(relay)
    assert found["MTA-STS", "bounce.relay.example"]["result"] == "ok"
    assert "has no policy" in found["MTA-STS", "relay.example"]["detail"]
    assert {request[0] for request in web.requests} == {POLICY_HOST}
    good = dict(web.answers)
    try:
        web.answers.update(policy("enforce", "other.example"))
        row = grades(relay)["MTA-STS", "bounce.relay.example"]
        assert row["result"] == "error"
        assert "not name relay.example" in row["detail"]
        wanted = 'relay_own_checks{check="MTA-STS",grade="error"}'
        eventually(lambda: relay.metric(wanted) == 1, what="the scheduled look")
        web.answers.clear()
        assert grades(relay)["MTA-STS", "bounce.relay.example"]["result"] == "warning"
    finally:
        web.answers.update(good)
        eventually(lambda: relay.metric(wanted) == 0, what="the next look")


def test_identities_whose_dkim_records_are_gone_are_counted(relay):
    def number(state):
        return relay.metric(f'relay_identities_signing{{state="{state}"}}')

    eventually(lambda: number("SUCCESS") is not None, what="the first look")
    before = number("TEMPORARY_FAILURE")
    with sqlite3.connect(relay.data_dir / "catalog.db") as catalog:
        changed = catalog.execute(
            "UPDATE identity_check SET state = 'TEMPORARY_FAILURE', next_ms = 1 << 50 WHERE aspect = 'DKIM'"
        ).rowcount
    assert changed
    eventually(lambda: number("TEMPORARY_FAILURE") == before + changed, what="the next look")
    row = grades(relay)["DKIM", "identities"]
    assert (row["result"], "lost their records" in row["detail"]) == ("warning", True)


def test_a_server_that_serves_some_names_alone_is_no_fault(relay):
    """The name server of these tests refuses to answer for the root, as any that is no resolver."""
    (row,) = [row for row in relay.rows("doctor", check=False) if row["check"] == "resolver"]
    assert (row["result"], "for some domains only" in row["detail"]) == ("ok", True)


def test_no_address_is_asked_about_that_is_none(relay):
    assert "no IP address" in relay.run("dnsbl", "check", "relay.example", check=False).stderr


@pytest.mark.req("DNSBL-001", "POOL-007")
def test_a_list_may_take_an_address_out_until_the_listing_ends(names, receiver):
    """Nothing leaves from the listed address, other mail goes on, and it comes back by itself."""
    settings = {
        "dns": {"nameservers": [names.address], "cache_entries_max": 0},
        "delivery": {"source_addresses": [ONE, TWO]},
        "own_checks": {
            "every": "10s",
            "private_addresses": True,
            "block_lists": [{"name": "Out", "zone": "out.example", "action": "withdraw"}],
        },
    }
    with Product(receiver.port, **settings) as product:

        def suspended():
            return product.json("address", "show", ONE)["suspended"]

        eventually(lambda: suspended() == "listed by Out", what="the withdrawal")
        before = len(receiver.arrivals)
        for number in range(6):
            product.send(f"u{number}@out.example")
        eventually(lambda: len([one for one in receiver.arrivals[before:] if "@out.example" in one[2]]) == 6)
        assert {one[0] for one in receiver.arrivals[before:] if "@out.example" in one[2]} == {TWO}
        assert '"operation": "address.withdrawn"' in (product.data_dir / "audit.jsonl").read_text()
        names.publish("out.example", "")
        eventually(lambda: not suspended(), what="the return")
