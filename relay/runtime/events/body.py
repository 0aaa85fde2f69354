"""The events process: reads the logs of all shards, and does what follows from events.

It owns `events/` and the files of effects; HTTP to consumers is done here and never in a worker. Its death costs a
moment's delay: everything it does begins again from a place on disk.
"""

from collections.abc import Sequence
from functools import partial

from relay.runtime.children import ChildContext, Listener
from relay.runtime.config.model import Config
from relay.runtime.service import ServiceFactory


def default_services() -> tuple[ServiceFactory, ...]:
    """Return what this release runs in the events process; started in this order, closed in this order."""
    from relay.runtime.events.appliers import default_appliers  # noqa: PLC0415 (tests of the life need no storage)
    from relay.runtime.events.desk import Desk, PostService  # noqa: PLC0415
    from relay.runtime.events.publishing import EventService  # noqa: PLC0415

    desk = Desk()
    appliers = (desk.router, *default_appliers())
    return (partial(EventService, appliers=appliers), desk.topics, partial(PostService, desk=desk))


class EventsBody:
    """Child body: services, nothing else."""

    def __init__(self, context: ChildContext, services: Sequence[ServiceFactory] | None = None) -> None:
        factories = default_services() if services is None else services
        self._services = [make(context) for make in factories]

    async def start(self) -> None:
        """Begin all services."""
        for service in self._services:
            await service.start()

    async def reload(self, config: Config, listeners: Sequence[Listener]) -> None:  # noqa: ARG002 (it has none)
        """Let every service take on a configuration."""
        for service in self._services:
            await service.reload(config)

    async def drain(self, timeout_seconds: float) -> None:  # noqa: ARG002 (each part has a shorter limit of its own)
        """End services."""
        for service in self._services:
            await service.close()

    def ping(self) -> None:
        """Raise when a part has ended by itself."""
        for service in self._services:
            service.check()
