"""`relay address`: addresses of this host that mail leaves from (POOL-003, POOL-009, POOL-011)."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.address_range import app as range_
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import write_json, write_json_lines

if TYPE_CHECKING:
    from pathlib import Path

    from relay.model.pool import SourceAddress, WarmUp
    from relay.runtime.cli.site import Site
    from relay.store.catalog import Catalog

app = typer.Typer(help="Source addresses: whose they are, and how they stand.", no_args_is_help=True)
app.add_typer(range_, name="range")

AddressArgument = Annotated[str, typer.Argument(metavar="ADDRESS", help="An IPv4 or IPv6 address.")]
OwnerOption = Annotated[
    str, typer.Option("--account", metavar="ID", help="The account whose mail alone it carries [all accounts].")
]
PoolOption = Annotated[str, typer.Option("--pool", metavar="NAME", help="A pool of that owner [the default pool].")]
HeloOption = Annotated[
    str | None,
    typer.Option("--ehlo-name", metavar="NAME", help='Its name in EHLO; "": the relay\'s.', show_default=False),
]
WeightOption = Annotated[
    int | None,
    typer.Option(
        "--weight", metavar="N", help="Its share in its pool, 0 to 1000 [100]; 0: rests.", show_default=False
    ),
]
WarmUpOption = Annotated[
    str | None,
    typer.Option("--warmup", metavar="WORD", help="off, auto, or a percentage such as 40%.", show_default=False),
]
ReserveOption = Annotated[bool, typer.Option("--reserve", help="Keep it for accounts and managed pools to come.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command()
def add(
    address: AddressArgument,
    *,
    account: OwnerOption = "",
    pool: PoolOption = "",
    ehlo_name: HeloOption = None,
    weight: WeightOption = None,
    warmup: WarmUpOption = None,
    reserve: ReserveOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add an address of this host."""
    from relay.model.pool import WEIGHT_DEFAULT, SourceAddress, WarmUp  # noqa: PLC0415
    from relay.net.presence import has_address  # noqa: PLC0415
    from relay.runtime.cli.output import note  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415
    from relay.store.catalog_address_values import canonical  # noqa: PLC0415

    here = has_address(canonical(address))
    mode, percent = read_warm_up(warmup)
    wanted = SourceAddress(
        canonical(address),
        account,
        pool,
        ehlo_name or "",
        WEIGHT_DEFAULT if weight is None else weight,
        mode or WarmUp.OFF,
        percent or 0,
        reserve=reserve,
        absent_ms=0 if here else SteadyClock().now_ms(),
    )
    site = open_site(config)
    with site.catalog() as catalog:
        made = catalog.addresses.add(wanted)
    _told(site, "address.add", made, f"{made.address} added: {_place(made)}.", as_json=as_json)
    if mode is WarmUp.AUTO and made.warmup is not mode:
        note(
            f"Account {account} has automatic warm-up switched off, so {made.address} is warm from the start; "
            f"`relay warmup start {made.address}` warms it up all the same."
        )
    if not here:
        note(f"{made.address} is not an address of this host now; nothing leaves from it until it is.")


