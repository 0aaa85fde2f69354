"""The figures that alarms go by, from the files that hold them; None where one is missing. Everything blocks.

A rate is there as soon as anything was counted of the account, also of mail to the simulator (ALARM-005), and for a
configuration set when its reputation metrics are switched on: exactly where the metrics page has it (REP-012).
"""

from dataclasses import dataclass

from relay.model.alarm import RATES, Alarm, AlarmMetric
from relay.model.pool import RELAY
from relay.reputation.rates import Rate, Rates
from relay.reputation.snds import newest
from relay.runtime.config.model import Config
from relay.runtime.own_look import listed_addresses
from relay.runtime.reputation import rates_of
from relay.store.catalog import Catalog
from relay.store.snds import read_snds
from relay.store.statistics import StatisticsReader

AGAIN_MS = 3600_000  # rates change with time alone, slowly: by then at the latest they are worked out anew

Subject = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Known:
    """Rates of a subject, what they were made from, and when."""

    rates: Rates
    changed_ms: int
    fresh_start_ms: int
    made_ms: int


class AlarmFigures:
    """Answers for one round after another (`begin`); keeps rates whose counts did not change."""

    def __init__(self, reader: StatisticsReader) -> None:
        self._reader = reader
        self._known: dict[Subject, _Known] = {}

    def begin(self, config: Config, catalog: Catalog, now_ms: int, event_lag: float | None) -> None:
        """Begin a round. Raise StorageError when the counts cannot be read."""
        self._config, self._catalog, self._now_ms, self._event_lag = config, catalog, now_ms, event_lag
        self._changed = {(account, name): when for account, name, when in self._reader.subjects(0)}
        self._watched = set(catalog.findings.watched_sets())
        self._known = {subject: known for subject, known in self._known.items() if subject in self._changed}
        self._listed: frozenset[str] | None = None
        self._looked = False

    def of(self, alarm: Alarm) -> float | None:
        """Return the figure of an alarm now. Raise StorageError."""
        if alarm.metric in RATES:
            rate = self._rate(alarm)
            return None if rate is None or rate.volume < alarm.volume_min else rate.value or 0.0
        if alarm.metric is AlarmMetric.EVENT_LAG:
            return self._event_lag
        if alarm.metric is AlarmMetric.SPAM_RATE:
            return spam_rate(self._config, self._catalog, alarm.account, self._now_ms)
        return self._listed_addresses(alarm.account)

    def _rate(self, alarm: Alarm) -> Rate | None:
        changed_ms = self._changed.get(alarm.subject)
        if changed_ms is None or (alarm.configuration_set and alarm.subject not in self._watched):
            return None
        rates = self._rates(alarm.subject, changed_ms)
        return rates.bounce if alarm.metric is AlarmMetric.BOUNCE_RATE else rates.complaint

    def _rates(self, subject: Subject, changed_ms: int) -> Rates:
        fresh_start_ms = self._catalog.findings.fresh_start_ms(*subject)
        known = self._known.get(subject)
        # What was counted in the very moment of the last look may have been counted after it.
        settled = known is not None and changed_ms < known.made_ms - 1000
        if (
            known is None
            or not settled
            or known.changed_ms != changed_ms
            or known.fresh_start_ms != fresh_start_ms
            or not 0 <= self._now_ms - known.made_ms < AGAIN_MS
        ):
            rates = rates_of(self._catalog, self._reader, *subject, self._now_ms)
            known = self._known[subject] = _Known(rates, changed_ms, fresh_start_ms, self._now_ms)
        return known.rates

    def _listed_addresses(self, account: str) -> float | None:
        if not self._looked:
            self._looked = True
            self._listed = listed_addresses(self._config) if self._config.own_checks.enabled else None
        if self._listed is None:
            return None
        if not self._catalog.addresses.list():
            return float(len(self._listed))  # all mail leaves from whatever this machine has
        return float(len(self._listed & set(addresses_of(self._catalog, account))))


def addresses_of(catalog: Catalog, account: str) -> list[str]:
    """Return the source addresses that mail of an account may leave from: its own, and those of all."""
    return [one.address for one in catalog.addresses.list() if one.account in {account, RELAY}]


def spam_rate(config: Config, catalog: Catalog, account: str, now_ms: int) -> float | None:
    """Return the worst spam rate of an account's addresses in the newest period; None without fresh figures."""
    file = read_snds(config.data_dir)
    if file is None:
        return None
    with file:
        own = set(addresses_of(catalog, account))
        return max((one.spam_rate for one in newest(file.last(), now_ms) if one.address in own), default=None)
