"""Limits that follow how accounts send, as a job of the office (QUOTA-013, QUOTA-014).

Reads usage from the files of the shards, rates from what events were counted, and changes the catalog; blocks, so it
belongs on a thread. A rate over fewer messages than `reputation.volume_min` is unknown. While a case against an
account is open nothing is raised (REVIEW-012).
"""

import contextlib
from dataclasses import replace

from relay.policy.quota_rules import Standing, Verdict, decide
from relay.ports import Log
from relay.reputation.counting import Count, Dimension
from relay.reputation.rates import DAY_MS
from relay.runtime import account_mail, settings
from relay.runtime.audit import record
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.reputation import held, rates_of
from relay.store.catalog import Catalog, open_existing_catalog
from relay.store.statistics import StatisticsReader
from relay.store.usage import sent_last_day

CALLER = "relay"


def apply_rules(config: Config, log: Log) -> None:
    """Look at every account once. Raise RelayError when catalog or usage cannot be read; each change is whole."""
    raises, lowers = settings.raise_rule(config), settings.lower_rule(config)
    now_ms = SteadyClock().now_ms()
    sent = sent_last_day(config.data_dir, now_ms)
    reader = StatisticsReader(config.data_dir)
    with (
        contextlib.closing(reader),
        open_existing_catalog(config.data_dir, settings.master_key(config.data_dir)) as catalog,
    ):
        for account in catalog.accounts.list():
            changed_ms = catalog.reviews.last_rule_ms(account.account_id)
            standing = _standing(config, catalog, reader, account.account_id, now_ms)
            standing = replace(standing, sent_last_day=sent[account.account_id], changed_ms=changed_ms)
            rising = None if held(catalog, account.account_id) else raises
            verdict = decide(account, standing, now_ms, rising, lowers)
            if verdict is not None:
                _apply(config, catalog, account.account_id, verdict, now_ms)
                log.info("limits changed by rule", account=account.account_id, reason=verdict.reason)


def _standing(config: Config, catalog: Catalog, reader: StatisticsReader, account: str, now_ms: int) -> Standing:
    """Return how an account sends, what is not known left out; its use is not looked up here."""
    found = rates_of(catalog, reader, account, "", now_ms)
    volume_min = config.reputation.volume_min
    bounce, complaint = (
        rate.value if rate.volume >= volume_min else None for rate in (found.bounce, found.complaint)
    )
    return Standing(0, bounce, complaint, _outside(reader, account, now_ms))


def _outside(reader: StatisticsReader, account: str, now_ms: int) -> float | None:
    """Return which share of a day's recipients is outside the account's own names, None when nothing was sent."""
    since_ms = now_ms - DAY_MS
    points = reader.points(Dimension.ACCOUNT, since_ms, now_ms, account=account)
    sent = sum(point.counts[Count.SENDS] for point in points)
    outside = sum(cell.sent for cell in reader.cells(account, "", since_ms))
    return min(1.0, outside / sent) if sent else None


def _apply(config: Config, catalog: Catalog, account: str, verdict: Verdict, now_ms: int) -> None:
    tell = account_mail.paused if verdict.pause else account_mail.limits_changed
    changed = catalog.reviews.apply_rule(account, verdict, tell(settings.letterhead(config), now_ms, verdict.reason))
    limits = {"dailyQuota": changed.daily_quota, "sendRate": changed.send_rate, "state": changed.state}
    record(config.data_dir, "account.rule", account, {**limits, "reason": verdict.reason}, caller=CALLER)
