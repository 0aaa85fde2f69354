"""SMTP logins against the catalog."""

import base64
import time

import pytest

from relay.model.account import AccountState
from relay.model.refusal import Reason, Refusal
from relay.signing.secrets import DEFAULT_REGIONS, smtp_password
from relay.store.authenticator import CatalogAuthenticator
from relay.store.catalog import open_catalog
from relay.store.directory import CatalogDirectory

KEY = bytes(range(32))
A = "000000000001"
KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
INVALID = Refusal(Reason.CREDENTIALS_INVALID)


@pytest.fixture
def catalog(tmp_path):
    with open_catalog(tmp_path, KEY) as opened:
        opened.accounts.create(A)
        opened.credentials.import_access_key(A, KEY_ID, SECRET)
        yield opened


@pytest.fixture
def door(catalog, tmp_path):
    reader = CatalogDirectory(tmp_path, KEY)
    yield CatalogAuthenticator(reader, KEY, (*DEFAULT_REGIONS, "local-1"))
    reader.close()


@pytest.mark.req("CRED-002", "CRED-004", "CRED-005")
@pytest.mark.parametrize(
    ("region", "accepted"),
    [("us-west-2", True), ("us-east-1", True), ("local-1", True), ("eu-north-1", False), ("LOCAL-1", False)],
)
def test_an_imported_key_keeps_its_passwords_for_accepted_regions(door, region, accepted):
    assert door.check(KEY_ID, smtp_password(SECRET, region)) == (A if accepted else INVALID)


@pytest.mark.req("CRED-006")
@pytest.mark.parametrize("region", DEFAULT_REGIONS)
def test_the_fourteen_regions_of_the_conversion_script(door, region):
    assert door.check(KEY_ID, smtp_password(SECRET, region)) == A


@pytest.mark.req("CRED-001", "CRED-008")
@pytest.mark.parametrize(
    "password",
    [
        SECRET,
        "",
        "x",
        smtp_password(SECRET, "us-east-1")[:-1],
        smtp_password(SECRET, "us-east-1") + " ",
        smtp_password(SECRET, "us-east-1").lower(),
        base64.b64encode(b"\x02" + base64.b64decode(smtp_password(SECRET, "us-east-1"))[1:]).decode(),
        base64.b64encode(b"\x03" + base64.b64decode(smtp_password(SECRET, "us-east-1"))[1:]).decode(),
        "\udcff\0",
        "x" * 20_000,
    ],
)
def test_everything_else_is_invalid(door, password):
    assert door.check(KEY_ID, password) == INVALID
    assert door.check("nobody", password) == INVALID


@pytest.mark.parametrize("username", ["", KEY_ID.lower(), KEY_ID + " ", "\udcff", "\0", "x" * 20_000, "é"])
def test_no_other_name_will_do(door, username):
    assert door.check(username, smtp_password(SECRET, "us-east-1")) == INVALID


def test_stand_alone_users(catalog, door):
    user = catalog.credentials.create_smtp_user(A, username="app")
    other = catalog.credentials.create_smtp_user(A, username="other")
    assert door.check("app", user.secret) == A
    assert door.check("other", user.secret) == INVALID
    assert door.check("app", other.secret) == INVALID
    assert door.check(KEY_ID, user.secret) == INVALID


@pytest.mark.req("CRED-011")
def test_a_revoked_credential_is_invalid_at_once(catalog, door):
    user = catalog.credentials.create_smtp_user(A, username="app")
    assert door.check("app", user.secret) == A
    catalog.credentials.revoke("app")
    assert door.check("app", user.secret) == INVALID
    catalog.credentials.revoke(KEY_ID)
    assert door.check(KEY_ID, smtp_password(SECRET, "us-east-1")) == INVALID


def test_a_key_that_comes_back_with_another_secret_forgets_the_old_one(catalog, door):
    assert door.check(KEY_ID, smtp_password(SECRET, "us-east-1")) == A
    catalog.credentials.revoke(KEY_ID)
    catalog.credentials.import_access_key(A, KEY_ID, "x" * 40)
    assert door.check(KEY_ID, smtp_password(SECRET, "us-east-1")) == INVALID
    assert door.check(KEY_ID, smtp_password("x" * 40, "us-east-1")) == A


def test_a_closed_account_is_told_only_to_those_with_valid_credentials(catalog, door):
    catalog.accounts.set_state(A, AccountState.CLOSED)
    assert door.check(KEY_ID, smtp_password(SECRET, "us-east-1")) == Refusal(Reason.ACCOUNT_CLOSED)
    assert door.check(KEY_ID, "wrong") == INVALID
    catalog.accounts.set_state(A, AccountState.PAUSED)
    assert door.check(KEY_ID, smtp_password(SECRET, "us-east-1")) == A


def test_an_unreadable_catalog_is_temporary_never_invalid(catalog, door, tmp_path):
    catalog.close()
    door._directory.close()
    (tmp_path / "catalog.db").rename(tmp_path / "away.db")
    assert door.check(KEY_ID, smtp_password(SECRET, "us-east-1")) == Refusal(Reason.AUTH_TEMPORARY)
    assert door.check("nobody", "x") == Refusal(Reason.AUTH_TEMPORARY)
    (tmp_path / "away.db").rename(tmp_path / "catalog.db")
    assert door.check(KEY_ID, smtp_password(SECRET, "us-east-1")) == A


@pytest.mark.req("CRED-008")
def test_unknown_users_cost_the_same_as_known_ones(catalog, door):
    """Medians of CPU time, first and later logins; a factor, because other work shares the machine."""
    known, unknown, users = [], [], []
    for number in range(60):
        key_id = f"AKIAIOSFODNN7EXAMP{number:02}"
        catalog.credentials.import_access_key(A, key_id, SECRET)
        user = catalog.credentials.create_smtp_user(A).credential.username
        door._directory.refresh()
        for name, times in ((key_id, known), (f"AKIAIOSFODNN7EXAMQ{number:02}", unknown), (user, users)):
            begin = time.thread_time()
            assert door.check(name, "wrong") == INVALID
            times.append(time.thread_time() - begin)
    medians = [sorted(times)[30] for times in (known, unknown, users)]
    assert max(medians) < 2 * min(medians)
