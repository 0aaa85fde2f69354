"""The values that a policy text becomes: what a statement is about, and whether a request is among it.

`relay.policy.document` makes them from text, `relay.policy.authorization` asks them.
"""

from dataclasses import dataclass
from enum import StrEnum

from relay.policy.arn import IdentityArn, TopicArn
from relay.policy.conditions import Condition
from relay.policy.glob import Glob

SEND_ACTIONS = ("ses:SendEmail", "ses:SendRawEmail", "ses:SendTemplatedEmail", "ses:SendBulkTemplatedEmail")


class Effect(StrEnum):
    """What a statement does with the requests it is about."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class Principals:
    """Who a statement is about. `users` are user ARNs; an account stands for all its users and keys."""

    everyone: bool = False
    accounts: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()

    def match(self, account: str, user_arn: str, service: str) -> bool:
        """Say whether a caller is meant: a service by its name, else an account and, where it has one, its user."""
        if service:
            return self.everyone or service in self.services
        return self.everyone or account in self.accounts or user_arn in self.users


@dataclass(frozen=True, slots=True)
class Actions:
    """The actions a statement is about, in lower case (they compare without case); `negated`: all others."""

    names: frozenset[str]
    globs: tuple[Glob, ...] = ()
    negated: bool = False

    def match(self, action: str) -> bool:
        """Say whether an action such as `ses:SendRawEmail` is meant."""
        lowered = action.lower()
        return (lowered in self.names or any(glob.fits(lowered) for glob in self.globs)) is not self.negated


@dataclass(frozen=True, slots=True)
class IdentityPattern:
    """Patterns of the three parts of an identity ARN that differ."""

    region: Glob
    account: Glob
    name: Glob

    def fits(self, arn: IdentityArn | TopicArn) -> bool:
        """Say whether an identity is meant."""
        return self.account.fits(arn.account) and self.region.fits(arn.region) and self.name.fits(arn.name)


@dataclass(frozen=True, slots=True)
class Resources:
    """The identities a statement is about; `negated`: all others, and calls that concern no identity."""

    everything: bool = False
    patterns: tuple[IdentityPattern, ...] = ()
    negated: bool = False

    def match(self, arn: IdentityArn | TopicArn | None) -> bool:
        """Say whether an identity is meant; None stands for a call that concerns none."""
        named = arn is not None and any(pattern.fits(arn) for pattern in self.patterns)
        return (self.everything or named) is not self.negated


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    `principals` is None in a policy of a user, which is about that user; `resources` is None in a policy of an
    identity, which is about that identity.
    """

    effect: Effect
    actions: Actions
    resources: Resources | None = None
    sid: str = ""
    principals: Principals | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that was read without faults; `name` is the one it is stored under."""

    name: str
    statements: tuple[Statement, ...]
    version: str = ""
    policy_id: str = ""
