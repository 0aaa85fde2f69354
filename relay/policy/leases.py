"""The ledger of the permits process: who may accept how many recipients now. Pure; times are monotonic seconds.

A lease is granted when the account's rate has a whole token left (QUOTA-002) and its recipients fit into the rolling
24 hours (QUOTA-001). It counts from then on. Three things can happen to it:

    spent     the shard committed it in a minute: it becomes a count of that minute
    unused    the request failed after all: it stops counting (ERR-010)
    expired   nobody reported it: it counts as spent until its shard announces again

A shard announces what it committed and holds when it connects; that replaces every lease the ledger knew of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from relay.model.account import UNLIMITED
from relay.policy.quota import QuotaWindow
from relay.schedule.throttle import TokenBucket

LEASE_SECONDS = 300.0

Usage = Mapping[str, Mapping[int, int]]
"""Recipients committed by account and minute since 1970."""


class Grant(StrEnum):
    """The answer to a request for a lease."""

    GRANTED = "granted"
    RATE = "rate"
    QUOTA = "quota"


@dataclass(frozen=True, slots=True)
class OpenLease:
    """A lease that was granted and not reported yet: recipients that count in the day, tokens of the rate."""

    account: str
    recipients: int
    tokens: int
    expires: float


@dataclass(slots=True)
class _State:
    """What is known of an account; `rate` is the one of its last request."""

    window: QuotaWindow
    bucket: TokenBucket
    rate: float = UNLIMITED


class Ledger:
    """Windows, buckets and open leases of all accounts."""

    __slots__ = ("_accounts", "_announced", "_leases", "_started")

    def __init__(self, now: float) -> None:
        self._started = now  # tokens gather from here on, also for accounts that first appear later
        self._accounts: dict[str, _State] = {}
        self._leases: dict[tuple[int, int], OpenLease] = {}
        self._announced: set[int] = set()

    @property
    def announced(self) -> frozenset[int]:
        """The shards whose usage is known."""
        return frozenset(self._announced)

    def announce(
        self, shard: int, usage: Usage, held: Mapping[int, tuple[str, int]], now: float, now_ms: int
    ) -> None:
        """Take over what a shard committed (by account and minute) and its open leases: id to account, recipients."""
        sums = dict.fromkeys((lease.account for key, lease in self._leases.items() if key[0] == shard), 0)
        for key in [key for key in self._leases if key[0] == shard]:
            del self._leases[key]
        for lease_id, (account, recipients) in held.items():
            sums[account] = sums.get(account, 0) + recipients
            self._leases[shard, lease_id] = OpenLease(account, recipients, recipients, now + LEASE_SECONDS)
        for account in sums.keys() | usage.keys() | self._accounts.keys():
            self._state(account).window.announce(shard, usage.get(account, {}), sums.get(account, 0), now, now_ms)
        self._announced.add(shard)

    def take(
        self,
        shard: int,
        lease_id: int,
        account: str,
        recipients: int,
        *,
        counted: int,
        daily_quota: int,
        rate: float,
        now: float,
    ) -> Grant:
        """Grant a lease, or say which limit is in its way; -1 is no limit.

        The rate is asked for all `recipients`, the day's quota for the `counted` ones among them (QUOTA-003).
        """
        state = self._state(account)
        state.rate = rate
        if rate != UNLIMITED and not state.bucket.admits(rate, now):
            return Grant.RATE
        if counted and daily_quota != UNLIMITED and not state.window.admits(counted, daily_quota, now):
            return Grant.QUOTA
        if rate != UNLIMITED:
            state.bucket.spend(recipients)
        state.window.hold(shard, counted)
        self._leases[shard, lease_id] = OpenLease(account, counted, recipients, now + LEASE_SECONDS)
        return Grant.GRANTED

    def spent(self, shard: int, lease_id: int, minute: int, now: float) -> None:
        """Turn a lease into a count of a minute; one that expired counts already."""
        lease = self._leases.pop((shard, lease_id), None)
        if lease is not None:
            self._state(lease.account).window.commit(shard, minute, lease.recipients, now)

    def unused(self, shard: int, lease_id: int) -> None:
        """Take a lease back."""
        lease = self._leases.pop((shard, lease_id), None)
        if lease is None:
            return
        state = self._state(lease.account)
        state.window.give_back(shard, lease.recipients)
        if state.rate != UNLIMITED:
            state.bucket.give_back(lease.tokens)

    def add(self, shard: int, account: str, minute: int, recipients: int, now: float) -> None:
        """Count recipients that an account committed while it had no limits."""
        self._state(account).window.note(shard, minute, recipients, now)

    def used(self, account: str, now: float) -> int:
        """Return the recipients that count for an account now."""
        state = self._accounts.get(account)
        return state.window.used(now) if state is not None else 0

    def sweep(self, now: float) -> None:
        """Expire leases, and forget accounts that have nothing left to remember; call it about once a minute."""
        for key in [key for key, lease in self._leases.items() if lease.expires <= now]:
            lease = self._leases.pop(key)
            self._state(lease.account).window.expire_lease(key[0], lease.recipients, now)
        for account in [name for name, state in self._accounts.items() if _forgettable(state, now)]:
            del self._accounts[account]

    def _state(self, account: str) -> _State:
        state = self._accounts.get(account)
        if state is None:
            state = self._accounts[account] = _State(QuotaWindow(), TokenBucket(self._started))
        return state


def _forgettable(state: _State, now: float) -> bool:
    if state.window.used(now) or not state.window.empty:
        return False
    return state.rate == UNLIMITED or state.bucket.full(state.rate, now)
