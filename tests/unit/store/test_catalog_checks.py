"""Checks in the catalog: kept with what depends on them, settled in batches, quiet when nothing changed."""

import threading

import pytest

from relay.errors import AlreadyExistsError, LimitExceededError, NotFoundError, UsageError
from relay.model.check import Aspect, CheckState, ErrorType
from relay.policy.checks import HOUR_MS, Finding, Result
from relay.store import catalog_files, catalog_identities
from relay.store.catalog import open_catalog
from relay.store.catalog_checks import Look
from relay.store.directory import CatalogDirectory

KEY = bytes(range(32))
A, B = "000000000001", "000000000002"
FOUND = Finding(Result.FOUND)
MISSING = Finding(Result.MISSING, ErrorType.HOST_NOT_FOUND, "It does not exist.")
BOTH = (Aspect.VERIFICATION, Aspect.DKIM)


class Clock:
    now = 1_790_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def catalog(tmp_path, clock):
    with open_catalog(tmp_path, KEY, now_ms=clock) as opened:
        opened.accounts.create(A, contact="owner@x.example")
        opened.accounts.create(B)
        yield opened


def settle(catalog, name, finding, account=A, aspects=BOTH):
    checks = catalog.checks.of(account, name)
    look = Look(account, name, tuple(checks.values()), dict.fromkeys(aspects, finding))
    return catalog.checks.settle([look], letter, lambda: 0.5)


def letter(change, recipient):
    return f"Subject: {change.aspect} {change.state}\r\n\r\n".encode(), recipient.encode()


def states(catalog, name, account=A):
    details = catalog.identities.require(account, name)
    return str(details.state(Aspect.VERIFICATION)), str(details.state(Aspect.DKIM)), details.identity.verified


@pytest.mark.req("IDENT-010", "IDENT-011", "IDENT-012")
def test_verified_follows_the_state_and_contacts_are_told(catalog, clock):
    catalog.identities.create(A, "x.example")
    assert catalog.checks.due(clock.now, 10) == [(A, "x.example")]
    assert states(catalog, "x.example") == ("PENDING", "PENDING", False)
    assert settle(catalog, "x.example", MISSING) == []
    assert catalog.checks.due(clock.now + 29_000, 10) == []
    told = settle(catalog, "x.example", FOUND)
    assert {(one.aspect, one.before, one.state) for one in told} == {
        (aspect, CheckState.PENDING, CheckState.SUCCESS) for aspect in BOTH
    }
    assert states(catalog, "x.example") == ("SUCCESS", "SUCCESS", True)
    clock.now += 10 * HOUR_MS
    settle(catalog, "x.example", MISSING)
    assert states(catalog, "x.example") == ("TEMPORARY_FAILURE", "TEMPORARY_FAILURE", True)
    clock.now += 72 * HOUR_MS
    settle(catalog, "x.example", MISSING)
    assert states(catalog, "x.example") == ("FAILED", "FAILED", False)
    assert catalog.checks.due(clock.now + 1000 * HOUR_MS, 10) == []
    heads = [catalog.notices.get(number).content.head.decode().strip() for number in catalog.notices.waiting()]
    assert [head for head in heads if "DKIM" in head] == [
        "Subject: DKIM SUCCESS",
        "Subject: DKIM TEMPORARY_FAILURE",
        "Subject: DKIM FAILED",
    ]
    catalog.checks.start(A, "x.example", BOTH)
    assert states(catalog, "x.example") == ("PENDING", "PENDING", False)


def test_a_look_without_a_change_keeps_what_workers_have_read(catalog, tmp_path):
    catalog.identities.create(A, "x.example")
    settle(catalog, "x.example", FOUND)
    reader = CatalogDirectory(tmp_path, KEY)
    reader.refresh()
    reader.credential("nobody")
    held = reader.sending_identity(A, "a@x.example"), reader._views.get(A), reader._unknown.get("nobody")
    assert all(one is not None for one in held)
    settle(catalog, "x.example", FOUND)
    assert reader.refresh() is False
    assert (reader._views.get(A), reader._unknown.get("nobody")) == held[1:]
    settle(catalog, "x.example", MISSING)
    assert reader.refresh() is True
    assert reader._views.get(A) is None
    reader.close()


