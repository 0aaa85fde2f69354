"""The run of `relay sink`: the mailbox and its DNS from start to Ctrl-C, and what they tell."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from relay.errors import ConfigurationError
from relay.runtime.cli.options import endpoint
from relay.runtime.cli.output import note, paint, printable, size, write_json
from relay.runtime.cli.sink_dns import DnsServer
from relay.runtime.cli.sink_mailbox import Kept, Maildir
from relay.runtime.cli.sink_server import KeyLookup, SinkServer
from relay.runtime.cli.sink_tls import self_signed_context
from relay.runtime.cli.sink_zone import ZoneSource, address_for

if TYPE_CHECKING:
    from relay.runtime.cli.site import Site

RECIPIENTS_SHOWN = 5
SUBJECT_MAX_CHARACTERS = 200
HEADER_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options say."""

    smtp_at: tuple[str, int]
    dns_at: tuple[str, int] | None
    maildir: Path
    keep: int
    domains: tuple[str, ...]
    config: Path | None
    tls: bool
    size_max_bytes: int
    count: int
    as_json: bool


def run(wanted: Wanted) -> None:
    """Serve until Ctrl-C, TERM or the last of `count` mails."""
    site = _site(wanted.config) if wanted.dns_at else None
    zone = ZoneSource(site, address_for(wanted.smtp_at[0]), wanted.domains) if wanted.dns_at else None
    mailbox = Maildir(wanted.maildir, wanted.keep)
    if site is not None:
        _become_run_as(site, wanted.maildir)
    asyncio.run(_serve(mailbox, zone, wanted))


def _site(config: Path | None) -> "Site | None":
    """Return the relay whose identities are answered for; none when no configuration is named or found."""
    from relay.runtime.cli.site import read_site  # noqa: PLC0415

    try:
        return read_site(config)
    except ConfigurationError:
        if config is not None:
            raise
        return None


def _become_run_as(site: "Site", maildir: Path) -> None:
    """Give up root where the relay has a user of its own; the mailbox goes to that user first."""
    from relay.runtime import privileges  # noqa: PLC0415
    from relay.runtime.cli.site import become_run_as  # noqa: PLC0415

    run_as = site.config.run_as
    if run_as is None or os.geteuid() != 0:
        return
    user = privileges.find_user(run_as.user, run_as.group)
    for path in (maildir, *(maildir / part for part in ("tmp", "new", "cur"))):
        os.chown(path, user.uid, user.gid, follow_symlinks=False)
    become_run_as(site)


async def _serve(mailbox: Maildir, zone: ZoneSource | None, wanted: Wanted) -> None:
    done = asyncio.Event()
    seen = 0

    def on_mail(kept: Kept) -> None:
        nonlocal seen
        seen += 1
        _tell(kept, as_json=wanted.as_json)
        if seen == wanted.count:
            done.set()

    lookup, names, dns_at = None, None, wanted.dns_at
    if dns_at is not None and zone is not None:
        names = DnsServer(zone.current)
        dns_at = (dns_at[0], await _bound(names.start(*dns_at), *dns_at, "--dns"))
        lookup = KeyLookup(*dns_at)
    context = self_signed_context("sink.localhost") if wanted.tls else None
    server = SinkServer(mailbox, on_mail, tls=context, size_max_bytes=wanted.size_max_bytes, lookup=lookup)
    smtp_at = (wanted.smtp_at[0], await _bound(server.start(*wanted.smtp_at), *wanted.smtp_at, "--listen"))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    _announce(mailbox.path, smtp_at, dns_at, as_json=wanted.as_json)
    await done.wait()
    await server.stop()
    if names is not None:
        await names.stop()


async def _bound(starting: Coroutine[Any, Any, int], host: str, port: int, option: str) -> int:
    try:
        return await starting
    except OSError as error:
        at = endpoint(host, port)
        raise ConfigurationError(
            f"Cannot listen on {at}: {error.strerror or error}. Choose another with {option}."
        ) from error


def _announce(maildir: Path, smtp_at: tuple[str, int], dns_at: tuple[str, int] | None, *, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "smtp": endpoint(*smtp_at),
                "dns": endpoint(*dns_at) if dns_at else None,
                "maildir": str(maildir.absolute()),
            }
        )
    else:
        names = f", DNS on {endpoint(*dns_at)}" if dns_at else ""
        note(f"sink: SMTP on {endpoint(*smtp_at)}{names}, mails in {maildir}; Ctrl-C ends it.")
    sys.stdout.flush()


def _tell(kept: Kept, *, as_json: bool) -> None:
    mail = mail_object(kept)
    if as_json:
        write_json(mail)
    else:
        typer.echo(mail_line(mail))
    sys.stdout.flush()


def mail_object(kept: Kept) -> dict[str, Any]:
    """Return what is told about a mail."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "sender": kept.sender,
        "recipients": list(kept.recipients),
        "size": len(kept.content),
        "tls": kept.tls,
        "peer": kept.peer,
        "dkim": [{"result": r, "domain": d, "selector": s} for r, d, s in kept.dkim],
        "subject": _subject(kept.content),
    }


def mail_line(mail: dict[str, Any]) -> str:
    """Return a mail as one line for people."""
    results = ", ".join(f"{one['result']} {one['domain']}/{one['selector']}" for one in mail["dkim"]) or "none"
    passed = bool(mail["dkim"]) and all(one["result"] == "pass" for one in mail["dkim"])
    verdict = paint(f"dkim {printable(results)}", "green" if passed else "yellow")
    more = len(mail["recipients"]) - RECIPIENTS_SHOWN
    people = f"{mail['sender'] or '<>'} -> {', '.join(mail['recipients'][:RECIPIENTS_SHOWN])}"
    people += f" and {more} more" if more > 0 else ""
    clock = datetime.fromisoformat(mail["time"]).astimezone().strftime("%H:%M:%S")
    return (
        f"{clock}  {printable(people)}  {size(mail['size'])}  {mail['tls']}  {verdict}  {printable(mail['subject'])}"
    )


def _subject(content: bytes) -> str:
    raw = str(message_from_bytes(content[:HEADER_READ_BYTES]).get("subject", ""))
    try:
        return str(make_header(decode_header(raw)))[:SUBJECT_MAX_CHARACTERS]
    except (ValueError, LookupError):
        return raw[:SUBJECT_MAX_CHARACTERS]
