"""`relay queue`: what waits, and what an operator may do about it; while the relay runs and while it is stopped."""

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from relay.errors import EX_TEMPFAIL, NotFoundError, UsageError
from relay.runtime.cli import queue_holds, queue_watch
from relay.runtime.cli.options import ConfigOption, JsonOption, confirm
from relay.runtime.cli.output import (
    iso,
    note,
    progressing,
    when,
    working,
    write_fields,
    write_json,
    write_json_lines,
    write_table,
)
from relay.runtime.cli.queue_choice import Chosen, choosing, milliseconds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from relay.model.delivery import DeliveryState
    from relay.model.queue_entry import QueueEntry
    from relay.runtime.cli.queue_actions import Keys
    from relay.runtime.cli.site import Site
    from relay.runtime.queue_work import Done, Order
    from relay.schedule.summary import Group

app = typer.Typer(help="Mail that waits for delivery.", no_args_is_help=True)
app.add_typer(queue_holds.app, name="holds")
app.command("watch")(queue_watch.watch)

LIMIT_DEFAULT = 100
LIMIT_MAX = 10_000_000
GROUPS_SHOWN = 50
CURSOR_MAX = 40
POOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
DONE = {
    "retry": "to be attempted now",
    "hold": "held",
    "release": "released",
    "delete": "deleted",
    "bounce": "bounced",
    "move": "moved",
}

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say how many it would be; change nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


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
        typer.echo(f"{total} {_deliveries(total)}{f': {named}' if total else ''}.")


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


@app.command()
@choosing(acts=True)
def retry(*, chosen: Chosen, dry_run: DryRunOption = False) -> None:
    """Attempt deliveries now instead of at their next time."""
    _act("retry", chosen, dry_run=dry_run)


@app.command()
@choosing(acts=True)
def hold(
    *,
    chosen: Chosen,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="Release them by itself then: 30m, 2h.")] = "",
    new: Annotated[bool, typer.Option("--new", help="Hold mail that comes later, too: a standing hold.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for whoever finds a standing hold.")] = "",
    dry_run: DryRunOption = False,
) -> None:
    """Keep deliveries from being attempted until they are released.

    What is being attempted now goes on; it is held if it has to be tried again. What is held already stays as it is,
    unless it is chosen by --state held: then its hold ends when --for says, or no more by itself.
    """
    import time  # noqa: PLC0415

    from relay.model.delivery import DeliveryState  # noqa: PLC0415

    now_ms = int(time.time() * 1000)
    until_ms = now_ms + milliseconds("--for", lasting) if lasting else 0
    states = chosen.selection.states if chosen.states_given else frozenset({DeliveryState.QUEUED})
    rule = 0
    if new:
        rule = queue_holds.make(chosen, until_ms, reason, now_ms, dry_run=dry_run)
    _act("hold", chosen, dry_run=dry_run, states=states, until_ms=until_ms, rule=rule)
    if rule and not chosen.as_json:
        note(f"Mail that comes later is held, too: `relay queue holds remove {rule}` ends that and releases it.")


@app.command()
@choosing(acts=True)
def release(*, chosen: Chosen, dry_run: DryRunOption = False) -> None:
    """Let held and quarantined deliveries go on, those of a standing hold too."""
    _act("release", chosen, dry_run=dry_run)


@app.command()
@choosing(acts=True)
def delete(*, chosen: Chosen, yes: YesOption = False, dry_run: DryRunOption = False) -> None:
    """Take deliveries out of the queue for good; nobody is told."""
    _act("delete", chosen, dry_run=dry_run, question=None if yes else "Delete {} for good, without a bounce?")