def test_what_changed_while_dns_was_asked_stays(catalog, clock):
    for name in ("gone.example", "again.example", "vouched.example"):
        catalog.identities.create(A, name)
    looks = [
        Look(A, name, tuple(catalog.checks.of(A, name).values()), dict.fromkeys(BOTH, FOUND))
        for name in ("gone.example", "again.example", "vouched.example")
    ]
    clock.now += 1
    catalog.identities.delete(A, "gone.example")
    catalog.checks.start(A, "again.example", BOTH)
    catalog.identities.set_verified(A, "vouched.example")
    assert catalog.checks.settle(looks, letter, lambda: 0.5) == []
    assert states(catalog, "again.example") == ("PENDING", "PENDING", False)
    assert catalog.checks.of(A, "vouched.example")[Aspect.DKIM].next_ms == 0
    assert catalog.identities.get(A, "gone.example") is None


def test_a_batch_is_all_or_nothing(catalog):
    for name in ("a.example", "b.example"):
        catalog.identities.create(A, name)
    looks = [
        Look(A, name, tuple(catalog.checks.of(A, name).values()), dict.fromkeys(BOTH, FOUND))
        for name in ("a.example", "b.example")
    ]

    def torn(change, recipient):
        if change.identity == "b.example":
            raise RuntimeError("the pen broke")
        return letter(change, recipient)

    with pytest.raises(RuntimeError):
        catalog.checks.settle(looks, torn, lambda: 0.5)
    assert states(catalog, "a.example") == states(catalog, "b.example") == ("PENDING", "PENDING", False)
    assert catalog.notices.waiting() == []


def test_accounts_take_turns(catalog, clock):
    for number in range(5):
        catalog.identities.create(A, f"a{number}.example")
        clock.now += 1
    catalog.identities.create(B, "b.example")
    assert catalog.checks.due(clock.now, 3) == [(A, "a0.example"), (B, "b.example"), (A, "a1.example")]
    assert len(catalog.checks.due(clock.now, 100)) == 6


def test_addresses_are_not_looked_for_in_dns(catalog, clock):
    catalog.identities.create(A, "joe@x.example")
    catalog.checks.start(A, "joe@x.example", [Aspect.VERIFICATION])
    assert catalog.checks.due(clock.now, 10) == []
    catalog.checks.start(A, "joe@x.example", [Aspect.MAIL_FROM])
    assert catalog.checks.due(clock.now, 10) == [(A, "joe@x.example")]
    catalog.checks.stop(A, "joe@x.example", Aspect.MAIL_FROM)
    assert catalog.checks.due(clock.now, 10) == []
    assert catalog.identities.require(A, "joe@x.example").token == ""


def test_unknown_identities_have_no_checks(catalog):
    for call in (
        lambda: catalog.checks.start(A, "x.example", BOTH),
        lambda: catalog.checks.stop(A, "x.example", Aspect.DKIM),
    ):
        with pytest.raises(NotFoundError):
            call()


def test_the_last_identity_is_the_last_one(catalog, monkeypatch):
    monkeypatch.setattr(catalog_identities, "IDENTITIES_MAX", 3)
    for number in range(3):
        catalog.identities.create(A, f"a{number}@x.example")
    with pytest.raises(LimitExceededError):
        catalog.identities.create(A, "x.example")
    assert catalog.identities.get(A, "x.example") is None
    catalog.identities.create(B, "x.example")
    with pytest.raises(AlreadyExistsError):
        catalog.identities.create(B, "x.example")


def test_two_commands_at_once_make_one_identity(catalog, tmp_path):
    results = []

    def create():
        with open_catalog(tmp_path, KEY) as other:
            try:
                other.identities.create(A, "x.example")
                results.append("made")
            except AlreadyExistsError:
                results.append("there")

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["made", "there", "there", "there"]


@pytest.mark.parametrize(
    ("name", "account", "reason"),
    [
        ("com", A, "domain name"),
        ("co.uk", A, "public suffix"),
        ("github.io", A, "public suffix"),
        ("GitHub.IO", A, "public suffix"),
        ("公司.cn", A, "public suffix"),
        ("relay.example", B, "belongs to the relay"),
        ("bounce.relay.example", B, "belongs to the relay"),
        ("deep.below.relay.example", B, "belongs to the relay"),
        ("postmaster@relay.example", B, "belongs to the relay"),
        ("postmaster@RELAY.example", B, "belongs to the relay"),
        ("relay.example", A, ""),
        ("me.github.io", B, ""),
        ("joe@github.io", B, ""),
        ("example.com", B, ""),
        ("norelay.example", B, ""),
    ],
)
def test_names_that_nobody_may_hold(catalog, name, account, reason):
    own = ("relay.example", "bounce.relay.example")
    if not reason:
        assert catalog.identities.create(account, name, own_names=own)
        return
    with pytest.raises(UsageError, match=reason):
        catalog.identities.create(account, name, own_names=own)
    assert catalog.identities.list(account).identities == []


