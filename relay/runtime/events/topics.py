"""Topics as the events process serves them: publishing, the questions to endpoints, and the courier's tools.

Questions to endpoints (TOPIC-120) come from the catalog, where commands and pages leave them in the transaction of
the change: so they are asked whether or not this process ran meanwhile, with the same id should it die in between.
The certificate is looked at every few seconds, since a command may have changed it, and renewed when it is old.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from relay.errors import RelayError, RequestRefusedError, StorageError
from relay.events.publisher import TARGET, PublishRules, TopicPublisher
from relay.events.queue_files import LocalQueues
from relay.events.topic_courier import TopicCourier
from relay.model.erasure import Erasure
from relay.model.event import LoggedEvent
from relay.model.facts import facts_of
from relay.model.topic import Attribute, Publication, Subscription
from relay.net.endpoints import Endpoints
from relay.net.resolver import DnsResolver
from relay.policy.arn import BadArn, parse_subscription_arn
from relay.policy.topic_access import Publisher
from relay.ports import Json, Metrics
from relay.ports.events import NewItem
from relay.runtime import settings
from relay.runtime.catalog_thread import CatalogThread
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.events.topic_records import CatalogGiveUp, RecordPublisher
from relay.runtime.office_jobs import end_tasks
from relay.runtime.privacy_places import ERASE_IN_QUEUES
from relay.runtime.rpc import text
from relay.runtime.topic_guard import judge_of, trusts
from relay.runtime.topic_keys import KeptSigner, TopicKeys
from relay.runtime.topic_requests import parsed_topic_arn, topic_arn
from relay.signing.topic_token import Tokens
from relay.store.catalog import CATALOG_FILE, Catalog
from relay.store.line_files import erase_in_rotated
from relay.store.topic_directory import CatalogTopics

PUBLISH = "topic.publish"
POLL_SECONDS = 0.5
EXPIRE_SECONDS = 5.0
KEY_SECONDS = 5.0
KEY_AGE_SECONDS = 3600.0


class Outgoing(Protocol):
    """The queue of this process, asked from its event loop."""

    async def put(self, items: Sequence[NewItem], once: str = "") -> None:
        """Keep items, synced on return, and begin to deliver them. Raise StorageError.

        Nothing is kept under a name `once` that was used before.
        """
        ...

    async def targets(self) -> Sequence[str]:
        """Return the names of all targets for which something waits or has died."""
        ...

    async def drop(self, target: str) -> None:
        """Drop all that waits for a target that is no more, dead letters too."""
        ...


class LoopCount:
    """Counts from any thread: metrics belong to the thread of the event loop."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """Note the loop, on its thread."""
        self._loop = asyncio.get_running_loop()

    def __call__(self, name: str, labels: Sequence[str]) -> None:
        """Add one to a counter."""
        if self._loop is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._metrics.count, name, *labels)


class TopicService:
    """A service of the events process. `courier` is used by its dispatcher, `records` by its router."""

    def __init__(self, context: ChildContext, outgoing: Outgoing) -> None:
        """Make all parts. Raise ConfigurationError when there is no master key."""
        config = context.config
        master = settings.master_key(config.data_dir)
        self._context = context
        self._config = config
        self._outgoing = outgoing
        self._clock = SteadyClock()
        self._keys = TopicKeys(config.data_dir, config.hostname)
        self._signer = KeptSigner()
        self._no_key = ""
        self._count = LoopCount(context.metrics)
        self._catalog = CatalogThread(config.data_dir)
        self._directories = [CatalogTopics(config.data_dir / CATALOG_FILE, master) for _ in range(4)]
        self._rounds, of_courier, of_requests, of_records = self._directories
        rules, tokens = publish_rules(config), Tokens(master)
        self._publishers = [
            TopicPublisher(rules, directory, self._signer, tokens, self._count)
            for directory in (self._rounds, of_requests, of_records)
        ]
        give_up = CatalogGiveUp(config.data_dir, master, lambda: settings.letterhead(self._config), self._clock)
        _, again, records = (RecordPublisher(one, self._clock, context.log, give_up) for one in self._publishers)
        self._again, self.records = again, records
        own = config.topics
        self._queues = LocalQueues(config.data_dir, rotate_bytes=own.queue_file_size, keep=own.queue_files_kept)
        self._endpoints = self._make_endpoints(config)
        self.courier = TopicCourier(
            directory=of_courier,
            poster=self._endpoints,
            mailer=self,
            queues=self._queues,
            tokens=tokens,
            signer=self._signer,
            mail_head=settings.letterhead(config),
            clock=self._clock,
            log=context.log,
            count=self._count,
            sum_max_seconds=own.retry_delays_max,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin. Raise ConfigurationError when the configured certificate cannot be used.

        Damaged files of keys let wait what must be signed, and nothing else.
        """
        self._count.begin()
        await self._take_key_or_tell()
        self._context.ops.add(PUBLISH, self.publish)
        self._context.ops.add(ERASE_IN_QUEUES, self._erase)
        self._task = asyncio.create_task(self._go_round(), name="topics")

    async def _erase(self, request: Json) -> Json:
        """Erase an address in the local queues; {"count": in how many lines}."""
        return {"count": await self._queues.rewrite(partial(erase_in_rotated, Erasure(text(request, "address"))))}

    async def reload(self, config: Config) -> None:
        """Take on a new configuration. Raise ConfigurationError when its certificate cannot be used."""
        old, self._config = self._config, config
        try:
            await self._take_key_or_tell()
        except RelayError:
            self._config = old
            raise
        for publisher in self._publishers:
            publisher.rules = publish_rules(config)
        before, self._endpoints = self._endpoints, self._make_endpoints(config)
        self.courier.poster = self._endpoints
        self.courier.mail_head = settings.letterhead(config)
        self.courier.sum_max_seconds = config.topics.retry_delays_max
        self._queues.set_limits(rotate_bytes=config.topics.queue_file_size, keep=config.topics.queue_files_kept)
        before.close()

    async def close(self) -> None:
        """End the rounds; what was not asked waits for the next start."""
        await end_tasks([self._task] if self._task is not None else [])

    async def release(self) -> None:
        """Close what the courier used, after its last post."""
        self._endpoints.close()
        await self._queues.close()
        await self._catalog.close()
        for directory in self._directories[:3]:  # the last one belongs to the router's thread
            directory.close()

    def check(self) -> None:
        """Raise when the rounds have ended by themselves."""
        if self._task is not None and self._task.done():
            self._task.result()
            raise RuntimeError("the rounds of topics ended")

    async def mail(self, account: str, recipient: str, head: bytes, body: bytes) -> bool:
        """Keep a mail until it is sent (port `Mailer`)."""
        return await self._catalog.run(lambda catalog: catalog.notices.keep(account, recipient, head, body))

    # --- publishing --------------------------------------------------------------------------------------------

    async def publish(self, request: Json) -> Json:
        """Publish to a topic: {"topic", "account", "message", "subject", "attributes", "texts", "source_arn"}.

        Answered with the notification's id after it is kept. A request may have that id, as "key": what was published
        under it before is not published again.
        """
        account = text(request, "account")
        arn = topic_arn(text(request, "topic"), self._config.region, account)
        publication = Publication(
            text(request, "message"),
            str(request.get("subject") or ""),
            {name: Attribute(**one) for name, one in _object(request, "attributes").items()},
            {str(name): str(one) for name, one in _object(request, "texts").items()},
        )
        publisher = Publisher(account, str(request.get("source_arn") or ""))
        key = text(request, "key", "")
        self._publishers[1].refresh()
        found = self._publishers[1].publish(arn, publication, publisher, self._clock.now_ms(), key)
        if found.items:
            await self._outgoing.put(found.items, key)
        return {"messageId": found.message_id, "posts": sum(len(item.targets) for item in found.items)}

    def again(self, target: str, events: Sequence[LoggedEvent]) -> list[NewItem]:
        """Return what a topic, or one subscription (`subscription:ARN`), gets of events that are published again.

        Filters choose as ever. Raise RequestRefusedError for a topic that is gone, or that a policy closes.
        """
        kind, _, name = target.partition(":")
        alone = kind == TARGET
        arn = parsed_topic_arn(name.rpartition(":")[0] if alone else target, self._config.region)
        self._publishers[1].refresh()
        made = [self._again.record(arn, event, facts_of(event)) for event in events]
        items = [item for item in made if item is not None]
        if not alone:
            return items
        return [replace(item, targets=(target,)) for item in items if target in item.targets]

    # --- rounds ------------------------------------------------------------------------------------------------

    async def _go_round(self) -> None:
        loop = asyncio.get_running_loop()
        expire_at = key_at = 0.0
        pending, waits_for = True, ""
        while True:
            try:
                if loop.time() >= expire_at:
                    expire_at = loop.time() + EXPIRE_SECONDS
                    await self._catalog.run(lambda catalog: catalog.subscriptions.expire())
                if loop.time() >= key_at:
                    key_at = loop.time() + KEY_SECONDS
                    await self._look_at_key()
                pending = self._rounds.refresh() or pending
                if pending:
                    await self._ask()
                    await self._forget()
                    pending = False
                waits_for = ""
            except RelayError as error:
                pending = True
                if str(error) != waits_for:  # once for each reason, not for each round
                    waits_for = str(error)
                    self._context.log.warning("topics wait", reason=waits_for)
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(self) -> None:
        """Ask endpoints to confirm, or tell them that they were unsubscribed."""
        while unasked := await self._catalog.run(lambda catalog: catalog.subscriptions.unasked()):
            await self._outgoing.put([self._question(one) for one in unasked])
            await self._catalog.run(partial(_note_asked, unasked))

    def _question(self, one: Subscription) -> NewItem:
        topic = self._rounds.topic(one.account, one.topic)
        version = topic.signature_version if topic is not None else str(self._config.topics.signature_version)
        return self._publishers[0].question(one, version)

    async def _forget(self) -> None:
        """Drop what waits for subscriptions that are gone."""
        for target in await self._outgoing.targets():
            kind, _, name = target.partition(":")
            arn = parse_subscription_arn(name) if kind == TARGET else None
            if arn is None or isinstance(arn, BadArn) or self._rounds.subscription(arn.id) is not None:
                continue
            await self._outgoing.drop(target)

    async def _look_at_key(self) -> None:
        """Sign with the key that is to sign now: a command may have changed it, or it grew old."""
        try:
            if not await self._is_current():
                await self._take_key()
                name = self._signer.name
                self._context.log.info("notifications are signed with another certificate", certificate=name)
        except RelayError as error:
            self._tell_no_key(error)
        else:
            self._no_key = ""

    async def _is_current(self) -> bool:
        state = await asyncio.to_thread(self._keys.state)
        age_ms = self._config.topics.certificate_rotation * 1000
        old = state.origin == "own" and state.since_ms + age_ms <= self._clock.now_ms()
        return bool(state.current) and state.current == self._signer.name and not old

    async def _take_key(self) -> None:
        """Sign with the key that the files and the configuration say, made where there is none."""
        signer = await asyncio.to_thread(self._keys.signer, self._config, self._clock.now_ms())
        self._signer.replace(signer, self._config.http.public_url)

    async def _take_key_or_tell(self) -> None:
        try:
            await self._take_key()
        except StorageError as error:
            self._tell_no_key(error)

    def _tell_no_key(self, error: RelayError) -> None:
        """Say once for each reason that there is no key, or that the one in use cannot be looked after."""
        if str(error) == self._no_key:
            return
        self._no_key = str(error)
        what = "the key of notifications cannot be renewed" if self._signer.name else "notifications cannot be signed"
        self._context.log.error(what, reason=self._no_key)

    def _make_endpoints(self, config: Config) -> Endpoints:
        resolver = DnsResolver(settings.resolver_settings(config), self._clock, self._context.metrics)
        own = config.topics
        return Endpoints(
            resolver,
            judge_of(config),
            ports=own.ports,
            trusted=trusts(config),
            ca_file=str(own.ca_file or ""),
        )


def _note_asked(asked: Sequence[Subscription], catalog: Catalog) -> None:
    catalog.subscriptions.asked(asked)


def publish_rules(config: Config) -> PublishRules:
    """Return what publishing goes by."""
    return PublishRules(config.region, config.http.public_url)


def _object(request: Json, name: str) -> Json:
    found = request.get(name) or {}
    if not isinstance(found, dict):
        raise RequestRefusedError("InvalidParameter", f"{name} is an object")
    return found
