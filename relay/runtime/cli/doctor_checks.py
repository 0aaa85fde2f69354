"""What `relay doctor` looks at. Each look returns its findings; one that fails itself is a finding too."""

import asyncio
import ipaddress
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import dns.exception
import dns.rcode
import dns.resolver

from relay.errors import RelayError, StorageError
from relay.model.content import Content
from relay.model.delivery import DeliveryState
from relay.model.scan import ScanVerdict
from relay.reputation.own import Grade
from relay.runtime import own_look, settings
from relay.runtime.children import Role, child_name
from relay.runtime.cli import lookup, processes
from relay.runtime.cli.check import findings_of, summary
from relay.runtime.cli.identity import all_identities
from relay.runtime.cli.options import endpoint
from relay.runtime.cli.output import iso, size
from relay.runtime.cli.queue_holds import describe
from relay.runtime.cli.shards import Shard, shard_numbers
from relay.runtime.cli.site import Site
from relay.runtime.clock import SteadyClock
from relay.runtime.own_look import LookedAt
from relay.runtime.standing_file import read_holds
from relay.runtime.topic_keys import TopicKeys
from relay.schedule.retry import LATE_REPLY

Result = Literal["ok", "warning", "error", "skipped"]
CONNECT_SECONDS = 5.0
CLOCK_PAST_MS = 1_700_000_000_000  # older than this program: a clock that was never set
CLOCK_STEP_SECONDS = 5.0
IDENTITIES_LOOKED_AT_MAX = 50
NAMED_MAX = 3  # addresses that a line names
HOLD_OLD_MS = 86_400_000
INTERNET_HOSTS = ("gmail.com", "outlook.com")
SERVED_KINDS = ("submission", "mx", "http", "metrics")


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `next_step` says what to do about it, "" when nothing is to be done."""

    name: str
    result: Result
    detail: str
    next_step: str = ""


Look = Callable[[Site], Iterator[Check]]


def guarded(look: Look, site: Site) -> list[Check]:
    """Return the findings of one look, or that it failed."""
    try:
        return list(look(site))
    except (RelayError, OSError) as error:
        return [Check(look.__name__.replace("_", " "), "error", str(error))]


def environment(site: Site) -> Iterator[Check]:
    """The configuration against this machine: certificate, users, directories, ports."""
    findings = findings_of(site, ports=True)
    if not any(one.severity == "error" for one in findings):
        yield Check("configuration", "ok", summary(site.config))
    for one in findings:
        yield Check("configuration", one.severity, str(one))


def data_directory(site: Site) -> Iterator[Check]:
    """Modes of what is private, and room on the disk."""
    name = "data directory"
    if not site.data_dir.is_dir():
        yield Check(name, "error", f"{site.data_dir} does not exist", "Make a relay with `relay init DIR`.")
        return
    for path, mode in ((site.data_dir, 0o700), (site.key_file, 0o600), (site.data_dir / "catalog.db", 0o600)):
        try:
            found = stat.S_IMODE(path.stat().st_mode)
        except OSError as error:
            yield Check(name, "error", f"{path}: {error.strerror}", "Restore it from your backup.")
            continue
        if found & ~mode & 0o077:
            yield Check(name, "error", f"{path} can be read by others", f"chmod {mode:o} {path}")
        if path.stat().st_uid not in (os.geteuid(), 0):
            yield Check(name, "warning", f"{path} belongs to another user", "Run as the user of the relay.")
    free = shutil.disk_usage(site.data_dir).free
    least = site.config.limits.disk_free_min
    if free < least:
        yield Check(name, "error", f"{size(free)} free: new mail gets 452", f"Free at least {size(least - free)}.")
    elif free < 2 * least:
        yield Check(name, "warning", f"{size(free)} free, mail is refused below {size(least)}", "Make room soon.")
    else:
        yield Check(name, "ok", f"{site.data_dir}, {size(free)} free")


def running_processes(site: Site) -> Iterator[Check]:
    """Every process answers on its socket."""
    name = "processes"
    if not processes.is_running(site):
        step = f"systemctl start relay, or relay serve -c {site.loaded.file}; the end of its log says why it ended."
        yield Check(name, "warning", "the relay is not running", step)
        return
    workers = site.config.worker_count(processes.cores(site))
    wanted = [
        *(str(role) for role in Role if role is not Role.WORKER),
        *(child_name(Role.WORKER, n) for n in range(1, workers + 1)),
    ]
    silent = [one for one in wanted if processes.ping(site, one) is None]
    for one in silent:
        yield Check(name, "error", f"{one} gives no answer", "The log of the relay says why.")
    if not silent:
        count = "1 worker" if workers == 1 else f"{workers} workers"
        yield Check(name, "ok", f"{len(wanted)} answer: permits, office, events, {count}")


def ports(site: Site) -> Iterator[Check]:
    """Every listener takes connections, while the relay runs."""
    name = "ports"
    if not processes.is_running(site):
        yield Check(name, "skipped", "the relay is not running")
        return
    served = [one for one in site.config.listeners if one.kind in SERVED_KINDS]
    closed = []
    for one in served:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(one.address, one.address)  # noqa: S104 (not bound)
        try:
            socket.create_connection((host, one.port), CONNECT_SECONDS).close()
        except OSError as error:
            closed.append(one.port)
            detail = f"{one.kind} on {endpoint(host, one.port)}: {error.strerror or error}"
            yield Check(name, "error", detail, "Restart the relay; its log says why the port is closed.")
    if not closed:
        yield Check(name, "ok", ", ".join(f"{one.kind} {one.port}" for one in served))


def resolver(site: Site) -> Iterator[Check]:
    """The name servers answer: for the root, or for some names alone, as a server for development does."""
    servers = ", ".join(str(one) for one in site.config.dns.nameservers) or "those of /etc/resolv.conf"
    started = time.monotonic()
    try:
        lookup.resolver(site.config).resolve(".", "NS", raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        yield Check("resolver", "ok", f"{servers}, for some domains only")
        return
    except dns.resolver.NoNameservers as error:
        yield _without_root(site, servers, error)
        return
    except dns.exception.DNSException as error:
        yield _no_resolver(servers, error)
        return
    milliseconds = (time.monotonic() - started) * 1000
    yield Check("resolver", "ok", f"{servers}, {milliseconds:.0f} ms")


def _no_resolver(servers: str, error: dns.exception.DNSException) -> Check:
    silent = isinstance(error, dns.exception.Timeout)
    reason = "no answer" if silent else " ".join(str(error).split())[:200]
    step = "No mail can be delivered; check dns.nameservers, and that the name servers can be reached on port 53."
    return Check("resolver", "error", f"{servers}: {reason}", step)


def _without_root(site: Site, servers: str, error: dns.resolver.NoNameservers) -> Check:
    """Judge servers that do not answer for the root: REFUSED is what those say that serve their own zones alone.

    A resolver that does not serve this machine says the same of every name, so the relay's own name decides.
    """
    if not _refused(error):
        return _no_resolver(servers, error)
    try:
        lookup.resolver(site.config).resolve(site.config.hostname, "A", search=False, raise_on_no_answer=False)
    except dns.resolver.NoNameservers as own:
        if _refused(own):
            step = "No other mail can be delivered; if this is no server for tests, let it answer this machine."
            detail = f"{servers} refuse to answer for the root and for {site.config.hostname}"
            return Check("resolver", "warning", f"{detail}: for some domains only, if for any", step)
        return _no_resolver(servers, own)
    except dns.resolver.NXDOMAIN:
        pass
    except dns.exception.DNSException as own:
        return _no_resolver(servers, own)
    return Check("resolver", "ok", f"{servers}, for some domains only")


def _refused(error: dns.resolver.NoNameservers) -> bool:
    """Say whether a server answered that it serves us not, or not this name; others may have been silent."""
    answers = (answer for *_, answer in error.kwargs["errors"])
    return any(answer is not None and answer.rcode() == dns.rcode.REFUSED for answer in answers)


def clock(_site: Site) -> Iterator[Check]:
    """The clock was set, and does not jump."""
    before, wall = time.monotonic(), time.time()
    if wall * 1000 < CLOCK_PAST_MS:
        detail = f"it is {iso(int(wall * 1000))} here"
        yield Check("clock", "error", detail, "Set the clock; signatures and TLS need it.")
        return
    step = (time.time() - wall) - (time.monotonic() - before)
    if abs(step) > CLOCK_STEP_SECONDS:
        yield Check("clock", "warning", f"it jumped by {step:.0f} s just now", "Check time synchronisation.")
    else:
        yield Check("clock", "ok", str(iso(int(wall * 1000))))


def host_name(site: Site) -> Iterator[Check]:
    """The relay's name resolves."""
    name = site.config.hostname
    asking = lookup.resolver(site.config)
    addresses: list[str] = []
    silent = False
    for kind in ("A", "AAAA"):
        try:
            addresses += [record.to_text() for record in asking.resolve(name, kind, search=False)]
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            continue
        except dns.exception.DNSException:
            silent = True
    if silent and not addresses:
        yield Check("host name", "skipped", f"DNS gives no answer about {name}")
        return
    if not addresses:
        step = "Give it an A record; many servers refuse mail from a name without one."
        yield Check("host name", "warning", f"{name} has no address in DNS", step)
        return
    private = [address for address in addresses if ipaddress.ip_address(address).is_private]
    for address in private:
        yield Check("host name", "warning", f"{name} is {address}, a private address", "Fine for tests only.")
    if not private:
        yield Check("host name", "ok", f"{name} is {', '.join(addresses)}")


