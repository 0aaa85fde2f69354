"""DNS by dnspython: mail exchangers, addresses, texts; cached, bounded, and hard to hold up (relay.ports.Resolver).

A question first runs in the quick lane, where it has half a second; what is not answered by then moves to the slow
lane for the rest of its time. Thousands of dead domains therefore fill the slow lane and leave the quick one to
others; whoever waits for a lane does so by `relay.net.resolver_lanes`. A name that nobody answered for lately has no
first turn.

SERVFAIL, refusals, lame and odd answers, broken chains and silence are errors, never "no such name" or "no records".
"""

import asyncio
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from relay.model.tls import NO_TLSA, Tlsa, TlsaFound
from relay.net.nameservers import NameServers
from relay.net.resolver_cache import AnswerCache
from relay.net.resolver_lanes import Turns
from relay.net.resolver_wire import RECORDS_MAX
from relay.policy.records import Answer
from relay.ports import Clock, MailHost, MailHosts, Metrics, ResolverError

ADDRESSES_MAX = 20
MX_HOSTS_MAX = 50
TEXTS_MAX = 100
TLSA_MAX = 50
_QUICK_SECONDS = 0.5
_LAST_SECONDS = 0.01
_SILENT_SECONDS = 3600.0
_TEXT_BYTES = 200  # about what a record with a name takes
_UDP_PAYLOAD_BYTES = 1232

_HOST = re.compile(r"(?=.{1,253}\Z)(?!.*\.\d+\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})+\Z")


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """`nameservers` are "address" or "address:port" ("[v6]:port"); empty: those of /etc/resolv.conf.

    `trust_ad` says whether their word that an answer was validated counts (RFC 7672 section 2.1.1); None: when all
    of them are on this machine, so that nobody between them and us could have changed it.
    """

    nameservers: tuple[str, ...] = ()
    timeout_seconds: float = 5.0
    cache_entries_max: int = 10_000
    ttl_min_seconds: float = 1.0
    ttl_max_seconds: float = 86_400.0
    negative_ttl_max_seconds: float = 300.0
    quick_queries_max: int = 64  # more at a time, and their own work keeps them from being answered in half a second
    slow_queries_max: int = 256
    ipv6: bool = True
    resolv_conf: str = "/etc/resolv.conf"
    trust_ad: bool | None = None


@dataclass(frozen=True, slots=True)
class _Records:
    """An answer in our words: `nxdomain`, or the texts of the records, empty for NODATA; how long it may be kept."""

    rdatas: tuple[object, ...]
    ttl_seconds: float
    nxdomain: bool = False
    secure: bool = False  # validated by name servers that we trust
    canonical: str = ""  # where aliases led


