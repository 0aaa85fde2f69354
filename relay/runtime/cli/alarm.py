"""`relay alarm`: alarms on how an account sends, what they do, and how they changed (ALARM-002 to ALARM-004)."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import UsageError
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, when, write_fields, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.alarm import Alarm, AlarmAction
    from relay.runtime.cli.site import Site
    from relay.store.catalog import Catalog

app = typer.Typer(help="Alarms on rates, block lists and lag: whom they tell, and what they pause.",
                  no_args_is_help=True)  # fmt: skip

METRICS = ("Reputation.BounceRate", "Reputation.ComplaintRate", "DNSBL.ListedAddresses", "SNDS.SpamRate",
           "Events.LagSeconds")  # fmt: skip
PERCENT = 100

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]
DescriptionOption = Annotated[
    str | None, typer.Option("--description", metavar="TEXT", help="What it is for.", show_default=False)
]
TopicOption = Annotated[
    str | None,
    typer.Option(
        "--topic",
        metavar="TOPIC",
        help='Whom each change is told to: an ARN or a name; "": nobody.',
        show_default=False,
    ),
]
ActionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--action",
        metavar="WHAT",
        help='`pause-account` or `pause-configuration-set`, at each change to ALARM. May be repeated; "": none.',
        show_default=False,
    ),
]
VolumeOption = Annotated[
    int | None,
    typer.Option(
        "--volume-min",
        metavar="N",
        min=0,
        help="A rate of fewer messages counts as missing [0].",
        show_default=False,
    ),
]


@app.command()
def create(
    name: NameArgument,
    *,
    metric: Annotated[str, typer.Option("--metric", metavar="METRIC", help=f"One of {', '.join(METRICS)}.")],
    threshold: Annotated[
        str, typer.Option("--threshold", metavar="N", help="ALARM from this figure on: 0.05, or 5%.")
    ],
    configuration_set: Annotated[
        str, typer.Option("--configuration-set", metavar="SET", help="The rate of this set alone.")
    ] = "",
    description: DescriptionOption = None,
    topic: TopicOption = None,
    action: ActionOption = None,
    volume_min: VolumeOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an alarm. It is looked at every minute, and keeps its state while its figure is missing."""
    from relay.model.alarm import Alarm  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    wanted = Alarm(account, name, _metric(metric), _number(threshold), configuration_set=configuration_set)
    site = open_site(config)
    with site.catalog() as catalog:
        wanted = _with(site, catalog, wanted, description, topic, action, volume_min)
        made = catalog.alarms.create(wanted)
        advice = _advice(site, catalog, made)
    site.audit("alarm.create", account, alarm_object(made))
    _told(made, advice, f"Alarm {name} is created.", as_json=as_json)


