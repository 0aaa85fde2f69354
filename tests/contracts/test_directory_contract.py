"""What every Directory promises: the one on disk and the one in memory."""

import json

import pytest

from relay.model.account import AccountState, Principal
from relay.model.configuration_set import ConfigurationSet, TlsPolicy
from relay.policy.stays import stay_after
from relay.policy.suppression import fold
from relay.ports import SigningKey
from relay.store.catalog import open_catalog
from relay.store.directory import CatalogDirectory
from relay.store.suppression_file import RELAY_LIST
from relay.testing.directory import MemoryDirectory
from tests.keypool import new_key

KEY = bytes(range(32))
REGION = "local-1"
A, B = "000000000001", "000000000002"


class OnDisk:
    """Arranges a catalog on disk."""

    def __init__(self, path):
        self.catalog = open_catalog(path, KEY, new_key=new_key)
        self.directory = CatalogDirectory(path, KEY)

    def account(self, account_id, state=AccountState.ENABLED):
        if self.catalog.accounts.get(account_id) is None:
            self.catalog.accounts.create(account_id)
        self.catalog.accounts.set_state(account_id, state)

    def identity(self, account_id, name, *, verified=True):
        if self.catalog.identities.get(account_id, name) is None:
            self.catalog.identities.create(account_id, name)
        self.catalog.identities.set_verified(account_id, name, verified=verified)

    def user(self, account_id, name, user=""):
        self.catalog.credentials.create_smtp_user(account_id, username=name, user=user)

    def user_policy(self, account_id, user, name, document):
        self.catalog.users.put_policy(account_id, user, name, document)

    def drop_user_policy(self, account_id, user, name):
        self.catalog.users.delete_policy(account_id, user, name)

    def identity_policy(self, account_id, identity, name, document):
        self.catalog.identity_policies.put(account_id, identity, name, document, REGION)

    def configuration_set(self, one):
        known = self.catalog.configuration_sets.get(one.account, one.name) is not None
        sets = self.catalog.configuration_sets
        sets.update(one) if known else sets.create(one)

    def default_set(self, account_id, identity, name):
        self.catalog.configuration_sets.set_default(account_id, identity, name)

    def signing(self, account_id, name, *, enabled):
        self.catalog.dkim_setup.set_signing(account_id, name, enabled=enabled)

    def suppress(self, account_id, address, reason):
        self.catalog.suppression.add(account_id, address, reason)

    def put_on_relays_list(self, address, bounced_ms):
        with self.catalog.relay_list._file.writing(RELAY_LIST):
            return self.catalog.relay_list.bounced(address, bounced_ms).until_ms

    def close(self):
        self.directory.close()
        self.catalog.close()


class InMemory:
    """Arranges a directory in memory."""

    def __init__(self, path):
        self.directory = MemoryDirectory()

    def account(self, account_id, state=AccountState.ENABLED):
        self.directory.add_account(account_id, state=state)

    def identity(self, account_id, name, *, verified=True):
        keys = () if "@" in name else (SigningKey(name, "s", "rsa-sha256", lambda data: data),)
        self.directory.add_identity(account_id, name, *keys, verified=verified)

    def signing(self, account_id, name, *, enabled):
        self.directory.signing[account_id, name] = enabled

    def user(self, account_id, name, user=""):
        self.directory.principals[name] = account_id
        self.directory.users[name] = user

    def user_policy(self, account_id, user, name, document):
        self.directory.policies_of_users.setdefault((account_id, user), {})[name] = document

    def drop_user_policy(self, account_id, user, name):
        del self.directory.policies_of_users[account_id, user][name]

    def identity_policy(self, account_id, identity, name, document):
        self.directory.policies_of_identities.setdefault((account_id, identity), {})[name] = document

    def configuration_set(self, one):
        self.directory.configuration_sets[one.account, one.name] = one

    def default_set(self, account_id, identity, name):
        self.directory.add_identity(account_id, identity, configuration_set=name)

    def suppress(self, account_id, address, reason):
        self.directory.add_suppressed(account_id, address, reason)

    def put_on_relays_list(self, address, bounced_ms):
        until_ms = self.directory.relay_list[fold(address)] = stay_after(None, bounced_ms).until_ms
        return until_ms

    def close(self):
        pass


@pytest.fixture(params=[OnDisk, InMemory])
def world(request, tmp_path):
    arranged = request.param(tmp_path)
    arranged.account(A)
    arranged.account(B)
    arranged.directory.refresh()
    yield arranged
    arranged.close()


