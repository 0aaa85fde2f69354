"""Source addresses, pools, rules and ranges of the catalog: places, limits, and that each change is whole."""

from dataclasses import replace

import pytest

from relay.errors import AlreadyExistsError, LimitExceededError, NotFoundError, RequestRefusedError, UsageError
from relay.model.configuration_set import ConfigurationSet
from relay.model.pool import (
    DEFAULT_POOL,
    SHARED_POOL,
    AddressRange,
    Origin,
    Reverse,
    ReverseDns,
    ScalingMode,
    SourceAddress,
    WarmUp,
)
from relay.store import catalog_addresses, catalog_pools
from relay.store.catalog import open_catalog
from relay.store.catalog_address_values import Declared
from relay.store.directory import CatalogDirectory

KEY = bytes(range(32))
A, B = "000000000001", "000000000002"


@pytest.fixture
def clock():
    return [1000]


@pytest.fixture
def catalog(tmp_path, clock):
    with open_catalog(tmp_path, KEY, now_ms=lambda: clock[0]) as opened:
        opened.accounts.create(A)
        opened.accounts.create(B)
        opened.addresses.add(SourceAddress("192.0.2.200"))
        yield opened


@pytest.fixture
def directory(catalog, tmp_path):
    made = CatalogDirectory(tmp_path, KEY)
    made.refresh()
    yield made
    made.close()


def add(catalog, text, account="", pool="", **more):
    return catalog.addresses.add(SourceAddress(text, account, pool, **more))


def place(catalog, text):
    found = catalog.addresses.require(text)
    return found.account, found.pool_name, found.reserve


def refused(error, call, *arguments, **more):
    with pytest.raises(error) as caught:
        call(*arguments, **more)
    return str(caught.value)


@pytest.mark.req("POOL-001")
def test_names_are_unique_in_an_account_over_both_modes(catalog):
    add(catalog, "192.0.2.1", reserve=True)
    catalog.pools.create(A, "one")
    catalog.pools.create(B, "one")
    refused(AlreadyExistsError, catalog.pools.create, A, "one", mode=ScalingMode.MANAGED)
    assert place(catalog, "192.0.2.1")[2]  # nothing half done
    for name in (DEFAULT_POOL, SHARED_POOL):
        refused(AlreadyExistsError, catalog.pools.create, A, name)
    for name in ("", "a b", "x" * 65, "none", "auto"):
        refused(UsageError, catalog.pools.create, A, name)


@pytest.mark.req("POOL-002")
def test_a_mode_cannot_be_converted(catalog):
    add(catalog, "192.0.2.1", reserve=True)
    catalog.pools.create(A, "standard")
    catalog.pools.create(A, "managed", mode=ScalingMode.MANAGED)
    for name, mode in (("standard", ScalingMode.MANAGED), ("managed", ScalingMode.STANDARD)):
        with pytest.raises(RequestRefusedError) as caught:
            catalog.pools.convert(A, name, mode)
        assert caught.value.code == "BadRequestException"


@pytest.mark.req("POOL-001")
def test_at_most_fifty_tags(catalog):
    tags = {f"k{n}": "v" for n in range(50)}
    catalog.pools.create(A, "one", tags=tags)
    assert catalog.pools.tags(A, "one") == tags
    refused(UsageError, catalog.pools.change_tags, A, "one", {"more": ""})
    refused(UsageError, catalog.pools.create, A, "two", tags={**tags, "more": ""})
    assert "more" in catalog.pools.change_tags(A, "one", {"more": ""}, ["k0"])


def test_an_address_is_in_one_pool_and_adding_moves_it(catalog):
    catalog.pools.create(A, "one")
    catalog.pools.create(A, "two")
    add(catalog, "192.0.2.1", A, "one")
    assert place(catalog, "192.0.2.1") == (A, "one", False)
    catalog.addresses.place("192.0.2.1", A, "two")
    assert place(catalog, "192.0.2.1") == (A, "two", False)
    refused(AlreadyExistsError, add, catalog, "192.0.2.1", A, "one")
    refused(NotFoundError, catalog.addresses.place, "192.0.2.1", B, "one")  # a pool of another account


