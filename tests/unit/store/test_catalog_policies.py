"""Policies of identities in the catalog: what is kept, what is refused, and that a refusal changes nothing."""

import json

import pytest

from relay.errors import InvalidPolicyError, UsageError
from relay.policy.document import POLICIES_MAX
from relay.store.catalog import open_catalog

A, B = "000000000001", "000000000002"
REGION = "local-1"


def text(name="x.example", **elements):
    resource = f"arn:aws:ses:{REGION}:{A}:identity/{name}"
    statement = {"Effect": "Allow", "Principal": {"AWS": B}, "Action": "ses:SendEmail", "Resource": resource}
    return json.dumps({"Statement": statement | elements}, indent=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with open_catalog(tmp_path_factory.mktemp("data"), bytes(range(32)), now_ms=lambda: 1000) as opened:
        for account in (A, B):
            opened.accounts.create(account)
        for name in ("x.example", "me@y.example", "pending.example"):
            opened.identities.create(A, name)
            opened.identities.set_verified(A, name, verified=name != "pending.example")
        yield opened


@pytest.fixture
def policies(made):
    yield made.identity_policies
    for one in made.identity_policies.list(A, "x.example"):
        made.identity_policies.delete(A, "x.example", one.name)


@pytest.mark.req("AUTHZ-022")
def test_a_policy_is_put_replaced_read_and_deleted(policies):
    policies.put(A, "x.example", "b", text(), REGION)
    policies.put(A, "X.Example", "a", text(), REGION)
    other = text(Effect="Deny")
    policies.put(A, "x.example", "b", other, REGION)
    assert [(one.name, one.document) for one in policies.list(A, "x.example")] == [("a", text()), ("b", other)]
    assert policies.require(A, "x.example", "b").document == other
    policies.delete(A, "x.example", "b")
    for call in (policies.require, policies.delete):
        with pytest.raises(UsageError, match="has no policy b"):
            call(A, "x.example", "b")
    policies.put(A, "me@y.example", "p", text("me@y.example"), REGION)
    assert [one.name for one in policies.list(A, "me@y.example")] == ["p"]


@pytest.mark.req("AUTHZ-022", "IDENT-003")
def test_only_the_owner_of_a_verified_identity_puts_one(policies):
    for account, name, why in (
        (B, "x.example", "no identity"),
        (A, "sub.x.example", "no identity"),
        (A, "me@x.example", "no identity"),
        (A, "pending.example", "not verified"),
        ("999999999999", "x.example", "no identity"),
    ):
        with pytest.raises(UsageError, match=why):
            policies.put(account, name, "p", text(name), REGION)
    assert policies.list(A, "x.example") == ()
    assert policies.list(A, "pending.example") == ()


@pytest.mark.req("AUTHZ-001", "AUTHZ-003")
@pytest.mark.parametrize(
    ("name", "document", "element"),
    [
        ("", text(), "PolicyName"),
        ("x" * 65, text(), "PolicyName"),
        ("a b", text(), "PolicyName"),
        ("p", text(Sid="s" * 4096), "Policy"),
        ("p", "{", "Policy"),
        ("p", text("other.example"), "Statement.Resource"),
        ("p", text(Action="ses:GetSendQuota"), "Statement.Action"),
        ("p", text(Effect="allow"), "Statement.Effect"),
        ("p", '{"Version": "2012-10-17"}', "Statement"),
    ],
)
def test_every_fault_is_told_with_an_example_and_nothing_is_kept(policies, name, document, element):
    policies.put(A, "x.example", "kept", text(), REGION)
    with pytest.raises(InvalidPolicyError) as caught:
        policies.put(A, "x.example", name, document, REGION)
    assert [fault.element for fault in caught.value.faults.faults] == [element]
    assert all(fault.example for fault in caught.value.faults.faults)
    assert [one.document for one in policies.list(A, "x.example")] == [text()]


@pytest.mark.req("AUTHZ-001")
def test_an_identity_has_twenty_policies_at_most(policies):
    for number in range(POLICIES_MAX):
        policies.put(A, "x.example", f"p{number}", text(), REGION)
    with pytest.raises(InvalidPolicyError, match="at most 20"):
        policies.put(A, "x.example", "one-more", text(), REGION)
    policies.put(A, "x.example", "p0", text(Effect="Deny"), REGION)
    assert len(policies.list(A, "x.example")) == POLICIES_MAX
