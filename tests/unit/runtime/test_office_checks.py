"""The office looks at what is due: in batches, with DNS that lies, hangs or is away, and without end."""

import asyncio
import time
from types import SimpleNamespace

import pytest
import yaml

from relay.errors import TemporaryError
from relay.model.check import Aspect, CheckState
from relay.model.dkim import KeyState
from relay.policy.records import Answer
from relay.runtime import identity_look
from relay.runtime.children import new_epoch
from relay.runtime.config.model import Config
from relay.runtime.config.values import BASE
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.office_checks import CheckService
from relay.signing.keys import KeyKind, generate
from relay.signing.secrets import encode_master_key
from relay.store.catalog import open_catalog
from relay.testing.clock import ManualClock
from relay.testing.internet_dns import FakeDns
from relay.testing.log import MemoryLog
from tests.keypool import new_key

KEY = bytes(range(32))
A = "000000000001"


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def catalog(tmp_path, clock):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "master.key").write_bytes(encode_master_key(KEY))
    with open_catalog(tmp_path, KEY, now_ms=clock.now_ms, new_key=new_key) as opened:
        opened.accounts.create(A, contact="owner@x.example")
        yield opened


def service(directory, clock, ask=None, **settings):
    text = yaml.safe_dump({"hostname": "relay.example", "data_dir": str(directory), **settings})
    context = SimpleNamespace(
        config=Config.model_validate(yaml.safe_load(text), context={BASE: directory}),
        log=MemoryLog(),
        metrics=ProcessMetrics(new_epoch()),
    )
    return CheckService(context, clock=clock, ask=ask)


async def rounds(made, count=1):
    try:
        return [await made.run_due() for _ in range(count)][-1]
    finally:
        await made.close()


def records(catalog, name):
    return {one.name: one.value for one in catalog.identities.require(A, name).records}


@pytest.mark.req("IDENT-010", "IDENT-011", "IDENT-012", "MFROM-006", "MFROM-007")
def test_a_life_by_a_real_name_server(catalog, tmp_path, clock):
    catalog.identities.create(A, "shop.example")
    with catalog._tables.writing(A):
        catalog._tables.connection.execute("UPDATE identity SET mail_from_domain = 'b.shop.example'")
    catalog.checks.start(A, "shop.example", [Aspect.MAIL_FROM])
    published = {
        name: {"TXT": [f'"{text[:200]}" "{text[200:]}"']} for name, text in records(catalog, "shop.example").items()
    }
    published["b.shop.example"] = {"MX": ["10 relay.example."]}

    def states():
        details = catalog.identities.require(A, "shop.example")
        return [str(details.state(aspect)) for aspect in Aspect], details.identity.verified

    async def look(zones):
        server = FakeDns(zones)
        await server.start()
        try:
            await rounds(service(tmp_path, clock, dns={"nameservers": [server.nameserver], "timeout": "1s"}))
        finally:
            await server.stop()

    def after(hours, zones):
        clock.advance(hours * 3600)
        asyncio.run(look(zones))
        return states()

    broken = {name: {**zone, "FAULT": "servfail"} for name, zone in published.items()}
    shop = {"shop.example": {"A": ["192.0.2.1"]}}
    assert after(0, shop) == (["PENDING"] * 3, False)
    assert after(71, {**shop, **broken}) == (["PENDING"] * 3, False)
    assert after(0.9, {**shop, **published}) == (["SUCCESS"] * 3, True)
    assert after(7, {**shop, **broken}) == (["SUCCESS"] * 3, True)
    assert after(7, {**shop, **published}) == (["SUCCESS"] * 3, True)
    assert after(7, shop) == (["TEMPORARY_FAILURE"] * 3, True)
    assert after(71, shop) == (["TEMPORARY_FAILURE"] * 3, True)
    assert after(0.6, {**shop, **published}) == (["SUCCESS"] * 3, True)
    assert after(7, shop) == (["TEMPORARY_FAILURE"] * 3, True)
    assert after(72, {**shop, **broken}) == (["FAILED"] * 3, False)
    assert after(100, {**shop, **published}) == (["FAILED"] * 3, False)
    subjects = [
        catalog.notices.get(number).content.head.split(b"\r\n")[2].decode() for number in catalog.notices.waiting()
    ]
    assert len(subjects) == 3 * 5
    assert sum("MAIL FROM domain setup successful for shop.example" in one for one in subjects) == 2


