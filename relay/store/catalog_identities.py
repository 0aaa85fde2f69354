"""Identities of the catalog: domains and addresses an account may send from. Their keys are in `catalog_dkim`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relay.errors import AlreadyExistsError, LimitExceededError, NotFoundError, UsageError
from relay.mail.address import BadAddress, normal_domain, parse_mailbox
from relay.model.account import Identity, IdentityKind
from relay.model.check import Aspect, Check, CheckState
from relay.model.dkim import DkimKey, DnsRecord, KeyOrigin
from relay.policy import checks
from relay.policy.dkim import EASY_KEYS
from relay.policy.suffix import is_public_suffix
from relay.policy.tags import require_tags
from relay.signing.keys import KeyKind
from relay.store.catalog_accounts import DEFAULT_ACCOUNT
from relay.store.catalog_checks import give_token, put_check, read_checks
from relay.store.catalog_dkim import DkimKeys, new_selector
from relay.store.catalog_tables import Row, Tables

PAGE_SIZE_MAX = 1000
IDENTITIES_MAX = 10_000  # of an account (IDENT-023)


@dataclass(frozen=True, slots=True)
class IdentityDetails:
    """An identity, its keys, the records the owner has to publish for them, and a warning for the operator or "".

    `checks` are those that were ever started. `token` is the value of the TXT record that verifies a domain as well,
    `mail_from_domain` the domain of its return paths, `configuration_set` its default one; "" for none.
    """

    identity: Identity
    keys: tuple[DkimKey, ...] = ()
    records: tuple[DnsRecord, ...] = ()
    warning: str = ""
    checks: Mapping[Aspect, Check] = field(default_factory=dict)
    token: str = ""
    mail_from_domain: str = ""
    configuration_set: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def state(self, aspect: Aspect) -> CheckState:
        """Return how the check of an aspect stands."""
        check = self.checks.get(aspect)
        return check.state if check else CheckState.NOT_STARTED


@dataclass(frozen=True, slots=True)
class IdentityPage:
    """Some identities, and the `after` of the next page, "" when this was the last."""

    identities: list[Identity]
    after: str


@dataclass(frozen=True, slots=True)
class Standing:
    """An identity of a list, and how its verification stands."""

    identity: Identity
    state: CheckState


class Identities:
    """Makes, lists, verifies and deletes identities. Unknown names raise UsageError."""

    __slots__ = ("_dkim", "_tables")

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._dkim = DkimKeys(tables)

    def create(
        self,
        account: str,
        name: str,
        *,
        ed25519: bool = False,
        own_names: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
    ) -> IdentityDetails:
        """Add a domain (with the three keys of Easy DKIM, and an Ed25519 key when asked for) or an address.

        It is not verified yet, and no key signs before its record was found. A domain may be given in U-labels; it
        is looked for in DNS from now on. `own_names` are the relay's, which only the default account may send from.
        Raise UsageError for names that cannot be (IDENT-007) and for an address that reads like a pattern,
        AlreadyExistsError for second ones, LimitExceededError beyond 10,000 (IDENT-023).
        """
        kept, kind = canonical_name(name)
        require_holdable(account, kept, own_names)
        require_tags(tags or {})
        self._tables.require_account(account)
        kinds = [KeyKind.RSA] * EASY_KEYS + [KeyKind.ED25519] * ed25519
        pairs = self._dkim.new_pairs(kinds) if kind is IdentityKind.DOMAIN else []
        values = {"account": account, "name": kept, "kind": str(kind), "created_ms": self._tables.now_ms()}
        with self._tables.writing(account):
            if not self._tables.run("create_identity", values):
                raise AlreadyExistsError(f"Identity {kept} of account {account} exists already.")
            require_room(self._tables, account)
            for key in pairs:
                self._dkim.add(account, kept, key, new_selector(), KeyOrigin.AWS_SES)
            for tag, value in (tags or {}).items():
                self._tables.run("put_identity_tag", {**_of(account, kept), "key": tag, "value": value})
            if kind is IdentityKind.DOMAIN:
                give_token(self._tables, account, kept)
                for aspect in (Aspect.VERIFICATION, Aspect.DKIM):
                    put_check(self._tables, account, kept, checks.started(aspect, self._tables.now_ms()))
        return self.require(account, kept)

    def get(self, account: str, name: str) -> IdentityDetails | None:
        """Return an identity with its keys, None when the account has none of this name."""
        kept, kind = canonical_name(name)
        row = self._tables.row("get_identity", {"account": account, "name": kept})
        if row is None:
            return None
        token, mail_from_domain, configuration_set = self._tables.rows(
            "get_identity_records", {"account": account, "name": kept}
        )[0]
        domain = kind is IdentityKind.DOMAIN
        listed = self._dkim.keys_of(account, kept) if domain else ()
        return IdentityDetails(
            identity_of(row),
            listed,
            self._dkim.records(kept, listed),
            _domain_warning(kept) if domain else _address_warning(kept),
            read_checks(self._tables, account, kept),
            token,
            mail_from_domain,
            configuration_set,
            dict(self._tables.rows("list_identity_tags", _of(account, kept))),
        )

    def require(self, account: str, name: str) -> IdentityDetails:
        """Return an identity that must exist."""
        details = self.get(account, name)
        if details is None:
            raise NotFoundError(f"Account {account} has no identity {name}.")
        return details

    def list_states(
        self, account: str, *, state: CheckState | None = None, after: str = "", limit: int = PAGE_SIZE_MAX
    ) -> list[Standing]:
        """Return up to `limit` identities that follow `after`, by name, with how their verification stands.

        With a `state` only those in it (IDENT-009).
        """
        self._tables.require_account(account)
        size = max(1, min(limit, PAGE_SIZE_MAX))
        values = {"account": account, "after": after, "limit": size, "state": str(state or "")}
        rows = self._tables.rows("list_identity_states", values)
        return [Standing(identity_of(row), CheckState(row[5])) for row in rows]

    def list(self, account: str, *, after: str = "", limit: int = PAGE_SIZE_MAX) -> IdentityPage:
        """Return up to `limit` identities of an account (at most 1,000) that follow `after`, by name."""
        self._tables.require_account(account)
        size = max(1, min(limit, PAGE_SIZE_MAX))
        rows = self._tables.rows("list_identities", {"account": account, "after": after, "limit": size})
        return IdentityPage([identity_of(row) for row in rows], rows[-1][1] if len(rows) == size else "")

    def set_verified(self, account: str, name: str, *, verified: bool = True) -> IdentityDetails:
        """Vouch for an identity, whatever DNS says, or withdraw it; it holds from the next request on.

        The keys of a domain sign from then on. What an operator vouches for is not looked at in DNS until its checks
        are started again.
        """
        kept, kind = canonical_name(name)
        now_ms = self._tables.now_ms()
        with self._tables.writing(account):
            details = self.require(account, kept)
            aspects = [Aspect.VERIFICATION, *([Aspect.DKIM] if details.keys else [])]
            if details.mail_from_domain and verified:
                aspects.append(Aspect.MAIL_FROM)
            for aspect in aspects:
                check = checks.vouched(aspect, now_ms)
                put_check(self._tables, account, kept, check if verified else checks.stopped(check, now_ms))
            if verified and kind is IdentityKind.DOMAIN:
                self._dkim.activate_pending(account, kept)
        return self.require(account, kept)

    def change_tags(
        self, account: str, name: str, add: Mapping[str, str], remove: Sequence[str] = ()
    ) -> IdentityDetails:
        """Add or replace tags and remove others, all or none (IDENT-020)."""
        kept = self.require(account, name).identity.name
        require_tags(add)
        with self._tables.writing(account):
            for key in remove:
                if not self._tables.run("delete_identity_tag", {**_of(account, kept), "key": key}):
                    raise NotFoundError(f"{kept} has no tag {key}.")
            for key, value in add.items():
                self._tables.run("put_identity_tag", {**_of(account, kept), "key": key, "value": value})
            require_tags(self.require(account, kept).tags)
        return self.require(account, kept)

    def delete(self, account: str, *names: str) -> None:
        """Remove identities with their keys, policies and settings, all or none of them (IDENT-022).

        Sending from them fails from the next request on; messages in the queue go on.
        """
        kept = [canonical_name(name)[0] for name in names]
        with self._tables.writing(account):
            for name, one in zip(names, kept, strict=True):
                if not self._tables.run("delete_identity", {"account": account, "name": one}):
                    raise NotFoundError(f"Account {account} has no identity {name}.")


def canonical_name(name: str) -> tuple[str, IdentityKind]:
    """Return the form an identity is kept in and what it is; addresses keep their case (IDENT-005).

    Raise UsageError for labels over 63 or names over 255 octets (IDENT-007), and for what is neither.
    """
    if "@" in name:
        return _canonical_address(name), IdentityKind.ADDRESS
    domain = normal_domain(name)
    if isinstance(domain, BadAddress) or "." not in domain:
        msg = (
            f"{name[:80]!r} is not a domain name: labels have 1 to 63 letters, digits and inner hyphens, "
            "there are at least two, and no final dot, as in shop.example.com."
        )
        raise UsageError(msg)
    return domain, IdentityKind.DOMAIN


def _canonical_address(name: str) -> str:
    parsed = parse_mailbox(name, smtputf8=True)
    if isinstance(parsed, BadAddress):
        raise UsageError(f"{name[:80]!r} is not an email address: {parsed.text}. Example: joe@example.com")
    domain = name.rpartition("@")[2]
    return f"{parsed.local}@{domain}" if domain.isascii() else str(parsed)


def require_holdable(account: str, name: str, own_names: Sequence[str]) -> None:
    """Raise UsageError for a name in its stored form that no account, or only the default one, may hold.

    Those are public suffixes, addresses that read like a pattern, and the relay's own names with all below them.
    Addresses are judged by their domain. Whoever can publish records for a parent of the relay's name may hold that:
    it proves more than the relay's name would.
    """
    domain = name.rpartition("@")[2].lower()
    if "@" not in name and is_public_suffix(domain):
        raise UsageError(f"{name} is a public suffix, under which anybody may register; give a domain of your own.")
    _refuse_pattern(name)
    for own in () if account == DEFAULT_ACCOUNT else own_names:
        if domain == own or domain.endswith(f".{own}"):
            raise UsageError(f"{name} belongs to the relay itself; only account {DEFAULT_ACCOUNT} sends from it.")


def require_room(tables: Tables, account: str, *, more: int = 0) -> None:
    """Raise LimitExceededError when an account has more identities than it may, or would with `more` (IDENT-023)."""
    count = int(tables.rows("count_identities", {"account": account})[0][0])
    if count + more > IDENTITIES_MAX:
        raise LimitExceededError(f"Account {account} has {IDENTITIES_MAX:,} identities, as many as it may.")


def identity_of(row: Row) -> Identity:
    """Return the identity of a row of `get_identity`."""
    account, name, kind, verified, created_ms = row[:5]
    return Identity(account, name, IdentityKind(kind), bool(verified), created_ms)


def _of(account: str, name: str) -> dict[str, object]:
    return {"account": account, "identity": name}


def _refuse_pattern(name: str) -> None:
    """Refuse an address whose local part is `*`: it would cover one strange mailbox, and nobody means that."""
    local, _, domain = name.rpartition("@")
    if local in {"*", '"*"'}:
        msg = (
            f"{name} is no pattern: an identity is one address, or a domain with all its addresses. "
            f"Create the identity {domain} instead."
        )
        raise UsageError(msg)


def _address_warning(address: str) -> str:
    """Say that an address covers nothing: mail has its domain in lower case, and case counts (IDENT-005)."""
    local, _, domain = address.rpartition("@")
    if domain == domain.lower():
        return ""
    return (
        f"{address} covers no mail: address identities are compared with case, and a sender's domain is compared in "
        f"lower case. Create {local}@{domain.lower()}."
    )


def _domain_warning(domain: str) -> str:
    """Return what an operator may have overlooked (IDENT-008)."""
    parent = domain.removeprefix("www.")
    if parent == domain or "." not in parent:
        return ""
    return f"{domain} covers only addresses under www.; most senders mean {parent}."
