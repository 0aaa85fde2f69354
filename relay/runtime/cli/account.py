"""`relay account`: the tenants of a relay."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import UsageError
from relay.runtime.cli.account_details import (
    ContactsOption,
    LanguageOption,
    MailTypeOption,
    UseCaseOption,
    WebsiteOption,
    detail_fields,
    details_object,
    read_details,
)
from relay.runtime.cli.account_request import app as request
from relay.runtime.cli.account_review import app as review
from relay.runtime.cli.options import ConfigOption, JsonOption, confirm
from relay.runtime.cli.output import note, write_fields, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.account import Account
    from relay.model.review import Review
    from relay.runtime.config.model import Config

app = typer.Typer(help="Accounts.", no_args_is_help=True)
app.add_typer(request, name="request")
app.add_typer(review, name="review")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The account, 12 digits.")]


@app.command()
def create(
    account: IdArgument,
    *,
    sandbox: Annotated[
        bool,
        typer.Option(
            "--sandbox/--production",
            help="Start in the sandbox (verified recipients only, 200 a day, 1 a second), or outside without limits.",
        ),
    ] = True,
    contact: Annotated[str, typer.Option(help="Address of whoever is responsible.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an account; it starts in the sandbox."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        made = catalog.accounts.create(account, sandbox=sandbox, contact=contact)
    site.audit("account.create", account, {"sandbox": sandbox, "contact": contact or None})
    _told(made, f"Account {account} created{' in the sandbox' if sandbox else ''}.", as_json=as_json)


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
                state_text(account),
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
def show(account: IdArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show an account: state, health, limits and use, contacts, what it says about its mail, requests that wait."""
    from relay.model.finding import Enforcement  # noqa: PLC0415
    from relay.model.review import ReviewState  # noqa: PLC0415
    from relay.policy.arn import AccountRoot  # noqa: PLC0415
    from relay.reputation.findings import dashboard, enforcement_status, health  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.cli.spent import use_of  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = catalog.accounts.require(account)
        details = catalog.reviews.details(account)
        contacts = catalog.reviews.contacts(found)
        waiting = catalog.reviews.list(account, ReviewState.PENDING)
        suspended = found.enforcement is Enforcement.SUSPENDED
        stands = health(catalog.findings.list(account, ""), suspended=suspended)
        warms_up = catalog.pools.sending(account).auto_warmup
    use = use_of(site.data_dir, found)
    if as_json:
        more = {"arn": str(AccountRoot(account)), "contacts": list(contacts), "details": details_object(details)}
        more |= {"health": dashboard(stands), "enforcementStatus": enforcement_status(stands)}
        more |= {"smtp": _endpoints(site.config)}
        told = {**as_object(found), **use, **more, "autoWarmupEnabled": warms_up}
        write_json({**told, "pendingRequests": [one.review_id for one in waiting]})
        return
    fields: dict[str, object] = {
        "account": found.account_id,
        "ARN": AccountRoot(account),
        "state": found.state,
        "health": dashboard(stands),
        "enforcement": found.enforcement,
        "sandbox": "yes" if found.sandbox else "no",
        "recipients in 24 hours": limit_text(found.daily_quota),
        "recipient check": "on" if found.recipient_check else "off",
        "recipients a second": limit_text(found.send_rate),
        "weight": found.weight,
        "suppressed reasons": ", ".join(found.suppressed_reasons) or "none",
        "automatic warm-up": "on" if warms_up else "off",
        "sent in the last 24 hours": use["sentLast24Hours"],
        "remaining": "unlimited" if use["remaining"] is None else use["remaining"],
        "used": "-" if use["usedPercent"] is None else f"{use['usedPercent']:g} %",
        "SMTP": ", ".join(_endpoints(site.config)) or "-",
        "contacts": ", ".join(contacts) or "-",
    }
    write_fields({**fields, **detail_fields(details), "requests under review": _named(waiting)})


def _endpoints(config: "Config") -> list[str]:
    """Return where mail is submitted (STAT-004)."""
    return [
        f"{config.hostname}:{one.port} ({'TLS' if one.tls == 'implicit' else one.tls.upper()})"
        for one in config.listeners
        if one.kind == "submission" and one.trust is None
    ]


def _named(reviews: "Sequence[Review]") -> str:
    return ", ".join(f"{one.review_id} ({one.kind})" for one in reviews) or "-"


