"""What every Directory promises: the one on disk and the one in memory."""

import pytest

from relay.model.account import AccountState
from relay.ports import SigningKey
from relay.store.catalog import open_catalog
from relay.store.directory import CatalogDirectory
from relay.testing.directory import MemoryDirectory
from tests.keypool import new_key

KEY = bytes(range(32))
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
        self.catalog.identities.create(account_id, name)
        self.catalog.identities.set_verified(account_id, name, verified=verified)

    def signing(self, account_id, name, *, enabled):
        self.catalog.dkim_setup.set_signing(account_id, name, enabled=enabled)

    def user(self, account_id, name):
        self.catalog.credentials.create_smtp_user(account_id, username=name)

    def suppress(self, account_id, address, reason):
        self.catalog.suppression.add(account_id, address, reason)

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

    def user(self, account_id, name):
        self.directory.principals[name] = account_id

    def suppress(self, account_id, address, reason):
        self.directory.add_suppressed(account_id, address, reason)

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
    world.directory.refresh()
    assert world.directory.principal_account("app") == A
    assert world.directory.principal_account("other") is None
    assert world.directory.principal_account("") is None
    world.account(A, AccountState.CLOSED)
    world.directory.refresh()
    assert world.directory.principal_account("app") is None


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
