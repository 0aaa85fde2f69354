"""The read side of the catalog."""

import shutil
import sqlite3

import pytest

from relay.errors import StorageError
from relay.model.account import AccountState
from relay.model.check import CheckState
from relay.signing.keys import ALGORITHMS, KeyKind
from relay.store import catalog_files, directory
from relay.store.catalog import open_catalog
from relay.store.directory import CatalogDirectory
from relay.store.directory_cache import Cache
from tests.keypool import new_key

KEY = bytes(range(32))
A, B = "000000000001", "000000000002"


@pytest.fixture
def catalog(tmp_path):
    with open_catalog(tmp_path, KEY, new_key=new_key) as opened:
        opened.accounts.create(A)
        opened.accounts.create(B)
        yield opened


@pytest.fixture
def reader(catalog, tmp_path):
    opened = CatalogDirectory(tmp_path, KEY)
    opened.refresh()
    yield opened
    opened.close()


def test_changes_are_seen_at_the_next_refresh_and_only_then(catalog, reader):
    assert reader.account(A).state is AccountState.ENABLED
    assert reader.refresh() is False
    catalog.accounts.set_state(A, AccountState.PAUSED)
    assert reader.account(A).state is AccountState.ENABLED
    assert reader.refresh() is True
    assert reader.account(A).state is AccountState.PAUSED
    assert reader.refresh() is False
    assert reader.account("000000000009") is None
    catalog.accounts.create("000000000009")
    reader.refresh()
    assert reader.account("000000000009") is not None


def test_a_change_drops_one_account_only(catalog, reader):
    catalog.identities.create(A, "a@x.example")
    catalog.identities.create(B, "b@x.example")
    reader.refresh()
    reader.account(A), reader.account(B)
    kept = reader._views.get(B)
    catalog.identities.set_verified(A, "a@x.example")
    reader.refresh()
    assert reader._views.get(B) is kept
    assert reader._views.get(A) is None
    assert reader.sending_identity(A, "a@x.example").name == "a@x.example"


def test_a_reader_that_is_far_behind_drops_everything(catalog, reader, monkeypatch):
    reader.account(B)
    monkeypatch.setattr(catalog_files, "CHANGES_KEPT", 2)
    catalog.accounts.set_state(B, AccountState.PAUSED)
    for number in range(5):
        catalog.accounts.set_contact(A, f"a{number}@x.example")
    reader.refresh()
    assert reader.account(B).state is AccountState.PAUSED


COVERED = (
    ("joe@x.example", "x.example"),
    ("JOE@X.Example", "x.example"),
    ("joe@deep.down.under.x.example", "x.example"),
    ("joe@sub.x.example", "sub.x.example"),
    ("joe@a.sub.x.example", "sub.x.example"),
    ("joe@unverified.x.example", "x.example"),
    ("Ann@x.example", "Ann@x.example"),
    ("ann@x.example", "x.example"),
    ("Ann+tag@x.example", "Ann@x.example"),
    ("ann@other.example", "ann@other.example"),
    ("ann+a+b@other.example", "ann@other.example"),
    ("Ann@other.example", None),
    ("ann@OTHER.example", None),
    ("bob@other.example", None),
    ("bob@third.example", None),
    ("bob+y@third.example", None),
    ("bob+x@third.example", "bob+x@third.example"),
    ("bob+x+z@third.example", "bob+x@third.example"),
    ("joe@notx.example", None),
    ("joe@example", None),
    ("joe@x.example.", None),
    ("joe@.x.example", None),
    ("joe@x.example@evil.example", None),
    ('"joe@x.example"@evil.example', None),
    ("joe@x\u3002example", None),
    ("x.example", None),
    ("", None),
    ("joe@\udcff.x.example", None),
)


def test_most_specific_verified_identity(catalog, reader):
    for identity in ("x.example", "sub.x.example", "Ann@x.example", "ann@other.example", "bob+x@third.example"):
        catalog.identities.create(A, identity)
        catalog.identities.set_verified(A, identity)
    catalog.identities.create(A, "unverified.x.example")
    catalog.identities.create(B, "evil.example")
    catalog.identities.set_verified(B, "evil.example")
    reader.refresh()
    for _ in range(2):
        found = {address: reader.sending_identity(A, address) for address, _ in COVERED}
        assert {address: identity.name if identity else None for address, identity in found.items()} == dict(COVERED)
    assert reader.sending_identity(B, "joe@x.example") is None


