"""`relay topic subscribe` and its kin: who gets what is published to a topic (TOPIC-120 to 125)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, write_fields, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.topic import Subscription
    from relay.runtime.cli.site import Site

TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="The ARN of a topic, or its name.")]
SubscriptionArgument = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="The ARN of a subscription.")]
RawOption = Annotated[
    bool | None,
    typer.Option("--raw/--no-raw", help="The bare message without an envelope.", show_default=False),
]
FilterOption = Annotated[
    str | None,
    typer.Option("--filter", metavar="JSON", help='What is wanted, as a filter policy; "": all.', show_default=False),
]
ScopeOption = Annotated[
    str | None,
    typer.Option(
        "--filter-scope", metavar="SCOPE", help="MessageAttributes, or MessageBody.", show_default="MessageAttributes"
    ),
]
DeliveryOption = Annotated[
    str | None,
    typer.Option(
        "--delivery-policy", metavar="JSON", help='How deliveries are tried again; "": as the topic says.',
        show_default=False,
    ),
]  # fmt: skip
RedriveOption = Annotated[
    str | None,
    typer.Option(
        "--dead-letter-queue", metavar="ARN", help='Local queue for what could not be delivered; "": none.',
        show_default=False,
    ),
]  # fmt: skip
SecretOption = Annotated[
    Path | None,
    typer.Option(
        "--secret-file", metavar="FILE", help="Signs bodies in x-relay-signature; /dev/null: no more.",
        show_default=False,
    ),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add these commands to `relay topic`."""
    for command, name in (
        (subscribe, "subscribe"),
        (subscriptions, "subscriptions"),
        (subscription, "subscription"),
        (confirm, "confirm"),
        (unsubscribe, "unsubscribe"),
        (set_subscription, "set-subscription"),
    ):
        app.command(name)(command)


