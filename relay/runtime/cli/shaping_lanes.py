"""`relay shaping explain|lift`: which rules a recipient falls under, why its lane is slow now, and ending that."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import NotFoundError, UsageError
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import note, printable, working, write_fields, write_json, write_table

if TYPE_CHECKING:
    from relay.model.lane import Source
    from relay.runtime.cli.site import Site
    from relay.runtime.shaping_explain import Explained

REPLIES_SHOWN = 10
LOOKS_MAX = 400  # two million deliveries


def explain(
    target: Annotated[str, typer.Argument(metavar="ADDRESS|DOMAIN", help="A recipient, or its domain.")],
    *,
    source: Annotated[str, typer.Option("--from", metavar="IP", help="A source address of the relay.")] = "",
    pool: Annotated[
        str, typer.Option(metavar="NAME", help="The pool that mail leaves from [that of the source address].")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which rules apply to a recipient and why, the limits in force, and why its lane is slow, now."""
    from relay.runtime.cli.shards import open_shards  # noqa: PLC0415
    from relay.runtime.shaping_explain import live, resolve  # noqa: PLC0415

    domain, address = _lane(target, source)
    with open_shards(config) as (site, shards), working("asking"):
        explained = resolve(site.config, domain, _source(site, address, pool))
        now = live(site.data_dir / "run", explained.destination)
        queued, more = _queued(shards, domain)
    found = _explained(explained, now, queued, more=more)
    if as_json:
        write_json(found)
    else:
        _write_explained(found)


