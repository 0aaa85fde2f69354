"""Keys take turns by the clock: a real catalog, a real name server on loopback, time as the test says."""

import asyncio
import contextlib

import pytest
import yaml

from relay.model.dkim import PUBLISHED_MS, KeyState
from relay.net.resolver import DnsResolver
from relay.runtime import settings
from relay.runtime.config.model import Config
from relay.runtime.config.values import BASE
from relay.runtime.office_dkim import KeyRound
from relay.signing import keys
from relay.signing.keys import KeyKind
from relay.signing.secrets import encode_master_key
from relay.store.catalog import open_catalog
from relay.testing.clock import ManualClock
from relay.testing.internet_dns import FakeDns
from relay.testing.log import MemoryLog
from tests.keypool import new_key

MASTER = bytes(range(32))
A, X = "000000000001", "x.example"
DAY_MS = 86_400_000
ZONE = "dkim.relay.example"


class World:
    """A data directory, its clock, and the DNS that owners and the operator publish in."""

    def __init__(self, directory, *, zone=""):
        self.directory = directory
        self.clock = ManualClock()
        self.log = MemoryLog()
        self.dns = FakeDns()
        self.zone = zone
        (directory / "keys").mkdir()
        (directory / "keys" / "master.key").write_bytes(encode_master_key(MASTER))
        self.catalog = open_catalog(directory, MASTER, now_ms=self.clock.now_ms, dkim_zone=zone, new_key=new_key)
        self.catalog.accounts.create(A)
        self.catalog.identities.create(A, X)
        self.catalog.identities.set_verified(A, X)
        self.publish()

    def config(self):
        text = {
            "hostname": "relay.example",
            "data_dir": str(self.directory),
            "dns": {"nameservers": [self.dns.nameserver], "timeout": "2s"},
            "dkim": {"zone": self.zone} if self.zone else {},
        }
        return Config.model_validate(yaml.safe_load(yaml.safe_dump(text)), context={BASE: self.directory})

    def publish(self):
        """Do as owner and operator what the relay asks for."""
        for record in self.catalog.identities.require(A, X).records:
            value = record.value if record.kind == "CNAME" else [quoted(record.value)]
            self.dns.zones[record.name] = {record.kind: value}
        self.publish_zone()

    def publish_zone(self):
        for record in self.catalog.dkim.zone_records() if self.zone else ():
            self.dns.zones[record.name] = {"TXT": [quoted(record.value)]}

    async def round(self, days=0):
        self.clock.advance(days * 86_400)
        config = self.config()
        resolver = DnsResolver(settings.resolver_settings(config), self.clock)
        await KeyRound(config, resolver.records, self.clock, self.log).run()

    def states(self):
        return {key.selector: key.state for key in self.catalog.dkim.keys_of(A, X)}

    def signs(self):
        return [key.selector for key in self.catalog.dkim.keys_of(A, X) if key.state is KeyState.ACTIVE]


def quoted(text):
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


@contextlib.asynccontextmanager
async def world(directory, **options):
    made = World(directory, **options)
    await made.dns.start()
    try:
        yield made
    finally:
        await made.dns.stop()
        made.catalog.close()


@pytest.mark.req("DKIM-005")
def test_keys_that_owners_publish_take_turns(tmp_path):
    """No record changes, ever: after three turns the first key signs again."""

    async def play():
        async with world(tmp_path) as made:
            before = dict(made.dns.zones)
            first = made.signs()
            await made.round()
            await made.round(days=89)
            assert made.signs() == first
            used = list(first)
            for _ in range(6):
                await made.round(days=90)
                used += made.signs()
                assert len(made.signs()) == 1
            assert used[:3] == used[3:6]
            assert len(set(used)) == 3
            assert {key.public_txt for key in made.catalog.dkim.keys_of(A, X)} == {
                "".join(zone["TXT"][0].strip('"').split('" "')) for zone in before.values()
            }

    asyncio.run(play())