@app.command("list")
def list_(
    *,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Only this account.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List alarms of all accounts, or of one."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.office_alarms import every_alarm  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        found = every_alarm(catalog, account)
    if as_json:
        write_json_lines(alarm_object(one) for one in found)
        return
    write_table(
        ("Account", "Alarm", "State", "Metric", "Set", "Threshold", "Does", "Since"),
        (
            (
                one.account,
                one.name,
                one.state,
                one.metric,
                one.configuration_set or "-",
                _threshold(one),
                ", ".join(one.actions) or "-",
                when(one.changed_ms),
            )
            for one in found
        ),
        empty="There are no alarms.",
    )


@app.command()
def show(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an alarm is set to, and where it stands."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = catalog.alarms.require(account, name)
        advice = _advice(site, catalog, found)
    if as_json:
        write_json({**alarm_object(found), "warnings": advice})
        return
    write_fields(
        {
            "alarm": found.name,
            "description": found.description or "-",
            "state": found.state,
            "reason": found.reason or "-",
            "since": when(found.changed_ms),
            "metric": found.metric,
            "configuration set": found.configuration_set or "-",
            "threshold": f">= {_threshold(found)}",
            "least messages": found.volume_min or "-",
            "topic": found.topic or "-",
            "does": ", ".join(found.actions) or "-",
            "created": when(found.created_ms),
        }
    )
    for sentence in advice:
        note(f"Warning: {sentence}")


@app.command()
def update(
    name: NameArgument,
    *,
    threshold: Annotated[
        str | None,
        typer.Option("--threshold", metavar="N", help="ALARM from this figure on: 0.05, or 5%.", show_default=False),
    ] = None,
    description: DescriptionOption = None,
    topic: TopicOption = None,
    action: ActionOption = None,
    volume_min: VolumeOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is given; its state follows with the next look."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        changed = catalog.alarms.require(account, name)
        if threshold is not None:
            changed = replace(changed, threshold=_number(threshold))
        changed = _with(site, catalog, changed, description, topic, action, volume_min)
        changed = catalog.alarms.update(changed)
        advice = _advice(site, catalog, changed)
    site.audit("alarm.update", account, alarm_object(changed))
    _told(changed, advice, f"Alarm {name} is changed.", as_json=as_json)


@app.command()
def delete(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete an alarm with its history. What it paused stays paused."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        there = catalog.alarms.delete(account, name)
    if not there:
        raise UsageError(f"Account {account} has no alarm {name}.")
    site.audit("alarm.delete", account, {"alarm": name})
    if as_json:
        write_json({"account": account, "alarm": name, "deleted": True})
    else:
        typer.echo(f"Alarm {name} is deleted.")


@app.command("set-state")
def set_state(
    name: NameArgument,
    state: Annotated[str, typer.Argument(metavar="STATE", help="ALARM, OK or INSUFFICIENT_DATA.")],
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for its message and history.")],
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put an alarm into a state, to test it: it tells its topic and really pauses what it pauses.

    The next look returns it to its true state; it resumes nothing.
    """
    from relay.model.alarm import AlarmState  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415
    from relay.runtime.office_alarms import change_said, pause_letter  # noqa: PLC0415

    wanted = _one_of(AlarmState, state.upper(), "state")
    site = open_site(config)
    write = pause_letter(site.config, SteadyClock().now_ms())
    with site.catalog() as catalog:
        changed = catalog.alarms.set_state(account, name, wanted, reason, write)
    site.audit("alarm.set_state", account, change_said(changed))
    if as_json:
        write_json({**alarm_object(changed.alarm), "oldState": changed.old_state, "done": list(changed.done)})
        return
    typer.echo(f"Alarm {name} is {changed.alarm.state} until the next look.")
    for action in changed.done:
        note(f"It did {action}; resuming is up to you.")


@app.command()
def history(
    name: NameArgument,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Newest changes to show.")] = 100,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how an alarm changed, newest first, and whether its topic was told."""
    from relay.reputation.alarms import message  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = catalog.alarms.history(account, name, limit=limit)
    if as_json:
        write_json_lines(
            {
                "change": one.change_id,
                "told": one.told,
                **message(one.alarm, one.old_state, site.config.region, iso(one.alarm.changed_ms) or ""),
            }
            for one in found
        )
        return
    write_table(
        ("When", "From", "To", "Told", "Why"),
        ((when(one.alarm.changed_ms), one.old_state, one.alarm.state, one.told, one.alarm.reason) for one in found),
        empty=f"Alarm {name} has not changed yet.",
    )


def alarm_object(one: "Alarm") -> dict[str, Any]:
    """Return an alarm as commands write it."""
    return {
        "account": one.account,
        "alarm": one.name,
        "description": one.description or None,
        "metric": one.metric,
        "configurationSet": one.configuration_set or None,
        "threshold": one.threshold,
        "volumeMin": one.volume_min,
        "topicArn": one.topic or None,
        "actions": list(one.actions),
        "state": one.state,
        "reason": one.reason or None,
        "changed": iso(one.changed_ms),
        "created": iso(one.created_ms),
    }


def _with(  # noqa: PLR0917 - what may be given
    site: "Site",
    catalog: "Catalog",
    alarm: "Alarm",
    description: str | None,
    topic: str | None,
    action: list[str] | None,
    volume_min: int | None,
) -> "Alarm":
    """Return an alarm with what was given."""
    if description is not None:
        alarm = replace(alarm, description=description)
    if topic is not None:
        alarm = replace(alarm, topic=_topic(site, catalog, alarm.account, topic))
    if action is not None:
        alarm = replace(alarm, actions=_actions(action))
    return alarm if volume_min is None else replace(alarm, volume_min=volume_min)


def _topic(site: "Site", catalog: "Catalog", account: str, text: str) -> str:
    """Return the ARN of a topic that is there, "" for none."""
    from relay.runtime.topic_requests import topic_arn  # noqa: PLC0415

    if not text:
        return ""
    arn = topic_arn(text, site.config.region, account)
    catalog.topics.require(arn.account, arn.name)
    return str(arn)


def _actions(given: list[str]) -> "tuple[AlarmAction, ...]":
    from relay.model.alarm import AlarmAction  # noqa: PLC0415

    return tuple(dict.fromkeys(_one_of(AlarmAction, one, "action") for one in given if one))


def _metric(text: str) -> Any:
    from relay.model.alarm import AlarmMetric  # noqa: PLC0415

    return _one_of(AlarmMetric, text, "metric")


def _one_of(kind: Any, text: str, what: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{text[:60]!r} is no {what}; there are {', '.join(kind)}.") from None


def _number(text: str) -> float:
    share = text.endswith("%")
    try:
        found = float(text.removesuffix("%"))
    except ValueError:
        raise UsageError(f"{text[:40]!r} is no threshold; write one as 0.05 or 5%.") from None
    return found / PERCENT if share else found


def _threshold(one: "Alarm") -> str:
    from relay.reputation.alarms import shown  # noqa: PLC0415

    return shown(one, one.threshold)


def _advice(site: "Site", catalog: "Catalog", alarm: "Alarm") -> list[str]:
    """Return what should be thought over about an alarm (PAUSE-006)."""
    from relay.reputation.alarms import warnings  # noqa: PLC0415
    from relay.runtime.reputation import limits  # noqa: PLC0415

    found = warnings(alarm, limits(site.config))
    if alarm.configuration_set:
        known = catalog.configuration_sets.get(alarm.account, alarm.configuration_set)
        if known is None:
            found.append(f"There is no configuration set {alarm.configuration_set} any more.")
        elif not known.reputation_metrics:
            found.append(
                f"Configuration set {known.name} has no reputation metrics, so the figure is missing: switch them on "
                f"with `relay configuration-set set {known.name} --reputation-metrics`."
            )
    return found


def _told(alarm: "Alarm", advice: list[str], sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json({**alarm_object(alarm), "warnings": advice})
        return
    typer.echo(sentence)
    for one in advice:
        note(f"Warning: {one}")
