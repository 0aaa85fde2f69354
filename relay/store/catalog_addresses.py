"""Source addresses of the catalog: whose they are, where they are, how they stand; and ranges that accounts brought.

An address is in one pool at most, since its place is one row (POOL-003). What changes here is noted on behalf of
`CHANGED`, so that every worker reads its snapshot anew within a moment and keeps all else it has read.
"""

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from relay.errors import AlreadyExistsError, LimitExceededError, NotFoundError, UsageError
from relay.model.pool import (
    RELAY,
    AddressRange,
    Origin,
    ReverseDns,
    ScalingMode,
    SourceAddress,
    WarmUp,
)
from relay.store.catalog_address_values import (
    Declared,
    addresses_of,
    canonical,
    checked_helo,
    checked_percent,
    checked_weight,
    inside,
    network_of,
)
from relay.store.catalog_tables import Tables

CHANGED = "pools"  # in the change log, where accounts are named
ADDRESSES_MAX = 4096  # of the relay: every worker holds them all
RANGES_MAX = 5  # of an account (POOL-010)
TEXT_MAX_CHARACTERS = 1000
LISTED = "listed by "  # how the reason begins of a suspension by a block list


class SourceAddresses:
    """Makes, changes, places and forgets source addresses. Unknown ones raise NotFoundError."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    # --- reading -------------------------------------------------------------------------------------------------

    def list(self) -> list[SourceAddress]:
        """Return all addresses: the relay's, then those of accounts."""
        return addresses_of(self._tables.rows("list_source_addresses", {}), self.ranges())

    def get(self, address: str) -> SourceAddress | None:
        """Return an address, None when there is none."""
        rows = self._tables.rows("get_source_address", {"address": canonical(address)})
        return addresses_of(rows, self.ranges())[0] if rows else None

    def require(self, address: str) -> SourceAddress:
        """Return an address that must be known."""
        found = self.get(address)
        if found is None:
            raise NotFoundError(f"{address} is no source address of this relay; add it with `relay address add`.")
        return found

    # --- changes -------------------------------------------------------------------------------------------------

    def add(self, wanted: SourceAddress) -> SourceAddress:
        """Add an address, to an account and pool, to the shared pool, or to the reserve.

        One that would warm up by itself is warm from the start while its account has that switched off (WARM-005).
        """
        wanted_at = canonical(wanted.address)
        with self._tables.writing(CHANGED):
            self._require_place(wanted_at, wanted.account, wanted.pool, reserve=wanted.reserve)
            self._require_shared_rest(wanted)
            create(self._tables, wanted)
        return self.require(wanted_at)

    def change(
        self,
        address: str,
        *,
        helo_name: str | None = None,
        weight: int | None = None,
        warmup: WarmUp | None = None,
        warmup_percent: int | None = None,
    ) -> SourceAddress:
        """Change what is given. Warm-up that begins to be automatic begins today."""
        at = self.require(address).address
        with self._tables.writing(CHANGED):
            _set(self._tables, Declared(at, helo_name, weight, warmup, warmup_percent))
        return self.require(at)

    def warm_up(self, address: str, warmup: WarmUp, *, percent: int = 0, started_ms: int = 0) -> SourceAddress:
        """Set how an address is warmed up: as far as `percent`, or by its age since `started_ms` (WARM-006)."""
        at = self.require(address).address
        with self._tables.writing(CHANGED):
            values: dict[str, object] = {"address": at, "helo_name": None, "weight": None, "warmup": str(warmup)}
            values |= {"warmup_percent": checked_percent(percent), "warmup_started_ms": started_ms}
            self._tables.run("set_source_address", values)
        return self.require(at)

    def place(self, address: str, account: str, pool: str = "", *, reserve: bool = False) -> SourceAddress:
        """Move an address to an account and pool of it ("": its default pool, the shared pool), or to the reserve."""
        known = self.require(address)
        if known.managed:
            raise UsageError(
                f"{known.address} is in the managed pool {known.pool}, which places its addresses by itself."
            )
        with self._tables.writing(CHANGED):
            self._require_place(known.address, account, pool, reserve=reserve)
            place(self._tables, known, account, pool, reserve=reserve)
        return self.require(known.address)

    def give_back(self, account: str, address: str) -> SourceAddress:
        """Take an address from its account for good: it goes to the reserve (POOL-009)."""
        known = self.require(address)
        if not account or known.account != account:
            raise UsageError(f"{known.address} is not an address of account {account}.")
        if known.registered:
            raise UsageError(f"{known.address} is of the account's own range; remove it with `relay address remove`.")
        return self.place(address, RELAY, reserve=True)

    def suspend(self, address: str, reason: str) -> SourceAddress:
        """Let nothing leave from an address; "" lets everything leave from it again."""
        if len(reason) > TEXT_MAX_CHARACTERS or not reason.isprintable():
            raise UsageError(f"A reason is one line of at most {TEXT_MAX_CHARACTERS} characters.")
        known = self.require(address)
        with self._tables.writing(CHANGED):
            self._tables.run("suspend_source_address", {"address": known.address, "reason": reason})
        return self.require(address)

    def follow_listings(self, listed: Mapping[str, str]) -> Sequence[tuple[str, str]]:
        """Suspend addresses that a block list has (address: list); resume those it suspended once none has.

        Return those that changed, with why they are suspended now, "" for those that are back. What was suspended by
        hand stays as it is.
        """
        changes = []
        for one in self.list():
            wanted = f"{LISTED}{listed[one.address]}" if one.address in listed else ""
            mine = not one.suspended or one.suspended.startswith(LISTED)
            if mine and bool(one.suspended) is not bool(wanted):
                changes.append((one.address, wanted))
        if changes:
            with self._tables.writing(CHANGED):
                for address, reason in changes:
                    self._tables.run("suspend_source_address", {"address": address, "reason": reason})
        return changes

    def remove(self, address: str) -> None:
        """Forget an address."""
        known = self.require(address)
        if known.origin is Origin.CONFIG:
            raise UsageError(
                f"{known.address} is in delivery.source_addresses; take it out there and reload the relay, or "
                "suspend it with `relay address suspend`."
            )
        with self._tables.writing(CHANGED):
            self._tables.run("delete_source_address", {"address": known.address})

    # --- the configuration ---------------------------------------------------------------------------------------

    def declare(self, wanted: Sequence[Declared], absent: Iterable[str] = ()) -> bool:
        """Take on what the configuration says; say whether that changed anything. `absent`: those not of this host.

        The last word counts: what a command set stays until the entry in the configuration is changed. An entry that
        is gone takes its address with it, unless a command gave that a place of its own.
        """
        before = {row[0]: row for row in self._tables.rows("declared_source_addresses", {})}
        named = {one.address for one in wanted}
        gone = [row for address, row in before.items() if address not in named]
        fresh = [one for one in wanted if one.address not in before or before[one.address][1] != one.text]
        if not gone and not fresh:
            return False
        with self._tables.writing(CHANGED):
            for address, _, account, pool, reserve in gone:
                if account or pool or reserve:
                    self._tables.run("declare_source_address", _said(address, "", Origin.COMMAND))
                else:
                    self._tables.run("delete_source_address", {"address": address})
            missing = set(absent)
            for one in fresh:
                self._declare(one, absent=one.address in missing)
        return True

    def _declare(self, one: Declared, *, absent: bool) -> None:
        if self._tables.row("get_source_address", {"address": one.address}) is None:
            new = SourceAddress(one.address, absent_ms=self._tables.now_ms() if absent else 0)
            create(self._tables, new)
        self._tables.run("declare_source_address", _said(one.address, one.text, Origin.CONFIG))
        _set(self._tables, one)

    # --- how they stand ------------------------------------------------------------------------------------------

    def presence(self) -> dict[str, bool]:
        """Return for each address whether the host had it when it was last looked at."""
        return {row[0]: not row[1] for row in self._tables.rows("list_presence", {})}

    def set_presence(self, present: Mapping[str, bool]) -> Sequence[str]:
        """Note which addresses the host has; return those of which that changed."""
        now_ms = self._tables.now_ms()
        changed = []
        with self._tables.keeping_notes():
            for address, has in present.items():
                values = {"address": address, "absent_ms": 0 if has else now_ms}
                changed += [address] if self._tables.run("set_presence", values) else []
            if changed:
                self._tables.run("note_change", {"account": CHANGED})
        return changed

    def due_reverse(self, now_ms: int, limit: int) -> Sequence[tuple[str, str]]:
        """Return addresses to be looked at in DNS, with their names in EHLO ("": the relay's)."""
        return [(row[0], row[1]) for row in self._tables.rows("due_reverse", {"now_ms": now_ms, "limit": limit})]

    def put_reverse(self, address: str, found: ReverseDns) -> bool:
        """Keep what a look found; say whether it is something else than before."""
        known = self.get(address)
        if known is None:
            return False
        before = known.reverse
        changed = (before.state, before.names, before.helo) != (found.state, found.names, found.helo)
        values = {
            "address": known.address,
            "state": str(found.state),
            "names": json.dumps(found.names),
            "helo": int(found.helo),
            "error": found.error,
            "checked_ms": found.checked_ms,
            "next_ms": found.next_ms,
        }
        with self._tables.keeping_notes():
            self._tables.run("put_reverse", values)
            if changed:
                self._tables.run("note_change", {"account": CHANGED})
        return changed

    # --- ranges --------------------------------------------------------------------------------------------------

    def ranges(self) -> Sequence[AddressRange]:
        """Return all registered ranges."""
        return [AddressRange(*row) for row in self._tables.rows("list_ranges", {})]

    def add_range(self, wanted: AddressRange) -> AddressRange:
        """Register a range that an account brings (POOL-010)."""
        network = network_of(wanted.network)
        for what, text in (("registry", wanted.registry), ("use case", wanted.use_case)):
            if not 0 < len(text) <= TEXT_MAX_CHARACTERS or not text.isprintable():
                raise UsageError(f"A range has a {what}: one line of 1 to {TEXT_MAX_CHARACTERS} characters.")
        made = AddressRange(str(network), wanted.account, wanted.registry, wanted.use_case, self._tables.now_ms())
        with self._tables.writing(CHANGED):
            self._tables.require_account(wanted.account)
            known = self.ranges()
            for one in known:
                if one.network == made.network:
                    raise AlreadyExistsError(f"{made.network} is registered already, to account {one.account}.")
                if ipaddress.ip_network(one.network).overlaps(network):
                    raise UsageError(f"{made.network} overlaps {one.network} of account {one.account}.")
            if sum(one.account == wanted.account for one in known) >= RANGES_MAX:
                raise LimitExceededError(f"Account {wanted.account} has {RANGES_MAX} ranges, as many as it may.")
            foreign = [
                one.address for one in self.list() if inside(one.address, network) and one.account != made.account
            ]
            if foreign:
                raise UsageError(
                    f"{foreign[0]} lies in {made.network} and is not the account's; move it to account "
                    f"{made.account} first."
                )
            self._tables.run(
                "add_range",
                {
                    "network": made.network,
                    "account": made.account,
                    "registry": made.registry,
                    "use_case": made.use_case,
                    "created_ms": made.created_ms,
                },
            )
        return made

    def remove_range(self, network: str) -> None:
        """Forget a range; addresses in it become ordinary ones of their account."""
        with self._tables.writing(CHANGED):
            if not self._tables.run("delete_range", {"network": str(network_of(network))}):
                raise NotFoundError(f"There is no range {network}.")

    # --- checks --------------------------------------------------------------------------------------------------

    def _require_place(self, address: str, account: str, pool: str, *, reserve: bool) -> None:
        """Raise UsageError when an address cannot be put there."""
        if account:
            self._tables.require_account(account)
        owner = next((one.account for one in self.ranges() if inside(address, network_of(one.network))), account)
        if owner != account:
            raise UsageError(f"{address} is of a range of account {owner} and can be nobody else's.")
        if reserve and (account or pool):
            raise UsageError("The reserve belongs to the relay: it takes no account and no pool.")
        if not pool:
            return
        row = self._tables.row("get_pool", {"account": account, "name": pool})
        if row is None:
            whose = f"Account {account} has" if account else "Without --account it is one for all accounts; there is"
            raise NotFoundError(f"{whose} no pool {pool}.")
        if row[2] == ScalingMode.MANAGED:
            raise UsageError(f"Pool {pool} is managed: it takes its addresses from the reserve by itself (POOL-013).")

    def _require_shared_rest(self, wanted: SourceAddress) -> None:
        """Refuse the first address of an account while the shared pool is empty and there are other accounts.

        Their mail leaves from what the host chooses, which could be this address (POOL-006).
        """
        known = self.list()
        shared = any(not one.account and not one.reserve and not one.pool for one in known)
        if shared or not wanted.account or any(one.account for one in known):
            return
        if self._tables.row("has_foreign_accounts", {"account": wanted.account}) == (1,):
            raise UsageError(
                "There is no shared address: mail of other accounts leaves from what the host chooses, maybe "
                "from this one. Name a shared address in delivery.source_addresses or with `relay address add` first."
            )


