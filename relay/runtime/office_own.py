"""The office looks at the relay as receivers do, again and again, and tells the operator what changed (DNSBL-001).

Results are kept in `office/own.db`, so that commands show them and a listing has a beginning and an end. A change for
the worse or the better is one line in the log and one mail to `contact`, all changes of a round together.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from relay.errors import RelayError
from relay.mail.notices import OwnNews, own_changes
from relay.net.resolver import DnsResolver
from relay.reputation.blocklist import Action, Change, Listing, changes
from relay.reputation.own import BAD, Grade, turned
from relay.runtime import settings
from relay.runtime.audit import record
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.office_jobs import Job, Rounds
from relay.runtime.own_look import LookedAt, block_lists, configured_addresses, look, policy_fetcher
from relay.store.catalog import open_existing_catalog
from relay.store.own_checks import OwnChecks

FIRST_SECONDS = 2.0  # a relay that has just started has other things to do
CALLER = "relay"
OWNER = "000000000001"
KINDS = ("reverse name", "EHLO name", "SPF", "MTA-STS", "TLS-RPT", "DKIM", "certificate", "clock")


class OwnService(Rounds):
    """The service that the office runs (`relay.runtime.office.Service`)."""

    def __init__(self, context: ChildContext) -> None:
        super().__init__(context)
        self._clock = SteadyClock()
        self._thread = ThreadPoolExecutor(1, "own-checks")

    async def _release(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)

    def _jobs(self, config: Config) -> Sequence[Job]:
        own = config.own_checks
        return (Job("own checks", own.every, lambda: self._round(config)),) if own.enabled else ()

    async def _round(self, config: Config) -> None:
        await asyncio.sleep(FIRST_SECONDS)
        resolver = DnsResolver(settings.resolver_settings(config), self._clock, self._context.metrics)
        fetch = policy_fetcher(config, resolver)
        found = await look(config, configured_addresses(config), resolver.records, fetch)
        news = await asyncio.get_running_loop().run_in_executor(self._thread, self._keep, config, found)
        for one in news:
            say = self._context.log.warning if one.bad else self._context.log.info
            say("a check of the relay itself changed", about=one.about, detail=one.detail)

    def _keep(self, config: Config, found: LookedAt) -> list[OwnNews]:
        """Keep results, set the gauges, write the mail. On the thread of the file."""
        now_ms = self._clock.now_ms()
        file = OwnChecks(config.data_dir / "office", self._context.log)
        try:
            kept = file.keep(found.checks, now_ms)
            changed = changes(file.lasting(), found.listings, found.details, now_ms)
            file.change(changed, now_ms)
            self._measure(config, file)
            for state, number in found.signing.items():
                self._context.metrics.gauge("relay_identities_signing", number, state.value)
            self._withdraw(config, file.lasting())
        finally:
            file.close()
        news = [
            OwnNews(f"{one.kind} {one.subject}", f"{one.grade.value}: {one.detail}", one.next_step, one.grade in BAD)
            for before, one in kept
            if turned(before, one.grade)
        ]
        news += _listing_news(config, changed)
        if news:
            self._tell(config, news, now_ms)
        return news

    def _measure(self, config: Config, file: OwnChecks) -> None:
        metrics = self._context.metrics
        grades = Counter((one.check.kind, one.check.grade) for one in file.checks())
        for kind in KINDS:
            for grade in Grade:
                metrics.gauge("relay_own_checks", grades[kind, grade], kind, grade.value)
        listed = Counter(one.list_name for one in file.lasting())
        for block_list in config.own_checks.block_lists:
            metrics.gauge("relay_own_addresses_listed", listed[block_list.name], block_list.name)

    def _withdraw(self, config: Config, lasting: Sequence[Listing]) -> None:
        """Take addresses out that a list withdraws, and bring them back when no such listing lasts."""
        withdrawing = {one.name for one in block_lists(config) if one.action is Action.WITHDRAW}
        listed = {one.address: one.list_name for one in lasting if one.list_name in withdrawing}
        try:
            with open_existing_catalog(config.data_dir, settings.master_key(config.data_dir)) as catalog:
                for address, reason in catalog.addresses.follow_listings(listed):
                    word = "withdrawn" if reason else "back"
                    self._context.log.warning("a listing moved a source address", address=address, now=word)
                    record(
                        config.data_dir, f"address.{word}", "", {"address": address, "reason": reason}, caller=CALLER
                    )
        except RelayError as error:
            self._context.log.warning("listed addresses could not be withdrawn", error=str(error))

    def _tell(self, config: Config, news: Sequence[OwnNews], now_ms: int) -> None:
        """Write the mail to the operator and the line of the audit log."""
        letter = own_changes(settings.letterhead(config), config.contact, news, now_ms=now_ms)
        try:
            with open_existing_catalog(config.data_dir, settings.master_key(config.data_dir)) as catalog:
                catalog.notices.tell(OWNER, config.contact, letter)
        except RelayError as error:
            self._context.log.warning("the contact could not be told about own checks", error=str(error))
        for one in news:
            record(config.data_dir, "own.check", OWNER, {"about": one.about, "detail": one.detail}, caller=CALLER)


def _listing_news(config: Config, changed: Sequence[Change]) -> list[OwnNews]:
    """Return what is told about listings; those of low impact are shown and not told."""
    lists = {one.name: one for one in block_lists(config)}
    news: list[OwnNews] = []
    for change in changed:
        listing = change.listing
        block_list = lists.get(listing.list_name)
        if block_list is None or block_list.action is Action.SHOW:
            continue
        about = f"{listing.address} on {listing.list_name}"
        step = f"Read {block_list.about} for why, and how it ends." if block_list.about else ""
        detail = f"listed: {listing.detail}" if change.began else "no longer listed"
        news.append(OwnNews(about, detail, step if change.began else "", change.began))
    return news
