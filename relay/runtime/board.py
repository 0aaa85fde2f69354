"""Shared memory between the supervisor, the workers, permits and the office: who lives, and who is connected.

One anonymous mapping, made before the first fork. Each process has a row that it alone writes; the supervisor
zeroes it after the process died and before the next one starts. Readers add up a column without any lock: every
field is an aligned machine word, so that a reader sees an old or a new value and never half of one.

A row holds a few 8-byte fields and, for connection limits, two tables of 16-bit counters indexed by two keyed
hashes of the client address or of the account (a count-min sketch: the smaller of both sums is at least the truth,
and above it only where two others collide in both tables). One pair of tables counts open sessions; new connections
have a pair for each quarter of a minute, used in turn.
"""

import hashlib
import ipaddress
import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

_BUCKETS = 16384
_TABLES = 2
_WORD_BYTES = 8
_COUNT_BYTES = 2
_COUNT_MAX = 0xFFFF
_PAIR = _TABLES * _BUCKETS
_SPAN_SECONDS = 15.0
_SPANS = 5  # a minute, and the part of a span that is just leaving it
_IPV6_CLIENT_PREFIX = 64  # one customer has a /64, so limits per address count it as one
_HASH_CACHE_MAX = 8192
_ACCOUNT = "account "  # no address begins so
_NO_LIMIT = 1 << 32
_STRESS_SHARE = 0.8
_ZEROS = memoryview(bytes(_PAIR * _COUNT_BYTES)).cast("H")


class Phase(IntEnum):
    """Where a process is in its life."""

    ABSENT = 0
    STARTING = 1
    READY = 2
    DRAINING = 3


class _Field(IntEnum):
    PID = 0
    STARTS = 1
    PHASE = 2
    HEARTBEAT_MS = 3
    SESSIONS = 4
    DUE_SINCE_MS = 5
    PROGRESS_MS = 6
    SPAN = 7


