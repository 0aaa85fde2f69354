"""`relay identity notifications`: how the owner of an identity hears of bounces, complaints and deliveries."""

from typing import TYPE_CHECKING, Annotated

import typer

from relay.model.feedback import FeedbackKind, FeedbackSettings
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import printable, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from relay.runtime.config.model import Config
    from relay.store.catalog import Catalog

app = typer.Typer(help="How feedback about an identity's mail is told.", no_args_is_help=True)

NONE = "none"
IdentityArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The identity; its ARN where another account owns it.")
]
TopicOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOPIC", help="Publish to this topic, a name or an ARN; `none` ends it.", show_default=False
    ),
]


@app.command()
def show(
    name: IdentityArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the settings of an identity."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        settings = catalog.feedback.get(account, name)
    _show(name, settings, as_json=as_json)


@app.command("set")
def set_(
    name: IdentityArgument,
    *,
    forwarding: Annotated[bool | None, typer.Option(help="Mail bounces and complaints to the sender.")] = None,
    bounce_topic: TopicOption = None,
    complaint_topic: TopicOption = None,
    delivery_topic: TopicOption = None,
    headers: Annotated[
        str | None,
        typer.Option(metavar="KINDS", help="Kinds with the original headers: bounce,complaint,delivery or `none`."),
    ] = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change the settings of an identity; what is not named stays. They hold for the next report."""
    topics = {
        FeedbackKind.BOUNCE: bounce_topic,
        FeedbackKind.COMPLAINT: complaint_topic,
        FeedbackKind.DELIVERY: delivery_topic,
    }
    kinds = None if headers is None else _kinds(headers)
    settings = _change(config, account, name, forwarding=forwarding, topics=topics, kinds=kinds)
    _show(name, settings, as_json=as_json)


def _change(
    config: "Path | None",
    account: str,
    name: str,
    *,
    forwarding: bool | None,
    topics: dict[FeedbackKind, str | None],
    kinds: frozenset[FeedbackKind] | None,
) -> FeedbackSettings:
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        settings = catalog.feedback.get(account, name)
        chosen = {
            kind: "" if topic == NONE else _publishable(site.config, catalog, account, name, topic)
            for kind, topic in topics.items()
            if topic is not None
        }  # all are looked at before one is set
        for kind, topic in chosen.items():
            settings = catalog.feedback.set_topic(account, name, kind, topic)
        if kinds is not None:
            settings = catalog.feedback.set_headers(account, name, kinds)
        if forwarding is not None:
            settings = catalog.feedback.set_forwarding(account, name, enabled=forwarding)
    site.audit("identity.notifications.set", account, {"identity": name, **settings_object(settings)})
    return settings


def _publishable(config: "Config", catalog: "Catalog", account: str, identity: str, topic: str) -> str:
    """Return the ARN of a topic that notifications may be published to (TOPIC-001 to TOPIC-004, TOPIC-142).

    Raise RequestRefusedError `InvalidParameterValue`.
    """
    import time  # noqa: PLC0415

    from relay.policy.arn import IdentityArn  # noqa: PLC0415
    from relay.runtime.topic_requests import require_publishable  # noqa: PLC0415
    from relay.store.catalog_identities import canonical_name  # noqa: PLC0415

    source = identity if identity.startswith("arn:") else ""
    source = source or str(IdentityArn(config.region, account, canonical_name(identity)[0]))
    return str(require_publishable(config, catalog, topic, account, source, time.time_ns() // 1_000_000))


def _kinds(text: str) -> frozenset[FeedbackKind]:
    known = {str(kind).lower(): kind for kind in FeedbackKind}
    words = [word.strip().lower() for word in text.split(",") if word.strip() and word.strip().lower() != NONE]
    for word in words:
        if word not in known:
            raise typer.BadParameter(f"{word[:40]!r} is none of {', '.join(known)}", param_hint="--headers")
    return frozenset(known[word] for word in words)


def settings_object(settings: FeedbackSettings) -> dict[str, object]:
    """Return settings in the names of `GetIdentityNotificationAttributes` (NOTIF-011)."""
    return {
        "ForwardingEnabled": settings.forwarding,
        **{f"{kind}Topic": settings.topic(kind) or None for kind in FeedbackKind},
        **{f"HeadersIn{kind}NotificationsEnabled": kind in settings.headers for kind in FeedbackKind},
    }


def _show(name: str, settings: FeedbackSettings, *, as_json: bool) -> None:
    if as_json:
        write_json(settings_object(settings))
        return
    typer.echo(f"{printable(name)}")
    typer.echo(f"  mail to the sender   {'on' if settings.forwarding else 'off'}")
    for kind in FeedbackKind:
        topic = printable(settings.topic(kind)) or "no topic"
        typer.echo(f"  {kind.lower():<20} {topic}{', with headers' if kind in settings.headers else ''}")
    quiet = [kind for kind in (FeedbackKind.BOUNCE, FeedbackKind.COMPLAINT) if not settings.topic(kind)]
    if not settings.forwarding and quiet:
        kinds = " and ".join(f"{kind.lower()}s" for kind in quiet)
        typer.echo(f"  {kinds} of mail whose configuration set does not publish them are mailed all the same")
