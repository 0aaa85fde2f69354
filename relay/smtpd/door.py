"""The SMTP door of one worker: all listeners, all connections, and the one timer that watches over them."""

import asyncio
import secrets
import socket
from collections import deque
from typing import TYPE_CHECKING

from relay.smtp.server.policy import ListenerKind, SessionPolicy
from relay.smtpd.incoming import IncomingBodies
from relay.smtpd.listener import SmtpListener
from relay.smtpd.services import Services

if TYPE_CHECKING:
    from relay.smtpd.connection import SmtpConnection

TICK_SECONDS = 1.0
BUSY_CONNECTIONS_A_TURN = 2  # each may bring a quarter of a megabyte, some milliseconds of work
BACKLOG = 1024
HURRIED_LOG_SECONDS = 60.0  # one line, however many come and from wherever


class SmtpDoor:
    """Made once a worker, on its loop. `now` is a coarse monotonic clock that moves once a tick."""

    def __init__(
        self, services: Services, loop: asyncio.AbstractEventLoop, *, tick_seconds: float = TICK_SECONDS
    ) -> None:
        self.services = services
        self.loop = loop
        self.connections: set[SmtpConnection] = set()
        self.listeners: list[SmtpListener] = []
        self.incoming = IncomingBodies(services.incoming, loop)
        self.draining = False
        self._resting: deque[SmtpConnection] = deque()
        self.stressed = False
        self.now = services.clock.monotonic()
        self._tick_seconds = tick_seconds
        self._prefix = secrets.token_hex(6)
        self._sessions = 0
        self._hurried = 0
        self._hurried_until = 0.0
        self._empty: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = loop.call_later(tick_seconds, self._tick)

    async def serve(self, sock: socket.socket, policy: SessionPolicy) -> SmtpListener:
        """Accept connections on a bound socket, which is closed when the listener stops."""
        listener = SmtpListener(self, policy)
        server = await self.loop.create_server(listener.connection, sock=sock, backlog=BACKLOG)
        address = sock.getsockname()
        listener.attach(server, f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address))
        self.listeners.append(listener)
        return listener

    @property
    def sessions(self) -> int:
        """Connections that are open now."""
        return len(self.connections)

    def new_session_id(self) -> str:
        """Return an id for the greeting: unique, and it tells strangers nothing."""
        self._sessions += 1
        return f"{self._prefix}{self._sessions:08x}"

    def trusts(self, address: str) -> bool:
        """Say whether any listener trusts an address."""
        return any(listener.trusts(address) for listener in self.listeners)

    def hurried(self, address: str) -> None:
        """Log that connections were refused because their address makes too many, once a minute."""
        self._hurried += 1
        if self.now >= self._hurried_until:
            self._hurried_until = self.now + HURRIED_LOG_SECONDS
            self.services.log.warning(
                "an address makes too many new connections", peer=address, refused_since_last=self._hurried
            )
            self._hurried = 0

    async def drain(self, timeout_seconds: float) -> None:
        """Accept no more, end every session with 421 between messages; cut what is left after the time-out."""
        self.draining = True
        for listener in self.listeners:
            listener.stop()
        for connection in list(self.connections):
            connection.drain()
        if self.connections:
            self._empty = self.loop.create_future()
            await asyncio.wait([self._empty], timeout=timeout_seconds)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)
        self._tell_open()

    def close(self) -> None:
        """Stop the timer, cut what is open, end the writer thread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for listener in self.listeners:
            listener.stop()
        for connection in list(self.connections):
            connection.abort()
        self.incoming.close()

    def rest(self, connection: "SmtpConnection") -> None:
        """Let a connection read again when it is its turn: few that bring much are read in one turn of the loop."""
        self._resting.append(connection)
        if len(self._resting) == 1:
            self.loop.call_soon(self._wake)

    def _wake(self) -> None:
        for _ in range(min(BUSY_CONNECTIONS_A_TURN, len(self._resting))):
            self._resting.popleft().rested()
        if self._resting:
            self.loop.call_soon(self._wake)

    def left(self) -> None:
        """Take note that a connection ended."""
        if self._empty is not None and not self.connections and not self._empty.done():
            self._empty.set_result(None)

    def _tick(self) -> None:
        self._timer = self.loop.call_later(self._tick_seconds, self._tick)
        self.now = now = self.services.clock.monotonic()
        self._watch_stress()
        for connection in list(self.connections):
            connection.check(now, stressed=self.stressed)
        self._tell_open()

    def _tell_open(self) -> None:
        """Tell how many sessions are open, by kind of listener."""
        open_sessions = dict.fromkeys(ListenerKind, 0)
        for listener in self.listeners:
            open_sessions[listener.dialect.policy.kind] += listener.sessions
        for kind, count in open_sessions.items():
            self.services.metrics.gauge("relay_sessions_open", count, kind.value)
        self.listeners = [listener for listener in self.listeners if not listener.over]

    def _watch_stress(self) -> None:
        stressed = self.services.gate.stressed()
        if stressed == self.stressed:
            return
        self.stressed = stressed
        self.services.metrics.gauge("relay_sessions_stressed", float(stressed))
        say = self.services.log.warning if stressed else self.services.log.info
        say("smtp is nearly full: short time-outs" if stressed else "smtp has room again")
        for connection in list(self.connections):
            connection.stress(stressed=stressed)
