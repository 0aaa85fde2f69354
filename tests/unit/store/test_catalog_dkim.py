"""The life of DKIM keys in the catalog: Easy DKIM, keys of the owner's, rotation, signing on and off."""

import base64
import itertools

import pytest
from cryptography.hazmat.primitives import serialization

from relay.errors import UsageError
from relay.model.check import CheckState
from relay.model.dkim import PUBLISHED_MS, KeyState
from relay.policy.dkim import Retired, successors
from relay.signing import keys
from relay.signing.keys import KeyKind
from relay.store.catalog import open_catalog
from tests.keypool import new_key

MASTER = bytes(range(32))
A = "000000000001"
X = "x.example"
HOUR = 3_600_000


class Clock:
    def __init__(self):
        self.ms = 1_000_000

    def __call__(self):
        return self.ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def catalog(tmp_path, clock):
    with open_catalog(tmp_path / "data", MASTER, now_ms=clock, new_key=new_key) as opened:
        opened.accounts.create(A)
        opened.identities.create(A, X)
        yield opened


@pytest.fixture(scope="module")
def own_key():
    return keys.generate(KeyKind.RSA)


def states(catalog):
    return [str(key.state) for key in catalog.dkim.keys_of(A, X) if key.rsa]


def signs(catalog):
    return [key.selector for key in catalog.dkim.keys_of(A, X) if key.state is KeyState.ACTIVE]


def found(catalog, *selectors):
    """What the check of the domain does when it found records."""
    with catalog.identities._tables.writing(A):
        return catalog.dkim.activate_pending(A, X, selectors)


def check_state(catalog):
    rows = catalog.identities._tables.connection.execute(
        "SELECT state, since_ms, next_ms FROM identity_check WHERE aspect = 'DKIM'"
    )
    return rows.fetchone()


@pytest.mark.req("DKIM-001", "DKIM-002")
def test_a_domain_has_three_keys_that_wait_to_be_found(catalog):
    assert states(catalog) == ["pending"] * 3
    expected = catalog.dkim.expected_dkim_records(A, X)
    assert len({one.public_txt for one in expected}) == 3
    assert all(one.required for one in expected)
    records = catalog.identities.require(A, X).records
    assert [(one.name, one.kind, one.value) for one in records] == [
        (one.name, "TXT", one.public_txt) for one in expected
    ]
    first, second, third = (one.selector for one in expected)
    assert not found(catalog, first, second)
    assert signs(catalog) == []
    assert found(catalog, first, second, third)
    assert states(catalog) == ["active", "standby", "standby"]
    assert not found(catalog, first, second, third)
    assert signs(catalog) == [first]
    assert catalog.dkim_setup.attributes(A, X).tokens == (first, second, third)


@pytest.mark.req("DKIM-001", "DKIM-008")
def test_with_a_zone_the_owner_publishes_aliases(catalog, tmp_path, own_key):
    with open_catalog(tmp_path / "data", MASTER, dkim_zone="dkim.relay.example", new_key=new_key) as other:
        records = other.identities.require(A, X).records
        tokens = other.dkim_setup.attributes(A, X).tokens
        assert [(one.name, one.kind, one.value) for one in records] == [
            (f"{token}._domainkey.{X}", "CNAME", f"{token}.dkim.relay.example") for token in tokens
        ]
        other.identities.create(A, "y.example")
        held = {one.name: one.value for one in other.dkim.zone_records()}
        expected = other.dkim.expected_dkim_records(A, X) + other.dkim.expected_dkim_records(A, "y.example")
        assert held == {f"{one.selector}.dkim.relay.example": one.public_txt for one in expected}
        other.dkim_setup.import_key(A, X, "own", own_key)
        (record,) = other.identities.require(A, X).records
        assert (record.name, record.kind) == (f"own._domainkey.{X}", "TXT")


