"""`relay queue retry|hold|release|delete|bounce|move`: what an operator may do about deliveries that wait."""

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from relay.errors import EX_TEMPFAIL, NotFoundError, UsageError
from relay.runtime.cli import queue_holds
from relay.runtime.cli.options import confirm
from relay.runtime.cli.output import iso, note, progressing, when, working, write_json
from relay.runtime.cli.queue_choice import Chosen, choosing, deliveries, milliseconds

if TYPE_CHECKING:
    from collections.abc import Collection

    from relay.model.delivery import DeliveryState
    from relay.runtime.cli.queue_actions import Keys
    from relay.runtime.cli.site import Site
    from relay.runtime.queue_work import Done, Order

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


@choosing(acts=True)
def retry(*, chosen: Chosen, dry_run: DryRunOption = False) -> None:
    """Attempt deliveries now instead of at their next time."""
    _act("retry", chosen, dry_run=dry_run)


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


@choosing(acts=True)
def release(*, chosen: Chosen, dry_run: DryRunOption = False) -> None:
    """Let held and quarantined deliveries go on, those of a standing hold too."""
    _act("release", chosen, dry_run=dry_run)


@choosing(acts=True)
def delete(*, chosen: Chosen, yes: YesOption = False, dry_run: DryRunOption = False) -> None:
    """Take deliveries out of the queue for good; nobody is told."""
    _act("delete", chosen, dry_run=dry_run, question=None if yes else "Delete {} for good, without a bounce?")


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


COMMANDS = (retry, hold, release, delete, bounce, move)


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
            confirm(question.format(f"{total} {deliveries(total)}"))
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
    accounts = chosen.selection.accounts
    site.audit(
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
        typer.echo(f"{total} {deliveries(total)} would be {DONE[action].removeprefix('to be ')}.")


def _tell(order: "Order", done: "Done", chosen: Chosen, total: int) -> None:
    left = done.in_flight if order.action not in ("hold", "move") else 0
    if chosen.as_json:
        numbers = {"count": done.changed, "inFlight": done.in_flight, "also": done.also or None}
        write_json({"action": order.action, **{name: value for name, value in numbers.items() if value is not None}})
    else:
        until = f" until {when(order.until_ms)}" if order.until_ms else ""
        typer.echo(f"{done.changed} {deliveries(done.changed)} {DONE[order.action]}{until}.")
    if done.also:
        note(f"{done.also} more {deliveries(done.also)} of the same messages moved with them.")
    if left:
        note(f"{left} {deliveries(left)} being attempted now and left alone; run it again to catch what comes back.")
    if total == 0 and chosen.selection.message_ids:
        raise NotFoundError("None of these messages is in the queue in a state that this applies to.")
    if left and done.changed == 0:
        raise typer.Exit(EX_TEMPFAIL)
