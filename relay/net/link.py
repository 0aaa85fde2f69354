"""An outgoing connection on asyncio (relay.ports.Link): bytes, in clear or through `link_tls`, and streamed files.

Promises: after `close`, `abort` or an end of its own it calls nobody back but `on_gone`, and that once both sides
have closed, which is waited for some seconds at most. No task for a connection; a file is sent as the network takes
it. What can happen on a connection turns on the same few facts (silent, paused, in TLS), so it stays together.
"""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import Callable
from typing import cast

from relay.model.content import BodyFile, Content
from relay.model.dialogue import TlsFacts
from relay.net.link_stream import BodyStream
from relay.net.link_tls import CLOSED, JudgeChain, TlsLayer
from relay.net.reason import reason
from relay.ports import LinkUser
from relay.smtp.client.body import DotStuffer

_BLOCKS_A_TURN = 4
_WRITE_HIGH_BYTES = 256 * 1024
_CLOSE_SECONDS = 10.0
_LINGER_SECONDS = 2.0  # RFC 5321 section 4.1.1.10: the remote closes after its reply to QUIT
_AT_ONCE = struct.pack("ii", 1, 0)  # socket(7)
_ZERO = b"\0\0\0\0"  # an int in C


class TcpLink(asyncio.Protocol):
    """Implements relay.ports.Link."""

    __slots__ = (
        "_context",
        "_facts",
        "_judge_chain",
        "_linger",
        "_on_gone",
        "_paused",
        "_planned",
        "_server_name",
        "_silent",
        "_stream",
        "_tls",
        "_transport",
        "_user",
        "source_address",
    )

    def __init__(
        self,
        user: LinkUser,
        context: ssl.SSLContext,
        server_name: str,
        judge_chain: JudgeChain | None = None,
        on_gone: Callable[[], None] | None = None,
    ) -> None:
        self._user = user
        self._context = context
        self._judge_chain = judge_chain
        self._server_name = server_name
        self._on_gone = on_gone
        self._linger: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._tls: TlsLayer | None = None
        self._facts: Callable[[], TlsFacts] | None = None  # once TLS was agreed on, however it went on
        self._silent = False
        self._paused = False
        self._planned = False
        self._stream: BodyStream | None = None
        self.source_address = ""

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is made, unless nobody wants it any more."""
        stream = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self._transport = stream
        if self._silent:
            stream.abort()
            return
        stream.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
        name = stream.get_extra_info("sockname")
        self.source_address = str(name[0]) if name else ""
        self._user.link_opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._silent:
            return
        tls = self._tls
        if tls is None:
            self._user.link_data(data)
            return
        tls.incoming.write(data)
        if tls.shaking and not self._shake():
            return
        self._decrypt()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._close_stream()
        if self._linger is not None:
            self._linger.cancel()
        if self._on_gone is not None:
            self._on_gone()
        if self._silent:
            return
        self._silent = True
        text = CLOSED if exc is None else reason(exc)
        if self._tls is not None and self._tls.shaking:
            self._user.link_tls_failed(text)
            return
        self._user.link_lost(text)

    def pause_writing(self) -> None:
        """The network takes no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """The network takes more."""
        self._paused = False
        if self._stream is not None:
            self._user.link_progress()
            self._plan()

    # --- Link ---

    def tls_facts(self) -> TlsFacts | None:
        """Return how the connection is encrypted, None while it is not."""
        return None if self._facts is None else self._facts()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        transport = self._transport
        if transport is None or self._silent:
            return
        if self._tls is None:
            transport.write(data)
            return
        try:
            transport.write(self._tls.encrypted(data))
        except ssl.SSLError as error:
            asyncio.get_running_loop().call_soon(self._fail, reason(error))

    def unsent(self) -> bool:
        """Say whether something that was written waits here, or was not acknowledged by the remote's TCP.

        A reply to the last octet that we sent comes in a segment that acknowledges it (RFC 9293 section 3.4).
        """
        transport = self._transport
        if self._stream is not None or transport is None or transport.get_write_buffer_size():
            return True
        try:
            queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, _ZERO)
        except OSError:  # the system cannot tell
            return False
        return queued != _ZERO

    # --- ends ---

    def close(self) -> None:
        """Send what was written and that it was all, then wait for the remote to close too, some seconds at most.

        A connection counts with the receiver until it has seen the end, and so it does with us.
        """
        if self._silent or self._transport is None:
            return
        self.silence()
        if self._tls is not None and self._tls.agreed and (rest := self._tls.closing()):
            self._transport.write(rest)
        if self._transport.is_closing():
            return
        self._transport.write_eof()
        seconds = _CLOSE_SECONDS if self._transport.get_write_buffer_size() else _LINGER_SECONDS
        self._linger = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def abort(self) -> None:
        """Close at once by a reset: what the system has not sent yet is not sent either."""
        self.silence()
        transport = self._transport
        if transport is not None:
            with contextlib.suppress(OSError, AttributeError):  # it is closed
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            transport.abort()

    def silence(self) -> None:
        """Call nobody back from now on."""
        self._silent = True
        self._close_stream()

    def _fail(self, text: str) -> None:
        if self._silent:
            return
        self.silence()
        if self._transport is not None:
            self._transport.abort()
        self._user.link_lost(text)

    # --- files ---

    def write_content(self, content: Content) -> None:
        """Stream a message as SMTP data."""
        assert isinstance(content.body, BodyFile)
        stuffer = DotStuffer()
        self.write(stuffer.block(content.head))
        try:
            self._stream = BodyStream(content.body, stuffer)
        except OSError as error:
            asyncio.get_running_loop().call_soon(self._content_failed, reason(error))
            return
        self._plan()

    def _plan(self) -> None:
        if not self._planned:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Write a few blocks, then let others have their turn."""
        self._planned = False
        for _ in range(_BLOCKS_A_TURN):
            stream = self._stream
            if self._paused or self._silent or stream is None:
                return
            try:
                block = stream.block()
            except OSError as error:
                self._content_failed(reason(error))
                return
            self.write(block)
            if stream.ended:
                self._close_stream()
                self._user.link_content_written()
                return
        self._user.link_progress()
        self._plan()

    def _content_failed(self, text: str) -> None:
        self._close_stream()
        if not self._silent:
            self._user.link_content_failed(f"Message body cannot be read: {text}")

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    # --- TLS ---

    def start_tls(self) -> None:
        """Begin a handshake."""
        try:
            self._tls = TlsLayer(self._context, self._server_name, self._judge_chain)
        except (ssl.SSLError, ValueError) as error:
            asyncio.get_running_loop().call_soon(self._tls_failed, reason(error))
            return
        asyncio.get_running_loop().call_soon(self._shake)

    def _shake(self) -> bool:
        """Go on with the handshake; return True when it is done."""
        tls, transport = self._tls, self._transport
        if tls is None or transport is None or self._silent or not tls.shaking:
            return False
        tls.shake()
        if rest := tls.outgoing.read():
            transport.write(rest)
        if tls.agreed:
            self._facts = tls.facts
        if tls.failure:
            self._tls_failed(tls.failure)
        elif not tls.shaking:
            self._user.link_tls_started(tls.version)
            return True
        return False

    def _tls_failed(self, text: str) -> None:
        if self._silent:
            return
        self._tls = None
        self.silence()
        self._user.link_tls_failed(text)
        if self._transport is not None:
            self._transport.close()

    def _decrypt(self) -> None:
        """Pass on what can be read; the reader may close us at any time."""
        tls = self._tls
        while tls is not None and not self._silent:
            try:
                data = tls.read()
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                self._fail(reason(error))
                return
            if not data:
                self._fail(CLOSED)
                return
            self._user.link_data(data)
            if not tls.more_after(data):
                break
        if tls is not None and tls.outgoing.pending and self._transport is not None:  # alerts, key updates
            self._transport.write(tls.outgoing.read())