@pytest.mark.req("DKIM-005")
def test_rotation_takes_the_three_keys_in_turn(catalog, clock):
    catalog.identities.set_verified(A, X)
    used = []
    for _ in range(7):
        used += signs(catalog)
        clock.ms += 90 * 24 * HOUR
        (first, *_) = successors(catalog.dkim.keys_of(A, X))
        assert catalog.dkim.rotate(A, X, first.selector)
        assert catalog.dkim_setup.attributes(A, X).rotated_ms == clock.ms
        assert states(catalog).count("active") == 1
        assert used[-1] in {key.selector for key in catalog.dkim.keys_of(A, X) if key.state is KeyState.RETIRED}
        assert not catalog.dkim.rotate(A, X, used[-1])
        clock.ms += PUBLISHED_MS - 1
        assert set(catalog.dkim.fates(A, X).values()) == {Retired.KEEP}
        catalog.dkim.found(A, X, [used[-1]])
        assert states(catalog).count("retired") == 1
        clock.ms += 1
        assert catalog.dkim.fates(A, X) == {used[-1]: Retired.STAND_BY}
        assert not catalog.dkim.found(A, X, [])
        assert catalog.dkim.found(A, X, [used[-1]])
        assert sorted(states(catalog)) == ["active", "standby", "standby"]
    assert used[:3] == used[3:6]
    assert len(set(used)) == 3


@pytest.mark.req("DKIM-005")
def test_an_old_key_stays_published_for_a_week(catalog, clock):
    catalog.identities.set_verified(A, X)
    (old,) = signs(catalog)
    catalog.dkim.rotate(A, X, successors(catalog.dkim.keys_of(A, X))[0].selector)

    def published():
        return {record.name.partition(".")[0] for record in catalog.identities.require(A, X).records}

    clock.ms += PUBLISHED_MS - 1
    assert old in published()
    clock.ms += 1
    assert old not in published()


def test_a_new_pair_behind_an_old_name(catalog, clock):
    """With a zone of the relay's the owner's records stay as they are, and the key behind them is another one."""
    catalog.identities.set_verified(A, X)
    (old,) = signs(catalog)
    before = {key.selector: key.public_txt for key in catalog.dkim.keys_of(A, X)}
    catalog.dkim.rotate(A, X, successors(catalog.dkim.keys_of(A, X))[0].selector)
    clock.ms += PUBLISHED_MS
    catalog.dkim.renew(A, X, old)
    after = {key.selector: key for key in catalog.dkim.keys_of(A, X)}
    assert set(after) == set(before)
    assert after[old].public_txt != before[old]
    assert after[old].state is KeyState.RETIRED
    assert catalog.dkim_setup.attributes(A, X).generated_ms == clock.ms
    assert catalog.dkim.found(A, X, [old])
    assert successors(catalog.dkim.keys_of(A, X))[-1].selector == old


@pytest.mark.req("DKIM-006", "DKIM-008", "DKIM-009", "DKIM-010")
def test_switching_to_a_key_of_ones_own_and_back(catalog, own_key, clock):
    catalog.identities.set_verified(A, X)
    easy = [one.selector for one in catalog.dkim.expected_dkim_records(A, X)]
    clock.ms += HOUR
    made = catalog.dkim_setup.import_key(A, X, "own", own_key)
    assert (made.origin, made.status, made.tokens) == ("EXTERNAL", "PENDING", ())
    assert check_state(catalog) == ("PENDING", clock.ms, clock.ms)
    assert signs(catalog) == easy[:1]
    required = [one for one in catalog.dkim.expected_dkim_records(A, X) if one.required]
    assert [(one.name, one.public_txt) for one in required] == [
        (f"own._domainkey.{X}", keys.public_record(keys.load(own_key)))
    ]
    assert not found(catalog, *easy)
    assert found(catalog, "own")
    assert signs(catalog) == ["own"]
    assert states(catalog) == ["retired"] * 3 + ["active"]
    with pytest.raises(UsageError, match="replace it"):
        catalog.dkim_setup.delete_key(A, X, "own")
    back = catalog.dkim_setup.use_easy(A, X)
    assert (back.origin, back.status, back.tokens) == ("AWS_SES", "PENDING", tuple(easy))
    assert signs(catalog) == ["own"]
    assert found(catalog, *easy)
    assert signs(catalog) == easy[:1]
    assert catalog.dkim.keys_of(A, X)[-1].state is KeyState.RETIRED


