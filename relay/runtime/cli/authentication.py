"""`relay dmarc` and `relay spf`: what receivers will find for mail of a domain, and the records to publish."""

import ipaddress
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import EX_TEMPFAIL, TemporaryError, UsageError
from relay.model.dkim import DnsRecord
from relay.runtime.cli.identity import all_identities, zone_line
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import note, printable, working, write_fields, write_json, write_json_lines

if TYPE_CHECKING:
    from relay.runtime.cli.site import Site
    from relay.runtime.sender_outlook import SenderOutlook

dmarc = typer.Typer(help="Whether mail of a domain passes DMARC.", no_args_is_help=True)

DomainArgument = Annotated[str, typer.Argument(metavar="DOMAIN", help="A domain that mail is from.")]


@dmarc.callback()
def _group() -> None:
    """Keep `check` a command of its own while it is the only one."""


@dmarc.command()
def check(
    domain: DomainArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say for each identity of a domain whether its mail passes DMARC by SPF or by DKIM, and why.

    Exit code 0 when mail of all of them passes, 75 when that of one does not.
    """
    from relay.policy.dmarc import sample_record  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    found = dict(_outlooks(site, account, domain))
    if not found:
        raise UsageError(f"Account {account} may send nothing from {domain}; create and verify an identity first.")
    if as_json:
        write_json_lines({"identity": name, **outlook_object(one)} for name, one in found.items())
    else:
        for name, one in found.items():
            write_fields({"identity": name, **outlook_fields(one)})
            for fault in one.faults:
                note(fault)
        first = next(iter(found.values()))
        if first.record is None:
            name, value = sample_record(first.from_domain, site.config.contact)
            note("There is no DMARC record. One to begin with:")
            typer.echo(zone_line(DnsRecord(name, "TXT", value)))
    if not all(one.dmarc.passes for one in found.values()):
        raise typer.Exit(EX_TEMPFAIL)


def spf(
    domain: Annotated[str, typer.Argument(metavar="[DOMAIN]", help="A sender's own domain.")] = "",
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the SPF record of the relay's return paths, or what a sender's own domain should have.

    The relay's record lists its source addresses, or the addresses of the host name when there are none.
    """
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    name, value, remarks = _sender_record(site, domain) if domain else _own_record(site)
    if as_json:
        write_json({"name": name, "type": "TXT", "value": value, "remarks": remarks})
        return
    typer.echo(zone_line(DnsRecord(name, "TXT", value)))
    for remark in remarks:
        note(remark)


def outlook_fields(one: "SenderOutlook") -> dict[str, object]:
    """Return an outlook for people."""
    dmarc, record = one.dmarc, one.record
    ways = [word for word, judged in (("SPF", dmarc.spf), ("DKIM", dmarc.dkim)) if judged.passes]
    return {
        "return path": one.return_path_domain,
        "signed for": one.identity.dkim_domain or "-",
        "DMARC record": f"{one.record_name}: {printable(one.record_text)}" if record else "-",
        "by SPF": f"{'passes' if dmarc.spf.passes else 'does not pass'}: {dmarc.spf.reason}",
        "by DKIM": f"{'passes' if dmarc.dkim.passes else 'does not pass'}: {dmarc.dkim.reason}",
        "DMARC": f"passes by {' and '.join(ways)}" if ways else "does not pass",
    }


def outlook_object(one: "SenderOutlook") -> dict[str, Any]:
    """Return an outlook for programs."""
    dmarc = one.dmarc
    return {
        "fromDomain": one.from_domain,
        "returnPathDomain": one.return_path_domain,
        "signingDomain": one.identity.dkim_domain or None,
        "dmarcRecord": one.record_text or None,
        "spfRecord": one.spf_record or None,
        "passes": dmarc.passes,
        "spf": {"passes": dmarc.spf.passes, "reason": dmarc.spf.reason},
        "dkim": {"passes": dmarc.dkim.passes, "reason": dmarc.dkim.reason},
        "faults": list(one.faults),
    }


def outlook_of(site: "Site", account: str, name: str) -> "SenderOutlook | None":
    """Return what receivers will find for mail of an identity, None while nothing may be sent from it."""
    import asyncio  # noqa: PLC0415

    from relay.runtime.cli.lookup import asking  # noqa: PLC0415
    from relay.runtime.sender_outlook import look, own_settings  # noqa: PLC0415
    from relay.store.directory import CatalogDirectory  # noqa: PLC0415

    with closing(CatalogDirectory(site.data_dir, site.master_key())) as directory:
        identity = own_settings(directory, account, name)
    if identity is None:
        return None
    domain = name.rpartition("@")[2].lower()
    with site.catalog() as catalog:
        keys = catalog.dkim.keys_of(identity.account, identity.dkim_domain) if identity.dkim_domain else ()
    with working("asking DNS"):
        return asyncio.run(look(asking(site.config).records, identity, domain, site.config.bounce_domain, keys))


def _outlooks(site: "Site", account: str, domain: str) -> "Iterator[tuple[str, SenderOutlook]]":
    """Yield the identities that are the domain or addresses of it, each with its outlook; else what covers it."""
    wanted = domain.lower()
    with site.catalog() as catalog:
        names = [one.name for one in all_identities(catalog, account)]
    listed = [name for name in names if name.rpartition("@")[2].lower() == wanted]
    for name in listed or [wanted]:
        one = outlook_of(site, account, name)
        if one is not None:
            yield name, one


def _own_record(site: "Site") -> tuple[str, str, list[str]]:
    import asyncio  # noqa: PLC0415

    from relay.policy.spf import own_record  # noqa: PLC0415
    from relay.runtime.cli.lookup import asking  # noqa: PLC0415

    with site.catalog() as catalog:
        addresses = [one.address for one in catalog.addresses.list()]
    addresses = addresses or [one.address for one in site.config.delivery.source_addresses]
    remarks = []
    if not addresses:
        with working("asking DNS"):
            addresses = list(asyncio.run(asking(site.config).addresses(site.config.hostname)))
        remarks.append(f"There are no source addresses: these are the addresses of {site.config.hostname}.")
    public = [address for address in addresses if not ipaddress.ip_address(address).is_loopback]
    if addresses and not public:
        raise TemporaryError(
            f"{', '.join(addresses[:3])} cannot be seen by any receiver: loopback addresses have no place in an SPF "
            "record. Name public ones in delivery.source_addresses."
        )
    if not public:
        raise TemporaryError(
            f"No address is known that mail leaves from: {site.config.hostname} has none in DNS. Set "
            "delivery.source_addresses."
        )
    return site.config.bounce_domain, own_record(public), remarks


def _sender_record(site: "Site", domain: str) -> tuple[str, str, list[str]]:
    import asyncio  # noqa: PLC0415

    from relay.policy.spf import LOOKUPS_MAX, find_record, include_record, lookups, with_include  # noqa: PLC0415
    from relay.runtime.cli.lookup import asking  # noqa: PLC0415

    with working("asking DNS"):
        answer = asyncio.run(asking(site.config).records(domain, "TXT"))
    if answer.failure:
        raise TemporaryError(f"DNS gave no answer for {domain}: {answer.failure}; try again.")
    existing = find_record(answer.values)
    if existing is None:
        return domain, include_record(site.config.bounce_domain), [f"{domain} has no SPF record yet."]
    wanted = with_include(existing, site.config.bounce_domain)
    remarks = ["It is published." if wanted == existing else f"Instead of: {printable(existing)}"]
    if lookups(wanted) > LOOKUPS_MAX:
        remarks.append(f"It costs receivers {lookups(wanted)} lookups; more than {LOOKUPS_MAX} fail.")
    return domain, wanted, remarks
