"""How an identity signs: Easy DKIM or keys of the owner's, on or off, key length, the second signature.

What the hosted service calls PutEmailIdentityDkimSigningAttributes and PutEmailIdentityDkimAttributes. Every function
is one transaction; names may be given in any form; refusals are UsageErrors and change nothing.
"""

from dataclasses import dataclass

from relay.errors import UsageError
from relay.model.account import IdentityKind
from relay.model.check import Aspect, CheckState
from relay.model.dkim import DkimKey, KeyOrigin, KeyState
from relay.policy import dkim as policy
from relay.policy.checks import started
from relay.policy.identity import covering_domains
from relay.signing import imported, keys
from relay.signing.keys import KeyKind
from relay.store.catalog_checks import put_check, read_checks
from relay.store.catalog_dkim import DkimKeys, new_selector
from relay.store.catalog_identities import canonical_name
from relay.store.catalog_tables import Tables


@dataclass(frozen=True, slots=True)
class DkimAttributes:
    """How an identity signs, in the words of the v2 API (DKIM-009).

    `signing_enabled` is what holds, its own setting or the inherited one. `tokens` are the selectors of Easy DKIM.
    `current_length` is that of the key that signs, "" while none does; `generated_ms` when the newest pair was made.
    """

    name: str
    signing_enabled: bool
    inherited: bool
    status: CheckState
    origin: KeyOrigin
    tokens: tuple[str, ...]
    current_length: str
    next_length: str
    generated_ms: int
    rotated_ms: int
    keys: tuple[DkimKey, ...]


