"""`relay dkim`: how identities sign, and the keys they sign with."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import TemporaryError, UsageError
from relay.runtime.cli.identity import record_object, write_records, zone_line
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import (
    iso,
    note,
    printable,
    when,
    working,
    write_fields,
    write_json,
    write_json_lines,
    write_table,
)

if TYPE_CHECKING:
    from relay.model.dkim import DkimKey, DnsRecord
    from relay.store.catalog import Catalog
    from relay.store.catalog_dkim_setup import DkimAttributes

app = typer.Typer(help="Signatures of identities, and the keys they are made with.", no_args_is_help=True)

DomainArgument = Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain identity.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="An identity, domain or address.")]


class ZoneFormat(StrEnum):
    """How zones are written."""

    BIND = "bind"
    JSON = "json"


@app.command("list")
def list_(
    domain: DomainArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the keys of a domain: selector, algorithm, state, age."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        details = catalog.identities.require(account, domain)
    if as_json:
        zone = site.config.dkim.zone or ""
        write_json_lines(key_object(key, key.record(details.identity.name, zone)) for key in details.keys)
        return
    _write_keys(details.keys, empty=f"{domain} has no keys.")


@app.command()
def show(
    name: NameArgument,
    *,
    zone: Annotated[bool, typer.Option("--zone", help="Write lines for a zone file, and nothing else.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how an identity signs, its keys and the records to publish."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        details = catalog.identities.require(account, name)
        attributes = catalog.dkim_setup.attributes(account, name)
    if as_json:
        write_json(attributes_object(attributes, details.records))
    elif zone:
        for record in details.records:
            typer.echo(zone_line(record))
    else:
        _write_attributes(attributes)
        if attributes.keys:
            typer.echo("")
            _write_keys(attributes.keys, empty="")
        write_records(details)


@app.command()
def rotate(
    domain: DomainArgument,
    *,
    force: Annotated[bool, typer.Option("--force", help="Do not ask DNS for the next key's record.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign with the next standby key from now on; the present key stays published for a week."""
    from relay.policy.dkim import successors  # noqa: PLC0415
    from relay.runtime.cli.lookup import key_state  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        details = catalog.identities.require(account, domain)
        kept, states = details.identity.name, []
        for key in successors(details.keys):
            with working(f"asking for {key.name(kept)}"):
                state = "published" if force else key_state(site.config, key.name(kept), key.public_txt)
            if state == "published" and catalog.dkim.rotate(account, kept, key.selector):
                site.audit("dkim.rotate", account, {"domain": kept, "selector": key.selector, "force": force})
                _answer(catalog, account, kept, f"{kept} signs with {key.selector} from now on.", as_json=as_json)
                return
            states.append(f"{key.name(kept)} is {state}")
    if not states:
        raise UsageError(f"{kept} has no standby key; `relay dkim easy {kept} --new-keys` makes three new keys.")
    raise TemporaryError(f"No standby key of {kept} can be used: {', '.join(states)} in DNS.")