def test_refresh_says_whether_anything_changed(world):
    assert world.directory.refresh() is False
    world.account(A, AccountState.PAUSED)
    assert world.directory.refresh() is True
    assert world.directory.account(A).state is AccountState.PAUSED
    assert world.directory.account("000000000009") is None


def test_principals(world):
    world.user(A, "app")
    world.user(B, "other@app", user="billing")
    world.directory.refresh()
    assert world.directory.principal("app") == Principal("app", A, "")
    assert world.directory.principal("other@app") == Principal("other@app", B, "billing")
    assert world.directory.principal("other") is None
    assert world.directory.principal("") is None
    world.account(A, AccountState.CLOSED)
    world.directory.refresh()
    assert world.directory.principal("app") is None


def test_policies_of_users_and_identities(world):
    allow = '{"Statement": {"Effect": "Allow", "Action": "ses:*", "Resource": "*"}}'
    deny = allow.replace("Allow", "Deny")
    world.user(A, "app", user="billing")
    world.user_policy(A, "billing", "z", allow)
    world.user_policy(A, "billing", "a", deny)
    world.directory.refresh()
    assert ("a", deny) in world.directory.user_policies(A, "billing")
    assert ("z", allow) in world.directory.user_policies(A, "billing")
    names = [name for name, _ in world.directory.user_policies(A, "billing")]
    assert names == sorted(names)
    assert list(world.directory.user_policies(B, "billing")) == []
    assert list(world.directory.user_policies(A, "nobody")) == []
    world.drop_user_policy(A, "billing", "a")
    world.directory.refresh()
    assert "a" not in [name for name, _ in world.directory.user_policies(A, "billing")]


def policy_text(name):
    statement = {"Effect": "Allow", "Principal": {"AWS": B}, "Action": "ses:Send*"}
    return json.dumps({"Statement": statement | {"Resource": f"arn:aws:ses:{REGION}:{A}:identity/{name}"}})


@pytest.mark.req("AUTHZ-012", "IDENT-003")
def test_what_covers_an_address_comes_with_its_policies(world):
    world.account(A)
    world.account(B)
    for name in ("x.example", "sub.x.example", "joe@sub.x.example"):
        world.identity(A, name)
    for name, policy in (("x.example", "q"), ("x.example", "p"), ("joe@sub.x.example", "r")):
        world.identity_policy(A, name, policy, policy_text(name))
    world.identity(B, "x.example")
    world.directory.refresh()

    def covering(account, address):
        return [
            (one.identity.name, [name for name, _ in one.policies])
            for one in world.directory.covering(account, address)
        ]

    joe = [
        ("joe@sub.x.example", ["r"]),
        ("sub.x.example", []),
        ("x.example", []),
    ]  # less specific policies do not count
    assert covering(A, "joe@sub.x.example") == covering(A, "joe+label@sub.x.example") == joe
    assert covering(A, "Joe@Sub.X.example") == [("sub.x.example", []), ("x.example", ["p", "q"])]
    assert covering(B, "joe@sub.x.example") == [("x.example", [])]
    assert covering("000000000009", "joe@sub.x.example") == covering(A, "joe@y.example") == covering(A, "joe") == []
    policies = {name: text for one in world.directory.covering(A, "a@x.example") for name, text in one.policies}
    assert policies == {"p": policy_text("x.example"), "q": policy_text("x.example")}
    assert world.directory.sending_identity(A, "ann@sub.x.example").has_policies
    assert not world.directory.sending_identity(B, "ann@sub.x.example").has_policies
    world.identity(A, "joe@sub.x.example", verified=False)  # what its owner said stands
    world.directory.refresh()
    assert covering(A, "joe@sub.x.example") == joe
    assert not world.directory.covering(A, "joe@sub.x.example")[0].identity.verified
    world.account(A, AccountState.CLOSED)
    world.directory.refresh()
    assert covering(A, "joe@sub.x.example") == []


def test_configuration_sets(world):
    strict = ConfigurationSet(
        A, "strict", tls_policy=TlsPolicy.REQUIRE, suppressed_reasons=(), max_delivery_seconds=300
    )
    world.configuration_set(strict)
    world.directory.refresh()
    found = world.directory.configuration_set(A, "strict")
    assert (found.tls_policy, found.suppressed_reasons, found.max_delivery_seconds) == (TlsPolicy.REQUIRE, (), 300)
    for account, name in ((A, "Strict"), (A, ""), (A, "s" * 5000), (A, "str\u00efct"), (B, "strict")):
        assert world.directory.configuration_set(account, name) is None
    world.configuration_set(ConfigurationSet(A, "strict", sending_enabled=False))
    world.directory.refresh()
    assert world.directory.configuration_set(A, "strict").sending_enabled is False
    assert world.directory.configuration_set(A, "strict").suppressed_reasons is None