def source_addresses(site: Site) -> Iterator[Check]:
    """The addresses that mail is to leave from are this host's, and nobody took them out of use."""
    with site.catalog() as catalog:
        known = catalog.addresses.list()
    for one in known:
        if one.absent_ms:
            step = f"Give it to the host again, or forget it: `relay address remove {one.address}`."
            detail = f"{one.address} is no address of this host since {iso(one.absent_ms)}; nothing leaves from it"
            yield Check("source addresses", "error", detail, step)
        elif one.suspended:
            step = f"`relay address resume {one.address}` brings it back."
            yield Check("source addresses", "warning", f"{one.address} is suspended: {one.suspended}", step)
    usable = sum(not one.absent_ms and not one.suspended for one in known)
    if usable:
        yield Check("source addresses", "ok", f"{usable} of {len(known)} can be used")


def as_receivers_see_it(site: Site) -> Iterator[Check]:
    """Source addresses: reverse names, EHLO names, SPF, block lists; MTA-STS, DKIM, certificate, clock."""
    found = asyncio.run(_look(site))
    for one in found.checks:
        result: Result = _RESULTS[one.grade]
        yield Check(one.kind, result, f"{one.subject} {one.detail}", one.next_step)
    if found.private:
        named = ", ".join(found.private[:NAMED_MAX]) + (" and more" if len(found.private) > NAMED_MAX else "")
        detail = f"{named}: private, so reverse name, EHLO name, SPF and block lists were not checked"
        step = (
            "Fine for tests; behind NAT receivers see another one. `own_checks.private_addresses` looks all the same."
        )
        yield Check("source addresses", "skipped", detail, step)
    about = {one.name: one.about for one in site.config.own_checks.block_lists}
    for (address, name), verdict in sorted(found.listings.items()):
        detail = f"{address} on {name}: "
        if verdict.listed:
            yield Check("block lists", "error", f"{detail}{found.details[address, name] or 'listed'}", about[name])
        elif verdict.unknown:
            yield Check("block lists", "skipped", detail + verdict.unknown)
    listed = any(one.listed for one in found.listings.values())
    if found.listings and not listed:
        yield Check("block lists", "ok", f"{len({address for address, _ in found.listings})} addresses on none")


