"""`relay suppression`: addresses an account does not send to."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import NotFoundError, UsageError
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, when, write_fields, write_json, write_json_lines, write_table
from relay.runtime.cli.suppression_import import export, import_, jobs
from relay.runtime.cli.suppression_relay_list import app as relay_list

if TYPE_CHECKING:
    from relay.model.account import SuppressionEntry

app = typer.Typer(help="Addresses that are not sent to.", no_args_is_help=True)

LIMIT_DEFAULT = 1000
LIMIT_MAX = 100_000_000


@app.command()
def add(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="Addresses.")],
    *,
    reason: Annotated[str, typer.Option(help="BOUNCE or COMPLAINT.")] = "BOUNCE",
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put addresses on the list; nothing is sent to them from now on."""
    from relay.policy.suppression import refuse_in_sandbox  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        refuse_in_sandbox(catalog.accounts.require(account))
        entries = [catalog.suppression.add(account, address, reason) for address in addresses]
    site.audit("suppression.add", account, {"addresses": addresses, "reason": reason})
    if as_json:
        write_json_lines(as_object(entry) for entry in entries)
    else:
        typer.echo(f"{_addresses(len(entries))} on the list of account {account}.")


@app.command()
def remove(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="Addresses.")],
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
) -> None:
    """Take addresses off the list; mail to them flows again at once."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        for address in addresses:
            catalog.suppression.remove(account, address)
    site.audit("suppression.remove", account, {"addresses": addresses})
    typer.echo(f"{_addresses(len(addresses))} taken off the list of account {account}.")


@app.command("list")
def list_(
    *,
    reason: Annotated[str, typer.Option(help="Only addresses with this reason: BOUNCE or COMPLAINT.")] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="Only what changed at this time (UTC) or later.")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Only what changed before this time (UTC).")] = "",
    after: Annotated[str, typer.Option(metavar="ADDRESS", help="Go on behind this address.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most this many.")] = LIMIT_DEFAULT,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List addresses with reason and time, in the order of the addresses."""
    from itertools import islice  # noqa: PLC0415

    from relay.policy.suppression import checked_reasons, fold  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.store.suppression import END_MS, Filter  # noqa: PLC0415

    chosen = Filter(
        checked_reasons([reason])[0] if reason else "",
        _milliseconds("--since", since) if since else 0,
        _milliseconds("--until", until) - 1 if until else END_MS,
    )
    with open_site(config).catalog() as catalog:
        catalog.accounts.require(account)
        entries = list(islice(catalog.suppression.entries(account, chosen, after=fold(after)), limit + 1))
    if as_json:
        write_json_lines(as_object(entry) for entry in entries[:limit])
    else:
        write_table(
            ("Address", "Reason", "Since"),
            ((entry.address, entry.reason, when(entry.updated_ms)) for entry in entries[:limit]),
            empty="Nothing is on the list." if chosen == Filter() else "Nothing on the list fits.",
        )
    if len(entries) > limit:
        note(f"There are more: --after {entries[limit - 1].address} goes on, `relay suppression export` writes all.")


@app.command()
def show(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The address.")],
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show why an address is on the list: the bounce or complaint that put it there."""
    import json  # noqa: PLC0415

    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        catalog.accounts.require(account)
        entry = catalog.suppression.get(account, address)
        if entry is None:
            raise NotFoundError(f"{address} is not on the suppression list of account {account}.")
        report = catalog.suppression.trigger(entry)
    attributes = {"messageId": entry.message_id, "feedbackId": entry.feedback_id} if entry.feedback_id else None
    if as_json:
        write_json({**as_object(entry), "attributes": attributes, "report": report})
        return
    write_fields(
        {
            "address": entry.address,
            "reason": entry.reason,
            "since": when(entry.updated_ms),
            "message id": entry.message_id or "- (added by hand)",
            "feedback id": entry.feedback_id or "-",
        }
    )
    if report is not None:
        typer.echo("report")
        typer.echo(json.dumps(report, indent=2, ensure_ascii=True))


@app.command()
def settings(
    *,
    reasons: Annotated[
        str | None,
        typer.Option(
            metavar="REASONS", help="What counts: BOUNCE, COMPLAINT, both with a comma, or `none`: no list in use."
        ),
    ] = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or change which feedback puts addresses on the list, and which of its entries stop mail."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = catalog.accounts.require(account)
        if reasons is not None:
            found = catalog.accounts.set_suppressed_reasons(account, [] if reasons == "none" else reasons.split(","))
        count = catalog.suppression.count(account)
    counted = list(found.suppressed_reasons)
    if reasons is not None:
        site.audit("suppression.settings", account, {"suppressedReasons": counted})
    if as_json:
        write_json({"account": account, "suppressedReasons": counted, "addresses": count})
    else:
        write_fields({"suppressed reasons": ", ".join(counted) or "none: the list is not in use", "addresses": count})


app.command("import")(import_)
app.command()(export)
app.add_typer(jobs, name="jobs")
app.add_typer(relay_list, name="relay-wide")


def _milliseconds(option: str, text: str) -> int:
    """Return a time in UTC as ms since 1970: a day, or a day and a time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} takes a time such as 2026-11-23 or 2026-11-23T14:00, not {text[:40]!r}."
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _addresses(count: int) -> str:
    return "1 address" if count == 1 else f"{count} addresses"


def as_object(entry: "SuppressionEntry") -> dict[str, Any]:
    """Return an entry for programs, in the form an import reads."""
    return {"emailAddress": entry.address, "reason": entry.reason, "updated": iso(entry.updated_ms)}
