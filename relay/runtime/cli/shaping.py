"""`relay shaping`: what is known of receivers, why a lane is slow, and what other rules would have done."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import EX_CONFIG, NotFoundError, UsageError
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import (
    note,
    printable,
    working,
    write_fields,
    write_json,
    write_json_lines,
    write_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.model.lane import Source
    from relay.runtime.cli.site import Site
    from relay.runtime.shaping_explain import Explained
    from relay.schedule.replay import Replay
    from relay.schedule.shaping_rules import ProviderRules, Response

app = typer.Typer(help="How much each receiver bears, and what its replies mean.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A file with rules.")]
REPLIES_SHOWN = 10
LOOKS_MAX = 400  # two million deliveries
RULES_SHOWN = 50


@app.command("list")
def list_(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="One provider, with all its rules.")] = "",
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the providers that are known, or show the rules of one."""
    from relay.runtime.cli.site import read_site  # noqa: PLC0415
    from relay.runtime.shaping import load_rules  # noqa: PLC0415

    site = read_site(config)
    if not site.config.shaping.enabled:
        note("Shaping is off (shaping.enabled): no rule is used.")
    rules = load_rules(site.config.shaping).providers
    if name:
        if name not in rules:
            raise UsageError(f"There are no rules named {name}; `relay shaping list` names all.")
        _show(rules[name], as_json=as_json)
        return
    found = [rules[key] for key in sorted(rules)]
    if as_json:
        write_json_lines(_provider(one) for one in found)
        return
    rows = [
        (one.name, ", ".join((*one.hosts, *one.domains)) or "everybody", _limits(one), len(one.responses))
        for one in found
    ]
    write_table(("Provider", "Hosts and domains", "Limits", "Replies"), rows, empty="There are no rules.")


