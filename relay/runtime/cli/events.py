"""`relay events`: what happened to messages, as it happens, later, and again."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from relay.errors import UsageError
from relay.runtime.cli.history_options import (
    LIMIT_MAX,
    AccountFilter,
    CursorOption,
    RecipientOption,
    SetOption,
    SinceOption,
    UntilOption,
    event_type,
    spools,
    times,
)
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, paint, printable, when, working, write_json, write_json_lines

if TYPE_CHECKING:
    from relay.model.search import EventQuery
    from relay.runtime.cli.site import Site
    from relay.store.event_blocks import Archived

app = typer.Typer(help="What happened to messages: as it happens, later, and again.", no_args_is_help=True)

TAIL_DEFAULT = 10
SEARCH_DEFAULT = 50
POLL_SECONDS = 0.25
BATCH_BYTES = 256 * 1024
BATCH_EVENTS = 500
SEEN_MAX = 20_000
COLOURS = {"Delivery": "green", "Bounce": "red", "Complaint": "red", "Reject": "red", "DeliveryDelay": "yellow"}

_DESTINATION = (
    "Publish them here: to one of `events` of the configuration, stream:NAME, bus:NAME, the ARN of a topic, or "
    "subscription:ARN."
)
_QUEUED = ("stream:", "bus:", "subscription:", "arn:")
TypeOption = Annotated[str, typer.Option("--type", metavar="TYPE", help="Of this type: Send, Delivery, Bounce ...")]
MessageOption = Annotated[str, typer.Option("--message", metavar="ID", help="About this message.")]
EventOption = Annotated[str, typer.Option("--id", metavar="EVENT", help="The event with this id.")]


@app.command()
def tail(
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")] = False,
    kind: TypeOption = "",
    recipient: RecipientOption = "",
    account: AccountFilter = "",
    configuration_set: SetOption = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=100_000, help="So many to begin with.")] = (
        TAIL_DEFAULT
    ),
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest events, the last one at the end."""
    from relay.model.search import EventQuery  # noqa: PLC0415
    from relay.store.event_search import EventSearch, Follower  # noqa: PLC0415
    from relay.store.retention import archive_directory  # noqa: PLC0415

    site = _opened(config)
    query = EventQuery(
        kind=event_type(kind), recipient=recipient, account=account, configuration_set=configuration_set
    )
    directory = archive_directory(site.data_dir)
    follower = Follower(directory, query)  # first, so that nothing falls between the two
    found = EventSearch(directory, _logs(site), query).page(lines).found if lines else []
    seen = {_place(one) for one in found}
    _write(reversed(found), as_json=as_json)
    while follow:
        sys.stdout.flush()
        new = [one for one in follower.more() if _place(one) not in seen]
        _write(new, as_json=as_json)
        if not new:
            time.sleep(POLL_SECONDS)


