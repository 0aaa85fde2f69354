"""Counting events, wired (`relay.store.statistics`): what is a verified name, and when rates begin anew.

Both come from the catalog, read with a connection of the applier's own thread and looked at for changes before each
batch, as the configuration is.
"""

from collections.abc import Sequence

from relay.model.event import LoggedEvent
from relay.runtime import settings
from relay.runtime.children import ChildContext
from relay.runtime.clock import SteadyClock
from relay.runtime.reputation import counting_rules, retention
from relay.store.directory import CatalogDirectory
from relay.store.statistics import Statistics


class CountingApplier(Statistics):
    """Counts by what the catalog says now."""

    def __init__(self, context: ChildContext) -> None:
        config = context.config
        super().__init__(
            config.data_dir,
            counting_rules(config, context.log),
            self._is_verified,
            SteadyClock().now_ms,
            context.log,
            retention=retention(config),
            fresh_start_ms=self._begun_anew_ms,
        )
        self._context = context
        self._config = config
        self._directory: CatalogDirectory | None = None

    def apply(self, shard: int, events: Sequence[LoggedEvent]) -> None:
        """Count events by catalog and configuration as they are now. Raise StorageError, ConfigurationError."""
        config = self._context.config
        if config is not self._config:
            self.rules, self.retention = counting_rules(config, self._context.log), retention(config)
            self._config = config
        self._catalog().refresh()
        super().apply(shard, events)

    def close(self) -> None:
        """Close both files."""
        super().close()
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def _catalog(self) -> CatalogDirectory:
        if self._directory is None:
            data_dir = self._config.data_dir
            self._directory = CatalogDirectory(data_dir, settings.master_key(data_dir))
        return self._directory

    def _is_verified(self, account: str, recipient: str) -> bool:
        return self._catalog().sending_identity(account, recipient) is not None

    def _begun_anew_ms(self, account: str, configuration_set: str) -> int:
        if configuration_set:
            found = self._catalog().configuration_set(account, configuration_set)
            return found.fresh_start_ms if found is not None else 0
        known = self._catalog().account(account)
        return known.fresh_start_ms if known is not None else 0
