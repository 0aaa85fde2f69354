"""HTTP of a worker: one application on its `http` listeners, in clear behind a reverse proxy or with TLS of its own.

uvicorn's HTTP/1.1 protocol without its server: that one wants the signals, a loop of its own ten times a second, and
has no deadline for a request that drips. Here every connection has one, each handshake too; the number of
connections, header sizes and idle times are bounded. Imported only where an `http` listener is configured.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from relay.ports import Log
from relay.runtime.children import Listener

CONNECTIONS_MAX = 256  # of one worker; one more gets 503
HEADER_BYTES_MAX = 16384
KEEP_ALIVE_SECONDS = 5
REQUEST_SECONDS = 15.0  # from connection, or the last response, to a whole header section
HANDSHAKE_SECONDS = 10.0
BACKLOG = 1024


class _Connection(H11Protocol):
    """A connection that is closed when its next request is not there in time."""

    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn names the transport it uses
        if len(self.connections) > 2 * CONNECTIONS_MAX:
            self.transport.abort()  # not worth an answer any more
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_request()

    def _expect_request(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
        self.deadline = self.loop.call_later(REQUEST_SECONDS, self._too_late)

    def _too_late(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
        else:
            self._expect_request()  # the application answers in its own time, and bounds it


class HttpServer:
    """Serves one application on listening sockets that belong to somebody else."""

    def __init__(self, app: ASGIApp, log: Log) -> None:
        self._log = log
        self._config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        )
        self._config.load()
        self._state = ServerState()
        self._running: dict[socket.socket, asyncio.Server] = {}

    async def serve(self, listeners: Sequence[Listener], context: ssl.SSLContext | None) -> None:
        """Serve these and no others. Listeners with TLS begin anew, with the context given; connections stay."""
        wanted = {listener.socket: listener for listener in listeners}
        for found in list(self._running):
            if found not in wanted or wanted[found].config.tls != "none":
                self._running.pop(found).close()
        for found, listener in wanted.items():
            if found not in self._running:
                self._running[found] = await self._listen(found, context if listener.config.tls != "none" else None)

    async def _listen(self, listening: socket.socket, context: ssl.SSLContext | None) -> asyncio.Server:
        secured: dict[str, Any] = {"ssl": context, "ssl_handshake_timeout": HANDSHAKE_SECONDS} if context else {}
        # The server closes what it serves; the socket itself belongs to the runner and may be served again.
        return await asyncio.get_running_loop().create_server(
            lambda: _Connection(self._config, self._state, {}), sock=listening.dup(), backlog=BACKLOG, **secured
        )

    async def drain(self, timeout_seconds: float) -> None:
        """Take nothing new, let requests under way end within the time, then close every connection."""
        for server in self._running.values():
            server.close()
        self._running.clear()
        for connection in list(self._state.connections):
            with contextlib.suppress(Exception):  # a connection that is gone already
                connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=timeout_seconds)
        for connection in list(self._state.connections):
            transport = connection.transport
            if transport is not None:
                transport.abort()
