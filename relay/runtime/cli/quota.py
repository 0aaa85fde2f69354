"""`relay quota`: how much an account may send."""

from typing import Annotated

import typer

from relay.errors import UsageError
from relay.runtime.cli.account import as_object, limit_text
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import write_fields, write_json

app = typer.Typer(help="Limits of an account.", no_args_is_help=True)


@app.command("set")
def set_(
    *,
    daily: Annotated[
        int | None, typer.Option(metavar="N", help="Recipients in 24 hours; -1: no limit.", show_default=False)
    ] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="N", help="Recipients a second; -1: no limit.", show_default=False)
    ] = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set limits; those not given stay as they are."""
    if daily is None and rate is None:
        raise UsageError("Give --daily, --rate or both.")
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        catalog.accounts.set_quota(account, daily_quota=daily, send_rate=rate)
    site.audit("quota.set", account, {"daily": daily, "rate": rate})
    show(account=account, config=config, as_json=as_json)


@app.command()
def show(
    *, account: AccountOption = DEFAULT_ACCOUNT, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show the limits of an account, and what it sent in the last 24 hours."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.cli.spent import use_of  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = catalog.accounts.require(account)
    use = use_of(site.data_dir, found)
    if as_json:
        write_json({**as_object(found), **use})
        return
    write_fields(
        {
            "account": found.account_id,
            "state": found.state,
            "sandbox": "yes" if found.sandbox else "no",
            "recipients in 24 hours": limit_text(found.daily_quota),
            "recipients a second": limit_text(found.send_rate),
            "sent in the last 24 hours": use["sentLast24Hours"],
            "remaining": "unlimited" if use["remaining"] is None else use["remaining"],
            "used": "-" if use["usedPercent"] is None else f"{use['usedPercent']:g} %",
        }
    )