def test_a_deleted_pool_puts_its_addresses_back(catalog):
    catalog.pools.create(A, "one")
    add(catalog, "192.0.2.1", A, "one")
    assert list(catalog.pools.delete(A, "one")) == ["192.0.2.1"]
    assert place(catalog, "192.0.2.1") == (A, DEFAULT_POOL, False)
    catalog.pools.create("", "all")
    add(catalog, "192.0.2.2", "", "all")
    catalog.pools.delete("", "all")
    assert place(catalog, "192.0.2.2") == ("", SHARED_POOL, False)


def test_managed_pools_take_from_the_reserve_and_return_to_it(catalog, clock):
    add(catalog, "192.0.2.1", reserve=True, warmup=WarmUp.AUTO)
    add(catalog, "192.0.2.2", reserve=True, absent_ms=5)
    clock[0] = 5000
    catalog.pools.create(A, "m", mode=ScalingMode.MANAGED)
    taken = catalog.addresses.require("192.0.2.1")
    assert (taken.account, taken.pool, taken.managed, taken.warmup_started_ms) == (A, "m", True, 5000)
    assert "reserve has 0" in refused(UsageError, catalog.pools.create, A, "m2", mode=ScalingMode.MANAGED)
    refused(NotFoundError, catalog.pools.require, A, "m2")
    refused(UsageError, catalog.addresses.place, "192.0.2.1", A, "")
    refused(UsageError, catalog.addresses.place, "192.0.2.200", A, "m")
    add(catalog, "192.0.2.3", reserve=True)
    assert list(catalog.pools.grow(A, "m", 1)) == ["192.0.2.3"]
    catalog.pools.delete(A, "m")
    assert place(catalog, "192.0.2.1") == place(catalog, "192.0.2.3") == ("", "", True)


@pytest.mark.req("POOL-012")
def test_at_most_five_managed_pools_and_none_with_too_many_identities(catalog, monkeypatch):
    for number in range(6):
        add(catalog, f"192.0.2.{number}", reserve=True)
    for number in range(5):
        catalog.pools.create(A, f"m{number}", mode=ScalingMode.MANAGED)
    refused(LimitExceededError, catalog.pools.create, A, "m5", mode=ScalingMode.MANAGED)
    monkeypatch.setattr(catalog_pools, "MANAGED_IDENTITIES_MAX", 1)
    catalog.identities.create(B, "one.example")
    catalog.pools.create(B, "m", mode=ScalingMode.MANAGED)
    catalog.identities.create(B, "two.example")
    refused(LimitExceededError, catalog.pools.create, B, "m2", mode=ScalingMode.MANAGED)


def test_the_first_address_of_an_account_needs_a_shared_one(catalog):
    catalog.addresses.remove("192.0.2.200")
    refused(UsageError, add, catalog, "192.0.2.1", A)
    add(catalog, "192.0.2.200")
    add(catalog, "192.0.2.1", A)


def test_a_set_names_a_pool_that_exists(catalog):
    refused(NotFoundError, catalog.configuration_sets.create, ConfigurationSet(A, "s", sending_pool="p"))
    catalog.pools.create(A, "p")
    made = catalog.configuration_sets.create(ConfigurationSet(A, "s", sending_pool="p"))
    refused(NotFoundError, catalog.configuration_sets.update, replace(made, sending_pool="q"))
    for name in (DEFAULT_POOL, SHARED_POOL, ""):
        catalog.configuration_sets.update(replace(made, sending_pool=name))
    catalog.pools.assign_set(A, "s", "p")
    assert catalog.pools.users(A, "p") == (("s",), ())
    catalog.pools.delete(A, "p")
    kept = catalog.configuration_sets.require(A, "s")
    assert catalog.configuration_sets.update(replace(kept, sending_enabled=False)).sending_pool == "p"


