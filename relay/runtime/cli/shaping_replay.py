"""Reads the attempts of the last day, twice, for `relay shaping try`: from spool and history, a page at a time."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from relay.errors import TemporaryError
from relay.schedule.replay import Replay
from relay.schedule.shaping_rules import RuleSet
from relay.store.history import attempts_in_history
from relay.store.reader import pages_of_attempts

if TYPE_CHECKING:
    from relay.runtime.cli.shards import Shard

DAY_MS = 24 * 3_600_000
_DAYS_BEFORE = 2  # a message accepted then may have been attempted on the day that is looked at


def replay(shards: "Sequence[Shard]", now: RuleSet, then: RuleSet, since_ms: int) -> tuple[Replay, Replay, int]:
    """Return what the rules in force and others make of the attempts since a time, and how many those are.

    A message that moves to history meanwhile may be counted twice. Raise TemporaryError when a file cannot be read.
    """
    before, after = Replay(now, since_ms), Replay(then, since_ms)
    count = 0
    for recipient, attempt in _attempts(shards, since_ms):
        count += 1
        before.take(recipient, attempt)
        after.take(recipient, attempt)
    for recipient, attempt in _attempts(shards, since_ms):
        before.take_again(recipient, attempt)
        after.take_again(recipient, attempt)
    return before, after, count


def _attempts(shards: "Sequence[Shard]", since_ms: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for shard in shards:
        for recipient, log in pages_of_attempts(shard.reader.attempts):
            yield from _recent(recipient, log, since_ms)
        for day in range(-_DAYS_BEFORE, 3):
            history = attempts_in_history(shard.paths.history, since_ms + day * DAY_MS)
            for recipient, log in _readable(history, shard.number):
                yield from _recent(recipient, log, since_ms)


def _readable(rows: Iterator[tuple[str, str]], shard: int) -> Iterator[tuple[str, str]]:
    try:
        yield from rows
    except sqlite3.Error as error:
        raise TemporaryError(f"The history of shard {shard} cannot be read: {error}.") from error


def _recent(recipient: str, log: str, since_ms: int) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        attempts: list[Any] = orjson.loads(log)
    except orjson.JSONDecodeError:  # a damaged row says nothing
        return
    for attempt in attempts:
        if isinstance(attempt, dict) and int(attempt.get("finishedMs") or 0) >= since_ms:
            yield recipient, attempt
