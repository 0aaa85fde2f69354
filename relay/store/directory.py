"""The read side of the catalog for a worker: bounded caches in front of two files (port `Directory`).

A cached value belongs to a *view* of its account. When the change log names an account its view is dropped, and
with it, without a search, everything that was cached under it. What costs memory is bounded by the constants
below, whatever the catalog holds. Open it after the fork that makes the worker. Every call may raise StorageError
when the files cannot be read; the caller then answers TEMPORARY.

It is long because all that a message asks of the catalog is answered by one view of the account.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from relay.errors import CorruptionError, StorageError, UsageError
from relay.model.account import (
    Account,
    AccountState,
    CoveringIdentity,
    Identity,
    IdentityKind,
    MailFrom,
    MailFromFallback,
    PolicyTexts,
    Principal,
    SuppressionEntry,
)
from relay.model.check import CheckState
from relay.model.configuration_set import ConfigurationSet
from relay.model.event_destination import TYPE_OF_RECORD
from relay.model.feedback import DEFAULT_FEEDBACK, FeedbackSettings
from relay.model.pool import PoolSnapshot
from relay.policy.identity import covering_addresses, covering_domains, covering_names, split_address
from relay.policy.suppression import fold
from relay.ports import SigningKey
from relay.signing import keys
from relay.signing.secrets import Sealer
from relay.store.catalog import CATALOG_FILE, SUPPRESSION_FILE
from relay.store.catalog_accounts import account_of
from relay.store.catalog_addresses import CHANGED as POOLS_CHANGED
from relay.store.catalog_configuration_sets import configuration_set_of
from relay.store.catalog_credentials import CredentialKind
from relay.store.catalog_dkim import owner_of
from relay.store.catalog_feedback import feedback_of
from relay.store.catalog_identities import identity_of
from relay.store.catalog_pools import SNAPSHOT_QUERIES, snapshot_of
from relay.store.directory_cache import Cache, ViewCache
from relay.store.directory_file import ReadFile, Row
from relay.store.suppression_file import RELAY_LIST
from relay.store.suppression_relay_list import Digester

ACCOUNTS_MAX = 4096
PRINCIPALS_MAX = 8192
IDENTITIES_MAX = 8192
SIGNING_DOMAINS_MAX = 1024
SUPPRESSED_MAX = 16_384
LISTED_MAX = 16_384
CONFIGURATION_SETS_MAX = 4096
FEEDBACK_MAX = 4096
USERS_MAX = 1024  # with 10 KiB of policies each at most
POLICED_MAX = 256  # addresses, with the policies that stand for them: 80 KiB at most, 1 KiB usually
NAME_MAX_CHARACTERS = 512


@dataclass(slots=True, eq=False)
class _View:
    """What is known of an account since it last changed; compared by identity."""

    account: Account | None
    has_addresses: bool
    has_policies: bool


@dataclass(slots=True, eq=False)
class _ListView:
    """What is known of an account's suppression list since it last changed."""

    any: bool