def test_the_most_specific_domain_with_keys_signs(catalog, reader):
    for identity in ("x.example", "sub.x.example", "ann@sub.x.example"):
        catalog.identities.create(A, identity)
        catalog.identities.set_verified(A, identity)
    reader.refresh()
    assert reader.sending_identity(A, "ann@sub.x.example").dkim_domain == "sub.x.example"
    assert reader.sending_identity(A, "joe@a.x.example").dkim_domain == "x.example"
    lose(catalog, "sub.x.example")
    reader.refresh()
    assert reader.sending_identity(A, "joe@sub.x.example").name == "sub.x.example"
    assert reader.sending_identity(A, "joe@sub.x.example").dkim_domain == "x.example"
    catalog.identities.delete(A, "x.example")
    catalog.identities.delete(A, "sub.x.example")
    reader.refresh()
    assert reader.sending_identity(A, "ann@sub.x.example").dkim_domain == ""


@pytest.mark.req("DKIM-012")
def test_a_subdomain_that_is_not_set_up_is_signed_for_by_its_parent(catalog, reader):
    """Its identity may be verified by other means; keys nobody can find would only fail."""
    for identity in ("x.example", "sub.x.example"):
        catalog.identities.create(A, identity)
    catalog.identities.set_verified(A, "x.example")
    connection = catalog.identities._tables.connection
    connection.execute("UPDATE identity SET verified = 1")
    reader.refresh()
    found = reader.sending_identity(A, "joe@sub.x.example")
    assert (found.name, found.dkim_domain) == ("sub.x.example", "x.example")
    assert reader.signing_keys(A, "sub.x.example") == ()


@pytest.mark.req("DKIM-011")
def test_a_failed_check_stops_signing(catalog, reader):
    catalog.identities.create(A, "x.example")
    for state, signs in [
        (CheckState.PENDING, False),
        (CheckState.SUCCESS, True),
        (CheckState.TEMPORARY_FAILURE, True),
        (CheckState.FAILED, False),
        (CheckState.PENDING, False),
        (CheckState.SUCCESS, True),
    ]:
        with catalog.identities._tables.writing(A):
            catalog.dkim.follow_check(A, "x.example", state)
            catalog.identities._tables.connection.execute("UPDATE identity SET verified = 1")
        reader.refresh()
        assert bool(reader.signing_keys(A, "x.example")) is signs, state
        assert bool(reader.sending_identity(A, "a@x.example").dkim_domain) is signs, state


def lose(catalog, domain):
    with catalog.identities._tables.writing(A):
        catalog.dkim.lose(A, domain)


def test_signing_keys_sign_rsa_first_and_are_cached(catalog, reader):
    catalog.identities.create(A, "x.example", ed25519=True)
    details = catalog.identities.set_verified(A, "x.example")
    assert [str(key.state) for key in details.keys] == ["active", "standby", "standby", "active"]
    reader.refresh()
    keys = reader.signing_keys(A, "x.example")
    assert [key.algorithm for key in keys] == [ALGORITHMS[KeyKind.RSA], ALGORITHMS[KeyKind.ED25519]]
    assert [key.selector for key in keys] == [key.selector for key in details.keys if key.state == "active"]
    assert len(keys[0].sign(b"data")) == 256
    assert len(keys[1].sign(b"data")) == 64
    assert reader.signing_keys(A, "x.example") is keys
    assert reader.signing_keys(B, "x.example") == ()
    catalog.identities.delete(A, "x.example")
    reader.refresh()
    assert reader.signing_keys(A, "x.example") == ()


def test_a_key_moved_to_another_row_is_an_error_not_unsigned_mail(catalog, reader, tmp_path):
    catalog.identities.create(A, "x.example")
    catalog.identities.set_verified(A, "x.example")
    connection = sqlite3.connect(tmp_path / "catalog.db")
    connection.execute("UPDATE dkim_key SET selector = 'moved' WHERE state = 'active'")
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match=r"x\.example"):
        reader.signing_keys(A, "x.example")


