"""`relay event-destination`: where events of a configuration set are published (DEST-*)."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.dead_letters import app as dead_letters
from relay.runtime.cli.dead_letters import backlog
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import when, write_fields, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.event_destination import Dimension, EventDestination
    from relay.policy.event_destinations import KnownTargets
    from relay.runtime.config.model import Config
    from relay.store.catalog import Catalog

app = typer.Typer(help="Event destinations: where events of a configuration set go.", no_args_is_help=True)
app.add_typer(dead_letters, name="dead-letters")
app.command()(backlog)

SetArgument = Annotated[str, typer.Argument(metavar="SET", help="The configuration set.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The event destination.")]
TypesOption = Annotated[
    str | None,
    typer.Option(
        "--types", metavar="TYPES", help="Which events, with commas: SEND, BOUNCE ..., or `all`.", show_default=False
    ),
]
TopicOption = Annotated[
    str | None, typer.Option("--topic", metavar="TOPIC", help="To a topic: its ARN or name.", show_default=False)
]
StreamOption = Annotated[
    str | None,
    typer.Option("--stream", metavar="STREAM", help="To a stream of the configuration.", show_default=False),
]
BusOption = Annotated[
    str | None, typer.Option("--bus", metavar="BUS", help="To an event bus of the configuration.", show_default=False)
]
DimensionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dimension",
        metavar="SOURCE:NAME=DEFAULT",
        help="To metrics, by this dimension; SOURCE is MESSAGE_TAG, EMAIL_HEADER or LINK_TAG. May be repeated.",
        show_default=False,
    ),
]
RoleOption = Annotated[
    str | None,
    typer.Option("--role", metavar="ARN", help="Kept with a stream for API clients.", show_default=False),
]
EnabledOption = Annotated[bool, typer.Option("--enabled/--disabled", help="Whether it is published to from now on.")]


@app.command()
def create(
    configuration_set: SetArgument,
    name: NameArgument,
    *,
    types: TypesOption = None,
    topic: TopicOption = None,
    stream: StreamOption = None,
    bus: BusOption = None,
    dimension: DimensionOption = None,
    role: RoleOption = None,
    enabled: EnabledOption = True,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add an event destination: exactly one of topic, stream, bus and metrics."""
    from relay.errors import UsageError  # noqa: PLC0415
    from relay.model.event_destination import DestinationKind, EventDestination  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    changes = _changes(site.config, account, types, topic=topic, stream=stream, bus=bus, dimensions=dimension)
    if "kind" not in changes:
        raise UsageError("Say where events go: --topic, --stream, --bus or --dimension.")
    blank = EventDestination(account, configuration_set, name, enabled, (), DestinationKind.METRICS)
    wanted = replace(blank, **changes, role_arn=role or "")
    with site.catalog() as catalog:
        _require_usable(site, catalog, wanted)
        made = catalog.event_destinations.create(wanted, known_targets(site.config))
    site.audit("event-destination.create", account, as_object(made))
    _told(made, f"Event destination {name} created.", as_json=as_json)


