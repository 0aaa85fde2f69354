"""`relay suppression relay-wide`: the list of the whole relay, which no account sees."""

from typing import Annotated, Any

import typer

from relay.errors import NotFoundError
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import iso, when, write_fields, write_json

app = typer.Typer(help="The list of the whole relay: addresses that bounced for any account.", no_args_is_help=True)

AddressArgument = Annotated[str, typer.Argument(metavar="ADDRESS", help="The address.")]


@app.command()
def check(address: AddressArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say whether an address is on the list, and until when. Addresses cannot be listed: only digests are kept."""
    import time  # noqa: PLC0415

    from relay.policy.stays import STAYS_DAYS  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        stay = catalog.relay_list.check(address)
    listed = stay is not None and stay.listed(int(time.time() * 1000))
    values: dict[str, Any] = {"emailAddress": address, "listed": listed}
    if stay is not None:
        values |= {"lastBounce": iso(stay.bounced_ms), "until": iso(stay.until_ms), "days": STAYS_DAYS[stay.step]}
    if as_json:
        write_json(values)
        return
    fields = {"address": address, "on the list": "yes" if listed else "no"}
    if stay is not None:
        fields |= {"last bounce": when(stay.bounced_ms), "until": when(stay.until_ms)}
        fields["stay"] = f"{STAYS_DAYS[stay.step]} days"
    write_fields(fields)


@app.command()
def remove(address: AddressArgument, *, config: ConfigOption = None) -> None:
    """Take an address off the list, and forget its earlier bounces; mail to it flows again at once."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        if not catalog.relay_list.remove(address):
            raise NotFoundError(f"{address} is not on the list of the relay.")
    site.audit("suppression.relay-wide.remove", "", {"address": address})
    typer.echo(f"{address} is not on the list of the relay any more.")
