"""`relay dkim`: the signing keys of a domain."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.identity import write_records, zone_line
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, when, working, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.store.catalog_identities import IdentityDetails

app = typer.Typer(help="Signing keys of a domain.", no_args_is_help=True)

DomainArgument = Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain identity.")]


@app.command("list")
def list_(
    domain: DomainArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the keys of a domain: selector, algorithm, age."""
    details = _details(config, account, domain)
    if as_json:
        write_json_lines(_objects(details))
        return
    write_table(
        ("Selector", "Algorithm", "State", "Created"),
        ((key.selector, key.algorithm, key.state, when(key.created_ms)) for key in details.keys),
        empty=f"{domain} has no keys.",
    )


@app.command()
def show(
    domain: DomainArgument,
    *,
    zone: Annotated[bool, typer.Option("--zone", help="Write lines for a zone file, and nothing else.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the records to publish for the keys of a domain."""
    details = _details(config, account, domain)
    if as_json:
        write_json_lines(_objects(details))
    elif zone:
        for record in details.records:
            typer.echo(zone_line(record))
    else:
        write_records(details)


@app.command()
def add(
    domain: DomainArgument,
    *,
    ed25519: Annotated[bool, typer.Option("--ed25519", help="Ed25519 instead of RSA-2048.")] = False,
    selector: Annotated[str, typer.Option(help="A selector of your choice [a random one].")] = "",
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a key to a domain; it signs from now on, so publish its record at once."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.store.catalog_identities import ED25519, RSA  # noqa: PLC0415

    with working("making a key"), open_site(config).catalog() as catalog:
        before = {key.selector for key in catalog.identities.require(account, domain).keys}
        details = catalog.identities.add_key(
            account, domain, algorithm=ED25519 if ed25519 else RSA, selector=selector
        )
    if as_json:
        write_json_lines(one for one in _objects(details) if one["selector"] not in before)
    else:
        write_records(details)


@app.command()
def delete(
    domain: DomainArgument,
    selector: Annotated[str, typer.Argument(metavar="SELECTOR", help="The key to delete.")],
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a key: nothing is signed with it from now on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        details = catalog.identities.delete_key(account, domain, selector)
    if as_json:
        write_json({"domain": details.identity.name, "deleted": selector, "keys": len(details.keys)})
        return
    typer.echo(f"{selector} of {details.identity.name} is deleted.")
    note("Leave its DNS record in place for a week, for mail that is still under way.")


def _details(config: Any, account: str, domain: str) -> "IdentityDetails":
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        return catalog.identities.require(account, domain)


def _objects(details: "IdentityDetails") -> list[dict[str, Any]]:
    return [
        {
            "domain": details.identity.name,
            "selector": key.selector,
            "algorithm": key.algorithm,
            "state": key.state,
            "created": iso(key.created_ms),
            "name": record.name,
            "type": record.kind,
            "value": record.value,
        }
        for key, record in zip(details.keys, details.records, strict=True)
    ]