async def _look(site: Site) -> LookedAt:
    resolver = lookup.asking(site.config)
    fetch = own_look.policy_fetcher(site.config, resolver)
    return await own_look.look(
        site.config, own_look.anew(own_look.configured_addresses(site.config)), resolver.records, fetch
    )


_RESULTS: dict[Grade, Result] = {
    Grade.OK: "ok",
    Grade.WARNING: "warning",
    Grade.ERROR: "error",
    Grade.UNKNOWN: "skipped",
}


def signing_keys(site: Site) -> Iterator[Check]:
    """The DKIM records of the identities are in DNS."""
    looked_at = 0
    with site.catalog() as catalog:
        for account in catalog.accounts.list():
            for identity in all_identities(catalog, account.account_id):
                if looked_at >= IDENTITIES_LOOKED_AT_MAX:
                    yield Check("signing keys", "skipped", f"only the first {looked_at} identities were looked at")
                    return
                looked_at += 1
                for key in catalog.dkim.expected_dkim_records(account.account_id, identity.name):
                    state = lookup.key_state(site.config, key.name, key.public_txt)
                    if state == "published":
                        yield Check("signing keys", "ok", key.name)
                    elif state == "unknown":
                        yield Check("signing keys", "skipped", f"DNS gives no answer about {key.name}")
                    else:
                        step = f"relay identity show {identity.name} prints what to publish."
                        yield Check("signing keys", "warning", f"{key.name} is {state} in DNS", step)
    if not looked_at:
        yield Check(
            "signing keys", "warning", "there is no identity: nobody may send", "relay identity create DOMAIN"
        )


