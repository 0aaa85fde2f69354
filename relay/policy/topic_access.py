"""Who may publish to a topic (TOPIC-002, TOPIC-003, TOPIC-142, TOPIC-143).

    an explicit Deny for the publisher            denied, whatever else is allowed
    a topic of the publisher's own account        allowed
    a topic of another account                    needs an Allow, for the service when the relay publishes by itself,
                                                  or for the account it publishes for

The relay publishes by itself as the service `ses.amazonaws.com`, for an account and because of a configuration set,
an identity or a rule, whose ARN is `aws:SourceArn`. The guide asks topics of others to allow the service on one
page and the sending account on another; either is enough here.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from relay.policy.arn import TopicArn
from relay.policy.authorization import NO_MATCH, Decision, SendContext, Verdict, decide
from relay.policy.document import Faults, parse_topic_policy
from relay.policy.statements import Actions, Effect, Policy, Statement

SERVICE: Final = "ses.amazonaws.com"
SERVICES: Final = frozenset({SERVICE})
PUBLISH: Final = "sns:Publish"

_OWN = Decision(Verdict.ALLOW)
_UNREADABLE = Policy(
    "(the stored policy cannot be read)", (Statement(Effect.DENY, Actions(frozenset(), negated=True)),)
)


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes: an account, and what for when the relay does it by itself ("": the account asks for it)."""

    account: str
    source_arn: str = ""


def may_publish(topic: TopicArn, policy: str, publisher: Publisher, now_ms: int) -> Decision:
    """Decide whether a publisher may publish to a topic with the text of its policy, "" for none."""
    own = topic.account == publisher.account
    if not policy:
        return _OWN if own else NO_MATCH
    compiled = _compiled(policy, topic)
    asked = [_as(publisher, now_ms, service) for service in ((SERVICE, "") if publisher.source_arn else ("",))]
    # Asked as if the topic were another's: what the owner may do without a policy is added below.
    found = [decide(context, None if context.service else _elsewhere(topic), (compiled,)) for context in asked]
    for verdict in (Verdict.DENY, Verdict.TOO_MUCH):
        for one in found:
            if one.verdict is verdict:
                return one
    if own:
        return _OWN
    return next((one for one in found if one.allowed), NO_MATCH)


def _as(publisher: Publisher, now_ms: int, service: str) -> SendContext:
    return SendContext(
        PUBLISH,
        publisher.account,
        service=service,
        source_account=publisher.account if publisher.source_arn else "",
        source_arn=publisher.source_arn,
        now_ms=now_ms,
        secure_transport=True,
    )


def _elsewhere(topic: TopicArn) -> TopicArn:
    """Return a topic that nobody owns, for the evaluator, which lets owners do everything."""
    return TopicArn(topic.region, "", topic.name)


@lru_cache(maxsize=256)
def _compiled(text: str, topic: TopicArn) -> Policy:
    """Return a policy ready to be asked; one that cannot be read may have held a Deny, and denies everything."""
    read = parse_topic_policy(text, topic, SERVICES)
    return _UNREADABLE if isinstance(read, Faults) else read
