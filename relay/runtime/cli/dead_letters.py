"""`relay event-destination dead-letters` and `backlog`: what waits for destinations, and what they did not take."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import iso, when, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from pathlib import Path

    from relay.runtime.cli.site import Site
    from relay.runtime.rpc import Client

app = typer.Typer(help="Events that a destination did not take: list, replay, delete.", no_args_is_help=True)

TargetArgument = Annotated[
    str, typer.Argument(metavar="TARGET", help="Of one target only, such as stream:NAME, bus:NAME.")
]
IdOption = Annotated[
    list[int] | None, typer.Option("--id", metavar="N", help="This one only. May be repeated.", show_default=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="Of all targets.")]
SECONDS_MAX = 60.0
IDS_MAX = 1000


@app.command("list")
def list_(target: TargetArgument = "", *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List dead letters, oldest first; with --json also the events themselves."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with _relay(site) as relay:
        _check(site, relay, target)
        letters = relay.pages("events.dead_letters", target=target, after=0)
        if as_json:
            write_json_lines(_object(one) for one in letters)
            return
        write_table(
            ("Id", "Target", "Kind", "Event", "Since", "Tries", "Error"),
            (
                (
                    one["id"],
                    one["target"],
                    one["kind"],
                    one["key"],
                    when(one["diedMs"]),
                    one["attempts"],
                    one["error"],
                )
                for one in letters
            ),
            empty="There are no dead letters.",
        )


@app.command()
def replay(
    target: TargetArgument = "",
    *,
    ids: IdOption = None,
    everything: AllOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters again, now and as if they had never been tried."""
    count = _act("replay", "events.replay", target, ids, config, everything=everything)
    _told(count, "sent again", as_json=as_json)


@app.command()
def delete(
    target: TargetArgument = "",
    *,
    ids: IdOption = None,
    everything: AllOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete dead letters for good."""
    count = _act("delete", "events.delete_dead", target, ids, config, everything=everything)
    _told(count, "deleted", as_json=as_json)


def backlog(*, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what waits for each target: how much, since when, and its dead letters."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with _relay(open_site(config)) as relay:
        targets = relay.call("events.targets")["targets"]
    if as_json:
        write_json_lines(targets)
        return
    write_table(
        ("Target", "Waiting", "Bytes", "Behind", "Dead letters"),
        (
            (one["target"], one["waiting"], one["waitingBytes"], f"{one['lagSeconds']:g} s", one["deadLetters"])
            for one in targets
        ),
        empty="Nothing waits.",
    )


def _act(
    verb: str, operation: str, target: str, ids: list[int] | None, config: "Path | None", *, everything: bool
) -> int:
    """Do something to dead letters, a thousand at a time; return how many there were. Raise UsageError."""
    from relay.errors import UsageError  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    if bool(target) + bool(ids) + everything != 1:
        raise UsageError("Say which dead letters: a target, --id, or --all.")
    site = open_site(config)
    with _relay(site) as relay:
        _check(site, relay, target)
        count = _by_number(relay, operation, ids) if ids else _by_target(relay, operation, target)
    site.audit(f"dead-letters.{verb}", "", {"target": target, "ids": ids or [], "count": count})
    return count


def _check(site: "Site", relay: "Client", target: str) -> None:
    """Raise UsageError for a target that is neither configured nor has ever had something to wait for."""
    from relay.errors import UsageError  # noqa: PLC0415

    config = site.config
    known = {f"stream:{one.name}" for one in config.streams} | {f"bus:{one.name}" for one in config.buses}
    if not target or target in known or target in {one["target"] for one in relay.call("events.targets")["targets"]}:
        return
    raise UsageError(
        f"Nothing is known of a target {target!r}; it is stream:NAME, bus:NAME or subscription:ARN, "
        "as in `relay event-destination backlog`."
    )


def _by_number(relay: "Client", operation: str, ids: list[int]) -> int:
    parts = [ids[start : start + IDS_MAX] for start in range(0, len(ids), IDS_MAX)]
    return sum(int(relay.call(operation, ids=part)["count"]) for part in parts)


def _by_target(relay: "Client", operation: str, target: str) -> int:
    """Act on as many as there are now: those that die again meanwhile are left alone."""
    known = relay.call("events.targets")["targets"]
    left = sum(one["deadLetters"] for one in known if target in {"", one["target"]})
    count = 0
    while left > count and (done := relay.call(operation, target=target, limit=left - count)["count"]):
        count += done
    return count


def _relay(site: "Site") -> "Client":
    """Return a connection to the process that sends events."""
    from relay.runtime.rpc import Client  # noqa: PLC0415

    return Client(site.data_dir / "run" / "events.sock", SECONDS_MAX)


def _object(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": one["id"],
        "target": one["target"],
        "kind": one["kind"],
        "eventId": one["key"],
        "account": one["account"] or None,
        "created": iso(one["createdMs"]),
        "died": iso(one["diedMs"]),
        "attempts": one["attempts"],
        "error": one["error"],
        "body": one["body"],
    }


def _told(count: int, done: str, *, as_json: bool) -> None:
    if as_json:
        write_json({"count": count})
    else:
        typer.echo(f"{count} dead letters are {done}." if count != 1 else f"1 dead letter is {done}.")
