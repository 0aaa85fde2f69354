"""`relay identity`: the domains and addresses an account may send from, and the records that make them known."""

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from relay.errors import UsageError
from relay.runtime.cli.identity_policy import app as policy
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption, confirm
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
    from relay.model.check import Check, CheckState
    from relay.model.dkim import DnsRecord
    from relay.store.catalog import Catalog
    from relay.store.catalog_identities import IdentityDetails, Standing

app = typer.Typer(help="Domains and addresses to send from.", no_args_is_help=True)
app.add_typer(policy, name="policy")

TXT_STRING_MAX_OCTETS = 255  # RFC 1035 section 3.3.14


class Record(Protocol):
    """A record to publish: a whole name without a final dot, a type, the value as one string."""

    @property
    def name(self) -> str:
        """Where it is."""
        ...

    @property
    def kind(self) -> str:
        """TXT, CNAME or MX."""
        ...

    @property
    def value(self) -> str:
        """What it says."""
        ...


class Order(StrEnum):
    """How a list is sorted."""

    NAME = "name"
    STATE = "state"


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A domain or an address.")]


@app.command()
def create(
    name: NameArgument,
    *,
    ed25519: Annotated[
        bool | None, typer.Option("--ed25519/--no-ed25519", help="Add an Ed25519 key.", show_default="dkim.ed25519")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; may be repeated.")
    ] = None,
    configuration_set: Annotated[
        str | None, typer.Option("--configuration-set", metavar="SET", help="The default set of its mail.")
    ] = None,
    template: Annotated[
        str, typer.Option("--template", metavar="NAME", help="For an address: mail a verification template.")
    ] = "",
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an identity: a domain, with the DKIM records to publish, or an address, which is mailed a link."""
    from relay.policy.simulator import is_simulator_address  # noqa: PLC0415
    from relay.runtime import settings  # noqa: PLC0415
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
    if configuration_set:
        with site.catalog() as catalog:
            catalog.configuration_sets.require(account, configuration_set)
    if "@" in name:
        create_address(site, account, name, read_tags(tag), configuration_set or "", as_json=as_json)
        return
    second = site.config.dkim.ed25519 if ed25519 is None else ed25519
    with working("making keys"), site.catalog() as catalog:
        made = catalog.identities.create(
            account, name, ed25519=second, own_names=settings.own_names(site.config), tags=read_tags(tag)
        )
        if configuration_set:
            catalog.configuration_sets.set_default(account, made.identity.name, configuration_set)
            made = catalog.identities.require(account, made.identity.name)
    site.audit("identity.create", account, details_object(made))
    if as_json:
        write_json(details_object(made))
        return
    typer.echo(f"{printable(made.identity.name)} is created, not verified yet.")
    if made.warning:
        note(made.warning)
    write_records(made)
    if site.config.dkim.zone and made.keys:
        note(f"And in {site.config.dkim.zone}: what `relay dkim zone` prints.")
    if made.records:
        note(
            f"It is looked for from now on, for 72 hours. To look at once: relay identity verify {made.identity.name}"
        )
    note(f"Without DNS: relay identity verify {made.identity.name} --force")


@app.command("list")
def list_(
    *,
    state: Annotated[str, typer.Option(metavar="STATE", help="Only those in a state, such as pending.")] = "",
    sort: Annotated[Order, typer.Option(help="Sort by name, or by state.")] = Order.NAME,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the identities of an account."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        standings = all_standings(catalog, account, read_state(state))
        if sort is Order.STATE:
            standings = iter(sorted(standings, key=lambda one: (one.state, one.identity.name)))
        if as_json:
            write_json_lines({**as_object(one.identity), "state": str(one.state)} for one in standings)
            return
        write_table(
            ("Identity", "Kind", "Verified", "State", "Created"),
            (
                (
                    one.identity.name,
                    "domain" if one.identity.kind == "DOMAIN" else "address",
                    "yes" if one.identity.verified else "no",
                    state_word(one.state),
                    when(one.identity.created_ms),
                )
                for one in standings
            ),
            empty=f"Account {account} has no {'such ' if state else ''}identities; `relay identity create DOMAIN` "
            "makes one.",
        )


@app.command("set")
def set_(
    name: NameArgument,
    *,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Add a tag, or replace it.")
    ] = None,
    untag: Annotated[list[str] | None, typer.Option("--untag", metavar="KEY", help="Remove a tag.")] = None,
    configuration_set: Annotated[
        str | None,
        typer.Option("--configuration-set", metavar="SET", help="The default set of its mail, '' for none."),
    ] = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is set on an identity."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    if not tag and not untag and configuration_set is None:
        raise UsageError("There is nothing to change; see `relay identity set --help`.")
    site = open_site(config)
    with site.catalog() as catalog:
        kept = catalog.identities.require(account, name).identity.name
        if configuration_set is not None:
            catalog.configuration_sets.set_default(account, kept, configuration_set)
        changed = catalog.identities.change_tags(account, kept, read_tags(tag), untag or [])
    site.audit("identity.set", account, {**details_object(changed), "configurationSet": configuration_set})
    if as_json:
        write_json(details_object(changed))
    else:
        typer.echo(f"{printable(changed.identity.name)} is changed.")


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
def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Domains and addresses.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
) -> None:
    """Delete identities with their keys, policies and settings; mail in the queue goes on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    if not yes:
        confirm(f"Delete {', '.join(names)} and all that belongs to it?")
    site = open_site(config)
    with site.catalog() as catalog:
        catalog.identities.delete(account, *names)
    site.audit("identity.delete", account, {"identities": names})
    for name in names:
        typer.echo(f"{printable(name)} is deleted.")


def all_identities(catalog: "Catalog", account: str) -> "Iterator[Identity]":
    """Yield every identity of an account, read page by page."""
    after = ""
    while True:
        page = catalog.identities.list(account, after=after)
        yield from page.identities
        if not page.after:
            return
        after = page.after


def all_standings(catalog: "Catalog", account: str, state: "CheckState | None") -> "Iterator[Standing]":
    """Yield every identity of an account with how its verification stands, read page by page."""
    after = ""
    while page := catalog.identities.list_states(account, state=state, after=after):
        yield from page
        after = page[-1].identity.name


def read_state(text: str) -> "CheckState | None":
    """Return the state that a text names, in words of the API or of people; None for ""."""
    from relay.model.check import CheckState  # noqa: PLC0415

    if not text:
        return None
    bare = re.sub(r"[ _-]", "", text).lower()
    for one in CheckState:
        if bare in {one.replace("_", "").lower(), state_word(one).replace(" ", "")}:
            return one
    raise UsageError(f"{text!r} is no state; those are: {', '.join(state_word(one) for one in CheckState)}.")


def state_word(state: "CheckState") -> str:
    """Return a state in the words of the console (IDENT-009)."""
    words = {"SUCCESS": "verified", "FAILED": "failure"}
    return words.get(state, state.replace("_", " ").lower())


def read_tags(given: list[str] | None) -> dict[str, str]:
    """Return the tags of KEY=VALUE texts; the value may be left out."""
    return {key: value for key, _, value in (one.partition("=") for one in given or [])}


def write_records(details: "IdentityDetails", *, only: str = "") -> None:
    """Write the records to publish, for a form and as lines of a zone file; `only` those of one selector."""
    shown = [record for record in details.records if record.name.startswith(only)]
    if not shown:
        return
    typer.echo("")
    typer.echo(paint("Publish in DNS:", "bold"))
    for record in shown:
        write_fields({"  name": record.name, "  type": record.kind, "  value": record.value})
    typer.echo(f"  {paint('zone file', 'dim')}")
    for record in shown:
        typer.echo(f"  {zone_line(record)}")


def zone_line(record: "Record") -> str:
    """Return a record as a line of a zone file: strings of at most 255 octets, whole names."""
    value = f"{record.value}."
    if record.kind == "TXT":
        texts = [
            record.value[i : i + TXT_STRING_MAX_OCTETS] for i in range(0, len(record.value), TXT_STRING_MAX_OCTETS)
        ]
        value = " ".join(f'"{text}"' for text in texts)
    return f"{record.name}. IN {record.kind} {value}"


def record_object(record: "DnsRecord") -> dict[str, Any]:
    """Return a record for programs."""
    return {"name": record.name, "type": record.kind, "value": record.value}


def as_object(identity: "Identity") -> dict[str, Any]:
    """Return an identity for programs."""
    return {
        "identity": identity.name,
        "account": identity.account,
        "kind": str(identity.kind),
        "verified": identity.verified,
        "created": iso(identity.created_ms),
    }


def check_object(check: "Check") -> dict[str, Any]:
    """Return a check for programs."""
    return {
        "state": str(check.state),
        "since": iso(check.since_ms),
        "checked": iso(check.checked_ms),
        "next": iso(check.next_ms),
        "errorType": check.error_type or None,
        "error": check.error_text or None,
    }


def details_object(details: "IdentityDetails") -> dict[str, Any]:
    """Return an identity with its records for programs."""
    from relay.model.check import Aspect  # noqa: PLC0415

    return {
        **as_object(details.identity),
        "state": str(details.state(Aspect.VERIFICATION)),
        "warning": details.warning or None,
        "configurationSet": details.configuration_set or None,
        "mailFromDomain": details.mail_from_domain or None,
        "tags": dict(details.tags),
        "txtToken": details.token or None,
        "checks": {str(aspect): check_object(check) for aspect, check in details.checks.items()},
        "records": [record_object(one) for one in details.records],
    }
