"""TLS policy as a service of the office: policies of MTA-STS fetched for all workers, and the reports on TLS."""

from relay.net.guard import Guard
from relay.net.resolver import DnsResolver
from relay.net.web import HTTPS_PORT, Web
from relay.ports import Resolver
from relay.runtime import settings
from relay.runtime.catalog_thread import CatalogThread
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.config.model import Config
from relay.runtime.office_jobs import Job, Scheduled
from relay.runtime.tls_fetching import Fetching
from relay.runtime.tls_reporting import Reporting
from relay.runtime.tls_thread import TlsThread

REFRESH_SECONDS = 600.0
REPORT_SECONDS = 300.0
ROUND_SECONDS = 3600.0


class TlsService(Scheduled):
    """The service that the office runs (`relay.runtime.office.Service`)."""

    def __init__(self, context: ChildContext) -> None:
        self._config = context.config
        self._clock = SteadyClock()
        self._metrics = context.metrics
        self._book = TlsThread(context.config.data_dir, context.log)
        self._catalog = CatalogThread(context.config.data_dir)
        self._made = self._make()
        fetching = Fetching(self._book, self._tools, self._clock, context.log, context.metrics)
        reporting = Reporting(
            book=self._book,
            catalog=self._catalog,
            tools=self._tools,
            config=lambda: self._config,
            clock=self._clock,
            log=context.log,
            metrics=context.metrics,
        )
        fetching.register(context.ops)
        reporting.register(context.ops)
        jobs = (
            Job("MTA-STS policies", REFRESH_SECONDS, fetching.refresh, ROUND_SECONDS),
            Job("TLS reports", REPORT_SECONDS, reporting.run_due, ROUND_SECONDS),
        )
        super().__init__(context, jobs)

    async def reload(self, config: Config) -> None:
        """Take on a new configuration."""
        self._config = config
        self._made = self._make()

    async def _release(self) -> None:
        await self._book.close()
        await self._catalog.close()

    def _tools(self) -> tuple[Web, Resolver]:
        return self._made

    def _make(self) -> tuple[Web, Resolver]:
        resolver = DnsResolver(settings.resolver_settings(self._config), self._clock, self._metrics)
        return web_of(self._config, resolver), resolver


def web_of(config: Config, resolver: Resolver) -> Web:
    """Return how HTTPS to strangers is spoken."""
    own = config.mta_sts
    guard = Guard(allow_private=own.allow_private_hosts)
    return Web(
        resolver,
        guard.judge,
        timeout_seconds=own.timeout,
        ca_file=str(own.ca_file or ""),
        port=own.port or HTTPS_PORT,
    )
