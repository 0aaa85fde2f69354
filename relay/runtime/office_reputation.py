"""Reviews go on by themselves, as a service of the office: what changed is looked at every minute (REVIEW-001).

Rates come from what the process of events counted, everything else from the catalog, into which findings and their
steps are written as a command would. A round that fails is logged and tried again; what it had done stays, and is not
done twice, because every step is decided from what is kept.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from relay.errors import ConflictError, UsageError
from relay.model.finding import Finding, FindingKind, FindingState, FindingStep
from relay.model.pool import RELAY
from relay.model.review import ReviewKind
from relay.reputation.counting import Count, Dimension
from relay.reputation.patterns import NONE, Day, Patterns, patterns
from relay.reputation.rates import DAY_MS, Cell, Metric, Rates
from relay.reputation.review import Change, Opening, Standing, investigated, look
from relay.runtime import audit, settings
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.office_jobs import Job, Rounds
from relay.runtime.own_look import listed_addresses
from relay.runtime.reputation import rates_of, review_rules, tell
from relay.store.catalog import Catalog, open_existing_catalog
from relay.store.catalog_findings import NewFinding, Tell
from relay.store.statistics import SECOND_MS, StatisticsReader

CALLER = "relay"
ALL_AGAIN_MS = 3600_000
EXPORTED_MAX = 400  # subjects whose rates are metrics: those with the most mail
INVESTIGATED_AGAIN_MS = 7 * DAY_MS
_OVERLAP_MS = 5_000  # a batch is counted a moment after it says when

Subject = tuple[str, str]
Result = TypeVar("Result")


@dataclass(slots=True)
class _Round:
    """What one look needs."""

    catalog: Catalog
    reader: StatisticsReader
    config: Config
    tell: Tell
    now_ms: int


class ReputationService(Rounds):
    """The service that the office runs (`relay.runtime.service.Service`)."""

    def __init__(self, context: ChildContext) -> None:
        super().__init__(context)
        self._clock = SteadyClock()
        self._reader = StatisticsReader(context.config.data_dir)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reputation")
        self._rates: dict[Subject, Rates] = {}
        self._seen_ms = 0
        self._all_ms = 0

    async def _release(self) -> None:
        await self._run(self._reader.close)
        await asyncio.to_thread(self._thread.shutdown)

    def _jobs(self, config: Config) -> Sequence[Job]:
        self._all_ms = 0  # by new settings everybody is looked at again
        return (Job("reputation", config.reputation.every, partial(self._round, config)),)

    async def _round(self, config: Config) -> None:
        """Look, then tell the rates as metrics, on the thread that owns those."""
        await self._run(self._look, config)
        metrics = self._context.metrics
        by_volume = sorted(self._rates.items(), key=lambda item: (-item[1].bounce.volume, item[0]))
        for metric, name in _METRICS.items():
            metrics.forget(name)
            for subject, found in by_volume[:EXPORTED_MAX]:
                metrics.gauge(name, found.of(metric).value or 0.0, *subject)

    async def _run(self, call: Callable[..., Result], *values: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *values)

    # --- on the thread of the files ------------------------------------------------------------------------------

    def _look(self, config: Config) -> None:
        now_ms = self._clock.now_ms()
        everybody = now_ms - self._all_ms >= ALL_AGAIN_MS
        changed = self._reader.subjects(0 if everybody else self._seen_ms - _OVERLAP_MS)
        with open_existing_catalog(config.data_dir, settings.master_key(config.data_dir)) as catalog:
            here = _Round(catalog, self._reader, config, tell(config, now_ms), now_ms)
            watched = set(catalog.findings.watched_sets())
            findings = catalog.findings.list()
            subjects = {(account, name) for account, name, _when in changed}
            subjects |= {(one.account, one.configuration_set) for one in findings}
            subjects |= {(account, "") for account in self._reader.trapped(now_ms - DAY_MS)}
            listed = _listed(config, catalog)
            subjects |= {(account, "") for account in listed}
            if everybody:
                self._rates.clear()
            for subject in sorted(subjects):
                if not subject[1] or subject in watched or any(_is_about(one, subject) for one in findings):
                    self._one(here, subject, findings, listed.get(subject[0], ""))
        self._seen_ms = now_ms
        if everybody:
            self._all_ms = now_ms

    def _one(self, here: _Round, subject: Subject, findings: Sequence[Finding], listed: str) -> None:
        account, configuration_set = subject
        if here.catalog.accounts.get(account) is None:
            return  # counted before a catalog was restored that does not know it
        found = rates_of(here.catalog, self._reader, account, configuration_set, here.now_ms)
        self._rates[subject] = found
        if not here.config.reputation.enabled:
            return
        own = [one for one in findings if _is_about(one, subject)]
        traps = 0 if configuration_set else self._traps(here, account, own)
        standing = Standing(
            found,
            own,
            _closed(here.catalog, subject),
            traps,
            "" if configuration_set else listed,
            here.catalog.findings.answered(account) if own else frozenset(),
            NONE if configuration_set else self._patterns(here, account, own),
        )
        opened, changes = look(standing, review_rules(here.config), here.now_ms)
        try:
            for opening in opened:
                self._open(here, subject, opening)
            for change in changes:
                self._change(here, change)
        except (UsageError, ConflictError) as error:  # a command was faster, or the set is gone
            self._context.log.info("a review was not led on", account=account, reason=str(error))
        if not configuration_set:
            self._investigate(here, account)

    def _open(self, here: _Round, subject: Subject, opening: Opening) -> None:
        account, configuration_set = subject
        new = NewFinding(
            account,
            opening.kind,
            review_rules(here.config).period_ms,
            configuration_set,
            opening.cause,
            paused=opening.paused,
        )
        finding = here.catalog.findings.open(new, here.tell)
        self._record(here, "reputation.open", finding, opening.cause)

    def _change(self, here: _Round, change: Change) -> None:
        findings, finding = here.catalog.findings, change.finding
        if change.below_ms is not None and change.below_ms != finding.below_ms:
            findings.note_below(finding.finding_id, change.below_ms)
        if change.step is None:
            return
        period_ms = review_rules(here.config).period_ms
        changed = findings.step(finding.finding_id, change.step, here.tell, reason=change.reason, period_ms=period_ms)
        if change.step is FindingStep.ASK_PAUSE:
            findings.investigate(finding.account, change.reason, finding.finding_id)
        self._record(here, "reputation.step", changed, change.reason)

    def _record(self, here: _Round, operation: str, finding: Finding, reason: str) -> None:
        said = {
            "case": finding.finding_id,
            "configurationSet": finding.configuration_set or None,
            "kind": finding.kind,
            "state": finding.state,
            "reason": reason,
        }
        audit.record(here.config.data_dir, operation, finding.account, said, caller=CALLER)
        say = self._context.log.warning if finding.state is not FindingState.CLOSED else self._context.log.info
        say("a case changed", account=finding.account, **said)
        self._context.metrics.count("relay_reputation_steps_total", finding.kind.value, finding.state.value)

    def _traps(self, here: _Round, account: str, own: Sequence[Finding]) -> int:
        """Return the messages to traps that no case is about yet; those beyond an open one are evidence in it."""
        case = next((one for one in own if one.kind is FindingKind.SPAMTRAP), None)
        if case is not None:
            since_ms = case.evidence_from_ms - case.evidence_from_ms % SECOND_MS + SECOND_MS
            hits = self._reader.trap_hits(account, since_ms)
            if hits > case.evidence:
                here.catalog.findings.put_evidence(case.finding_id, hits)
            return 0
        earlier = here.catalog.findings.list(account, "", closed=True)
        ended = [one.changed_ms for one in earlier if one.kind is FindingKind.SPAMTRAP]
        return self._reader.trap_hits(account, max([here.now_ms - 30 * DAY_MS, *ended]))

    def _investigate(self, here: _Round, account: str) -> None:
        """Put what looks odd into the administrator's queue, once a week at most (REVIEW-009)."""
        cells = self._reader.cells(account, "", here.now_ms - 31 * DAY_MS)
        reason = investigated(*_volumes(cells, here.now_ms), *self._day(here.now_ms, account, Count.REJECTS))
        if not reason:
            return
        asked = [one for one in here.catalog.reviews.list(account, limit=50) if one.kind is ReviewKind.INVESTIGATION]
        if any(here.now_ms - (one.decided_ms or here.now_ms) < INVESTIGATED_AGAIN_MS for one in asked):
            return
        if here.catalog.findings.investigate(account, reason) is not None:
            said = {"reason": reason}
            audit.record(here.config.data_dir, "reputation.investigate", account, said, caller=CALLER)
            self._context.log.warning("an account should be looked into", account=account, reason=reason)

    def _patterns(self, here: _Round, account: str, own: Sequence[Finding]) -> Patterns:
        """Return what of an account's last day leads to listings (DNSBL-005), without what a case let go."""
        since_ms = max(here.catalog.findings.fresh_start_ms(account), _settled_ms(here, account, own))
        cells = self._reader.cells(account, "", here.now_ms - 31 * DAY_MS)
        begin_ms = max(here.now_ms - DAY_MS, since_ms)
        lately = [cell for cell in cells if cell.start_ms >= begin_ms]
        _recent, earlier, days = _volumes(cells, here.now_ms)
        sends, blocked = self._day(here.now_ms, account, Count.BLOCKED, since_ms=since_ms)
        all_sends, all_blocked = self._day(here.now_ms, None, Count.BLOCKED)
        day = Day(
            sum(cell.sent for cell in lately),  # without the simulator's mail, as all of a cell
            sum(cell.hard_bounces for cell in lately),
            blocked,
            earlier,
            days,
            all_sends - sends,
            all_blocked - blocked,
        )
        return patterns(day, review_rules(here.config).patterns)

    def _day(self, now_ms: int, account: str | None, *counts: Count, since_ms: int = 0) -> tuple[int, ...]:
        """Return what an account, or all of them, sent in a day, and how much of it became what else is counted."""
        begin_ms = max(now_ms - DAY_MS, since_ms)
        points = self._reader.points(Dimension.ACCOUNT, begin_ms, now_ms, account=account)
        return tuple(sum(point.counts[count] for point in points) for count in (Count.SENDS, *counts))


