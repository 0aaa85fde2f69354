"""Limits that follow how accounts send, as a job of the office (QUOTA-013, QUOTA-014).

Reads usage from the files of the shards and changes the catalog; blocks, so it belongs on a thread. Rates of bounces
and complaints are not kept by account yet: they are unknown, and the rules say what follows from that.
"""

from relay.policy.quota_rules import Standing, Verdict, decide
from relay.ports import Log
from relay.runtime import account_mail, settings
from relay.runtime.audit import record
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.store.catalog import Catalog, open_existing_catalog
from relay.store.usage import sent_last_day

CALLER = "relay"


def apply_rules(config: Config, log: Log) -> None:
    """Look at every account once. Raise RelayError when catalog or usage cannot be read; each change is whole."""
    raises, lowers = settings.raise_rule(config), settings.lower_rule(config)
    now_ms = SteadyClock().now_ms()
    sent = sent_last_day(config.data_dir, now_ms)
    with open_existing_catalog(config.data_dir, settings.master_key(config.data_dir)) as catalog:
        for account in catalog.accounts.list():
            changed_ms = catalog.reviews.last_rule_ms(account.account_id)
            standing = Standing(sent[account.account_id], changed_ms=changed_ms)
            verdict = decide(account, standing, now_ms, raises, lowers)
            if verdict is not None:
                _apply(config, catalog, account.account_id, verdict, now_ms)
                log.info("limits changed by rule", account=account.account_id, reason=verdict.reason)


def _apply(config: Config, catalog: Catalog, account: str, verdict: Verdict, now_ms: int) -> None:
    tell = account_mail.paused if verdict.pause else account_mail.limits_changed
    changed = catalog.reviews.apply_rule(account, verdict, tell(settings.letterhead(config), now_ms, verdict.reason))
    limits = {"dailyQuota": changed.daily_quota, "sendRate": changed.send_rate, "state": changed.state}
    record(config.data_dir, "account.rule", account, {**limits, "reason": verdict.reason}, caller=CALLER)
