"""A delivery on its way through an attempt, and an address that a session goes to."""

from dataclasses import dataclass

from relay.model.dialogue import Skipped, Try
from relay.model.lane import Source
from relay.pipeline.destination import Destination
from relay.policy.tls_policy import PLAIN, SiteTls
from relay.ports import Job
from relay.schedule.fair import flow_of


class Item:
    """A job on its way: `sessions` counts those that broke under it in this attempt; `tries` tells of them."""

    __slots__ = (
        "destination",
        "flow",
        "job",
        "sessions",
        "skipped",
        "source",
        "started_ms",
        "tls",
        "tries",
        "waiting",
    )

    def __init__(self, job: Job) -> None:
        self.job = job
        self.flow = flow_of(job.delivery.message)
        self.destination: Destination | None = None
        self.source: Source | None = None
        self.sessions = 0
        self.tries: tuple[Try, ...] = ()
        self.skipped: tuple[Skipped, ...] = ()
        self.started_ms = 0
        self.waiting = True
        self.tls: SiteTls = PLAIN


@dataclass(frozen=True, slots=True)
class Target:
    """Where a session goes."""

    host: str
    address: str
    port: int
