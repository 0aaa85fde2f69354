"""Users, reviews and configuration sets of the catalog: limits, conflicts, and that each change is whole."""

from dataclasses import replace

import pytest

from relay.errors import AlreadyExistsError, ConflictError, LimitExceededError, UsageError
from relay.model.account import AccountState
from relay.model.configuration_set import ConfigurationSet, TlsPolicy
from relay.model.review import AccountDetails, ContactLanguage, MailType, ReviewState
from relay.store import catalog_configuration_sets, catalog_users
from relay.store.catalog import open_catalog
from relay.store.catalog_reviews import read_contacts

KEY = bytes(range(32))
A, B = "000000000001", "000000000002"
DETAILS = AccountDetails(MailType.MARKETING, "https://x.example", "News for members.", ("c@x.example", "d@x.example"))


@pytest.fixture
def catalog(tmp_path):
    with open_catalog(tmp_path / "data", KEY, now_ms=lambda: 1000) as opened:
        opened.accounts.create(A)
        opened.accounts.create(B, sandbox=True, contact="owner@b.example")
        yield opened


def write(account, contact):
    return f"To: {contact}\r\n\r\n".encode(), f"{account.sandbox} {account.daily_quota}\r\n".encode()


def waiting(catalog):
    return [catalog.notices.get(number) for number in catalog.notices.waiting()]


def policy(policy_id):
    statement = '{"Effect": "Allow", "Action": "ses:*", "Resource": "*"}'
    return f'{{"Version": "2012-10-17", "Id": "{policy_id}", "Statement": [{statement}]}}'


def refused(error, call, *arguments, **more):
    with pytest.raises(error) as caught:
        call(*arguments, **more)
    return str(caught.value)


# --- users -------------------------------------------------------------------------------------------------------


@pytest.mark.req("CRED-010")
def test_smtp_credentials_bring_a_user_that_may_send(catalog):
    made = catalog.credentials.create_smtp_user(A, user="billing")
    assert made.credential.user == "billing"
    (policy,) = catalog.users.policies(A, "billing")
    assert '"Action": "ses:SendRawEmail"' in policy.document
    assert '"Resource": "*"' in policy.document
    catalog.credentials.create_smtp_user(A, user="billing")
    (user,) = catalog.users.list(A)
    assert (user.policies, user.credentials) == (1, 2)


@pytest.mark.req("CRED-011")
def test_deleting_a_user_ends_its_credentials_and_nobody_elses(catalog):
    one = catalog.credentials.create_smtp_user(A, user="billing").credential.username
    other = catalog.credentials.create_smtp_user(A, user="news").credential.username
    same_name = catalog.credentials.create_smtp_user(B, user="billing").credential.username
    assert catalog.users.delete(A, "billing") == 1
    assert catalog.credentials.get(one).revoked_ms == 1000
    assert catalog.credentials.get(other).revoked_ms is None
    assert catalog.credentials.get(same_name).revoked_ms is None
    assert [user.name for user in catalog.users.list(A)] == ["news"]
    catalog.users.create(A, "billing")
    assert catalog.users.policies(A, "billing") == ()


def test_a_key_needs_a_user_that_is_there(catalog):
    assert "no user billing" in refused(UsageError, catalog.credentials.create_access_key, A, user="billing")
    assert catalog.credentials.list(A) == []
    catalog.users.create(A, "billing")
    assert catalog.credentials.create_access_key(A, user="billing").credential.user == "billing"


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a/b", "ü", "a\n"])
def test_user_names(catalog, name):
    refused(UsageError, catalog.users.create, A, name)
    assert catalog.users.list(A) == []


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("", "{}"),
        ("x y", "{}"),
        ("p", ""),
        ("p", "[]"),
        ("p", "{"),
        ("p", "[" * 5000),
        ("p", '{"a": "%s"}' % ("x" * 10_240)),
    ],
)
def test_what_is_no_policy_is_refused_and_not_kept(catalog, name, document):
    catalog.users.create(A, "u")
    refused(UsageError, catalog.users.put_policy, A, "u", name, document)
    assert catalog.users.policies(A, "u") == ()


def test_policies_are_replaced_deleted_and_limited(catalog, monkeypatch):
    catalog.users.create(A, "u")
    catalog.users.put_policy(A, "u", "p", policy("1"))
    catalog.users.put_policy(A, "u", "p", policy("2"))
    assert [policy.document for policy in catalog.users.policies(A, "u")] == [policy("2")]
    monkeypatch.setattr(catalog_users, "POLICIES_MAX", 1)
    assert "at most 1" in refused(UsageError, catalog.users.put_policy, A, "u", "q", policy("1"))
    refused(UsageError, catalog.users.put_policy, A, "nobody", "p", policy("1"))
    catalog.users.delete_policy(A, "u", "p")
    refused(UsageError, catalog.users.delete_policy, A, "u", "p")

    assert catalog.users.policies(A, "u") == ()
    monkeypatch.setattr(catalog_users, "USERS_MAX", 1)
    assert "1 users already" in refused(UsageError, catalog.users.create, A, "v")