def test_the_last_word_about_a_declared_address_counts(catalog):
    declared = Declared("192.0.2.7", weight=200)
    addresses = catalog.addresses
    assert addresses.declare([declared])
    assert not addresses.declare([declared])
    assert addresses.require("192.0.2.7").origin is Origin.CONFIG
    addresses.change("192.0.2.7", weight=50, helo_name="Seven.Example")
    addresses.declare([declared])
    seven = addresses.require("192.0.2.7")
    assert (seven.weight, seven.helo_name) == (50, "seven.example")  # a command was later
    addresses.declare([Declared("192.0.2.7", weight=300)])
    seven = addresses.require("192.0.2.7")
    assert (seven.weight, seven.helo_name) == (300, "seven.example")  # the entry changed since
    refused(UsageError, addresses.remove, "192.0.2.7")
    addresses.declare([])
    assert addresses.get("192.0.2.7") is None


def test_a_declared_address_that_a_command_placed_outlives_its_entry(catalog):
    catalog.addresses.declare([Declared("192.0.2.7", warmup=WarmUp.AUTO), Declared("2001:db8::7")], ["2001:db8::7"])
    assert catalog.addresses.require("2001:db8::7").absent_ms
    catalog.addresses.place("192.0.2.7", A)
    catalog.addresses.declare([])
    kept = catalog.addresses.require("192.0.2.7")
    assert (kept.account, kept.origin, kept.warmup_started_ms) == (A, Origin.COMMAND, 1000)
    assert catalog.addresses.get("2001:db8::7") is None


def test_giving_an_address_back(catalog):
    add(catalog, "192.0.2.1", A)
    refused(UsageError, catalog.addresses.give_back, B, "192.0.2.1")
    refused(UsageError, catalog.addresses.give_back, A, "192.0.2.200")
    catalog.addresses.give_back(A, "192.0.2.1")
    assert place(catalog, "192.0.2.1") == ("", "", True)


def test_ranges(catalog):
    def bring(network, account=A, use_case="mail of ours"):
        return catalog.addresses.add_range(AddressRange(network, account, "RIPE NCC", use_case))

    bring("198.51.100.0/24")
    refused(AlreadyExistsError, bring, "198.51.100.0/24", B)
    refused(UsageError, bring, "198.51.100.128/25", B)
    refused(UsageError, bring, "198.51.100.1/24")
    refused(UsageError, bring, "203.0.113.0/24", A, "")
    refused(UsageError, bring, "192.0.2.0/24")  # has a shared address in it
    assert add(catalog, "198.51.100.1", A).registered
    refused(UsageError, add, catalog, "198.51.100.2", B)
    refused(UsageError, add, catalog, "198.51.100.2", reserve=True)  # standard pools only
    refused(UsageError, catalog.addresses.give_back, A, "198.51.100.1")
    for number in range(4):
        bring(f"2001:db8:{number}::/48")
    refused(LimitExceededError, bring, "203.0.113.0/24")
    bring("203.0.113.0/24", B)
    catalog.addresses.remove_range("198.51.100.0/24")
    assert not catalog.addresses.require("198.51.100.1").registered


def test_rules(catalog):
    refused(NotFoundError, catalog.pools.add_rule, A, "p", sender_domain="x.example")
    catalog.pools.create("", "p")
    refused(UsageError, catalog.pools.add_rule, A, "p")
    refused(UsageError, catalog.pools.add_rule, A, "p", sender_domain="*")
    made = catalog.pools.add_rule(A, "p", sender_domain="*.X.example", recipient_domain="big.example")
    assert (made.sender_domain, made.recipient_domain) == ("*.x.example", "big.example")
    relay = catalog.pools.add_rule("", "p", recipient_domain="other.example")
    assert catalog.pools.rules() == [made, relay]
    catalog.pools.remove_rule(made.rule_id)
    refused(NotFoundError, catalog.pools.remove_rule, made.rule_id)


@pytest.mark.parametrize("overflow", ["one", "nowhere"])
def test_an_overflow_is_another_pool_that_exists(catalog, overflow):
    catalog.pools.create(A, "one")
    refused(UsageError, catalog.pools.set_overflow, A, "one", overflow)
    assert catalog.pools.set_overflow(A, "one", SHARED_POOL).overflow == SHARED_POOL


@pytest.mark.parametrize("text", ["0.0.0.0", "224.0.0.1", "::", "ff02::1", "fe80::1%eth0", "host", "1.2.3"])
def test_what_is_no_source_address(catalog, text):
    refused(UsageError, add, catalog, text)


