"""Why mail to an address goes as it goes: rules and limits as the relay would find them, and how its lanes are now.

`resolve` takes the way that a delivery takes: special domain, route, mail exchangers. `live` asks the workers what
they know, and permits what is counted over all of them. Both give plain objects, for `relay shaping explain`.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.errors import RelayError, UsageError
from relay.model.lane import Source
from relay.net.resolver import DnsResolver
from relay.pipeline.destination import name_of_hosts, name_of_route
from relay.ports import MailHost, ResolverError
from relay.runtime import settings
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.rpc import Client
from relay.runtime.shaping import rules_in_force
from relay.schedule import mx
from relay.schedule.route import RouteTable, literal_address, unroutable
from relay.schedule.shaping import Shape
from relay.schedule.shaping_rules import Limits, LimitsException, Match, ProviderRules

ASK_SECONDS = 10.0
_DELIVERY_SETTINGS = {
    "connections": "delivery.connections_per_site",
    "messages_per_connection": "delivery.messages_per_connection",
}


@dataclass(frozen=True, slots=True)
class Explained:
    """What the rules say: `destination` names the lane, `match` the rules and why, `shape` the limits in force."""

    domain: str
    destination: str
    hosts: tuple[MailHost, ...]
    route: str
    match: Match
    shape: Shape
    source: Source
    responses: int
    default: ProviderRules


class _Uncounted:
    """Metrics of a command, which nobody reads."""

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Forget it."""

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Forget it."""

    def gauge(self, name: str, value: float, *labels: str) -> None:
        """Forget it."""


def resolve(config: Config, domain: str, source: Source) -> Explained:
    """Return the rules for a domain from a source. Raise UsageError when no mail could go there."""
    rules = rules_in_force(config)
    outbound = settings.outbound_settings(config, _unneeded)
    route = RouteTable(outbound.routes).find(domain)
    special = rules.of_domain(domain) if route is None else None
    if route is not None:
        hosts: tuple[MailHost, ...] = (MailHost(0, route.host),)
        name = name_of_route(route)
    else:
        hosts = _hosts(config, domain)
        name = name_of_hosts(hosts, special.rules.name if special else "")
    match = rules.find(hosts, domain=domain if special else "", routed=route is not None)
    shape = rules.shape(match, outbound.shape).at(source)
    count = len(match.rules.responses) + (len(rules.default.responses) if match.rules is not rules.default else 0)
    return Explained(
        domain,
        shape.provider or name,
        hosts,
        f"{route.domain} to {route.host}:{route.port}" if route else "",
        match,
        shape,
        source,
        count,
        rules.default,
    )


def _unneeded(content: Any, context: object) -> None:
    del content, context


def _hosts(config: Config, domain: str) -> tuple[MailHost, ...]:
    literal = literal_address(domain)
    if literal:
        return (MailHost(0, literal),)
    if never := unroutable(domain):
        raise UsageError(f"No mail can go to {domain}: {never}.")
    resolver = DnsResolver(settings.resolver_settings(config), SteadyClock(), _Uncounted())
    try:
        found = asyncio.run(resolver.mail_hosts(domain))
    except ResolverError as error:
        raise UsageError(f"The mail exchangers of {domain} cannot be looked up now: {error}.") from error
    hosts = mx.without_us(found.hosts, {config.hostname})
    if not hosts:
        why = (
            "it does not exist"
            if found.nxdomain
            else "it takes no mail"
            if found.null_mx
            else "it has no usable host"
        )
        raise UsageError(f"No mail can go to {domain}: {why}.")
    return hosts


def limits_of(explained: Explained) -> Iterator[tuple[str, int, str]]:
    """Yield each limit with its value (0: none) and where it comes from."""
    rules, own = explained.match.rules, explained.match.rules.limits.given
    shape = explained.shape
    special = _exception(rules, explained.source)
    for name in Limits.__slots__:
        value = int(getattr(shape, name))
        if special is not None and name in special.limits.given:
            origin = f"exception for {special.source or special.pool} in {rules.file}"
        elif name in own:
            origin = rules.file
        elif name in explained.default.limits.given:
            origin = explained.default.file
        else:
            origin = _DELIVERY_SETTINGS.get(name, "built in" if value else "none is set")
        yield name, value, origin


def _exception(rules: ProviderRules, source: Source) -> LimitsException | None:
    """Return the exception that holds from a source: that of its address goes before that of its pool."""
    of_address = (one for one in rules.exceptions if one.source and one.source == source.address)
    of_pool = (one for one in rules.exceptions if one.pool and one.pool == source.pool)
    return next(of_address, None) or next(of_pool, None)


# --- now ---------------------------------------------------------------------------------------------------------


def live(run_dir: Path, destination: str) -> dict[str, Any]:
    """Return how the lanes to a destination are now: by worker, over all workers, and the effects in force.

    What does not answer is left out and named in `silent`.
    """
    found: dict[str, Any] = {"sites": [], "notes": [], "lanes": [], "effects": [], "silent": []}
    for path in sorted(run_dir.glob("worker-*.sock")):
        try:
            with Client(path, ASK_SECONDS) as client:
                for line in client.call("shaping.lanes", destination=destination)["lines"]:
                    found["sites"] += [{**site, "worker": path.stem} for site in line["sites"]]
                    found["notes"] += line["notes"]
        except RelayError:
            found["silent"].append(path.stem)
    try:
        with Client(run_dir / "permits.sock", ASK_SECONDS) as client:
            found["lanes"] = list(client.pages("lanes.list", destination=destination))
            effects = client.pages("lanes.effects")
            found["effects"] = [one for one in effects if one["destination"] == destination]
    except RelayError:
        found["silent"].append("permits")
    return found


def lifted(run_dir: Path, destination: str, source: str) -> list[dict[str, Any]]:
    """End the effects at a destination, those from one source address when it is given; return what was ended."""
    with Client(run_dir / "permits.sock", ASK_SECONDS) as client:
        effects = [one for one in client.pages("lanes.effects") if one["destination"] == destination]
        wanted = [one for one in effects if not source or one["source"] == source]
        return [one for one in wanted if client.call("lanes.lift", **one)["ended"]]


def summed(notes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the notes of all workers together, one object a source address, its last refusals in order of time."""
    together: dict[str, dict[str, Any]] = {}
    for one in notes:
        known = together.setdefault(one["source"], {**one, "hour": [0, 0, 0], "minute": [0, 0, 0], "replies": []})
        for name in ("hour", "minute"):
            known[name] = [a + b for a, b in zip(known[name], one[name], strict=True)]
        known["replies"] = sorted([*known["replies"], *one["replies"]], key=_time)[-20:]
    return [together[source] for source in sorted(together)]


