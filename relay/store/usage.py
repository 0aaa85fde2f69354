"""Recipients accepted by account and minute, read from shards whose owner is not running."""

from pathlib import Path

from relay.store.adoption import shard_paths
from relay.store.reader import ShardReader

Usage = dict[str, dict[int, int]]


def by_account(rows: list[tuple[str, int, int]]) -> Usage:
    """Return (account, minute, recipients) rows as a mapping of mappings."""
    usage: Usage = {}
    for account, minute, recipients in rows:
        usage.setdefault(account, {})[minute] = recipients
    return usage


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