# --- parts of transactions -----------------------------------------------------------------------------------------


def create(tables: Tables, wanted: SourceAddress) -> None:
    """Add an address inside a transaction."""
    row = tables.row("count_source_addresses", {})
    if row is not None and row[0] >= ADDRESSES_MAX:
        raise LimitExceededError(f"There are {ADDRESSES_MAX} source addresses, as many as there may be.")
    now_ms = tables.now_ms()
    if wanted.warmup is WarmUp.AUTO and not warms_up(tables, wanted.account):
        wanted = replace(wanted, warmup=WarmUp.OFF)
    values = {
        "address": canonical(wanted.address),
        "account": wanted.account,
        "pool": wanted.pool,
        "helo_name": checked_helo(wanted.helo_name),
        "weight": checked_weight(wanted.weight),
        "warmup": str(wanted.warmup),
        "warmup_percent": checked_percent(wanted.warmup_percent),
        "warmup_started_ms": now_ms if wanted.warmup is WarmUp.AUTO else 0,
        "origin": str(wanted.origin),
        "declared": "",
        "reserve": int(wanted.reserve),
        "absent_ms": wanted.absent_ms,
        "created_ms": now_ms,
    }
    if not tables.run("create_source_address", values):
        raise AlreadyExistsError(f"{values['address']} is a source address already; see `relay address show`.")


