"""Accounts, users, reviews and configuration sets through the command line."""

import io
import json

import pytest

from relay.store.catalog_users import SENDING_POLICY

B = "000000000002"
DETAILS = ("--mail-type", "PROMOTIONAL", "--website-url", "https://b.example", "--use-case", "News for members.")


def audit(site):
    path = site.made.config.parent / "data" / "audit.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    return [json.loads(line) for line in path.read_text().splitlines()]


def shown(site, account=B):
    (found,) = site.json("account", "show", account)
    return found


@pytest.mark.req("SBX-001")
def test_a_new_account_starts_in_the_sandbox_and_the_first_one_outside(site):
    site.call("account", "create", B)
    assert (shown(site)["sandbox"], shown(site)["dailyQuota"], shown(site)["sendRate"]) == (True, 200, 1.0)
    assert shown(site, "000000000001")["sandbox"] is False
    site.call("account", "create", "000000000003", "--production")
    found = shown(site, "000000000003")
    assert (found["sandbox"], found["dailyQuota"]) == (False, -1)
    out, _ = site.call("account", "show", B)
    assert ["sandbox", "yes"] in [line.split() for line in out.splitlines()]


@pytest.mark.req("SBX-004", "SBX-005", "QUOTA-012")
def test_the_way_out_of_the_sandbox(site):
    site.call("account", "create", B, "--contact", "owner@b.example")
    request = ("account", "request", "production", "--account", B)
    _, error = site.call(*request, "--mail-type", "MARKETING", code=64)
    assert "--website-url" in error
    (asked,) = site.json(
        *request, *DETAILS, "--contact", "x@b.example,y@b.example", "--language", "JP", "--daily", "50"
    )
    assert (asked["state"], asked["kind"], asked["dailyQuota"]) == ("PENDING", "production", 50)
    _, error = site.call(*request, *DETAILS, code=64)
    assert error == f"relay: Request 1 of account {B} is under review; wait until it is granted or denied.\n"
    _, error = site.call("account", "details", B, "--use-case", "Other", code=64)
    assert "under review" in error
    found = shown(site)
    assert found["pendingRequests"] == [1]
    assert found["contacts"] == ["owner@b.example", "x@b.example", "y@b.example"]
    assert found["details"] == {
        "mailType": "MARKETING",
        "websiteURL": "https://b.example",
        "useCaseDescription": "News for members.",
        "contactLanguage": "JA",
        "additionalContactEmailAddresses": ["x@b.example", "y@b.example"],
    }
    out, _ = site.call("account", "review", "list")
    assert B in out
    assert "PENDING" in out
    out, _ = site.call("account", "review", "show", "1")
    assert "News for members." in out
    out, _ = site.call("account", "review", "grant", "1", "--rate", "5", "--reason", "Welcome.")
    assert out == f"Request 1 is granted.\nAccount {B} is outside the sandbox: 50 a day, 5 a second.\n"
    assert (shown(site)["sandbox"], shown(site)["pendingRequests"]) == (False, [])
    assert site.call("account", "review", "list")[1] == "No request waits.\n"
    (decided,) = site.json("account", "review", "list", "--all")
    assert (decided["state"], decided["reason"]) == ("GRANTED", "Welcome.")
    _, error = site.call("account", "review", "deny", "1", code=64)
    assert "decided already" in error
    operations = [(line["operation"], line["account"]) for line in audit(site)]
    assert operations == [("account.create", B), ("account.request", B), ("account.review.grant", B)]
    assert audit(site)[-1]["caller"]


@pytest.mark.req("QUOTA-012")
def test_other_limits_are_asked_for_and_denied(site):
    request = ("account", "request", "quota")
    site.call(*request, code=64)
    site.call("quota", "set", "--daily", "100", "--rate", "1")
    site.call(*request, "--daily", "1000", "--rate", "10", "--use-case", "Growing.")
    site.call(*request, "--daily", "2000", code=64)
    out, _ = site.call("account", "review", "deny", "1", "--reason", "Too many bounces.")
    assert "100 a day, 1 a second" in out
    site.call(*request, "--daily", "2000")


@pytest.mark.req("SBX-004")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("--mail-type", "SPAM"), "MARKETING, TRANSACTIONAL, PROMOTIONAL"),
        (("--language", "XX"), "EN, JA, JP"),
        (("--website-url", "x" * 1001), "1000"),
        (("--use-case", "x" * 5001), "5000"),
        (("--contact", "a@x.example,b@x.example,c@x.example", "--contact", "d@x.example,e@x.example"), "at most 4"),
        (("--contact", "nobody"), "nobody"),
    ],
)
def test_bad_details_are_named_and_not_kept(site, change, told):
    site.call("account", "create", B)
    _, error = site.call("account", "request", "production", "--account", B, *DETAILS, *change, code=64)
    assert told in error
    assert shown(site)["details"] is None
    assert site.json("account", "review", "list", "--all") == []


def test_pause_and_contact(site):
    site.call("account", "create", B)
    site.call("account", "contact", B, "new@b.example")
    for _ in range(2):
        site.call("account", "pause", B, "--reason", "Complaints.")
    assert shown(site)["state"] == "paused"
    assert shown(site)["contact"] == "new@b.example"
    site.call("account", "resume", B)
    assert shown(site)["state"] == "enabled"
    site.call("account", "pause", "000000000009", code=64)