@app.command("list")
def list_(
    *,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Only those of this account.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List source addresses, with how each of them stands."""
    from relay.runtime.cli.address_output import address_table, as_object  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        found = [one for one in catalog.addresses.list() if account is None or one.account == account]
    if as_json:
        write_json_lines(as_object(one) for one in found)
        return
    address_table(found, empty="There are no source addresses: mail leaves from what the system chooses.")


@app.command()
def show(address: AddressArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show an address."""
    from relay.runtime.cli.address_output import address_fields, as_object  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = catalog.addresses.require(address)
    if as_json:
        write_json(as_object(found))
    else:
        address_fields(found, site.config.hostname)


@app.command("set")
def set_(
    address: AddressArgument,
    *,
    ehlo_name: HeloOption = None,
    weight: WeightOption = None,
    warmup: WarmUpOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is given; it holds for the next message."""
    mode, percent = read_warm_up(warmup)
    _change(
        config,
        "address.set",
        address,
        lambda catalog: catalog.addresses.change(
            address, helo_name=ehlo_name, weight=weight, warmup=mode, warmup_percent=percent
        ),
        "{address} changed.",
        as_json=as_json,
    )


@app.command()
def move(
    address: AddressArgument,
    *,
    account: OwnerOption = "",
    pool: PoolOption = "",
    reserve: ReserveOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move an address to another pool, another owner, or the reserve; it leaves its former place."""
    _change(
        config,
        "address.move",
        address,
        lambda catalog: catalog.addresses.place(address, account, pool, reserve=reserve),
        "{address} moved: {place}.",
        as_json=as_json,
    )


@app.command()
def suspend(
    address: AddressArgument,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever looks later.")] = "by an administrator",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let nothing leave from an address until it is resumed."""
    _change(
        config,
        "address.suspend",
        address,
        lambda catalog: catalog.addresses.suspend(address, reason or "by an administrator"),
        "Nothing leaves from {address} now.",
        as_json=as_json,
    )


@app.command()
def resume(address: AddressArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Let mail leave from a suspended address again."""
    _change(
        config,
        "address.resume",
        address,
        lambda catalog: catalog.addresses.suspend(address, ""),
        "{address} is in use again.",
        as_json=as_json,
    )


@app.command("give-back")
def give_back(
    address: AddressArgument,
    *,
    account: Annotated[str, typer.Option("--account", metavar="ID", help="The account that gives it back.")],
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an address of an account back to the relay. The account cannot undo this."""
    from relay.runtime.cli.options import confirm  # noqa: PLC0415

    if not yes:
        confirm(f"Account {account} loses {address} for good: others may get it. Give it back?")
    _change(
        config,
        "address.give-back",
        address,
        lambda catalog: catalog.addresses.give_back(account, address),
        "{address} is in the reserve now.",
        as_json=as_json,
    )


@app.command()
def remove(
    address: AddressArgument, *, yes: YesOption = False, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Forget an address: nothing leaves from it any more, retries get another one."""
    from relay.runtime.cli.options import confirm  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    if not yes:
        confirm(f"Forget {address} with its weight, warm-up and findings?")
    site = open_site(config)
    with site.catalog() as catalog:
        known = catalog.addresses.require(address)
        catalog.addresses.remove(address)
    site.audit("address.remove", known.account, {"address": known.address})
    if as_json:
        write_json({"address": known.address})
    else:
        typer.echo(f"{known.address} is removed.")


@app.command()
def check(
    addresses: Annotated[list[str] | None, typer.Argument(metavar="ADDRESS", help="Which [all].")] = None,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look now whether this host has its addresses and what DNS says of them; exit with 69 when one is amiss."""
    import asyncio  # noqa: PLC0415

    from relay.errors import EX_UNAVAILABLE  # noqa: PLC0415
    from relay.runtime.cli.address_check import look_at  # noqa: PLC0415
    from relay.runtime.cli.address_output import address_table, as_object  # noqa: PLC0415
    from relay.runtime.cli.output import working  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog, working("asking DNS"):
        chosen = [catalog.addresses.require(one) for one in addresses] if addresses else catalog.addresses.list()
        found = asyncio.run(look_at(site.config, catalog, chosen))
    if as_json:
        write_json_lines(as_object(one) for one in found)
    else:
        address_table(found, empty="There are no source addresses.")
    if any(one.absent_ms or not one.reverse.helo for one in found):
        raise typer.Exit(EX_UNAVAILABLE)


def read_warm_up(text: str | None) -> "tuple[WarmUp | None, int | None]":
    """Return mode and percentage of `off`, `auto` or `40%`."""
    from relay.errors import UsageError  # noqa: PLC0415
    from relay.model.pool import WarmUp  # noqa: PLC0415

    if text is None:
        return None, None
    if text in {"off", "auto"}:
        return WarmUp(text), None
    number = text.removesuffix("%").strip()
    if not (number.isascii() and number.isdigit()):
        raise UsageError(f"A warm-up is off, auto or a percentage such as 40%, not {text[:80]!r}.")
    return WarmUp.PERCENT, int(number)


def _change(
    config: "Path | None", operation: str, address: str, change: Any, sentence: str, *, as_json: bool
) -> None:
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        made = _changed(catalog, address, change)
    _told(site, operation, made, sentence.format(address=made.address, place=_place(made)), as_json=as_json)


def _changed(catalog: "Catalog", address: str, change: Any) -> "SourceAddress":
    catalog.addresses.require(address)
    made: SourceAddress = change(catalog)
    return made


def _told(site: "Site", operation: str, one: "SourceAddress", sentence: str, *, as_json: bool) -> None:
    from relay.runtime.cli.address_output import as_object  # noqa: PLC0415

    told = as_object(one)
    site.audit(operation, one.account, told)
    if as_json:
        write_json(told)
    else:
        typer.echo(sentence)


def _place(one: "SourceAddress") -> str:
    if one.reserve:
        return "in the reserve"
    return f"in pool {one.pool_name} of {f'account {one.account}' if one.account else 'all accounts'}"
