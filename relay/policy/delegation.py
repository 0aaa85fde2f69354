"""Which identities a request sends for, its own or those it names by ARN, and whether it may (AUTHZ-012, 014 to 017).

Who is asked about what:

    From, Sender            the from ARN, else the source ARN, else the caller's own identities
    feedback address        the return-path ARN, else the source ARN, else a from ARN that covers it, else its own
    envelope sender         the source ARN, else a from ARN that covers it, else its own

The feedback address is Return-Path, without that the envelope sender; reports go there when a request names an
identity of another account, else to the envelope sender (FLOW-016). The identity that an ARN names must be verified
and cover the address. The policies that decide are those of the most specific identity of the same owner that covers
the address and has any, so a policy on an address replaces those of its domain.

An identity of another account that does not exist, is not verified, does not cover the address, lies in another
region or does not allow gets one answer, word for word: nobody can find out which.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from relay.model.account import Identity
from relay.model.refusal import Reason, Refusal
from relay.policy.arn import BadArn, IdentityArn, parse_identity_arn
from relay.policy.authorization import Decision, Question, SendContext
from relay.policy.identity import REPLY_MAX_OCTETS, covering_names, not_verified, printable
from relay.policy.statements import Policy


@dataclass(frozen=True, slots=True)
class OwnedIdentity:
    """An identity with the policies attached to it."""

    identity: Identity
    policies: tuple[Policy, ...] = ()


Covering = Callable[[str, str], Sequence[OwnedIdentity]]
"""Return all identities of an account that cover an address, verified or not, most specific first."""


@dataclass(frozen=True, slots=True)
class NamedArns:
    """The ARNs a request names, "" where it names none; parameters of a call win over header fields."""

    source: str = ""
    author: str = ""
    return_path: str = ""

    @property
    def any(self) -> bool:
        """True when the request names one at all."""
        return bool(self.source or self.author or self.return_path)


NO_ARNS = NamedArns()


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
    def all(self) -> tuple[str, ...]:
        """Every sender once; the null sender is none."""
        named = (*self.authors, self.sender, self.envelope, self.return_path)
        return tuple(dict.fromkeys(address for address in named if address))

    @property
    def feedback(self) -> str:
        """The address that the return-path ARN, or what stands for it, must allow."""
        return self.return_path or self.envelope


@dataclass(frozen=True, slots=True)
class Authorized:
    """The identities a request may use; `account` says whose each is. `feedback` is None for the null sender.

    Reports go to `feedback_address`, "" for nowhere: the envelope sender (FLOW-016); where an identity of another
    account is named, Return-Path (AUTHZ-021). `why` is for the log: the policies that allowed it.
    """

    author: Identity
    feedback: Identity | None
    feedback_address: str = ""
    why: str = ""

    @property
    def accounts(self) -> frozenset[str]:
        """Whose identities they are."""
        return frozenset(one.account for one in (self.author, self.feedback) if one is not None)


@dataclass(frozen=True, slots=True)
class _Arns:
    source: IdentityArn | None
    author: IdentityArn | None
    return_path: IdentityArn | None

    def foreign_to(self, account: str) -> bool:
        """Say whether one is of another account."""
        return any(arn is not None and arn.account != account for arn in (self.source, self.author, self.return_path))


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
    covering: Covering,
    user_policies: Sequence[Policy] = (),
) -> Authorized | Refusal:
    """Return the identities that a request may use, or the one refusal of the request.

    `context` says who calls and how; its from and feedback addresses are taken from `senders`.
    """
    arns = _read_arns(named)
    if isinstance(arns, Refusal):
        return arns
    shown = tuple(dict.fromkeys((*senders.authors, senders.sender))) if senders.sender else senders.authors
    reports_to = _reports_to(senders, delegated=arns.foreign_to(context.account))
    check = _Check(
        replace(context, from_addresses=shown, feedback_address=reports_to), region, covering, user_policies
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
    return Authorized(author, found.get(_feedback_claim(senders.feedback, arns)), reports_to, check.why)


def access_denied(context: SendContext, arn: IdentityArn | str, why: str = "") -> Refusal:
    """Return the refusal of a caller that may not use an identity (ERR-003); it fits into a reply line."""
    action = context.action
    text = f"User `{context.caller_arn}' is not authorized to perform `{action}' on resource `{arn}'"
    return Refusal(
        Reason.ACCESS_DENIED, printable(text, REPLY_MAX_OCTETS - len("554 5.7.1 Access denied: \r\n")), why
    )


class _Check:
    """One request while its claims are checked."""

    def __init__(
        self, context: SendContext, region: str, covering: Covering, user_policies: Sequence[Policy]
    ) -> None:
        self._context = context
        self._region = region
        self._covering = covering
        self._user_policies = user_policies
        self._question = Question(context)
        self._decided: dict[tuple[IdentityArn, str], Decision] = {}

    @property
    def why(self) -> str:
        """The policies that allowed the request, for the log."""
        return "; ".join(dict.fromkeys(str(one) for one in self._decided.values() if one.policy))

    def foreign(self, claims: Sequence[_Claim]) -> dict[_Claim, Identity] | Refusal:
        """Return the identities of other accounts that claims name; each is looked at whole before the next."""
        found: dict[_Claim, Identity] = {}
        for claim in claims:
            if claim.arn is None or claim.arn.account == self._context.account:
                continue
            identity = self._named(claim.address, claim.arn)
            if isinstance(identity, str):
                return access_denied(self._context, claim.arn, f"{claim.arn} {identity}")
            decision = self._decide(claim.address, identity)
            if not decision.allowed:
                return access_denied(self._context, claim.arn, str(decision))
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
            known = claim.arn is None or not isinstance(self._named(claim.address, claim.arn), str)
            identity = self._most_specific(claim.address) if known else None
            if identity is None:
                failed.append(claim.address)
            else:
                found[claim] = identity
        if failed:
            return not_verified(tuple(dict.fromkeys(failed)), self._region)
        for claim, identity in found.items():
            decision = self._decide(claim.address, identity)
            if not decision.allowed:
                return access_denied(self._context, self._arn(identity), str(decision))
        return found

    def _named(self, address: str, arn: IdentityArn) -> Identity | str:
        """Return the identity that an ARN names when it is verified and covers the address, else what is wrong."""
        if arn.region != self._region:
            return f"is not of the region {self._region}"
        for owned in self._covering(arn.account, address):
            if owned.identity.name == arn.name:
                return owned.identity if owned.identity.verified else "is not verified"
        return f"does not exist, or does not cover {address}"

    def _most_specific(self, address: str) -> Identity | None:
        verified = (one.identity for one in self._covering(self._context.account, address) if one.identity.verified)
        return next(verified, None)

    def _decide(self, address: str, identity: Identity) -> Decision:
        """Ask the policies of the most specific identity that covers the address and has any (AUTHZ-012).

        It need not be verified any more: what its owner denied stays denied. All claims of a request are asked with
        the same values, so one answer serves those that rest on the same identity and policies.
        """
        covering = self._covering(identity.account, address)
        governing = next((one for one in covering if one.policies), None)
        key = (self._arn(identity), governing.identity.name if governing is not None else "")
        decision = self._decided.get(key)
        if decision is None:
            policies = governing.policies if governing is not None else ()
            decision = self._decided[key] = self._question.decide(key[0], policies, self._user_policies)
        return decision

    def _arn(self, identity: Identity) -> IdentityArn:
        return IdentityArn(self._region, identity.account, identity.name)


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


def _reports_to(senders: Senders, *, delegated: bool) -> str:
    if not senders.envelope:
        return ""  # the null sender gets no reports (SMTP-017)
    return senders.feedback if delegated else senders.envelope


def _author_claim(address: str, arns: _Arns) -> _Claim:
    return _Claim(address, arns.author or arns.source)


def _feedback_claim(address: str, arns: _Arns) -> _Claim:
    return _Claim(address, arns.return_path or arns.source or _if_covered(arns.author, address))


def _if_covered(arn: IdentityArn | None, address: str) -> IdentityArn | None:
    return arn if arn is not None and covers(arn.name, address) else None
