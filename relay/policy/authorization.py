"""May this caller do this: the evaluator of policies (AUTHZ-007, AUTHZ-011, AUTHZ-013).

    an explicit Deny in any policy that applies    denied, whatever else is allowed
    the owner's own account                        an Allow in a policy of the user or of the identity is enough;
                                                   a key of the account itself may do everything
    another account, or a service                  needs an Allow in a policy of the identity, and, when its key has
                                                   policies of a user, there too

Everything about the request is a value; nothing is looked up here.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from relay.policy.arn import AccountRoot, IdentityArn, TopicArn
from relay.policy.statements import Effect, Policy, Statement

SMTP_ACTION = "ses:SendRawEmail"  # AUTHZ-005
SMTP_API_VERSION = "2"  # AUTHZ-007


@dataclass(frozen=True, slots=True)
class SendContext:
    """A request as policies see it.

    `account` is the caller's; `user_arn` its user, "" for a key without one; `service` the name of a service that
    calls on its own, "" for accounts. `from_names` are the display names beside `from_addresses`, decoded, "" where
    one has none. `feedback_address` is where reports go, "" for nowhere. "" and None stand for what is not known.
    """

    action: str
    account: str
    user_arn: str = ""
    service: str = ""
    recipients: tuple[str, ...] = ()
    from_addresses: tuple[str, ...] = ()
    from_names: tuple[str, ...] = ()
    feedback_address: str = ""
    api_version: str = SMTP_API_VERSION
    now_ms: int = 0
    secure_transport: bool | None = None
    source_ip: str = ""
    user_agent: str = ""
    source_account: str = ""
    source_arn: str = ""
    org_id: str = ""

    @property
    def caller_arn(self) -> str:
        """The caller as refusals name it."""
        return self.user_arn or str(AccountRoot(self.account))


class Verdict(StrEnum):
    """How a decision came about."""

    ALLOW = "allow"
    DENY = "explicit deny"
    NO_MATCH = "no matching allow"
    TOO_MUCH = "too much to decide"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request may go on, and the policy and statement that said so ("" when none did)."""

    verdict: Verdict
    policy: str = ""
    sid: str = ""

    @property
    def allowed(self) -> bool:
        """True when the request may go on."""
        return self.verdict is Verdict.ALLOW

    def __str__(self) -> str:
        """What the operator's log says."""
        by = f"{self.verdict} of policy {self.policy}" if self.policy else str(self.verdict)
        return f"{by}, statement {self.sid}" if self.sid else by


NO_MATCH = Decision(Verdict.NO_MATCH)
TOO_MUCH = Decision(Verdict.TOO_MUCH)
_OWNER = Decision(Verdict.ALLOW)

STEPS_MAX = 500_000
"""What one request may cost. A step takes 20 to 50 ns here, so the loop waits 25 ms at worst (`bench.policy`).

More is asked for only by very many patterns with very many recipients, authors or a very long name.
"""
_STATEMENT_STEPS = 10
_LONG_CHARS = 256  # what counts as one value; a longer one counts as several


def always_allows(policies: Sequence[Policy], action: str) -> bool:
    """Say whether policies of a user allow an action whatever the request is about, as the usual one does."""
    found = False
    for policy in policies:
        for one in policy.statements:
            if one.effect is Effect.DENY:
                return False
            everything = one.resources is not None and one.resources.everything and not one.resources.negated
            found = found or (everything and not one.conditions and one.actions.match(action))
    return found


def decide(
    context: SendContext,
    resource: IdentityArn | TopicArn | None,
    identity_policies: Sequence[Policy],
    user_policies: Sequence[Policy] = (),
) -> Decision:
    """Decide about one request and the identity it uses, None for a call that concerns no identity.

    `identity_policies` are those that stand for the address used (AUTHZ-012); no `user_policies` mean that the key
    has none.
    """
    return Question(context).decide(resource, identity_policies, user_policies)


