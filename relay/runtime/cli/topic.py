"""`relay topic`: topics, and publishing to them (TOPIC-150)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, when, write_fields, write_json, write_json_lines, write_table
from relay.runtime.cli.policy_text import read_policy, telling_faults

if TYPE_CHECKING:
    from relay.model.topic import Topic
    from relay.runtime.cli.site import Site

app = typer.Typer(help="Topics: who is told what, by webhook, mail or file.", no_args_is_help=True)

PUBLISH_SECONDS = 30.0

TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="The ARN of a topic, or its name.")]
DisplayNameOption = Annotated[
    str | None,
    typer.Option("--display-name", metavar="TEXT", help="Who its mails are from, for people.", show_default=False),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="Who may publish to it, as JSON; -: standard input."),
]
DeliveryOption = Annotated[
    str | None,
    typer.Option("--delivery-policy", metavar="JSON", help='How deliveries are tried again; "": as by default.'),
]
VersionOption = Annotated[
    str | None,
    typer.Option("--signature-version", metavar="N", help="1: SHA1withRSA, 2: SHA256withRSA.", show_default=False),
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    *,
    display_name: DisplayNameOption = None,
    policy: PolicyOption = None,
    delivery_policy: DeliveryOption = None,
    signature_version: VersionOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a topic; one that is there already is told, when it has the attributes given."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.topic_requests import create_topic  # noqa: PLC0415

    attributes = _attributes(display_name, policy, delivery_policy, signature_version)
    site = open_site(config)
    with site.catalog() as catalog, telling_faults(as_json=as_json):
        topic, new = create_topic(site.config, catalog, account, name, attributes)
    arn = _arn(site, topic)
    if new:
        site.audit("topic.create", account, {"topic": arn, **attributes})
    if as_json:
        write_json({"topicArn": arn, "created": new})
    else:
        typer.echo(arn)


@app.command("list")
def list_(
    *, account: AccountOption = DEFAULT_ACCOUNT, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the topics of an account."""
    from relay.model.topic import SubscriptionState  # noqa: PLC0415
    from relay.runtime.cli.paging import all_pages  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = list(all_pages(lambda after: catalog.topics.list(account, after=after), lambda one: one.name))
        counts = [catalog.topics.counts(one.account, one.name) for one in found]
    rows = list(zip(found, counts, strict=True))
    if as_json:
        write_json_lines(
            {
                "topicArn": _arn(site, one),
                "confirmed": count[SubscriptionState.CONFIRMED],
                "pending": count[SubscriptionState.PENDING],
                "created": iso(one.created_ms),
            }
            for one, count in rows
        )
        return
    write_table(
        ("Topic", "Subscriptions", "Pending", "Created"),
        (
            (
                _arn(site, one),
                count[SubscriptionState.CONFIRMED],
                count[SubscriptionState.PENDING],
                when(one.created_ms),
            )
            for one, count in rows
        ),
        empty=f"Account {account} has no topics.",
    )


