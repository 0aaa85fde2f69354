"""Which identities a request sends for, its own or those it names by ARN, and whether it may (AUTHZ-012, 014 to 017).

Who is asked about what:

    From, Sender            the from ARN, else the source ARN, else the caller's own identities
    feedback address        the return-path ARN, else the source ARN, else a from ARN that covers it, else its own
    envelope sender         the source ARN, else a from ARN that covers it, else its own

The feedback address is Return-Path, without that the envelope sender. The identity that an ARN names must be verified
and cover the address. The policies that decide are those of the most specific identity of the same owner that covers
the address and has any, so a policy on an address replaces those of its domain.

An identity of another account that does not exist, is not verified, does not cover the address, lies in another
region or does not allow gets one answer, word for word: nobody can find out which.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from relay.model.account import Identity
from relay.model.refusal import Reason, Refusal
from relay.policy.arn import BadArn, IdentityArn, parse_identity_arn
from relay.policy.authorization import SendContext, decide
from relay.policy.identity import (
    REPLY_MAX_OCTETS,
    covering_addresses,
    covering_domains,
    not_verified,
    printable,
    split_address,
)
from relay.policy.statements import Policy


@dataclass(frozen=True, slots=True)
class OwnedIdentity:
    """An identity with the policies attached to it."""

    identity: Identity
    policies: tuple[Policy, ...] = ()


Lookup = Callable[[str, str], OwnedIdentity | None]
"""Return the identity of an account by its exact name, None when there is none."""


@dataclass(frozen=True, slots=True)
class NamedArns:
    """The ARNs a request names, "" where it names none; parameters of a call win over header fields."""

    source: str = ""
    author: str = ""
    return_path: str = ""


@dataclass(frozen=True, slots=True)
class Senders:
    """Who a message is from: authors (From), Sender, envelope sender, Return-Path; "" where there is none.

    Addresses are in the form of `relay.mail.address.Address`. The first author selects the identity.
    """

    authors: tuple[str, ...]
    sender: str = ""
    envelope: str = ""
    return_path: str = ""

    @property
    def feedback(self) -> str:
        """Where reports go."""
        return self.return_path or self.envelope


@dataclass(frozen=True, slots=True)
class Authorized:
    """The identities a request may use; `account` says whose each is. `feedback` is None for the null sender."""

    author: Identity
    feedback: Identity | None


@dataclass(frozen=True, slots=True)
class _Arns:
    source: IdentityArn | None
    author: IdentityArn | None
    return_path: IdentityArn | None


@dataclass(frozen=True, slots=True)
class _Claim:
    """An address that a request sends with, and the identity it names for it (None: one of its own)."""

    address: str
    arn: IdentityArn | None


def authorize(
    named: NamedArns,
    senders: Senders,
    context: SendContext,
    *,
    region: str,
    lookup: Lookup,
    user_policies: Sequence[Policy] = (),
) -> Authorized | Refusal:
    """Return the identities that a request may use, or the one refusal of the request.

    `context` says who calls and how; its from and feedback addresses are taken from `senders`.
    """
    arns = _read_arns(named)
    if isinstance(arns, Refusal):
        return arns
    shown = tuple(dict.fromkeys((*senders.authors, senders.sender))) if senders.sender else senders.authors
    check = _Check(
        replace(context, from_addresses=shown, feedback_address=senders.feedback), region, lookup, user_policies
    )
    claims = _claims(senders, arns)
    found = check.foreign(claims)
    if isinstance(found, Refusal):
        return found
    own = check.own(claims)
    if isinstance(own, Refusal):
        return own
    found |= own
    author = found[_author_claim(senders.authors[0], arns)]
    return Authorized(author, found.get(_feedback_claim(senders.feedback, arns)))


def access_denied(context: SendContext, arn: IdentityArn | str) -> Refusal:
    """Return the refusal of a caller that may not use an identity (ERR-003); it fits into a reply line."""
    action = context.action
    text = f"User `{context.caller_arn}' is not authorized to perform `{action}' on resource `{arn}'"
    return Refusal(Reason.ACCESS_DENIED, printable(text, REPLY_MAX_OCTETS - len("554 5.7.1 Access denied: \r\n")))


class _Check:
    """One request while its claims are checked."""

    def __init__(self, context: SendContext, region: str, lookup: Lookup, user_policies: Sequence[Policy]) -> None:
        self._context = context
        self._region = region
        self._lookup = lookup
        self._user_policies = user_policies

    def foreign(self, claims: Sequence[_Claim]) -> dict[_Claim, Identity] | Refusal:
        """Return the identities of other accounts that claims name; each is looked at whole before the next."""
        found: dict[_Claim, Identity] = {}
        for claim in claims:
            if claim.arn is None or claim.arn.account == self._context.account:
                continue
            identity = self._named(claim.address, claim.arn)
            if identity is None or not self._allows(claim.address, identity):
                return access_denied(self._context, claim.arn)
            found[claim] = identity
        return found

    def own(self, claims: Sequence[_Claim]) -> dict[_Claim, Identity] | Refusal:
        """Return the caller's own identities that the other claims rest on.

        An own identity that is named must be there, but which one counts does not depend on the name: the most
        specific one, else a user could walk round a policy that denies it.
        """
        found: dict[_Claim, Identity] = {}
        failed: list[str] = []
        for claim in claims:
            if claim.arn is not None and claim.arn.account != self._context.account:
                continue
            known = claim.arn is None or self._named(claim.address, claim.arn) is not None
            identity = self._most_specific(claim.address) if known else None
            if identity is None:
                failed.append(claim.address)
            else:
                found[claim] = identity
        if failed:
            return not_verified(tuple(dict.fromkeys(failed)), self._region)
        for claim, identity in found.items():
            if not self._allows(claim.address, identity):
                return access_denied(self._context, self._arn(identity))
        return found

    def _named(self, address: str, arn: IdentityArn) -> Identity | None:
        """Return the identity that an ARN names when it is verified and covers the address."""
        owned = self._lookup(arn.account, arn.name)
        if owned is None or not owned.identity.verified:
            return None
        return owned.identity if arn.region == self._region and covers(arn.name, address) else None

    def _most_specific(self, address: str) -> Identity | None:
        for name in covering_names(address):
            owned = self._lookup(self._context.account, name)
            if owned is not None and owned.identity.verified:
                return owned.identity
        return None

    def _allows(self, address: str, identity: Identity) -> bool:
        governing = self._governing(identity.account, address)
        return decide(self._context, self._arn(identity), governing, self._user_policies).allowed

    def _governing(self, owner: str, address: str) -> Sequence[Policy]:
        """Return the policies of the most specific identity that covers the address and has any (AUTHZ-012).

        It need not be verified any more: what its owner denied stays denied.
        """
        for name in covering_names(address):
            owned = self._lookup(owner, name)
            if owned is not None and owned.policies:
                return owned.policies
        return ()

    def _arn(self, identity: Identity) -> IdentityArn:
        return IdentityArn(self._region, identity.account, identity.name)


def covering_names(address: str) -> Iterator[str]:
    """Yield the names of all identities that cover an address, most specific first (IDENT-002, 004 to 006)."""
    parts = split_address(address)
    if parts is not None:
        yield from covering_addresses("@".join(parts))
        yield from covering_domains(parts[1])


def covers(name: str, address: str) -> bool:
    """Say whether an identity called `name` covers an address."""
    return name in covering_names(address)


# --- who is asked about what -------------------------------------------------------------------------------------


def _read_arns(named: NamedArns) -> _Arns | Refusal:
    found: list[IdentityArn | None] = []
    for label, text in (("source", named.source), ("from", named.author), ("return-path", named.return_path)):
        arn = parse_identity_arn(text) if text else None
        if isinstance(arn, BadArn):
            return Refusal(Reason.INVALID_ARN, f"The {label} ARN is not the ARN of an identity. {arn.text}")
        found.append(arn)
    return _Arns(*found)


def _claims(senders: Senders, arns: _Arns) -> tuple[_Claim, ...]:
    """Return what must hold, each once; the null sender needs no identity (SMTP-017)."""
    shown = (*senders.authors, senders.sender) if senders.sender else senders.authors
    claims = [_author_claim(address, arns) for address in shown]
    if senders.feedback:
        claims.append(_feedback_claim(senders.feedback, arns))
    if senders.envelope and senders.return_path:
        claims.append(_Claim(senders.envelope, arns.source or _if_covered(arns.author, senders.envelope)))
    return tuple(dict.fromkeys(claims))


def _author_claim(address: str, arns: _Arns) -> _Claim:
    return _Claim(address, arns.author or arns.source)


def _feedback_claim(address: str, arns: _Arns) -> _Claim:
    return _Claim(address, arns.return_path or arns.source or _if_covered(arns.author, address))


def _if_covered(arn: IdentityArn | None, address: str) -> IdentityArn | None:
    return arn if arn is not None and covers(arn.name, address) else None
