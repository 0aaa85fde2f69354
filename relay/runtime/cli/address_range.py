"""`relay address range`: ranges of addresses that accounts bring with them (POOL-010)."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import iso, when, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.pool import AddressRange

app = typer.Typer(help="Ranges that accounts brought with them.", no_args_is_help=True)

RangeArgument = Annotated[str, typer.Argument(metavar="RANGE", help="Such as 192.0.2.0/24.")]


@app.command()
def add(
    network: RangeArgument,
    *,
    account: Annotated[str, typer.Option("--account", metavar="ID", help="The account that brings it.")],
    registry: Annotated[str, typer.Option("--registry", metavar="NAME", help="Where it is registered: RIPE NCC ...")],
    use_case: Annotated[str, typer.Option("--use-case", help="What it is used for.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a range: its addresses are the account's alone, and mail leaves from them while their DNS is right."""
    from relay.model.pool import AddressRange  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        made = catalog.addresses.add_range(AddressRange(network, account, registry, use_case))
    site.audit("address.range.add", account, as_object(made))
    if as_json:
        write_json(as_object(made))
    else:
        typer.echo(f"{made.network} is registered to account {account}; add its addresses with `relay address add`.")


@app.command("list")
def list_(*, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List registered ranges."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        found = catalog.addresses.ranges()
    if as_json:
        write_json_lines(as_object(one) for one in found)
        return
    write_table(
        ("Range", "Account", "Registry", "Use", "Registered"),
        ((one.network, one.account, one.registry, one.use_case, when(one.created_ms)) for one in found),
        empty="No range is registered.",
    )


@app.command()
def remove(network: RangeArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Forget a range; its addresses stay with the account."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        catalog.addresses.remove_range(network)
    site.audit("address.range.remove", "", {"range": network})
    if as_json:
        write_json({"range": network})
    else:
        typer.echo(f"{network} is no registered range any more.")


def as_object(one: "AddressRange") -> dict[str, Any]:
    """Return a range for programs."""
    return {
        "range": one.network,
        "account": one.account,
        "registry": one.registry,
        "useCase": one.use_case,
        "created": iso(one.created_ms),
    }
