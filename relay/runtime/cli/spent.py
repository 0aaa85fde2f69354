"""How much of its limits an account has used, as all shards count it."""

from pathlib import Path
from typing import Any

from relay.model.account import UNLIMITED, Account


def sent_last_day(data_dir: Path, account: str) -> int:
    """Return the recipients accepted in the last 24 hours."""
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415
    from relay.store.usage import sent_last_day as sent_by_account  # noqa: PLC0415

    return sent_by_account(data_dir, SteadyClock().now_ms())[account]


def use_of(data_dir: Path, account: Account) -> dict[str, Any]:
    """Return what was sent, what remains and the share that was used; None where there is no limit (QUOTA-006)."""
    sent = sent_last_day(data_dir, account.account_id)
    limit = account.daily_quota
    limited = limit != UNLIMITED
    return {
        "sentLast24Hours": sent,
        "remaining": max(0, limit - sent) if limited else None,
        "usedPercent": (round(100 * sent / limit, 1) if limit else 100.0) if limited else None,
    }