def place(tables: Tables, known: SourceAddress, account: str, pool: str, *, reserve: bool) -> None:
    """Move an address inside a transaction; the warm-up of one that leaves the reserve begins then."""
    values = {"address": known.address, "account": account, "pool": pool, "reserve": int(reserve)}
    tables.run("place_source_address", values)
    if known.reserve and not reserve and known.warmup is WarmUp.AUTO:
        row = tables.row("get_pool", {"account": account, "name": pool}) if pool else None
        managed = row is not None and row[2] == ScalingMode.MANAGED
        mode = WarmUp.AUTO if managed or warms_up(tables, account) else WarmUp.OFF
        _set(tables, Declared(known.address, warmup=mode))


def warms_up(tables: Tables, account: str) -> bool:
    """Say whether addresses that come to an account may warm up by themselves (WARM-001); the relay's may."""
    row = tables.row("get_account_sending", {"account": account}) if account else None
    return row is None or bool(row[3])


def allocate(tables: Tables, account: str, pool: str, count: int, chosen: Sequence[str] = ()) -> Sequence[str]:
    """Give an account addresses of the reserve inside a transaction: the chosen ones, or the oldest."""
    addresses = SourceAddresses(tables)
    named = [addresses.require(one) for one in chosen]
    for one in named:
        if one.account or not one.reserve:
            raise UsageError(f"{one.address} is not in the reserve; move it there with `relay address move`.")
    if not named:
        rows = tables.rows("take_reserve", {"count": count})
        named = [addresses.require(row[0]) for row in rows]
        if len(named) < count:
            raise UsageError(
                f"The reserve has {len(named)} addresses that can be used, not {count}. Add some with "
                "`relay address add IP --reserve`."
            )
    for one in named:
        place(tables, one, account, pool, reserve=False)
    return [one.address for one in named]


def _set(tables: Tables, one: Declared) -> None:
    started = tables.now_ms() if one.warmup is WarmUp.AUTO else 0 if one.warmup is not None else None
    values = {
        "address": one.address,
        "helo_name": None if one.helo_name is None else checked_helo(one.helo_name),
        "weight": None if one.weight is None else checked_weight(one.weight),
        "warmup": None if one.warmup is None else str(one.warmup),
        "warmup_percent": None if one.warmup_percent is None else checked_percent(one.warmup_percent),
        "warmup_started_ms": started,
    }
    tables.run("set_source_address", values)


def _said(address: str, text: str, origin: Origin) -> dict[str, object]:
    return {"address": address, "declared": text, "origin": str(origin)}
