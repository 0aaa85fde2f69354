"""The catalog as commands write it."""

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from relay.errors import ConfigurationError, CorruptionError, NewerVersionError, TemporaryError, UsageError
from relay.model.account import AccountState, IdentityKind
from relay.store import catalog_files, catalog_notices
from relay.store.catalog import open_catalog
from relay.store.catalog_credentials import CredentialKind
from tests.keypool import new_key

KEY = bytes(range(32))
A, B = "000000000001", "000000000002"


@pytest.fixture
def catalog(tmp_path):
    with open_catalog(tmp_path / "data", KEY, now_ms=lambda: 1000, new_key=new_key) as opened:
        opened.accounts.create(A)
        yield opened


def test_files_are_for_their_owner_only(catalog, tmp_path):
    catalog.accounts.create(B)
    data = tmp_path / "data"
    assert data.stat().st_mode & 0o777 == 0o700
    names = {path.name: path.stat().st_mode & 0o777 for path in data.iterdir()}
    assert {"catalog.db", "suppression.db", "catalog.db-wal"} <= set(names)
    assert set(names.values()) == {0o600}


def test_accounts(catalog):
    assert catalog.accounts.get(A).limited is False
    sandboxed = catalog.accounts.create(B, sandbox=True, contact="a@b.example")
    assert (sandboxed.daily_quota, sandboxed.send_rate, sandboxed.sandbox) == (200, 1.0, True)
    assert catalog.accounts.set_quota(B, daily_quota=5).send_rate == 1.0
    assert catalog.accounts.set_quota(B, send_rate=2.5) == catalog.accounts.require(B)
    assert catalog.accounts.require(B).daily_quota == 5
    assert catalog.accounts.set_quota(B, daily_quota=-1, send_rate=-1).limited is False
    assert catalog.accounts.set_state(B, AccountState.PAUSED).state is AccountState.PAUSED
    assert catalog.accounts.set_sandbox(B, sandbox=False).sandbox is False
    assert catalog.accounts.set_contact(B, "c@d.example").contact == "c@d.example"
    assert [account.account_id for account in catalog.accounts.list()] == [A, B]
    assert catalog.accounts.get("000000000009") is None


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.accounts.create(A),
        lambda c: c.accounts.create("1"),
        lambda c: c.accounts.create("٠" * 12),
        lambda c: c.accounts.create(B, contact="a\nb"),
        lambda c: c.accounts.create(B, contact="nobody"),
        lambda c: c.accounts.create(B, contact="a@b.example>, <c@d.example"),
        lambda c: c.accounts.set_quota(A, daily_quota=-2),
        lambda c: c.accounts.set_quota(A, send_rate=float("nan")),
        lambda c: c.accounts.set_quota(A, send_rate=float("inf")),
        lambda c: c.accounts.set_quota(B, daily_quota=1),
        lambda c: c.accounts.set_state(B, AccountState.CLOSED),
        lambda c: c.accounts.require(B),
        lambda c: c.credentials.create_access_key(B),
        lambda c: c.credentials.create_smtp_user(A, username="bad name"),
        lambda c: c.credentials.create_smtp_user(A, username="AKIAAAAAAAAAAAAAAAAA"),
        lambda c: c.credentials.create_smtp_user(A, "n" * 129),
        lambda c: c.credentials.create_smtp_user(A, "a\nb"),
        lambda c: c.credentials.import_access_key(A, "short", "x" * 40),
        lambda c: c.credentials.import_access_key(A, "A" * 20, "BF2PynzbSCAjX08zhZZnP/kW+T9P5zs/1Er0pi5vTEmd"),
        lambda c: c.credentials.revoke("nobody"),
        lambda c: c.credentials.list(B),
        lambda c: c.identities.create(B, "b.example"),
        lambda c: c.identities.create(A, "nodots"),
        lambda c: c.identities.create(A, "b.example."),
        lambda c: c.identities.create(A, "b..example"),
        lambda c: c.identities.create(A, "*.example"),
        lambda c: c.identities.create(A, ""),
        lambda c: c.identities.create(A, "x" * 64 + ".example"),
        lambda c: c.identities.create(A, ("x" * 60 + ".") * 5 + "example"),
        lambda c: c.identities.create(A, "a b@c.example"),
        lambda c: c.identities.create(A, "@c.example"),
        lambda c: c.identities.require(A, "c.example"),
        lambda c: c.identities.delete(A, "c.example"),
        lambda c: c.identities.set_verified(A, "c.example"),
        lambda c: c.suppression.add(A, "nothing"),
        lambda c: c.suppression.add(A, "a@b.example", "SPITE"),
        lambda c: c.suppression.remove(A, "a@b.example"),
    ],
)
def test_what_cannot_work_is_a_usage_error_and_changes_nothing(catalog, tmp_path, call):
    before = _dump(tmp_path)
    with pytest.raises(UsageError):
        call(catalog)
    assert _dump(tmp_path) == before


