"""DKIM keys of the catalog: made, sealed, listed, and moved through their life (`relay.model.dkim`).

What decides is in `relay.policy.dkim`; here it becomes one transaction. The functions that say so run inside the
transaction of their caller (the check of a domain, the making of an identity); all others are one of their own.
Private keys leave this module only to be signed with, never as an answer (DKIM-019). DNS is asked by others.
"""

import secrets
import string
from collections.abc import Collection, Iterator, Mapping, Sequence

from relay.errors import NotFoundError, UsageError
from relay.model.check import CheckState
from relay.model.dkim import MAY_BECOME, DkimKey, DkimSettings, DnsRecord, ExpectedKey, KeyOrigin, KeyState
from relay.policy import dkim as policy
from relay.signing import keys
from relay.signing.keys import KeyKind, PrivateKey
from relay.store.catalog_tables import Row, Tables

ZONE_PAGE_SIZE = 500


class DkimKeys:
    """The keys of domain identities. `domain` is always the canonical name of an identity that exists."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    # --- reading -------------------------------------------------------------------------------------------------

    def keys_of(self, account: str, domain: str) -> tuple[DkimKey, ...]:
        """Return the keys of a domain, RSA first, in the order they were made."""
        return tuple(map(_key, self._tables.rows("list_dkim_keys", {"account": account, "domain": domain})))

    def settings(self, account: str, name: str) -> DkimSettings:
        """Return how an identity signs. Raise NotFoundError when there is none of this name."""
        row = self._tables.row("get_dkim_settings", {"account": account, "name": name})
        if row is None:
            raise NotFoundError(f"Account {account} has no identity {name}.")
        signing, origin, *rest = row
        return DkimSettings(None if signing is None else bool(signing), KeyOrigin(origin), *rest)

    def expected_dkim_records(self, account: str, domain: str) -> tuple[ExpectedKey, ...]:
        """Return what TXT queries must yield for the keys of a domain; the required ones decide together."""
        return policy.expected(domain, self.keys_of(account, domain))

    def records(self, domain: str, listed: Sequence[DkimKey]) -> tuple[DnsRecord, ...]:
        """Return what the owner of a domain has to publish now, what mail under way needs included (DKIM-005)."""
        now_ms, zone = self._tables.now_ms(), self._tables.dkim_zone
        wanted = (key for key in listed if key.state is not KeyState.RETIRED or now_ms < key.published_until_ms)
        return tuple(key.record(domain, zone) for key in wanted)

    def zone_records(self) -> Iterator[DnsRecord]:
        """Yield the TXT records of the relay's own zone, of all accounts, read page by page (DKIM-001)."""
        after: dict[str, object] = {"account": "", "domain": "", "selector": ""}
        while rows := self._tables.rows("list_zone_keys", {**after, "limit": ZONE_PAGE_SIZE}):
            for _, _, selector, public_txt in rows:
                yield DnsRecord(f"{selector}.{self._tables.dkim_zone}", "TXT", public_txt)
            after = dict(zip(after, rows[-1], strict=False))

    def work(
        self, after: tuple[str, str], *, retired_before_ms: int, rotated_before_ms: int, limit: int
    ) -> list[tuple[str, str, int]]:
        """Return up to `limit` domains that have something to be done, above `after`: account, name, rotated_ms."""
        account, name = after
        values = {
            "account": account,
            "name": name,
            "retired_before_ms": retired_before_ms,
            "rotated_before_ms": rotated_before_ms,
            "limit": limit,
        }
        return [(row[0], row[1], row[2]) for row in self._tables.rows("dkim_work", values)]

    # --- inside a transaction of the caller ----------------------------------------------------------------------

    def new_pairs(self, kinds: Sequence[KeyKind]) -> list[PrivateKey]:
        """Return new private keys; make them before the transaction begins, for that takes time."""
        return [keys.load(self._tables.new_key(kind)) for kind in kinds]

    def add(self, account: str, domain: str, key: PrivateKey, selector: str, origin: KeyOrigin) -> None:
        """Add a pending key, inside a transaction."""
        values = {
            "account": account,
            "domain": domain,
            "selector": selector,
            "algorithm": keys.algorithm_of(key),
            "created_ms": self._tables.now_ms(),
            "origin": str(origin),
            **self._sealed(account, domain, selector, key),
        }
        if not self._tables.run("create_dkim_key", values):
            raise UsageError(f"{domain} has a key with the selector {selector} already.")

    def remove(self, account: str, domain: str, selector: str) -> None:
        """Remove a key, inside a transaction."""
        self._tables.run("delete_dkim_key", {"account": account, "domain": domain, "selector": selector})

    def activate_pending(self, account: str, domain: str, found: Collection[str] | None = None) -> bool:
        """Let keys sign whose records were found, inside a transaction; say whether anything changed.

        `found` has their selectors, None stands for all. Doing it again changes nothing. The RSA keys that wait take
        over only together (DKIM-001), and the replaced ones stay published (DKIM-005, 010).
        """
        moves = policy.activation(self.keys_of(account, domain), found)
        if any(state is KeyState.RETIRED for state in moves.values()) or self._first_active(account, domain, moves):
            self._note_rotation(account, domain)
        return self.move(account, domain, moves)

    def follow_check(self, account: str, domain: str, state: CheckState) -> bool:
        """Do what the DKIM check of a domain came to, inside its transaction; say whether a key moved.

        Found: the keys it looked for take over (DKIM-001, 010). Failed: nothing signs any more (DKIM-011). Call it
        after every look, for doing it again changes nothing; when it says True workers must be told.
        """
        if state is CheckState.FAILED:
            return self.lose(account, domain)
        if state is not CheckState.SUCCESS:
            return False
        looked_for = [key.selector for key in self.expected_dkim_records(account, domain) if key.required]
        return self.activate_pending(account, domain, looked_for)

    def lose(self, account: str, domain: str) -> bool:
        """Let nothing sign for a domain any more, its records are gone, inside a transaction (DKIM-011)."""
        return self.move(account, domain, policy.loss(self.keys_of(account, domain)))

    def move(self, account: str, domain: str, moves: Mapping[str, KeyState]) -> bool:
        """Change states by selector, inside a transaction; say whether anything changed."""
        before = {key.selector: key.state for key in self.keys_of(account, domain)}
        for selector, state in moves.items():
            assert state in MAY_BECOME[before[selector]], f"{before[selector]} cannot become {state}"
            values = {
                "account": account,
                "domain": domain,
                "selector": selector,
                "before": str(before[selector]),
                "state": str(state),
                "now_ms": self._tables.now_ms(),
            }
            self._tables.run("move_dkim_key", values)
        return bool(moves)

    # --- of their own --------------------------------------------------------------------------------------------

    def rotate(self, account: str, domain: str, selector: str) -> bool:
        """Let a standby key sign in place of the active one; False when it does not stand by any more (DKIM-005).

        The caller has just seen its record in DNS.
        """
        with self._tables.writing(account):
            listed = self.keys_of(account, domain)
            if selector not in {key.selector for key in policy.successors(listed)}:
                return False
            moves = {key.selector: KeyState.RETIRED for key in listed if key.rsa and key.state is KeyState.ACTIVE}
            self._note_rotation(account, domain)
            return self.move(account, domain, {**moves, selector: KeyState.ACTIVE})

    def found(self, account: str, domain: str, selectors: Collection[str]) -> bool:
        """Do what finding records means for keys beside those of a check: Ed25519 keys, and retired ones.

        A retired Easy DKIM key whose week is over stands by again when the set of its domain has room for it.
        """
        with self._tables.writing(account):
            listed = self.keys_of(account, domain)
            states = policy.activation([key for key in listed if not _waits(key)], selectors)
            moves = {**states, **dict.fromkeys(self._returning(account, domain, listed, selectors), KeyState.STANDBY)}
            return self.move(account, domain, moves)

    def withdraw(self, account: str, domain: str) -> bool:
        """Retire the keys in use of a domain that is switching to others: their records are gone (DKIM-010)."""
        with self._tables.writing(account):
            listed = self.keys_of(account, domain)
            moves = {key.selector: KeyState.RETIRED for key in listed if key.rsa and policy.in_use(key)}
            return self.move(account, domain, moves) if policy.pending_set(listed) else False

    def forget(self, account: str, domain: str, selector: str) -> None:
        """Delete a retired key that nobody needs any more."""
        with self._tables.writing(account):
            self.remove(account, domain, selector)

    def renew(self, account: str, domain: str, selector: str) -> None:
        """Put a new pair behind the name of a retired key, to be published in the relay's own zone (DKIM-005)."""
        (key,) = self.new_pairs([KeyKind.RSA])
        values = {
            "account": account,
            "domain": domain,
            "selector": selector,
            "created_ms": self._tables.now_ms(),
            **self._sealed(account, domain, selector, key),
        }
        with self._tables.writing(account):
            self._tables.run("renew_dkim_key", values)

    def fates(self, account: str, domain: str) -> dict[str, policy.Retired]:
        """Return what becomes of each retired key of a domain, by selector."""
        listed, origin = self.keys_of(account, domain), self.settings(account, domain).origin
        now_ms = self._tables.now_ms()
        return {
            key.selector: policy.after_retirement(key, listed, origin, now_ms)
            for key in listed
            if key.state is KeyState.RETIRED
        }

    # --- parts ---------------------------------------------------------------------------------------------------

    def _returning(
        self, account: str, domain: str, listed: Sequence[DkimKey], selectors: Collection[str]
    ) -> list[str]:
        used = sum(1 for key in listed if key.rsa and key.state is not KeyState.RETIRED)
        fates = self.fates(account, domain)
        back = [one for one, fate in fates.items() if fate is policy.Retired.STAND_BY and one in selectors]
        return back[: max(0, policy.EASY_KEYS - used)]

    def _sealed(self, account: str, domain: str, selector: str, key: PrivateKey) -> dict[str, object]:
        sealed = self._tables.sealer.seal(keys.to_pem(key), owner_of(account, domain, selector))
        return {"sealed": sealed, "public_txt": keys.public_record(key)}

    def _first_active(self, account: str, domain: str, moves: Mapping[str, KeyState]) -> bool:
        return any(key.rsa and moves.get(key.selector) is KeyState.ACTIVE for key in self.keys_of(account, domain))

    def _note_rotation(self, account: str, domain: str) -> None:
        values = {"account": account, "name": domain, "now_ms": self._tables.now_ms()}
        self._tables.run("note_dkim_rotation", values)


def _waits(key: DkimKey) -> bool:
    return key.rsa and key.state is KeyState.PENDING


def _key(row: Row) -> DkimKey:
    selector, algorithm, public_txt, state, created_ms, origin, retired_ms = row
    return DkimKey(selector, algorithm, public_txt, KeyState(state), created_ms, KeyOrigin(origin), retired_ms)


def owner_of(account: str, domain: str, selector: str) -> str:
    """Return what a sealed private key belongs to."""
    return f"dkim {account} {domain} {selector}"


def new_selector() -> str:
    """Return a selector that was never used, so that no resolver remembers an older key under its name."""
    return "r" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(11))
