"""`relay pool`: pools of source addresses, who uses them, and where their mail goes when they are full (POOL-*)."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, when, write_fields, write_json, write_json_lines, write_table
from relay.runtime.cli.pool_rule import app as rule

if TYPE_CHECKING:
    from relay.model.pool import Pool, SourceAddress
    from relay.store.catalog import Catalog

app = typer.Typer(help="Pools of source addresses: which mail leaves from where.", no_args_is_help=True)
app.add_typer(rule, name="rule")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The pool.")]
ForAllOption = Annotated[bool, typer.Option("--for-all", help="A pool of the relay's, which every account may name.")]
NONE = "none"
AUTO = "auto"


@app.command()
def create(
    name: NameArgument,
    *,
    managed: Annotated[bool, typer.Option("--managed", help="Takes its addresses from the relay's reserve.")] = False,
    addresses: Annotated[int, typer.Option("--addresses", metavar="N", help="How many, for --managed.")] = 1,
    overflow: Annotated[
        str, typer.Option("--overflow", metavar="POOL", help="As `relay pool overflow`: a pool, none or auto.")
    ] = AUTO,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; up to 50.")] = None,
    for_all: ForAllOption = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a pool. Its mode, standard or managed, stays as it is."""
    from relay.model.pool import ScalingMode  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    owner = "" if for_all else account
    tags = {key: value for key, _, value in (one.partition("=") for one in tag or ())}
    mode = ScalingMode.MANAGED if managed else ScalingMode.STANDARD
    site = open_site(config)
    with site.catalog() as catalog:
        catalog.pools.create(owner, name, mode=mode, overflow=_overflow(overflow), tags=tags, addresses=addresses)
        told = _described(catalog, owner, name)
    site.audit("pool.create", owner, told)
    _tell(told, f"Pool {name} created ({mode}).", as_json=as_json)


