"""HTTP of a worker: deadlines for clients that drip, a bounded number of them, certificates that change."""

import asyncio
import contextlib
import socket
import ssl

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from relay.runtime import http_server
from relay.runtime.children import Listener
from relay.runtime.config.incoming import Listener as ListenerConfig
from relay.runtime.http_server import HttpServer
from relay.runtime.setup_certificate import self_signed
from relay.smtpd.tls import server_context
from relay.testing.log import MemoryLog


class Site:
    """A server of one page on one listening socket."""

    def __init__(self, tls="none"):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.listener = Listener(ListenerConfig(kind="http", address="127.0.0.1", port=0, tls=tls), self.socket)
        self.release = asyncio.Event()
        self.entered = asyncio.Event()
        self.server = HttpServer(Starlette(routes=[Route("/", self.page), Route("/slow", self.slow)]), MemoryLog())

    async def page(self, _request):
        return PlainTextResponse("hello")

    async def slow(self, _request):
        self.entered.set()
        await self.release.wait()
        return PlainTextResponse("late")

    async def serve(self, context=None):
        await self.server.serve([self.listener], context)

    async def get(self, path="/", scheme="http", verify=True):
        async with httpx.AsyncClient(verify=verify) as client:
            return await client.get(f"{scheme}://127.0.0.1:{self.port}{path}")

    async def close(self):
        await self.server.drain(1.0)
        self.socket.close()


def run(work, tls="none"):
    async def go():
        site = Site(tls)
        try:
            await work(site)
        finally:
            await site.close()

    asyncio.run(go())


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_request_that_never_ends_is_cut_off(monkeypatch, sent):
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.2)

    async def work(site):
        await site.serve()
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(sent)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert (await site.get()).text == "hello"

    run(work)


def test_an_answer_may_take_longer_than_a_request(monkeypatch):
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.05)

    async def work(site):
        await site.serve()
        answer = asyncio.create_task(site.get("/slow"))
        await site.entered.wait()
        asyncio.get_running_loop().call_later(0.2, site.release.set)
        assert (await answer).text == "late"

    run(work)


def test_more_clients_than_allowed_are_told_so_or_closed(monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTIONS_MAX", 4)

    async def work(site):
        await site.serve()
        idle = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(6)]
        assert (await site.get()).status_code == 503
        more = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(6)]
        ends = [asyncio.wait_for(reader.read(), 5) for reader, _ in more[-3:]]
        assert all(not end or isinstance(end, OSError) for end in await asyncio.gather(*ends, return_exceptions=True))
        for _, writer in idle + more:
            writer.close()

    run(work)


def test_a_drain_lets_a_request_end_and_takes_no_new_one():
    async def work(site):
        await site.serve()
        answer = asyncio.create_task(site.get("/slow"))
        await site.entered.wait()
        drained = asyncio.create_task(site.server.drain(5.0))
        await asyncio.sleep(0)
        site.release.set()
        assert (await answer).text == "late"
        await drained

    run(work)


def test_a_new_context_is_shown_to_new_connections(tmp_path):
    def context(name):
        certificate, key = self_signed(name)
        (tmp_path / "cert.pem").write_bytes(certificate)
        (tmp_path / "key.pem").write_bytes(key)
        return server_context(tmp_path / "cert.pem", tmp_path / "key.pem")

    def seen(port):
        client = ssl.create_default_context()
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", port)) as raw, client.wrap_socket(raw) as secured:
            return secured.getpeercert(binary_form=True)

    async def work(site):
        await site.serve(context("one.example"))
        first = await asyncio.to_thread(seen, site.port)
        await site.serve(context("two.example"))
        assert await asyncio.to_thread(seen, site.port) != first
        assert (await site.get(scheme="https", verify=False)).text == "hello"

    run(work, tls="implicit")