# --- reviews -----------------------------------------------------------------------------------------------------


@pytest.mark.req("SBX-005", "SBX-001")
def test_a_request_waits_then_moves_the_account_out_of_the_sandbox(catalog):
    assert (catalog.accounts.require(B).daily_quota, catalog.accounts.require(B).send_rate) == (200, 1.0)
    review = catalog.reviews.request_production(B, DETAILS, daily_quota=5000, send_rate=10)
    assert (review.state, review.daily_quota, review.send_rate) == (ReviewState.PENDING, 5000, 10.0)
    assert catalog.reviews.details(B) == DETAILS
    changed = replace(DETAILS, use_case="Other")
    assert "under review" in refused(ConflictError, catalog.reviews.request_production, B, changed)
    assert "under review" in refused(ConflictError, catalog.reviews.put_details, B, changed)
    assert catalog.reviews.details(B) == DETAILS
    granted = catalog.reviews.grant(review.review_id, write)
    assert (granted.state, granted.decided_ms) == (ReviewState.GRANTED, 1000)
    account = catalog.accounts.require(B)
    assert (account.sandbox, account.daily_quota, account.send_rate) == (False, 5000, 10.0)
    notices = waiting(catalog)
    assert [notice.recipient for notice in notices] == ["owner@b.example", "c@x.example", "d@x.example"]
    assert {notice.content.body for notice in notices} == {b"False 5000\r\n"}
    assert "decided already" in refused(ConflictError, catalog.reviews.deny, review.review_id, write)
    assert len(waiting(catalog)) == 3
    catalog.reviews.put_details(B, changed)
    assert "outside" in refused(UsageError, catalog.reviews.request_production, B, DETAILS)


def test_a_denied_request_changes_nothing_and_may_be_repeated(catalog):
    review = catalog.reviews.request_production(B, DETAILS)
    denied = catalog.reviews.deny(review.review_id, write, reason="Tell us where your list comes from.")
    assert (denied.state, denied.reason) == (ReviewState.DENIED, "Tell us where your list comes from.")
    assert catalog.accounts.require(B).sandbox is True
    again = catalog.reviews.request_production(B, DETAILS)
    assert [one.review_id for one in catalog.reviews.list()] == [again.review_id, review.review_id]
    assert [one.review_id for one in catalog.reviews.list(B, ReviewState.PENDING)] == [again.review_id]
    assert catalog.reviews.list(A) == []


@pytest.mark.req("QUOTA-012")
def test_limits_are_asked_for_and_granted_as_the_administrator_says(catalog):
    assert "sandbox" in refused(UsageError, catalog.reviews.request_quota, B, daily_quota=1000)
    refused(UsageError, catalog.reviews.request_quota, A)
    refused(UsageError, catalog.reviews.request_quota, A, daily_quota=-5)
    catalog.accounts.set_quota(A, daily_quota=100, send_rate=1)
    review = catalog.reviews.request_quota(A, daily_quota=1000)
    refused(ConflictError, catalog.reviews.request_quota, A, send_rate=5)
    catalog.reviews.grant(review.review_id, write, daily_quota=500)
    account = catalog.accounts.require(A)
    assert (account.daily_quota, account.send_rate, account.sandbox) == (500, 1.0, False)


def test_a_failed_notice_leaves_nothing_behind(catalog):
    review = catalog.reviews.request_production(B, DETAILS)

    def broken(account, contact):
        raise UsageError("no")

    refused(UsageError, catalog.reviews.grant, review.review_id, broken)
    assert catalog.accounts.require(B).sandbox is True
    assert catalog.reviews.require(review.review_id).state is ReviewState.PENDING
    refused(UsageError, catalog.reviews.deny, review.review_id, write, reason="two\nlines")
    assert waiting(catalog) == []
    refused(UsageError, catalog.reviews.grant, 99, write)


@pytest.mark.req("SBX-004")
@pytest.mark.parametrize(
    "change",
    [
        {"website_url": "x.example"},
        {"website_url": "https://" + "x" * 993},
        {"website_url": "https://x\n"},
        {"use_case": ""},
        {"use_case": "x" * 5001},
        {"contacts": ("no address",)},
        {"contacts": tuple(f"c{n}@x.example" for n in range(5))},
    ],
)
def test_details_have_limits(catalog, change):
    refused(UsageError, catalog.reviews.request_production, B, replace(DETAILS, **change))
    assert catalog.reviews.details(B) is None
    assert catalog.reviews.list() == []


