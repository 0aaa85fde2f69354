"""From the ready window to an outcome: jobs, and who attempts them."""

from collections.abc import Callable
from typing import Protocol

from relay.model.content import Content
from relay.model.message import Delivery
from relay.model.outcome import Outcome
from relay.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """One delivery, ready to be attempted. `return_path` is the envelope sender on the wire, "" for the null sender.

    `load` returns the message; it raises CorruptionError when the spool cannot give it back whole.
    """

    delivery: Delivery
    return_path: str
    load: Callable[[], Content]


Release = Callable[[], None]


class Departures(Protocol):
    """Where jobs go from the ready window: to `Outbound`, or to a stage before it that passes them on."""

    def enqueue(self, job: Job) -> None:
        """Take a job; it is settled in the end."""
        ...

    def withdraw(self, delivery_key: int) -> bool:
        """Take back a job that has not started; False when it is in flight or unknown."""
        ...


class Outbound(Protocol):
    """Everything between a job and its outcome: route, MX hosts, connections, TLS, dialogue.

    Every enqueued job is answered exactly once through `on_outcome(job, outcome, release)`. The connection goes on
    with its next message at once, but does not send that message's final dot before `release` was called: that is
    how a crash repeats at most one message for each open connection.
    """

    on_outcome: Callable[[Job, Outcome, Release], None]

    def enqueue(self, job: Job) -> None:
        """Attempt a delivery as soon as its site has room."""
        ...

    def withdraw(self, delivery_key: int) -> bool:
        """Take back a job that has not started; False when it is in flight or unknown."""
        ...

    async def drain(self, timeout_seconds: float) -> None:
        """Start nothing new, wait for what is in flight, close idle connections."""
        ...
