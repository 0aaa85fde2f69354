"""`relay identity` for people and programs; DNS itself is asked in tests/flow/test_domain_verification.py."""

import contextlib
import csv

import pytest
import yaml

from relay.model.check import Aspect
from relay.runtime.settings import master_key
from relay.store import catalog_identities
from relay.store.catalog import open_catalog

A, B = "000000000001", "000000000002"


@contextlib.contextmanager
def catalog(site):
    data_dir = site.directory / "relay" / "data"
    with open_catalog(data_dir, master_key(data_dir)) as opened:
        yield opened


def mail_from(site, name, domain):
    with catalog(site) as opened:
        with opened._tables.writing(A):
            opened._tables.connection.execute(
                "UPDATE identity SET mail_from_domain = ? WHERE name = ?", (domain, name)
            )
        opened.checks.start(A, name, [Aspect.MAIL_FROM])


@pytest.mark.req("IDENT-009")
def test_lists_by_state_and_sorted(site):
    for name in ("b.test-zone.example", "a.test-zone.example", "joe@c.example"):
        site.call("identity", "create", name)
    site.call("identity", "verify", "a.test-zone.example", "--force")
    states = {one["identity"]: one["state"] for one in site.json("identity", "list")}
    assert states == {
        "a.test-zone.example": "SUCCESS",
        "b.test-zone.example": "PENDING",
        "joe@c.example": "PENDING",
    }
    for word in ("Pending", "PENDING", "pending"):
        found = [one["identity"] for one in site.json("identity", "list", "--state", word)]
        assert found == ["b.test-zone.example", "joe@c.example"]
    for word in ("verified", "Success", "SUCCESS"):
        assert [one["identity"] for one in site.json("identity", "list", "--state", word)] == ["a.test-zone.example"]
    for word in ("Temporary Failure", "TEMPORARY_FAILURE", "TemporaryFailure", "Failure"):
        assert site.json("identity", "list", "--state", word) == []
    by_state = [one["state"] for one in site.json("identity", "list", "--sort", "state")]
    assert by_state == sorted(by_state) == ["PENDING", "PENDING", "SUCCESS"]
    out, _ = site.call("identity", "list")
    assert "pending" in out
    assert "verified" in out
    _, error = site.call("identity", "list", "--state", "happy", code=64)
    assert "temporary failure" in error


def test_names_and_tags_that_cannot_be(site):
    site.call("account", "create", B)
    for name, text in (
        ("co.uk", "public suffix"),
        ("github.io", "public suffix"),
        ("relay.example.test", "belongs to the relay"),
        ("x.bounce.relay.example.test", "belongs to the relay"),
    ):
        _, error = site.call("identity", "create", name, "--account", B, code=64)
        assert text in error
    site.call("identity", "create", "relay.example.test")
    _, error = site.call("identity", "create", "shop.example", "--tag", "=x", code=64)
    assert "1 to 128" in error
    assert site.json("identity", "list", "--account", B) == []
    (made,) = site.json("identity", "create", "shop.example", "--tag", "team=shop", "--tag", "bare")
    assert made["tags"] == {"team": "shop", "bare": ""}
    (changed,) = site.json("identity", "set", "shop.example", "--tag", "team=a=b", "--untag", "bare")
    assert changed["tags"] == {"team": "a=b"}
    site.call("identity", "set", "shop.example", code=64)
    _, error = site.call("identity", "create", "shop.example", code=64)
    assert "exists already" in error


@pytest.mark.req("DKIM-002")
def test_show_prints_states_and_exact_records(site):
    site.call("identity", "create", "shop.example")
    mail_from(site, "shop.example", "b.shop.example")
    out, _ = site.call("identity", "show", "shop.example", "--no-dns")
    (shown,) = site.json("identity", "show", "shop.example", "--no-dns")
    *dkim, mx, spf = shown["records"]
    assert len(dkim) == 3
    for line in (
        *(f"  value  {one['value']}" for one in dkim),
        "  value  10 relay.example.test",
        '  value  "v=spf1 include:bounce.relay.example.test ~all"',
        "  b.shop.example. IN MX 10 relay.example.test.",
        '  b.shop.example. IN TXT "v=spf1 include:bounce.relay.example.test ~all"',
        "  name   _amazonses.shop.example",
        f"  value  {shown['txtToken']}",
    ):
        assert line in out.splitlines()
    assert "pending since" in out
    assert [one["required"] for one in (*dkim, mx, spf)] == [True, True, True, True, False]
    assert shown["alternative"]["value"] == shown["txtToken"]
    assert {aspect: one["state"] for aspect, one in shown["checks"].items()} == dict.fromkeys(
        ("VERIFICATION", "DKIM", "MAIL_FROM"), "PENDING"
    )
    rows = list(csv.reader(site.call("identity", "records", "shop.example", "--format", "csv")[0].splitlines()))
    assert rows == [
        ["Name", "Type", "Value"],
        *([one["name"], "TXT", one["value"]] for one in dkim),
        ["b.shop.example", "MX", "10 relay.example.test"],
        ["b.shop.example", "TXT", '"v=spf1 include:bounce.relay.example.test ~all"'],
    ]
    assert "_amazonses" in site.call("identity", "records", "shop.example", "--txt")[0]