@pytest.mark.req("DKIM-010")
def test_a_switch_can_be_given_up(catalog, own_key):
    catalog.identities.set_verified(A, X)
    (old,) = signs(catalog)
    catalog.dkim_setup.import_key(A, X, "own", own_key)
    catalog.dkim_setup.import_key(A, X, "better", own_key)
    assert [one.selector for one in catalog.dkim.expected_dkim_records(A, X) if one.required] == ["better"]
    back = catalog.dkim_setup.use_easy(A, X)
    assert states(catalog) == ["active", "standby", "standby"]
    assert signs(catalog) == [old]
    assert back.origin == "AWS_SES"
    with pytest.raises(UsageError, match="already"):
        catalog.dkim_setup.use_easy(A, X)


def test_three_new_keys_take_over_from_three_old_ones(catalog, clock):
    catalog.identities.set_verified(A, X)
    old = catalog.dkim_setup.attributes(A, X).tokens
    new = catalog.dkim_setup.use_easy(A, X, new_keys=True).tokens
    assert not set(old) & set(new)
    assert signs(catalog) == [old[0]]
    assert found(catalog, *new)
    assert signs(catalog) == [new[0]]
    clock.ms += PUBLISHED_MS
    assert catalog.dkim.fates(A, X) == dict.fromkeys(old, Retired.DELETE)
    for selector in old:
        catalog.dkim.forget(A, X, selector)
    assert catalog.dkim_setup.attributes(A, X).tokens == new


@pytest.mark.req("DKIM-010")
def test_old_keys_whose_records_are_gone_sign_no_more_during_a_switch(catalog, own_key):
    catalog.identities.set_verified(A, X)
    assert not catalog.dkim.withdraw(A, X)
    assert len(signs(catalog)) == 1
    catalog.dkim_setup.import_key(A, X, "own", own_key)
    assert catalog.dkim.withdraw(A, X)
    assert signs(catalog) == []


@pytest.mark.req("DKIM-011")
def test_a_failed_setup_begins_again(catalog):
    catalog.identities.set_verified(A, X)
    tokens = catalog.dkim_setup.attributes(A, X).tokens
    with catalog.identities._tables.writing(A):
        assert catalog.dkim.lose(A, X)
        catalog.identities._tables.connection.execute(
            "UPDATE identity_check SET state = 'FAILED' WHERE aspect = 'DKIM'"
        )
    assert states(catalog) == ["pending"] * 3
    assert catalog.dkim_setup.attributes(A, X).status == "FAILED"
    again = catalog.dkim_setup.use_easy(A, X)
    assert (again.status, again.tokens) == ("PENDING", tokens)
    assert found(catalog, *tokens)
    assert states(catalog) == ["active", "standby", "standby"]


@pytest.mark.req("DKIM-010", "DKIM-011")
def test_keys_follow_the_check_of_their_domain(catalog, own_key):
    second = catalog.dkim_setup.add_ed25519(A, X).selector

    def follow(state):
        with catalog.identities._tables.writing(A):
            return catalog.dkim.follow_check(A, X, CheckState(state))

    for state, moved, after in [
        ("PENDING", False, ["pending"] * 3),
        ("SUCCESS", True, ["active", "standby", "standby"]),
        ("SUCCESS", False, ["active", "standby", "standby"]),
        ("TEMPORARY_FAILURE", False, ["active", "standby", "standby"]),
        ("FAILED", True, ["pending"] * 3),
        ("FAILED", False, ["pending"] * 3),
        ("SUCCESS", True, ["active", "standby", "standby"]),
    ]:
        assert follow(state) is moved, state
        assert states(catalog) == after, state
    catalog.dkim_setup.import_key(A, X, "own", own_key)
    assert not follow("PENDING")
    assert follow("SUCCESS")
    assert signs(catalog) == ["own"]
    keys_now = {key.selector: key.state for key in catalog.dkim.keys_of(A, X)}
    assert keys_now[second] is KeyState.PENDING  # nobody looked for its record