class DkimSetup:
    """Sets up DKIM of identities."""

    __slots__ = ("_keys", "_tables")

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._keys = DkimKeys(tables)

    def attributes(self, account: str, name: str) -> DkimAttributes:
        """Return how an identity signs. Raise UsageError when there is none of this name."""
        kept, _ = canonical_name(name)
        settings, listed = self._keys.settings(account, kept), self._keys.keys_of(account, kept)
        easy = settings.origin is KeyOrigin.AWS_SES
        signs = next((key for key in listed if key.rsa and key.state is KeyState.ACTIVE), None)
        enabled = settings.signing
        return DkimAttributes(
            name=kept,
            signing_enabled=self._inherited(account, kept) if enabled is None else enabled,
            inherited=enabled is None,
            status=self._status(account, kept),
            origin=settings.origin,
            tokens=tuple(key.selector for key in policy.easy_set(listed)) if easy else (),
            current_length=f"RSA_{keys.bits_of(signs.public_txt)}_BIT" if signs else "",
            next_length=settings.next_key_length,
            generated_ms=max((key.created_ms for key in listed if key.rsa), default=0),
            rotated_ms=settings.rotated_ms,
            keys=listed,
        )

    def import_key(self, account: str, domain: str, selector: str, text: bytes) -> DkimAttributes:
        """Sign with a key of the owner's as soon as its record is found; the present keys sign until then (DKIM-010).

        Raise UsageError for a selector or key that cannot be used (DKIM-006, 007), or one that is in use.
        """
        kept = self._domain(account, domain)
        imported.check_selector(selector)
        key = imported.read(text)
        public = keys.public_record(key)
        with self._tables.writing(account):
            self._give_up_pending(account, kept)
            self._require_free(account, kept, selector, public)
            self._keys.add(account, kept, key, selector, KeyOrigin.EXTERNAL)
            self._await(account, kept, KeyOrigin.EXTERNAL)
        return self.attributes(account, kept)

    def use_easy(self, account: str, domain: str, *, new_keys: bool = False) -> DkimAttributes:
        """Sign with keys of the relay's, again or with three new ones; the present keys sign until they are found.

        Raise UsageError when it does so already, unless new keys are wanted or its check has failed (DKIM-011).
        """
        kept = self._domain(account, domain)
        listed = self._keys.keys_of(account, kept)
        if not new_keys and self._keys.settings(account, kept).origin is KeyOrigin.AWS_SES:
            if self._status(account, kept) is not CheckState.FAILED:
                raise UsageError(f"{kept} has Easy DKIM already; --new-keys makes three new keys.")
            with self._tables.writing(account):
                self._keys.lose(account, kept)
                self._await(account, kept, KeyOrigin.AWS_SES)
            return self.attributes(account, kept)
        easy = [key for key in listed if key.rsa and key.origin is KeyOrigin.AWS_SES and not new_keys]
        in_use = any(policy.in_use(key) for key in easy)
        old = [] if in_use else [key for key in easy if key.state is KeyState.RETIRED][-policy.EASY_KEYS :]
        pairs = [] if in_use else self._keys.new_pairs([KeyKind.RSA] * (policy.EASY_KEYS - len(old)))
        with self._tables.writing(account):
            self._give_up_pending(account, kept)
            self._keys.move(account, kept, {key.selector: KeyState.PENDING for key in old})
            for pair in pairs:
                self._keys.add(account, kept, pair, new_selector(), KeyOrigin.AWS_SES)
            self._await(account, kept, KeyOrigin.AWS_SES)
        return self.attributes(account, kept)

    def add_ed25519(self, account: str, domain: str) -> DkimKey:
        """Add a key for a second signature; it signs as soon as its record is found (DKIM-018)."""
        kept = self._domain(account, domain)
        (pair,) = self._keys.new_pairs([KeyKind.ED25519])
        selector = new_selector()
        with self._tables.writing(account):
            self._keys.add(account, kept, pair, selector, KeyOrigin.AWS_SES)
        return next(key for key in self._keys.keys_of(account, kept) if key.selector == selector)

    def delete_key(self, account: str, domain: str, selector: str) -> DkimAttributes:
        """Remove a retired key or an Ed25519 key; those that decide about a domain are replaced, never removed."""
        kept = self._domain(account, domain)
        with self._tables.writing(account):
            found = [key for key in self._keys.keys_of(account, kept) if key.selector == selector]
            if not found:
                raise UsageError(f"{kept} has no key with the selector {selector[:80]}.")
            if found[0].rsa and found[0].state is not KeyState.RETIRED:
                raise UsageError(
                    f"{selector} of {kept} is {found[0].state}; replace it with `relay dkim rotate` or `import`."
                )
            self._keys.remove(account, kept, selector)
        return self.attributes(account, kept)

    def set_signing(self, account: str, name: str, *, enabled: bool) -> DkimAttributes:
        """Turn signatures on or off for an identity and what inherits from it (DKIM-013).

        Raise UsageError for an address whose domain is not set up for DKIM in this account (DKIM-014).
        """
        kept, kind = canonical_name(name)
        with self._tables.writing(account):
            self._keys.settings(account, kept)
            if kind is IdentityKind.ADDRESS:
                self._require_parent(account, kept)
            values = {"account": account, "name": kept, "signing": int(enabled)}
            self._tables.run("set_dkim_signing", values)
        return self.attributes(account, kept)

    def set_length(self, account: str, domain: str, length: str) -> DkimAttributes:
        """Say how long the next keys of a domain are. Raise UsageError where DKIM-004 or decision 7 forbids it."""
        kept = self._domain(account, domain)
        with self._tables.writing(account):
            now_ms = self._tables.now_ms()
            if why := policy.refuse_length(self._keys.settings(account, kept), length, now_ms):
                raise UsageError(why)
            values = {"account": account, "name": kept, "length": length, "now_ms": now_ms}
            self._tables.run("set_dkim_length", values)
        return self.attributes(account, kept)

    # --- parts ---------------------------------------------------------------------------------------------------

    def _domain(self, account: str, name: str) -> str:
        kept, kind = canonical_name(name)
        if kind is not IdentityKind.DOMAIN:
            raise UsageError(f"{kept} is an address; keys belong to domains.")
        self._keys.settings(account, kept)
        return kept

    def _await(self, account: str, domain: str, origin: KeyOrigin) -> None:
        """Look for the records of what was just set up, inside a transaction."""
        self._tables.run("set_dkim_origin", {"account": account, "name": domain, "origin": str(origin)})
        put_check(self._tables, account, domain, started(Aspect.DKIM, self._tables.now_ms()))

    def _give_up_pending(self, account: str, domain: str) -> None:
        """Drop keys that were still waited for, inside a transaction; those that have signed before rest again."""
        for key in policy.pending_set(self._keys.keys_of(account, domain)):
            if key.retired_ms:
                self._keys.move(account, domain, {key.selector: KeyState.RETIRED})
            else:
                self._keys.remove(account, domain, key.selector)

    def _require_free(self, account: str, domain: str, selector: str, public_txt: str) -> None:
        """Raise UsageError for a selector in use; a retired one may come back with the same key."""
        for key in self._keys.keys_of(account, domain):
            if key.selector != selector:
                continue
            if key.state is not KeyState.RETIRED or key.public_txt != public_txt:
                raise UsageError(
                    f"{domain} has a key with the selector {selector} already, which mail under way may carry; "
                    "choose another selector for another key."
                )
            self._keys.remove(account, domain, selector)

    def _require_parent(self, account: str, address: str) -> None:
        domain = address.rpartition("@")[2].lower()
        values = {"account": account, "kind": str(IdentityKind.DOMAIN)}
        found = [self._tables.row("covering_identity", {**values, "name": name}) for name in covering_domains(domain)]
        rows = [row for row in found if row is not None]
        if any(row[5] for row in rows):
            return
        why = "has no DKIM set up" if rows else "is not a verified identity of this account"
        raise UsageError(f"DKIM signing of {address} cannot be turned on or off: {domain} {why}.")

    def _inherited(self, account: str, name: str) -> bool:
        """Return the setting of the closest identity above that has one, True when none has."""
        domain = name.rpartition("@")[2].lower()
        for parent in covering_domains(domain):
            row = self._tables.row("get_dkim_settings", {"account": account, "name": parent})
            if parent != name and row is not None and row[0] is not None:
                return bool(row[0])
        return True

    def _status(self, account: str, name: str) -> CheckState:
        check = read_checks(self._tables, account, name).get(Aspect.DKIM)
        return check.state if check is not None else CheckState.NOT_STARTED
