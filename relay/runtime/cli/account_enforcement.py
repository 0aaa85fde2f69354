"""`relay account suspend|reinstate|events`: what enforcement takes from an account, and what was told it."""

from typing import Any

import typer

from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import write_json_lines, write_table
from relay.runtime.cli.reputation_site import LinkArgument, ReasonOption, opened


def register_account(accounts: Any) -> None:
    """Add `relay account suspend`, `reinstate` and `events`."""
    accounts.command()(suspend)
    accounts.command()(reinstate)
    accounts.command()(events)


def suspend(account: LinkArgument, *, reason: ReasonOption = "", config: ConfigOption = None) -> None:
    """Suspend an account for good: new mail is refused whatever becomes of its cases; its contacts are told."""
    from relay.mail.finding_letters import suspension_letter  # noqa: PLC0415
    from relay.runtime import settings  # noqa: PLC0415
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415

    with opened(config) as here:
        letterhead, now_ms = settings.letterhead(here.site.config), SteadyClock().now_ms()
        here.catalog.enforcement.suspend(
            account, lambda recipient: suspension_letter(letterhead, account, reason, recipient, now_ms)
        )
    here.site.audit("account.suspend", account, {"reason": reason or None})
    typer.echo(f"Account {account} is suspended.")


def reinstate(account: LinkArgument, *, config: ConfigOption = None) -> None:
    """End a suspension; a pause by a case stays."""
    with opened(config) as here:
        left = here.catalog.enforcement.reinstate(account)
    here.site.audit("account.reinstate", account, {"enforcement": left})
    typer.echo(f"Account {account} is no longer suspended{'; a case still pauses it' if left != 'none' else ''}.")


def events(account: LinkArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List what happened to an account, newest first: pauses, with a copy of the notice."""
    from relay.runtime.cli.output import iso, when  # noqa: PLC0415

    with opened(config) as here:
        found = here.catalog.enforcement.events(account)
    if as_json:
        write_json_lines(
            {"event": one.event_id, "time": iso(one.created_ms), "name": one.name, "notice": one.text}
            for one in found
        )
        return
    rows = ((when(one.created_ms), one.name, one.text.partition("\n")[0].strip()) for one in found)
    write_table(("Time", "Event", "Notice"), rows, empty="Nothing happened to this account.")