@pytest.mark.req("DKIM-006", "DKIM-007")
def test_what_cannot_be_imported_changes_nothing(catalog, own_key):
    catalog.identities.set_verified(A, X)
    catalog.identities.create(A, "joe@x.example")
    before = catalog.dkim.keys_of(A, X)
    token = before[0].selector
    for domain, selector, text, why in [
        (X, "a.b", own_key, "1 to 63"),
        (X, token, own_key, "choose another selector"),
        (X, "own", b"rubbish!", "cannot be used"),
        ("joe@x.example", "own", own_key, "is an address"),
        ("y.example", "own", own_key, "no identity"),
    ]:
        with pytest.raises(UsageError, match=why):
            catalog.dkim_setup.import_key(A, domain, selector, text)
    assert catalog.dkim.keys_of(A, X) == before
    assert catalog.dkim_setup.attributes(A, X).origin == "AWS_SES"
    assert check_state(catalog) == ("SUCCESS", 1_000_000, 0)


def test_a_selector_under_way_is_taken(catalog, own_key):
    """Another key under a name that mail in transit carries would break that mail; the same key may come back."""
    catalog.dkim_setup.import_key(A, X, "own", own_key)
    found(catalog, "own")
    other = keys.generate(KeyKind.RSA)
    catalog.dkim_setup.import_key(A, X, "next", other)
    found(catalog, "next")
    with pytest.raises(UsageError, match="choose another"):
        catalog.dkim_setup.import_key(A, X, "own", other)
    catalog.dkim_setup.import_key(A, X, "own", own_key)
    assert signs(catalog) == ["next"]
    assert found(catalog, "own")
    assert signs(catalog) == ["own"]


@pytest.mark.req("DKIM-018")
def test_a_second_signature_never_decides(catalog):
    catalog.identities.set_verified(A, X)
    key = catalog.dkim_setup.add_ed25519(A, X)
    assert (key.algorithm, key.state) == ("ed25519-sha256", KeyState.PENDING)
    (expected,) = [one for one in catalog.dkim.expected_dkim_records(A, X) if one.selector == key.selector]
    assert not expected.required
    assert catalog.dkim.found(A, X, [key.selector])
    assert len(signs(catalog)) == 2
    catalog.dkim_setup.delete_key(A, X, key.selector)
    with pytest.raises(UsageError, match="no key"):
        catalog.dkim_setup.delete_key(A, X, key.selector)


@pytest.mark.req("DKIM-013")
def test_a_setting_is_inherited_until_it_is_made(catalog):
    for name in ("a.x.example", "joe@a.x.example"):
        catalog.identities.create(A, name)
    for name in (X, "a.x.example", "joe@a.x.example"):
        catalog.identities.set_verified(A, name)

    def enabled():
        names = (X, "a.x.example", "joe@a.x.example")
        return [catalog.dkim_setup.attributes(A, name).signing_enabled for name in names]

    assert enabled() == [True, True, True]
    catalog.dkim_setup.set_signing(A, X, enabled=False)
    assert enabled() == [False, False, False]
    catalog.dkim_setup.set_signing(A, "a.x.example", enabled=True)
    assert enabled() == [False, True, True]
    assert not catalog.dkim_setup.set_signing(A, "joe@a.x.example", enabled=False).inherited
    assert enabled() == [False, True, False]