@app.command("list")
def list_(
    *,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Only pools of this account.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List pools, the built-in ones as far as they have addresses."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        found = _all(catalog.pools.list(), catalog.addresses.list())
    found = [one for one in found if account is None or one["account"] == account]
    if as_json:
        write_json_lines(found)
        return
    write_table(
        ("Pool", "Account", "Mode", "Addresses", "Overflow"),
        (
            (one["pool"], one["account"] or "all", one["mode"], len(one["addresses"]), one["overflow"])
            for one in found
        ),
        empty="There are no pools, and no source addresses.",
    )


@app.command()
def show(
    name: NameArgument,
    *,
    for_all: ForAllOption = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a pool, its addresses, tags, and who uses it."""
    from relay.model.pool import SHARED_POOL  # noqa: PLC0415
    from relay.runtime.cli.address_output import address_table, as_object  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    owner = "" if for_all or name == SHARED_POOL else account
    with open_site(config).catalog() as catalog:
        told = _described(catalog, owner, name)
        members = [one for one in catalog.addresses.list() if one.address in told["addresses"]]
    if as_json:
        write_json({**told, "addresses": [as_object(one) for one in members]})
        return
    write_fields(
        {
            "pool": name,
            "account": owner or "all",
            "mode": told["mode"],
            "overflow": told["overflow"],
            "configuration sets": ", ".join(told["configurationSets"]) or "-",
            "identities": ", ".join(told["identities"]) or "-",
            "tags": ", ".join(f"{key}={value}" for key, value in told["tags"].items()) or "-",
            "created": when(told["createdMs"]),
        }
    )
    typer.echo("")
    address_table(members, empty=f"Pool {name} has no address.")


@app.command()
def delete(
    name: NameArgument,
    *,
    for_all: ForAllOption = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a pool. Its addresses go back to the default pool, those of a managed pool to the reserve."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    owner = "" if for_all else account
    site = open_site(config)
    with site.catalog() as catalog:
        held = list(catalog.pools.delete(owner, name))
    told = {"account": owner or None, "pool": name, "addresses": held}
    site.audit("pool.delete", owner, told)
    back = f" {', '.join(held)} went back." if held else ""
    _tell(told, f"Pool {name} is deleted; what names it behaves as if it named none.{back}", as_json=as_json)


@app.command()
def overflow(
    name: NameArgument,
    target: Annotated[
        str,
        typer.Argument(
            metavar="POOL",
            help="A pool; `none`: mail waits; `auto`: what a warm-up has no room for leaves from warm addresses of "
            "the account, else from shared ones.",
        ),
    ],
    *,
    for_all: ForAllOption = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say where mail of a pool goes that none of its addresses can carry now."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    owner = "" if for_all else account
    site = open_site(config)
    with site.catalog() as catalog:
        catalog.pools.set_overflow(owner, name, _overflow(target))
        told = _described(catalog, owner, name)
    site.audit("pool.overflow", owner, {"pool": name, "overflow": target})
    _tell(told, f"Mail that pool {name} cannot carry: {target}.", as_json=as_json)


@app.command()
def grow(
    name: NameArgument,
    addresses: Annotated[int, typer.Argument(metavar="N", help="How many addresses of the reserve to add.")] = 1,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a managed pool further addresses of the reserve."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        added = list(catalog.pools.grow(account, name, addresses))
        told = _described(catalog, account, name)
    site.audit("pool.grow", account, {"pool": name, "addresses": added})
    _tell(told, f"Pool {name} has {', '.join(added)} as well.", as_json=as_json)


@app.command()
def assign(
    name: Annotated[str, typer.Argument(metavar="NAME", help='The pool; "" for none.')],
    *,
    configuration_set: Annotated[
        str, typer.Option("--set", metavar="SET", help="For mail sent with this configuration set.")
    ] = "",
    identity: Annotated[
        str, typer.Option("--identity", metavar="IDENTITY", help="For mail from this identity.")
    ] = "",
    whole: Annotated[bool, typer.Option("--whole-account", help="For all mail of the account.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose which mail leaves from a pool; it holds for messages submitted from now on.

    The configuration set's pool counts first, then `relay pool rule`, the identity's, the account's.
    """
    from relay.errors import UsageError  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    if sum((bool(configuration_set), bool(identity), whole)) != 1:
        raise UsageError("Say what is to use the pool: --set, --identity or --whole-account, one of them.")
    site = open_site(config)
    with site.catalog() as catalog:
        if configuration_set:
            catalog.pools.assign_set(account, configuration_set, name)
        elif identity:
            identity = catalog.identities.require(account, identity).identity.name
            catalog.pools.assign_identity(account, identity, name)
        else:
            catalog.pools.assign_account(account, pool=name)
        empty = bool(name) and _carries_nothing(catalog, account, name)
    told = {
        "account": account,
        "pool": name or None,
        "configurationSet": configuration_set or None,
        "identity": identity or None,
    }
    site.audit("pool.assign", account, told)
    what = configuration_set or identity or f"account {account}"
    _tell(told, f"Mail of {what} leaves from pool {name}." if name else f"{what} names no pool now.", as_json=as_json)
    if empty:
        note(f"Pool {name} has no address yet: this mail waits until it has one (`relay address move`).")


@app.command()
def shared(
    word: Annotated[str, typer.Argument(metavar="allow|bar", help="Whether the account may use shared addresses.")],
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Allow an account the shared addresses, or bar it from them; barred, its mail waits for its own."""
    from relay.errors import UsageError  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    if word not in {"allow", "bar"}:
        raise UsageError(f"Say `allow` or `bar`, not {word[:80]!r}.")
    site = open_site(config)
    with site.catalog() as catalog:
        kept = catalog.pools.assign_account(account, shared_barred=word == "bar")
    told = {"account": account, "pool": kept.pool or None, "sharedBarred": kept.shared_barred}
    site.audit("pool.shared", account, told)
    _tell(
        told, f"Account {account} {'may not' if kept.shared_barred else 'may'} use shared addresses.", as_json=as_json
    )


@app.command()
def tag(
    name: NameArgument,
    tags: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Tags to add or replace.")] = None,
    *,
    remove: Annotated[list[str] | None, typer.Option("--remove", metavar="KEY", help="A tag to remove.")] = None,
    for_all: ForAllOption = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add and remove tags, all or none of them; show those there are."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    owner = "" if for_all else account
    add = {key: value for key, _, value in (one.partition("=") for one in tags or ())}
    site = open_site(config)
    with site.catalog() as catalog:
        kept = catalog.pools.change_tags(owner, name, add, remove or ())
    if add or remove:
        site.audit("pool.tag", owner, {"pool": name, "add": add, "remove": remove})
    if as_json:
        write_json({"account": owner or None, "pool": name, "tags": kept})
        return
    write_table(("Key", "Value"), kept.items(), empty=f"Pool {name} has no tags.")


def _overflow(word: str) -> str:
    return "" if word == AUTO else word


def _carries_nothing(catalog: "Catalog", account: str, name: str) -> bool:
    """Say whether a pool has no address, and no other pool that takes over."""
    from relay.model.pool import BUILT_IN, RELAY  # noqa: PLC0415

    owners = {account, RELAY}
    pools = [one for one in catalog.pools.list() if one.name == name and one.account in owners]
    if name in BUILT_IN or any(one.overflow not in {AUTO, NONE, ""} for one in pools):
        return False
    return not any(one.pool == name and one.account in owners for one in catalog.addresses.list())


def _tell(told: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json(told)
    else:
        typer.echo(sentence)


def _described(catalog: "Catalog", owner: str, name: str) -> dict[str, Any]:
    """Return a pool for programs, with its users; a built-in one as well."""
    from relay.model.pool import BUILT_IN, Pool  # noqa: PLC0415

    pool = Pool(owner, name) if name in BUILT_IN else catalog.pools.require(owner, name)
    members = [one for one in catalog.addresses.list() if one.account == owner and one.pool_name == name]
    sets, identities = catalog.pools.users(owner, name) if owner else ((), ())
    tags = {} if name in BUILT_IN else catalog.pools.tags(owner, name)
    return {
        **_object(pool, members),
        "configurationSets": list(sets),
        "identities": list(identities),
        "tags": tags,
        "created": iso(pool.created_ms),
        "createdMs": pool.created_ms,
    }


def _object(pool: "Pool", members: "list[SourceAddress]") -> dict[str, Any]:
    return {
        "pool": pool.name,
        "account": pool.account or None,
        "mode": str(pool.mode),
        "overflow": pool.overflow or AUTO,
        "addresses": [one.address for one in members],
    }


def _all(pools: "list[Pool]", addresses: "list[SourceAddress]") -> list[dict[str, Any]]:
    """Return all pools with their addresses: the built-in ones first."""
    from relay.model.pool import BUILT_IN, SHARED_POOL, Pool  # noqa: PLC0415

    by_pool: dict[tuple[str, str], list[SourceAddress]] = {("", SHARED_POOL): []}
    for one in addresses:
        if one.pool_name:
            by_pool.setdefault((one.account, one.pool_name), []).append(one)
    built_in = [Pool(account, name) for account, name in by_pool if name in BUILT_IN]
    return [_object(one, by_pool.get((one.account, one.name), [])) for one in (*built_in, *pools)]
