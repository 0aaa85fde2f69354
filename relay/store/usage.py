"""Recipients accepted by account and minute, read from shards whose owner is not running."""

from collections import Counter
from pathlib import Path

from relay.policy.quota import first_minute
from relay.store.adoption import shard_paths, shards_on_disk
from relay.store.reader import ShardReader

Usage = dict[str, dict[int, int]]


def by_account(rows: list[tuple[str, int, int]]) -> Usage:
    """Return (account, minute, recipients) rows as a mapping of mappings."""
    usage: Usage = {}
    for account, minute, recipients in rows:
        usage.setdefault(account, {})[minute] = recipients
    return usage


def sent_last_day(data_dir: Path, now_ms: int) -> Counter[str]:
    """Return the recipients each account had accepted in the last 24 hours, over all shards. Raise TemporaryError."""
    sent: Counter[str] = Counter()
    since = first_minute(now_ms)
    for shard in shards_on_disk(data_dir):
        for account, minutes in read_usage(data_dir, shard, since).items():
            sent[account] += sum(minutes.values())
    return sent


def read_usage(data_dir: Path, shard: int, first_minute: int) -> Usage:
    """Return a shard's usage from a minute (since 1970) on; empty when it has no file. Raise TemporaryError."""
    path = shard_paths(data_dir, shard).database
    if not path.exists():
        return {}
    reader = ShardReader(path)
    try:
        return by_account(reader.usage_since(first_minute))
    finally:
        reader.close()
