"""`relay identity mail-from`: a domain of the sender's own for the return paths of an identity."""

from typing import TYPE_CHECKING, Annotated

import typer

from relay.model.account import MailFromFallback
from relay.runtime.cli.identity import NameArgument, details_object, zone_line
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import note, printable, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.catalog_identities import IdentityDetails

app = typer.Typer(help="Return paths at a domain of the sender's own.", no_args_is_help=True)


@app.command("set")
def set_(
    name: NameArgument,
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A subdomain of the identity's domain.")],
    *,
    fallback: Annotated[
        MailFromFallback, typer.Option(help="While its MX record is not found.", case_sensitive=False)
    ] = MailFromFallback.USE_DEFAULT_VALUE,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set the MAIL FROM domain of an identity, and print the records to publish; it is looked for from now on."""
    from relay.runtime import settings  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.identity_look import records_of  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        warning = catalog.mail_froms.set(
            account, name, domain, fallback=fallback, own_names=settings.own_names(site.config)
        )
        details = catalog.identities.require(account, name)
    change = {"identity": details.identity.name, "domain": details.mail_from_domain, "fallback": str(fallback)}
    site.audit("identity.mail-from.set", account, change)
    if as_json:
        write_json({**details_object(details), "mailFromFallback": str(fallback), "warning": warning or None})
        return
    typer.echo(f"Return paths of {printable(details.identity.name)} will be at {details.mail_from_domain}.")
    if warning:
        note(warning)
    typer.echo("Publish in DNS:")
    for record in records_of(site.config, details):
        if record.aspect == "MAIL_FROM":
            typer.echo(f"  {zone_line(record)}")
    note(f"The MX record is looked for during 72 hours. To look at once: relay identity verify {name}")


@app.command()
def clear(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send with the relay's own return paths again; bounces of mail under way still name the old domain."""
    details = _cleared(config, account, name)
    if as_json:
        write_json(details_object(details))
    else:
        typer.echo(f"Return paths of {printable(details.identity.name)} are the relay's own again.")


def _cleared(config: "Path | None", account: str, name: str) -> "IdentityDetails":
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        catalog.mail_froms.clear(account, name)
        details = catalog.identities.require(account, name)
    site.audit("identity.mail-from.clear", account, {"identity": details.identity.name})
    return details