@pytest.mark.req("DKIM-014")
def test_an_address_cannot_be_toggled_without_dkim_of_its_domain(catalog):
    for name in ("joe@x.example", "joe@other.example"):
        catalog.identities.create(A, name)
    for enabled in (True, False):
        for name, why in [
            ("joe@other.example", "other.example is not a verified identity"),
            ("joe@x.example", "x.example is not a verified identity"),
        ]:
            with pytest.raises(UsageError, match=why):
                catalog.dkim_setup.set_signing(A, name, enabled=enabled)
    catalog.identities._tables.connection.execute("UPDATE identity SET verified = 1 WHERE name = ?", (X,))
    with pytest.raises(UsageError, match=r"x\.example has no DKIM"):
        catalog.dkim_setup.set_signing(A, "joe@x.example", enabled=True)
    catalog.identities.set_verified(A, X)
    assert catalog.dkim_setup.set_signing(A, "joe@x.example", enabled=True).signing_enabled


@pytest.mark.req("DKIM-003", "DKIM-004", "DKIM-005")
def test_key_lengths(catalog, clock):
    assert catalog.dkim_setup.attributes(A, X).current_length == ""
    catalog.identities.set_verified(A, X)
    shown = catalog.dkim_setup.attributes(A, X)
    assert (shown.current_length, shown.next_length) == ("RSA_2048_BIT", "RSA_2048_BIT")
    assert (shown.generated_ms, shown.rotated_ms) == (clock.ms, clock.ms)
    for length, why in [("RSA_2048_BIT", "already"), ("RSA_1024_BIT", "no longer made"), ("4096", "RSA_2048_BIT")]:
        with pytest.raises(UsageError, match="The input you provided is invalid: ") as caught:
            catalog.dkim_setup.set_length(A, X, length)
        assert why in str(caught.value)
    catalog.identities._tables.connection.execute("UPDATE identity SET dkim_next_key_length = 'RSA_1024_BIT'")
    clock.ms += 24 * HOUR
    assert catalog.dkim_setup.set_length(A, X, "RSA_2048_BIT").next_length == "RSA_2048_BIT"


@pytest.mark.req("DKIM-019")
def test_no_file_holds_a_private_key(catalog, tmp_path, own_key):
    """Neither as PEM nor as bytes, at no alignment of base64; and nothing that the catalog returns does."""
    catalog.dkim_setup.import_key(A, X, "own", own_key)
    private = keys.load(own_key)
    numbers = private.private_numbers()
    der = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    secrets = [number.to_bytes(128, "big")[:32] for number in (numbers.p, numbers.q)]
    secrets += [numbers.d.to_bytes(256, "big")[64:96], b"PRIVATE KEY"]
    secrets += [base64.b64encode(der[start:])[800:832] for start in range(3)]
    plain = der + own_key + b"".join(base64.b64encode(der[start:]) for start in range(3))
    assert all(secret in plain for secret in secrets)
    raw = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    said = repr((catalog.identities.require(A, X), catalog.dkim_setup.attributes(A, X), catalog.dkim.keys_of(A, X)))
    for secret, text in itertools.product(secrets, (raw, said.encode())):
        assert secret not in text
    assert keys.public_record(private).encode() in raw


def test_work_is_found_page_by_page(catalog, clock):
    for number in range(3):
        catalog.identities.create(A, f"d{number}.example")
        catalog.identities.set_verified(A, f"d{number}.example")

    def work(**before):
        pages, after = [], ("", "")
        while page := catalog.dkim.work(after, limit=2, **before):
            pages += [name for _, name, _ in page]
            after = page[-1][:2]
        return pages

    nothing = {"retired_before_ms": 0, "rotated_before_ms": 0}
    assert work(**nothing) == []
    assert work(**{**nothing, "rotated_before_ms": clock.ms}) == ["d0.example", "d1.example", "d2.example"]
    catalog.dkim.rotate(A, "d1.example", successors(catalog.dkim.keys_of(A, "d1.example"))[0].selector)
    assert work(**{**nothing, "retired_before_ms": clock.ms}) == ["d1.example"]
    catalog.dkim_setup.add_ed25519(A, "d2.example")
    catalog.dkim_setup.add_ed25519(A, X)
    assert work(**nothing) == ["d2.example"]
