"""A worker's connection to permits: made again and again until it stands, lines in and out."""

import asyncio
import random
from typing import Protocol, cast

from relay.runtime.permits.protocol import BUFFERED_MAX_BYTES, Lines, Note, ProtocolError, encode

RECONNECT_MIN_SECONDS = 0.05
RECONNECT_MAX_SECONDS = 1.0


class Owner(Protocol):
    """Who talks over a connection."""

    def joined(self, link: "Link") -> None:
        """Permits greeted: announce everything."""
        ...

    def left(self, link: "Link") -> None:
        """A connection is gone, whether it had been greeted or not."""
        ...

    def handle(self, note: Note) -> None:
        """Act on a note. Raise ProtocolError, KeyError, ValueError, TypeError for one that cannot be."""
        ...


async def connect(owner: Owner, path: str) -> None:
    """Try until a connection stands; it counts as one when permits greets."""
    delay = RECONNECT_MIN_SECONDS
    while True:
        link = Link(owner)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda link=link: link, path)  # type: ignore[misc]
            await link.settled.wait()
            if link.greeted:
                return
        except OSError:
            pass
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 spreads reconnects, keeps no secret
        delay = min(delay * 2, RECONNECT_MAX_SECONDS)


class Link(asyncio.Protocol):
    """One connection to permits; `settled` is set when it was `greeted` or lost."""

    def __init__(self, owner: Owner) -> None:
        self.settled = asyncio.Event()
        self._owner = owner
        self._lines = Lines()
        self.greeted = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; permits speaks first."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio calls it so
        """Tell the owner, then whoever waits for the connection."""
        self._owner.left(self)
        self.settled.set()

    def data_received(self, data: bytes) -> None:
        """Act on whole lines; one that cannot be ends the connection."""
        try:
            for note in self._lines.feed(data):
                if self.greeted:
                    self._owner.handle(note)
                else:
                    self._greet(note)
        except (ProtocolError, KeyError, ValueError, TypeError):
            self.abort()

    def write(self, notes: list[Note]) -> None:
        """Send notes now; a peer that does not read is left."""
        if self._transport is None or self._transport.is_closing() or not notes:
            return
        self._transport.write(encode(notes))
        if self._transport.get_write_buffer_size() > BUFFERED_MAX_BYTES and self.settled.is_set():
            self._transport.abort()

    def close(self) -> None:
        """End the connection, after what was written has left."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _greet(self, note: Note) -> None:
        if note[0] != "hello":
            raise ProtocolError(str(note))
        self.greeted = True
        self._owner.joined(self)
        self.settled.set()