@app.command()
def show(
    topic: TopicArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a topic is set to."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.topic_requests import topic_arn, topic_attributes  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        arn = topic_arn(topic, site.config.region, account)
        found = catalog.topics.require(arn.account, arn.name)
        shown = topic_attributes(site.config, catalog, found)
    if as_json:
        write_json({**shown, "created": iso(found.created_ms)})
        return
    write_fields({**{name: value or "-" for name, value in shown.items()}, "created": when(found.created_ms)})


@app.command("set")
def set_(
    topic: TopicArgument,
    *,
    display_name: DisplayNameOption = None,
    policy: PolicyOption = None,
    delivery_policy: DeliveryOption = None,
    signature_version: VersionOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is given; it holds from the next publication on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    attributes = _attributes(display_name, policy, delivery_policy, signature_version)
    _set(open_site(config), topic, account, attributes, as_json=as_json)


@app.command()
def policy(
    topic: TopicArgument,
    document: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The policy to put, as JSON; -: standard input.")
    ] = None,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take the policy away.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put or remove the policy that says who may publish; without a file, write it as it was given."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.topic_requests import topic_arn  # noqa: PLC0415

    text = read_policy(document) if document is not None else ""
    site = open_site(config)
    if document is not None or remove:
        _set(site, topic, account, {"Policy": text}, as_json=as_json)
        return
    with site.catalog() as catalog:
        arn = topic_arn(topic, site.config.region, account)
        found = catalog.topics.require(arn.account, arn.name).policy
    if as_json:
        write_json({"topicArn": str(arn), "policy": found or None})
    else:
        typer.echo(found.rstrip("\n") or "The topic has no policy: only its own account publishes to it.")


@app.command()
def delete(
    topic: TopicArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a topic with its subscriptions; what waits for them is dropped."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.topic_requests import topic_arn  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        arn = topic_arn(topic, site.config.region, account)
        there = catalog.topics.delete(arn.account, arn.name)
    if there:
        site.audit("topic.delete", arn.account, {"topic": str(arn)})
    if as_json:
        write_json({"topicArn": str(arn), "deleted": there})
    else:
        typer.echo(f"Topic {arn} is deleted." if there else f"There was no topic {arn}.")


@app.command()
def publish(
    topic: TopicArgument,
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="The text; -: standard input.")],
    *,
    subject: Annotated[str, typer.Option("--subject", metavar="TEXT", help="One line, 100 characters.")] = "",
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            metavar="NAME[:TYPE]=VALUE",
            help="For filters; TYPE is String, String.Array, Number or Binary. May be repeated.",
            show_default=False,
        ),
    ] = None,
    structure: Annotated[
        str, typer.Option("--structure", metavar="json", help="The message is an object: a text for each protocol.")
    ] = "",
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish to a topic as an account; the relay has to run. Prints the id after it is kept."""
    import sys  # noqa: PLC0415

    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.rpc import Client  # noqa: PLC0415
    from relay.runtime.topic_requests import texts_of, topic_arn  # noqa: PLC0415

    text = sys.stdin.read(MESSAGE_READ_MAX) if message == "-" else message
    texts = texts_of(text, structure)
    site = open_site(config)
    arn = topic_arn(topic, site.config.region, account)
    with Client(site.data_dir / "run" / "events.sock", PUBLISH_SECONDS) as client:
        answer = client.call(
            "topic.publish",
            topic=str(arn),
            account=account,
            message=texts.pop("default", text),
            subject=subject,
            attributes=dict(_attribute(one) for one in attribute or ()),
            texts=texts,
        )
    if as_json:
        write_json({"topicArn": str(arn), **answer})
    else:
        typer.echo(f"{answer['messageId']} ({answer['posts']} deliveries)")


MESSAGE_READ_MAX = 1 << 20


def _attribute(text: str) -> tuple[str, dict[str, str]]:
    from relay.errors import UsageError  # noqa: PLC0415

    left, equals, value = text.partition("=")
    name, _, kind = left.partition(":")
    if not equals or not name:
        raise UsageError(f"{text[:80]!r} is no attribute; write one as 'store=example' or 'price:Number=5'.")
    return name, {"type": kind or "String", "value": value}


def _attributes(
    display_name: str | None, policy: Path | None, delivery_policy: str | None, signature_version: str | None
) -> dict[str, str]:
    """Return the attributes that were given, by their names in the API."""
    given: dict[str, Any] = {
        "DisplayName": display_name,
        "Policy": read_policy(policy) if policy is not None else None,
        "DeliveryPolicy": delivery_policy,
        "SignatureVersion": signature_version,
    }
    return {name: value for name, value in given.items() if value is not None}


def _set(site: "Site", topic: str, account: str, attributes: dict[str, str], *, as_json: bool) -> None:
    from relay.runtime.topic_requests import set_topic, topic_arn, topic_attributes  # noqa: PLC0415

    with site.catalog() as catalog, telling_faults(as_json=as_json):
        arn = topic_arn(topic, site.config.region, account)
        changed = set_topic(site.config, catalog, arn, attributes)
        shown = topic_attributes(site.config, catalog, changed)
    site.audit("topic.set", arn.account, {"topic": str(arn), **attributes})
    if as_json:
        write_json(shown)
    else:
        typer.echo(f"Topic {arn} is changed.")


def _arn(site: "Site", topic: "Topic") -> str:
    from relay.policy.arn import TopicArn  # noqa: PLC0415

    return str(TopicArn(site.config.region, topic.account, topic.name))