def _dump(tmp_path):
    rows = []
    for name in ("catalog.db", "suppression.db"):
        connection = sqlite3.connect(tmp_path / "data" / name)
        rows += list(connection.iterdump())
        connection.close()
    return rows


def test_credentials(catalog, tmp_path):
    key = catalog.credentials.create_access_key(A, "api")
    user = catalog.credentials.create_smtp_user(A, "app", username="app@host")
    assert catalog.credentials.list(A) == catalog.credentials.list() == [key.credential, user.credential]
    assert key.credential.kind is CredentialKind.ACCESS_KEY
    assert user.smtp_password("anywhere") == user.secret
    assert key.smtp_password("us-east-1") != key.secret
    with pytest.raises(UsageError, match="exists already"):
        catalog.credentials.create_smtp_user(A, username="app@host")
    raw = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    assert key.secret.encode() not in raw
    assert user.secret.encode() not in raw


@pytest.mark.req("CRED-011")
def test_revoked_credentials_stay_listed_and_cannot_be_made_again(catalog):
    user = catalog.credentials.create_smtp_user(A, username="app")
    assert catalog.credentials.revoke("app").revoked_ms == 1000
    assert catalog.credentials.get("app").revoked_ms == 1000
    with pytest.raises(UsageError, match="revoked already"):
        catalog.credentials.revoke("app")
    with pytest.raises(UsageError, match="exists already"):
        catalog.credentials.create_smtp_user(A, username="app")
    assert user.credential.revoked_ms is None


def test_an_imported_key_can_be_revoked_and_come_back_in_its_account_only(catalog):
    catalog.accounts.create(B)
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    catalog.credentials.import_access_key(A, "AKIAIOSFODNN7EXAMPLE", secret, "old app")
    with pytest.raises(UsageError, match="exists already"):
        catalog.credentials.import_access_key(A, "AKIAIOSFODNN7EXAMPLE", secret)
    catalog.credentials.revoke("AKIAIOSFODNN7EXAMPLE")
    with pytest.raises(UsageError, match="exists already"):
        catalog.credentials.import_access_key(B, "AKIAIOSFODNN7EXAMPLE", secret)
    assert catalog.credentials.import_access_key(A, "AKIAIOSFODNN7EXAMPLE", secret).revoked_ms is None


def test_a_domain_gets_keys_and_records(catalog, tmp_path):
    details = catalog.identities.create(A, "Bücher.example", ed25519=True)
    assert details.identity.name == "xn--bcher-kva.example"
    assert details.identity.kind is IdentityKind.DOMAIN
    assert not details.identity.verified
    assert [key.algorithm for key in details.keys] == ["rsa-sha256"] * 3 + ["ed25519-sha256"]
    for key, record in zip(details.keys, details.records, strict=True):
        assert record.name == f"{key.selector}._domainkey.xn--bcher-kva.example"
        assert record.kind == "TXT"
        assert record.value.startswith("v=DKIM1; k=")
    assert catalog.identities.get(A, "BÜCHER.example") == details
    raw = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    assert b"PRIVATE KEY" not in raw
    with pytest.raises(UsageError, match="exists already"):
        catalog.identities.create(A, "bücher.example")


