"""`relay queue holds`: standing holds, which catch mail that comes later; `relay queue hold --new` makes one."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import iso, when, working, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.runtime.cli.queue_choice import Chosen
    from relay.runtime.cli.shards import Shard
    from relay.schedule.standing import StandingHold

app = typer.Typer(help="Standing holds: mail that comes later is held, too.", no_args_is_help=True)


@app.command("list")
def list_(*, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List standing holds with what they hold now."""
    import time  # noqa: PLC0415

    from relay.runtime.cli.shards import open_shards  # noqa: PLC0415
    from relay.runtime.standing_file import read_holds  # noqa: PLC0415

    with open_shards(config) as (site, shards):
        holds = read_holds(site.data_dir, int(time.time() * 1000))
        held = _held(shards)
    if as_json:
        write_json_lines({**hold_object(hold), "held": held.get(hold.number, 0)} for hold in holds)
        return
    write_table(
        ("Hold", "Mail", "Until", "Held", "By", "Since", "Reason"),
        (
            (
                hold.number,
                describe(hold),
                when(hold.until_ms) if hold.until_ms else "removed",
                held.get(hold.number, 0),
                hold.caller,
                when(hold.created_ms),
                hold.reason or "-",
            )
            for hold in holds
        ),
        empty="There are no standing holds.",
    )


@app.command()
def remove(
    number: Annotated[int, typer.Argument(metavar="HOLD", min=1, help="Its number.")],
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave held what it holds.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a standing hold and release what it holds."""
    import time  # noqa: PLC0415

    from relay.runtime.cli.queue_actions import owner  # noqa: PLC0415
    from relay.runtime.cli.shards import open_shards  # noqa: PLC0415
    from relay.runtime.standing_file import remove_hold  # noqa: PLC0415

    count = 0
    with open_shards(config) as (site, shards), owner(site) as who:
        hold = remove_hold(site.data_dir, number, int(time.time() * 1000))
        site.audit("queue.holds.remove", "", {**hold_object(hold), "keep": keep})
        who.holds_changed()
        with working("releasing"):
            for shard in () if keep else shards:
                while released := who.end_hold(shard.number, number):
                    count += released
    if as_json:
        write_json({"hold": number, "released": count})
    else:
        typer.echo(f"Standing hold {number} is removed; {count} released.")


def make(chosen: "Chosen", until_ms: int, reason: str, now_ms: int, *, dry_run: bool) -> int:
    """Make a standing hold of what was chosen, in force when this returns; return its number, 0 in a dry run."""
    from relay.pipeline.give_back import require_reason  # noqa: PLC0415
    from relay.runtime.audit import current_caller  # noqa: PLC0415
    from relay.runtime.cli.queue_actions import owner  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.standing_file import add_hold  # noqa: PLC0415
    from relay.schedule.standing import StandingHold, require_standing  # noqa: PLC0415

    require_standing(chosen.selection)
    wanted = StandingHold(0, chosen.selection, until_ms, now_ms, current_caller(), require_reason(reason))
    if dry_run:
        return 0
    site = open_site(chosen.config)
    with owner(site) as who:
        hold = add_hold(site.data_dir, wanted, now_ms)
        site.audit("queue.holds.add", "", hold_object(hold))
        who.holds_changed()
    return hold.number


def hold_object(hold: "StandingHold") -> dict[str, Any]:
    """Return a standing hold for programs."""
    return {
        "hold": hold.number,
        "selection": hold.selection.as_json(),
        "until": iso(hold.until_ms),
        "created": iso(hold.created_ms),
        "caller": hold.caller,
        "reason": hold.reason or None,
    }


def describe(hold: "StandingHold") -> str:
    """Return what a standing hold catches, for people."""
    values = hold.selection.as_json()
    return "; ".join(f"{name.removesuffix('s').replace('_', ' ')} {' or '.join(values[name])}" for name in values)


def _held(shards: "list[Shard]") -> dict[int, int]:
    counts: dict[int, int] = {}
    for shard in shards:
        for rule, number in shard.reader.held_by_rule():
            counts[rule] = counts.get(rule, 0) + number
    return counts