@app.command()
def contact(
    account: IdArgument,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help='Where mail about the account goes; "": nowhere.')
    ],
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change who is responsible for an account."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        changed = catalog.accounts.set_contact(account, address)
    site.audit("account.contact", account, {"contact": address})
    _told(changed, f"The contact of account {account} is {address or 'nobody'}.", as_json=as_json)


@app.command()
def details(
    account: IdArgument,
    *,
    mail_type: MailTypeOption = None,
    website_url: WebsiteOption = None,
    use_case: UseCaseOption = None,
    contacts: ContactsOption = None,
    language: LanguageOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an account says about its mail, or change what is given."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    changes = (mail_type, website_url, use_case, contacts, language)
    with site.catalog() as catalog:
        kept = catalog.reviews.details(account)
        if any(change is not None for change in changes):
            kept = read_details(kept, mail_type, website_url, use_case, contacts, language)
            catalog.reviews.put_details(account, kept)
            site.audit("account.details", account, details_object(kept) or {})
    if as_json:
        write_json({"account": account, "details": details_object(kept)})
    elif kept is None:
        note(f"Account {account} says nothing about its mail yet.")
    else:
        write_fields(detail_fields(kept))


@app.command()
def weight(
    account: IdArgument,
    share: Annotated[int, typer.Argument(metavar="N", help="1 to 1000; an account has 10 at first.")],
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what share of the relay an account has while others have mail waiting too; for mail from now on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        changed = catalog.accounts.set_weight(account, share)
    site.audit("account.weight", account, {"weight": share})
    _told(changed, f"The weight of account {account} is {share}.", as_json=as_json)


@app.command("recipient-check")
def recipient_check(
    account: IdArgument,
    switch: Annotated[str, typer.Argument(metavar="on|off", help="on or off.")],
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse mail of an account to domains that certainly take none, instead of bouncing it."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    if switch not in ("on", "off"):
        raise UsageError(f"Say on or off, not {switch}.")
    site = open_site(config)
    with site.catalog() as catalog:
        changed = catalog.accounts.set_recipient_check(account, on=switch == "on")
    site.audit("account.recipient_check", account, {"recipientCheck": switch == "on"})
    _told(changed, f"The recipient check of account {account} is {switch}.", as_json=as_json)


@app.command()
def pause(
    account: IdArgument,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the mail to its contacts.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse new mail of an account until it is resumed; what is queued goes on. Its contacts are told by mail."""
    from relay.model.account import AccountState  # noqa: PLC0415
    from relay.runtime import settings  # noqa: PLC0415
    from relay.runtime.account_mail import paused  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415

    site = open_site(config)
    write = paused(settings.letterhead(site.config), SteadyClock().now_ms(), reason)
    with site.catalog() as catalog:
        if catalog.accounts.require(account).state is AccountState.PAUSED:
            changed = catalog.accounts.require(account)
        else:
            changed = catalog.reviews.pause(account, write)
    site.audit("account.state", account, {"state": "paused", "reason": reason or None})
    _told(changed, f"Account {account} is paused.", as_json=as_json)


@app.command()
def resume(account: IdArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Accept mail of a paused or closed account again. What a case pauses stays paused until the case is decided."""
    changed = _set(config, account, "enabled", as_json=as_json)
    if changed.enforcement != "none":
        word = "a suspension" if changed.enforcement == "suspended" else "a case"
        note(f"New mail is still refused by {word}: see `relay reputation show --account {account}`.")


@app.command()
def close(
    account: IdArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close an account: its credentials no longer authenticate, and after 90 days all its data is deleted.

    Until then `relay account resume` opens it again.
    """
    if not yes:
        confirm(f"Close account {account}?")
    _set(config, account, "closed", as_json=as_json)
    note("In 90 days all its data is deleted for good; `relay account resume` opens it again until then.")


def _set(config: Any, account: str, state: str, *, as_json: bool) -> "Account":
    from relay.model.account import AccountState  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        changed = catalog.accounts.set_state(account, AccountState(state))
    site.audit("account.state", account, {"state": state})
    _told(changed, f"Account {account} is {state}.", as_json=as_json)
    return changed


def _told(account: "Account", sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json(as_object(account))
    else:
        typer.echo(sentence)


def state_text(account: "Account") -> str:
    """Return the state for people, with what enforcement adds to it."""
    return account.state if account.enforcement == "none" else f"{account.state}, {account.enforcement} by the relay"


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
        "recipientCheck": account.recipient_check,
        "weight": account.weight,
        "suppressedReasons": list(account.suppressed_reasons),
        "enforcement": str(account.enforcement),
    }