def test_an_address_keeps_its_case_and_has_no_keys(catalog):
    details = catalog.identities.create(A, "Joe@B.example")
    assert details.identity.name == "Joe@B.example"
    assert details.keys == ()
    assert catalog.identities.get(A, "joe@b.example") is None


@pytest.mark.parametrize(("name", "warned"), [("www.b.example", True), ("b.example", False), ("www.example", False)])
def test_www_is_warned_about(catalog, name, warned):
    assert bool(catalog.identities.create(A, name).warning) is warned


@pytest.mark.req("IDENT-005")
@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("a@EXAMPLE.com", "a@example.com"),
        ("Anna+x@sub.Example.com", "Anna+x@sub.example.com"),
        ("Anna@example.com", ""),
        ("a@B\u00dcCHER.example", ""),  # kept as A-labels, which have one case
    ],
)
def test_an_address_that_can_cover_nothing_is_kept_and_warned_about(catalog, name, instead):
    made = catalog.identities.create(A, name)
    assert made.warning.endswith(f"Create {instead}." if instead else "")
    assert bool(made.warning) is bool(instead)
    if instead:
        assert made.identity.name == name
        assert catalog.identities.get(A, instead) is None
        assert catalog.identities.create(A, instead).warning == ""


@pytest.mark.parametrize("name", ["*@example.com", '"*"@example.com', "*@Sub.Example.com"])
def test_a_pattern_is_no_identity(catalog, name):
    domain = name.rpartition("@")[2]
    with pytest.raises(UsageError, match=f"no pattern: .* Create the identity {domain} instead"):
        catalog.identities.create(A, name)
    assert catalog.identities.list(A).identities == []
    catalog.identities.create(A, "a*@example.com")


def test_identities_are_listed_in_pages_and_deleted_with_their_keys(catalog, tmp_path):
    for number in range(5):
        catalog.identities.create(A, f"a{number}@b.example")
    catalog.identities.create(A, "b.example")
    first = catalog.identities.list(A, limit=4)
    second = catalog.identities.list(A, after=first.after, limit=4)
    assert [i.name for i in first.identities + second.identities] == [
        *(f"a{n}@b.example" for n in range(5)),
        "b.example",
    ]
    assert second.after == ""
    assert catalog.identities.set_verified(A, "b.example").identity.verified
    assert not catalog.identities.set_verified(A, "b.example", verified=False).identity.verified
    catalog.identities.delete(A, "b.example")
    connection = sqlite3.connect(tmp_path / "data" / "catalog.db")
    assert connection.execute("SELECT count(*) FROM dkim_key").fetchone() == (0,)
    connection.close()


def test_the_wrong_master_key_is_told_before_anything_is_written(catalog, tmp_path):
    with pytest.raises(ConfigurationError, match="another master key"):
        open_catalog(tmp_path / "data", bytes(32))
    with pytest.raises(ConfigurationError, match="32 bytes"):
        open_catalog(tmp_path / "data", b"short")


@pytest.mark.parametrize("name", ["catalog.db", "suppression.db"])
def test_a_newer_file_is_refused_and_left_alone(catalog, tmp_path, name):
    catalog.close()
    path = tmp_path / "data" / name
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NewerVersionError, match="newer release"):
        open_catalog(tmp_path / "data", KEY)
    assert path.read_bytes() == before


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "catalog.db").write_bytes(b"not a database at all" * 500)
    with pytest.raises(CorruptionError, match="restore it"):
        open_catalog(tmp_path, KEY)


def test_a_directory_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="Cannot open"):
        open_catalog(tmp_path / "file", KEY)
    (tmp_path / "catalog.db").symlink_to("/nowhere")
    with pytest.raises(ConfigurationError, match="Cannot open"):
        open_catalog(tmp_path, KEY)


def test_opening_twice_migrates_once(catalog, tmp_path):
    with open_catalog(tmp_path / "data", KEY) as again:
        assert again.accounts.require(A).account_id == A