def test_tags(catalog):
    made = catalog.identities.create(A, "x.example", tags={"team": "shop", "k" * 128: "v" * 256})
    assert len(made.tags) == 2
    changed = catalog.identities.change_tags(A, "x.example", {"team": "", "cost": "7"}, ["k" * 128])
    assert changed.tags == {"cost": "7", "team": ""}
    for add, remove in (
        ({"": "x"}, []),
        ({"k" * 129: "x"}, []),
        ({"k": "v" * 257}, []),
        ({"k": "a\nb"}, []),
        ({"other": "x"}, ["absent"]),
        ({f"k{number}": "" for number in range(49)}, []),
    ):
        with pytest.raises(UsageError):
            catalog.identities.change_tags(A, "x.example", add, remove)
    assert catalog.identities.require(A, "x.example").tags == changed.tags
    assert len(catalog.identities.change_tags(A, "x.example", {f"k{n}": "" for n in range(48)}).tags) == 50
    with pytest.raises(UsageError):
        catalog.identities.create(A, "y.example", tags={f"k{n}": "" for n in range(51)})
    catalog.identities.delete(A, "x.example")
    assert catalog.identities.create(A, "x.example").tags == {}


@pytest.mark.req("IDENT-009")
def test_lists_by_state(catalog):
    for name in ("a.example", "b.example", "c.example", "d@x.example"):
        catalog.identities.create(A, name)
    settle(catalog, "b.example", FOUND)
    found = {
        state: [one.identity.name for one in catalog.identities.list_states(A, state=state)]
        for state in (CheckState.PENDING, CheckState.SUCCESS, CheckState.NOT_STARTED, CheckState.FAILED, None)
    }
    assert found == {
        CheckState.PENDING: ["a.example", "c.example"],
        CheckState.SUCCESS: ["b.example"],
        CheckState.NOT_STARTED: ["d@x.example"],
        CheckState.FAILED: [],
        None: ["a.example", "b.example", "c.example", "d@x.example"],
    }
    page = catalog.identities.list_states(A, state=CheckState.PENDING, after="a.example", limit=1)
    assert [one.identity.name for one in page] == ["c.example"]


def test_tokens_cannot_be_guessed_and_stay(catalog):
    tokens = {catalog.identities.create(account, "x.example").token for account in (A, B)}
    assert len(tokens) == 2
    assert {len(token) for token in tokens} == {44}
    before = catalog.identities.require(A, "x.example").token
    catalog.checks.start(A, "x.example", BOTH)
    assert catalog.identities.require(A, "x.example").token == before


def test_identities_of_an_older_catalog_keep_what_they_were(tmp_path):
    queries = catalog_files.load_queries("catalog.sql")
    first = {name: text for name, text in queries.items() if not name.startswith("migration_") or name.endswith("_1")}
    connection = catalog_files.open_for_writing(tmp_path / "catalog.db", first)
    for statement in (
        f"INSERT INTO account VALUES ('{A}', 'enabled', 0, -1, -1, '', 1)",
        f"INSERT INTO identity VALUES ('{A}', 'x.example', 'DOMAIN', 1, 1)",
        f"INSERT INTO identity VALUES ('{A}', 'y.example', 'DOMAIN', 0, 1)",
        f"INSERT INTO identity VALUES ('{A}', 'joe@z.example', 'EMAIL_ADDRESS', 1, 1)",
        f"INSERT INTO dkim_key VALUES ('{A}', 'x.example', 's', 'rsa-sha256', x'', 'v=DKIM1', 'active', 1)",
    ):
        connection.execute(statement)
    connection.close()
    with open_catalog(tmp_path, KEY) as opened:
        assert states(opened, "x.example") == ("SUCCESS", "SUCCESS", True)
        assert states(opened, "y.example") == ("NOT_STARTED", "NOT_STARTED", False)
        assert states(opened, "joe@z.example") == ("SUCCESS", "NOT_STARTED", True)
        assert opened.checks.due(2**60, 10) == []
        opened.checks.start(A, "y.example", [Aspect.VERIFICATION])
        assert len(opened.identities.require(A, "y.example").token) == 44
