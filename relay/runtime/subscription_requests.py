"""What can be asked of subscriptions: endpoints and attributes checked, then kept in the catalog (TOPIC-120 to 139).

Commands call these functions; everything wrong is a RequestRefusedError with the name that the API gives it.
Attributes have the names of the API, and an empty value takes one away.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from relay.errors import RequestRefusedError
from relay.events.retry_policy import effective, of_subscription, of_topic
from relay.mail.address import BadAddress, parse_mailbox
from relay.model.topic import MAIL, WEB, FilterScope, Protocol, Subscription, SubscriptionState
from relay.policy.arn import BadArn, QueueArn, SubscriptionArn, TopicArn, parse_queue_arn, parse_subscription_arn
from relay.policy.endpoint import WebEndpoint, parse_web_endpoint
from relay.policy.filter_policy import filter_of
from relay.policy.jsontext import read_json
from relay.runtime.config.model import Config
from relay.runtime.topic_guard import judge_of, trusts
from relay.runtime.topic_requests import invalid
from relay.store.catalog import Catalog

SECRET_CHARS: Final = (16, 256)
SECRET: Final = "SharedSecret"  # noqa: S105 - the name of an attribute
SUBSCRIPTION_ATTRIBUTES: Final = (
    "RawMessageDelivery", "FilterPolicy", "FilterPolicyScope", "DeliveryPolicy", "RedrivePolicy", SECRET,
)  # fmt: skip
_REFUSED_PROTOCOLS: Final = {
    "sms": "text messages are not offered",
    "application": "mobile push is not offered",
    "lambda": "named functions are not offered yet",
    "firehose": "streams are not offered yet; name the stream in an event destination instead",
}
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")


def subscription_arn(text: str, region: str) -> SubscriptionArn:
    """Return the subscription of an ARN."""
    found = parse_subscription_arn(text)
    if isinstance(found, BadArn):
        raise invalid(f"SubscriptionArn: {found.text}")
    if found.topic.region != region:
        raise RequestRefusedError("NotFound", "Subscription does not exist")
    return found


def arn_of(subscription: Subscription, region: str) -> SubscriptionArn:
    """Return the ARN of a subscription."""
    return SubscriptionArn(TopicArn(region, subscription.account, subscription.topic), subscription.id)


def find_subscription(catalog: Catalog, text: str, region: str) -> Subscription:
    """Return the subscription of an ARN, which must exist."""
    arn = subscription_arn(text, region)
    found = catalog.subscriptions.require(arn.id)
    if (found.account, found.topic) != (arn.topic.account, arn.topic.name):
        raise RequestRefusedError("NotFound", "Subscription does not exist")
    return found


def subscribe(  # noqa: PLR0917 - the parts of a request
    config: Config,
    catalog: Catalog,
    topic: TopicArn,
    owner: str,
    protocol: str,
    endpoint: str,
    attributes: Mapping[str, str],
) -> Subscription:
    """Subscribe an endpoint; it is asked to confirm, unless it is the owner's own (TOPIC-120, TOPIC-124).

    One that is subscribed already is returned as it is; then `attributes` must not say anything else.
    """
    catalog.topics.require(topic.account, topic.name)
    kind = _protocol(protocol)
    kept, login = _endpoint(config, kind, endpoint, owner)
    state = SubscriptionState.CONFIRMED if _is_own(catalog, kind, kept, owner) else SubscriptionState.PENDING
    blank = Subscription("", topic.account, topic.name, owner, kind, kept, state, 0, 0, login=login)
    wanted = with_subscription_attributes(config, blank, attributes)
    found = catalog.subscriptions.of_endpoint(wanted)
    if found is not None and with_subscription_attributes(config, replace(found, login=login), attributes) != found:
        raise invalid("Attributes: the endpoint is subscribed already with different attributes")
    return catalog.subscriptions.create(wanted)


def set_subscription(
    config: Config, catalog: Catalog, subscription: Subscription, attributes: Mapping[str, str]
) -> Subscription:
    """Change attributes of a subscription, all or none."""
    return catalog.subscriptions.update(with_subscription_attributes(config, subscription, attributes))


def subscription_attributes(config: Config, catalog: Catalog, found: Subscription) -> dict[str, str]:
    """Return all attributes of a subscription, as GetSubscriptionAttributes does; no secret is among them."""
    topic = catalog.topics.require(found.account, found.topic)
    limit = config.topics.retry_delays_max
    shown = {
        "SubscriptionArn": str(arn_of(found, config.region)),
        "TopicArn": str(TopicArn(config.region, found.account, found.topic)),
        "Protocol": str(found.protocol),
        "Endpoint": shown_endpoint(found),
        "Owner": found.owner,
        "PendingConfirmation": _flag(found.state is not SubscriptionState.CONFIRMED),
        "ConfirmationWasAuthenticated": _flag(found.authenticated),
        "RawMessageDelivery": _flag(found.raw),
        "DeliveryPolicy": found.delivery_policy,
        "RedrivePolicy": _redrive_text(found.redrive),
        "FilterPolicy": found.filter_policy,
        "FilterPolicyScope": str(found.filter_scope) if found.filter_policy else "",
    }
    if found.protocol in WEB:
        own = of_subscription(found.delivery_policy, sum_max_seconds=limit)
        both = effective(of_topic(topic.delivery_policy, sum_max_seconds=limit), own)
        shown["EffectiveDeliveryPolicy"] = both.as_json()
    return {name: value for name, value in shown.items() if value}


def shown_endpoint(found: Subscription) -> str:
    """Return an endpoint for listings: a password is hidden, and who logs in is not told either (TOPIC-139)."""
    if not found.login:
        return found.endpoint
    scheme, _, rest = found.endpoint.partition("://")
    return f"{scheme}://****:****@{rest}"


def with_subscription_attributes(config: Config, one: Subscription, attributes: Mapping[str, str]) -> Subscription:
    """Return a subscription with attributes changed."""
    scope = attributes.get("FilterPolicyScope", one.filter_scope)
    if scope not in set(FilterScope):
        raise invalid(f"FilterPolicyScope: {' or '.join(FilterScope)}")
    one = replace(one, filter_scope=FilterScope(scope))
    for name, value in attributes.items():
        if name == "RawMessageDelivery":
            one = replace(one, raw=_raw(one.protocol, value))
        elif name == "FilterPolicy":
            one = replace(one, filter_policy="" if value == "{}" else value)
        elif name == "DeliveryPolicy":
            one = replace(one, delivery_policy=_delivery_policy(config, one.protocol, value))
        elif name == "RedrivePolicy":
            one = replace(one, redrive=_redrive(config, one.account, value))
        elif name == SECRET:
            one = replace(one, secret=_secret(one.protocol, value))
        elif name != "FilterPolicyScope":
            raise invalid(f"AttributeName: a subscription has {', '.join(SUBSCRIPTION_ATTRIBUTES)}")
    if one.filter_policy:
        filter_of(one.filter_policy, one.filter_scope)
    return one


def _protocol(text: str) -> Protocol:
    if text in _REFUSED_PROTOCOLS:
        raise invalid(f"Protocol: {_REFUSED_PROTOCOLS[text]}")
    try:
        return Protocol(text)
    except ValueError:
        raise invalid(f"Protocol: one of {', '.join(Protocol)}") from None


def _endpoint(config: Config, protocol: Protocol, text: str, owner: str) -> tuple[str, str]:
    """Return an endpoint in the form it is kept in, and its login."""
    if protocol in WEB:
        return _web_endpoint(config, protocol, text)
    if protocol in MAIL:
        address = parse_mailbox(text, smtputf8=True)
        if isinstance(address, BadAddress):
            raise invalid(f"Endpoint: {address}")
        return str(address), ""
    if not text.startswith("arn:"):
        if not _QUEUE_NAME.match(text):
            raise invalid("Endpoint: a local queue has a name of 1 to 80 letters, digits, - and _")
        return str(QueueArn(config.region, owner, text)), ""
    return str(_own_queue(config, owner, text, "Endpoint")), ""


def _web_endpoint(config: Config, protocol: Protocol, text: str) -> tuple[str, str]:
    found = parse_web_endpoint(text, protocol)
    if not isinstance(found, WebEndpoint):
        raise invalid(f"Endpoint: {found}")
    fault = _address_fault(config, found)
    if fault:
        raise invalid(f"Endpoint: {fault}")
    return str(found), found.login


def _address_fault(config: Config, found: WebEndpoint) -> str:
    """Return why a host that is an address, or a port, is not connected to; a name is looked up at delivery."""
    local = found.host == "localhost" or found.host.endswith(".localhost")
    address = "127.0.0.1" if local else found.address
    if address and judge_of(config)(address):
        return "its address is loopback, private or link-local; the operator can allow it in topics.private_networks"
    trusted = trusts(config)(address) if address else bool(config.topics.private_networks)
    if found.port not in config.topics.ports and not trusted:
        return f"port {found.port} is none of {', '.join(map(str, config.topics.ports))} (topics.ports)"
    return ""


def _own_queue(config: Config, account: str, text: str, what: str) -> QueueArn:
    queue = parse_queue_arn(text)
    if isinstance(queue, BadArn):
        raise invalid(f"{what}: {queue.text}")
    if (queue.region, queue.account) != (config.region, account):
        raise invalid(f"{what}: a local queue is one of account {account} in region {config.region}")
    return queue


def _is_own(catalog: Catalog, protocol: Protocol, endpoint: str, owner: str) -> bool:
    """Say whether whoever subscribes owns the endpoint too (TOPIC-124)."""
    if protocol is Protocol.QUEUE:
        return True
    if protocol not in MAIL:
        return False
    details = (catalog.identities.get(owner, name) for name in (endpoint, endpoint.rpartition("@")[2]))
    return any(one is not None and one.identity.verified for one in details)


def _raw(protocol: Protocol, value: str) -> bool:
    if value not in {"true", "false"}:
        raise invalid("RawMessageDelivery: true or false")
    if value == "true" and protocol in MAIL:
        raise invalid("RawMessageDelivery: mail has no other form")
    return value == "true"


def _delivery_policy(config: Config, protocol: Protocol, value: str) -> str:
    if value and protocol not in WEB:
        raise invalid("DeliveryPolicy: only http and https subscriptions have one")
    of_subscription(value, sum_max_seconds=config.topics.retry_delays_max)
    return value


def _redrive(config: Config, account: str, value: str) -> str:
    if not value:
        return ""
    read: Any = read_json(value, 1024)
    if (
        isinstance(read, str)
        or list(read) != ["deadLetterTargetArn"]
        or not isinstance(read["deadLetterTargetArn"], str)
    ):
        raise invalid('RedrivePolicy: {"deadLetterTargetArn": "ARN of a local queue"}')
    return str(_own_queue(config, account, read["deadLetterTargetArn"], "RedrivePolicy"))


def _redrive_text(arn: str) -> str:
    return f'{{"deadLetterTargetArn":"{arn}"}}' if arn else ""


def _secret(protocol: Protocol, value: str) -> str:
    if protocol not in WEB:
        raise invalid(f"{SECRET}: only http and https subscriptions have one")
    least, most = SECRET_CHARS
    if value and not (least <= len(value) <= most and value.isascii() and value.isprintable()):
        raise invalid(f"{SECRET}: {least} to {most} printable ASCII characters")
    return value


def _flag(value: bool) -> str:  # noqa: FBT001 - what is written down
    return "true" if value else "false"