def test_force_vouches_for_everything_until_restarted(site):
    site.call("identity", "create", "shop.example")
    mail_from(site, "shop.example", "b.shop.example")
    (forced,) = site.json("identity", "verify", "shop.example", "--force")
    assert forced["verified"]
    assert {one["state"] for one in forced["checks"].values()} == {"SUCCESS"}
    assert {one["next"] for one in forced["checks"].values()} == {None}
    out, _ = site.call("identity", "show", "shop.example", "--no-dns")
    assert "by an operator" in out
    _, error = site.call("identity", "restart", "shop.example", code=64)
    assert "--force" in error
    (again,) = site.json("identity", "restart", "shop.example", "--force")
    assert not again["verified"]
    assert {one["state"] for one in again["checks"].values()} == {"PENDING"}


def test_addresses_have_nothing_in_dns(site):
    site.call("identity", "create", "joe@shop.example")
    for command in ("verify", "check", "records", "restart"):
        _, error = site.call("identity", command, "joe@shop.example", code=64)
        assert "joe@shop.example has n" in error


def test_dns_that_is_away_changes_nothing_and_says_so(site):
    values = yaml.safe_load(site.made.config.read_text()) | {"dns": {"nameservers": ["127.0.0.1:1"], "timeout": "1s"}}
    site.made.config.write_text(yaml.safe_dump(values))
    site.call("identity", "create", "shop.example")
    _, error = site.call("identity", "verify", "shop.example", code=75)
    assert "DNS gave no answer" in error
    assert "is not verified" in error
    (shown,) = site.json("identity", "show", "shop.example", "--no-dns")
    assert shown["checks"]["DKIM"]["state"] == "PENDING"
    assert shown["checks"]["DKIM"]["errorType"] == "DNS_SERVER_ERROR"
    diagnosis, *_ = site.json("identity", "check", "shop.example", code=75)
    assert diagnosis["difference"] == "no answer"
    out, _ = site.call("identity", "check", "shop.example", code=75)
    assert out.startswith("✗ ")


def test_several_are_deleted_at_once_or_none(site):
    for name in ("a.example.net", "b.example.net", "c.example.net"):
        site.call("identity", "create", name)
    _, error = site.call("identity", "delete", "a.example.net", "never.example.net", "--yes", code=64)
    assert "never.example.net" in error
    assert len(site.json("identity", "list")) == 3
    site.call("identity", "delete", "a.example.net", "c.example.net", "--yes")
    assert [one["identity"] for one in site.json("identity", "list")] == ["b.example.net"]
    with catalog(site) as opened:
        for table in ("dkim_key WHERE domain", "identity_check WHERE identity"):
            query = f"SELECT count(*) FROM {table} <> 'b.example.net'"
            assert opened._tables.connection.execute(query).fetchone() == (0,)


@pytest.mark.req("IDENT-007")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        (f"{'a' * 64}.example", "1 to 63"),
        (".".join(["a" * 60] * 4) + ".aaaaaaaaaaa.example", "domain name"),
        ("shop..example", "domain name"),
        ("shop.example.", "final dot"),
        ("example", "at least two"),
        ("shop-.example", "inner hyphens"),
        ("joe@", "not an email address"),
        ("*@shop.example", "*"),
    ],
)
def test_names_that_are_no_identity_say_what_one_is(site, name, text):
    _, error = site.call("identity", "create", name, code=64)
    assert text in error
    assert site.json("identity", "list") == []


@pytest.mark.req("IDENT-007", "IDENT-008")
def test_unicode_becomes_punycode_and_www_gets_a_warning(site):
    (made,) = site.json("identity", "create", "bücher.example")
    assert made["identity"] == "xn--bcher-kva.example"
    _, error = site.call("identity", "create", "www.shop.example")
    assert "most senders mean shop.example" in error


@pytest.mark.req("IDENT-020")
def test_an_identity_has_up_to_fifty_tags_and_a_default_set(site):
    many = [part for number in range(50) for part in ("--tag", f"key{number}=v")]
    (made,) = site.json("identity", "create", "shop.example", *many)
    assert len(made["tags"]) == 50
    _, error = site.call("identity", "set", "shop.example", "--tag", "one-more=v", code=64)
    assert "50" in error
    for tag in (f"{'k' * 129}=v", f"k={'v' * 257}"):
        site.call("identity", "create", "other.example", "--tag", tag, code=64)
    assert [one["identity"] for one in site.json("identity", "list")] == ["shop.example"]
    site.call("configuration-set", "create", "news")
    for name in ("letters.example", "joe@shop.example"):
        (made,) = site.json("identity", "create", name, "--configuration-set", "news")
        assert made["configurationSet"] == "news"
    _, error = site.call("identity", "create", "none.example", "--configuration-set", "missing", code=64)
    assert "missing" in error
    assert "none.example" not in {one["identity"] for one in site.json("identity", "list")}
    (changed,) = site.json("identity", "set", "letters.example", "--configuration-set", "")
    assert changed["configurationSet"] is None
    (changed,) = site.json("identity", "set", "letters.example", "--configuration-set", "news")
    assert changed["configurationSet"] == "news"


@pytest.mark.req("IDENT-023")
def test_the_10_001st_second_and_unknown_identities(site, monkeypatch):
    monkeypatch.setattr(catalog_identities, "IDENTITIES_MAX", 2)
    for name in ("a.shop.example", "joe@shop.example"):
        site.call("identity", "create", name)
        _, error = site.call("identity", "create", name, code=64)
        assert "exists already" in error
    for name in ("b.shop.example", "ann@shop.example"):
        _, error = site.call("identity", "create", name, code=64)
        assert "as many as it may" in error
    _, error = site.call("identity", "delete", "--yes", "c.shop.example", code=64)
    assert "no identity" in error
    assert len(site.json("identity", "list")) == 2
    site.call("identity", "delete", "--yes", "a.shop.example")
    site.call("identity", "create", "b.shop.example")