def topic_keys(site: Site) -> Iterator[Check]:
    """Notifications of topics can be signed."""
    try:
        name = TopicKeys(site.data_dir, site.config.hostname).check(site.config)
    except StorageError as error:
        fault, _, step = str(error).partition("; ")
        yield Check("topic keys", "error", f"{fault}: what must be signed waits", step[:1].upper() + step[1:])
        return
    yield Check("topic keys", "ok", name or "made at the first start")


def spool(site: Site) -> Iterator[Check]:
    """Each shard can be read; what waits, and what was put aside."""
    numbers = shard_numbers(site)
    if not numbers:
        yield Check("spool", "ok", "empty, never used")
    for number in numbers:
        shard = Shard(site, number)
        try:
            counts = shard.reader.counts()
            late = shard.reader.held_for(LATE_REPLY)
        finally:
            shard.reader.close()
        kept = list(shard.paths.quarantine.iterdir()) if shard.paths.quarantine.is_dir() else []
        waiting = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "empty"
        quarantined = counts.get(DeliveryState.QUARANTINED, 0)
        if quarantined or kept:
            detail = f"shard {number}: {waiting}; {len(kept)} files in quarantine"
            yield Check("spool", "error", detail, "relay queue list --state quarantined")
        else:
            yield Check("spool", "ok", f"shard {number}: {waiting}")
        if late:
            detail = f"shard {number}: {late} held at a start, because they should have been given up a day before"
            step = "Is the clock right, is this an old copy? `relay queue list --state held`, then release or delete."
            yield Check("spool", "warning", detail, step)
    yield from _standing_holds(site)


def _standing_holds(site: Site) -> Iterator[Check]:
    """A standing hold that nobody ends keeps mail back for ever."""
    now_ms = SteadyClock().now_ms()
    old = [hold for hold in read_holds(site.data_dir, now_ms) if hold.created_ms < now_ms - HOLD_OLD_MS]
    for hold in old:
        detail = f"standing hold {hold.number} ({describe(hold)}) has held mail since {iso(hold.created_ms)}"
        yield Check("queue", "warning", detail, f"Is it still wanted? `relay queue holds remove {hold.number}`.")


def outbound_port(site: Site) -> Iterator[Check]:
    """Port 25 of mail servers on the internet can be reached."""
    for domain in INTERNET_HOSTS:
        try:
            best = min(lookup.resolver(site.config).resolve(domain, "MX"), key=lambda record: record.preference)
            host = best.exchange.to_text(omit_final_dot=True)
            socket.create_connection((host, site.config.delivery.port), CONNECT_SECONDS).close()
        except (dns.exception.DNSException, OSError):
            continue
        yield Check("outbound port", "ok", f"{host}:{site.config.delivery.port} answers")
        return
    step = "Many networks block port 25; ask yours, or send through a smart host (`routes`)."
    yield Check("outbound port", "error", f"no mail server answers on port {site.config.delivery.port}", step)


def scanners(site: Site) -> Iterator[Check]:
    """Every scanner answers to a small clean message."""
    for one in settings.scanners(site.config):
        found = asyncio.run(one.scanner.scan(_CLEAN_MESSAGE))
        if found.verdict is ScanVerdict.CLEAN:
            yield Check("scanners", "ok", f"{one.scanner.name} answers")
        elif one.defers:
            yield Check("scanners", "error", f"{one.scanner.name}: {found.detail}", "Start it: mail waits for it.")
        else:
            yield Check(
                "scanners", "warning", f"{one.scanner.name}: {found.detail}", "Start it: mail passes unscanned."
            )


_CLEAN_MESSAGE = Content(b"Subject: A look by relay doctor\r\n\r\n", b"Nothing to find here.\r\n")

LOOKS: tuple[Look, ...] = (
    data_directory,
    running_processes,
    ports,
    resolver,
    clock,
    host_name,
    source_addresses,
    as_receivers_see_it,
    signing_keys,
    topic_keys,
    spool,
    scanners,
)
