"""`relay queue`: what waits, and what an operator may do about it; while the relay runs and while it is stopped."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.errors import EX_UNAVAILABLE, UsageError
from relay.runtime.cli.options import ConfigOption, JsonOption, confirm
from relay.runtime.cli.output import note, when, working, write_fields, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relay.model.message import Delivery
    from relay.runtime.cli.shards import Choice, Shard

app = typer.Typer(help="Mail that waits for delivery.", no_args_is_help=True)

PAGE = 500
LIMIT_DEFAULT = 100
LIMIT_MAX = 10_000_000

StateOption = Annotated[str, typer.Option("--state", help="queued, held, quarantined, or a final state.")]
DomainOption = Annotated[str, typer.Option("--domain", help="Only recipients of this domain.")]
MessageOption = Annotated[str, typer.Option("--message", metavar="ID", help="Only this message.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every delivery that the action applies to.")]
MessagesArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Message ids.")]


@app.command("list")
def list_(
    *,
    state: StateOption = "",
    domain: DomainOption = "",
    message: MessageOption = "",
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most this many.")] = LIMIT_DEFAULT,
    cursor: Annotated[str, typer.Option(help="Go on where an earlier list ended.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List deliveries: message, recipient, state, attempts, next attempt, last reply."""
    from relay.runtime.cli.shards import delivery_object, open_shards  # noqa: PLC0415

    listing = _Listing(_choice(state, domain, message), limit, cursor)
    with open_shards(config, _shard(message)) as (_, shards):
        if as_json:
            write_json_lines(delivery_object(one) for one in listing.deliveries(shards))
        else:
            with working("reading the queue"):
                found = list(listing.deliveries(shards))
            _write_rows(found)
    if listing.further:
        note(f"There are more: add --cursor {listing.further}")


