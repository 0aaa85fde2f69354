"""Pools of the catalog: their modes, tags and overflow, who uses them, and the rules that choose them (POOL-*).

A pool belongs to an account, or to the relay for all accounts. The built-in ones are no rows: they are the addresses
that are in no other pool.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from relay.errors import AlreadyExistsError, LimitExceededError, NotFoundError, RequestRefusedError, UsageError
from relay.mail.address import BadAddress, normal_domain
from relay.model.pool import (
    BUILT_IN,
    DEFAULT_POOL,
    NO_OVERFLOW,
    RELAY,
    AccountSending,
    AddressRange,
    Pool,
    PoolRule,
    PoolSnapshot,
    ScalingMode,
)
from relay.policy.tags import require_tags
from relay.store.catalog_address_values import addresses_of
from relay.store.catalog_addresses import CHANGED, SourceAddresses, allocate, place
from relay.store.catalog_tables import Row, Tables

STANDARD_MAX = 50  # standard pools of an account
MANAGED_MAX = 5  # managed pools of an account (POOL-012)
MANAGED_IDENTITIES_MAX = 10_000
MANAGED_ADDRESSES_MAX = 64  # that a managed pool takes when it is made
RULES_MAX = 100  # of an account
NAMED_MAX = 1000  # users of a pool that are listed
_WORDS: Final = ("auto", NO_OVERFLOW)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

SNAPSHOT_QUERIES = (
    "list_source_addresses",
    "list_ranges",
    "list_pools",
    "list_pool_rules",
    "list_account_sending",
)


class Pools:
    """Makes, changes and deletes pools. Unknown names raise NotFoundError."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    # --- pools ---------------------------------------------------------------------------------------------------

    def create(
        self,
        account: str,
        name: str,
        *,
        mode: ScalingMode = ScalingMode.STANDARD,
        overflow: str = "",
        tags: Mapping[str, str] | None = None,
        addresses: int = 1,
    ) -> Pool:
        """Make a pool (POOL-001); a managed one takes addresses of the reserve with it (POOL-013)."""
        if not _NAME.match(name) or name in _WORDS:
            raise UsageError(f"A pool has a name of 1 to 64 letters, digits, - and _, not {name[:80]!r}.")
        require_tags(tags or {})
        with self._tables.writing(CHANGED):
            if account:
                self._tables.require_account(account)
            self._require_room(account, mode)
            self._require_overflow(account, name, overflow)
            values = {"account": account, "name": name, "mode": str(mode), "overflow": overflow}
            if name in BUILT_IN or not self._tables.run(
                "create_pool", {**values, "created_ms": self._tables.now_ms()}
            ):
                raise AlreadyExistsError(f"{_whose(account)} has a pool {name} already; choose another name.")
            for key, value in (tags or {}).items():
                self._tables.run("put_pool_tag", {"account": account, "name": name, "key": key, "value": value})
            if mode is ScalingMode.MANAGED:
                self._allocate(account, name, addresses)
        return self.require(account, name)

    def require(self, account: str, name: str) -> Pool:
        """Return a pool that must exist."""
        row = self._tables.row("get_pool", {"account": account, "name": name})
        if row is None:
            raise _unknown(account, name)
        return pool_of(row)

    def names(self, account: str) -> tuple[str, ...]:
        """Return the pools that an account can name (CFG-006): its own, those for all, the built-in ones."""
        own = {pool.name for pool in self.list() if pool.account in (account, RELAY)}
        return (*sorted(own), *BUILT_IN)

    def list(self) -> list[Pool]:
        """Return all pools: the relay's, then those of accounts."""
        return [pool_of(row) for row in self._tables.rows("list_pools", {})]

    def convert(self, account: str, name: str, mode: ScalingMode) -> Pool:
        """Refuse to make one mode of the other (POOL-002)."""
        pool = self.require(account, name)
        if pool.mode is not mode:
            raise RequestRefusedError(
                "BadRequestException", f"Pool {name} is {pool.mode} and stays so; make another pool."
            )
        return pool

    def set_overflow(self, account: str, name: str, overflow: str) -> Pool:
        """Say where mail goes that a pool cannot carry now: a pool, NO_OVERFLOW, or "" for the rule of warm-up."""
        with self._tables.writing(CHANGED):
            self._require_overflow(account, name, overflow)
            if not self._tables.run("set_overflow", {"account": account, "name": name, "overflow": overflow}):
                raise _unknown(account, name)
        return self.require(account, name)

    def grow(self, account: str, name: str, addresses: int) -> Sequence[str]:
        """Give a managed pool further addresses of the reserve; return them."""
        self.convert(account, name, ScalingMode.MANAGED)
        with self._tables.writing(CHANGED):
            return self._allocate(account, name, addresses)

    def shrink(self, account: str, name: str) -> str:
        """Return the newest address of a managed pool to the reserve, and which that was; the last one stays."""
        self.convert(account, name, ScalingMode.MANAGED)
        addresses = SourceAddresses(self._tables)
        held = [one for one in addresses.list() if (one.account, one.pool) == (account, name)]
        if len(held) < 2:  # noqa: PLR2004 (a pool without an address sends nothing)
            raise UsageError(f"Pool {name} has no address to spare.")
        newest = max(held, key=lambda one: (one.created_ms, one.address))
        with self._tables.writing(CHANGED):
            place(self._tables, newest, RELAY, "", reserve=True)
        return newest.address

    def delete(self, account: str, name: str) -> Sequence[str]:
        """Remove a pool; return its addresses, which are in the default pool then, or in the reserve (POOL-017)."""
        pool = self.require(account, name)
        held = [
            one.address for one in SourceAddresses(self._tables).list() if (one.account, one.pool) == (account, name)
        ]
        managed = pool.mode is ScalingMode.MANAGED
        with self._tables.writing(CHANGED):
            self._tables.run("empty_pool", {"account": account, "pool": name, "reserve": int(managed)})
            self._tables.run("delete_pool", {"account": account, "name": name})
        return held

    def tags(self, account: str, name: str) -> dict[str, str]:
        """Return the tags of a pool."""
        self.require(account, name)
        return dict(self._tables.rows("list_pool_tags", {"account": account, "name": name}))

    def change_tags(
        self, account: str, name: str, add: Mapping[str, str], remove: Sequence[str] = ()
    ) -> dict[str, str]:
        """Add or replace tags and remove others, all or none; return those there are then."""
        of = {"account": account, "name": name}
        with self._tables.keeping_notes():
            kept = self.tags(account, name)
            for key in remove:
                if key not in kept:
                    raise NotFoundError(f"Pool {name} has no tag {key}.")
                self._tables.run("delete_pool_tag", {**of, "key": key})
            require_tags({**{key: value for key, value in kept.items() if key not in remove}, **add})
            for key, value in add.items():
                self._tables.run("put_pool_tag", {**of, "key": key, "value": value})
        return self.tags(account, name)

    # --- who uses them -------------------------------------------------------------------------------------------

    def assign_set(self, account: str, name: str, pool: str) -> None:
        """Choose the pool of a configuration set, which leaves its former one (POOL-003); "": none."""
        with self._tables.writing(account):
            require_pool(self._tables, account, pool)
            if not self._tables.run("set_sending_pool", {"account": account, "name": name, "pool": pool}):
                raise NotFoundError(f"Account {account} has no configuration set {name}.")

    def assign_identity(self, account: str, identity: str, pool: str) -> None:
        """Choose the pool of mail from an identity, given in its stored form; "": none."""
        with self._tables.writing(account):
            require_pool(self._tables, account, pool)
            if not self._tables.run("set_identity_pool", {"account": account, "name": identity, "pool": pool}):
                raise NotFoundError(f"Account {account} has no identity {identity}.")

    def assign_account(
        self,
        account: str,
        *,
        pool: str | None = None,
        shared_barred: bool | None = None,
        auto_warmup: bool | None = None,
    ) -> AccountSending:
        """Choose the pool of an account's mail, whether it may use the shared addresses (POOL-010), and WARM-001."""
        with self._tables.writing(CHANGED):
            self._tables.require_account(account)
            before = self.sending(account)
            if pool:
                require_pool(self._tables, account, pool)
            values = {
                "account": account,
                "pool": before.pool if pool is None else pool,
                "shared_barred": int(before.shared_barred if shared_barred is None else shared_barred),
                "auto_warmup": int(before.auto_warmup if auto_warmup is None else auto_warmup),
            }
            self._tables.run("put_account_sending", values)
        return self.sending(account)

    def sending(self, account: str) -> AccountSending:
        """Return what is set about an account."""
        row = self._tables.row("get_account_sending", {"account": account})
        return sending_of(row) if row else AccountSending(account)

    def users(self, account: str, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the configuration sets and the identities of an account that name a pool."""
        values = {"account": account, "pool": name, "limit": NAMED_MAX}
        sets, identities = (self._tables.rows(query, values) for query in ("sets_of_pool", "identities_of_pool"))
        return tuple(row[0] for row in sets), tuple(row[0] for row in identities)

    # --- rules ---------------------------------------------------------------------------------------------------

    def add_rule(self, account: str, pool: str, *, sender_domain: str = "", recipient_domain: str = "") -> PoolRule:
        """Let mail of some domain, or to one, leave from a pool; of several rules the oldest that fits counts."""
        if not sender_domain and not recipient_domain:
            raise UsageError("A rule needs a domain of senders, of recipients, or both.")
        values = {
            "account": account,
            "sender_domain": _pattern(sender_domain),
            "recipient_domain": _pattern(recipient_domain),
            "pool": pool,
        }
        with self._tables.writing(CHANGED):
            if account:
                self._tables.require_account(account)
            require_pool(self._tables, account, pool)
            row = self._tables.row("count_pool_rules", {"account": account})
            if row is not None and row[0] >= RULES_MAX:
                raise LimitExceededError(f"{_whose(account)} has {RULES_MAX} rules, as many as it may.")
            made = self._tables.row("add_pool_rule", values)
        assert made is not None  # an insert returns its row
        return next(rule for rule in self.rules() if rule.rule_id == made[0])

    def rules(self) -> Sequence[PoolRule]:
        """Return all rules: those of accounts, then the relay's."""
        return [PoolRule(*row) for row in self._tables.rows("list_pool_rules", {})]

    def remove_rule(self, rule_id: int) -> None:
        """Remove a rule."""
        with self._tables.writing(CHANGED):
            if not self._tables.run("delete_pool_rule", {"id": rule_id}):
                raise NotFoundError(f"There is no rule {rule_id}.")

    def snapshot(self) -> PoolSnapshot:
        """Return everything at once, as workers read it."""
        return snapshot_of(*(self._tables.rows(query, {}) for query in SNAPSHOT_QUERIES))

    # --- checks --------------------------------------------------------------------------------------------------

    def _allocate(self, account: str, name: str, addresses: int) -> Sequence[str]:
        if not 1 <= addresses <= MANAGED_ADDRESSES_MAX:
            raise UsageError(f"A managed pool takes 1 to {MANAGED_ADDRESSES_MAX} addresses at a time.")
        return allocate(self._tables, account, name, addresses)

    def _require_room(self, account: str, mode: ScalingMode) -> None:
        row = self._tables.row("count_pools", {"account": account, "mode": str(mode)})
        most = MANAGED_MAX if mode is ScalingMode.MANAGED else STANDARD_MAX
        if row is not None and row[0] >= most:
            raise LimitExceededError(f"{_whose(account)} has {most} {mode} pools, as many as it may.")
        if mode is not ScalingMode.MANAGED:
            return
        if not account:
            raise UsageError("A managed pool belongs to an account.")
        identities = self._tables.row("count_identities", {"account": account})
        if identities is not None and identities[0] > MANAGED_IDENTITIES_MAX:
            raise LimitExceededError(
                f"Account {account} has more than {MANAGED_IDENTITIES_MAX:,} identities and may have no managed pool."
            )

    def _require_overflow(self, account: str, name: str, overflow: str) -> None:
        if overflow in {"", NO_OVERFLOW}:
            return
        if overflow == name:
            raise UsageError(f"Pool {name} cannot be its own overflow.")
        if overflow == DEFAULT_POOL and not account:
            raise UsageError(f"A pool for all accounts cannot overflow into {DEFAULT_POOL}, which is an account's.")
        require_pool(self._tables, account, overflow)


def require_pool(tables: Tables, account: str, name: str) -> None:
    """Raise NotFoundError for a pool that an account cannot name (CFG-006); "" names none."""
    if not name or name in BUILT_IN:
        return
    if not any(tables.row("get_pool", {"account": owner, "name": name}) for owner in (account, RELAY)):
        raise NotFoundError(f"{_whose(account)} has no pool {name}; make it with `relay pool create`.")


def pool_of(row: Row) -> Pool:
    """Return the pool of a row of `get_pool`."""
    account, name, mode, overflow, created_ms = row
    return Pool(account, name, ScalingMode(mode), overflow, created_ms)


def sending_of(row: Row) -> AccountSending:
    """Return what a row of `get_account_sending` says."""
    return AccountSending(row[0], row[1], bool(row[2]), bool(row[3]))


def snapshot_of(*rows: Sequence[Row]) -> PoolSnapshot:
    """Return the snapshot that the rows of SNAPSHOT_QUERIES are."""
    addresses, ranges, pools, rules, accounts = rows
    return PoolSnapshot(
        tuple(addresses_of(addresses, [AddressRange(*row) for row in ranges])),
        tuple(pool_of(row) for row in pools),
        tuple(PoolRule(*row) for row in rules),
        tuple(sending_of(row) for row in accounts),
    )


def _unknown(account: str, name: str) -> NotFoundError | UsageError:
    if name in BUILT_IN:
        return UsageError(f"Pool {name} is built in: it cannot be changed or deleted.")
    return NotFoundError(f"{_whose(account)} has no pool {name}.")


def _whose(account: str) -> str:
    return f"Account {account}" if account else "The relay"


def _pattern(text: str) -> str:
    """Return a domain, `*.domain`, or "". Raise UsageError for anything else."""
    if not text:
        return ""
    wild = text.startswith("*.")
    domain = normal_domain(text[2:] if wild else text)
    if isinstance(domain, BadAddress):
        raise UsageError(f"{text[:80]!r} is no domain, and no pattern such as *.example.com.")
    return f"*.{domain}" if wild else domain
