"""`relay trace`: one message from acceptance to its end, with every attempt and every event."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from relay.errors import NotFoundError, UsageError
from relay.runtime.cli.events import detail, events_of, write_event
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import paint, printable, size, write_fields, write_json

TLS_POLICIES = {"dane": "DANE", "sts": "MTA-STS"}
POLL_SECONDS = 0.5
POLL_SLOW_SECONDS = 2.0
POLLS_QUICK = 60
MARKS = {"client": (">", "cyan"), "server": ("<", "green"), "note": ("-", "dim")}
STATE_COLOURS = {
    "delivered": "green",
    "bounced": "red",
    "suppressed": "red",
    "quarantined": "red",
    "rejected": "red",
    "deleted": "dim",
}


def trace(
    message: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The message id, from `250 Ok <id>`; a Message-ID; or a recipient, for the latest message to it.",
        ),
    ],
    *,
    brief: Annotated[bool, typer.Option("--brief", help="Without what was said in each attempt.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until every delivery has ended.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a message, its deliveries and every attempt, with what was said where it is kept (`delivery.trace`).

    Then its events, with bounces and complaints that came back later.
    """
    message = _latest(config, message) if "@" in message else message
    found = find(config, message)
    if found is None:
        raise NotFoundError(f"No message {message} is known: never accepted here, or older than the history kept.")
    shown = ""
    polls = 0
    while True:
        text = json.dumps(found, sort_keys=True, default=str)
        if found is not None and text != shown:
            if as_json:
                write_json(found)
            else:
                write_trace(found, brief=brief)
        shown = text
        if not follow or found is None or not is_open(found):
            return
        polls += 1
        time.sleep(POLL_SECONDS if polls < POLLS_QUICK else POLL_SLOW_SECONDS)
        found = find(config, message) or found


def find(config: Path | None, message: str) -> dict[str, Any] | None:
    """Return the trace of a message as an object of the outside contract, None when it is not known."""
    from relay.model.ids import is_message_id, shard_of  # noqa: PLC0415
    from relay.runtime.cli.shards import open_shards  # noqa: PLC0415

    if not is_message_id(message):
        raise UsageError(f"{message!r} is no message id.")
    with open_shards(config, shard_of(message)) as (site, shards):
        found = next((found for shard in shards if (found := shard.trace(message)) is not None), None)
        return found and found | {"events": events_of(site, message)}


def _latest(config: Path | None, name: str) -> str:
    """Return the id of the latest message for a recipient, or with a Message-ID (NOTIF-018). Raise NotFoundError."""
    from relay.model.ids import is_message_id  # noqa: PLC0415
    from relay.model.search import plain_id  # noqa: PLC0415
    from relay.runtime.cli.messages import latest_of  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    local = plain_id(name).partition("@")[0]
    if is_message_id(local):  # the Message-ID that the relay gave it
        return local
    site = open_site(config)
    found = "" if name.startswith("<") else latest_of(site, recipient=name)
    found = found or latest_of(site, header_id=name)
    if not found:
        raise NotFoundError(
            f"No message for {name}, or with that Message-ID, is known: never accepted here, or older than the "
            "history kept."
        )
    return found


def is_open(found: dict[str, Any]) -> bool:
    """Say whether any delivery may still change by itself."""
    return any(delivery["state"] == "queued" for delivery in found["deliveries"])


def write_trace(found: dict[str, Any], *, brief: bool = False) -> None:
    """Write a trace for people: what it is, then each recipient with its attempts."""
    write_fields(
        {
            "message": found["messageId"],
            "account": found["account"],
            "from": found["sender"] or "<>",
            "subject": found["subject"] or "-",
            "accepted": local(found["accepted"]),
            **({"not before": local(found["release"])} if found["release"] else {}),
            "size": size(found["size"]),
            **({"scan": _scanned(found["scan"])} if found["scan"] else {}),
        }
    )
    for delivery in found["deliveries"]:
        typer.echo("")
        state = paint(delivery["state"], STATE_COLOURS.get(delivery["state"], "yellow"))
        typer.echo(f"{printable(delivery['recipient'])}  {state}{_when(delivery['nextAttempt'])}")
        for number, attempt in enumerate(delivery["attempts"], 1):
            _write_attempt(number, attempt)
            if attempt["dialogue"] and not brief:
                _write_dialogue(attempt["dialogue"], attempt["reply"])
        said = delivery["lastReply"]  # without an attempt: what it waits for, such as room or an end of a pause
        if delivery["nextAttempt"] and said and said not in {one["reply"] for one in delivery["attempts"][-1:]}:
            typer.echo(printable(f"  waits: {said}"))
    _write_events(found["events"])