@app.command("import")
def import_(
    domain: DomainArgument,
    *,
    selector: Annotated[str, typer.Option(metavar="NAME", help="The selector its record is published under.")],
    key_file: Annotated[
        Path,
        typer.Option("--key-file", metavar="FILE", help="RSA private key, PKCS#1 or PKCS#8; - for standard input."),
    ],
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign with a key of your own (BYODKIM) as soon as its record is in DNS; the present keys sign until then."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    text = _read_key(key_file)
    site = open_site(config)
    with site.catalog() as catalog:
        made = catalog.dkim_setup.import_key(account, domain, selector, text)
        site.audit("dkim.import", account, {"domain": made.name, "selector": selector})
        _answer(catalog, account, made.name, f"{selector} signs for {made.name} once it is found.", as_json=as_json)


@app.command()
def easy(
    domain: DomainArgument,
    *,
    new_keys: Annotated[bool, typer.Option("--new-keys", help="Make three new keys, with new records.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign with keys that the relay makes and rotates (Easy DKIM), as soon as their records are in DNS."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with working("making keys"), site.catalog() as catalog:
        made = catalog.dkim_setup.use_easy(account, domain, new_keys=new_keys)
        site.audit("dkim.easy", account, {"domain": made.name, "newKeys": new_keys})
        _answer(catalog, account, made.name, f"{made.name} uses Easy DKIM once its keys are found.", as_json=as_json)


@app.command()
def add(
    domain: DomainArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add an Ed25519 key for a second signature; it signs once its record is in DNS and `dkim.ed25519` is true."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        key = catalog.dkim_setup.add_ed25519(account, domain)
        details = catalog.identities.require(account, domain)
    site.audit("dkim.add", account, {"domain": details.identity.name, "selector": key.selector})
    record = key.record(details.identity.name, site.config.dkim.zone or "")
    if as_json:
        write_json(key_object(key, record))
    else:
        write_records(details, only=key.selector)


@app.command()
def delete(
    domain: DomainArgument,
    selector: Annotated[str, typer.Argument(metavar="SELECTOR", help="The key to delete.")],
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a retired key or an Ed25519 key."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        left = catalog.dkim_setup.delete_key(account, domain, selector)
    site.audit("dkim.delete", account, {"domain": left.name, "selector": selector})
    if as_json:
        write_json({"domain": left.name, "deleted": selector, "keys": len(left.keys)})
        return
    typer.echo(f"{selector} of {left.name} is deleted.")
    note("Leave its DNS record in place for a week, for mail that is still under way.")


@app.command()
def enable(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign mail of an identity, and of all below it that says nothing else."""
    _set_signing(config, account, name, enabled=True, as_json=as_json)


@app.command()
def disable(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do not sign mail of an identity, nor of what is below it and says nothing else."""
    _set_signing(config, account, name, enabled=False, as_json=as_json)


@app.command()
def length(
    domain: DomainArgument,
    key_length: Annotated[str, typer.Argument(metavar="LENGTH", help="RSA_2048_BIT.")],
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how long the keys are that the relay makes next for a domain."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        made = catalog.dkim_setup.set_length(account, domain, key_length)
        site.audit("dkim.length", account, {"domain": made.name, "length": str(made.next_length)})
        _answer(catalog, account, made.name, f"New keys of {made.name} are {made.next_length}.", as_json=as_json)


@app.command()
def zone(
    *,
    form: Annotated[ZoneFormat, typer.Option("--format", help="A zone file's lines, or one object a record.")] = (
        ZoneFormat.BIND
    ),
    config: ConfigOption = None,
) -> None:
    """Write what the relay's own zone (`dkim.zone`) has to hold: the public keys of all accounts."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    if site.config.dkim.zone is None:
        raise UsageError("There is no `dkim.zone` in the configuration; owners publish TXT records themselves.")
    with site.catalog() as catalog:
        for record in catalog.dkim.zone_records():
            if form is ZoneFormat.JSON:
                write_json(record_object(record))
            else:
                typer.echo(zone_line(record))


def _set_signing(config: Path | None, account: str, name: str, *, enabled: bool, as_json: bool) -> None:
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        made = catalog.dkim_setup.set_signing(account, name, enabled=enabled)
        site.audit("dkim.signing", account, {"identity": made.name, "enabled": enabled})
        said = f"Mail of {printable(made.name)} is {'signed' if enabled else 'not signed'} from now on."
        _answer(catalog, account, made.name, said, as_json=as_json, records=False)


def _read_key(path: Path) -> bytes:
    """Return what a key file holds, as much as a key can have; warn when others may read it."""
    from relay.signing.imported import KEY_TEXT_MAX_BYTES  # noqa: PLC0415

    if str(path) == "-":
        return sys.stdin.buffer.read(KEY_TEXT_MAX_BYTES + 1)
    try:
        with path.open("rb") as stream:
            if path.stat().st_mode & 0o077:
                note(f"{path} can be read by other users: `chmod 600 {path}`, or better delete it afterwards.")
            return stream.read(KEY_TEXT_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"The key file {path} cannot be read: {error.strerror}.") from error


def _answer(catalog: "Catalog", account: str, name: str, said: str, *, as_json: bool, records: bool = True) -> None:
    """Tell what became of an identity: a sentence and what to publish, or an object."""
    details = catalog.identities.require(account, name)
    if as_json:
        write_json(attributes_object(catalog.dkim_setup.attributes(account, name), details.records))
        return
    typer.echo(said)
    if records:
        write_records(details)


def _write_keys(keys: "tuple[DkimKey, ...]", *, empty: str) -> None:
    write_table(
        ("Selector", "Algorithm", "State", "Origin", "Created", "Published until"),
        (
            (
                key.selector,
                key.algorithm,
                str(key.state),
                str(key.origin),
                when(key.created_ms),
                when(key.published_until_ms or None),
            )
            for key in keys
        ),
        empty=empty,
    )


def _write_attributes(attributes: "DkimAttributes") -> None:
    signing = "on" if attributes.signing_enabled else "off"
    write_fields(
        {
            "identity": printable(attributes.name),
            "signing": f"{signing}, inherited" if attributes.inherited else signing,
            "status": str(attributes.status),
            "origin": str(attributes.origin),
            "current key length": attributes.current_length or "none signs",
            "next key length": attributes.next_length,
            "last key made": when(attributes.generated_ms or None),
            "key in use since": when(attributes.rotated_ms or None),
        }
    )


def key_object(key: "DkimKey", record: "DnsRecord") -> dict[str, Any]:
    """Return a key for programs, with the record that makes it known; never its private half (DKIM-019)."""
    return {
        "selector": key.selector,
        "algorithm": key.algorithm,
        "state": str(key.state),
        "origin": str(key.origin),
        "created": iso(key.created_ms),
        "retired": iso(key.retired_ms or None),
        **record_object(record),
    }


def attributes_object(attributes: "DkimAttributes", records: "tuple[DnsRecord, ...]") -> dict[str, Any]:
    """Return how an identity signs for programs."""
    return {
        "identity": attributes.name,
        "signingEnabled": attributes.signing_enabled,
        "inherited": attributes.inherited,
        "status": str(attributes.status),
        "signingAttributesOrigin": str(attributes.origin),
        "tokens": list(attributes.tokens),
        "currentSigningKeyLength": attributes.current_length or None,
        "nextSigningKeyLength": attributes.next_length,
        "lastKeyGeneration": iso(attributes.generated_ms or None),
        "lastRotation": iso(attributes.rotated_ms or None),
        "keys": [
            {"selector": key.selector, "algorithm": key.algorithm, "state": str(key.state)} for key in attributes.keys
        ],
        "records": [record_object(record) for record in records],
    }