@pytest.mark.req("DKIM-005")
def test_a_key_signs_only_when_its_record_is_in_dns(tmp_path):
    async def play():
        async with world(tmp_path) as made:
            (first,) = made.signs()
            second, third = (selector for selector in made.states() if selector != first)
            published = dict(made.dns.zones)
            for zones in ({}, {f"{second}._domainkey.{X}": {"TXT": ['"v=DKIM1; p=QUJD"']}}):
                made.dns.zones = zones
                await made.round(days=90)
                assert made.signs() == [first]
                assert "dkim key not rotated, the next one is not in DNS" in made.log.events("warning")
            made.dns.zones = {f"{name}._domainkey.{X}": {"FAULT": "servfail"} for name in made.states()}
            await made.round()
            assert made.signs() == [first]
            made.dns.zones = {name: value for name, value in published.items() if not name.startswith(second)}
            await made.round()
            assert made.signs() == [third]

    asyncio.run(play())


@pytest.mark.req("DKIM-001", "DKIM-005")
def test_new_pairs_behind_the_owners_aliases(tmp_path):
    """The owner's records never change; the key behind a name is new a week after it signed last."""

    async def play():
        async with world(tmp_path, zone=ZONE) as made:
            aliases = {name: value for name, value in made.dns.zones.items() if name.endswith(X)}
            assert all("CNAME" in value for value in aliases.values())
            old = {key.selector: key.public_txt for key in made.catalog.dkim.keys_of(A, X)}
            (first,) = made.signs()
            await made.round(days=90)
            assert made.signs() != [first]
            await made.round(days=6)
            made.publish_zone()
            assert published(made, first) == old[first]
            await made.round(days=1)
            key = next(key for key in made.catalog.dkim.keys_of(A, X) if key.selector == first)
            assert key.public_txt != old[first]
            assert key.state is KeyState.RETIRED
            await made.round(days=1)
            assert made.states()[first] is KeyState.RETIRED  # the zone has the old one still
            made.publish_zone()
            await made.round()
            assert made.states()[first] is KeyState.STANDBY
            assert {name: value for name, value in made.dns.zones.items() if name.endswith(X)} == aliases

    def published(made, selector):
        return made.dns.zones[f"{selector}.{ZONE}"]["TXT"][0].replace('" "', "").strip('"')

    asyncio.run(play())


def test_a_record_written_by_hand_keeps_its_key_beside_a_zone(tmp_path):
    """A new pair would make a TXT record of the owner's wrong, and fail the domain."""

    async def play():
        async with world(tmp_path, zone=ZONE) as made:
            (first,) = made.signs()
            public = {key.selector: key.public_txt for key in made.catalog.dkim.keys_of(A, X)}
            made.dns.zones = {
                f"{selector}._domainkey.{X}": {"TXT": [quoted(text)]} for selector, text in public.items()
            }
            await made.round(days=90)
            await made.round(days=7)
            assert made.states()[first] is KeyState.STANDBY
            assert {key.selector: key.public_txt for key in made.catalog.dkim.keys_of(A, X)} == public

    asyncio.run(play())


@pytest.mark.req("DKIM-018")
def test_a_second_signature_begins_when_its_record_is_found(tmp_path):
    async def play():
        async with world(tmp_path) as made:
            key = made.catalog.dkim_setup.add_ed25519(A, X)
            await made.round()
            assert made.states()[key.selector] is KeyState.PENDING
            made.publish()
            await made.round()
            assert made.states()[key.selector] is KeyState.ACTIVE

    asyncio.run(play())


@pytest.mark.req("DKIM-010")
def test_during_a_switch_old_keys_sign_while_their_records_are_there(tmp_path):
    async def play():
        async with world(tmp_path) as made:
            (first,) = made.signs()
            made.catalog.dkim_setup.import_key(A, X, "own", keys.generate(KeyKind.RSA))
            await made.round(days=1)
            assert made.signs() == [first]
            made.dns.zones[f"{first}._domainkey.{X}"] = {"FAULT": "servfail"}
            await made.round()
            assert made.signs() == [first]
            del made.dns.zones[f"{first}._domainkey.{X}"]
            await made.round()
            assert made.signs() == []
            with made.catalog.identities._tables.writing(A):
                made.catalog.dkim.activate_pending(A, X, ["own"])
            made.clock.advance(PUBLISHED_MS / 1000)
            await made.round(days=1)
            assert made.signs() == ["own"]
            made.catalog.dkim_setup.import_key(A, X, "own2", keys.generate(KeyKind.RSA))
            with made.catalog.identities._tables.writing(A):
                made.catalog.dkim.activate_pending(A, X, ["own2"])
            await made.round(days=6)
            assert "own" in made.states()
            await made.round(days=1)
            assert "own" not in made.states()
            assert made.signs() == ["own2"]

    asyncio.run(play())
