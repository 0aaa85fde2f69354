"""`relay account review`: the administrator's queue of requests (SBX-005, QUOTA-012)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import iso, when, write_fields, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.review import Review

app = typer.Typer(help="Requests of accounts, for the administrator to decide.", no_args_is_help=True)

IdArgument = Annotated[int, typer.Argument(metavar="REQUEST", help="The number of the request.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for the mail to the contacts of the account.")]


@app.command("list")
def list_(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Decided requests too.")] = False,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Only this account.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List requests that wait, newest first."""
    from relay.model.review import ReviewState  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        found = catalog.reviews.list(account, None if everything else ReviewState.PENDING)
    if as_json:
        write_json_lines(review_object(one) for one in found)
        return
    write_table(
        ("Request", "Account", "For", "State", "A day", "A second", "Asked"),
        (
            (
                one.review_id,
                one.account,
                one.kind,
                one.state,
                "-" if one.daily_quota is None else one.daily_quota,
                "-" if one.send_rate is None else f"{one.send_rate:g}",
                when(one.created_ms),
            )
            for one in found
        ),
        empty="No request waits." if not everything else "There are no requests.",
    )


@app.command()
def show(review_id: IdArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show a request with what the account says about its mail."""
    from relay.runtime.cli.account_details import detail_fields, details_object  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        review = catalog.reviews.require(review_id)
        details = catalog.reviews.details(review.account)
    if as_json:
        write_json({**review_object(review), "details": details_object(details)})
        return
    write_fields(
        {
            "request": review.review_id,
            "account": review.account,
            "for": review.kind,
            "state": review.state,
            "recipients in 24 hours": "-" if review.daily_quota is None else review.daily_quota,
            "recipients a second": "-" if review.send_rate is None else f"{review.send_rate:g}",
            "source addresses": review.addresses or "-",
            "opt-in": review.opt_in or "-",
            "bounces": review.bounce_process or "-",
            "asked": when(review.created_ms),
            "decided": when(review.decided_ms),
            "reason": review.reason or "-",
            **detail_fields(details),
            "use case": review.use_case or "-",
            **_case_fields(review),
        }
    )


def _case_fields(review: "Review") -> dict[str, object]:
    if not review.finding:
        return {}
    answers = {"root cause": review.root_cause, "changes": review.changes, "prevention": review.prevention}
    return {"case": review.finding, **{name: text for name, text in answers.items() if text}}


@app.command()
def grant(
    review_id: IdArgument,
    *,
    reason: ReasonOption = "",
    daily: Annotated[
        int | None,
        typer.Option(metavar="N", help="Recipients in 24 hours, instead of those asked for.", show_default=False),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", help="Recipients a second, instead of those asked for.", show_default=False),
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(
            "--address", metavar="IP", help="A source address of the reserve to give; may be repeated [the oldest]."
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Grant a request: the account leaves the sandbox, gets limits or source addresses; its contacts are told."""
    _decide(
        review_id,
        config,
        granted=True,
        reason=reason,
        as_json=as_json,
        daily=daily,
        rate=rate,
        addresses=address or (),
    )


@app.command()
def deny(
    review_id: IdArgument, *, reason: ReasonOption = "", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Deny a request; its contacts are told why by mail."""
    _decide(review_id, config, granted=False, reason=reason, as_json=as_json)


@app.command()
def dismiss(
    review_id: IdArgument,
    *,
    reason: Annotated[str, typer.Option(help="What came of it.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End an investigation; the account is not told. A case against it is opened by `relay reputation open`."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        review = catalog.reviews.dismiss(review_id, reason)
    site.audit("account.review.dismiss", review.account, review_object(review))
    if as_json:
        write_json(review_object(review))
    else:
        typer.echo(f"Request {review_id} is done.")


def _decide(
    review_id: int,
    config: Any,
    *,
    granted: bool,
    reason: str,
    as_json: bool,
    daily: int | None = None,
    rate: float | None = None,
    addresses: Sequence[str] = (),
) -> None:
    from relay.runtime import settings  # noqa: PLC0415
    from relay.runtime.account_mail import review_decided  # noqa: PLC0415
    from relay.runtime.cli.account import as_object, limit_text  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        kind = catalog.reviews.require(review_id).kind
        letterhead, now_ms = settings.letterhead(site.config), SteadyClock().now_ms()
        write = review_decided(letterhead, now_ms, kind, granted=granted, reason=reason)
        if granted:
            review = catalog.reviews.grant(
                review_id, write, reason=reason, daily_quota=daily, send_rate=rate, addresses=addresses
            )
        else:
            review = catalog.reviews.deny(review_id, write, reason=reason)
        account = catalog.accounts.require(review.account)
    word = "grant" if granted else "deny"
    site.audit(f"account.review.{word}", review.account, {**review_object(review), **as_object(account)})
    if as_json:
        write_json({**review_object(review), "limits": as_object(account)})
        return
    typer.echo(f"Request {review_id} is {'granted' if granted else 'denied'}.")
    where = "in the sandbox" if account.sandbox else "outside the sandbox"
    typer.echo(
        f"Account {account.account_id} is {where}: {limit_text(account.daily_quota)} a day, "
        f"{limit_text(account.send_rate)} a second."
    )


def review_object(review: "Review") -> dict[str, Any]:
    """Return a request for programs."""
    return {
        "request": review.review_id,
        "account": review.account,
        "kind": str(review.kind),
        "state": str(review.state),
        "dailyQuota": review.daily_quota,
        "sendRate": review.send_rate,
        "addresses": review.addresses,
        "optIn": review.opt_in or None,
        "bounceProcess": review.bounce_process or None,
        "useCase": review.use_case or None,
        "created": iso(review.created_ms),
        "decided": iso(review.decided_ms),
        "reason": review.reason or None,
        "case": review.finding or None,
        "rootCause": review.root_cause or None,
        "changes": review.changes or None,
        "prevention": review.prevention or None,
    }
