"""What settings must not contradict: pure checks across a whole configuration.

Each check yields faults; none reads a file, a clock or the network.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

from relay.policy.simulator import is_simulator_domain
from relay.runtime.config.alarms import snds_faults
from relay.runtime.config.faults import Fault
from relay.runtime.config.incoming import SMTP_KINDS, Listener
from relay.runtime.config.model import Config
from relay.runtime.config.outgoing import SUBMISSIONS_PORT
from relay.runtime.config.publishing import bus_faults, stream_faults
from relay.runtime.config.values import format_duration
from relay.runtime.sockets import addresses_overlap

# A return path is a token of at most 64 octets at the bounce domain, and a path has at most 254 between its
# brackets (RFC 5321 section 4.5.3.1.3).
BOUNCE_DOMAIN_OCTETS_MAX = 254 - 64 - 1
RETRY_SECONDS_MIN = 0.1
SHARE_ROUNDING = 1e-6


def faults(config: Config) -> list[Fault]:
    """Return every contradiction."""
    return [fault for check in _CHECKS for fault in check(config)]


def _listeners(config: Config) -> Iterator[Fault]:
    for index, listener in enumerate(config.listeners):
        for check in _LISTENER_CHECKS:
            for key, text in check(listener):
                yield Fault(("listeners", index, key), text)


def _tls_fits_kind(listener: Listener) -> Iterator[tuple[str, str]]:
    if listener.tls == "starttls" and listener.kind not in SMTP_KINDS:
        yield "tls", f"starttls is SMTP's; a {listener.kind} listener takes `implicit` or `none`"


def _passwords_need_tls(listener: Listener) -> Iterator[tuple[str, str]]:
    if listener.tls != "none" or listener.loopback:
        return
    if listener.kind == "submission" and listener.trust is None:
        yield (
            "tls",
            "`none` would carry passwords in clear; use `starttls`, `implicit`, a loopback address or `trust`",
        )
    if listener.kind == "console":
        yield "tls", "`none` would carry passwords in clear; use `implicit` or a loopback address"


def _trust_fits_kind(listener: Listener) -> Iterator[tuple[str, str]]:
    if listener.trust is None:
        return
    if listener.kind != "submission":
        yield "trust", f"belongs to a submission listener, not to `{listener.kind}`"
    for network in listener.trust.networks:
        if ipaddress.ip_network(network).prefixlen == 0:
            yield (
                "trust",
                f"{network} is everybody, which makes an open relay; name the networks of your own machines",
            )


def _smtp_only(listener: Listener) -> Iterator[tuple[str, str]]:
    if listener.kind in SMTP_KINDS:
        return
    for key in ("allow", "deny", "proxy_protocol", "xclient"):
        if getattr(listener, key):
            yield key, f"belongs to a submission or mx listener, not to `{listener.kind}`"


def _front_ends_are_known(listener: Listener) -> Iterator[tuple[str, str]]:
    for key, section in (("proxy_protocol", listener.proxy_protocol), ("xclient", listener.xclient)):
        for network in section.networks if section else ():
            if ipaddress.ip_network(network).prefixlen == 0:
                yield (
                    key,
                    f"{network} is everybody, who could then claim any address; name the networks of your front ends",
                )


def _metrics_stay_home(listener: Listener) -> Iterator[tuple[str, str]]:
    if listener.kind == "metrics" and not listener.loopback and not listener.allow_remote:
        text = (
            f"{listener.address} can be reached from outside and metrics ask for no password; use 127.0.0.1, or add "
            "`allow_remote: true` when a firewall guards it"
        )
        yield "address", text
    if listener.allow_remote and listener.kind != "metrics":
        yield "allow_remote", f"belongs to a metrics listener, not to `{listener.kind}`"


_LISTENER_CHECKS: tuple[Callable[[Listener], Iterable[tuple[str, str]]], ...] = (
    _tls_fits_kind,
    _passwords_need_tls,
    _trust_fits_kind,
    _smtp_only,
    _front_ends_are_known,
    _metrics_stay_home,
)


def _listeners_apart(config: Config) -> Iterator[Fault]:
    for (first, one), (second, other) in combinations(enumerate(config.listeners), 2):
        if one.port and one.port == other.port and addresses_overlap(one.address, other.address):
            text = f"{other.address}:{other.port} is taken by listeners[{first}] ({one.address}); choose another port"
            yield Fault(("listeners", second, "port"), text)


def _bounce_domain(config: Config) -> Iterator[Fault]:
    if len(config.bounce_domain) > BOUNCE_DOMAIN_OCTETS_MAX:
        yield Fault(
            ("bounce_domain",), f"must have at most {BOUNCE_DOMAIN_OCTETS_MAX} characters, for return paths to fit"
        )


def _retries(config: Config) -> Iterator[Fault]:
    for index, wait in enumerate(config.delivery.retry):
        if wait < RETRY_SECONDS_MIN:
            yield Fault(("delivery", "retry", index), f"must be at least {format_duration(RETRY_SECONDS_MIN)}")


def _simulator(config: Config) -> Iterator[Fault]:
    text = "belongs to the mailbox simulator, whose mail never leaves the relay; choose another domain"
    for index, route in enumerate(config.routes):
        if is_simulator_domain(route.domain, config.hostname):
            yield Fault(("routes", index, "domain"), text)
    if is_simulator_domain(config.bounce_domain, config.hostname):
        yield Fault(("bounce_domain",), text)


def _routes(config: Config) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for index, route in enumerate(config.routes):
        if route.domain in seen:
            yield Fault(
                ("routes", index, "domain"), f"`{route.domain}` has a route already, routes[{seen[route.domain]}]"
            )
        seen.setdefault(route.domain, index)
        password = bool(route.password.get_secret_value())
        if password and route.password_file:
            yield Fault(("routes", index, "password_file"), "is given beside `password`; keep one of them")
        if route.username and not (password or route.password_file):
            yield Fault(("routes", index, "username"), "needs `password` or `password_file`")
        if (password or route.password_file) and not route.username:
            key = "password" if password else "password_file"
            yield Fault(("routes", index, key), "needs `username`")
        always = route.tls in ("require", "implicit")
        if route.username and not always and not _is_loopback(route.smarthost.host):
            text = "must be `require` or `implicit` with a password, or it could travel in clear"
            yield Fault(("routes", index, "tls"), text)
        if route.smarthost.port == SUBMISSIONS_PORT and route.tls != "implicit":
            text = f"must be `implicit` for port {SUBMISSIONS_PORT}, where nothing is said before TLS"
            yield Fault(("routes", index, "tls"), text)


def _scanners(config: Config) -> Iterator[Fault]:
    for index, scanner in enumerate(config.content.scanners):
        at = ("content", "scanners", index)
        foreign = ("url", "password", "password_file", "reject_score") if scanner.type == "clamav" else ("address",)
        for key in foreign:
            value = getattr(scanner, key)
            if value.get_secret_value() if key == "password" else value is not None:
                yield Fault((*at, key), f"belongs to another type of scanner, not to `{scanner.type}`")
        if scanner.password.get_secret_value() and scanner.password_file:
            yield Fault((*at, "password_file"), "is given beside `password`; keep one of them")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _events(config: Config) -> Iterator[Fault]:
    names: set[str] = set()
    paths: set[str] = set()
    for index, destination in enumerate(config.events):
        if destination.name in names:
            yield Fault(("events", index, "name"), f"`{destination.name}` is taken by another destination")
        file = str(config.event_file(destination))
        if file in paths:
            yield Fault(("events", index, "path"), f"{file} is written by another destination already")
        names.add(destination.name)
        paths.add(file)


def _streams_and_buses(config: Config) -> Iterator[Fault]:
    for index, stream in enumerate(config.streams):
        yield from (Fault(("streams", index, key), text) for key, text in stream_faults(stream))
    for index, bus in enumerate(config.buses):
        yield from (Fault(("buses", index, key), text) for key, text in bus_faults(bus))
    yield from _names_once("streams", [stream.name for stream in config.streams])
    yield from _names_once("buses", [bus.name for bus in config.buses])
    places: set[tuple[Path, str]] = set()
    for index, stream in enumerate(config.streams):
        place = (config.stream_directory(stream), stream.prefix)
        if stream.type == "directory" and place in places:
            yield Fault(("streams", index, "directory"), f"{place[0]} is written by another stream already")
        places.add(place)


def _snds(config: Config) -> Iterator[Fault]:
    return (Fault(("snds", key), text) for key, text in snds_faults(config.snds))


def _topics(config: Config) -> Iterator[Fault]:
    own = config.topics
    if (own.certificate is None) != (own.key is None):
        missing = "key" if own.key is None else "certificate"
        yield Fault(("topics", missing), "is missing; `certificate` and `key` are given together or not at all")


def _names_once(setting: str, names: Sequence[str]) -> Iterator[Fault]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Fault((setting, index, "name"), f"`{name}` is taken by another entry of `{setting}`")


def _auth_limits(config: Config) -> Iterator[Fault]:
    limits = config.limits.auth
    if limits.failures_per_day < limits.failures_per_minute:
        text = f"must not be below failures_per_minute ({limits.failures_per_minute})"
        yield Fault(("limits", "auth", "failures_per_day"), text)


def _reputation(config: Config) -> Iterator[Fault]:
    own = config.reputation
    for metric in ("bounce", "complaint", "blocked"):
        review, pause = getattr(own, f"{metric}_review"), getattr(own, f"{metric}_pause")
        if pause < review:
            yield Fault(("reputation", f"{metric}_pause"), f"must not be below {metric}_review ({review:.2%})")
    if 0 < own.spamtrap_pause_hits < own.spamtrap_hits:
        text = f"must not be below spamtrap_hits ({own.spamtrap_hits}), or 0"
        yield Fault(("reputation", "spamtrap_pause_hits"), text)
    if config.statistics.daily < config.statistics.hourly:
        yield Fault(("statistics", "daily"), "must not be below hourly: an hour's counts become those of its day")


def _warm_up(config: Config) -> Iterator[Fault]:
    names = {"default", *(one.name for one in config.warmup.schedules)}
    if len(names) <= len(config.warmup.schedules):
        yield Fault(("warmup", "schedules"), "must have different names, and none is `default`")
    if config.warmup.schedule not in names:
        yield Fault(("warmup", "schedule"), f"there is no schedule {config.warmup.schedule}")
    for index, one in enumerate(config.warmup.addresses):
        if one.schedule not in names:
            yield Fault(("warmup", "addresses", index, "schedule"), f"there is no schedule {one.schedule}")
    providers = [one.provider for one in config.warmup.shares]
    if len(set(providers)) < len(providers):
        yield Fault(("warmup", "shares"), "names a provider twice")
    if sum(one.share for one in config.warmup.shares) > 1 + SHARE_ROUNDING:
        yield Fault(("warmup", "shares"), "are more than 100 % together")


def _lists_and_rules(config: Config) -> Iterator[Fault]:
    """Nothing is named twice where the second entry would take the place of the first without a word."""
    own = config.own_checks
    for setting, entries in (("block_lists", own.block_lists), ("domain_lists", own.domain_lists)):
        for index in _repeated([one.name for one in entries]):
            yield Fault(("own_checks", setting, index, "name"), f"is taken by another entry of `{setting}`")
    for index in _repeated([one.domain for one in config.tls_policies]):
        text = "has a rule already; put both into one"
        yield Fault(("tls_policies", index, "domain"), text)


def _repeated(names: Sequence[str]) -> Iterator[int]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name.lower() in seen:
            yield index
        seen.add(name.lower())


def _source_addresses(config: Config) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, one in enumerate(config.delivery.source_addresses):
        if one.address in seen:
            yield Fault(("delivery", "source_addresses", index), f"{one.address} is listed twice")
        seen.add(one.address)


_CHECKS: tuple[Callable[[Config], Iterable[Fault]], ...] = (
    _listeners,
    _listeners_apart,
    _bounce_domain,
    _retries,
    _simulator,
    _routes,
    _scanners,
    _events,
    _streams_and_buses,
    _snds,
    _topics,
    _auth_limits,
    _source_addresses,
    _lists_and_rules,
    _reputation,
    _warm_up,
)