@pytest.mark.req("CRED-010", "CRED-011")
def test_smtp_credentials_make_a_user_that_may_send(site):
    (made,) = site.json("credentials", "create")
    (user,) = site.json("user", "list")
    assert made["user"] == user["user"]
    assert (user["policies"], user["credentials"]) == (1, 1)
    (policy,) = site.json("user", "policy", "list", user["user"])
    (statement,) = json.loads(policy["document"])["Statement"]
    assert statement == {"Effect": "Allow", "Action": "ses:SendRawEmail", "Resource": "*"}
    site.call("credentials", "create", "--user", user["user"])
    assert site.json("user", "list")[0]["credentials"] == 2
    out, _ = site.call("user", "delete", user["user"])
    assert out == f"User {user['user']} is deleted; 2 of its credentials ended.\n"
    listed = [one for one in site.json("credentials", "list") if one["user"] == user["user"]]
    assert all(one["revoked"] for one in listed)
    assert len(listed) == 2
    site.call("user", "delete", user["user"], code=64)
    assert made["smtp"]["password"] not in json.dumps(audit(site))


def test_users_and_policies(site, tmp_path, monkeypatch):
    site.call("user", "create", "billing")
    site.call("user", "create", "billing", code=64)
    _, error = site.call("credentials", "create", "--access-key", "--user", "nobody", code=64)
    assert "no user nobody" in error
    (key,) = site.json("credentials", "create", "--access-key", "--user", "billing")
    assert key["user"] == "billing"
    file = tmp_path / "policy.json"
    file.write_text(SENDING_POLICY)
    site.call("user", "policy", "put", "billing", "mine", str(file))
    second = SENDING_POLICY.replace("Raw", "")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(second.encode())))
    site.call("user", "policy", "put", "billing", "mine", "-")
    assert [one["document"] for one in site.json("user", "policy", "list", "billing")] == [second]
    file.write_bytes(b"\xff\xfe")
    site.call("user", "policy", "put", "billing", "mine", str(file), code=64)
    file.write_text("[]")
    _, error = site.call("user", "policy", "put", "billing", "mine", str(file), code=64)
    assert "nothing was changed" in error
    assert "Example: " in error
    site.call("user", "policy", "delete", "billing", "mine")
    assert site.call("user", "policy", "list", "billing")[1] == "User billing has no policies: it may do nothing.\n"


@pytest.mark.req("CFG-003", "CFG-010", "CFG-014")
def test_configuration_sets(site):
    (made,) = site.json(
        "configuration-set", "create", "strict", "--tls", "require", "--max-delivery-seconds", "600",
        "--suppressed-reasons", "complaint", "--no-sending",
    )  # fmt: skip
    assert (made["tlsPolicy"], made["maxDeliverySeconds"], made["suppressedReasons"]) == (
        "REQUIRE",
        600,
        ["COMPLAINT"],
    )
    assert made["sendingEnabled"] is False
    site.call("configuration-set", "create", "strict", code=64)
    _, error = site.call("configuration-set", "create", "a b", code=64)
    assert "1 to 64 letters" in error
    _, error = site.call("configuration-set", "set", "strict", "--tls", "sometimes", code=64)
    assert "OPTIONAL, REQUIRE" in error
    (made,) = site.json("configuration-set", "set", "strict", "--sending", "--suppressed-reasons", "none")
    assert (made["sendingEnabled"], made["suppressedReasons"], made["maxDeliverySeconds"]) == (True, [], 600)
    site.call("identity", "create", "x.example")
    site.call("configuration-set", "default", "X.example", "strict")
    site.call("configuration-set", "default", "x.example", "nothing", code=64)
    site.call("configuration-set", "tag", "strict", "team=news", "empty=")
    site.call("configuration-set", "tag", "strict", "--remove", "unknown", "more=1", code=64)
    (found,) = site.json("configuration-set", "show", "strict")
    assert (found["tags"], found["defaultOf"]) == ({"team": "news", "empty": ""}, ["x.example"])
    out, _ = site.call("configuration-set", "show", "strict")
    assert "suppressed reasons  none" in out
    assert [one["name"] for one in site.json("configuration-set", "list")] == ["strict"]
    _, error = site.call("configuration-set", "delete", "strict")
    assert "x.example" in error
    site.call("configuration-set", "delete", "strict", code=64)
    site.call("configuration-set", "default", "x.example")
    assert site.json("configuration-set", "list") == []


def test_lists_go_over_pages(site, monkeypatch):
    monkeypatch.setattr("relay.store.catalog_users.PAGE_SIZE_MAX", 2)
    monkeypatch.setattr("relay.store.catalog_configuration_sets.PAGE_SIZE_MAX", 2)
    names = [f"n{number}" for number in range(5)]
    for name in names:
        site.call("user", "create", name)
        site.call("configuration-set", "create", name)
    assert [one["user"] for one in site.json("user", "list")] == names
    assert [one["name"] for one in site.json("configuration-set", "list")] == names


@pytest.mark.req("QUOTA-006")
def test_quota_shows_what_is_left(site):
    site.call("quota", "set", "--daily", "0", "--rate", "2")
    (found,) = site.json("quota", "show")
    assert (found["sentLast24Hours"], found["dailyQuota"], found["sendRate"]) == (0, 0, 2.0)
    assert (found["remaining"], found["usedPercent"]) == (0, 100.0)
    site.call("quota", "set", "--daily", "-1")
    out, _ = site.call("quota", "show")
    assert "unlimited" in out
    (found,) = site.json("quota", "show")
    assert (found["remaining"], found["usedPercent"]) == (None, None)


@pytest.mark.parametrize("command", [("account", "close", "000000000001"), ("identity", "delete", "kept.example")])
def test_what_cannot_be_undone_is_not_done_unasked(site, monkeypatch, command):
    site.call("identity", "create", "kept.example")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    _, error = site.call(*command, code=64)
    assert "there is nobody to ask: give --yes" in error
    assert [one["identity"] for one in site.json("identity", "list")] == ["kept.example"]
    (account,) = site.json("account", "list")
    assert account["state"] == "enabled"
