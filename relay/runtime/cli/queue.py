"""`relay queue`: what waits, while the relay runs and while it is stopped; `queue_acting` does something about it."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from relay.errors import NotFoundError, UsageError
from relay.runtime.cli import queue_acting, queue_holds, queue_watch
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import (
    iso,
    note,
    when,
    working,
    write_fields,
    write_json,
    write_json_lines,
    write_table,
)
from relay.runtime.cli.queue_choice import Chosen, choosing, deliveries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from relay.model.queue_entry import QueueEntry
    from relay.runtime.cli.site import Site
    from relay.schedule.summary import Group

app = typer.Typer(help="Mail that waits for delivery.", no_args_is_help=True)
app.add_typer(queue_holds.app, name="holds")
app.command("watch")(queue_watch.watch)

LIMIT_DEFAULT = 100
LIMIT_MAX = 10_000_000
GROUPS_SHOWN = 50
CURSOR_MAX = 40


@app.command("list")
@choosing(acts=False)
def list_(
    *,
    chosen: Chosen,
    by: Annotated[
        str,
        typer.Option(help="Sum up by account, configuration-set, domain, site, pool, state or reason."),
    ] = "",
    limit: Annotated[
        int,
        typer.Option(min=0, max=LIMIT_MAX, help=f"At most this many [{LIMIT_DEFAULT}; {GROUPS_SHOWN} with --by]."),
    ] = 0,
    cursor: Annotated[str, typer.Option(help="Go on where an earlier list ended.")] = "",
) -> None:
    """List deliveries: message, recipient, state, attempts, next attempt, last reply; or groups of them."""
    from relay.runtime.cli.queue_reading import Reading  # noqa: PLC0415
    from relay.runtime.cli.shards import entry_object, open_shards  # noqa: PLC0415

    position = _read_cursor(cursor)
    with open_shards(chosen.config) as (site, shards):
        reading = Reading(site, shards, chosen.selection)
        if by:
            _write_groups(site, reading.entries(), by, limit or GROUPS_SHOWN, as_json=chosen.as_json)
            return
        entries = reading.entries(limit or LIMIT_DEFAULT, position)
        if chosen.as_json:
            write_json_lines(map(entry_object, entries))
        else:
            with working("reading the queue"):
                found = list(entries)
            _write_rows(found)
    if reading.further:
        note(f"There are more: add --cursor {reading.further}")


@app.command()
@choosing(acts=False)
def count(*, chosen: Chosen) -> None:
    """Count deliveries, by state."""
    from collections import Counter  # noqa: PLC0415

    from relay.runtime.cli.queue_reading import Reading  # noqa: PLC0415
    from relay.runtime.cli.shards import open_shards  # noqa: PLC0415

    states: Counter[str] = Counter()
    with working("reading the queue"), open_shards(chosen.config) as (site, shards):
        if chosen.selection.everything and not chosen.states_given:  # the indexes know
            now_ms = int(time.time() * 1000)
            for shard in shards:
                states.update(
                    {state.value: number for state, number in shard.reader.depth(now_ms).counts.items() if number}
                )
        else:
            states.update(entry.state.value for entry in Reading(site, shards, chosen.selection).entries())
    total = states.total()
    if chosen.as_json:
        write_json({"count": total, "states": states})
    else:
        named = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        typer.echo(f"{total} {deliveries(total)}{f': {named}' if total else ''}.")


@app.command()
def show(
    message: Annotated[str, typer.Argument(metavar="ID", help="The message id.")],
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the deliveries of one message that are still in the queue."""
    from relay.model.delivery import DeliveryState  # noqa: PLC0415
    from relay.model.ids import is_message_id, shard_of  # noqa: PLC0415
    from relay.runtime.cli.queue_reading import Reading  # noqa: PLC0415
    from relay.runtime.cli.shards import entry_object, open_shards  # noqa: PLC0415
    from relay.schedule.selection import Selection  # noqa: PLC0415

    if not is_message_id(message):
        raise UsageError(f"{message!r} is no message id.")
    selection = Selection(states=frozenset(DeliveryState), message_ids=(message,))
    with open_shards(config, shard_of(message)) as (site, shards):
        found = list(Reading(site, shards, selection).entries())
    if not found:
        raise NotFoundError(f"Message {message} is not in the queue; `relay trace {message}` knows finished ones.")
    if as_json:
        write_json_lines(map(entry_object, found))
        return
    for number, one in enumerate(found):
        if number:
            typer.echo("")
        write_fields(_fields(one))


