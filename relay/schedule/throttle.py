"""Rates: the token bucket of an account, and the failure limits of authentication. Times are monotonic seconds.

A bucket holds at most one second's worth of tokens, and at least one. A request passes while a whole token is left
and may put the bucket into debt (QUOTA-002): over any stretch of T seconds at most `rate * T`, one bucketful and the
last request's recipients pass. A new bucket is empty, so that a restart gives nothing away.

Authentication failures are limited by source address (an IPv6 address counts as its /64): ten a minute and fifty a
day, then refused; from the third failure on the answer is delayed. A user name is only ever delayed, so that nobody
can lock a sender out, and an address with a recent success is exempt from both.
"""

import ipaddress
from collections import deque
from dataclasses import dataclass, field

from relay.ports import AuthGate

MINUTE_SECONDS = 60.0
DAY_SECONDS = 86_400.0
TIMES_MAX = 1000
_EPSILON = 1e-9


class TokenBucket:
    """The sending rate of one account, in recipients a second."""

    __slots__ = ("_stamp", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens = 0.0
        self._stamp = now

    def admits(self, rate: float, now: float) -> bool:
        """Say whether a request may pass now; the rate may differ from call to call."""
        self._refill(rate, now)
        return rate > 0 and self._tokens >= 1 - _EPSILON

    def spend(self, recipients: int) -> None:
        """Take tokens for a request that passed; this may lead into debt."""
        self._tokens -= recipients

    def give_back(self, recipients: int) -> None:
        """Return the tokens of a request that came to nothing; the next refill cuts what is too much."""
        self._tokens += recipients

    def full(self, rate: float, now: float) -> bool:
        """Say whether a new bucket after a second would be the same, so that this one may be forgotten."""
        self._refill(rate, now)
        return self._tokens >= max(1.0, rate)

    def _refill(self, rate: float, now: float) -> None:
        elapsed = max(0.0, now - self._stamp)
        self._stamp = now
        self._tokens = min(max(1.0, rate), self._tokens + elapsed * rate)


@dataclass(frozen=True, slots=True)
class FailureLimits:
    """Limits of authentication failures; a number above 1,000 is no limit. The table sizes bound memory."""

    minute_max: int = 10
    day_max: int = 50
    delay_from: int = 3
    delay_seconds: float = 1.0
    user_window_seconds: float = 3600.0
    success_seconds: float = DAY_SECONDS
    entries_max: int = 8192
    successes_max: int = 16_384
    successes_per_user_max: int = 1024
    name_characters_max: int = 128


_DEFAULT_LIMITS = FailureLimits()
_OPEN = AuthGate(refused=False, delay_seconds=0.0)


class _Failures:
    """Failure times by key, bounded in a way that floods cannot abuse.

    New keys start on probation; from `serious` failures on they move to a table of their own. A flood of fresh keys
    only pushes other fresh keys out: to push out one that is refused it must itself fail `serious` times for every
    entry of the second table.
    """

    __slots__ = ("_entries_max", "_kept", "_probation", "_serious", "_times_max")

    def __init__(self, entries_max: int, serious: int, times_max: int) -> None:
        self._probation: dict[str, deque[float]] = {}
        self._kept: dict[str, deque[float]] = {}
        self._entries_max = entries_max
        self._serious = serious
        self._times_max = times_max

    def add(self, key: str, now: float) -> None:
        times = self._kept.pop(key, None) or self._probation.pop(key, None)
        if times is None:
            times = deque(maxlen=self._times_max)
        times.append(now)
        table = self._kept if len(times) >= self._serious else self._probation
        if len(table) >= self._entries_max:
            table.pop(next(iter(table)))  # the one whose last failure is the longest ago
        table[key] = times

    def times(self, key: str, now: float, window: float) -> deque[float] | None:
        """Return the failures of a key inside the window, oldest first; None: there are none."""
        table = self._kept if key in self._kept else self._probation
        times = table.get(key)
        if times is None:
            return None
        while times and times[0] <= now - window:
            times.popleft()
        if times:
            return times
        del table[key]
        return None

    def forget(self, key: str) -> None:
        self._kept.pop(key, None)
        self._probation.pop(key, None)

    def snapshot(self) -> list[tuple[str, list[float]]]:
        return [(key, list(times)) for table in (self._probation, self._kept) for key, times in table.items()]

    def __len__(self) -> int:
        return len(self._kept) + len(self._probation)


@dataclass(slots=True)
class _Successes:
    """When an address last succeeded, and how many addresses each user brought in."""

    stamps: dict[str, tuple[float, str]] = field(default_factory=dict)
    per_user: dict[str, int] = field(default_factory=dict)

    def drop(self, address: str) -> None:
        stamp = self.stamps.pop(address, None)
        if stamp is None:
            return
        left = self.per_user[stamp[1]] - 1
        if left:
            self.per_user[stamp[1]] = left
        else:
            del self.per_user[stamp[1]]


class AuthFailures:
    """What is known about failures and successes; every process that decides has one, fed with the same reports."""

    __slots__ = ("_by_address", "_by_user", "_limits", "_networks", "_successes")

    def __init__(self, limits: FailureLimits = _DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._by_address = _Failures(limits.entries_max, limits.delay_from, min(limits.day_max, TIMES_MAX))
        self._by_user = _Failures(limits.entries_max, limits.delay_from, min(limits.delay_from, TIMES_MAX))
        self._successes = _Successes()
        self._networks: dict[str, str] = {}

    def gate(self, address: str, username: str, now: float) -> AuthGate:
        """Say whether an address may try to authenticate as a user now."""
        limits = self._limits
        source = self._source(address)
        if self._exempt(source, now):
            return _OPEN
        times = self._by_address.times(source, now, DAY_SECONDS)
        if times is not None:
            if len(times) >= limits.day_max or _since(times, now - MINUTE_SECONDS) >= limits.minute_max:
                return AuthGate(refused=True, delay_seconds=0.0)
            if len(times) >= limits.delay_from - 1:
                return AuthGate(refused=False, delay_seconds=limits.delay_seconds)
        name = username[: limits.name_characters_max]
        by_user = self._by_user.times(name, now, limits.user_window_seconds)
        if by_user is not None and len(by_user) >= limits.delay_from - 1:
            return AuthGate(refused=False, delay_seconds=limits.delay_seconds)
        return _OPEN

    def recognises(self, address: str, now: float) -> bool:
        """Say whether an address authenticated lately, so that no limit on strangers is for it (decision 23)."""
        return self._exempt(self._source(address), now)

    def failed(self, address: str, username: str, now: float) -> None:
        """Note a failure."""
        self._by_address.add(self._source(address), now)
        if username:
            self._by_user.add(username[: self._limits.name_characters_max], now)

    def succeeded(self, address: str, username: str, now: float) -> bool:
        """Note a success; say whether it is news, which it is once in ten minutes for each address."""
        source = self._source(address)
        known = self._successes.stamps.get(source)
        if known is not None and now - known[0] < 10 * MINUTE_SECONDS:
            return False
        successes = self._successes
        successes.drop(source)
        name = username[: self._limits.name_characters_max]
        if successes.per_user.get(name, 0) >= self._limits.successes_per_user_max:
            return False  # one credential must not fill the table with addresses
        if len(successes.stamps) >= self._limits.successes_max:
            successes.drop(next(iter(successes.stamps)))
        successes.stamps[source] = (now, name)
        successes.per_user[name] = successes.per_user.get(name, 0) + 1
        self._by_address.forget(source)
        return True

    def snapshot(self, now: float) -> list[tuple[str, str, str, float]]:
        """Return everything as (kind, address, user, age in seconds), oldest first, for a process that just began.

        Kinds: "address" and "user" are failures, "success" a success.
        """
        rows = [("address", key, "", now - t) for key, times in self._by_address.snapshot() for t in times]
        rows += [("user", "", key, now - t) for key, times in self._by_user.snapshot() for t in times]
        rows += [("success", key, user, now - t) for key, (t, user) in self._successes.stamps.items()]
        return sorted(rows, key=lambda row: -row[3])

    def restore(self, kind: str, address: str, username: str, age_seconds: float, now: float) -> None:
        """Take over one row of another process's snapshot."""
        then = now - age_seconds
        if kind == "address":
            self._by_address.add(address, then)
        elif kind == "user":
            self._by_user.add(username, then)
        elif kind == "success":
            self.succeeded(address, username, then)

    def __len__(self) -> int:
        return len(self._by_address) + len(self._by_user) + len(self._successes.stamps)

    def _exempt(self, source: str, now: float) -> bool:
        known = self._successes.stamps.get(source)
        if known is None:
            return False
        if now - known[0] < self._limits.success_seconds:
            return True
        self._successes.drop(source)
        return False

    def _source(self, address: str) -> str:
        """Return what an address is counted as: an IPv4 address itself, an IPv6 address its /64."""
        if ":" not in address:
            return address[: self._limits.name_characters_max]
        known = self._networks.get(address)
        if known is None:
            if len(self._networks) >= self._limits.entries_max:
                self._networks.clear()
            known = self._networks[address[:64]] = source_of(address)
        return known


def source_of(address: str) -> str:
    """Return the IPv4 address, or the /64 of an IPv6 address, as text; what is neither stays as it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(parsed) >> 64 << 64)}/64"


def _since(times: deque[float], start: float) -> int:
    return sum(1 for time in times if time > start)