def test_there_is_a_limit(catalog, monkeypatch):
    monkeypatch.setattr(catalog_addresses, "ADDRESSES_MAX", 1)
    refused(LimitExceededError, add, catalog, "192.0.2.1")


def test_readers_get_a_new_snapshot_when_something_changed_and_only_then(catalog, directory):
    first = directory.pools()
    assert [one.address for one in first.addresses] == ["192.0.2.200"]
    directory.refresh()
    catalog.accounts.set_contact(A, "a@x.example")
    found = ReverseDns(Reverse.MISSING, checked_ms=5, next_ms=9)
    assert catalog.addresses.put_reverse("192.0.2.200", found)
    directory.refresh()
    second = directory.pools()
    assert second is not first
    assert second.addresses[0].reverse == found
    assert not catalog.addresses.put_reverse("192.0.2.200", replace(found, checked_ms=6))
    catalog.accounts.set_contact(A, "b@x.example")
    directory.refresh()
    assert directory.pools() is second
    assert catalog.addresses.set_presence({"192.0.2.200": False}) == ["192.0.2.200"]
    assert not catalog.addresses.set_presence({"192.0.2.200": False})
    directory.refresh()
    assert directory.pools().addresses[0].absent_ms == 1000


def test_an_identity_brings_its_pool(catalog, directory):
    catalog.pools.create(A, "p")
    catalog.identities.create(A, "x.example")
    catalog.identities.set_verified(A, "x.example")
    catalog.pools.assign_identity(A, "x.example", "p")
    directory.refresh()
    assert directory.sending_identity(A, "a@x.example").pool == "p"
    refused(NotFoundError, catalog.pools.assign_identity, A, "x.example", "q")


def test_listed_addresses_are_suspended_and_come_back(catalog):
    add(catalog, "192.0.2.1", A)
    add(catalog, "192.0.2.2", A)
    catalog.addresses.suspend("192.0.2.2", "by hand")
    follow = catalog.addresses.follow_listings
    listed = {"192.0.2.1": "Main", "192.0.2.2": "Main", "198.51.100.1": "Main"}
    assert list(follow(listed)) == [("192.0.2.1", "listed by Main")]
    assert not follow(listed)
    assert list(follow({})) == [("192.0.2.1", "")]
    assert catalog.addresses.require("192.0.2.2").suspended == "by hand"


@pytest.mark.req("WARM-001", "WARM-005")
def test_with_automatic_warm_up_off_what_comes_is_warm_but_in_managed_pools(catalog, directory, clock):
    add(catalog, "192.0.2.1", A, warmup=WarmUp.AUTO)
    for number in (2, 3):
        add(catalog, f"192.0.2.{number}", reserve=True, warmup=WarmUp.AUTO)
    assert catalog.pools.sending(A).auto_warmup
    catalog.pools.assign_account(A, auto_warmup=False)
    assert catalog.pools.assign_account(A, shared_barred=True).auto_warmup is False  # other settings leave it
    clock[0] = 5000
    add(catalog, "192.0.2.4", A, warmup=WarmUp.AUTO)
    add(catalog, "192.0.2.5", A, warmup=WarmUp.PERCENT, warmup_percent=40)  # by hand, not by itself
    add(catalog, "192.0.2.6", B, warmup=WarmUp.AUTO)  # another account
    add(catalog, "192.0.2.7", warmup=WarmUp.AUTO)  # the relay's own
    catalog.pools.create(A, "m", mode=ScalingMode.MANAGED)
    catalog.addresses.place("192.0.2.3", A)
    found = {one.address[-1]: (str(one.warmup), one.warmup_started_ms) for one in catalog.addresses.list()}
    wanted = {"1": ("auto", 1000), "2": ("auto", 5000), "3": ("off", 0), "4": ("off", 0), "5": ("percent", 0)}
    assert found | wanted == found
    assert found["6"] == found["7"] == ("auto", 5000)
    directory.refresh()
    assert not next(one for one in directory.pools().accounts if one.account == A).auto_warmup
