"""`relay pool rule`: mail to or from a domain that leaves from a pool."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.pool import PoolRule

app = typer.Typer(help="Rules by domain: which mail leaves from a pool.", no_args_is_help=True)


@app.command()
def add(
    pool: Annotated[str, typer.Argument(metavar="POOL", help="The pool.")],
    *,
    sender: Annotated[
        str, typer.Option("--from", metavar="DOMAIN", help="Domain of the author; *.DOMAIN for all below it.")
    ] = "",
    recipient: Annotated[
        str, typer.Option("--to", metavar="DOMAIN", help="Domain of all recipients; *.DOMAIN for all below it.")
    ] = "",
    for_all: Annotated[bool, typer.Option("--for-all", help="For mail of all accounts.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a rule. Of those that fit the oldest counts, those of the account before those for all."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    owner = "" if for_all else account
    site = open_site(config)
    with site.catalog() as catalog:
        made = catalog.pools.add_rule(owner, pool, sender_domain=sender, recipient_domain=recipient)
    site.audit("pool.rule.add", owner, as_object(made))
    if as_json:
        write_json(as_object(made))
    else:
        typer.echo(f"Rule {made.rule_id} added.")


@app.command("list")
def list_(*, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List all rules, in the order in which they are read."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        found = catalog.pools.rules()
    if as_json:
        write_json_lines(as_object(one) for one in found)
        return
    write_table(
        ("Rule", "Account", "From", "To", "Pool"),
        (
            (
                one.rule_id,
                one.account or "all",
                one.sender_domain or "any",
                one.recipient_domain or "any",
                one.pool,
            )
            for one in found
        ),
        empty="There are no rules.",
    )


@app.command()
def remove(
    rule_id: Annotated[int, typer.Argument(metavar="RULE", help="The number of the rule.")],
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a rule."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        catalog.pools.remove_rule(rule_id)
    site.audit("pool.rule.remove", "", {"rule": rule_id})
    if as_json:
        write_json({"rule": rule_id})
    else:
        typer.echo(f"Rule {rule_id} is removed.")


def as_object(rule: "PoolRule") -> dict[str, Any]:
    """Return a rule for programs."""
    return {
        "rule": rule.rule_id,
        "account": rule.account or None,
        "from": rule.sender_domain or None,
        "to": rule.recipient_domain or None,
        "pool": rule.pool,
    }