def lift(
    target: Annotated[str, typer.Argument(metavar="ADDRESS|DOMAIN", help="A recipient, or its domain.")],
    *,
    source: Annotated[str, typer.Option("--from", metavar="IP", help="From this source address only.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End at once what a provider's replies made us do: a pause, a slower lane, an address passed over.

    For when the cause is gone, such as a block that was removed. The next reply of the kind begins it anew. Mail that
    was put off meanwhile keeps its time; `relay queue retry` attempts it now.
    """
    from relay.model.lane import Source  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.shaping_explain import lifted, resolve  # noqa: PLC0415

    domain, address = _lane(target, source)
    site = open_site(config)
    destination = resolve(site.config, domain, Source(address)).destination
    ended = lifted(site.data_dir / "run", destination, address)
    site.audit(
        "shaping.lift",
        "",
        {"destination": destination, "source": address or None, "ended": len(ended)},
    )
    if as_json:
        write_json({"destination": destination, "ended": ended})
        return
    for one in ended:
        typer.echo(printable(f"{one['kind']} from {one['source'] or 'every address'} to {destination} is over."))
    if not ended:
        note(f"Nothing was in force at {destination}.")


def _source(site: "Site", address: str, pool: str) -> "Source":
    """Return a source that the relay has; the pool of its address where none is named."""
    from relay.model.lane import Source  # noqa: PLC0415
    from relay.model.pool import BUILT_IN  # noqa: PLC0415

    if not address and not pool:
        return Source()
    with site.catalog() as catalog:
        known = catalog.addresses.require(address) if address else None
        names = {one.name for one in catalog.pools.list()}
    if pool and pool not in BUILT_IN and pool not in names:
        raise NotFoundError(f"There is no pool {printable(pool)}; `relay pool list` names all.")
    return Source(address, pool=pool or (known.pool_name if known else ""))


def _lane(target: str, source: str) -> tuple[str, str]:
    """Return the domain and the source address that a command names; "" where it names no source."""
    from relay.runtime.config.values import parse_address, parse_domain  # noqa: PLC0415

    domain = target.rpartition("@")[2].strip()
    try:
        domain = domain if domain.startswith("[") else parse_domain(domain)
        address = parse_address(source) if source else ""
    except ValueError as error:
        raise UsageError(f"{target if not source else f'{target} or {source}'} {error}.") from None
    return domain, address


def _queued(shards: "list[Any]", domain: str) -> tuple[int, bool]:
    """Return how many deliveries of a domain wait, and whether there are more than were counted."""
    from relay.model.delivery import DeliveryState  # noqa: PLC0415
    from relay.store.reader import QueueScan  # noqa: PLC0415

    count, pages = 0, 0
    for shard in shards:
        for page, after in shard.entries(QueueScan(frozenset({DeliveryState.QUEUED}))):
            count += sum(one.domain == domain for one in page)
            pages += 1
            if pages >= LOOKS_MAX:
                return count, after is not None
    return count, False


def _explained(explained: "Explained", now: "dict[str, Any]", queued: int, *, more: bool) -> "dict[str, Any]":
    from relay.runtime.cli.output import iso  # noqa: PLC0415
    from relay.runtime.shaping_explain import limits_of, reasons, summed  # noqa: PLC0415

    match, now_ms = explained.match, time.time_ns() // 1_000_000
    notes = summed(now["notes"])
    for one in notes:
        one["replies"] = [{"time": iso(reply.pop("time_ms")), **reply} for reply in one["replies"][-REPLIES_SHOWN:]]
    return {
        "domain": explained.domain,
        "route": explained.route or None,
        "hosts": [{"preference": host.preference, "host": host.host} for host in explained.hosts[:50]],
        "destination": explained.destination,
        "rules": match.rules.name,
        "about": match.rules.about,
        "file": match.rules.file or None,
        "why": f"{match.kind} {match.name} fits {match.pattern}" if match.kind else "no provider fits: rules for all",
        "from": explained.source.address or None,
        "limits": [{"name": name, "value": value, "from": origin} for name, value, origin in limits_of(explained)],
        "responses": explained.responses,
        "reasons": reasons(now, explained.shape, now_ms),
        "effects": [{**one, "until": iso(one.pop("until_ms"))} for one in now["effects"]],
        "lanes": now["lanes"],
        "sites": now["sites"],
        "lastHour": notes,
        "queued": queued,
        "queuedMore": more,
        "silent": now["silent"],
    }


def _write_explained(found: "dict[str, Any]") -> None:
    hosts = ", ".join(f"{one['preference']} {one['host']}" for one in found["hosts"])
    write_fields(
        {
            "domain": found["domain"],
            **({"route": found["route"]} if found["route"] else {"hosts": hosts}),
            "rules": f"{found['rules']}: {found['about']}",
            "because": found["why"],
            "file": found["file"] or "-",
            "lane": f"{found['from'] or 'default'} to {found['destination']}",
            "replies": f"{found['responses']} rules about them (relay shaping list {found['rules']})",
            "queued": f"{found['queued']}{' and more' if found['queuedMore'] else ''} for {found['domain']}",
        }
    )
    typer.echo("")
    rows = [(one["name"], one["value"] or "no limit", one["from"]) for one in found["limits"]]
    write_table(("Limit", "Value", "From"), rows, empty="")
    typer.echo("")
    for sentence in found["reasons"]:
        typer.echo(f"slow: {printable(sentence)}")
    if not found["reasons"]:
        typer.echo("Nothing holds this lane up now." if not found["silent"] else "Nothing is known to hold it up.")
    for lane in found["lanes"]:
        where = lane["source"] or "default"
        limit = f" of {lane['connections']}" if lane["connections"] else ""  # who asks for none told none
        typer.echo(f"{where}: {lane['in_use']}{limit} connections, {lane['waiting']} waiting")
    for one in found["lastHour"]:
        _write_hour(one)
    if found["silent"]:
        note(f"No answer from {', '.join(found['silent'])}: what they know is missing.")


def _write_hour(one: "dict[str, Any]") -> None:
    from relay.runtime.cli.trace import local  # noqa: PLC0415

    hour, minute = one["hour"], one["minute"]
    typer.echo(
        f"{one['source'] or 'default'}, last hour: {hour[0]} delivered, {hour[1]} deferred, {hour[2]} refused; "
        f"last minute: {minute[0]}, {minute[1]}, {minute[2]}"
    )
    for reply in one["replies"]:
        effects = f" ({'; '.join(reply['effects'])})" if reply["effects"] else ""
        rule = f"  [{reply['rule']}{effects}]" if reply["rule"] else ""
        typer.echo(printable(f"  {local(reply['time'])}  {reply['stage']}: {reply['reply']}{rule}"))
