"""From the configuration, the catalog and what was counted to how an account or set stands.

What commands show and what the office acts on is worked out here, once. Everything blocks, so it belongs on a thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from relay.errors import ConfigurationError
from relay.mail.finding_letters import finding_letter
from relay.model.finding import Enforcement, Finding, FindingState
from relay.ports import Log
from relay.reputation.counting import Rules
from relay.reputation.findings import Health, MetricStatus, health, metric_status, summary
from relay.reputation.patterns import PatternLimits
from relay.reputation.rates import DAY_MS, Level, Limits, Metric, Rates, level, rates
from relay.reputation.review import ReviewRules
from relay.runtime import settings
from relay.runtime.config.model import Config
from relay.store.catalog import Catalog
from relay.store.catalog_findings import Tell
from relay.store.statistics import Retention, StatisticsReader

TRAPS_MAX = 1_000_000
_PAUSE = {"at_end": "at the end", "at_once": "at once", "never": "never"}
_RECENT_MS = 60 * DAY_MS
_RECENT_CELLS = 2000  # with so much in 60 days no older mail is needed


@dataclass(frozen=True, slots=True)
class Page:
    """How an account (empty set) or configuration set stands, as its page shows it (REP-005, REP-008 to REP-010)."""

    account: str
    configuration_set: str
    rates: Rates
    health: Health
    summary: str
    statuses: dict[Metric, MetricStatus]
    findings: Sequence[Finding]
    fresh_start_ms: int


def limits(config: Config) -> Limits:
    """Return the rates from which something follows."""
    own = config.reputation
    return Limits(
        bounce_review=own.bounce_review,
        bounce_pause=own.bounce_pause,
        complaint_review=own.complaint_review,
        complaint_pause=own.complaint_pause,
        volume_min=own.volume_min,
    )


def review_rules(config: Config) -> ReviewRules:
    """Return how reviews go."""
    own = config.reputation
    return ReviewRules(
        limits=limits(config),
        period_ms=int(own.review_period * 1000),
        pause=_PAUSE[own.pause],
        repeats=own.repeats,
        trap_hits=own.spamtrap_hits,
        trap_pause_hits=own.spamtrap_pause_hits,
        patterns=PatternLimits(own.volume_min, own.bounce_pause, own.blocked_review, own.blocked_pause),
    )


def retention(config: Config) -> Retention:
    """Return how long counts are kept."""
    return Retention(int(config.statistics.hourly * 1000), int(config.statistics.daily * 1000))


def counting_rules(config: Config, log: Log) -> Rules:
    """Return what counting goes by; a file of traps that cannot be read is told, and counts nothing."""
    own = config.reputation
    traps: frozenset[str] = frozenset()
    if own.spamtraps is not None:
        try:
            lines = own.spamtraps.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            log.warning("the file of spamtraps cannot be read", path=str(own.spamtraps), error=str(error))
            lines = []
        if len(lines) > TRAPS_MAX:
            raise ConfigurationError(f"{own.spamtraps} has more than {TRAPS_MAX} lines.")
        traps = frozenset(line.strip().lower() for line in lines if "@" in line)
    return Rules(config.hostname, frozenset(own.feedback_providers), traps)


def tell(config: Config, now_ms: int) -> Tell:
    """Return the writer of letters about findings."""
    letterhead = settings.letterhead(config)
    return lambda finding, news, reason, recipient: finding_letter(
        letterhead, finding, news, reason, recipient, now_ms
    )


def rates_of(catalog: Catalog, reader: StatisticsReader, account: str, configuration_set: str, now_ms: int) -> Rates:
    """Return the rates of an account or set over its representative volume."""
    read = partial(reader.cells, account, configuration_set)
    cells = read(now_ms - _RECENT_MS)
    if sum(cell.sent for cell in cells) < _RECENT_CELLS or sum(cell.reporting for cell in cells) < _RECENT_CELLS:
        cells = read()
    return rates(cells, now_ms, catalog.findings.fresh_start_ms(account, configuration_set))


def page_of(  # noqa: PLR0917 - by which rules, from where, about whom, and when
    config: Config, catalog: Catalog, reader: StatisticsReader, account: str, configuration_set: str, now_ms: int
) -> Page:  # fmt: skip
    """Return how an account or set stands now. Raise UsageError for one that is not there."""
    known = catalog.accounts.require(account)
    if configuration_set:
        catalog.configuration_sets.require(account, configuration_set)
    found = rates_of(catalog, reader, account, configuration_set, now_ms)
    findings = catalog.findings.list(account, configuration_set)
    suspended = not configuration_set and known.enforcement is Enforcement.SUSPENDED
    stands = health(findings, suspended=suspended)
    pausable = any(level(metric, found.of(metric), limits(config)) is Level.PAUSE for metric in Metric)
    return Page(
        account,
        configuration_set,
        found,
        stands,
        summary(stands, pausable=pausable),
        {metric: metric_status(metric, findings) for metric in Metric},
        findings,
        catalog.findings.fresh_start_ms(account, configuration_set),
    )


def held(catalog: Catalog, account: str) -> bool:
    """Say whether nothing may be raised for an account: it has an open case or is suspended (REVIEW-012)."""
    if catalog.accounts.require(account).enforcement is not Enforcement.NONE:
        return True
    return any(one.state is not FindingState.CLOSED for one in catalog.findings.list(account, ""))