@app.command()
def search(
    *,
    event: EventOption = "",
    message: MessageOption = "",
    recipient: RecipientOption = "",
    kind: TypeOption = "",
    account: AccountFilter = "",
    configuration_set: SetOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most this many.")] = SEARCH_DEFAULT,
    cursor: CursorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find events, the newest first: every criterion given must hold."""
    from relay.store.event_search import EventSearch  # noqa: PLC0415
    from relay.store.retention import archive_directory  # noqa: PLC0415

    site = _opened(config)
    query = _query(locals())
    with working("searching"):
        page = EventSearch(archive_directory(site.data_dir), _logs(site), query).page(limit, cursor)
    if not page.found:
        note("No event was found.")
    _write(page.found, as_json=as_json)
    if page.cursor:
        note(f"There may be more: add --cursor {page.cursor}")


@app.command()
def replay(
    *,
    destination: Annotated[str, typer.Option(metavar="NAME", help=_DESTINATION)] = "",
    to: Annotated[
        str, typer.Option("--to", metavar="FILE", help="Append them to a file, - for standard output.")
    ] = "",
    event: EventOption = "",
    message: MessageOption = "",
    recipient: RecipientOption = "",
    kind: TypeOption = "",
    account: AccountFilter = "",
    configuration_set: SetOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    every: Annotated[bool, typer.Option("--all", help="All events that are kept.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many it would be; publish nothing.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish archived events again, in the order in which they came: the same records, with the same ids.

    Consumers know a repeated event by its id: `feedbackId` of bounces and complaints, else type, message and time.
    """
    from relay.model.search import EventQuery  # noqa: PLC0415
    from relay.store.event_search import EventSearch  # noqa: PLC0415
    from relay.store.retention import archive_directory  # noqa: PLC0415

    if bool(destination) == bool(to) and not dry_run:
        raise UsageError("Say where to: --destination NAME or --to FILE.")
    query = _query(locals())
    if (query == EventQuery()) is not every:
        raise UsageError("Say which: --message, --type, --since or another choice, or --all.")
    site = _opened(config)
    found = EventSearch(archive_directory(site.data_dir), _logs(site), query).oldest_first()
    if dry_run:
        number = sum(1 for _ in found)
    elif destination:
        number = _publish(site, destination, found)
    else:
        number = _append(to, found)
    if as_json and to != "-":
        write_json({"events": number})
    else:
        events = "1 event" if number == 1 else f"{number} events"
        note(f"{events} would be published again." if dry_run else f"{events} published again.")


def events_of(site: "Site", message_id: str) -> list[dict[str, Any]]:
    """Return the events of a message, the first one first, as `relay events search --json` prints them."""
    from relay.model.ids import accepted_ms_of  # noqa: PLC0415
    from relay.model.search import EventQuery  # noqa: PLC0415
    from relay.store.event_search import EventSearch  # noqa: PLC0415
    from relay.store.retention import archive_directory  # noqa: PLC0415

    query = EventQuery(message_id=message_id, since_ms=accepted_ms_of(message_id))
    page = EventSearch(archive_directory(site.data_dir), _logs(site), query).page(10_000)
    return [event_object(one) for one in sorted(page.found, key=lambda one: (one.time_ms, one.event.seq))]


def event_object(one: "Archived") -> dict[str, Any]:
    """Return an event as commands print it for programs: `event` is the record as it was published."""
    return {
        "eventId": one.event.event_id,
        "time": iso(one.time_ms),
        "type": one.event.kind,
        "messageId": one.event.message_id,
        "event": one.event.record,
        "notes": one.event.note or None,
    }


def detail(record: dict[str, Any]) -> str:
    """Return what is worth knowing of an event beside its type and recipients, in a few words."""
    part: dict[str, Any] = next(
        (value for name, value in record.items() if name != "mail" and isinstance(value, dict)), {}
    )
    names = ("bounceType", "bounceSubType", "complaintSubType", "complaintFeedbackType", "delayType", "reason")
    found = [str(part[name]) for name in names if part.get(name)]
    for listed in ("bouncedRecipients", "delayedRecipients"):
        found += [str(each["diagnosticCode"]) for each in part.get(listed, ())[:1] if each.get("diagnosticCode")]
    found += [str(part[name]) for name in ("smtpResponse", "link", "ipAddress", "errorMessage") if part.get(name)]
    return ", ".join(found)


def write_event(kind: str, time_text: str, recipients: Iterable[str], message_id: str, said: str) -> None:
    """Write an event on one line."""
    shown = ", ".join(recipients) or "-"
    tail_text = f"  {said}" if said else ""
    typer.echo(
        f"{time_text}  {paint(f'{kind:<13}', COLOURS.get(kind, 'dim'))}  "
        f"{printable(f'{shown}  {message_id}{tail_text}'.strip())}"
    )


def _write(found: "Iterable[Archived]", *, as_json: bool) -> None:
    from relay.model.search import event_facts  # noqa: PLC0415

    if as_json:
        write_json_lines(map(event_object, found))
        return
    for one in found:
        facts = event_facts(one.event)
        write_event(facts.kind, when(one.time_ms), facts.recipients, facts.message_id, detail(one.event.record))


def _opened(config: Path | None) -> "Site":
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    return open_site(config)


def _logs(site: "Site") -> dict[int, Path]:
    return {number: spool for number, (spool, _) in spools(site).items()}


def _place(one: "Archived") -> tuple[int, int]:
    return one.event.shard, one.event.seq


def _query(given: dict[str, Any]) -> "EventQuery":
    """Return the query that the options of a command mean, given by the names of its parameters."""
    from relay.model.search import EventQuery  # noqa: PLC0415

    return EventQuery(
        event_id=given["event"],
        message_id=given["message"],
        recipient=given["recipient"],
        kind=event_type(given["kind"]),
        account=given["account"],
        configuration_set=given["configuration_set"],
        **times(given["since"], given["until"]),
    )


def _batches(found: "Iterator[Archived]") -> "Iterator[list[Archived]]":
    batch: list[Archived] = []
    size = 0
    for one in found:
        batch.append(one)
        size += len(one.event.payload)
        if size >= BATCH_BYTES or len(batch) == BATCH_EVENTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _publish(site: "Site", destination: str, found: "Iterator[Archived]") -> int:
    """Have the events process publish events again; return how many somebody gets."""
    from relay.runtime.children import Role  # noqa: PLC0415
    from relay.runtime.events.desk import POST_AGAIN  # noqa: PLC0415
    from relay.runtime.events.publishing import AGAIN  # noqa: PLC0415
    from relay.runtime.rpc import Client  # noqa: PLC0415

    client = Client(site.data_dir / "run" / f"{Role.EVENTS}.sock")
    number = 0
    try:
        for batch in _batches(found):
            rows = [
                [one.event.event_id, one.event.kind, one.event.message_id, one.event.payload.decode()]
                for one in batch
            ]
            if destination.startswith(_QUEUED):
                number += client.call(POST_AGAIN, target=destination, events=rows)["published"]
            else:
                number += client.call(AGAIN, destination=destination, events=rows)["published"]
    finally:
        client.close()
    return number


def _append(to: str, found: "Iterator[Archived]") -> int:
    """Append records to a file, a line each; they are synced on return."""
    number = 0
    with _opened_file(to) as stream:
        for batch in _batches(found):
            stream.write(b"".join(one.event.payload + b"\n" for one in batch))
            number += len(batch)
        stream.flush()
        with suppress(OSError):  # a pipe has nothing to sync
            os.fsync(stream.fileno())
    return number


def _opened_file(to: str) -> BinaryIO:
    if to == "-":
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    return Path(to).open("ab")


@app.command()
def decrypt(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files or objects of an encrypted stream.")],
    *,
    key_file: Annotated[
        Path, typer.Option("--key-file", metavar="FILE", help="The key that they are encrypted with.")
    ],
) -> None:
    """Write the events of encrypted files of streams, one JSON object a line; compressed ones are decompressed."""
    from relay.errors import CorruptionError  # noqa: PLC0415
    from relay.signing.sealed_file import FileSealer, key_of  # noqa: PLC0415
    from relay.store.line_files import reading_lines  # noqa: PLC0415

    sealer = FileSealer(key_of(key_file.read_text(encoding="utf-8").partition("\n")[0], str(key_file)))
    for file in files:
        try:
            with reading_lines(file, sealer) as stream:
                for line in stream:
                    sys.stdout.buffer.write(line)
        except (CorruptionError, EOFError) as error:
            raise CorruptionError(f"{file}: {error}.") from error
    sys.stdout.buffer.flush()