@app.command()
def check(file: FileArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check a file with rules, together with those in force; list every fault at once.

    Exit code 0 when it can be used, 78 when it cannot.
    """
    from relay.runtime.cli.site import read_site  # noqa: PLC0415
    from relay.runtime.shaping import InvalidRulesError, load_rules, read_file  # noqa: PLC0415

    try:
        load_rules(read_site(config).config.shaping, [file])
    except InvalidRulesError as error:
        findings = list({str(one): one for one in error.findings}.values())  # the file may be in force itself
        if as_json:
            write_json({"ok": False, "findings": [_finding(one) for one in findings]})
        else:
            for one in findings:
                typer.echo(f"error  {printable(one)}")
            typer.echo(f"{len(findings)} {'fault' if len(findings) == 1 else 'faults'}.")
        raise typer.Exit(EX_CONFIG) from None
    made = read_file(file).rules
    assert made is not None
    if as_json:
        write_json({"ok": True, "findings": [], "provider": made.name, "responses": len(made.responses)})
    else:
        rules = "1 rule" if len(made.responses) == 1 else f"{len(made.responses)} rules"
        typer.echo(f"ok  {printable(file)}: {made.name}, {rules} about replies")


@app.command()
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


@app.command()
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
    from relay.runtime.audit import record  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.shaping_explain import lifted, resolve  # noqa: PLC0415

    domain, address = _lane(target, source)
    site = open_site(config)
    destination = resolve(site.config, domain, Source(address)).destination
    ended = lifted(site.data_dir / "run", destination, address)
    record(
        site.data_dir,
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


@app.command("try")
def try_(
    file: FileArgument,
    *,
    hours: Annotated[int, typer.Option(min=1, max=48, help="How far to look back.")] = 24,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay the replies of the last day against a file with rules, and say what would have happened.

    The file is put on top of the rules in force, and both are compared.
    """
    from relay.runtime.cli.shaping_replay import replay  # noqa: PLC0415
    from relay.runtime.cli.shards import open_shards  # noqa: PLC0415
    from relay.runtime.shaping import load_rules, rules_in_force  # noqa: PLC0415

    with open_shards(config) as (site, shards), working("replaying"):
        now, then = rules_in_force(site.config), load_rules(site.config.shaping, [file])
        before, after, attempts = replay(shards, now, then, time.time_ns() // 1_000_000 - hours * 3_600_000)
    rows = list(_compared(before, after))
    totals = {"attempts": attempts, "now": _totals(before), "then": _totals(after)}
    if as_json:
        write_json({**totals, "rules": rows, "lanes": list(_lanes(before, after))})
        return
    _write_tried(rows, totals, list(_lanes(before, after)))


def _compared(before: "Replay", after: "Replay") -> "Iterator[dict[str, Any]]":
    for name in sorted(before.tallies.keys() | after.tallies.keys()):
        sides = {}
        for side, one in (("now", before.tallies.get(name)), ("then", after.tallies.get(name))):
            sides[side] = {
                "matches": one.matches if one else 0,
                "effects": dict(one.effects) if one else {},
                "bounced": one.bounced if one else 0,
                "retried": one.retried if one else 0,
            }
        example = next(one.tallies[name].example for one in (after, before) if name in one.tallies)
        yield {"rule": name, **sides, "example": example}


def _lanes(before: "Replay", after: "Replay") -> "Iterator[dict[str, Any]]":
    now, then = before.paused_minutes, after.paused_minutes
    for lane in sorted(now.keys() | then.keys()):
        yield {
            "source": lane[0] or None,
            "destination": lane[1],
            "now": now.get(lane, 0),
            "then": then.get(lane, 0),
        }


def _totals(one: "Replay") -> "dict[str, int]":
    return {
        "matches": sum(tally.matches for tally in one.tallies.values()),
        "bounced": sum(tally.bounced for tally in one.tallies.values()),
        "retried": sum(tally.retried for tally in one.tallies.values()),
        "pausedMinutes": sum(one.paused_minutes.values()),
        "attemptsInPauses": one.waits,
        "lanesLeftOut": one.lanes_left_out,
    }


def _write_tried(rows: "list[dict[str, Any]]", totals: "dict[str, Any]", lanes: "list[dict[str, Any]]") -> None:
    def change(now: int, then: int) -> str:
        return str(now) if now == then else f"{now} > {then}"

    table = [
        (
            row["rule"],
            *(change(row["now"][key], row["then"][key]) for key in ("matches", "bounced", "retried")),
            ", ".join(row["then"]["effects"] or row["now"]["effects"]) or "-",
        )
        for row in rows
    ]
    write_table(
        ("rule", "replies", "bounced", "tried again", "effects"), table, empty="No rule decides about any reply."
    )
    typer.echo("")
    paused = [(one["source"] or "default", one["destination"], change(one["now"], one["then"])) for one in lanes]
    if paused:
        write_table(("Source", "Destination", "Minutes paused"), paused[:RULES_SHOWN], empty="")
        if len(paused) > RULES_SHOWN:
            note(f"There are {len(paused) - RULES_SHOWN} more lanes: --json lists all.")
        typer.echo("")
    now, then = totals["now"], totals["then"]
    typer.echo(
        f"{totals['attempts']} attempts: {change(now['bounced'], then['bounced'])} bounced by a rule, "
        f"{change(now['retried'], then['retried'])} tried again, "
        f"{change(now['attemptsInPauses'], then['attemptsInPauses'])} made in what would have been a pause "
        "(now > with the file)"
    )


# --- rules as text -------------------------------------------------------------------------------------------------


def _limits(one: "ProviderRules") -> str:
    return ", ".join(f"{name} {value}" for name, value in one.limits.given.items()) or "-"


def _provider(one: "ProviderRules") -> "dict[str, Any]":
    return {
        "name": one.name,
        "about": one.about,
        "file": one.file,
        "source": one.source or None,
        "hosts": list(one.hosts),
        "domains": list(one.domains),
        "routes": list(one.routes),
        "rollup": one.rollup,
        "limits": one.limits.given,
        "exceptions": [
            {"source": each.source or None, "pool": each.pool or None, "limits": each.limits.given}
            for each in one.exceptions
        ],
        "responses": [_response(each) for each in one.responses],
    }


def _response(one: "Response") -> "dict[str, Any]":
    return {
        "name": one.name,
        "about": one.about,
        "source": one.source or None,
        "codes": sorted(one.codes),
        "enhanced": list(one.enhanced),
        "stages": sorted(one.stages),
        "text": list(one.texts),
        "effects": [str(effect) for effect in one.effects],
        "retryAfter": one.wait_seconds or None,
        "retry": one.retries,
        "blocklist": one.blocklist or None,
        "examples": list(one.examples),
    }


def _show(one: "ProviderRules", *, as_json: bool) -> None:
    if as_json:
        write_json(_provider(one))
        return
    write_fields(
        {
            "provider": one.name,
            "about": one.about,
            "file": one.file,
            "source": one.source or "-",
            "hosts": ", ".join(one.hosts) or "-",
            "domains": ", ".join(one.domains) or "-",
            "limits": _limits(one),
            "shared": "by all its destinations" if one.rollup else "by none: each set of hosts has its own",
        }
    )
    typer.echo("")
    rows = [(each.name, each.about, _doing(each)) for each in one.responses]
    write_table(("Rule", "Means", "Does"), rows, empty="It has no rules about replies of its own.")


def _doing(one: "Response") -> str:
    parts = [str(effect) for effect in one.effects]
    parts += [f"try again after {one.wait_seconds:g} s"] if one.wait_seconds else []
    parts += [f"up to {one.retries} more attempts"] if one.retries else []
    return "; ".join(parts) or "name the list"


def _finding(one: "Any") -> "dict[str, Any]":
    return {"file": one.file, "line": one.line or None, "key": one.key or None, "text": one.text}
