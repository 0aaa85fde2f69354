"""Which source addresses a message may leave from, in which order: the one home of that judgement (POOL-003 to 006).

A `PoolBook` is made of one snapshot of the catalog and answers from dictionaries. Everything is pure; what changes by
the minute (a provider's blocks, the volume of a warm-up) is asked by the caller, candidate by candidate.

The pool of a message, decided once when it is accepted: that of its configuration set, else the first rule that
fits, else that of its identity, else that of its account, else none. A pool that was deleted is as none (POOL-017).
None, and the default pool, are the account's addresses that are in no pool; without any, the shared ones (POOL-005,
POOL-006).

The order within a pool (WARM-004): addresses that warm up while their schedule has room, then the warm ones, then
the overflow pool that it names. A pool that names none lets what its warm-up has no room for leave from other warm
addresses of the account, or from shared ones when the account has no warm address. After that, mail waits.
"""

import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from relay.model.lane import Source
from relay.model.pool import (
    BUILT_IN,
    DEFAULT_POOL,
    NO_OVERFLOW,
    PIN_PREFIX,
    RELAY,
    SHARED_POOL,
    AccountSending,
    Pool,
    PoolRule,
    PoolSnapshot,
    Reverse,
    ScalingMode,
    SourceAddress,
)

NAMED_MAX = 3  # addresses that a sentence names
PLANS_MAX = 10_000
TURNS_MAX = 20_000
_GOLDEN = 0.6180339887498949
_FAMILIES = (frozenset({4, 6}), frozenset({4}), frozenset({6}))


def unusable(address: SourceAddress) -> str:
    """Return why nothing may leave from an address now, "" when it may: half a sentence that follows it."""
    if address.suspended:
        return f"is suspended ({address.suspended})"
    if address.absent_ms:
        return "is not an address of this host"
    if awaits_reverse(address):
        return "has no reverse DNS that leads back to it"
    return ""


def awaits_reverse(address: SourceAddress) -> bool:
    """Say whether an address of a registered range lacks the reverse DNS that it needs (POOL-011)."""
    return address.registered and not (address.reverse.state is Reverse.CONFIRMED and address.reverse.helo)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address that a message may leave from; `warming`: only while its schedule has room."""

    source: Source
    warming: bool


class Ring:
    """Addresses that share their work by weight, those of each family for itself."""

    __slots__ = ("_by_families", "warming")

    def __init__(self, addresses: Sequence[SourceAddress], *, warming: bool) -> None:
        self.warming = warming
        self._by_families = {families: _arc(addresses, families, warming=warming) for families in _FAMILIES}

    def order(self, families: frozenset[int], turn: float) -> Iterator[Candidate]:
        """Yield the addresses of some families, each once; `turn`, in [0, 1), says by their weights who is first."""
        candidates, ends = self._by_families.get(families, _NOBODY)
        if not candidates:
            return
        first = bisect_right(ends, turn * ends[-1]) if len(candidates) > 1 else 0
        yield candidates[first]
        if len(candidates) == 1:
            return
        left = [(one, weight) for at, (one, weight) in enumerate(_weighted(candidates, ends)) if at != first]
        while left:
            turn = (turn + _GOLDEN) % 1.0
            ends = list(accumulate(weight for _, weight in left))
            yield left.pop(bisect_right(ends, turn * ends[-1]))[0]

    def all(self) -> Iterable[Candidate]:
        """Return all of them."""
        return self._by_families[_FAMILIES[0]][0]


_Arc = tuple[tuple[Candidate, ...], list[int]]
_NOBODY: _Arc = ((), [])


def _arc(addresses: Sequence[SourceAddress], families: frozenset[int], *, warming: bool) -> _Arc:
    fitting = [one for one in addresses if one.weight > 0 and (6 if ":" in one.address else 4) in families]
    candidates = tuple(Candidate(source_of(one), warming) for one in fitting)
    return candidates, list(accumulate(one.weight for one in fitting))


def _weighted(candidates: Sequence[Candidate], ends: Sequence[int]) -> Iterator[tuple[Candidate, int]]:
    before = 0
    for one, end in zip(candidates, ends, strict=True):
        yield one, end - before
        before = end


def source_of(address: SourceAddress) -> Source:
    """Return an address as an attempt uses it."""
    return Source(address.address, address.helo_name, address.pool_name)


@dataclass(frozen=True, slots=True)
class Plan:
    """Where mail of one account and pool may leave from: `rings` in order.

    The last ring is the way out of a managed warm-up when `overflows`: for its early phase only (POOL-015). Without
    rings, `system` says that the host may choose, and `why` else why mail waits; `awaits_reverse`: for DNS.
    """

    rings: tuple[Ring, ...] = ()
    overflows: bool = False
    system: bool = False
    why: str = ""
    awaits_reverse: bool = False

    @property
    def certain(self) -> str:
        """The one address that all mail leaves from, "" where it may be another or is not known."""
        found = self.addresses
        return found[0] if len(found) == 1 else ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses that mail may leave from, best first."""
        return tuple(dict.fromkeys(one.source.address for ring in self.rings for one in ring.all()))

    def candidates(self, families: frozenset[int], turn: float, late: Callable[[], bool]) -> Iterator[Candidate]:
        """Yield what a message may leave from, best first; `late` is asked when all before had no room."""
        last = len(self.rings) - 1
        for at, ring in enumerate(self.rings):
            if not (self.overflows and at == last and late()):
                yield from ring.order(families, turn)