def test_details_at_their_limits_are_kept(catalog):
    details = replace(
        DETAILS, website_url="https://" + "x" * 992, use_case="x" * 5000, language=ContactLanguage.JA,
        contacts=read_contacts(["a@x.example, b@x.example", "c@x.example,d@x.example"]),
    )  # fmt: skip
    catalog.reviews.put_details(A, details)
    assert catalog.reviews.details(A) == details


def test_a_pause_tells_the_contacts(catalog):
    assert catalog.reviews.pause(B, write).state is AccountState.PAUSED
    assert [notice.recipient for notice in waiting(catalog)] == ["owner@b.example"]


# --- configuration sets ------------------------------------------------------------------------------------------


@pytest.mark.req("CFG-003", "QUOTA-009")
@pytest.mark.parametrize(
    ("name", "good"),
    [("x" * 64, True), ("a-B_9", True), ("x" * 65, False), ("", False), ("a b", False), ("é", False), ("a\n", False)],
)
def test_names_of_sets(catalog, name, good):
    if good:
        assert catalog.configuration_sets.create(ConfigurationSet(A, name)).name == name
        assert "exists already" in refused(
            AlreadyExistsError, catalog.configuration_sets.create, ConfigurationSet(A, name)
        )
        catalog.configuration_sets.create(ConfigurationSet(B, name))
    else:
        refused(UsageError, catalog.configuration_sets.create, ConfigurationSet(A, name))
        assert catalog.configuration_sets.list(A) == []


@pytest.mark.req("CFG-004", "QUOTA-009")
def test_limits_of_sets_and_tags(catalog, monkeypatch):
    catalog.configuration_sets.create(ConfigurationSet(A, "s"))
    tags = {f"k{n}": "" for n in range(50)}
    assert catalog.configuration_sets.change_tags(A, "s", tags) == tags
    refused(LimitExceededError, catalog.configuration_sets.change_tags, A, "s", {"one more": "x"})
    assert catalog.configuration_sets.change_tags(A, "s", {"one more": "x"}, ["k0"])["one more"] == "x"
    refused(UsageError, catalog.configuration_sets.change_tags, A, "s", {}, ["k1", "k0"])
    assert "k1" in catalog.configuration_sets.tags(A, "s")
    refused(UsageError, catalog.configuration_sets.change_tags, A, "s", {"": "x"})
    assert catalog_configuration_sets.SETS_MAX == 10_000
    monkeypatch.setattr(catalog_configuration_sets, "SETS_MAX", 1)
    refused(LimitExceededError, catalog.configuration_sets.create, ConfigurationSet(A, "t"))
    catalog.configuration_sets.create(ConfigurationSet(B, "t"))


@pytest.mark.parametrize(
    "change",
    [
        {"max_delivery_seconds": 299},
        {"max_delivery_seconds": 50_401},
        {"suppressed_reasons": ("SPAM",)},
        {"sending_pool": "a b"},
        {"redirect_domain": "no domain"},
    ],
)
def test_values_of_sets(catalog, change):
    made = catalog.configuration_sets.create(ConfigurationSet(A, "s"))
    refused(UsageError, catalog.configuration_sets.update, replace(made, **change))
    assert catalog.configuration_sets.require(A, "s") == made


def test_everything_about_a_set_but_its_name_changes(catalog):
    made = catalog.configuration_sets.create(ConfigurationSet(A, "s"))
    catalog.pools.create(A, "p")
    catalog.identities.create(A, "x.example")
    catalog.identities.set_verified(A, "x.example")
    changed = replace(
        made, engagement_metrics=True, optimized_delivery=False, sending_enabled=False,
        reputation_metrics=True, tls_policy=TlsPolicy.REQUIRE, sending_pool="p",
        max_delivery_seconds=300, suppressed_reasons=("BOUNCE",), redirect_domain="links.x.example",
    )  # fmt: skip
    assert catalog.configuration_sets.update(changed) == changed
    assert catalog.configuration_sets.list(A) == [changed]
    refused(UsageError, catalog.configuration_sets.update, replace(changed, name="t"))


@pytest.mark.req("CFG-014")
def test_a_default_must_exist_and_one_set_serves_many(catalog):
    for name in ("x.example", "y.example"):
        catalog.identities.create(A, name)
    refused(UsageError, catalog.configuration_sets.set_default, A, "x.example", "s")
    catalog.configuration_sets.create(ConfigurationSet(A, "s"))
    for name in ("x.example", "y.example"):
        catalog.configuration_sets.set_default(A, name, "s")
    assert catalog.configuration_sets.default_of(A, "s") == ("x.example", "y.example")
    refused(UsageError, catalog.configuration_sets.set_default, A, "z.example", "s")
    catalog.configuration_sets.delete(A, "s")
    assert catalog.configuration_sets.default_of(A, "s") == ("x.example", "y.example")
    catalog.configuration_sets.set_default(A, "x.example", "")
    assert catalog.configuration_sets.default_of(A, "s") == ("y.example",)
