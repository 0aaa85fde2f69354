"""The office's look at source addresses: what the host lost and has again, and what DNS says of each."""

import asyncio

import pytest

from relay.model.pool import Reverse, SourceAddress
from relay.net import presence
from relay.policy.records import Answer
from relay.runtime.address_look import look
from relay.runtime.office_addresses import look_at_host
from relay.store.catalog import open_catalog

KEY = bytes(range(32))


@pytest.fixture
def catalog(tmp_path):
    with open_catalog(tmp_path, KEY) as opened:
        for text in ("127.0.51.1", "127.0.51.2", "::1"):
            opened.addresses.add(SourceAddress(text))
        yield opened


def test_addresses_of_this_host():
    assert presence.has_address("127.0.51.1")
    assert presence.has_address("::1")
    assert presence.missing(["127.0.51.1", "192.0.2.1", "2001:db8::1"]) == ["192.0.2.1", "2001:db8::1"]


def test_only_changes_are_told(catalog, monkeypatch):
    assert look_at_host(catalog) == ({}, {"present": 3, "absent": 0})
    lost = {"127.0.51.2"}
    monkeypatch.setattr(presence, "has_address", lambda address: address not in lost)
    assert look_at_host(catalog) == ({"127.0.51.2": False}, {"present": 2, "absent": 1})
    assert look_at_host(catalog) == ({}, {"present": 2, "absent": 1})
    assert catalog.addresses.require("127.0.51.2").absent_ms
    lost.clear()
    assert look_at_host(catalog) == ({"127.0.51.2": True}, {"present": 3, "absent": 0})
    assert not catalog.addresses.require("127.0.51.2").absent_ms


def test_a_look_at_reverse_dns_asks_for_the_names_it_finds():
    asked = []
    zone = {
        ("1.51.0.127.in-addr.arpa", "PTR"): Answer(("a.example", "b.example")),
        ("a.example", "A"): Answer(("192.0.2.1",)),
        ("b.example", "A"): Answer(("127.0.51.1",)),
    }

    async def ask(name, kind):
        asked.append((name, kind))
        return zone.get((name, kind), Answer(exists=False))

    found = asyncio.run(look(ask, "127.0.51.1", "B.example", 5))
    assert (found.state, found.helo, found.names) == (Reverse.CONFIRMED, True, ("a.example", "b.example"))
    assert sorted(asked) == sorted(zone)
    assert asyncio.run(look(ask, "::1", "b.example", 5)).state is Reverse.MISSING