def _settled_ms(here: _Round, account: str, own: Sequence[Finding]) -> int:
    """Return until when mail counts no more for a case about patterns, 0 for none: it was extended, or has ended."""
    kind = FindingKind.SENDING_PATTERN
    extended = [one.evidence_from_ms for one in own if one.kind is kind and one.evidence_from_ms > one.opened_ms]
    ended = [ended_ms for closed, ended_ms in _closed(here.catalog, (account, "")) if closed is kind]
    return max([0, *extended, *ended])


_METRICS = {Metric.BOUNCE: "relay_reputation_bounce_rate", Metric.COMPLAINT: "relay_reputation_complaint_rate"}


def _is_about(finding: Finding, subject: Subject) -> bool:
    return (finding.account, finding.configuration_set) == subject


def _closed(catalog: Catalog, subject: Subject) -> list[tuple[FindingKind, int]]:
    """Return which findings of a subject were closed, and when."""
    found = catalog.findings.list(*subject, closed=True, limit=100)
    return [(one.kind, one.changed_ms) for one in found if not one.open]


def _volumes(cells: Sequence[Cell], now_ms: int) -> tuple[int, int, int]:
    """Return messages of the last day, of the 30 days before, and over how many of these days they are spread."""
    day_ms = now_ms - DAY_MS
    before = [cell for cell in cells if cell.start_ms < day_ms]
    days = (day_ms - min((cell.start_ms for cell in before), default=day_ms)) // DAY_MS
    recent = sum(cell.sent for cell in cells if cell.start_ms >= day_ms)
    return recent, sum(cell.sent for cell in before), days


def _listed(config: Config, catalog: Catalog) -> dict[str, str]:
    """Return accounts whose own addresses a block list has, with a sentence (REP-019)."""
    lasting = listed_addresses(config) or frozenset()
    owners: dict[str, list[str]] = {}
    for address in catalog.addresses.list() if lasting else ():
        if address.account != RELAY and address.address in lasting:
            owners.setdefault(address.account, []).append(address.address)
    return {account: f"Listed: {', '.join(addresses[:5])}." for account, addresses in owners.items()}
