"""`relay dnsbl`: the relay's addresses on DNS block lists."""

from typing import TYPE_CHECKING, Annotated

import typer

from relay.errors import EX_UNAVAILABLE, UsageError
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, when, working, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.reputation.blocklist import Listing
    from relay.runtime.cli.site import Site
    from relay.runtime.own_look import LookedAt

app = typer.Typer(help="The relay's addresses on DNS block lists.", no_args_is_help=True)


@app.command("list")
def list_(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also listings that have ended.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the listings that the scheduled look found, with beginning and end."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    found = [one for one in _kept(site) if every or not one.ended_ms]
    about = {one.name: one.about for one in site.config.own_checks.block_lists}
    if as_json:
        write_json_lines(
            {
                "address": one.address,
                "rblName": one.list_name,
                "listingTime": iso(one.began_ms),
                "endTime": iso(one.ended_ms) if one.ended_ms else None,
                "description": one.detail,
                "about": about.get(one.list_name) or None,
            }
            for one in found
        )
        return
    rows = [
        (one.address, one.list_name, when(one.began_ms), when(one.ended_ms) if one.ended_ms else "lasts", one.detail)
        for one in found
    ]
    nothing = "No address is on a list, as far as the last look knows."
    write_table(("Address", "List", "Since", "Until", "What it says"), rows, empty=nothing)


def _kept(site: "Site") -> "list[Listing]":
    from relay.errors import StorageError  # noqa: PLC0415
    from relay.store.own_checks import OwnChecks  # noqa: PLC0415

    try:
        file = OwnChecks(site.data_dir / "office")
    except StorageError:
        return []  # the office has not looked yet
    try:
        return file.listings()
    finally:
        file.close()


@app.command()
def check(
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS]...", help="IP addresses [the source addresses].")
    ] = None,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the configured lists now; nothing is kept. Exit code 69 when an address is on one.

    Private and loopback addresses are asked about only when they are named, or with `own_checks.private_addresses`.
    """
    import asyncio  # noqa: PLC0415

    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with working("asking"):
        found = asyncio.run(_ask(site, addresses or []))
    rows = [
        (address, name, "listed" if one.listed else "unknown" if one.unknown else "not listed",
         found.details[address, name] or one.unknown)
        for (address, name), one in sorted(found.listings.items())
    ]  # fmt: skip
    if as_json:
        write_json_lines(
            {"address": address, "rblName": name, "result": result, "description": detail or None}
            for address, name, result, detail in rows
        )
    else:
        nothing = (
            "There is nothing to ask: name addresses, or set delivery.source_addresses and own_checks.block_lists."
        )
        write_table(("Address", "List", "Result", "What it says"), rows, empty=nothing)
    if any(one.listed for one in found.listings.values()):
        raise typer.Exit(EX_UNAVAILABLE)


async def _ask(site: "Site", given: list[str]) -> "LookedAt":
    from relay.runtime import own_look  # noqa: PLC0415
    from relay.runtime.cli.lookup import asking  # noqa: PLC0415
    from relay.schedule.route import ip_address  # noqa: PLC0415

    for text in given:
        if not ip_address(text):
            raise UsageError(f"{text} is no IP address.")
    config = site.config
    asked = [own_look.OwnAddress(ip_address(text), config.hostname) for text in given]
    if not asked:
        known = own_look.configured_addresses(config)
        asked = [one for one in known if config.own_checks.private_addresses or own_look.routed(one.address)]
        if len(asked) < len(known):
            note("Private addresses were left out: name them, or set own_checks.private_addresses.")
    return await own_look.look_lists(config, asked, asking(config).records)
