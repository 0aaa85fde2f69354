"""`relay identity`: the domains and addresses an account may send from, and the records that make them known."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import UsageError
from relay.runtime.cli.identity_policy import app as policy
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import (
    iso,
    note,
    paint,
    printable,
    when,
    working,
    write_fields,
    write_json,
    write_json_lines,
    write_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.model.account import Identity
    from relay.store.catalog import Catalog
    from relay.store.catalog_identities import DnsRecord, IdentityDetails

app = typer.Typer(help="Domains and addresses to send from.", no_args_is_help=True)
app.add_typer(policy, name="policy")

TXT_STRING_MAX_OCTETS = 255  # RFC 1035 section 3.3.14
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A domain or an address.")]


@app.command()
def create(
    name: NameArgument,
    *,
    ed25519: Annotated[
        bool | None, typer.Option("--ed25519/--no-ed25519", help="Add an Ed25519 key.", show_default="dkim.ed25519")
    ] = None,
    template: Annotated[
        str, typer.Option("--template", metavar="NAME", help="For an address: mail a verification template.")
    ] = "",
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an identity: a domain, with the DKIM record to publish, or an address, which is mailed a link."""
    from relay.policy.simulator import is_simulator_address  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.cli.verification import create_address, mail_custom  # noqa: PLC0415

    site = open_site(config)
    if is_simulator_address(name, site.config.hostname):
        raise UsageError(
            f"{printable(name)} belongs to the mailbox simulator, which only receives: name a domain of your own."
        )
    if template:
        mail_custom(site, account, name, template, as_json=as_json)
        return
    if "@" in name:
        create_address(site, account, name, as_json=as_json)
        return
    second = site.config.dkim.ed25519 if ed25519 is None else ed25519
    with working("making a key"), site.catalog() as catalog:
        made = catalog.identities.create(account, name, ed25519=second)
    if as_json:
        write_json(details_object(made))
        return
    typer.echo(f"{printable(made.identity.name)} is created, not verified yet.")
    if made.warning:
        note(made.warning)
    write_records(made)
    note(f"Then: relay identity verify {made.identity.name} --force")


@app.command("list")
def list_(
    *, account: AccountOption = DEFAULT_ACCOUNT, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the identities of an account."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        if as_json:
            write_json_lines(as_object(identity) for identity in all_identities(catalog, account))
            return
        write_table(
            ("Identity", "Kind", "Verified", "Created"),
            (
                (
                    one.name,
                    "domain" if one.kind == "DOMAIN" else "address",
                    "yes" if one.verified else "no",
                    when(one.created_ms),
                )
                for one in all_identities(catalog, account)
            ),
            empty=f"Account {account} has no identities; `relay identity create DOMAIN` makes one.",
        )


@app.command()
def show(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an identity, the ARN that others name it by, and the records to publish."""
    from relay.policy.arn import IdentityArn  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        details = catalog.identities.require(account, name)
        identity = details.identity
        is_address = identity.kind == "EMAIL_ADDRESS"
        state = catalog.verifications.state(account, identity.name) if is_address else None
        policies = [one.name for one in catalog.identity_policies.list(account, name)]
    arn = IdentityArn(site.config.region, account, identity.name)
    if as_json:
        more = {"verification": str(state.state)} if state else {}
        write_json({**details_object(details), "arn": str(arn), "policies": policies, **more})
        return
    write_fields(
        {
            "identity": identity.name,
            "ARN": arn,
            "account": identity.account,
            "kind": "domain" if identity.kind == "DOMAIN" else "address",
            "verified": "yes" if identity.verified else "no",
            **({"verification": str(state.state), "since": when(state.since_ms)} if state else {}),
            "policies": ", ".join(policies) or "-",
            "created": when(identity.created_ms),
        }
    )
    if details.warning:
        note(details.warning)
    write_records(details)


@app.command()
def resend(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="An address that is not verified yet.")],
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mail a new verification link to an address; older links end."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.cli.verification import resend_link  # noqa: PLC0415

    resend_link(open_site(config), account, address, as_json=as_json)


@app.command()
def verify(
    name: NameArgument,
    *,
    force: Annotated[bool, typer.Option("--force", help="Mark it verified without asking DNS.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mark an identity as verified: a domain when its DKIM records are found in DNS, anything with --force."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        details = catalog.identities.require(account, name)
        if not force:
            _require_published(site.config, details)
        verified = catalog.identities.set_verified(account, name)
        if verified.identity.kind == "EMAIL_ADDRESS":
            catalog.verifications.settle(account, verified.identity.name)
    if as_json:
        write_json(details_object(verified))
    else:
        typer.echo(f"{printable(verified.identity.name)} is verified.")


@app.command()
def delete(
    name: NameArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
) -> None:
    """Delete an identity with its DKIM keys; mail in the queue goes on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    if not yes:
        typer.confirm(f"Delete {name} and its keys?", abort=True, err=True)
    with open_site(config).catalog() as catalog:
        catalog.identities.delete(account, name)
    typer.echo(f"{printable(name)} is deleted.")


def _require_published(config: Any, details: "IdentityDetails") -> None:
    """Raise UsageError unless every DKIM record of the identity is in DNS as it should be."""
    from relay.errors import TemporaryError  # noqa: PLC0415
    from relay.runtime.cli.lookup import published  # noqa: PLC0415

    if not details.records:
        raise UsageError(f"{details.identity.name} has nothing in DNS to look for; use --force.")
    for record in details.records:
        with working(f"asking for {record.name}"):
            state = published(config, record.name, record.value)
        if state == "unknown":
            raise TemporaryError(f"DNS gave no answer for {record.name}; try again, or use --force.")
        if state != "published":
            raise TemporaryError(f"{record.name} is {state} in DNS; publish it, or use --force.")


def all_identities(catalog: "Catalog", account: str) -> "Iterator[Identity]":
    """Yield every identity of an account, read page by page."""
    after = ""
    while True:
        page = catalog.identities.list(account, after=after)
        yield from page.identities
        if not page.after:
            return
        after = page.after


def write_records(details: "IdentityDetails") -> None:
    """Write the records to publish: name, type and value for a form, and a line for a zone file."""
    for record in details.records:
        typer.echo("")
        typer.echo(paint("Publish in DNS:", "bold"))
        write_fields({"  name": record.name, "  type": record.kind, "  value": record.value})
        typer.echo(f"  {paint('zone file', 'dim')}")
        typer.echo(f"  {zone_line(record)}")


def zone_line(record: "DnsRecord") -> str:
    """Return a record as a line of a zone file, with strings of at most 255 octets."""
    value = record.value
    strings = [value[i : i + TXT_STRING_MAX_OCTETS] for i in range(0, len(value), TXT_STRING_MAX_OCTETS)]
    return f"{record.name}. IN {record.kind} " + " ".join(f'"{string}"' for string in strings)


def as_object(identity: "Identity") -> dict[str, Any]:
    """Return an identity for programs."""
    return {
        "identity": identity.name,
        "account": identity.account,
        "kind": str(identity.kind),
        "verified": identity.verified,
        "created": iso(identity.created_ms),
    }


def details_object(details: "IdentityDetails") -> dict[str, Any]:
    """Return an identity with its records for programs."""
    return {
        **as_object(details.identity),
        "warning": details.warning or None,
        "records": [{"name": one.name, "type": one.kind, "value": one.value} for one in details.records],
    }
