"""One HTTP/1.1 connection to one judged address, used for one request after the other (RFC 9112).

Owns `h11`, which keeps to the grammar whatever the other side sends; heads are bounded. Of an answer only what
`Answer` has is kept. A connection is `fit` for another request only when the last answer was read to its end and
the other side wants to go on; anything that arrives unasked ends it.

Much of the cost of a post would be that of a general client: this takes a fifth of the time of `httpx`.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import h11

HEAD_BYTES_MAX: Final = 16 * 1024
BODY_BYTES_MAX: Final = 16 * 1024  # a longer answer is not read to its end, and the connection not used again
BODY_SECONDS_MAX: Final = 1.0  # nor is one that takes longer
_READ_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of an answer, and its challenges to authenticate, each at most as long as a head."""

    status: int
    challenges: Sequence[str] = ()


class BrokenError(Exception):
    """The connection ended, or what came is no HTTP; `silent` when not an octet of an answer came.

    Raised here, and caught by whoever made the request.
    """

    def __init__(self, text: str, *, silent: bool = False) -> None:
        super().__init__(text)
        self.silent = silent


class KeptConnection:
    """A connection; one request at a time. `used` is when it was used last, by a clock of its owner."""

    __slots__ = ("_h11", "_reader", "_writer", "requests", "used")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        self.requests = 0
        self.used = 0.0

    @classmethod
    async def open(cls, address: str, port: int, host: str, context: ssl.SSLContext | None) -> Self:
        """Connect to an address; with a context, shake hands as `host`. Raise OSError (ssl.SSLError among them)."""
        secured = {"ssl": context, "server_hostname": host} if context is not None else {}
        reader, writer = await asyncio.open_connection(address, port, limit=_READ_BYTES, **secured)  # type: ignore[arg-type]  # options that are there or not
        return cls(reader, writer)

    @property
    def fit(self) -> bool:
        """Whether another request may be made."""
        idle = self._h11.our_state is h11.IDLE and self._h11.their_state is h11.IDLE
        return idle and not self._writer.is_closing() and not self._reader.at_eof()

    async def post(self, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post a body. Raise BrokenError; when cancelled, the connection must be closed."""
        self.requests += 1
        silent = True
        try:
            self._writer.write(self._request(target, headers, body))
            await self._writer.drain()
            while True:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    data = await self._reader.read(_READ_BYTES)
                    silent = silent and not data
                    self._h11.receive_data(data)
                elif isinstance(event, h11.Response):
                    break
                elif not isinstance(event, h11.InformationalResponse):
                    raise BrokenError("the connection ended before the answer", silent=silent)
            await self._read_body()
        except h11.RemoteProtocolError:
            raise BrokenError("no HTTP answer came", silent=silent) from None
        except OSError:
            raise BrokenError("the connection ended before the answer", silent=silent) from None
        challenges = [value.decode("latin-1") for name, value in event.headers if name == b"www-authenticate"]
        return Answer(event.status_code, challenges)

    def close(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()

    def _request(self, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        fields = [*headers.items(), ("Content-Length", str(len(body)))]
        parts = (
            self._h11.send(h11.Request(method="POST", target=target, headers=fields)),
            self._h11.send(h11.Data(data=body)),
            self._h11.send(h11.EndOfMessage()),
        )
        return b"".join(part for part in parts if part)

    async def _read_body(self) -> None:
        """Read an answer to its end, so that the connection is fit again; not when it is long, slow or breaks off."""
        ends = asyncio.get_running_loop().time() + BODY_SECONDS_MAX
        size = 0
        while size <= BODY_BYTES_MAX:
            try:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    async with asyncio.timeout_at(ends):
                        self._h11.receive_data(await self._reader.read(_READ_BYTES))
                elif isinstance(event, h11.Data):
                    size += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
                        self._h11.start_next_cycle()
                    return
                else:
                    return
            except (h11.RemoteProtocolError, OSError):
                return  # the status is known; this connection is not used again