for _acting in queue_acting.COMMANDS:
    app.command()(_acting)


def _read_cursor(text: str) -> tuple[int, int]:
    if not text:
        return 0, 0
    shard, _, after = text.partition(".")
    if not (shard.isascii() and shard.isdigit() and after.isascii() and after.isdigit()) or len(text) > CURSOR_MAX:
        raise UsageError(f"{text!r} is no cursor of an earlier list.")
    return int(shard), int(after)


def _write_rows(entries: "Sequence[QueueEntry]") -> None:
    write_table(
        ("Message", "Recipient", "State", "Attempts", "Next attempt", "Last reply"),
        ((one.message_id, one.recipient, one.state, one.attempts, _next(one), _reply(one)) for one in entries),
        empty="Nothing is in the queue that matches.",
    )


def _write_groups(site: "Site", entries: "Iterable[QueueEntry]", by: str, limit: int, *, as_json: bool) -> None:
    from relay.runtime.cli.queue_sites import site_names  # noqa: PLC0415
    from relay.schedule.summary import BY, Summary  # noqa: PLC0415

    if by not in BY and by != "site":
        raise UsageError(f"There is no --by {by!r}; there are {', '.join([*BY, 'site'])}.")
    summary = Summary(BY.get(by, BY["domain"]))
    with working("reading the queue"):
        for entry in entries:
            summary.add(entry)
        if by == "site":
            summary = summary.renamed(site_names(site, [group.name for group in summary]))
    groups = summary.largest()
    if as_json:
        write_json_lines(_group_object(by, group) for group in groups[:limit])
    else:
        write_table(
            (by.capitalize().replace("-", " "), "Deliveries", "Queued", "Held", "Quarantined", "Oldest", "Next due"),
            (
                (
                    group.name,
                    group.deliveries,
                    group.queued,
                    group.held,
                    group.quarantined,
                    when(group.oldest_ms),
                    when(group.next_ms),
                )
                for group in groups[:limit]
            ),
            empty="Nothing is in the queue that matches.",
        )
    if len(groups) > limit:
        note(f"{limit} of {len(groups)} groups; --limit shows more.")


def _group_object(by: str, group: "Group") -> "Mapping[str, object]":
    return {
        "by": by,
        "name": None if group.name == "-" else group.name,
        "deliveries": group.deliveries,
        "queued": group.queued,
        "held": group.held,
        "quarantined": group.quarantined,
        "oldest": iso(group.oldest_ms),
        "nextDue": iso(group.next_ms),
    }


def _fields(one: "QueueEntry") -> "dict[str, object]":
    optional = {
        "configuration set": one.options.configuration_set,
        "pool": one.options.pool,
        "source address": one.source,
        "standing hold": one.rule,
    }
    return {
        "message": one.message_id,
        "account": one.account,
        "from": one.sender or "<>",
        "recipient": one.recipient,
        "state": one.state,
        "attempts": one.attempts,
        "next attempt": _next(one),
        "expires": when(one.expires_ms),
        "last reply": _reply(one),
        **{name: value for name, value in optional.items() if value},
    }


def _reply(entry: "QueueEntry") -> str:
    """Return the last reply, or why nothing was attempted yet where the sender asked for that."""
    if entry.last_reply:
        return entry.last_reply
    return "not to leave before, as asked" if entry.options.release_ms and not entry.attempts else "-"


def _next(entry: "QueueEntry") -> str:
    if entry.state == "queued":  # what is due is under way, or waits for its turn
        return when(entry.next_ms) if entry.next_ms > time.time() * 1000 else f"due since {when(entry.next_ms)}"
    return f"held until {when(entry.held_until_ms)}" if entry.held_until_ms else "-"
