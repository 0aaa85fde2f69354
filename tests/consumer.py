"""A consumer of notifications that may misbehave in many ways: raw sockets, on a thread of its own."""

import asyncio
import threading
from dataclasses import dataclass, field

HEAD_END = b"\r\n\r\n"


@dataclass
class Request:
    """What came: the connection's number, method, target, headers (names in lower case), body."""

    connection: int
    method: str
    target: str
    headers: dict
    body: bytes
    sni: str = ""


@dataclass
class Answer:
    """What is answered: a whole response, or raw bytes; `close` ends the connection afterwards."""

    status: int = 200
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    raw: bytes | None = None
    close: bool = False
    hang: bool = False
    drip_seconds: float = 0.0
    endless: bool = False

    def octets(self):
        if self.raw is not None:
            return self.raw
        fields = {"Content-Length": str(len(self.body)), **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"HTTP/1.1 {self.status} X\r\n{lines}\r\n".encode() + self.body


class Webhook:
    """Serves http, or https with a context. `answer(request)` returns an Answer; `requests` are those that came."""

    def __init__(self, answer=None, context=None, host="127.0.0.1"):
        self.answer = answer or (lambda request: Answer())
        self.requests = []
        self.connections = 0
        self.written = 0
        self._context = context
        self._host = host
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sni = {}
        if context is not None:
            context.sni_callback = self._note_sni

    def _note_sni(self, connection, name, _context):
        self.sni[id(connection)] = name

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc):
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(10)

    def _end(self):
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_soon(self._loop.stop)

    def _run(self):
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, self._host, 0, ssl=self._context, limit=1 << 22)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        number = self.connections
        tls = writer.get_extra_info("ssl_object")
        sni = self.sni.get(id(tls), "") if tls is not None else ""
        try:
            while True:
                head = await reader.readuntil(HEAD_END)
                first, *lines = head.decode("latin-1").split("\r\n")
                method, target, _ = first.split(" ")
                headers = {
                    name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines if x)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                request = Request(number, method, target, headers, body, sni)
                self.requests.append(request)
                answer = self.answer(request)
                if answer.hang:
                    await asyncio.Event().wait()
                await self._write(writer, answer)
                if answer.close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _write(self, writer, answer):
        octets = answer.octets()
        if answer.drip_seconds:
            for n in range(len(octets)):
                writer.write(octets[n : n + 1])
                await writer.drain()
                await asyncio.sleep(answer.drip_seconds)
            return
        writer.write(octets)
        while answer.endless:
            writer.write(b"x" * 65536)
            self.written += 65536
            await writer.drain()
        await writer.drain()