@app.command("list")
def list_(
    configuration_set: SetArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the event destinations of a configuration set."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        found = catalog.event_destinations.list(account, configuration_set)
    if as_json:
        write_json_lines(as_object(one) for one in found)
        return
    write_table(
        ("Name", "Destination", "Event types", "Event publishing"),
        ((one.name, _where(one), ", ".join(one.types), "enabled" if one.enabled else "disabled") for one in found),
        empty=f"Configuration set {configuration_set} has no event destinations.",
    )


@app.command()
def show(
    configuration_set: SetArgument,
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an event destination."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = catalog.event_destinations.get(account, configuration_set, name)
        refusal = _refusal(site, catalog, found)
    if as_json:
        write_json({**as_object(found), **({"Refused": refusal} if refusal else {})})
        return
    write_fields(
        {
            "name": found.name,
            "configuration set": found.configuration_set,
            "account": found.account,
            "publishing": refusal or ("enabled" if found.enabled else "disabled"),
            "event types": ", ".join(found.types),
            "destination": _where(found),
            "role": found.role_arn or "-",
            "created": when(found.created_ms),
        }
    )


@app.command()
def update(
    configuration_set: SetArgument,
    name: NameArgument,
    *,
    types: TypesOption = None,
    topic: TopicOption = None,
    stream: StreamOption = None,
    bus: BusOption = None,
    dimension: DimensionOption = None,
    role: RoleOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is given; it holds for events from now on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    changes = _changes(site.config, account, types, topic=topic, stream=stream, bus=bus, dimensions=dimension)
    if role is not None:
        changes["role_arn"] = role
    _updated(site, (account, configuration_set, name), changes, "update", "changed", as_json=as_json)


@app.command()
def enable(
    configuration_set: SetArgument,
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish events to a destination from now on; what it missed is not replayed."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    at = (account, configuration_set, name)
    _updated(open_site(config), at, {"enabled": True}, "enable", "enabled", as_json=as_json)


@app.command()
def disable(
    configuration_set: SetArgument,
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish no further events to a destination."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    at = (account, configuration_set, name)
    _updated(open_site(config), at, {"enabled": False}, "disable", "disabled", as_json=as_json)


@app.command()
def delete(
    configuration_set: SetArgument,
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete an event destination."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        catalog.event_destinations.delete(account, configuration_set, name)
    told = {"account": account, "configurationSet": configuration_set, "name": name}
    site.audit("event-destination.delete", account, told)
    if as_json:
        write_json(told)
    else:
        typer.echo(f"Event destination {name} is deleted.")


def as_object(one: "EventDestination") -> dict[str, Any]:
    """Return a destination for programs: the shape of API v2, and whose it is."""
    from relay.policy.event_destinations import as_api  # noqa: PLC0415

    return {"Account": one.account, "ConfigurationSetName": one.configuration_set, **as_api(one)}


def known_targets(config: "Config") -> "KnownTargets":
    """Return what destinations may name under a configuration."""
    from relay.policy.event_destinations import KnownTargets  # noqa: PLC0415

    return KnownTargets(
        config.region, tuple(one.name for one in config.streams), tuple(one.name for one in config.buses)
    )


def _updated(
    site: Any, at: tuple[str, str, str], changes: dict[str, Any], verb: str, done: str, *, as_json: bool
) -> None:
    with site.catalog() as catalog:
        wanted = replace(catalog.event_destinations.get(*at), **changes)
        if "target" in changes:
            _require_usable(site, catalog, wanted)
        made = catalog.event_destinations.update(wanted, known_targets(site.config))
    site.audit(f"event-destination.{verb}", at[0], as_object(made))
    _told(made, f"Event destination {made.name} is {done}.", as_json=as_json)


def _require_usable(site: Any, catalog: "Catalog", wanted: "EventDestination") -> None:
    """Raise RequestRefusedError `InvalidParameterValue` for a topic that the relay cannot publish to (TOPIC-004)."""
    import time  # noqa: PLC0415

    from relay.model.event_destination import DestinationKind  # noqa: PLC0415
    from relay.runtime.topic_requests import require_publishable  # noqa: PLC0415

    if wanted.kind is DestinationKind.TOPIC:
        now_ms = time.time_ns() // 1_000_000
        require_publishable(site.config, catalog, wanted.target, wanted.account, _source(site, wanted), now_ms)


def _refusal(site: Any, catalog: "Catalog", found: "EventDestination") -> str:
    """Return why the topic of a destination takes nothing now, "" when it does (TOPIC-143)."""
    from relay.errors import RequestRefusedError  # noqa: PLC0415

    try:
        _require_usable(site, catalog, found)
    except RequestRefusedError as error:
        return str(error)
    return ""


def _source(site: Any, one: "EventDestination") -> str:
    return f"arn:aws:ses:{site.config.region}:{one.account}:configuration-set/{one.configuration_set}"


def _changes(
    config: "Config",
    account: str,
    types: str | None,
    *,
    topic: str | None,
    stream: str | None,
    bus: str | None,
    dimensions: list[str] | None,
) -> dict[str, Any]:
    """Return the fields that options change. Raise UsageError."""
    from relay.errors import UsageError  # noqa: PLC0415
    from relay.model.event_destination import DestinationKind, EventType  # noqa: PLC0415
    from relay.policy.event_destinations import parse_type, target_arn  # noqa: PLC0415

    changes: dict[str, Any] = {}
    if types is not None:
        everything = types.strip().lower() == "all"
        changes["types"] = tuple(EventType) if everything else tuple(parse_type(one) for one in types.split(","))
    named = {DestinationKind.TOPIC: topic, DestinationKind.STREAM: stream, DestinationKind.BUS: bus}
    given = {kind: name for kind, name in named.items() if name is not None}
    if len(given) + bool(dimensions) > 1:
        raise UsageError("An event destination has exactly one of --topic, --stream, --bus and --dimension.")
    for kind, name in given.items():
        arn = name if name.startswith("arn:") else target_arn(kind, config.region, account, name)
        changes |= {"kind": kind, "target": arn, "dimensions": ()}
    if dimensions:
        parsed = tuple(_dimension(one) for one in dimensions)
        changes |= {"kind": DestinationKind.METRICS, "target": "", "dimensions": parsed}
    return changes


def _dimension(text: str) -> "Dimension":
    """Return the dimension of `SOURCE:NAME=DEFAULT`; names of automatic tags have a colon of their own."""
    from relay.errors import UsageError  # noqa: PLC0415
    from relay.model.event_destination import Dimension, DimensionSource  # noqa: PLC0415

    source, colon, rest = text.partition(":")
    name, equals, default = rest.rpartition("=")
    word = source.strip().upper().replace("-", "_")
    if not colon or not equals or word not in DimensionSource.__members__:
        raise UsageError(
            f"A dimension is SOURCE:NAME=DEFAULT with the source {', '.join(DimensionSource)}, not {text[:80]!r}."
        )
    return Dimension(name, DimensionSource(word), default)


def _where(one: "EventDestination") -> str:
    if one.dimensions:
        return "metrics by " + ", ".join(f"{each.source}:{each.name}={each.default}" for each in one.dimensions)
    return one.target


def _told(one: "EventDestination", sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json(as_object(one))
    else:
        typer.echo(sentence)