def _when(next_attempt: str | None) -> str:
    """Say when a delivery is attempted again. What is due is under way, or waits for its turn."""
    if not next_attempt:
        return ""
    from datetime import UTC, datetime  # noqa: PLC0415

    due = datetime.fromisoformat(next_attempt) <= datetime.now(UTC)
    return f", {'under way or due since' if due else 'next attempt'} {local(next_attempt)}"


def _write_events(events: list[dict[str, Any]]) -> None:
    from relay.model.search import recipients_of  # noqa: PLC0415

    if events:
        typer.echo("")
    for one in events:
        write_event(one["type"], local(one["time"]), recipients_of(one["event"]), "", detail(one["event"]))


def _scanned(scan: dict[str, Any]) -> str:
    """Return what scanners said as one line."""
    parts = [scan["verdict"], *(scan[key] for key in ("detail", "scanner") if scan[key])]
    if scan["spamScore"] is not None:
        parts.append(f"spam score {scan['spamScore']:g}")
    return printable(", ".join(parts))


def _write_attempt(number: int, attempt: dict[str, Any]) -> None:
    remote = attempt["remoteHost"] or "-"
    if attempt["remoteAddress"]:
        remote += f" [{attempt['remoteAddress']}]"
    source = f" from {attempt['sourceAddress']}" if attempt["sourceAddress"] else ""
    source += f" ({attempt['pool']})" if attempt["pool"] else ""
    line = f"  {number}. {local(attempt['time'])}  {attempt['outcome']} at {attempt['stage']}, {remote}{source}"
    policy = f" by {TLS_POLICIES[attempt['tlsPolicy']]}" if attempt["tlsPolicy"] in TLS_POLICIES else ""
    typer.echo(printable(f"{line}, TLS {attempt['tls']}{policy}"))
    typer.echo(printable(f"     {attempt['reply']}"))
    if attempt["rule"]:
        effects = f": {'; '.join(attempt['effects'])}" if attempt["effects"] else ""
        typer.echo(printable(f"     rule {attempt['rule']}{effects}"))
    if attempt["advice"]:
        typer.echo(printable(f"     {attempt['advice']}"))


def _write_dialogue(dialogue: dict[str, Any], reply: str) -> None:
    """Write what was said, connection by connection; what we say is marked >, what the remote says <.

    A single connection on which nothing was said and that ended with the attempt's reply has nothing to add.
    """
    tries = dialogue["tries"]
    if len(tries) == 1 and not (tries[0]["lines"] or dialogue["skipped"]) and tries[0]["outcome"] == reply:
        return
    for one in tries:
        where = f"{one['host']} [{one['address']}]:{one['port']}"
        typer.echo("")
        typer.echo(f"     {paint(printable(where), 'bold')}  {printable(one['outcome'])}")
        if one["messagesBefore"]:
            typer.echo(f"       the connection had carried {one['messagesBefore']} before this one")
        if one["tls"]:
            typer.echo(f"       {printable(_tls(one['tls']))}")
        for line in one["lines"]:
            mark, colour = MARKS[line["from"]]
            typer.echo(paint(f"       {line['ms'] / 1000:8.3f} {mark} {printable(line['text'])}", colour))
    for skipped in dialogue["skipped"]:
        address = f" [{skipped['address']}]" if skipped["address"] else ""
        typer.echo(f"     not tried: {printable(skipped['host'])}{printable(address)}: {printable(skipped['why'])}")
    typer.echo("")


def _tls(facts: dict[str, Any]) -> str:
    """Return how a connection was encrypted as one line."""
    shown = f", certificate of {facts['subject'] or 'nobody'} by {facts['issuer'] or 'nobody'}"
    checked = "verified" if facts["verified"] else "not verified"
    return f"{facts['version']} {facts['cipher']}{shown if facts['subject'] or facts['issuer'] else ''}, {checked}"


def local(text: str | None) -> str:
    """Return a time of the outside contract as local time for people."""
    if text is None:
        return "-"
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
