"""`relay quota`: how much an account may send."""

from pathlib import Path
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

    with open_site(config).catalog() as catalog:
        catalog.accounts.set_quota(account, daily_quota=daily, send_rate=rate)
    show(account=account, config=config, as_json=as_json)


@app.command()
def show(
    *, account: AccountOption = DEFAULT_ACCOUNT, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show the limits of an account, and what it sent in the last 24 hours."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = catalog.accounts.require(account)
    sent = sent_last_day(site.data_dir, account)
    if as_json:
        write_json({**as_object(found), "sentLast24Hours": sent})
        return
    write_fields(
        {
            "account": found.account_id,
            "state": found.state,
            "sandbox": "yes" if found.sandbox else "no",
            "recipients in 24 hours": limit_text(found.daily_quota),
            "recipients a second": limit_text(found.send_rate),
            "sent in the last 24 hours": str(sent),
        }
    )


def sent_last_day(data_dir: Path, account: str) -> int:
    """Return the recipients accepted in the last 24 hours, as all shards count them (QUOTA-006)."""
    from relay.policy.quota import first_minute  # noqa: PLC0415
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415
    from relay.store.adoption import shards_on_disk  # noqa: PLC0415
    from relay.store.usage import read_usage  # noqa: PLC0415

    since = first_minute(SteadyClock().now_ms())
    usages = (read_usage(data_dir, shard, since) for shard in shards_on_disk(data_dir))
    return sum(sum(usage.get(account, {}).values()) for usage in usages)
