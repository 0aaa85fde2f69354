"""Reads the SNDS feed once a day, as a service of the office (SNDS-001 to SNDS-003).

Kept are the figures of the relay's own addresses, the rest of the feed is not looked at. When it was read last is
kept too, so that a restart reads nothing twice; a try that failed is repeated within the hour. The administrator is
told first, then figures are kept: a mail may come twice after a crash, and is never lost. The key is in the request
and nowhere else: no error names it.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

from relay.errors import ConfigurationError, RelayError, TemporaryError
from relay.mail.notices import OwnNews, own_changes
from relay.net.guard import Guard
from relay.net.resolver import DnsResolver
from relay.net.web import HTTPS_PORT, Web, WebError
from relay.reputation.snds import BadSndsError, Feed, Figures, newest, newly_bad, read_feed
from relay.runtime import settings
from relay.runtime.audit import record
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.office_jobs import Job, Rounds
from relay.runtime.office_own import CALLER, OWNER
from relay.store.catalog import open_existing_catalog
from relay.store.snds import SndsFile

ANSWER_BYTES_MAX = 4 * 1024 * 1024  # twenty thousand lines of two hundred bytes
LOOK_SECONDS = 60.0
HTTP_OK = 200
KEY_MAX_CHARACTERS = 4096

_GAUGES: tuple[tuple[str, Callable[[Figures], float | None]], ...] = (
    ("relay_snds_rcpt_commands", lambda one: one.rcpt_commands),
    ("relay_snds_data_commands", lambda one: one.data_commands),
    ("relay_snds_message_recipients", lambda one: one.message_recipients),
    ("relay_snds_spam_rate", lambda one: one.spam_rate),
    ("relay_snds_complaint_rate", lambda one: one.complaint_rate),
    ("relay_snds_trap_hits", lambda one: one.trap_hits),
)

Result = TypeVar("Result")


class SndsService(Rounds):
    """The service that the office runs (`relay.runtime.service.Service`)."""

    def __init__(self, context: ChildContext) -> None:
        super().__init__(context)
        self._clock = SteadyClock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snds")

    async def _release(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)

    def _jobs(self, config: Config) -> Sequence[Job]:
        own = config.snds
        if not own.url:
            self._measure([], 0)  # figures of a feed that is configured no more are not told on
            return ()
        return (Job("snds", min(LOOK_SECONDS, own.every, own.again), partial(self._round, config)),)

    async def _run(self, call: Callable[..., Result], *values: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *values)

    async def _round(self, config: Config) -> None:
        """Read the feed when it is due; set the metrics by what is kept."""
        if await self._run(self._due, config):
            try:
                answer = await self._answer(config)
                feed = await self._run(read_feed, answer)  # half a second for a full one
                await self._run(self._keep, config, feed)
            except (WebError, BadSndsError, ConfigurationError) as error:
                self._context.log.warning("the SNDS feed cannot be read", reason=str(error))
                await self._run(self._note_failure, config, str(error))
        figures, read_ms = await self._run(self._kept, config)
        self._measure(figures, read_ms)

    async def _answer(self, config: Config) -> bytes:
        """Return what the feed answers. Raise WebError, BadSndsError, ConfigurationError without a key."""
        own = config.snds
        key = await asyncio.to_thread(_key, own.key_file)
        parts = urlsplit(own.url or "")
        query = f"{parts.query}&" if parts.query else ""
        web = Web(
            DnsResolver(settings.resolver_settings(config), self._clock, self._context.metrics),
            Guard(allow_private=own.allow_private).judge,
            timeout_seconds=own.timeout,
            ca_file=str(own.ca_file or ""),
            port=parts.port or HTTPS_PORT,
        )
        path = f"{parts.path or '/'}?{query}key={quote(key, safe='')}"
        answer = await web.get(parts.hostname or "", path, ANSWER_BYTES_MAX)
        if answer.status != HTTP_OK:
            raise BadSndsError(f"{parts.hostname} answered with the status {answer.status}")
        if answer.media_type == "text/html":
            raise BadSndsError(f"{parts.hostname} answered with a page for people; is the key right?")
        return answer.body

    # --- on the thread of the file -------------------------------------------------------------------------------

    def _due(self, config: Config) -> bool:
        now_ms = self._clock.now_ms()
        with self._file(config) as file:
            last = file.reading()
        if last.failure:
            return not 0 <= now_ms - last.tried_ms < config.snds.again * 1000
        return not 0 <= now_ms - last.read_ms < config.snds.every * 1000

    def _keep(self, config: Config, feed: Feed) -> None:
        now_ms = self._clock.now_ms()
        try:
            own = self._own_addresses(config)
            figures = [one for one in feed.figures if one.address in own]
            with self._file(config) as file:
                self._warn(config, newly_bad(file.last(), figures), now_ms)
                file.keep(figures, feed.bad, now_ms)
        except RelayError as error:
            raise TemporaryError(f"what SNDS says cannot be kept: {error}") from error
        if feed.bad:
            self._context.log.warning(
                "lines of the SNDS feed were passed over", lines=feed.bad, first="; ".join(feed.faults[:3])
            )

    def _note_failure(self, config: Config, failure: str) -> None:
        with self._file(config) as file:
            file.note_failure(failure, self._clock.now_ms())

    def _kept(self, config: Config) -> tuple[list[Figures], int]:
        now_ms = self._clock.now_ms()
        with self._file(config) as file:
            return newest(file.last(), now_ms), file.reading().read_ms

    def _own_addresses(self, config: Config) -> set[str]:
        with open_existing_catalog(config.data_dir, settings.master_key(config.data_dir)) as catalog:
            return {one.address for one in catalog.addresses.list()}

    def _warn(self, config: Config, bad: Sequence[Figures], now_ms: int) -> None:
        """Tell the administrator whose mail Microsoft takes for spam now (SNDS-003)."""
        if not bad:
            return
        news = [_news(one) for one in bad]
        letter = own_changes(settings.letterhead(config), config.contact, news, now_ms=now_ms)
        with open_existing_catalog(config.data_dir, settings.master_key(config.data_dir)) as catalog:
            catalog.notices.tell(OWNER, config.contact, letter)
        for one in news:
            self._context.log.warning("SNDS tells of spam", about=one.about, detail=one.detail)
            record(config.data_dir, "snds.spam", OWNER, {"about": one.about, "detail": one.detail}, caller=CALLER)

    def _file(self, config: Config) -> SndsFile:
        return SndsFile(config.data_dir, self._context.log)

    # --- metrics -------------------------------------------------------------------------------------------------

    def _measure(self, figures: Sequence[Figures], read_ms: int) -> None:
        metrics = self._context.metrics
        for name, value in _GAUGES:
            metrics.forget(name)
            for one in figures:
                found = value(one)
                if found is not None:
                    metrics.gauge(name, found, one.address)
        metrics.forget("relay_snds_read_seconds")
        if read_ms:
            metrics.gauge("relay_snds_read_seconds", read_ms / 1000)


def _key(file: Path | None) -> str:
    """Return the key. Raise ConfigurationError without one."""
    try:
        with (file or Path()).open(encoding="utf-8") as lines:
            key = lines.read(KEY_MAX_CHARACTERS).partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The key of the SNDS feed cannot be read from {file}: {error}.") from error
    if not key:
        raise ConfigurationError(f"The first line of {file} is empty; the key of the SNDS feed belongs there.")
    return key


def _news(one: Figures) -> OwnNews:
    return OwnNews(
        f"address {one.address} at Outlook",
        f"SNDS.SpamRate turned 1: 90 % or more of its mail from {one.begin} to {one.end} was taken for spam",
        "Look at the bounces and complaints of other providers: when they rise too, it is a list or its content; "
        "when not, ask Microsoft's support for senders.",
        bad=True,
    )
