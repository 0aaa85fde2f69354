"""Reviews over weeks: the office's rounds on real files, with a clock that only the test moves."""

import base64
import json

import pytest

from relay.model.account import AccountState
from relay.model.configuration_set import ConfigurationSet
from relay.model.finding import Enforcement, FindingKind, FindingState, FindingStep
from relay.model.pool import SourceAddress
from relay.model.review import ReviewKind, ReviewState
from relay.reputation.blocklist import Change, Listing
from relay.reputation.counting import Rules
from relay.runtime import office_reputation
from relay.runtime.board import Board
from relay.runtime.children import ChildContext, Role, new_epoch
from relay.runtime.config.model import Config
from relay.runtime.config.values import BASE
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.office_quotas import apply_rules
from relay.runtime.office_reputation import ReputationService
from relay.runtime.reputation import tell
from relay.runtime.rpc import Ops
from relay.store.catalog import open_catalog
from relay.store.catalog_findings import NewFinding
from relay.store.own_checks import OwnChecks
from relay.store.statistics import Statistics
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from tests.unit.store.test_statistics import bounce, delivery, logged, send

KEY = bytes(range(32))
A, B = "000000000001", "000000000002"
DAY = 86_400


class World:
    """A data directory with two accounts, what was counted, and the office's service."""

    def __init__(self, directory, **reputation):
        self.clock = ManualClock()
        self.directory = directory
        self.seq = 0
        (directory / "keys").mkdir()
        (directory / "keys" / "master.key").write_bytes(base64.b64encode(KEY) + b"\n")
        values = {"hostname": "relay.example", "data_dir": str(directory), "reputation": reputation}
        self.config = Config.model_validate(values, context={BASE: directory})
        self.counts = Statistics(directory, Rules(), lambda _a, _r: False, self.clock.now_ms, MemoryLog())
        self.counts.open()
        with self.catalog() as catalog:
            for account in (A, B):
                catalog.accounts.create(account, contact=f"owner-{account[-1]}@x.example")
        board = Board(["office"])
        self.metrics = ProcessMetrics(new_epoch())
        context = ChildContext(
            role=Role.OFFICE,
            index=0,
            name="office",
            config=self.config,
            listeners=(),
            board=board,
            row=board.rows["office"],
            log=MemoryLog(),
            metrics=self.metrics,
            ops=Ops(),
            run_dir=directory / "run",
        )
        self.service = ReputationService(context)
        self.service._clock = self.clock

    def catalog(self):
        return open_catalog(self.directory, KEY, now_ms=self.clock.now_ms)

    def count(self, *events):
        self.counts.apply(1, logged(events, first=self.seq + 1))
        self.seq += len(events)

    def mail(self, sent, bounced=0, **more):
        """Let an account send, with so many hard bounces."""
        now_ms = self.clock.now_ms()
        self.count(*[send(now_ms, **more)] * sent, *[bounce(now_ms, **more)] * bounced)

    def round(self):
        self.service._look(self.config)

    def pass_days(self, days):
        self.clock.advance(days * DAY)
        self.round()

    def findings(self, account=A, **more):
        with self.catalog() as catalog:
            return [(one.kind, one.state) for one in catalog.findings.list(account, closed=True, **more)]

    def close(self):
        self.service._reader.close()
        self.counts.close()


@pytest.fixture
def make(tmp_path, monkeypatch):
    made = []

    def world(**reputation):
        made.append(World(tmp_path, **reputation))
        clock = made[-1].clock
        opened = office_reputation.open_existing_catalog
        monkeypatch.setattr(
            office_reputation, "open_existing_catalog", lambda *given: opened(*given, now_ms=clock.now_ms)
        )
        return made[-1]

    yield world
    for one in made:
        one.close()


@pytest.mark.req("REVIEW-001", "REVIEW-002", "REP-017")
def test_a_review_of_three_weeks_ends_in_a_pause_while_the_rate_stays(make):
    world = make()
    world.mail(500, 50)
    world.round()
    world.round()
    assert world.findings() == [(FindingKind.BOUNCE_RATE, FindingState.UNDER_REVIEW)]
    world.pass_days(20.9)
    assert world.findings() == [(FindingKind.BOUNCE_RATE, FindingState.UNDER_REVIEW)]
    world.pass_days(0.2)
    assert world.findings() == [(FindingKind.BOUNCE_RATE, FindingState.PAUSED)]
    world.pass_days(100)  # and nothing but an administrator ends it
    assert world.findings() == [(FindingKind.BOUNCE_RATE, FindingState.PAUSED)]
    with world.catalog() as catalog:
        assert catalog.accounts.require(A).enforcement is Enforcement.PAUSED
        assert catalog.accounts.require(B).enforcement is Enforcement.NONE
        catalog.accounts.set_state(A, AccountState.ENABLED)
        assert catalog.accounts.require(A).enforcement is Enforcement.PAUSED
        assert [one.name for one in catalog.enforcement.events(A)] == ["SES sending paused"]
        assert len(catalog.notices.waiting()) == 2