class PoolBook:
    """One snapshot, ready to be asked."""

    def __init__(self, snapshot: PoolSnapshot) -> None:
        self._addresses = {one.address: one for one in snapshot.addresses}
        self._pools = {(one.account, one.name): one for one in snapshot.pools}
        self._accounts = {one.account: one for one in snapshot.accounts}
        self._rules = snapshot.rules
        self._members: dict[tuple[str, str], list[SourceAddress]] = {}
        for one in snapshot.addresses:
            if not one.reserve:
                self._members.setdefault((one.account, one.pool), []).append(one)
        self._owners = {one.account for one in snapshot.addresses if one.account}
        self.absent = frozenset(one.address for one in snapshot.addresses if one.absent_ms)
        self._reserves = any(one.reserve for one in snapshot.addresses)
        self._plans: dict[tuple[str, str], Plan] = {}
        self._certain: dict[tuple[str, str], str] = {}
        self._own_rules: dict[str, list[PoolRule]] = {}
        self.plain = not (snapshot.addresses or snapshot.pools or snapshot.accounts)

    # --- at acceptance -------------------------------------------------------------------------------------------

    def resolve(
        self, account: str, set_pool: str, identity_pool: str, sender_domain: str, recipients: Sequence[str]
    ) -> str:
        """Return the pool that a message leaves from, "" where nothing names one (see the text above)."""
        if self.known(account, set_pool):
            return set_pool
        if self._rules:
            domains = {one.rpartition("@")[2].lower() for one in recipients}
            for rule in self._rules_of(account):
                if _fits(rule, sender_domain, domains):
                    return rule.pool
        if self.known(account, identity_pool):
            return identity_pool
        own = self._accounts.get(account)
        return own.pool if own is not None and self.known(account, own.pool) else ""

    def _rules_of(self, account: str) -> Sequence[PoolRule]:
        """Return the rules that an account's mail is asked about, in order: those whose pools it can name."""
        found = self._own_rules.get(account)
        if found is None:
            if len(self._own_rules) >= PLANS_MAX:
                self._own_rules.clear()
            mine = [one for one in self._rules if one.account in {account, RELAY}]
            found = self._own_rules[account] = [one for one in mine if self.known(account, one.pool)]
        return found

    def known(self, account: str, name: str) -> bool:
        """Say whether an account can name such a pool: one of its own, one for all accounts, or a built-in one."""
        return bool(name) and (name in BUILT_IN or self.pool(account, name) is not None)

    def pool(self, account: str, name: str) -> Pool | None:
        """Return the pool that a name means for an account: its own goes before one for all accounts."""
        return self._pools.get((account, name)) or self._pools.get((RELAY, name))

    def certain(self, account: str, name: str) -> str:
        """Return the one address that all mail of an account and pool leaves from, "" where it may be another."""
        found = self._certain.get((account, name))
        if found is None:
            if len(self._certain) >= PLANS_MAX:
                self._certain.clear()
            found = self._certain[account, name] = self.plan(account, name).certain
        return found

    # --- at delivery ---------------------------------------------------------------------------------------------

    def address(self, address: str) -> SourceAddress | None:
        """Return an address of the catalog."""
        return self._addresses.get(address)

    def may_carry(self, address: SourceAddress, account: str) -> bool:
        """Say whether an address may carry an account's mail: its own, or one that is shared (POOL-006)."""
        if address.account:
            return address.account == account
        return not (address.reserve or (address.pool_name == SHARED_POOL and self._barred(account)))

    def plan(self, account: str, name: str) -> Plan:
        """Return where mail of an account and a pool may leave from; made once for each of them."""
        key = (account, name)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            plan = self._plans[key] = self._make(account, name)
        return plan

    def _make(self, account: str, name: str) -> Plan:
        if name.startswith(PIN_PREFIX):
            return self._pinned(account, name[len(PIN_PREFIX) :])
        pool = None if name in BUILT_IN else self.pool(account, name)
        if pool is None and name != SHARED_POOL and self._members.get((account, "")):
            return self._standard(Pool(account, DEFAULT_POOL), self._members[account, ""], account)
        if pool is None:
            return self._shared(account)
        return self._standard(pool, self._members.get((pool.account, pool.name), []), account)

    def _pinned(self, account: str, text: str) -> Plan:
        address = self._addresses.get(text)
        if address is None or (address.account or account) != account:
            return Plan(why=f"{text} is no address that mail of account {account} may leave from")
        if address.absent_ms:
            return Plan(why=f"{text} is not an address of this host")
        return Plan((Ring((_heavy(address),), warming=address.warming),))

    def _standard(self, pool: Pool, members: Sequence[SourceAddress], account: str) -> Plan:
        usable = [one for one in members if not unusable(one)]
        rings = _rings(usable)
        warming = [one for one in usable if one.warming]
        overflow: tuple[Ring, ...] = ()
        by_warm_up = False
        if pool.overflow and pool.overflow != NO_OVERFLOW:
            overflow = self._rings_of(pool.overflow, account)
        elif not pool.overflow and warming and len(warming) == len(usable):
            overflow = self._way_out(pool, account)
            by_warm_up = pool.mode is ScalingMode.MANAGED
        rings += overflow
        if rings:
            return Plan(rings, overflows=by_warm_up and bool(overflow))
        return _waiting(pool.name, members)

    def _way_out(self, pool: Pool, account: str) -> tuple[Ring, ...]:
        """Return where mail goes that a warm-up has no room for (WARM-004, POOL-015)."""
        if pool.mode is ScalingMode.STANDARD and pool.account:
            mine = [one for one in self._addresses.values() if one.account == account and not one.managed]
            warm = [one for one in mine if not one.warming and not unusable(one)]
            if warm:
                return (Ring(warm, warming=False),)
        if self._barred(account):
            return ()
        shared = self._members.get((RELAY, ""), [])
        warm = [one for one in shared if not one.warming and not unusable(one)]
        return (Ring(warm, warming=False),) if warm else ()

    def _rings_of(self, name: str, account: str) -> tuple[Ring, ...]:
        """Return the rings of a pool that another one names; what that one names itself is not followed."""
        if name == SHARED_POOL:
            members = [] if self._barred(account) else self._members.get((RELAY, ""), [])
        elif name == DEFAULT_POOL:
            members = self._members.get((account, ""), [])
        else:
            pool = self.pool(account, name)
            members = self._members.get((pool.account, pool.name), []) if pool else []
        return _rings([one for one in members if not unusable(one)])

    def _shared(self, account: str) -> Plan:
        if self._barred(account):
            return Plan(why=f"Account {account} has no address of its own and may not use the shared ones")
        members = self._members.get((RELAY, ""), [])
        rings = _rings([one for one in members if not unusable(one)])
        if rings:
            return Plan(rings)
        if members:
            return _waiting(SHARED_POOL, members)
        if self._owners <= {account} and not self._reserves:
            return Plan(system=True)
        return Plan(why="There is no shared address, and what the host chooses could be another account's")

    def _barred(self, account: str) -> bool:
        own = self._accounts.get(account)
        return own is not None and own.shared_barred

    def sending(self, account: str) -> AccountSending:
        """Return what is set about an account."""
        return self._accounts.get(account) or AccountSending(account)


