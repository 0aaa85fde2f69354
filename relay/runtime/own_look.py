"""One look at the relay as receivers see it. The office and `relay doctor` look alike.

What to ask and what answers mean is decided in `relay.reputation` and `relay.policy`; here it is asked, all at once
and within one deadline, and the certificate and the clock of this machine are read.
"""

import asyncio
import ctypes
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import dns.exception
from cryptography import x509

from relay.errors import RelayError
from relay.model.check import Aspect, CheckState
from relay.model.pool import ReverseDns
from relay.model.tls import StsPolicy
from relay.net.mta_sts import NoPolicy, fetch_policy
from relay.policy.mta_sts import record_name
from relay.policy.records import Answer
from relay.policy.spf_evaluation import SpfResult, SpfVerdict, evaluate
from relay.policy.tls_report import record_name as tls_report_record
from relay.ports import Resolver
from relay.reputation import own
from relay.reputation.blocklist import EVERYBODY, Action, BlockList, Verdict, judge, nobody, question
from relay.reputation.own import OwnCheck
from relay.runtime import address_look, settings
from relay.runtime.config.model import Config
from relay.runtime.identity_look import Ask
from relay.runtime.office_tls import web_of
from relay.store.catalog import open_existing_catalog
from relay.store.own_checks import FILE_NAME, OwnChecks

LOOK_SECONDS = 120.0
ADDRESSES_MAX = 1000
TOGETHER_MAX = 50
NAMES_MAX = 5
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_UNANSWERED = Answer(failure="no answer in time")

FetchPolicy = Callable[[str], Awaitable[StsPolicy | NoPolicy]]
"""Fetches the MTA-STS policy of a domain."""


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address that mail leaves from, its name in EHLO, and its reverse DNS where that is known already."""

    address: str
    helo_name: str
    reverse: ReverseDns | None = None


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What one round found: checks, and verdicts of lists with what the lists say, by address and list.

    `signing` counts identities by the state of their DKIM records; empty while the catalog cannot be read. `private`
    are the addresses that were not looked at, because the Internet does not route them.
    """

    checks: Sequence[OwnCheck]
    listings: Mapping[tuple[str, str], Verdict]
    details: Mapping[tuple[str, str], str]
    signing: Mapping[CheckState, int] = field(default_factory=dict)
    private: Sequence[str] = ()


def policy_fetcher(config: Config, resolver: Resolver) -> FetchPolicy:
    """Return what fetches policies as the relay fetches those of others: with the same guards and limits."""
    web = web_of(config, resolver)
    return lambda domain: fetch_policy(web, domain)


def signing_states(config: Config) -> tuple[dict[CheckState, int], list[str]] | None:
    """Return identities by state of their DKIM records, and some that need a hand; None without a catalog."""
    try:
        with open_existing_catalog(config.data_dir, settings.master_key(config.data_dir)) as catalog:
            return catalog.checks.states(Aspect.DKIM), catalog.checks.failing(Aspect.DKIM, NAMES_MAX)
    except RelayError:
        return None


def configured_addresses(config: Config) -> list[OwnAddress]:
    """Return all source addresses of the relay; those of the configuration while the catalog cannot be read.

    The reverse DNS of those in the catalog is what the office found last, on a schedule of its own.
    """
    try:
        with open_existing_catalog(config.data_dir, settings.master_key(config.data_dir)) as catalog:
            known = catalog.addresses.list()
    except RelayError:
        known = []
    found = {
        one.address: OwnAddress(one.address, one.ehlo_name or config.hostname)
        for one in config.delivery.source_addresses
    }
    for one in known:
        reverse = one.reverse if one.reverse.checked_ms else None
        found[one.address] = OwnAddress(one.address, one.helo_name or config.hostname, reverse)
    return list(found.values())


def anew(addresses: Sequence[OwnAddress]) -> list[OwnAddress]:
    """Return addresses of which nothing is known, so that everything is asked now."""
    return [replace(one, reverse=None) for one in addresses]


def block_lists(config: Config) -> list[BlockList]:
    """Return the configured lists as values."""
    return [BlockList(one.name, one.zone, Action(one.action), one.about) for one in config.own_checks.block_lists]


def listed_addresses(config: Config) -> frozenset[str] | None:
    """Return the source addresses on a list that is told about; None when nobody looked, or that cannot be read."""
    if not (config.data_dir / "office" / FILE_NAME).exists():
        return None
    telling = {one.name for one in block_lists(config) if one.action is not Action.SHOW}
    try:
        file = OwnChecks(config.data_dir / "office")
        try:
            return frozenset(one.address for one in file.lasting() if one.list_name in telling)
        finally:
            file.close()
    except RelayError:
        return None


async def look(config: Config, addresses: Sequence[OwnAddress], ask: Ask, fetch: FetchPolicy) -> LookedAt:
    """Look at everything once. Raises nothing: what does not answer is UNKNOWN."""
    asker = _Asker(ask)
    if not addresses:
        addresses = [OwnAddress(one, config.hostname) for one in await asker.addresses(config.hostname)]
    public = [one for one in addresses if config.own_checks.private_addresses or routed(one.address)]
    checks: list[OwnCheck] = [certificate(config), clock()]
    signing = await asyncio.to_thread(signing_states, config)
    if signing is not None:
        checks.append(own.signing(*signing))
    async with asyncio.TaskGroup() as group:
        about = [group.create_task(_address(asker, config, one)) for one in public[:ADDRESSES_MAX]]
        lists = [
            group.create_task(_listing(asker, one.address, block_list))
            for one in public[:ADDRESSES_MAX]
            for block_list in block_lists(config)
        ]
        domains = dict.fromkeys((config.bounce_domain, config.hostname))
        policies = [group.create_task(_mta_sts(asker, one, fetch)) for one in domains]
        policies += [group.create_task(_tls_reports(asker, one)) for one in domains]
    checks += [task.result() for task in policies]
    for task in about:
        checks += task.result()
    listings: dict[tuple[str, str], Verdict] = {}
    details: dict[tuple[str, str], str] = {}
    for found in lists:
        key, verdict, detail = found.result()
        listings[key], details[key] = verdict, detail
    private = [one.address for one in addresses if one not in public]
    return LookedAt(checks, listings, details, signing[0] if signing else {}, private)


