"""What a child process runs beside its main work: a part with a life of its own, made from the process's context."""

from collections.abc import Callable
from typing import Protocol

from relay.runtime.children import ChildContext
from relay.runtime.config.model import Config


class Service(Protocol):
    """Something that the office or the events process runs, such as publishing events."""

    async def start(self) -> None:
        """Begin."""
        ...

    async def reload(self, config: Config) -> None:
        """Take on a new configuration."""
        ...

    async def close(self) -> None:
        """End, leaving everything so that the next start goes on from there."""
        ...

    def check(self) -> None:
        """Raise when it has ended by itself."""
        ...


ServiceFactory = Callable[[ChildContext], Service]
