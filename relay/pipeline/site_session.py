"""One connection to one host of a site: glue between the link, the dialogue, and the deliveries of the site.

Takes its next delivery inside the callback that ended the last one. Nothing here waits.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace

from relay.errors import RelayError
from relay.model.content import Content
from relay.model.dialogue import Skipped, Try
from relay.model.outcome import Stage
from relay.pipeline.site_item import Item, Target
from relay.pipeline.site_protocols import SessionOwner, SessionSetup
from relay.pipeline.site_transaction import lesser, together, transaction_of
from relay.ports import SOURCE_GONE, Clock, Connector, Link, LinkOptions
from relay.smtp.client.answer import Answer, Fault, local_failure
from relay.smtp.client.envelope import Transaction
from relay.smtp.client.options import ClientOptions
from relay.smtp.client.session import Client
from relay.smtp.client.transcript import Transcript

_REFUSALS_A_TURN = 10


class Session:
    """Implements LinkUser towards the network and ClientUser towards the dialogue."""

    __slots__ = (
        "_cancel",
        "_clock",
        "_gone",
        "_items",
        "_options",
        "_owner",
        "_reused",
        "_setup",
        "_when_gone",
        "client",
        "earlier",
        "idle_until",
        "link",
        "log",
        "messages_max",
        "skipped",
        "target",
        "tells",
        "tls_policy",
        "tls_version",
        "told",
    )

    def __init__(
        self,
        *,
        setup: SessionSetup,
        owner: SessionOwner,
        target: Target,
        options: ClientOptions,
        messages_max: int,
        clock: Clock,
    ) -> None:
        self._setup = setup
        self._owner = owner
        self._options = options
        self._clock = clock
        self._items: list[Item] = []
        self._reused = False
        self._cancel: Callable[[], None] | None = None
        self._gone = False
        self._when_gone: list[Callable[[], None]] = []
        self.messages_max = messages_max
        self.earlier: tuple[Try, ...] = ()  # what the walk to this connection met with
        self.skipped: tuple[Skipped, ...] = ()
        self.log = Transcript(clock.monotonic())
        self.target = target
        self.client: Client | None = None
        self.link: Link | None = None
        self.tls_version = ""
        self.tls_policy = ""  # what decided about TLS, "" for nothing that was published
        self.tells: Callable[[str], None] | None = None  # told of each domain once, for reports on TLS
        self.told: set[str] = set()
        self.idle_until = math.inf

    def connect(self, connector: Connector, options: LinkOptions) -> None:
        """Begin."""
        options = replace(options, on_gone=self._link_gone)
        self._cancel = connector.connect(self.target.address, self.target.port, options, self)

    @property
    def busy(self) -> bool:
        """True while deliveries are under way."""
        return bool(self._items)

    @property
    def source_address(self) -> str:
        """The address that the connection was made from, "" before it is."""
        return self.link.source_address if self.link is not None else ""

    @property
    def ready(self) -> bool:
        """True when the session could take a delivery."""
        return self.client is not None and self.client.idle

    # --- time and ends ---

    def tick(self, now: float) -> None:
        """Look at the deadlines."""
        client = self.client
        if client is None:
            return
        if client.deadline <= now:
            client.expire(now)
        elif self.idle_until <= now:
            self.quit()

    def quit(self) -> None:
        """Close an idle session."""
        self.idle_until = math.inf
        if self.client is not None and self.client.open:
            self.client.quit()
            self._owner.session_over(self)

    def stop(self) -> None:
        """End at once, whatever is under way."""
        if self.client is None:
            if self._cancel is not None:
                self._cancel()
            self._setup.session_failed(self, local_failure(Stage.CONNECT, "4.3.2", "Relay is shutting down"))
        else:
            self.cut("relay is shutting down")

    def cut(self, why: str) -> None:
        """End the connection as if it was lost."""
        if self.link is not None and self.client is not None:
            self.link.abort()
            self.client.lost(why)

    # --- link ---

    def when_gone(self, then: Callable[[], None]) -> None:
        """Call `then` once the connection is closed on both sides, at once when there is none."""
        if self.link is None or self._gone:
            then()
        else:
            self._when_gone.append(then)

    def _link_gone(self) -> None:
        self._gone = True
        waiting, self._when_gone = self._when_gone, []
        for then in waiting:
            then()

    def link_opened(self, link: Link) -> None:
        """Begin the dialogue."""
        self.link = link
        self.client = Client(link, self, self._options, self._clock.monotonic(), self.log)

    def link_failed(self, text: str) -> None:
        """No connection."""
        where = f"{self.target.host}[{self.target.address}]:{self.target.port}"
        fault = Fault.SOURCE if text == SOURCE_GONE else Fault.LINK
        answer = local_failure(Stage.CONNECT, "4.4.1", f"Cannot connect to {where}: {text}", fault)
        self._setup.session_failed(self, answer)

    def link_data(self, data: bytes) -> None:
        """Bytes of the remote."""
        assert self.client is not None
        self.client.receive(data, self._clock.monotonic())

    def link_tls_started(self, version: str) -> None:
        """TLS is on."""
        assert self.client is not None
        self.tls_version = version
        self.client.tls_started(self._clock.monotonic())

    def link_tls_failed(self, text: str) -> None:
        """TLS failed."""
        assert self.client is not None
        self.client.tls_failed(text)

    def link_progress(self) -> None:
        """A part of a streamed message left."""
        assert self.client is not None
        self.client.content_progress(self._clock.monotonic())

    def link_content_written(self) -> None:
        """A streamed message left."""
        assert self.client is not None
        self.client.content_written(self._clock.monotonic())

    def link_content_failed(self, text: str) -> None:
        """A streamed message cannot be read."""
        assert self.client is not None
        self.client.content_failed(text)

    def link_lost(self, text: str) -> None:
        """The link is gone."""
        if self.client is not None:
            self.client.lost(text)

    # --- dialogue ---

    def session_ready(self) -> None:
        """EHLO, TLS and AUTH are done."""
        self._setup.session_ready(self)

    def session_failed(self, answer: Answer) -> None:
        """They are not."""
        self._setup.session_failed(self, answer)

    def session_over(self) -> None:
        """The session is closed."""
        self._owner.session_over(self)

    def transaction_done(self, transaction: Transaction, answers: list[Answer]) -> None:
        """Pass the answers on, then go on with the next delivery in the same turn."""
        del transaction
        items, self._items = self._items, []
        for item, answer in zip(items, answers, strict=True):
            stale = self._reused and answer.fault is Fault.LINK and answer.stage is Stage.MAIL
            self._owner.settle(self, item, answer, stale=stale)
        client = self.client
        if client is None or not client.idle:
            return
        messages = client.transactions
        messages_max = lesser(self.messages_max, client.extensions.messages_max)  # RFC 9422 section 4.1
        if messages >= messages_max or self._owner.gives_way(messages):
            self.quit()
            return
        self.work()

    def work(self) -> None:
        """Take the next delivery of the site, or become idle."""
        client = self.client
        assert client is not None
        self.idle_until = math.inf
        for _ in range(_REFUSALS_A_TURN):
            if not client.idle:
                return
            item = self._owner.next_item()
            if item is None:
                self._owner.session_idle(self)
                return
            self._begin(client, item)
            if self._items:
                return
        if client.idle:  # all were refused here: reading and judging them takes time that others wait for
            asyncio.get_running_loop().call_soon(self.work)

    def _begin(self, client: Client, item: Item) -> None:
        job = item.job
        item.started_ms = self._clock.now_ms()
        if self.tells is not None and (domain := job.delivery.domain) not in self.told:
            self.told.add(domain)
            self.tells(domain)
        try:
            content = job.load()
        except RelayError as error:
            self._owner.settle_soon(self, item, local_failure(Stage.LOCAL, "4.3.0", str(error), Fault.NONE))
            return
        items = together(item, client.extensions, self._owner)
        refusal = self._send(client, items, content)
        if refusal is not None and len(items) > 1:  # one bad address must not refuse the others
            self._owner.put_back(items[1:])
            items = [item]
            refusal = self._send(client, items, content)
        if refusal is not None:
            self._owner.settle_soon(self, item, refusal)

    def _send(self, client: Client, items: list[Item], content: Content) -> Answer | None:
        self._reused = client.transactions > 0
        try:
            refusal = client.send(transaction_of(items, content, self._owner), self._clock.monotonic())
        except RelayError as error:  # it could not be made fit for this host now; nothing was sent
            return local_failure(Stage.LOCAL, "4.3.0", str(error), Fault.NONE)
        if refusal is None:
            self._items = items
        return refusal

    def hold(self) -> None:
        """Keep the next final dot back."""
        if self.client is not None:
            self.client.hold()

    def release(self) -> None:
        """Let it go."""
        if self.client is not None:
            self.client.release(self._clock.monotonic())