def test_writers_wait_for_each_other_but_not_for_ever(catalog, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog_files, "BUSY_TIMEOUT_SECONDS", 0.1)
    other = sqlite3.connect(tmp_path / "data" / "catalog.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with open_catalog(tmp_path / "data", KEY) as impatient, pytest.raises(TemporaryError, match="try again"):
        impatient.accounts.create(B)
    timer = threading.Timer(0.1, other.execute, ["ROLLBACK"])
    timer.start()
    assert catalog.accounts.create(B).account_id == B
    timer.join()
    other.close()


def test_the_change_log_is_pruned(catalog, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog_files, "CHANGES_KEPT", 5)
    for number in range(20):
        catalog.accounts.set_contact(A, f"a{number}@x.example")
    connection = sqlite3.connect(tmp_path / "data" / "catalog.db")
    assert connection.execute("SELECT count(*) FROM change").fetchone()[0] == 5
    connection.close()


def test_a_catalog_of_the_first_form_is_brought_up_to_date_with_everything_in_it(tmp_path):
    queries = catalog_files.load_queries("catalog.sql")
    first = {name: text for name, text in queries.items() if not name.startswith("migration_") or name.endswith("_1")}
    connection = catalog_files.open_for_writing(tmp_path / "catalog.db", first)
    for statement in (
        f"INSERT INTO account VALUES ('{A}', 'enabled', 0, -1, -1, 'joe@x.example', 1)",
        f"INSERT INTO identity VALUES ('{A}', 'x.example', 'DOMAIN', 1, 1)",
        f"INSERT INTO credential VALUES ('app', 'smtp-user', '{A}', '', x'00', 1, NULL)",
    ):
        connection.execute(statement)
    connection.close()
    with open_catalog(tmp_path, KEY) as opened:
        assert opened.identities.require(A, "x.example").identity.verified
        assert opened.credentials.get("app").account == A
        assert opened.accounts.require(A).contact == "joe@x.example"


def test_a_notice_waits_until_it_is_forgotten_and_a_flood_of_them_is_cut(catalog, monkeypatch):
    monkeypatch.setattr(catalog_notices, "WAITING_MAX", 2)
    with catalog._tables.writing(A):
        kept = [catalog.notices.add(A, "joe@x.example", b"Subject: %d\r\n\r\n" % n, b"hi\r\n") for n in range(3)]
    assert kept == [True, True, False]
    first, second = catalog.notices.waiting()
    assert catalog.notices.get(first).content.head == b"Subject: 0\r\n\r\n"
    catalog.notices.forget([first])
    assert catalog.notices.get(first) is None
    assert catalog.notices.waiting() == [second]
    assert catalog.notices.waiting(after=second) == []


def test_what_is_no_address_gets_no_notice(catalog):
    with catalog._tables.writing(A):
        assert not catalog.notices.add(A, "Joe, on the second floor", b"\r\n", b"")
        assert not catalog.notices.add(A, "joe@x.example\r\nBcc: a@b.example", b"\r\n", b"")
    assert catalog.notices.waiting() == []


def test_a_notice_goes_with_its_change(catalog):
    def half():
        with catalog._tables.writing(A):
            catalog.notices.add(A, "joe@x.example", b"\r\n", b"")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert catalog.notices.waiting() == []


def test_opening_the_file_again_in_one_process_leaves_it_open_to_others(catalog, tmp_path):
    """A closed descriptor would give up the process's locks, and another process remove the log under it."""
    data = tmp_path / "data"
    with open_catalog(data, KEY) as second:
        second.accounts.create(B)
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM account'); c.close()"
    subprocess.run([sys.executable, "-c", program, str(data / "catalog.db")], check=True)
    assert (data / "catalog.db-wal").exists()
    catalog.accounts.set_contact(A, "joe@x.example")
    with closing(sqlite3.connect(data / "catalog.db")) as other:
        assert other.execute("SELECT contact FROM account WHERE id = ?", (A,)).fetchone() == ("joe@x.example",)


def test_a_link_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "catalog.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError):
        open_catalog(tmp_path, KEY)