class DnsResolver:
    """Implements relay.ports.Resolver on the running event loop."""

    def __init__(self, settings: ResolverSettings, clock: Clock, metrics: Metrics | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._cache = AnswerCache(settings.cache_entries_max)
        self._asking: dict[str, asyncio.Task[Sequence[str]]] = {}
        self._silent = AnswerCache(settings.cache_entries_max)  # names that nobody answered for
        self._quick = Turns(settings.quick_queries_max)
        self._slow = Turns(settings.slow_queries_max)
        self._servers = NameServers(settings.nameservers, settings.resolv_conf, clock)
        self._dns = _stub(settings)
        self._dns.flags = dns.flags.RD | dns.flags.AD  # RFC 6840 section 5.7: tell us whether you validated

    @property
    def trusts_ad(self) -> bool:
        """Whether the name servers' word that they validated an answer counts."""
        trusted = self._settings.trust_ad
        return all(map(_is_local, self._servers.addresses)) if trusted is None else trusted

    # --- Resolver ---

    def known_mail_hosts(self, domain: str) -> MailHosts | None:
        """Return what the cache holds, at once."""
        found = self._known(("mx", domain))
        return found if isinstance(found, MailHosts) else None

    def known_addresses(self, host: str) -> Sequence[str] | None:
        """Return what the cache holds, at once."""
        found = self._known(("a", host))
        return found if isinstance(found, tuple) else None

    async def mail_hosts(self, domain: str, *, refresh: bool = False) -> MailHosts:
        """Return the hosts that take mail for a domain."""
        if not refresh and (known := self.known_mail_hosts(domain)) is not None:
            return known
        answer = await self._query(domain, "MX")
        ttl_seconds = answer.ttl_seconds
        if answer.nxdomain:
            hosts = MailHosts(nxdomain=True)
        elif answer.rdatas:
            hosts = judge_mx(_mx_pairs(answer.rdatas), secure=answer.secure)
        else:  # RFC 5321 section 5.1: no MX record, so the domain is its own mail exchanger if it has an address
            try:
                addresses = await self.addresses(domain)
            except ResolverError as error:
                addresses = error.found
                if not addresses:
                    raise
            own = MailHosts(hosts=(MailHost(0, domain),), implicit=True, secure=answer.secure)
            hosts = own if addresses else MailHosts()
        self._keep(("mx", domain), hosts, ttl_seconds, negative=not hosts.hosts or hosts.implicit)
        return hosts

    async def addresses(self, host: str) -> Sequence[str]:
        """Return the addresses of a host, IPv4 first."""
        known = self.known_addresses(host)
        if known is not None:
            return known
        task = self._asking.get(host)
        if task is None:  # however many ask at once, the question goes out once
            task = asyncio.get_running_loop().create_task(self._ask_addresses(host))
            self._asking[host] = task
            task.add_done_callback(partial(self._asked, host))
        return await asyncio.shield(task)

    def _asked(self, host: str, task: asyncio.Task[Sequence[str]]) -> None:
        del self._asking[host]
        if not task.cancelled():
            task.exception()  # whoever waits for it has it; nobody may wait any more

    async def _ask_addresses(self, host: str) -> Sequence[str]:
        kinds = ("A", "AAAA") if self._settings.ipv6 else ("A",)
        answers = await asyncio.gather(*(self._query(host, kind) for kind in kinds), return_exceptions=True)
        found: list[str] = []
        ttls: list[float] = []
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        for answer in answers:
            if not isinstance(answer, BaseException):
                found += [str(rdata) for rdata in answer.rdatas[:ADDRESSES_MAX]]
                ttls.append(answer.ttl_seconds)
        if errors:  # half an answer must not become the whole of it
            raise ResolverError(str(errors[0]), found)
        addresses = tuple(found)
        self._keep(("a", host), addresses, min(ttls), negative=not addresses)
        return addresses

    async def text(self, name: str) -> Sequence[bytes]:
        """Return the TXT records of a name, the strings of each joined."""
        found = self._known(("txt", name))
        if isinstance(found, tuple):
            return found
        answer = await self._query(name, "TXT")
        texts = tuple(b"".join(getattr(rdata, "strings", ())) for rdata in answer.rdatas[:TEXTS_MAX])
        self._keep(("txt", name), texts, answer.ttl_seconds, negative=not texts)
        return texts

    def known_tlsa(self, host: str, port: int) -> TlsaFound | None:
        """Return what the cache holds, at once."""
        found = self._known(("tlsa", f"{port} {host}"))
        return found if isinstance(found, TlsaFound) else None

    async def tlsa(self, host: str, port: int) -> TlsaFound:
        """Return the TLSA records that bind connections to a host (RFC 7672 section 2.2).

        The host's own addresses must be secure, at the end of its aliases or at least at their beginning; the first
        of those names that has records is the TLSA base domain. An answer that fails is a `failure` (section 2.1.2).
        """
        known = self.known_tlsa(host, port)
        if known is not None:
            return known
        try:
            found, ttl_seconds = await self._find_tlsa(host, port)
        except ResolverError as error:
            return TlsaFound(failure=str(error))
        self._keep(("tlsa", f"{port} {host}"), found, ttl_seconds, negative=not found.records)
        return found

    async def _find_tlsa(self, host: str, port: int) -> tuple[TlsaFound, float]:
        bases, ttl_seconds = await self._secure_names(host)
        for base in bases:
            answer = await self._query(f"_{port}._tcp.{base}", "TLSA")
            ttl_seconds = min(ttl_seconds, answer.ttl_seconds)
            if answer.secure and answer.rdatas:
                records = tuple(one for one in map(_tlsa, answer.rdatas[:TLSA_MAX]) if one is not None)
                return TlsaFound(records, base), ttl_seconds
        return NO_TLSA, ttl_seconds

    async def _secure_names(self, host: str) -> tuple[list[str], float]:
        """Return the candidates for the TLSA base domain (RFC 7672 section 2.2.2), and how long they may be kept."""
        answer = await self._query(host, "A")
        if not answer.rdatas and not answer.nxdomain:
            answer = await self._query(host, "AAAA")
        if answer.secure:
            return list(dict.fromkeys((answer.canonical or host, host))), answer.ttl_seconds
        if answer.canonical in ("", host):
            return [], answer.ttl_seconds
        alias = await self._query(host, "CNAME")
        return ([host] if alias.secure and alias.rdatas else []), min(answer.ttl_seconds, alias.ttl_seconds)

    async def records(self, name: str, kind: str) -> Answer:
        """Ask for TXT, MX or CNAME records past the cache; a question without an answer is a value, too."""
        try:
            answer = await self._query(name, kind)
        except ResolverError as error:
            return Answer(failure=str(error))
        values = tuple(_as_text(rdata) for rdata in answer.rdatas[:TEXTS_MAX])
        return Answer(values, exists=not answer.nxdomain)

    # --- cache ---

    def _known(self, question: tuple[str, str]) -> object | None:
        found = self._cache.get(question, self._clock.monotonic())
        if found is not None:
            self._count("relay_dns_cache_hits_total")
        return found

    def _keep(self, question: tuple[str, str], answer: object, ttl_seconds: float, *, negative: bool) -> None:
        settings = self._settings
        longest = settings.negative_ttl_max_seconds if negative else settings.ttl_max_seconds
        kept = max(settings.ttl_min_seconds, min(ttl_seconds, longest))
        self._cache.put(question, answer, self._clock.monotonic() + kept, _weight(answer))

    def _count(self, name: str, *labels: str) -> None:
        if self._metrics is not None:
            self._metrics.count(name, *labels)

    # --- questions ---

    async def _query(self, name: str, kind: str) -> _Records:
        try:
            question = dns.name.from_text(name if name.endswith(".") else f"{name}.")
        except (dns.exception.DNSException, ValueError):  # no such name can exist in the DNS
            return _Records((), self._settings.negative_ttl_max_seconds, nxdomain=True)
        try:
            records = await self._in_lanes(question, kind)
        except ResolverError:
            self._count("relay_dns_queries_total", "failure")
            raise
        self._count("relay_dns_queries_total", "answer" if records.rdatas else "none")
        return records

    async def _in_lanes(self, question: dns.name.Name, kind: str) -> _Records:
        timeout_seconds = self._settings.timeout_seconds
        quick_seconds = min(_QUICK_SECONDS, timeout_seconds)
        lane, seconds = self._quick, quick_seconds
        left_seconds = timeout_seconds
        name = question.to_text(omit_final_dot=True).lower()
        first = self._silent.get(name, self._clock.monotonic()) is None
        while True:
            async with lane.turn(name, first=first):
                try:
                    return await self._ask(question, kind, seconds)
                except dns.exception.Timeout:
                    left_seconds -= seconds
            first = False
            if left_seconds <= _LAST_SECONDS:
                self._silent.put(name, name, self._clock.monotonic() + _SILENT_SECONDS)
                raise ResolverError(f"no answer for {kind} in {timeout_seconds:g} s")
            if self._slow.full:  # full of the dead: another quick turn, behind those who have had none
                lane, seconds = self._quick, min(quick_seconds, left_seconds)
            else:
                lane, seconds = self._slow, left_seconds

    async def _ask(self, question: dns.name.Name, kind: str, lifetime_seconds: float) -> _Records:
        """Ask once. Raise dns.exception.Timeout when there was no answer, ResolverError when there was a bad one."""
        rdtype = dns.rdatatype.from_text(kind)
        self._dns.nameservers = self._servers.in_order()
        try:
            answer = await self._dns.resolve(
                question, rdtype, raise_on_no_answer=False, search=False, lifetime=lifetime_seconds
            )
        except dns.resolver.NXDOMAIN as error:
            return _Records((), _negative_ttl(error, question), nxdomain=True)
        except dns.exception.Timeout:
            raise
        except (dns.exception.DNSException, OSError, ValueError, EOFError) as error:
            raise ResolverError(f"name servers gave no usable answer for {kind}: {type(error).__name__}") from None
        ttl_seconds = max(0.0, float(answer.chaining_result.minimum_ttl))
        secure = self.trusts_ad and bool(answer.response.flags & dns.flags.AD)
        canonical = answer.canonical_name.to_text(omit_final_dot=True).lower()
        rdatas = () if answer.rrset is None else tuple(answer.rrset)[:RECORDS_MAX]
        return _Records(rdatas, ttl_seconds, secure=secure, canonical=canonical)


def _weight(answer: object) -> int:
    """Return how many records an answer holds, long texts counting as several."""
    if isinstance(answer, MailHosts):
        return max(1, len(answer.hosts))
    if isinstance(answer, tuple):
        return max(1, sum(1 + len(one) // _TEXT_BYTES for one in answer))
    return 1


def _as_text(rdata: object) -> str:
    """Return TXT strings joined, MX as "10 host", CNAME as a name; names without their final dot."""
    if (strings := getattr(rdata, "strings", None)) is not None:
        return b"".join(strings).decode("utf-8", "replace")
    if isinstance(target := getattr(rdata, "target", None), dns.name.Name):
        return target.to_text(omit_final_dot=True)
    pairs = _mx_pairs([rdata])
    return f"{pairs[0][0]} {pairs[0][1] or '.'}" if pairs else str(rdata)


def _negative_ttl(error: dns.resolver.NXDOMAIN, question: dns.name.Name) -> float:
    try:
        response = error.response(question)  # type: ignore[no-untyped-call]  # dnspython leaves it untyped
        return float(response.resolve_chaining().minimum_ttl)
    except (dns.exception.DNSException, KeyError):
        return 0.0


def _mx_pairs(rdatas: Sequence[object]) -> list[tuple[int, str]]:
    pairs: list[tuple[int, str]] = []
    for rdata in rdatas:
        exchange = getattr(rdata, "exchange", None)
        preference = getattr(rdata, "preference", None)
        if isinstance(exchange, dns.name.Name) and isinstance(preference, int):
            pairs.append((preference, exchange.to_text(omit_final_dot=True).lower() if len(exchange) > 1 else ""))
    return pairs


def judge_mx(pairs: Sequence[tuple[int, str]], *, secure: bool = False) -> MailHosts:
    """Turn (preference, target) pairs into hosts; the target "" is the root.

    One record that names the root is a null MX (RFC 7505 section 3), one among others is ignored. Targets that are
    no host names (literals, single labels, octets outside of letters, digits, hyphen) are skipped.
    """
    if len(pairs) == 1 and not pairs[0][1]:
        return MailHosts(null_mx=True)
    best: dict[str, int] = {}
    for preference, target in pairs:
        if _HOST.match(target) and target.rpartition(".")[2] not in ("localhost", "invalid"):
            best[target] = min(preference, best.get(target, preference))
    hosts = sorted((MailHost(preference, host) for host, preference in best.items()), key=_rank)
    return MailHosts(hosts=tuple(hosts[:MX_HOSTS_MAX]), mx_unusable=not hosts, secure=secure)


def _rank(host: MailHost) -> tuple[int, str]:
    return host.preference, host.host


def _stub(settings: ResolverSettings) -> dns.asyncresolver.Resolver:
    stub = dns.asyncresolver.Resolver(configure=False)
    stub.timeout = max(0.2, min(2.0, settings.timeout_seconds / 2))
    stub.use_edns(0, 0, _UDP_PAYLOAD_BYTES)
    stub.cache = None
    return stub


def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _tlsa(rdata: object) -> Tlsa | None:
    numbers = [getattr(rdata, name, None) for name in ("usage", "selector", "mtype")]
    data = getattr(rdata, "cert", None)
    if not isinstance(data, bytes) or not all(isinstance(number, int) for number in numbers):
        return None
    usage, selector, matching = (int(number or 0) for number in numbers)
    return Tlsa(usage, selector, matching, data)