class Question:
    """A request while policies are asked about it, once for each identity that it uses.

    The values of condition keys are made when first needed. What all the answers cost together is bounded by
    `STEPS_MAX`; then the answer is TOO_MUCH, which allows nothing.
    """

    __slots__ = ("_context", "_steps", "_values")

    def __init__(self, context: SendContext) -> None:
        self._context = context
        self._values: dict[str, tuple[tuple[str, ...], int]] = {}
        self._steps = STEPS_MAX

    def decide(
        self,
        resource: IdentityArn | TopicArn | None,
        identity_policies: Sequence[Policy],
        user_policies: Sequence[Policy] = (),
    ) -> Decision:
        """Decide about one identity; see the function of this name."""
        context = self._context
        owned = not context.service and (resource is None or resource.account == context.account)
        if owned and not identity_policies and not user_policies:
            return _OWNER
        of_identity = self._asked(resource, identity_policies)
        of_user = self._asked(resource, user_policies)
        for verdict in (Verdict.DENY, Verdict.TOO_MUCH):
            for one in (of_identity, of_user):
                if one.verdict is verdict:
                    return one
        if owned:
            if not user_policies:
                return _OWNER
            return of_user if of_user.allowed else of_identity
        if user_policies and not of_user.allowed:
            return of_user
        return of_identity

    def _asked(self, resource: IdentityArn | TopicArn | None, policies: Sequence[Policy]) -> Decision:
        """Return the first Deny, else the first Allow, else that nothing matched."""
        allowed = NO_MATCH
        for policy in policies:
            for statement in policy.statements:
                if statement.effect is Effect.ALLOW and allowed.allowed:
                    continue
                if not self._concerns(statement, resource):
                    continue
                if self._steps < 0:
                    return TOO_MUCH
                if not self._holds(statement):
                    continue
                if statement.effect is Effect.DENY:
                    return Decision(Verdict.DENY, policy.name, statement.sid)
                allowed = Decision(Verdict.ALLOW, policy.name, statement.sid)
        return allowed

    def _concerns(self, statement: Statement, resource: IdentityArn | TopicArn | None) -> bool:
        """Say whether a statement is about the caller, the action and the identity, and count what it will cost."""
        self._steps -= _STATEMENT_STEPS
        context, principals = self._context, statement.principals
        if principals is not None and not principals.match(context.account, context.user_arn, context.service):
            return False
        if not statement.actions.match(context.action):
            return False
        if statement.resources is not None and not statement.resources.match(resource):
            return False
        for one in statement.conditions:
            self._steps -= one.steps * self._of(one.key)[1]
        return True

    def _holds(self, statement: Statement) -> bool:
        allowing = statement.effect is Effect.ALLOW
        return all(one.holds(self._of(one.key)[0], allowing=allowing) for one in statement.conditions)

    def _of(self, key: str) -> tuple[tuple[str, ...], int]:
        """Return the values of a key, and how many values of usual length they count as."""
        found = self._values.get(key)
        if found is None:
            values = _READERS[key](self._context)
            found = self._values[key] = (values, sum(1 + len(value) // _LONG_CHARS for value in values))
        return found


def _some(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


def _names(context: SendContext) -> tuple[str, ...]:
    """Return the display names, composed, so that one name has one spelling; none when no author has one."""
    names = tuple(unicodedata.normalize("NFC", name) for name in context.from_names)
    return names if any(names) else ()


def _time(context: SendContext) -> tuple[str, ...]:
    moment = datetime.fromtimestamp(context.now_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return (f"{moment}.{context.now_ms % 1000:03}Z",)


def _secure(context: SendContext) -> tuple[str, ...]:
    return () if context.secure_transport is None else (str(context.secure_transport).lower(),)


_READERS: dict[str, Callable[[SendContext], tuple[str, ...]]] = {
    "ses:Recipients": lambda context: context.recipients,
    "ses:FromAddress": lambda context: context.from_addresses,
    "ses:FromDisplayName": _names,
    "ses:FeedbackAddress": lambda context: _some(context.feedback_address),
    "ses:ApiVersion": lambda context: _some(context.api_version),
    "aws:CurrentTime": _time,
    "aws:EpochTime": lambda context: (str(context.now_ms // 1000),),
    "aws:SecureTransport": _secure,
    "aws:SourceIp": lambda context: _some(context.source_ip),
    "aws:UserAgent": lambda context: _some(context.user_agent),
    "aws:SourceAccount": lambda context: _some(context.source_account),
    "aws:SourceArn": lambda context: _some(context.source_arn),
    "aws:SourceOwner": lambda context: _some(context.source_account or context.account),
    "aws:PrincipalOrgID": lambda context: _some(context.org_id),
}