@pytest.mark.req("REP-004", "REP-009", "REVIEW-001")
def test_better_mail_heals_an_account_before_its_review_ends(make):
    world = make()
    world.mail(900, 60)
    world.round()
    world.pass_days(5)
    world.mail(1000)  # the representative volume is these thousand now
    world.round()
    with world.catalog() as catalog:
        (case,) = catalog.findings.list(A)
        assert case.below_ms == world.clock.now_ms()
    world.pass_days(6.9)
    assert world.findings() == [(FindingKind.BOUNCE_RATE, FindingState.UNDER_REVIEW)]
    world.pass_days(0.2)
    assert world.findings() == [(FindingKind.BOUNCE_RATE, FindingState.CLOSED)]


@pytest.mark.req("REP-004")
def test_a_late_bounce_counts_in_the_volume_of_its_message(make):
    world = make()
    sent_ms = world.clock.now_ms()
    world.mail(600)
    world.clock.advance(10 * DAY)
    world.mail(1000)  # more than enough to represent the account without the old ones
    world.count(*[bounce(sent_ms, later_ms=10 * DAY * 1000, event_id="m/0/Bounce/returned")] * 600)
    world.round()
    assert FindingKind.BOUNCE_RATE not in dict(world.findings())
    world.count(*[bounce(world.clock.now_ms())] * 50)
    world.round()
    assert (FindingKind.BOUNCE_RATE, FindingState.UNDER_REVIEW) in world.findings()


@pytest.mark.req("REVIEW-003")
def test_the_third_review_for_a_cause_pauses_at_once(make):
    world = make()
    states = []
    for bounced in (100, 60, 99, 100):
        world.mail(1000, bounced)
        world.round()
        with world.catalog() as catalog:
            (case,) = catalog.findings.list(A)
            states.append(case.state)
            catalog.findings.step(case.finding_id, FindingStep.ACCEPT, tell(world.config, 0))
            catalog.findings.fresh_start(A)
        world.clock.advance(DAY)
    assert states == [FindingState.UNDER_REVIEW] * 3 + [FindingState.PAUSED]  # 99 is below the limit for a pause


@pytest.mark.req("REVIEW-008", "REP-021")
def test_complaints_that_go_on_without_an_answer_propose_a_pause(make):
    world = make()
    with world.catalog() as catalog:
        write = tell(world.config, 0)
        period_ms = 21 * DAY * 1000
        for account in (A, B):
            case = catalog.findings.open(NewFinding(account, FindingKind.DIRECT_FEEDBACK, period_ms), write)
            catalog.findings.report(case.finding_id)
        catalog.findings.answer(case.finding_id, "a", "b", "c")
    world.pass_days(21)
    assert world.findings(A) == [(FindingKind.DIRECT_FEEDBACK, FindingState.PENDING_PAUSE)]
    assert world.findings(B) == [(FindingKind.DIRECT_FEEDBACK, FindingState.PENDING_DECISION)]
    with world.catalog() as catalog:
        waiting = catalog.reviews.list(A, ReviewState.PENDING)
        assert [one.kind for one in waiting] == [ReviewKind.PAUSE]
        assert catalog.accounts.require(A).enforcement is Enforcement.NONE


@pytest.mark.req("REP-019")
def test_a_listed_address_of_its_own_is_held_against_an_account(make):
    world = make()
    with world.catalog() as catalog:
        catalog.addresses.add(SourceAddress("192.0.2.2"))
        catalog.addresses.add(SourceAddress("192.0.2.1", account=B))
    own = OwnChecks(world.directory / "office", MemoryLog())
    name = world.config.own_checks.block_lists[0].name
    now_ms = world.clock.now_ms()
    listings = [Listing(address, name, now_ms) for address in ("192.0.2.1", "192.0.2.2")]
    own.change([Change(one, began=True) for one in listings], now_ms)
    world.round()
    assert world.findings(B) == [(FindingKind.ANTI_SPAM_ORGANIZATION, FindingState.UNDER_REVIEW)]
    assert world.findings(A) == []  # a shared address says nothing about anybody
    ended = [Change(Listing(one.address, name, now_ms, world.clock.now_ms()), began=False) for one in listings]
    own.change(ended, now_ms)
    own.close()
    world.pass_days(21)
    assert world.findings(B) == [(FindingKind.ANTI_SPAM_ORGANIZATION, FindingState.CLOSED)]