async def look_lists(config: Config, addresses: Sequence[OwnAddress], ask: Ask) -> LookedAt:
    """Ask the block lists alone, about addresses that somebody named: also those that the Internet does not route."""
    asker = _Asker(ask)
    tasks = [_listing(asker, one.address, each) for one in addresses for each in block_lists(config)]
    found = await asyncio.gather(*tasks)
    return LookedAt((), {key: verdict for key, verdict, _ in found}, {key: detail for key, _, detail in found})


def routed(address: str) -> bool:
    """Say whether the Internet routes an address."""
    return ipaddress.ip_address(address).is_global


class _Asker:
    """Asks, a bounded number at a time, until a deadline; each question once."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._room = asyncio.Semaphore(TOGETHER_MAX)
        self._end = asyncio.get_running_loop().time() + LOOK_SECONDS
        self._answers: dict[tuple[str, str], asyncio.Task[Answer]] = {}

    async def answer(self, name: str, kind: str) -> Answer:
        """Return an answer, or that there was none in time."""
        task = self._answers.get((name, kind))
        if task is None:
            task = self._answers[name, kind] = asyncio.create_task(self._one(name, kind))
        return await task

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of a host."""
        found = await asyncio.gather(self.answer(host, "A"), self.answer(host, "AAAA"))
        return [value for one in found for value in one.values]

    async def _one(self, name: str, kind: str) -> Answer:
        try:
            async with asyncio.timeout_at(self._end), self._room:
                return await self._ask(name, kind)
        except TimeoutError:
            return _UNANSWERED


async def _address(asker: _Asker, config: Config, one: OwnAddress) -> list[OwnCheck]:
    reverse, helo, verdict = await asyncio.gather(
        _reverse(asker, one),
        _forward(asker, one.helo_name),
        _spf(asker, config.bounce_domain, one.address),
    )
    return [
        own.reverse(one.address, one.helo_name, reverse),
        own.helo_name(one.helo_name, one.address, helo),
        own.spf(config.bounce_domain, one.address, verdict),
    ]


async def _reverse(asker: _Asker, one: OwnAddress) -> ReverseDns:
    return one.reverse or await address_look.look(asker.answer, one.address, one.helo_name, now_ms=0)


async def _mta_sts(asker: _Asker, domain: str, fetch: FetchPolicy) -> OwnCheck:
    """Look at the MTA-STS policy of a domain; nothing is fetched for one without a record."""
    judged = own.mta_sts_record(domain, await asker.answer(record_name(domain), "TXT"))
    if judged is not None:
        return judged
    policy, exchangers = await asyncio.gather(fetch(domain), asker.answer(domain, "MX"))
    return own.mta_sts(domain, policy.text if isinstance(policy, NoPolicy) else policy, exchangers)


async def _tls_reports(asker: _Asker, domain: str) -> OwnCheck:
    return own.tls_reports(domain, await asker.answer(tls_report_record(domain), "TXT"))


async def _forward(asker: _Asker, host: str) -> tuple[Answer, Answer]:
    four, six = await asyncio.gather(asker.answer(host, "A"), asker.answer(host, "AAAA"))
    return four, six


async def _spf(asker: _Asker, domain: str, address: str) -> SpfVerdict:
    return await evaluated(asker.answer, domain, address)


async def evaluated(ask: Ask, domain: str, address: str) -> SpfVerdict:
    """Return what SPF says of an address, with the questions asked one after the other."""
    evaluation = evaluate(domain, address)
    try:
        wanted = next(evaluation)
        while True:
            wanted = evaluation.send(await ask(wanted.name, wanted.kind))
    except StopIteration as end:
        verdict: SpfVerdict = end.value
        return verdict
    except dns.exception.DNSException as error:
        return SpfVerdict(SpfResult.TEMPERROR, str(error))


async def _listing(asker: _Asker, address: str, block_list: BlockList) -> tuple[tuple[str, str], Verdict, str]:
    name = question(address, block_list.zone)
    verdict = judge(await asker.answer(name, "A"))
    detail = ""
    if verdict.listed and judge(await asker.answer(question(nobody(address), block_list.zone), "A")).listed:
        verdict = Verdict(unknown=EVERYBODY)  # a list that was given up must not take all addresses out
    if verdict.listed:
        words = await asker.answer(name, "TXT")
        detail = " ".join([*verdict.codes, *words.values])[:500]
    return (address, block_list.name), verdict, detail


def certificate(config: Config) -> OwnCheck:
    """Look at the certificate of the listeners."""
    path: Path = config.tls.certificate
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return OwnCheck("certificate", config.hostname, own.Grade.UNKNOWN, f"{path} cannot be read: {error}")
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        covered = [str(name) for name in names.get_values_for_type(x509.DNSName)]
    except x509.ExtensionNotFound:
        covered = []
    return own.certificate(config.hostname, covered, found.not_valid_after_utc.timestamp(), time.time())


class _Timex(ctypes.Structure):
    """The beginning of struct timex (adjtimex(2)); the kernel writes no more than the whole."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def clock() -> OwnCheck:
    """Ask the kernel whether something keeps its clock right."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        state = -1
    synchronised = None if state < 0 else state != _TIME_ERROR
    return own.clock(synchronised=synchronised)
