"""`relay shaping try`: what other rules would have made of the replies of the last day."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import note, working, write_json, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.schedule.replay import Replay

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A file with rules.")]
LANES_SHOWN = 50


def try_(
    file: FileArgument,
    *,
    hours: Annotated[int, typer.Option(min=1, max=48, help="How far to look back.")] = 24,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay the replies of the last day against a file with rules, and say what would have happened.

    The file is put on top of the rules in force, and both are compared.
    """
    from relay.runtime.cli.shaping_replay import replay  # noqa: PLC0415
    from relay.runtime.cli.shards import open_shards  # noqa: PLC0415
    from relay.runtime.shaping import load_rules, rules_in_force  # noqa: PLC0415

    with open_shards(config) as (site, shards), working("replaying"):
        now, then = rules_in_force(site.config), load_rules(site.config.shaping, [file])
        before, after, attempts = replay(shards, now, then, time.time_ns() // 1_000_000 - hours * 3_600_000)
    rows = list(_compared(before, after))
    totals = {"attempts": attempts, "now": _totals(before), "then": _totals(after)}
    if as_json:
        write_json({**totals, "rules": rows, "lanes": list(_lanes(before, after))})
        return
    _write_tried(rows, totals, list(_lanes(before, after)))


def _compared(before: "Replay", after: "Replay") -> "Iterator[dict[str, Any]]":
    for name in sorted(before.tallies.keys() | after.tallies.keys()):
        sides = {}
        for side, one in (("now", before.tallies.get(name)), ("then", after.tallies.get(name))):
            sides[side] = {
                "matches": one.matches if one else 0,
                "effects": dict(one.effects) if one else {},
                "bounced": one.bounced if one else 0,
                "retried": one.retried if one else 0,
            }
        example = next(one.tallies[name].example for one in (after, before) if name in one.tallies)
        yield {"rule": name, **sides, "example": example}


def _lanes(before: "Replay", after: "Replay") -> "Iterator[dict[str, Any]]":
    now, then = before.paused_minutes, after.paused_minutes
    for lane in sorted(now.keys() | then.keys()):
        yield {
            "source": lane[0] or None,
            "destination": lane[1],
            "now": now.get(lane, 0),
            "then": then.get(lane, 0),
        }


def _totals(one: "Replay") -> "dict[str, int]":
    return {
        "matches": sum(tally.matches for tally in one.tallies.values()),
        "bounced": sum(tally.bounced for tally in one.tallies.values()),
        "retried": sum(tally.retried for tally in one.tallies.values()),
        "pausedMinutes": sum(one.paused_minutes.values()),
        "attemptsInPauses": one.waits,
        "lanesLeftOut": one.lanes_left_out,
    }


def _write_tried(rows: "list[dict[str, Any]]", totals: "dict[str, Any]", lanes: "list[dict[str, Any]]") -> None:
    def change(now: int, then: int) -> str:
        return str(now) if now == then else f"{now} > {then}"

    table = [
        (
            row["rule"],
            *(change(row["now"][key], row["then"][key]) for key in ("matches", "bounced", "retried")),
            ", ".join(row["then"]["effects"] or row["now"]["effects"]) or "-",
        )
        for row in rows
    ]
    write_table(
        ("rule", "replies", "bounced", "tried again", "effects"), table, empty="No rule decides about any reply."
    )
    typer.echo("")
    paused = [(one["source"] or "default", one["destination"], change(one["now"], one["then"])) for one in lanes]
    if paused:
        write_table(("Source", "Destination", "Minutes paused"), paused[:LANES_SHOWN], empty="")
        if len(paused) > LANES_SHOWN:
            note(f"There are {len(paused) - LANES_SHOWN} more lanes: --json lists all.")
        typer.echo("")
    now, then = totals["now"], totals["then"]
    typer.echo(
        f"{totals['attempts']} attempts: {change(now['bounced'], then['bounced'])} bounced by a rule, "
        f"{change(now['retried'], then['retried'])} tried again, "
        f"{change(now['attemptsInPauses'], then['attemptsInPauses'])} made in what would have been a pause "
        "(now > with the file)"
    )