@pytest.mark.req("REP-011", "CFG-008")
def test_only_sets_with_reputation_metrics_are_watched(make):
    world = make()
    with world.catalog() as catalog:
        catalog.configuration_sets.create(ConfigurationSet(A, "watched", reputation_metrics=True))
        catalog.configuration_sets.create(ConfigurationSet(A, "other"))
    world.mail(9000)
    world.mail(500, 50, configuration_set="watched")
    world.mail(500, 50, configuration_set="other")
    world.round()
    assert world.findings(configuration_set="watched") == [(FindingKind.BOUNCE_RATE, FindingState.UNDER_REVIEW)]
    assert len(world.findings()) == 1
    assert set(world.service._rates) == {(A, ""), (A, "watched")}


@pytest.mark.req("REVIEW-009")
def test_ten_times_as_much_mail_is_to_be_looked_into_once(make):
    world = make()
    for _ in range(10):
        world.mail(90)
        world.clock.advance(DAY)
    world.mail(1500)
    for _ in range(2):
        world.round()
    with world.catalog() as catalog:
        (request,) = catalog.reviews.list(A)
        assert (request.kind, request.use_case) == (
            ReviewKind.INVESTIGATION,
            "1590 messages in a day, after 90 a day before.",
        )
        catalog.reviews.dismiss(request.review_id)
    world.pass_days(0.1)
    with world.catalog() as catalog:
        assert catalog.reviews.list(A, ReviewState.PENDING) == []


def test_without_leave_to_act_rates_are_known_and_nothing_follows(make):
    world = make(enabled=False)
    world.mail(1000, 500)
    world.round()
    assert world.findings() == []
    assert world.service._rates[A, ""].bounce.value == 0.5


@pytest.mark.req("QUOTA-013", "QUOTA-014", "REVIEW-012")
def test_rules_about_quotas_go_by_these_rates(make, monkeypatch):
    world = make()
    monkeypatch.setattr("relay.runtime.office_quotas.SteadyClock", lambda: world.clock)
    monkeypatch.setattr(
        "relay.runtime.office_quotas.sent_last_day", lambda _dir, _now: {A: 1000, B: 1000}, raising=True
    )
    rules = {
        "increase": {"enabled": True, "near": "50%", "by": "100%"},
        "decrease": {"enabled": True, "by": "50%", "sent_min": 100},
    }
    config = Config.model_validate(
        {"hostname": "relay.example", "data_dir": str(world.directory), "quota_rules": rules},
        context={BASE: world.directory},
    )
    with world.catalog() as catalog:
        for account in (A, B):
            catalog.accounts.set_quota(account, daily_quota=1000)
    now_ms = world.clock.now_ms()
    world.count(*[send(now_ms)] * 1000, *[bounce(now_ms)] * 150)
    fine = [send(now_ms, account=B), delivery(now_ms, account=B, provider="yahoo")]
    world.counts.rules = Rules(reporting=frozenset({"yahoo"}))
    world.count(*fine * 1000)
    apply_rules(config, MemoryLog())
    with world.catalog() as catalog:
        assert catalog.accounts.require(A).daily_quota == 500
        assert catalog.accounts.require(B).daily_quota == 2000
        catalog.findings.open(
            NewFinding(B, FindingKind.OTHER, 1000, cause="x"), tell(world.config, world.clock.now_ms())
        )
        catalog.accounts.set_quota(B, daily_quota=1000)
    world.clock.advance(8 * DAY)
    world.count(*[send(world.clock.now_ms(), account=B), delivery(world.clock.now_ms(), account=B)] * 10)
    apply_rules(config, MemoryLog())
    with world.catalog() as catalog:
        assert catalog.accounts.require(B).daily_quota == 1000  # held while a case is open
    lines = [json.loads(line) for line in (world.directory / "audit.jsonl").read_text().splitlines()]
    assert [line["operation"] for line in lines] == ["account.rule", "account.rule"]