def subscribe(
    topic: TopicArgument,
    protocol: Annotated[
        str, typer.Argument(metavar="PROTOCOL", help="http, https, email, email-json, or sqs for a local queue.")
    ],
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", help="A URL, an address, or the name of a queue.")],
    *,
    raw: RawOption = None,
    filter_policy: FilterOption = None,
    filter_scope: ScopeOption = None,
    delivery_policy: DeliveryOption = None,
    dead_letter_queue: RedriveOption = None,
    secret_file: SecretOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Subscribe an endpoint; what is not your own is asked to confirm first, and gets nothing before."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.subscription_requests import subscribe as made  # noqa: PLC0415
    from relay.runtime.topic_requests import topic_arn  # noqa: PLC0415

    attributes = _attributes(raw, filter_policy, filter_scope, delivery_policy, dead_letter_queue, secret_file)
    site = open_site(config)
    with site.catalog() as catalog:
        arn = topic_arn(topic, site.config.region, account)
        found = made(site.config, catalog, arn, account, protocol, endpoint, attributes)
    site.audit("topic.subscribe", arn.account, {"subscription": _arn(site, found), "protocol": protocol})
    if as_json:
        write_json(_object(site, found))
    elif found.state == "confirmed":
        typer.echo(_arn(site, found))
    else:
        typer.echo(f"{_arn(site, found)} waits for its endpoint to confirm it within two days.")


def subscriptions(
    topic: Annotated[
        str,
        typer.Argument(metavar="[TOPIC]", help="The ARN of a topic, or its name; all of the account without one."),
    ] = "",
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the subscriptions of a topic, or all that an account made."""
    from relay.runtime.cli.paging import all_pages  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.subscription_requests import shown_endpoint  # noqa: PLC0415
    from relay.runtime.topic_requests import topic_arn  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        kept = catalog.subscriptions
        if topic:
            arn = topic_arn(topic, site.config.region, account)
            catalog.topics.require(arn.account, arn.name)
            found = list(all_pages(lambda after: kept.of_topic(arn.account, arn.name, after=after), _id))
        else:
            found = list(all_pages(lambda after: kept.of_owner(account, after=after), _id))
    if as_json:
        write_json_lines(_object(site, one) for one in found)
        return
    write_table(
        ("Subscription", "Protocol", "Endpoint", "State"),
        ((_arn(site, one), one.protocol, shown_endpoint(one), one.state) for one in found),
        empty="There are no subscriptions.",
    )


def subscription(
    subscription: SubscriptionArgument,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a subscription is set to."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.subscription_requests import find_subscription, subscription_attributes  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = find_subscription(catalog, subscription, site.config.region)
        shown = subscription_attributes(site.config, catalog, found)
    if as_json:
        write_json({**_object(site, found), **shown})
    else:
        write_fields({**shown, "state": found.state, "shared secret": "yes" if found.secret else "no"})


def confirm(
    subscription: Annotated[
        str, typer.Argument(metavar="SUBSCRIPTION|TOPIC", help="A subscription to confirm; with a token its topic.")
    ],
    token: Annotated[str, typer.Argument(metavar="[TOKEN]", help="The token that its endpoint got.")] = "",
    *,
    authenticate_on_unsubscribe: Annotated[
        bool, typer.Option("--authenticate-on-unsubscribe", help="Only its owner may end it; needs a token.")
    ] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Confirm a subscription: with the token its endpoint got, or without one, vouching for the endpoint."""
    from relay.errors import UsageError  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.subscription_requests import find_subscription  # noqa: PLC0415
    from relay.runtime.topic_requests import topic_arn  # noqa: PLC0415

    if authenticate_on_unsubscribe and not token:
        raise UsageError("--authenticate-on-unsubscribe goes with a topic and a token.")
    site = open_site(config)
    with site.catalog() as catalog:
        if token:
            arn = topic_arn(subscription, site.config.region, account)
            found = catalog.subscriptions.confirm(
                arn.account, arn.name, token, authenticated=True, protected=authenticate_on_unsubscribe
            )
        else:
            named = find_subscription(catalog, subscription, site.config.region)
            found = catalog.subscriptions.confirm_by_owner(named.id)
    site.audit("topic.confirm", found.account, {"subscription": _arn(site, found), "vouched": not token})
    _told(site, found, f"{_arn(site, found)} is confirmed.", as_json=as_json)


def unsubscribe(
    subscription: SubscriptionArgument,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a subscription; what waits for it is dropped."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.subscription_requests import find_subscription  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = find_subscription(catalog, subscription, site.config.region)
        catalog.subscriptions.delete(found.id)
    site.audit("topic.unsubscribe", found.account, {"subscription": subscription})
    if as_json:
        write_json({"subscriptionArn": subscription, "deleted": True})
    else:
        typer.echo(f"{subscription} is removed.")


def set_subscription(
    subscription: SubscriptionArgument,
    *,
    raw: RawOption = None,
    filter_policy: FilterOption = None,
    filter_scope: ScopeOption = None,
    delivery_policy: DeliveryOption = None,
    dead_letter_queue: RedriveOption = None,
    secret_file: SecretOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is given; it holds for what waits, too."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.subscription_requests import find_subscription  # noqa: PLC0415
    from relay.runtime.subscription_requests import set_subscription as changed  # noqa: PLC0415

    attributes = _attributes(raw, filter_policy, filter_scope, delivery_policy, dead_letter_queue, secret_file)
    site = open_site(config)
    with site.catalog() as catalog:
        found = find_subscription(catalog, subscription, site.config.region)
        found = changed(site.config, catalog, found, attributes)
    told = {name: "****" if name == "SharedSecret" else value for name, value in attributes.items()}
    site.audit("topic.set-subscription", found.account, {"subscription": subscription, **told})
    _told(site, found, f"{subscription} is changed.", as_json=as_json)


def _attributes(  # noqa: PLR0917 - the options of two commands
    raw: bool | None,  # noqa: FBT001
    filter_policy: str | None,
    filter_scope: str | None,
    delivery_policy: str | None,
    dead_letter_queue: str | None,
    secret_file: Path | None,
) -> dict[str, str]:
    """Return the attributes that were given, by their names in the API."""
    import json  # noqa: PLC0415

    queue = dead_letter_queue
    given: dict[str, str | None] = {
        "RawMessageDelivery": None if raw is None else str(raw).lower(),
        "FilterPolicy": filter_policy,
        "FilterPolicyScope": filter_scope,
        "DeliveryPolicy": delivery_policy,
        "RedrivePolicy": None if queue is None else (json.dumps({"deadLetterTargetArn": queue}) if queue else ""),
        "SharedSecret": None
        if secret_file is None
        else secret_file.read_text(encoding="utf-8").partition("\n")[0].strip(),
    }
    return {name: value for name, value in given.items() if value is not None}


def _told(site: "Site", found: "Subscription", sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json(_object(site, found))
    else:
        typer.echo(sentence)


def _object(site: "Site", found: "Subscription") -> dict[str, Any]:
    """Return a subscription for programs, without its secrets."""
    from relay.policy.arn import TopicArn  # noqa: PLC0415
    from relay.runtime.subscription_requests import shown_endpoint  # noqa: PLC0415

    return {
        "subscriptionArn": _arn(site, found),
        "topicArn": str(TopicArn(site.config.region, found.account, found.topic)),
        "owner": found.owner,
        "protocol": str(found.protocol),
        "endpoint": shown_endpoint(found),
        "state": str(found.state),
        "rawMessageDelivery": found.raw,
        "sharedSecret": bool(found.secret),
        "created": iso(found.created_ms),
    }


def _arn(site: "Site", found: "Subscription") -> str:
    from relay.runtime.subscription_requests import arn_of  # noqa: PLC0415

    return str(arn_of(found, site.config.region))


def _id(one: "Subscription") -> str:
    return one.id
