"""Who talks to whom about a site: its sessions to it, and it to the whole.

Session -> SessionSetup (a walk), then SessionOwner (the site)
Site -> SiteOwner (`attempt_sites`), Openings (`attempt_connections`), Reports (`attempt_outcomes`)
"""

from typing import TYPE_CHECKING, Protocol

from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.site_item import Item, Target
from relay.ports import Job
from relay.schedule.fair import Flow
from relay.smtp.client.answer import Answer

if TYPE_CHECKING:
    from relay.pipeline.site import Site
    from relay.pipeline.site_session import Session
    from relay.pipeline.site_targets import WalkContext


class SessionSetup(Protocol):
    """Whoever waits for a session to become ready: told of exactly one of these, once."""

    def session_ready(self, session: "Session") -> None:
        """The session can take deliveries."""
        ...

    def session_failed(self, session: "Session", answer: Answer) -> None:
        """The session never became ready."""
        ...


class SessionOwner(Protocol):
    """The site, as its sessions see it once they are ready."""

    def session_idle(self, session: "Session") -> None:
        """The session found nothing more to do."""
        ...

    def session_over(self, session: "Session") -> None:
        """A session that was ready is closed."""
        ...

    def gives_way(self, messages: int) -> bool:
        """Say whether a connection that carried so many messages makes room for others that wait."""
        ...

    def next_item(self) -> Item | None:
        """Give up the next delivery that waits."""
        ...

    def return_path(self, job: Job) -> str:
        """Return the sender that a delivery leaves with."""
        ...

    def more_items(self, item: Item, limit: int) -> list[Item]:
        """Give up waiting deliveries that may share a transaction with this one."""
        ...

    def put_back(self, items: list[Item]) -> None:
        """Take waiting deliveries back, to the front."""
        ...

    def settle(self, session: "Session", item: Item, answer: Answer, *, stale: bool) -> None:
        """Take an answer; `stale`: the link was reused and died before its first reply to this transaction."""
        ...

    def settle_soon(self, session: "Session", item: Item, answer: Answer) -> None:
        """Take an answer that was known at once; report it from the event loop."""
        ...


class SiteOwner(Protocol):
    """What a site asks of those who know the other sites."""

    @property
    def settings(self) -> OutboundSettings:
        """The settings in force."""
        ...

    @property
    def context(self) -> "WalkContext":
        """What a walk needs."""
        ...

    def elsewhere(self, site: "Site", items: list[Item], *, unfit: bool = True) -> None:
        """Let deliveries leave from another address; `unfit`: of another family, which the hosts have."""
        ...

    def source_gone(self, site: "Site") -> bool:
        """Note that the host does not have the address of a site; False: there is no other."""
        ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...


class Openings(Protocol):
    """Who may open a connection, and who may send, over all sites."""

    draining: bool
    """True when nothing new starts."""

    @property
    def crowded(self) -> bool:
        """True when sites wait for a connection, so that none is kept idle."""
        ...

    def may_connect(self, site: "Site", flow: Flow) -> bool:
        """Say whether a connection more may be opened for somebody's mail; when not, `pump` is called later."""
        ...

    def connection_closed(self, site: "Site") -> None:
        """Give a connection back."""
        ...

    def may_send(self, site: "Site") -> bool:
        """Say whether a message more may be sent; when not, `wake` is called when one may."""
        ...


class Reports(Protocol):
    """Where deliveries start and end."""

    def started(self, item: Item) -> None:
        """A delivery can no longer be withdrawn."""
        ...

    def waits_again(self, item: Item) -> None:
        """A delivery went back to its queue without any effect."""
        ...

    def report(self, item: Item, answer: Answer, session: "Session | None", target: Target | None = None) -> None:
        """Turn an answer into the outcome of a delivery; `target`: the last address tried, without a session."""
        ...

    def report_soon(
        self, item: Item, answer: Answer, session: "Session | None", target: Target | None = None
    ) -> None:
        """The same, from the event loop."""
        ...

    def refused(self, site: "Site", answer: Answer, target: Target | None) -> None:
        """Note the reply to a connection that no delivery gets, because others go on."""
        ...