@app.command()
@choosing(acts=True)
def bounce(
    *,
    chosen: Chosen,
    reason: Annotated[str, typer.Option(help="What senders are told, one line.")] = "",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Give deliveries back to their senders: a Bounce event and a report each, as for a failed delivery."""
    question = None if yes else "Bounce {} now?"
    _act("bounce", chosen, dry_run=dry_run, question=question, reason=reason)


@app.command()
@choosing(acts=True)
def move(
    *,
    chosen: Chosen,
    to: Annotated[str, typer.Option("--to", metavar="POOL", help="The pool; default: as nothing is configured.")],
    dry_run: DryRunOption = False,
) -> None:
    """Let deliveries leave from another pool of source addresses, from their next attempt on.

    The pool belongs to the message: its other deliveries that are still open move as well. Addresses that retries
    would have kept are forgotten.
    """
    _act("move", chosen, dry_run=dry_run, pool=to)


def _act(
    action: str,
    chosen: Chosen,
    *,
    dry_run: bool,
    question: str | None = None,
    states: "frozenset[DeliveryState] | None" = None,
    until_ms: int = 0,
    rule: int = 0,
    reason: str = "",
    pool: str = "",
) -> None:
    from dataclasses import replace  # noqa: PLC0415

    from relay.pipeline.give_back import require_reason  # noqa: PLC0415
    from relay.runtime.cli.queue_actions import act, owner  # noqa: PLC0415
    from relay.runtime.cli.queue_reading import Reading  # noqa: PLC0415
    from relay.runtime.cli.shards import open_shards  # noqa: PLC0415
    from relay.runtime.queue_work import ACTIONS, Order  # noqa: PLC0415

    selection = chosen.require()
    order = Order(
        action, (states or selection.states) & ACTIONS[action], until_ms, rule, require_reason(reason), pool
    )
    with open_shards(chosen.config) as (site, shards):
        reading = Reading(site, shards, replace(selection, states=order.states))
        with working("reading the queue"):
            keys = reading.keys()
        if action == "move":
            order = replace(order, pool=_pool(site, pool, reading.accounts or selection.accounts))
        total = sum(map(len, keys.values()))
        if dry_run:
            _tell_dry_run(action, total, as_json=chosen.as_json)
            return
        if total and question is not None:
            confirm(question.format(f"{total} {_deliveries(total)}"))
        with owner(site) as who, progressing(f"queue {action}", total) as progress:
            done: Done | None = None
            try:
                done = act(who, order, keys, progress)
            finally:
                _note_action(site, order, chosen, keys, done)
    _tell(order, done, chosen, total)


def _pool(site: "Site", name: str, accounts: "Collection[str]") -> str:
    """Return the name of a pool for SendOptions, "" for the default. Raise when one of the accounts has none such."""
    if name == "default":
        return ""
    if not POOL_NAME.fullmatch(name):
        raise UsageError(f"--to {name!r} is no name of a pool: letters, digits, _ and -, at most 64.")
    with site.catalog() as catalog:
        for account in sorted(accounts):
            known = catalog.pools.names(account)
            if name not in known:
                raise NotFoundError(
                    f"Account {account} has no pool {name}. Its mail can move to {', '.join(('default', *known))}; "
                    "`relay pool create` makes another."
                )
    return name


def _note_action(site: "Site", order: "Order", chosen: Chosen, keys: "Keys", done: "Done | None") -> None:
    """Write what was asked for into the audit log: who, what, which, how many; no `changed` if it broke off."""
    from relay.runtime.audit import record  # noqa: PLC0415

    accounts = chosen.selection.accounts
    record(
        site.data_dir,
        f"queue.{order.action}",
        accounts[0] if len(accounts) == 1 else "",
        {
            "selection": chosen.selection.as_json() or "all",
            "deliveries": sum(map(len, keys.values())),
            "changed": done and done.changed + done.also,
            "until": iso(order.until_ms),
            "standingHold": order.rule or None,
            "reason": order.reason or None,
            "pool": order.pool or ("default" if order.action == "move" else None),
        },
    )


def _tell_dry_run(action: str, total: int, *, as_json: bool) -> None:
    if as_json:
        write_json({"action": action, "count": total, "dryRun": True})
    else:
        typer.echo(f"{total} {_deliveries(total)} would be {DONE[action].removeprefix('to be ')}.")


def _tell(order: "Order", done: "Done", chosen: Chosen, total: int) -> None:
    left = done.in_flight if order.action not in ("hold", "move") else 0
    if chosen.as_json:
        numbers = {"count": done.changed, "inFlight": done.in_flight, "also": done.also or None}
        write_json({"action": order.action, **{name: value for name, value in numbers.items() if value is not None}})
    else:
        until = f" until {when(order.until_ms)}" if order.until_ms else ""
        typer.echo(f"{done.changed} {_deliveries(done.changed)} {DONE[order.action]}{until}.")
    if done.also:
        note(f"{done.also} more {_deliveries(done.also)} of the same messages moved with them.")
    if left:
        note(f"{left} {_deliveries(left)} being attempted now and left alone; run it again to catch what comes back.")
    if total == 0 and chosen.selection.message_ids:
        raise NotFoundError("None of these messages is in the queue in a state that this applies to.")
    if left and done.changed == 0:
        raise typer.Exit(EX_TEMPFAIL)


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


def _deliveries(number: int) -> str:
    return "delivery" if number == 1 else "deliveries"
