"""`relay snds`: Microsoft's daily figures about the relay's own addresses (SNDS-001 to SNDS-003)."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import note, when, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.reputation.snds import Figures

DAY_MS = 86_400_000
_SPAM = {0.0: "below 10 %", 0.5: "10 % to 90 %", 1.0: "90 % or more"}


def snds(
    *,
    address: Annotated[
        str | None, typer.Option("--address", metavar="IP", help="Only this address.", show_default=False)
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=400, help="Figures that came in so many days.")] = 14,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what Microsoft saw of the relay's addresses, newest first; a day without figures is not there."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.store.snds import Reading, read_snds  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        own = {one.address for one in catalog.addresses.list()}
    figures: list[Figures] = []
    reading = Reading()
    file = read_snds(site.data_dir)
    if file is not None:
        with file:
            since_ms = time.time_ns() // 1_000_000 - days * DAY_MS
            figures = [one for one in file.figures(address, since_ms) if one.address in own]
            reading = file.reading()
    if as_json:
        write_json_lines(figures_object(one) for one in figures)
    else:
        _table(figures, why_none(own=bool(own), configured=site.config.snds.url is not None, days=days))
    if reading.failure:
        note(f"The last try, {when(reading.tried_ms)}, failed: {reading.failure}.")
    elif reading.bad_lines:
        note(f"{reading.bad_lines} lines of the last answer were passed over; the log names the first.")


def why_none(*, own: bool, configured: bool, days: int) -> str:
    """Return why there are no figures."""
    if not configured:
        return "No SNDS feed is configured: see snds.url and snds.key_file."
    if not own:
        return "This relay has no source addresses of its own (`relay address add`)."
    return f"SNDS said nothing about the relay's addresses in {days} days; below 100 messages a day it says nothing."


def figures_object(one: "Figures") -> dict[str, Any]:
    """Return figures by the names of their metrics."""
    return {
        "address": one.address,
        "begin": one.begin,
        "end": one.end,
        "SNDS.RCPTCommands": one.rcpt_commands,
        "SNDS.DATACommands": one.data_commands,
        "SNDS.MessageRecipients": one.message_recipients,
        "SNDS.SpamRate": one.spam_rate,
        "SNDS.ComplaintRate": one.complaint_rate,
        "SNDS.TrapHits": one.trap_hits,
    }


def _table(figures: "list[Figures]", empty: str) -> None:
    write_table(
        ("Address", "From", "To", "RCPT", "DATA", "Recipients", "Spam", "Complaints", "Traps"),
        (
            (
                one.address,
                one.begin.replace("T", " ")[:16],
                one.end.replace("T", " ")[:16],
                one.rcpt_commands,
                one.data_commands,
                one.message_recipients,
                f"{one.spam_rate:g} ({_SPAM[one.spam_rate]})",
                "-"
                if one.complaint_rate is None
                else f"{one.complaint_rate:.1%}"
                if one.complaint_rate
                else "< 0.1%",
                "-" if one.trap_hits is None else one.trap_hits,
            )
            for one in figures
        ),
        empty=empty,
    )
