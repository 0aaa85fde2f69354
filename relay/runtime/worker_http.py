"""The `http` listeners of a worker, and how its pages reach the catalog.

Looking and confirming happen on one thread with the catalog open for writing: a commit waits for the disk and, for
up to ten seconds, for other writers, and the event loop must not. The worker writes itself, instead of asking the
office, so that a link works while the office is away, and is answered only after its commit. What waits for the
thread is bounded; more is told to come back.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from relay.errors import TemporaryError
from relay.mail.letter import Letter, Letterhead
from relay.model.check import StateChange
from relay.model.topic import Subscription
from relay.model.verification import VerificationLink
from relay.ports import Clock
from relay.runtime import settings
from relay.runtime.catalog_thread import CatalogThread
from relay.runtime.children import ChildContext, Listener
from relay.runtime.config.model import Config
from relay.runtime.subscription_requests import arn_of, find_subscription
from relay.runtime.topic_keys import TopicKeys
from relay.runtime.topic_requests import parsed_topic_arn
from relay.store.catalog import Catalog

if TYPE_CHECKING:
    from relay.runtime.http_server import HttpServer
    from relay.track.topics import TopicPages
    from relay.track.verification import PageRules, VerificationPages

WAITING_MAX = 64

Result = TypeVar("Result")


class CatalogConfirmations:
    """Verification links of the catalog (port `Confirmations`)."""

    def __init__(self, data_dir: Path, letterhead: Letterhead, clock: Clock) -> None:
        self.letterhead = letterhead
        self._catalog = CatalogThread(data_dir)
        self._clock = clock
        self._waiting = 0

    async def look(self, token: str) -> VerificationLink | None:
        """Return what a link is for."""
        return await self.bounded(lambda catalog: catalog.verifications.look(token))

    async def confirm(self, token: str) -> VerificationLink | None:
        """Verify the address of a link."""
        return await self.bounded(lambda catalog: catalog.verifications.confirm(token, self._tell))

    async def close(self) -> None:
        """Close the catalog after what runs."""
        await self._catalog.close()

    async def bounded(self, work: Callable[[Catalog], Result]) -> Result:
        """Do something to the catalog, unless too many wait for it."""
        if self._waiting >= WAITING_MAX:
            raise TemporaryError("too many requests wait for the catalog")
        self._waiting += 1
        try:
            return await self._catalog.run(work)
        finally:
            self._waiting -= 1

    def _tell(self, contact: str, change: StateChange) -> Letter:
        return settings.tell_of_address(self.letterhead, self._clock.now_ms(), contact, change)


class CatalogLinks:
    """Links of topics (port `TopicLinks`), over the same thread and bounds as verification links."""

    def __init__(self, confirmations: CatalogConfirmations, keys: TopicKeys, region: str) -> None:
        self._bounded = confirmations.bounded
        self._keys = keys
        self._region = region

    async def of_token(self, topic_arn: str, token: str) -> tuple[Subscription, str]:
        """Return the subscription that a token confirms, and its ARN."""
        arn = parsed_topic_arn(topic_arn, self._region)
        found = await self._bounded(lambda catalog: catalog.subscriptions.of_token(arn.account, arn.name, token))
        return found, str(arn_of(found, self._region))

    async def confirm(self, topic_arn: str, token: str) -> None:
        """Confirm a subscription."""
        arn = parsed_topic_arn(topic_arn, self._region)
        await self._bounded(lambda catalog: catalog.subscriptions.confirm(arn.account, arn.name, token))

    async def of_arn(self, subscription_arn: str) -> Subscription:
        """Return a subscription."""
        return await self._bounded(lambda catalog: find_subscription(catalog, subscription_arn, self._region))

    async def end(self, subscription_arn: str) -> None:
        """End a subscription for its endpoint."""
        await self._bounded(
            lambda catalog: catalog.subscriptions.end(find_subscription(catalog, subscription_arn, self._region).id)
        )

    async def certificate(self, name: str) -> bytes | None:
        """Return a certificate."""
        return await asyncio.to_thread(self._keys.certificate, name)


class WorkerHttp:
    """Serves the `http` listeners, when there are any; else the HTTP stack is never imported."""

    def __init__(self, context: ChildContext, clock: Clock) -> None:
        self._context = context
        self._clock = clock
        self._confirmations: CatalogConfirmations | None = None
        self._pages: VerificationPages | None = None
        self._topics: TopicPages | None = None
        self._server: HttpServer | None = None

    async def serve(self, config: Config, listeners: Sequence[Listener], tls: ssl.SSLContext | None) -> None:
        """Serve these listeners by this configuration."""
        served = [listener for listener in listeners if listener.config.kind == "http"]
        if self._server is None and not served:
            return
        server = self._server or self._make(config)
        if self._pages is not None and self._confirmations is not None:
            self._pages.rules = _rules(config)
            assert self._topics is not None
            self._topics.rules = _rules(config)
            self._confirmations.letterhead = settings.letterhead(config)
        await server.serve(served, tls)

    async def drain(self, timeout_seconds: float) -> None:
        """End requests, then close the catalog."""
        if self._server is not None:
            await self._server.drain(timeout_seconds)
        if self._confirmations is not None:
            await self._confirmations.close()

    def _make(self, config: Config) -> "HttpServer":
        from relay.runtime.http_server import HttpServer  # noqa: PLC0415 (who has no such listener pays nothing)
        from relay.track.topics import TopicPages  # noqa: PLC0415
        from relay.track.verification import VerificationPages  # noqa: PLC0415

        context = self._context
        self._confirmations = CatalogConfirmations(config.data_dir, settings.letterhead(config), self._clock)
        self._pages = VerificationPages(_rules(config), self._confirmations, context.log, context.metrics)
        links = CatalogLinks(self._confirmations, TopicKeys(config.data_dir, config.hostname), config.region)
        self._topics = TopicPages(_rules(config), links, context.log, context.metrics)
        self._server = HttpServer(self._pages.app(self._topics.routes), context.log)
        return self._server


def _rules(config: Config) -> "PageRules":
    from relay.track.verification import PageRules  # noqa: PLC0415

    return PageRules(config.notifications.product_name, config.region)