@pytest.mark.req("DKIM-001", "DKIM-008", "DKIM-010", "DKIM-011")
def test_keys_follow_what_dns_says(catalog, tmp_path, clock):
    """Three keys sign once all are found; a switch that fails changes nothing; records that are gone end it."""
    catalog.identities.create(A, "x.example")
    zones = {}

    async def ask(name, kind):
        return Answer((zones[name],)) if name in zones and kind == "TXT" else Answer(exists=False)

    def after(hours):
        clock.advance(hours * 3600)
        asyncio.run(rounds(service(tmp_path, clock, ask)))
        details = catalog.identities.require(A, "x.example")
        signs = [key.selector for key in details.keys if key.state is KeyState.ACTIVE]
        return str(details.state(Aspect.DKIM)), details.identity.verified, signs

    first, second, third = records(catalog, "x.example").items()
    token = first[0].partition(".")[0]
    zones.update([first, second])
    assert after(0) == ("PENDING", False, [])
    zones.update([third])
    assert after(1) == ("SUCCESS", True, [token])
    own = generate(KeyKind.RSA)
    catalog.dkim_setup.import_key(A, "x.example", "own", own)
    assert after(1) == ("PENDING", True, [token])
    assert after(72) == ("FAILED", True, [token])
    assert after(100) == ("FAILED", True, [token])
    catalog.dkim_setup.import_key(A, "x.example", "own", own)
    zones["own._domainkey.x.example"] = records(catalog, "x.example")["own._domainkey.x.example"]
    assert after(1) == ("SUCCESS", True, ["own"])
    zones.clear()
    assert after(7) == ("TEMPORARY_FAILURE", True, ["own"])
    assert after(72) == ("FAILED", False, [])
    subjects = [
        catalog.notices.get(number).content.head.split(b"\r\n")[2].decode() for number in catalog.notices.waiting()
    ]
    assert any("DKIM" in one for one in subjects)


def test_ten_thousand_identities_are_looked_at_in_bounded_batches(catalog, tmp_path, clock):
    now = clock.now_ms()
    with catalog._tables.writing(A):
        execute = catalog._tables.connection.execute
        for number in range(10_000):
            values = (A, f"d{number}.example", now, "t" * 44)
            execute("INSERT INTO identity (account, name, kind, verified, created_ms, txt_token) "
                    "VALUES (?, ?, 'DOMAIN', 0, ?, ?)", values)  # fmt: skip
            execute("INSERT INTO identity_check VALUES (?, ?, 'VERIFICATION', 'PENDING', ?, 0, ?, '', '')",
                    (A, f"d{number}.example", now, now))  # fmt: skip
    asked, most = 0, 0

    async def ask(name, kind):
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        await asyncio.sleep(0)
        asked -= 1
        return Answer(("t" * 44,)) if name.startswith("_amazonses.") else Answer()

    slowest = 0.0

    async def run():
        nonlocal slowest
        made = service(tmp_path, clock, ask)
        task = asyncio.create_task(rounds(made))
        while not task.done():
            before = time.monotonic()
            await asyncio.sleep(0.005)
            slowest = max(slowest, time.monotonic() - before)
        return await task

    started = time.process_time()
    changes = asyncio.run(run())
    used = time.process_time() - started
    assert len(changes) == 10_000
    assert {change.state for change in changes} == {CheckState.SUCCESS}
    assert most <= 200
    assert used < 120, f"{used:.1f} s of CPU for 10,000 identities"
    assert slowest < 5, f"the loop was held for {slowest:.2f} s"
    assert len(catalog.notices.waiting(5000)) == 1000
    assert catalog.checks.due(now, 1) == []


def test_names_that_never_answer_hold_up_a_batch_no_longer_than_the_deadline(catalog, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(identity_look.look, "__kwdefaults__", {"seconds": 0.2})
    catalog.identities.create(A, "dead.example")
    catalog.identities.create(A, "live.example")
    live = records(catalog, "live.example")

    async def ask(name, kind):
        if name.endswith("dead.example"):
            await asyncio.Event().wait()
        return Answer((live[name],)) if name in live else Answer(exists=False)

    changes = asyncio.run(asyncio.wait_for(rounds(service(tmp_path, clock, ask)), 10))
    assert {(change.identity, change.state) for change in changes} == {("live.example", CheckState.SUCCESS)}
    dead = catalog.checks.of(A, "dead.example")[Aspect.DKIM]
    assert (dead.state, dead.error_type, dead.next_ms > clock.now_ms()) == (
        CheckState.PENDING, "DNS_SERVER_ERROR", True
    )  # fmt: skip


def test_a_check_without_any_record_ends_like_others(catalog, tmp_path, clock):
    catalog.identities.create(A, "x.example")
    with catalog._tables.writing(A):
        for key in catalog.dkim.keys_of(A, "x.example"):
            catalog.dkim.remove(A, "x.example", key.selector)

    async def ask(name, kind):
        return Answer(exists=False)

    asyncio.run(rounds(service(tmp_path, clock, ask)))
    check = catalog.checks.of(A, "x.example")[Aspect.DKIM]
    assert (check.state, check.error_type) == (CheckState.PENDING, "SERVICE_ERROR")
    clock.advance(73 * 3600)
    asyncio.run(rounds(service(tmp_path, clock, ask)))
    assert catalog.checks.of(A, "x.example")[Aspect.DKIM].state is CheckState.FAILED


def test_a_catalog_in_use_is_tried_again_later(catalog, tmp_path, clock, monkeypatch):
    monkeypatch.setattr("relay.store.catalog_files.BUSY_TIMEOUT_SECONDS", 0.1)
    catalog.identities.create(A, "x.example")

    async def ask(name, kind):
        return Answer(exists=False)

    with catalog._tables.writing(A):
        with pytest.raises(TemporaryError):
            asyncio.run(rounds(service(tmp_path, clock, ask)))
    asyncio.run(rounds(service(tmp_path, clock, ask)))
    assert catalog.checks.of(A, "x.example")[Aspect.DKIM].checked_ms == clock.now_ms()