@app.command()
def show(
    message: Annotated[str, typer.Argument(metavar="ID", help="The message id.")],
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the deliveries of one message that are still in the queue."""
    from relay.model.delivery import DeliveryState  # noqa: PLC0415
    from relay.runtime.cli.shards import Choice, delivery_object, open_shards  # noqa: PLC0415

    choice = Choice(frozenset(DeliveryState), "", _choice("", "", message).message_id)
    with open_shards(config, _shard(message)) as (_, shards):
        found = list(_Listing(choice, LIMIT_MAX, "").deliveries(shards))
    if not found:
        raise UsageError(f"Message {message} is not in the queue; `relay trace {message}` knows finished ones.")
    if as_json:
        write_json_lines(delivery_object(one) for one in found)
        return
    for number, one in enumerate(found):
        if number:
            typer.echo("")
        write_fields(
            {
                "message": one.message.message_id,
                "from": one.message.sender or "<>",
                "recipient": one.recipient,
                "state": one.state,
                "attempts": one.attempts,
                "next attempt": _next(one),
                "expires": when(one.message.expires_ms),
                "last reply": one.last_reply or "-",
            }
        )


@app.command()
def retry(
    messages: MessagesArgument = None,
    *,
    state: StateOption = "",
    domain: DomainOption = "",
    every: AllOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Attempt deliveries now instead of at their next time."""
    _act(
        "retry",
        "to be attempted now",
        messages=messages,
        state=state,
        domain=domain,
        config=config,
        every=every,
        as_json=as_json,
    )


@app.command()
def hold(
    messages: MessagesArgument = None,
    *,
    state: StateOption = "",
    domain: DomainOption = "",
    every: AllOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep deliveries from being attempted until they are released."""
    _act("hold", "held", messages=messages, state=state, domain=domain, config=config, every=every, as_json=as_json)


@app.command()
def release(
    messages: MessagesArgument = None,
    *,
    state: StateOption = "",
    domain: DomainOption = "",
    every: AllOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let held and quarantined deliveries go on."""
    _act(
        "release",
        "released",
        messages=messages,
        state=state,
        domain=domain,
        config=config,
        every=every,
        as_json=as_json,
    )


@app.command()
def delete(
    messages: MessagesArgument = None,
    *,
    state: StateOption = "",
    domain: DomainOption = "",
    every: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take deliveries out of the queue for good; nobody is told."""
    if not yes:
        confirm("Delete for good, without a bounce?")
    _act(
        "delete",
        "deleted",
        messages=messages,
        state=state,
        domain=domain,
        config=config,
        every=every,
        as_json=as_json,
    )


def _choice(state: str, domain: str, message: str) -> "Choice":
    from relay.model.delivery import OPEN_STATES, DeliveryState  # noqa: PLC0415
    from relay.model.ids import is_message_id  # noqa: PLC0415
    from relay.runtime.cli.shards import Choice  # noqa: PLC0415

    if state and state not in set(DeliveryState):
        raise UsageError(f"There is no state {state!r}; there are {', '.join(DeliveryState)}.")
    if message and not is_message_id(message):
        raise UsageError(f"{message!r} is no message id.")
    return Choice(frozenset({DeliveryState(state)}) if state else OPEN_STATES, domain.lower(), message)


class _Listing:
    """Reads deliveries page by page, shard after shard. `further` is where to go on, "" after the last one."""

    def __init__(self, choice: "Choice", limit: int, cursor: str) -> None:
        self._choice = choice
        self._limit = limit
        self._shard, self._after = _read_cursor(cursor)
        self.further = ""

    def deliveries(self, shards: "Sequence[Shard]") -> "Iterator[Delivery]":
        """Yield deliveries until the limit is reached; then `further` says where to go on."""
        left = self._limit
        for shard in shards:
            if shard.number < self._shard:
                continue
            position: int | None = self._after if shard.number == self._shard else 0
            while position is not None:
                if left == 0:
                    self.further = f"{shard.number}.{position}"
                    return
                found, position = shard.page(self._choice, position, min(PAGE, left))
                left -= len(found)
                yield from found


def _read_cursor(text: str) -> tuple[int, int]:
    if not text:
        return 0, 0
    shard, _, after = text.partition(".")
    if not (shard.isascii() and shard.isdigit() and after.isascii() and after.isdigit()):
        raise UsageError(f"{text!r} is no cursor of an earlier list.")
    return int(shard), int(after)


def _write_rows(deliveries: "Sequence[Delivery]") -> None:
    write_table(
        ("Message", "Recipient", "State", "Attempts", "Next attempt", "Last reply"),
        (
            (one.message.message_id, one.recipient, one.state, one.attempts, _next(one), one.last_reply or _why(one))
            for one in deliveries
        ),
        empty="Nothing is in the queue that matches.",
    )


def _why(delivery: "Delivery") -> str:
    """Say why a delivery without a reply is here: its sender may have asked for a later time."""
    return "not to leave before, as asked" if delivery.message.options.release_ms and not delivery.attempts else "-"


def _next(delivery: "Delivery") -> str:
    return when(delivery.next_ms) if delivery.state == "queued" else "-"


def _act(
    action: str,
    done: str,
    *,
    messages: list[str] | None,
    state: str,
    domain: str,
    config: Path | None,
    every: bool,
    as_json: bool,
) -> None:
    if not (messages or state or domain or every):
        raise UsageError("Say which: message ids, --state, --domain, or --all.")
    if every and (messages or state or domain):
        raise UsageError("--all goes with no other choice.")
    choices = [_choice(state, domain, message) for message in messages or [""]]
    from relay.runtime.cli.queue_actions import act  # noqa: PLC0415
    from relay.runtime.cli.shards import open_shards  # noqa: PLC0415

    with working(f"queue {action}"), open_shards(config) as (site, shards):
        count = act(site, shards, action, choices)
    if as_json:
        write_json({"action": action, "count": count})
    else:
        typer.echo(f"{count} {'delivery' if count == 1 else 'deliveries'} {done}.")
    if count == 0 and messages:
        raise typer.Exit(EX_UNAVAILABLE)


def _shard(message_id: str) -> int | None:
    from relay.model.ids import shard_of  # noqa: PLC0415

    return shard_of(message_id) if message_id else None