_FIELDS = 8
_ROW_BYTES = _FIELDS * _WORD_BYTES + (1 + _SPANS) * _PAIR * _COUNT_BYTES


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What a row says. `heartbeat_ms` and `progress_ms` are on the monotonic clock, `due_since_ms` is wall-clock.

    `starts` counts how often the process was started. `due_since_ms` is when the oldest delivery that waits for
    its attempt became due, 0 when none does; `progress_ms` is when an attempt last started or ended.
    """

    name: str
    pid: int
    starts: int
    phase: Phase
    heartbeat_ms: int
    sessions: int
    due_since_ms: int
    progress_ms: int


class Row:
    """The row of one process, written by that process alone."""

    def __init__(self, name: str, memory: memoryview) -> None:
        self.name = name
        fields_end = _FIELDS * _WORD_BYTES
        self._fields = memory[:fields_end].cast("Q")
        arrivals = fields_end + _PAIR * _COUNT_BYTES
        self.counts = memory[fields_end:arrivals].cast("H")
        self.arrivals = memory[arrivals:].cast("H")
        self._tables = memory[fields_end:]

    @property
    def sessions(self) -> int:
        """Open sessions of this process."""
        return self._fields[_Field.SESSIONS]

    @sessions.setter
    def sessions(self, value: int) -> None:
        self._fields[_Field.SESSIONS] = value

    @property
    def span(self) -> int:
        """The latest span of time that `arrivals` has counts of."""
        return self._fields[_Field.SPAN]

    def arrived(self, buckets: tuple[int, int], span: int) -> None:
        """Count a new connection in a span; tables of spans that are over begin at zero again."""
        for number in range(max(self.span, span - _SPANS) + 1, span + 1):
            place = number % _SPANS * _PAIR
            self.arrivals[place : place + _PAIR] = _ZEROS
            self._fields[_Field.SPAN] = number
        for bucket in buckets:
            place = span % _SPANS * _PAIR + bucket
            if self.arrivals[place] < _COUNT_MAX:
                self.arrivals[place] += 1

    def beat(self) -> None:
        """Say that the event loop of this process turns."""
        self._fields[_Field.HEARTBEAT_MS] = monotonic_ms()

    def enter(self, phase: Phase) -> None:
        """Go on to the next phase of life."""
        self._fields[_Field.PHASE] = phase
        self.beat()

    def progress(self) -> None:
        """Say that an attempt started or ended just now."""
        self._fields[_Field.PROGRESS_MS] = monotonic_ms()

    def due_since(self, wall_ms: int) -> None:
        """Say since when the oldest due delivery waits for its attempt; 0: none waits."""
        self._fields[_Field.DUE_SINCE_MS] = max(0, wall_ms)

    def begin(self) -> None:
        """Zero the row for a new process. Called by the supervisor while no process owns the row."""
        starts = self._fields[_Field.STARTS]
        self.clear()
        self._fields[_Field.STARTS] = starts + 1
        self.enter(Phase.STARTING)

    def own(self, pid: int) -> None:
        """Say which process writes the row from now on."""
        self._fields[_Field.PID] = pid

    def clear(self) -> None:
        """Zero the row of a process that died, except how often it was started."""
        starts = self._fields[_Field.STARTS]
        for index in range(_FIELDS):
            self._fields[index] = 0
        self._fields[_Field.STARTS] = starts
        self._tables[:] = bytes(len(self._tables))

    def facts(self) -> RowFacts:
        """Return a copy of the fields."""
        fields = self._fields
        return RowFacts(
            name=self.name,
            pid=fields[_Field.PID],
            starts=fields[_Field.STARTS],
            phase=Phase(fields[_Field.PHASE]),
            heartbeat_ms=fields[_Field.HEARTBEAT_MS],
            sessions=fields[_Field.SESSIONS],
            due_since_ms=fields[_Field.DUE_SINCE_MS],
            progress_ms=fields[_Field.PROGRESS_MS],
        )


class Board:
    """All rows, by the name of their process (`worker-0001`, `permits`, `office`)."""

    def __init__(self, names: list[str]) -> None:
        self._memory = mmap.mmap(-1, _ROW_BYTES * len(names))
        view = memoryview(self._memory)
        self.rows = {
            name: Row(name, view[index * _ROW_BYTES : (index + 1) * _ROW_BYTES]) for index, name in enumerate(names)
        }
        self._secret = os.urandom(32)
        self._cache: dict[str, tuple[int, int]] = {}

    def buckets(self, address: str) -> tuple[int, int]:
        """Return where an address, or another name, is counted: one place in each of both tables."""
        known = self._cache.get(address)
        if known is not None:
            return known
        digest = hashlib.blake2b(_client_of(address), key=self._secret, digest_size=8).digest()
        first = int.from_bytes(digest[:4], "big") % _BUCKETS
        second = _BUCKETS + int.from_bytes(digest[4:], "big") % _BUCKETS
        if len(self._cache) >= _HASH_CACHE_MAX:
            self._cache.clear()
        self._cache[address] = (first, second)
        return first, second

    def sessions(self) -> int:
        """Return the open sessions of all processes."""
        return sum(row.sessions for row in self.rows.values())

    def sessions_of(self, buckets: tuple[int, int]) -> int:
        """Return the open sessions of one address or account, from its `buckets`, in all processes."""
        first, second = buckets
        tables = [row.counts for row in self.rows.values()]
        return min(sum(counts[first] for counts in tables), sum(counts[second] for counts in tables))

    def arrivals_of(self, buckets: tuple[int, int], seconds: float) -> float:
        """Return the new connections of one address in the minute before `seconds` (monotonic), in all processes.

        Those of the span that is half in that minute count by their share, as if they had come evenly.
        """
        span, share = _span_of(seconds)
        first, second = buckets
        one = other = 0.0
        for row in self.rows.values():
            arrivals, latest = row.arrivals, row.span
            for number in range(max(span, latest) - _SPANS + 1, min(span, latest) + 1):
                place = number % _SPANS * _PAIR
                weight = 1 - share if number == span - _SPANS + 1 else 1
                one += arrivals[place + first] * weight
                other += arrivals[place + second] * weight
        return min(one, other)

    def facts(self) -> list[RowFacts]:
        """Return what every row says."""
        return [row.facts() for row in self.rows.values()]


class ConnectionGate:
    """Connection limits that hold over all workers: in all, for each client address (a /64 for IPv6) and account.

    Two workers that let a client in at the same instant may both be right by what they saw: a limit may be passed
    by one session a worker, and is never stricter than configured. `per_account_max` and `per_minute_max` are 0 for
    no limit.
    """

    def __init__(
        self,
        board: Board,
        row: Row,
        *,
        connections_max: int,
        per_address_max: int,
        per_account_max: int = 0,
        per_minute_max: int = 0,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._row = row
        self._seconds = seconds
        self.connections_max = connections_max
        self.per_address_max = per_address_max
        self.per_account_max = per_account_max
        self.per_minute_max = per_minute_max

    def arrive(self, address: str) -> bool:
        """Count a new connection, unless its address made as many as it may in the last minute."""
        if not self.per_minute_max:
            return True
        buckets = self._board.buckets(address)
        now = self._seconds()
        if self._board.arrivals_of(buckets, now) >= self.per_minute_max:
            return False
        self._row.arrived(buckets, _span_of(now)[0])
        return True

    def enter(self, address: str) -> bool:
        """Count a session in, unless a limit is reached; each True is paired with one `leave`."""
        if self._board.sessions() >= self.connections_max:
            return False
        if not self._count(self._board.buckets(address), self.per_address_max):
            return False
        self._row.sessions += 1
        return True

    def leave(self, address: str) -> None:
        """Count a session out."""
        self._uncount(self._board.buckets(address))
        if self._row.sessions:
            self._row.sessions -= 1

    def enter_account(self, account: str) -> bool:
        """Count a session that logged in for an account, as `enter` does, and also while there is no limit."""
        return self._count(self._board.buckets(_ACCOUNT + account), self.per_account_max or _NO_LIMIT)

    def leave_account(self, account: str) -> None:
        """Count a session of an account out."""
        self._uncount(self._board.buckets(_ACCOUNT + account))

    def _count(self, buckets: tuple[int, int], limit: int) -> bool:
        if self._board.sessions_of(buckets) >= limit:
            return False
        first, second = buckets
        counts = self._row.counts
        if counts[first] == _COUNT_MAX or counts[second] == _COUNT_MAX:
            return False
        counts[first] += 1
        counts[second] += 1
        return True

    def _uncount(self, buckets: tuple[int, int]) -> None:
        for bucket in buckets:
            if self._row.counts[bucket]:
                self._row.counts[bucket] -= 1

    def stressed(self) -> bool:
        """Say whether more than 80 % of all sessions are in use, by all workers together (decision 2)."""
        return self._board.sessions() > self.connections_max * _STRESS_SHARE


def _span_of(seconds: float) -> tuple[int, float]:
    """Return the number of a span of time and the share of it that is over."""
    span, into = divmod(seconds, _SPAN_SECONDS)
    return int(span), into / _SPAN_SECONDS


def monotonic_ms() -> int:
    """Return the clock that rows use, the same for all processes of the machine."""
    return time.monotonic_ns() // 1_000_000


def _client_of(address: str) -> bytes:
    """Return what stands for a client: an IPv4 address, the /64 of an IPv6 address, other text as it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address.encode("utf-8", "surrogateescape")
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed.packed
    if parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.packed
    return parsed.packed[: _IPV6_CLIENT_PREFIX // 8]