@pytest.mark.req("SUPP-018")
def test_suppression_without_case_with_negative_caching(catalog, reader):
    assert reader.suppressed(A, "Joe@X.example") is None
    catalog.suppression.add(A, "joe@x.EXAMPLE", "COMPLAINT")
    assert reader.suppressed(A, "joe@x.example") is None
    reader.refresh()
    entry = reader.suppressed(A, "JOE@x.example")
    assert (entry.address, entry.reason) == ("joe@x.example", "COMPLAINT")
    assert reader.suppressed(A, '"joe"@x.example') == entry
    assert reader.suppressed(A, "other@x.example") is None
    assert reader.suppressed(A, "\udcff@x.example") is None
    assert reader.suppressed(B, "joe@x.example") is None
    catalog.suppression.add(A, "other@x.example")
    assert reader.refresh()
    assert reader.suppressed(A, "other@x.example").reason == "BOUNCE"
    catalog.suppression.remove(A, "JOE@X.EXAMPLE")
    reader.refresh()
    assert reader.suppressed(A, "joe@x.example") is None


@pytest.mark.req("CRED-011")
def test_principal_belongs_to_an_account_while_active(catalog, reader):
    user = catalog.credentials.create_smtp_user(A, username="app")
    assert user.credential.username == "app"
    reader.refresh()
    assert reader.principal("app").account == A
    assert reader.principal("App") is None
    assert reader.principal("x" * 10_000) is None
    assert reader.principal("\udcff") is None
    catalog.accounts.set_state(A, AccountState.PAUSED)
    reader.refresh()
    assert reader.principal("app").account == A
    catalog.accounts.set_state(A, AccountState.CLOSED)
    reader.refresh()
    assert reader.principal("app") is None
    catalog.accounts.set_state(A, AccountState.ENABLED)
    catalog.credentials.revoke("app")
    reader.refresh()
    assert reader.principal("app") is None


def test_a_new_user_is_known_though_its_name_was_unknown_before(catalog, reader):
    assert reader.principal("app") is None
    catalog.credentials.create_smtp_user(B, username="app")
    reader.refresh()
    assert reader.principal("app").account == B


def test_unreadable_files_are_storage_errors_and_come_back(catalog, reader, tmp_path):
    catalog.close()
    reader.account(A)
    reader.close()
    shutil.move(tmp_path / "catalog.db", tmp_path / "away.db")
    for _ in range(2):
        with pytest.raises(StorageError, match=r"catalog\.db"):
            reader.refresh()
        with pytest.raises(StorageError):
            reader.account(B)
    assert not (tmp_path / "catalog.db").exists()
    shutil.move(tmp_path / "away.db", tmp_path / "catalog.db")
    assert reader.refresh() is True
    assert reader.account(A) is not None


def test_a_restored_file_is_noticed(catalog, reader, tmp_path):
    shutil.copy(tmp_path / "catalog.db", tmp_path / "backup.db")
    with open_catalog(tmp_path, KEY) as other:
        other.accounts.set_state(A, AccountState.PAUSED)
    reader.refresh()
    assert reader.account(A).state is AccountState.PAUSED
    catalog.close()
    (tmp_path / "other").mkdir()
    with open_catalog(tmp_path / "other", KEY) as other:
        other.accounts.create(A)
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"catalog.db{suffix}").unlink(missing_ok=True)
    shutil.move(tmp_path / "other" / "catalog.db", tmp_path / "catalog.db")
    for _ in range(64):
        reader.refresh()
    assert reader.account(A).state is AccountState.ENABLED


def test_caches_are_bounded(catalog, tmp_path, monkeypatch):
    for name in ("SUPPRESSED_MAX", "IDENTITIES_MAX", "PRINCIPALS_MAX", "ACCOUNTS_MAX"):
        monkeypatch.setattr(directory, name, 100)
    catalog.suppression.add(A, "x@x.example")
    catalog.identities.create(A, "ann@x.example")
    small = CatalogDirectory(tmp_path, KEY)
    for number in range(1000):
        small.account(f"{number:012}")
        small.suppressed(A, f"u{number}@x.example")
        small.sending_identity(A, f"u{number}@d{number}.example")
        small.principal(f"u{number}")
    caches = (small._views, small._lists, small._suppressed, small._domains, small._covering, small._unknown)
    assert max(map(len, caches)) <= 100
    small.close()


def test_cache_keeps_what_is_used():
    cache = Cache(100)
    cache.put("kept", 1)
    for number in range(1000):
        cache.put(number, number)
        assert cache.get("kept") == 1
        assert len(cache) <= 100
    assert cache.get(0) is None
    cache.drop("kept")
    assert cache.get("kept") is None
    cache.clear()
    assert len(cache) == 0
