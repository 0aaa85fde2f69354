"""`relay account request`: ask the administrator for production access, other limits, or addresses of one's own."""

from typing import TYPE_CHECKING, Annotated

import typer

from relay.runtime.cli.account_details import (
    ContactsOption,
    LanguageOption,
    MailTypeOption,
    UseCaseOption,
    WebsiteOption,
    read_details,
)
from relay.runtime.cli.account_review import review_object
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import write_json

if TYPE_CHECKING:
    from relay.model.review import Review

app = typer.Typer(help="Ask for production access, other limits, or source addresses.", no_args_is_help=True)

DailyOption = Annotated[
    int | None, typer.Option("--daily", metavar="N", help="Recipients in 24 hours to ask for.", show_default=False)
]
RateOption = Annotated[
    float | None, typer.Option("--rate", metavar="N", help="Recipients a second to ask for.", show_default=False)
]


@app.command()
def production(
    *,
    mail_type: MailTypeOption = None,
    website_url: WebsiteOption = None,
    use_case: UseCaseOption = None,
    contacts: ContactsOption = None,
    language: LanguageOption = None,
    daily: DailyOption = None,
    rate: RateOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask to leave the sandbox; the request waits for an administrator."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        kept = catalog.reviews.details(account)
        details = read_details(kept, mail_type, website_url, use_case, contacts, language)
        review = catalog.reviews.request_production(account, details, daily_quota=daily, send_rate=rate)
    site.audit("account.request", account, review_object(review))
    _told(review, as_json=as_json)


@app.command()
def quota(
    *,
    daily: DailyOption = None,
    rate: RateOption = None,
    use_case: UseCaseOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for other limits; the request waits for an administrator."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        review = catalog.reviews.request_quota(account, daily_quota=daily, send_rate=rate, use_case=use_case or "")
    site.audit("account.request", account, review_object(review))
    _told(review, as_json=as_json)


@app.command()
def addresses(
    number: Annotated[int, typer.Argument(metavar="N", help="How many source addresses to ask for.")],
    *,
    opt_in: Annotated[str, typer.Option("--opt-in", help="How recipients asked for the mail.")],
    bounces: Annotated[str, typer.Option("--bounces", help="What is done about bounces and complaints.")],
    mail_type: MailTypeOption = None,
    website_url: WebsiteOption = None,
    use_case: UseCaseOption = None,
    contacts: ContactsOption = None,
    language: LanguageOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for source addresses of the account's own; the request waits for an administrator."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        kept = catalog.reviews.details(account)
        details = read_details(kept, mail_type, website_url, use_case, contacts, language)
        review = catalog.reviews.request_addresses(account, details, number, opt_in, bounces)
    site.audit("account.request", account, review_object(review))
    _told(review, as_json=as_json)


def _told(review: "Review", *, as_json: bool) -> None:
    if as_json:
        write_json(review_object(review))
    else:
        typer.echo(f"Request {review.review_id} is under review.")