def _time(reply: dict[str, Any]) -> int:
    return int(reply["time_ms"])


def reasons(found: dict[str, Any], shape: Shape, now_ms: int) -> list[str]:
    """Return why the lanes are slower than they could be, in sentences; empty when nothing holds them up."""
    told = []
    for effect in found["effects"]:
        left = max(0, int(effect["until_ms"]) - now_ms) // 1000
        where = effect.get("source") or "the default address"
        told.append(f"{effect['kind']} from {where} for {left} s more, by rule {effect['rule']}: {effect['reply']}")
    for lane in found["lanes"]:
        where = lane["source"] or "the default address"
        if lane["factor"] < 1:
            told.append(f"{where} uses {lane['factor']:.0%} of its limits")
        if lane["waiting"]:
            told.append(f"{where} has all {lane['connections']} connections in use, {lane['waiting']} wait for one")
        if lane["messages_waiting"]:
            told.append(f"{where} waits for its rate of {lane['messages_per_minute']} messages a minute")
    for site in found["sites"]:
        if site["dead_seconds"]:
            told.append(f"{site['worker']} could not connect to {site['site']}: {site['dead_reply']}")
        elif site["waiting"] and site["sessions"] + site["connecting"] >= min(site["limit"], shape.connections):
            told.append(
                f"{site['worker']} has {site['waiting']} waiting and uses the {site['limit']} connections it may have"
            )
    return told