class Turns:
    """Spreads choices: for each destination a sequence of numbers in [0, 1) that covers it evenly at any length.

    Multiples of the golden ratio do that. Each destination begins elsewhere, so that thousands with one message each
    are spread as well, and so does each process, by its `seed`.
    """

    __slots__ = ("_counts", "_seed")

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._counts: dict[str, int] = {}

    def next(self, destination: str) -> float:
        """Return the next number."""
        count = self._counts.get(destination)
        if count is None:
            if len(self._counts) >= TURNS_MAX:
                self._counts.clear()
            count = zlib.crc32(destination.encode(), self._seed)
        self._counts[destination] = count + 1
        return count * _GOLDEN % 1.0


def _rings(addresses: Sequence[SourceAddress]) -> tuple[Ring, ...]:
    """Return the warming addresses, then the warm ones, as far as there are any with a weight."""
    halves = [(one, warming) for warming in (True, False) if (one := [a for a in addresses if a.warming is warming])]
    return tuple(Ring(half, warming=warming) for half, warming in halves if any(one.weight for one in half))


def _heavy(address: SourceAddress) -> SourceAddress:
    """Return an address with a weight: who asks for one address means it."""
    return address if address.weight else replace(address, weight=1)


def _waiting(name: str, members: Sequence[SourceAddress]) -> Plan:
    """Return the plan of a pool without an address that can be used."""
    reasons = [(one, why) for one in members if (why := unusable(one))]
    if not reasons:
        empty = "has no address" if not members else "has no address with a weight"
        return Plan(why=f"Pool {name} {empty}")
    told = "; ".join(f"{one.address} {why}" for one, why in reasons[:NAMED_MAX])
    more = f"; and {len(reasons) - NAMED_MAX} more" if len(reasons) > NAMED_MAX else ""
    lookups = all(awaits_reverse(one) and not one.suspended and not one.absent_ms for one, _ in reasons)
    return Plan(why=f"No address of pool {name} can be used: {told}{more}", awaits_reverse=lookups)


def _fits(rule: PoolRule, sender_domain: str, domains: Iterable[str]) -> bool:
    """Say whether a rule is about a message: its sender, and the domains of all its recipients."""
    if rule.sender_domain and not _matches(rule.sender_domain, sender_domain):
        return False
    wanted = rule.recipient_domain
    if not wanted:
        return True
    for domain in domains:  # noqa: SIM110 - half the time of all()
        if not _matches(wanted, domain):
            return False
    return True


def _matches(pattern: str, domain: str) -> bool:
    return domain == pattern or (pattern[0] == "*" and domain.endswith(pattern[1:]))
