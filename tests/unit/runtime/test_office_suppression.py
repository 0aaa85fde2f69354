"""What the office does with suppression lists: imports that wait, and lists of accounts that enforcement paused."""

import asyncio
import io
import json
from types import SimpleNamespace

import pytest
import yaml

from relay.model.account import AccountState
from relay.model.finding import FindingKind, FindingStep
from relay.model.import_job import ImportAction, JobState
from relay.runtime import office_suppression
from relay.runtime.config.model import Config
from relay.runtime.config.values import BASE
from relay.runtime.office_suppression import SuppressionService
from relay.signing.secrets import encode_master_key
from relay.store.catalog import open_catalog
from relay.store.catalog_findings import NewFinding
from relay.store.suppression import Form
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog

KEY = bytes(range(32))
A, B = "000000000001", "000000000002"
DAY_SECONDS = 86_400


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def catalog(tmp_path, clock):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "master.key").write_bytes(encode_master_key(KEY))
    with open_catalog(tmp_path, KEY, now_ms=clock.now_ms) as opened:
        for account in (A, B):
            opened.accounts.create(account)
            opened.suppression.add(account, "gone@x.example")
        yield opened


def service(directory, clock):
    text = yaml.safe_dump({"hostname": "relay.example", "data_dir": str(directory)})
    config = Config.model_validate(yaml.safe_load(text), context={BASE: directory})
    return SuppressionService(SimpleNamespace(config=config, log=MemoryLog()), clock=clock)


def look_after(catalog, made):
    made.look_after(catalog)
    asyncio.run(made.close())


def tell(finding, news, reason, contact):
    return b"", b""


def paused(catalog, account=A):
    """Pause an account by enforcement; return the case."""
    return catalog.findings.open(NewFinding(account, FindingKind.SPAMTRAP, 10**9, paused=True), tell).finding_id


@pytest.mark.req("SUPP-011")
@pytest.mark.parametrize("suspended", [False, True])
def test_the_list_of_an_account_that_enforcement_paused_for_90_days_is_emptied(catalog, tmp_path, clock, suspended):
    paused(catalog)
    clock.advance(60 * DAY_SECONDS)
    paused(catalog)  # by another case: the pause began with the first
    if suspended:
        catalog.enforcement.suspend(A, lambda contact: (b"", b""))
    clock.advance(29 * DAY_SECONDS)
    look_after(catalog, service(tmp_path, clock))
    assert catalog.suppression.count(A) == 1
    clock.advance(2 * DAY_SECONDS)
    look_after(catalog, service(tmp_path, clock))
    assert (catalog.suppression.count(A), catalog.suppression.count(B)) == (0, 1)
    (line,) = (tmp_path / "audit.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert (told["operation"], told["account"], told["caller"]) == ("suppression.remove_all", A, "office")


@pytest.mark.req("SUPP-011")
def test_an_account_that_may_send_again_keeps_its_list(catalog, tmp_path, clock):
    for _ in range(2):
        case = paused(catalog)
        clock.advance(89 * DAY_SECONDS)
        look_after(catalog, service(tmp_path, clock))
        catalog.findings.step(case, FindingStep.ACCEPT, tell)
        clock.advance(10 * DAY_SECONDS)
    look_after(catalog, service(tmp_path, clock))
    assert catalog.suppression.count(A) == 1


@pytest.mark.req("SUPP-011", "PAUSE-007")
def test_the_accounts_own_switch_empties_nothing(catalog, tmp_path, clock):
    catalog.accounts.set_state(A, AccountState.PAUSED)
    for _ in range(2):
        look_after(catalog, service(tmp_path, clock))
        clock.advance(200 * DAY_SECONDS)
    assert catalog.suppression.count(A) == 1
    paused(catalog)  # whose 90 days begin now
    clock.advance(89 * DAY_SECONDS)
    look_after(catalog, service(tmp_path, clock))
    assert catalog.suppression.count(A) == 1


def test_a_pause_of_which_nothing_is_known_begins_when_it_is_seen(catalog, tmp_path, clock):
    paused(catalog)
    with catalog._tables.writing(A):
        catalog._tables.connection.execute("UPDATE account SET paused_ms = 0")
    look_after(catalog, service(tmp_path, clock))
    clock.advance(91 * DAY_SECONDS)
    assert catalog.suppression.count(A) == 1
    look_after(catalog, service(tmp_path, clock))
    assert catalog.suppression.count(A) == 0


def test_imports_that_wait_are_run(catalog, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(office_suppression, "IMPORTS_SECONDS", 0.01)
    rows = io.BytesIO(b"a@x.example,BOUNCE\nnonsense\n")
    job = catalog.import_jobs.create_for_later(A, ImportAction.PUT, Form.CSV, "a file", rows)

    async def run():
        made = service(tmp_path, clock)
        await made.start()
        async with asyncio.timeout(30):
            while catalog.import_jobs.get(job.job_id).state is not JobState.COMPLETED:  # noqa: ASYNC110 - on disk
                await asyncio.sleep(0.01)
        made.check()
        await made.close()
        return made

    asyncio.run(run())
    ended = catalog.import_jobs.get(job.job_id)
    assert (ended.processed, ended.failed, catalog.suppression.count(A)) == (1, 1, 2)
