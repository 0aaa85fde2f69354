"""What can be asked of topics: names and attributes checked, then kept in the catalog (TOPIC-001 to 004, 120, 142).

Commands call these functions; everything wrong is a RequestRefusedError with the name that the API gives it.
Attributes have the names of the API, and an empty value takes one away.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from relay.errors import InvalidPolicyError, RequestRefusedError
from relay.events.retry_policy import of_topic
from relay.model.topic import SubscriptionState, Topic
from relay.policy.arn import BadArn, TopicArn, parse_topic_arn
from relay.policy.document import Faults, parse_topic_policy
from relay.policy.topic_access import SERVICES, Publisher, may_publish
from relay.runtime.config.model import Config
from relay.signing.notification import VERSIONS
from relay.store.catalog import Catalog
from relay.store.catalog_topics import no_topic

DISPLAY_NAME_MAX_CHARS: Final = 100
FIFO: Final = ".fifo"
TOPIC_ATTRIBUTES: Final = ("DisplayName", "Policy", "DeliveryPolicy", "SignatureVersion")
_TOPIC_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}\Z")


def invalid(reason: str) -> RequestRefusedError:
    """Return the error about a value that cannot be."""
    return RequestRefusedError("InvalidParameter", f"Invalid parameter: {reason}")


def topic_arn(text: str, region: str, account: str) -> TopicArn:
    """Return the topic of an ARN, or of a name of the account."""
    if not text.startswith("arn:"):
        return TopicArn(region, account, _topic_name(text))
    return parsed_topic_arn(text, region)


def parsed_topic_arn(text: str, region: str) -> TopicArn:
    """Return the topic of an ARN of this region."""
    _no_fifo(text)
    found = parse_topic_arn(text)
    if isinstance(found, BadArn):
        raise invalid(f"TopicArn: {found.text}")
    if found.region != region:
        raise no_topic()
    return found


def create_topic(
    config: Config, catalog: Catalog, account: str, name: str, attributes: Mapping[str, str]
) -> tuple[Topic, bool]:
    """Make a topic; return it and whether it is new. One of this name must have the attributes given."""
    blank = Topic(account, _topic_name(name), signature_version=str(config.topics.signature_version))
    wanted = _with_topic_attributes(config, blank, attributes)
    found, new = catalog.topics.create(wanted)
    given = _with_topic_attributes(config, found, attributes)
    if given != found:
        raise invalid("Attributes: the topic exists already with different attributes")
    return found, new


def set_topic(config: Config, catalog: Catalog, arn: TopicArn, attributes: Mapping[str, str]) -> Topic:
    """Change attributes of a topic, all or none."""
    found = catalog.topics.require(arn.account, arn.name)
    return catalog.topics.update(_with_topic_attributes(config, found, attributes))


def topic_attributes(config: Config, catalog: Catalog, topic: Topic) -> dict[str, str]:
    """Return all attributes of a topic, as GetTopicAttributes does."""
    counts = catalog.topics.counts(topic.account, topic.name)
    policy = of_topic(topic.delivery_policy, sum_max_seconds=config.topics.retry_delays_max)
    found = {
        "TopicArn": str(TopicArn(config.region, topic.account, topic.name)),
        "Owner": topic.account,
        "Policy": topic.policy,
        "DisplayName": topic.display_name,
        "DeliveryPolicy": topic.delivery_policy,
        "EffectiveDeliveryPolicy": policy.as_json(),
        "SubscriptionsConfirmed": str(counts[SubscriptionState.CONFIRMED]),
        "SubscriptionsPending": str(counts[SubscriptionState.PENDING]),
        "SubscriptionsDeleted": str(topic.ended),
        "SignatureVersion": topic.signature_version,
    }
    return {name: value for name, value in found.items() if value or name not in {"Policy", "DeliveryPolicy"}}


def texts_of(message: str, structure: str) -> dict[str, str]:
    """Return the texts of a message by protocol (`MessageStructure`): one is `default`."""
    if structure not in {"", "json"}:
        raise invalid("MessageStructure: json")
    if not structure:
        return {"default": message}
    read: Any = _json(message)
    if not isinstance(read, dict) or not isinstance(read.get("default"), str):
        raise invalid("Message Structure - No default entry in JSON message body")
    return {name: text for name, text in read.items() if isinstance(text, str)}


def require_publishable(  # noqa: PLR0917 - what is asked, and by whom
    config: Config, catalog: Catalog, arn_text: str, account: str, source_arn: str, now_ms: int
) -> TopicArn:
    """Return a topic that the relay may publish to for an account and a source (TOPIC-001 to TOPIC-004, TOPIC-142).

    Raise RequestRefusedError `InvalidParameterValue` when it may not, or there is no such topic here.
    """
    try:
        arn = topic_arn(arn_text, config.region, account)
        topic = catalog.topics.require(arn.account, arn.name)
    except RequestRefusedError as error:
        raise RequestRefusedError("InvalidParameterValue", f"Invalid Amazon SNS topic: {error}") from None
    decision = may_publish(arn, topic.policy, Publisher(account, source_arn), now_ms)
    if not decision.allowed:
        raise RequestRefusedError(
            "InvalidParameterValue",
            f"Invalid Amazon SNS topic: account {account} may not publish to {arn} ({decision}); its policy has to "
            "allow sns:Publish.",
        )
    return arn


def _topic_name(name: str) -> str:
    _no_fifo(name)
    if not _TOPIC_NAME.match(name):
        raise invalid("Topic Name: 1 to 256 letters, digits, - and _")
    return name


def _no_fifo(name: str) -> None:
    if name.endswith(FIFO):
        raise invalid("only standard topics exist; a name must not end in .fifo")


def _with_topic_attributes(config: Config, topic: Topic, attributes: Mapping[str, str]) -> Topic:
    for name, value in attributes.items():
        if name == "DisplayName":
            if len(value) > DISPLAY_NAME_MAX_CHARS or not value.isprintable():
                raise invalid(f"DisplayName: at most {DISPLAY_NAME_MAX_CHARS} printable characters")
            topic = replace(topic, display_name=value)
        elif name == "Policy":
            topic = replace(topic, policy=_topic_policy(config, topic, value))
        elif name == "DeliveryPolicy":
            of_topic(value, sum_max_seconds=config.topics.retry_delays_max)
            topic = replace(topic, delivery_policy=value)
        elif name == "SignatureVersion":
            if value not in VERSIONS:
                raise invalid("SignatureVersion: 1 or 2")
            topic = replace(topic, signature_version=value)
        elif name == "FifoTopic":
            raise invalid("FifoTopic: only standard topics exist")
        else:
            raise invalid(f"AttributeName: a topic has {', '.join(TOPIC_ATTRIBUTES)}")
    return topic


def _topic_policy(config: Config, topic: Topic, text: str) -> str:
    if text:
        read = parse_topic_policy(text, TopicArn(config.region, topic.account, topic.name), SERVICES)
        if isinstance(read, Faults):
            raise InvalidPolicyError(read)
    return text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
