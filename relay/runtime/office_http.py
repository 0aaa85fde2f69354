"""The metrics listener: `/metrics`, `/healthz`, `/readyz`. Only the office imports the HTTP stack."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from relay.runtime.children import Listener
from relay.runtime.config.model import Config
from relay.runtime.observe.exposition import CONTENT_TYPE

_CONCURRENT_MAX = 64
_KEEP_ALIVE_SECONDS = 5
_HEADER_BYTES_MAX = 16384
_STOP_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Pages:
    """What the pages show: the metrics text, why the relay is not alive, why it is not ready."""

    metrics: Callable[[], Awaitable[bytes]]
    alive: Callable[[], Sequence[str]]
    ready: Callable[[], Sequence[str]]


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the office is told to stop by the supervisor."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class HttpListeners:
    """Serves the pages on every metrics listener of the office."""

    def __init__(self, pages: Pages) -> None:
        self._app = _app(pages)
        self._running: dict[socket.socket, tuple[_Server, asyncio.Task[None]]] = {}

    async def serve(self, listeners: Sequence[Listener], config: Config) -> None:
        """Serve these and no others. Listeners with TLS begin anew, to read the certificate again."""
        wanted = {listener.socket: listener for listener in listeners if listener.config.kind == "metrics"}
        gone = [found for found in self._running if found not in wanted or wanted[found].config.tls != "none"]
        await self._stop(gone)
        for found, listener in wanted.items():
            if found not in self._running:
                self._start(listener, config)

    async def close(self) -> None:
        """Stop serving; requests under way may end."""
        await self._stop(list(self._running))

    def check(self) -> None:
        """Raise when a server ended by itself."""
        for _server, task in self._running.values():
            if task.done():
                task.result()
                raise RuntimeError("the metrics listener ended")

    def _start(self, listener: Listener, config: Config) -> None:
        tls = listener.config.tls != "none"
        server = _Server(
            uvicorn.Config(
                self._app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=_CONCURRENT_MAX,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_STOP_SECONDS,
                h11_max_incomplete_event_size=_HEADER_BYTES_MAX,
                ssl_certfile=str(config.tls.certificate) if tls else None,
                ssl_keyfile=str(config.tls.key) if tls else None,
            )
        )
        # The server closes what it serves; the socket itself belongs to the runner and may be served again.
        task = asyncio.create_task(server.serve(sockets=[listener.socket.dup()]))
        self._running[listener.socket] = (server, task)

    async def _stop(self, sockets: Sequence[socket.socket]) -> None:
        stopping = [self._running.pop(found) for found in sockets]
        for server, _task in stopping:
            server.should_exit = True
        for _server, task in stopping:
            with contextlib.suppress(Exception):
                await task


def _app(pages: Pages) -> Starlette:
    async def metrics(_request: Request) -> Response:
        return Response(await pages.metrics(), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    async def healthz(_request: Request) -> Response:
        return _verdict(pages.alive())

    async def readyz(_request: Request) -> Response:
        return _verdict(pages.ready())

    return Starlette(
        routes=[Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)],
    )


def _verdict(faults: Sequence[str]) -> Response:
    """Return 200 without faults, else 503 with them."""
    return JSONResponse(
        {"status": "failing" if faults else "ok", "faults": list(faults)},
        status_code=503 if faults else 200,
        headers={"Cache-Control": "no-store"},
    )