@dataclass(frozen=True, slots=True)
class _Covered:
    """What covers an address or domain: the identity, whose keys sign below it, and what is said of signing.

    `signs` is the most specific domain with keys, whether it may or not; `signing` the most specific setting.
    """

    identity: Identity
    signs: str
    signing: bool | None


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A credential as the authenticator needs it: an active one with its sealed secret or verifier."""

    username: str
    kind: CredentialKind
    account: str
    protected: bytes
    principal: Principal


class CatalogDirectory:
    """Answers what the pipeline asks of the catalog."""

    def __init__(self, data_dir: str | os.PathLike[str], master_key: bytes) -> None:
        self._sealer = Sealer(master_key)
        self._views: Cache[str, _View] = Cache(ACCOUNTS_MAX)
        self._lists: Cache[str, _ListView] = Cache(ACCOUNTS_MAX)
        self._principals: Cache[str, tuple[StoredCredential | None]] = Cache(PRINCIPALS_MAX)
        self._unknown: Cache[str, tuple[StoredCredential | None]] = Cache(PRINCIPALS_MAX)
        self._covering = ViewCache(IDENTITIES_MAX, self._read_address)
        self._domains = ViewCache(IDENTITIES_MAX, self._read_domain)
        self._signing = ViewCache(SIGNING_DOMAINS_MAX, self._read_signing_keys)
        self._suppressed = ViewCache(SUPPRESSED_MAX, self._read_suppressed)
        self._digester = Digester(master_key)
        # By folded address: the end of its stay on the relay's list, 0 for none.
        self._stays: Cache[str, int] = Cache(LISTED_MAX)
        self._any_stay: bool | None = None
        self._sets = ViewCache(CONFIGURATION_SETS_MAX, self._read_set)
        self._user_policies = ViewCache(USERS_MAX, self._read_user_policies)
        self._policed = ViewCache(POLICED_MAX, self._read_policed)
        self._texts: Cache[tuple[str, str], PolicyTexts] = Cache(POLICED_MAX)
        self._feedback = ViewCache(FEEDBACK_MAX, self._read_feedback)
        self._pools: PoolSnapshot | None = None
        self._catalog = ReadFile(Path(data_dir) / CATALOG_FILE, "catalog.sql", self._catalog_changed)
        self._suppression = ReadFile(Path(data_dir) / SUPPRESSION_FILE, "suppression.sql", self._suppression_changed)
        self._catalog.refuse_newer()
        self._suppression.refuse_newer()

    def refresh(self) -> bool:
        """Drop what changed since the last call; say whether anything did."""
        changed = self._catalog.refresh()
        return self._suppression.refresh() or changed

    def close(self) -> None:
        """Close both files."""
        self._catalog.close()
        self._suppression.close()

    def account(self, account_id: str) -> Account | None:
        """Return the account, None when there is none."""
        return self._view(account_id).account

    def principal(self, username: str) -> Principal | None:
        """Return who a user name belongs to while the credential is active, else None (CRED-011).

        A closed account has no active credentials (SMTP-011).
        """
        credential = self.credential(username)
        if credential is None:
            return None
        account = self.account(credential.account)
        return credential.principal if account is not None and account.state is not AccountState.CLOSED else None

    def credential(self, username: str) -> StoredCredential | None:
        """Return an active credential, None when there is none."""
        cached = self._principals.get(username) or self._unknown.get(username)
        if cached is not None:
            return cached[0]
        credential = self._read_credential(username)
        (self._principals if credential else self._unknown).put(username[:NAME_MAX_CHARACTERS], (credential,))
        return credential

    def sending_identity(self, account_id: str, address: str) -> Identity | None:
        """Return the most specific verified identity that covers `address` (IDENT-002, 004 to 006), or None."""
        view = self._view(account_id)
        parts = split_address(address)
        if parts is None:
            return None
        covered = self._covering.get(view, account_id, address) if view.has_addresses else None
        domain = self._domains.get(view, account_id, parts[1])
        identity = _joined(covered, domain)
        if identity is None or not view.has_policies:
            return identity
        return replace(identity, has_policies=any(one.policies for one in self.covering(account_id, address)))

    def is_mail_from_domain(self, domain: str) -> bool:
        """Return whether a lower-case domain is the MAIL FROM domain of any account."""
        return bool(self._catalog.rows("is_mail_from_domain", {"domain": domain})[0][0])

    def signing_keys(self, account_id: str, domain: str) -> Sequence[SigningKey]:
        """Return the active keys of a domain identity, RSA first; empty when it has none.

        Raise StorageError when a stored key does not open: unsigned mail would be worse than late mail.
        """
        return self._signing.get(self._view(account_id), account_id, domain)

    def suppressed(self, account_id: str, address: str) -> SuppressionEntry | None:
        """Return the account's suppression entry for an address, compared without case (SUPP-018)."""
        view = self._list_view(account_id)
        return self._suppressed.get(view, account_id, fold(address)) if view.any else None

    def listed(self, address: str, now_ms: int) -> bool:
        """Return whether an address is on the list of the whole relay now (SUPP-001, SUPP-003)."""
        if self._any_stay is None:
            self._any_stay = bool(self._suppression.rows("any_stay", {})[0][0])
        if not self._any_stay:
            return False
        folded = fold(address)
        until_ms = self._stays.get(folded)
        if until_ms is None:
            rows = self._suppression.rows("get_stay", {"digest": self._digester.digest(folded)})
            until_ms = rows[0][2] if rows else 0
            self._stays.put(folded, until_ms)
        return now_ms < until_ms

    def configuration_set(self, account_id: str, name: str) -> ConfigurationSet | None:
        """Return a configuration set of an account, None when there is none of this name."""
        return self._sets.get(self._view(account_id), account_id, _storable(name))

    def feedback(self, account_id: str, key: str) -> FeedbackSettings:
        """Return an account's settings about an identity; `key` is that of `relay.policy.feedback.settings_key`."""
        return self._feedback.get(self._view(account_id), account_id, key)

    def publishes(self, account_id: str, configuration_set: str, kind: str) -> bool:
        """Return whether a configuration set has an enabled destination for a kind of event (its `eventType`)."""
        values = {"account": account_id, "configuration_set": configuration_set, "type": TYPE_OF_RECORD[kind]}
        return bool(configuration_set and self._catalog.rows("publishes", values)[0][0])

    def pools(self) -> PoolSnapshot:
        """Return all source addresses and pools, the same object until one of them changes."""
        if self._pools is None:
            self._pools = snapshot_of(*(self._catalog.rows(query, {}) for query in SNAPSHOT_QUERIES))
        return self._pools

    def user_policies(self, account_id: str, user: str) -> PolicyTexts:
        """Return the policies of a user, by name."""
        return self._user_policies.get(self._view(account_id), account_id, user)

    def covering(self, account_id: str, address: str) -> Sequence[CoveringIdentity]:
        """Return all identities of an account that cover an address, most specific first; none when it is closed."""
        view = self._view(account_id)
        if view.account is None or view.account.state is AccountState.CLOSED:
            return ()
        return self._policed.get(view, account_id, address)

    def _view(self, account_id: str) -> _View:
        view = self._views.get(account_id)
        if view is None:
            rows = self._catalog.rows("get_account", {"id": account_id})
            has_addresses = bool(self._catalog.rows("has_addresses", {"account": account_id})[0][0])
            has_policies = bool(self._catalog.rows("has_identity_policies", {"account": account_id})[0][0])
            view = _View(account_of(rows[0]) if rows else None, has_addresses, has_policies)
            self._views.put(account_id, view)
        return view

    def _list_view(self, account_id: str) -> _ListView:
        view = self._lists.get(account_id)
        if view is None:
            view = _ListView(bool(self._suppression.rows("any", {"account": account_id})[0][0]))
            self._lists.put(account_id, view)
        return view

    def _read_address(self, account_id: str, address: str) -> _Covered | None:
        return self._read_covering(account_id, covering_addresses(address), IdentityKind.ADDRESS)

    def _read_domain(self, account_id: str, domain: str) -> _Covered | None:
        covered = self._read_covering(account_id, covering_domains(domain), IdentityKind.DOMAIN)
        if covered is None or covered.signing is False:
            return covered
        return replace(covered, identity=replace(covered.identity, dkim_domain=covered.signs))

    def _read_covering(self, account_id: str, names: Sequence[str], kind: IdentityKind) -> _Covered | None:
        """Return what the verified identities among `names`, most specific first, say together.

        The most specific one gives settings (IDENT-004), the most specific one with keys signs (DKIM-012); of signing
        (DKIM-013) and MAIL FROM (MFROM-010) the most specific one that says something is obeyed.
        """
        values = {"account": account_id, "kind": str(kind)}
        found = [row for name in names for row in self._catalog.rows("covering_identity", {**values, "name": name})]
        if not found:
            return None
        signing = next((bool(row[7]) for row in found if row[7] is not None), None)
        mail_from = next((_mail_from(row) for row in found if row[8]), None)
        identity = replace(
            identity_of(found[0]), configuration_set=found[0][6], mail_from=mail_from, pool=found[0][11]
        )
        return _Covered(identity, next((row[1] for row in found if row[5]), ""), signing)

    def _read_policed(self, account_id: str, address: str) -> tuple[CoveringIdentity, ...]:
        names = covering_names(address)
        rows = self._catalog.rows("policies_of_identities", {"account": account_id, "names": json.dumps(names)})
        identities = {row[1]: identity_of(row) for row in rows}
        policed = {row[1] for row in rows if row[5] is not None}
        governing = next((name for name in names if name in policed), "")
        texts = self._shared((account_id, governing), tuple((row[5], row[6]) for row in rows if row[1] == governing))
        return tuple(
            CoveringIdentity(identities[name], texts if name == governing else ())
            for name in names
            if name in identities
        )

    def _shared(self, key: tuple[str, str], texts: PolicyTexts) -> PolicyTexts:
        """Return texts as another address has them already: a thousand addresses of a domain hold them once."""
        known = self._texts.get(key)
        if known != texts:
            self._texts.put(key, texts)
            return texts
        return known

    def _read_signing_keys(self, account_id: str, domain: str) -> tuple[SigningKey, ...]:
        rows = self._catalog.rows("signing_keys", {"account": account_id, "domain": domain})
        try:
            return tuple(
                SigningKey(
                    domain,
                    selector,
                    algorithm,
                    keys.signer(keys.load(self._sealer.open(sealed, owner_of(account_id, domain, selector)))),
                )
                for selector, algorithm, sealed in rows
            )
        except (CorruptionError, UsageError) as error:
            raise StorageError(f"A signing key of {domain} cannot be used: {error}") from error

    def _read_credential(self, username: str) -> StoredCredential | None:
        rows = self._catalog.rows("get_credential", {"username": _storable(username)})
        if not rows or rows[0][5] is not None:
            return None
        name, kind, account, _, _, _, user, protected = rows[0]
        return StoredCredential(name, CredentialKind(kind), account, protected, Principal(name, account, user))

    def _read_set(self, account_id: str, name: str) -> ConfigurationSet | None:
        rows = self._catalog.rows("get_configuration_set", {"account": account_id, "name": name})
        return configuration_set_of(rows[0]) if rows else None

    def _read_feedback(self, account_id: str, key: str) -> FeedbackSettings:
        rows = self._catalog.rows("get_identity_feedback", {"account": account_id, "identity": key})
        return feedback_of(rows[0]) if rows else DEFAULT_FEEDBACK

    def _read_user_policies(self, account_id: str, user: str) -> PolicyTexts:
        rows = self._catalog.rows("list_user_policies", {"account": account_id, "user": user})
        return tuple((row[0], row[1]) for row in rows)

    def _read_suppressed(self, account_id: str, folded: str) -> SuppressionEntry | None:
        if not folded.isascii() and any("\ud800" <= char <= "\udfff" for char in folded):
            return None  # no such text can be stored
        rows = self._suppression.rows("get", {"account": account_id, "folded": folded})
        return SuppressionEntry(*rows[0]) if rows else None

    def _catalog_changed(self, accounts: set[str] | None) -> None:
        self._unknown.clear()
        self._principals.clear()
        if accounts is None or POOLS_CHANGED in accounts:
            self._pools = None
        if accounts is None:
            self._views.clear()
            return
        for account in accounts:
            self._views.drop(account)

    def _suppression_changed(self, accounts: set[str] | None) -> None:
        if accounts is None or RELAY_LIST in accounts:
            self._any_stay = None
            self._stays.clear()
        if accounts is None:
            self._lists.clear()
            return
        for account in accounts:
            self._lists.drop(account)


def _storable(name: str) -> str:
    """Return a name that a client gave, or "" for one that nothing stored can have."""
    return name if name.isascii() and len(name) <= NAME_MAX_CHARACTERS else ""


def _joined(address: _Covered | None, domain: _Covered | None) -> Identity | None:
    """Return what an address and its domain say together; the address is heard first (DKIM-013, MFROM-010)."""
    if address is None:
        return domain.identity if domain is not None else None
    if domain is None:
        return address.identity
    signs = domain.signs if address.signing else domain.identity.dkim_domain
    return replace(
        address.identity,
        dkim_domain="" if address.signing is False else signs,
        mail_from=address.identity.mail_from or domain.identity.mail_from,
    )


def _mail_from(row: Row) -> MailFrom:
    return MailFrom(row[8], row[10] == CheckState.SUCCESS, MailFromFallback(row[9]))
