"""`relay account`: the tenants of a relay."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.account import Account

app = typer.Typer(help="Accounts.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The account, 12 digits.")]


@app.command()
def create(
    account: IdArgument,
    *,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Start with the sandbox limits: 200 a day, 1 a second.")
    ] = False,
    contact: Annotated[str, typer.Option(help="Address of whoever is responsible.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an account."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        made = catalog.accounts.create(account, sandbox=sandbox, contact=contact)
    _told(made, f"Account {account} created.", as_json=as_json)


@app.command("list")
def list_(*, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List all accounts with their state and limits."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        accounts = catalog.accounts.list()
    if as_json:
        write_json_lines(as_object(account) for account in accounts)
        return
    write_table(
        ("Account", "State", "Sandbox", "A day", "A second", "Contact"),
        (
            (
                account.account_id,
                account.state,
                "yes" if account.sandbox else "no",
                limit_text(account.daily_quota),
                limit_text(account.send_rate),
                account.contact or "-",
            )
            for account in accounts
        ),
        empty="There are no accounts.",
    )


@app.command()
def pause(account: IdArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Refuse new mail of an account until it is resumed; what is queued goes on."""
    _set(config, account, "paused", as_json=as_json)


@app.command()
def resume(account: IdArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Accept mail of a paused or closed account again."""
    _set(config, account, "enabled", as_json=as_json)


@app.command()
def close(
    account: IdArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close an account: its credentials no longer authenticate."""
    if not yes:
        typer.confirm(f"Close account {account}?", abort=True, err=True)
    _set(config, account, "closed", as_json=as_json)


def _set(config: Any, account: str, state: str, *, as_json: bool) -> None:
    from relay.model.account import AccountState  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        changed = catalog.accounts.set_state(account, AccountState(state))
    _told(changed, f"Account {account} is {state}.", as_json=as_json)


def _told(account: "Account", sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json(as_object(account))
    else:
        typer.echo(sentence)


def limit_text(limit: float) -> str:
    """Return a limit for people."""
    return "unlimited" if limit == -1 else f"{limit:g}" if isinstance(limit, float) else str(limit)


def as_object(account: "Account") -> dict[str, Any]:
    """Return an account for programs; -1 is unlimited."""
    return {
        "account": account.account_id,
        "state": str(account.state),
        "sandbox": account.sandbox,
        "dailyQuota": account.daily_quota,
        "sendRate": account.send_rate,
        "contact": account.contact or None,
    }