@pytest.mark.req("IDENT-003", "IDENT-004")
def test_the_most_specific_verified_identity_gives_the_default_configuration_set(world):
    for name in ("one", "two"):
        world.configuration_set(ConfigurationSet(A, name))
    for identity in ("x.example", "sub.x.example", "joe@sub.x.example"):
        world.identity(A, identity)
    world.identity(A, "late.x.example", verified=False)
    world.default_set(A, "x.example", "one")
    world.default_set(A, "sub.x.example", "two")
    world.directory.refresh()
    table = [
        ("a@x.example", "one"),
        ("a@deep.x.example", "one"),
        ("a@late.x.example", "one"),
        ("a@sub.x.example", "two"),
        ("a@deep.sub.x.example", "two"),
        ("joe@sub.x.example", ""),
        ("joe+tag@sub.x.example", ""),
    ]
    for address, name in table:
        assert world.directory.sending_identity(A, address).configuration_set == name, address


@pytest.mark.req("IDENT-002", "IDENT-004", "IDENT-005", "IDENT-006", "DKIM-012")
def test_identities(world):
    table = [
        ("a@x.example", "x.example", "x.example"),
        ("a@A.B.X.EXAMPLE", "x.example", "x.example"),
        ("Joe@x.example", "Joe@x.example", "x.example"),
        ("Joe+tag@x.example", "Joe@x.example", "x.example"),
        ("joe@x.example", "x.example", "x.example"),
        ("ann@y.example", "ann@y.example", ""),
        ("Ann@y.example", None, None),
        ("a@pending.example", None, None),
        ("a@other.example", None, None),
        ("a@x.example.", None, None),
        ("", None, None),
    ]
    for identity in ("x.example", "Joe@x.example", "ann@y.example"):
        world.identity(A, identity)
    world.identity(A, "pending.example", verified=False)
    world.identity(B, "other.example")
    world.directory.refresh()
    for address, name, dkim_domain in table:
        found = world.directory.sending_identity(A, address)
        assert (found.name if found else None) == name, address
        assert (found.dkim_domain if found else None) == dkim_domain, address
    assert [key.domain for key in world.directory.signing_keys(A, "x.example")] == ["x.example"]
    assert list(world.directory.signing_keys(A, "none.example")) == []


@pytest.mark.req("DKIM-013")
def test_the_most_specific_setting_of_signing_wins(world):
    """Domain, subdomain and address each inherit, and each may turn signatures off and on again."""
    for identity in ("x.example", "sub.x.example", "Joe@sub.x.example"):
        world.identity(A, identity)
    steps = [
        ((), ("x.example", "sub.x.example", "sub.x.example")),
        (("x.example", False), ("", "", "")),
        (("sub.x.example", True), ("", "sub.x.example", "sub.x.example")),
        (("Joe@sub.x.example", False), ("", "sub.x.example", "")),
        (("sub.x.example", False), ("", "", "")),
        (("Joe@sub.x.example", True), ("", "", "sub.x.example")),
        (("x.example", True), ("x.example", "", "sub.x.example")),
    ]
    for step, domains in steps:
        if step:
            world.signing(A, step[0], enabled=step[1])
        world.directory.refresh()
        addresses = ("a@x.example", "a@sub.x.example", "Joe+tag@sub.x.example")
        found = tuple(world.directory.sending_identity(A, address).dkim_domain for address in addresses)
        assert found == domains, step


def test_suppression(world):
    world.suppress(A, "Joe@x.example", "COMPLAINT")
    world.directory.refresh()
    assert world.directory.suppressed(A, "jOE@X.EXAMPLE").reason == "COMPLAINT"
    assert world.directory.suppressed(A, "ann@x.example") is None
    assert world.directory.suppressed(B, "joe@x.example") is None


def test_the_list_of_the_relay(world):
    assert not world.directory.listed("joe@x.example", 5000)
    until_ms = world.put_on_relays_list("Joe@x.example", 5000)
    world.directory.refresh()
    assert world.directory.listed("jOE@X.EXAMPLE", until_ms - 1)
    assert not world.directory.listed("joe@x.example", until_ms)
    assert not world.directory.listed("ann@x.example", 5000)
    assert not world.directory.listed("\udcff@x.example", 5000)
