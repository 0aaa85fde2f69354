"""Outgoing connections on asyncio, with TLS of our own over memory buffers (relay.ports.Connector and Link).

asyncio's own upgrade loses bytes that arrive around it; here every byte passes through `data_received` in order, and
what came in clear before the handshake is dropped by whoever asked for it. No task for a connection but while it is
being made; files are streamed block by block as the network takes them.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import ssl
import struct
import termios
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from relay.model.content import BodyFile, Content
from relay.model.dialogue import TlsFacts
from relay.net import client_tls
from relay.ports import SOURCE_GONE, LinkOptions, LinkUser
from relay.signing.certificate import names_of
from relay.smtp.client_body import DotStuffer
from relay.smtp.client_reply import printable

_READ_BYTES = 64 * 1024
_BLOCK_BYTES = 64 * 1024
_BLOCKS_A_TURN = 4
_WRITE_HIGH_BYTES = 256 * 1024
_CLOSE_SECONDS = 10.0
_LINGER_SECONDS = 2.0  # RFC 5321 section 4.1.1.10: the remote closes after its reply to QUIT
_HANDSHAKE_BYTES_MAX = 256 * 1024
_RECORD_BYTES = 16 * 1024
_AT_ONCE = struct.pack("ii", 1, 0)  # socket(7)
_ZERO = b"\0\0\0\0"  # an int in C


class TcpConnector:
    """Implements relay.ports.Connector."""

    def __init__(self, *, ca_file: str = "") -> None:
        self._ca_file = ca_file
        self._verified: dict[str, ssl.SSLContext] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._context(LinkOptions(0, tls_verified=True, tls_minimum="1.2"))  # a bad file is told at the start

    def connect(self, address: str, port: int, options: LinkOptions, user: LinkUser) -> Callable[[], None]:
        """Begin to connect to an IP address."""
        link = TcpLink(user, self._context(options), options.server_name, options.judge_chain, options.on_gone)
        task = asyncio.get_running_loop().create_task(_connect(link, address, port, options, user))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def cancel() -> None:
            link.silence()
            task.cancel()

        return cancel

    def trust(self, ca_file: str) -> None:
        """Trust another list of authorities from now on; "" for the system's."""
        verified = {"1.2": client_tls.verified(ca_file)}
        self._ca_file, self._verified = ca_file, verified

    def _context(self, options: LinkOptions) -> ssl.SSLContext:
        if not options.tls_verified:
            return client_tls.opportunistic(options.tls_minimum)
        context = self._verified.get(options.tls_minimum)
        if context is None:
            context = client_tls.verified(self._ca_file, options.tls_minimum)
            self._verified[options.tls_minimum] = context
        return context


async def _connect(link: "TcpLink", address: str, port: int, options: LinkOptions, user: LinkUser) -> None:
    local = (options.source_address, 0) if options.source_address else None
    try:
        async with asyncio.timeout(options.connect_timeout_seconds):
            await asyncio.get_running_loop().create_connection(lambda: link, address, port, local_addr=local)
    except TimeoutError:
        link.silence()
        user.link_failed(f"no answer in {options.connect_timeout_seconds:g} s")
    except OSError as error:
        link.silence()
        gone = options.source_address and error.errno == errno.EADDRNOTAVAIL
        user.link_failed(SOURCE_GONE if gone else _reason(error))
    except Exception as error:  # noqa: BLE001 - whoever waits for a connection has no time-out of its own
        link.silence()
        user.link_failed(_reason(error))


class TcpLink(asyncio.Protocol):
    """Implements relay.ports.Link."""

    __slots__ = (
        "_agreed",
        "_context",
        "_encrypted",
        "_file",
        "_handshaking",
        "_incoming",
        "_judge_chain",
        "_left_bytes",
        "_linger",
        "_on_gone",
        "_outgoing",
        "_paused",
        "_planned",
        "_server_name",
        "_silent",
        "_stuffer",
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
        judge_chain: Callable[[Sequence[bytes]], str] | None = None,
        on_gone: Callable[[], None] | None = None,
    ) -> None:
        self._user = user
        self._context = context
        self._judge_chain = judge_chain
        self._server_name = server_name
        self._on_gone = on_gone
        self._linger: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._handshaking = False
        self._encrypted = False
        self._agreed: tuple[str, str, bytes] | None = None  # version, cipher, the host's certificate
        self._silent = False
        self._paused = False
        self._planned = False
        self._file: BinaryIO | None = None
        self._left_bytes = 0
        self._stuffer = DotStuffer()
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
        if self._tls is None:
            self._user.link_data(data)
            return
        self._incoming.write(data)
        if self._handshaking and not self._shake():
            return
        self._decrypt()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._close_file()
        if self._linger is not None:
            self._linger.cancel()
        if self._on_gone is not None:
            self._on_gone()
        if self._silent:
            return
        self._silent = True
        text = "closed by the remote" if exc is None else _reason(exc)
        if self._handshaking:
            self._user.link_tls_failed(text)
            return
        self._user.link_lost(text)

    def pause_writing(self) -> None:
        """The network takes no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """The network takes more."""
        self._paused = False
        if self._file is not None:
            self._user.link_progress()
            self._plan()

    # --- Link ---

    def tls_facts(self) -> TlsFacts | None:
        """Return how the connection is encrypted, None while it is not."""
        if self._agreed is None:
            return None
        version, cipher, certificate = self._agreed
        subject, issuer = names_of(certificate)
        return TlsFacts(version, cipher, subject, issuer, self._context.verify_mode is ssl.CERT_REQUIRED)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        transport = self._transport
        if transport is None or self._silent:
            return
        if self._tls is None:
            transport.write(data)
            return
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            self._fail_soon(_reason(error))
            return
        transport.write(self._outgoing.read())

    def start_tls(self) -> None:
        """Begin a handshake."""
        name = self._server_name if _is_name(self._server_name) else None
        if name is None and self._context.check_hostname:
            name = self._server_name
        try:
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        except (ssl.SSLError, ValueError) as error:
            asyncio.get_running_loop().call_soon(self._tls_failed, _reason(error))
            return
        self._handshaking = True
        asyncio.get_running_loop().call_soon(self._shake)

    def close(self) -> None:
        """Send what was written and that it was all, then wait for the remote to close too, some seconds at most.

        A connection counts with the receiver until it has seen the end, and so it does with us.
        """
        if self._silent or self._transport is None:
            return
        self._silent = True
        self._close_file()
        if self._encrypted and self._tls is not None:
            with contextlib.suppress(ssl.SSLError):  # ours is written, the remote's close_notify is not waited for
                self._tls.unwrap()
            if rest := self._outgoing.read():
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

    def unsent(self) -> bool:
        """Say whether something that was written waits here, or was not acknowledged by the remote's TCP.

        A reply to the last octet that we sent comes in a segment that acknowledges it (RFC 9293 section 3.4).
        """
        transport = self._transport
        if self._file is not None or transport is None or transport.get_write_buffer_size():
            return True
        try:
            queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, _ZERO)
        except OSError:  # the system cannot tell
            return False
        return queued != _ZERO

    def silence(self) -> None:
        """Call nobody back from now on."""
        self._silent = True
        self._close_file()

    # --- streaming ---

    def write_content(self, content: Content) -> None:
        """Stream a message as SMTP data."""
        assert isinstance(content.body, BodyFile)
        self._stuffer = DotStuffer()
        self.write(self._stuffer.block(content.head))
        try:
            self._file = Path(content.body.path).open("rb")  # noqa: SIM115 - closed at the end of the stream
            self._file.seek(content.body.offset_bytes)
        except OSError as error:
            asyncio.get_running_loop().call_soon(self._content_failed, _reason(error))
            return
        self._left_bytes = content.body.size_bytes
        self._plan()

    def _plan(self) -> None:
        if not self._planned:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._stream)

    def _stream(self) -> None:
        """Write a few blocks, then let others have their turn."""
        self._planned = False
        for _ in range(_BLOCKS_A_TURN):
            file = self._file
            if self._paused or self._silent or file is None:
                return
            if self._left_bytes == 0:
                self.write(self._stuffer.end())
                self._close_file()
                self._user.link_content_written()
                return
            try:
                block = file.read(min(_BLOCK_BYTES, self._left_bytes))
            except OSError as error:
                self._content_failed(_reason(error))
                return
            if not block:
                self._content_failed("the file is shorter than it was")
                return
            self._left_bytes -= len(block)
            self.write(self._stuffer.block(block))
        self._user.link_progress()
        self._plan()

    def _content_failed(self, text: str) -> None:
        self._close_file()
        if not self._silent:
            self._user.link_content_failed(f"Message body cannot be read: {text}")

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    # --- TLS ---

    def _shake(self) -> bool:
        """Go on with the handshake; return True when it is done."""
        tls, transport = self._tls, self._transport
        if tls is None or transport is None or self._silent or not self._handshaking:
            return False
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            if rest := self._outgoing.read():
                transport.write(rest)
            if self._incoming.pending > _HANDSHAKE_BYTES_MAX:
                self._tls_failed("handshake too long")
            return False
        except (ssl.SSLError, ssl.CertificateError) as error:
            if rest := self._outgoing.read():
                transport.write(rest)
            self._tls_failed(_reason(error))
            return False
        self._handshaking = False
        self._encrypted = True
        cipher = tls.cipher()  # kept: a connection that was closed does not know any more
        certificate = tls.getpeercert(binary_form=True) or b""
        self._agreed = (tls.version() or "TLS", cipher[0] if cipher else "", certificate)
        if rest := self._outgoing.read():
            transport.write(rest)
        if self._judge_chain is not None and (refused := self._judge_chain(client_tls.chain(tls))):
            self._tls_failed(refused)
            return False
        self._user.link_tls_started(tls.version() or "TLS")
        return True

    def _tls_failed(self, text: str) -> None:
        if self._silent:
            return
        self._handshaking = False
        self._tls = None
        user = self._user
        self.silence()
        user.link_tls_failed(text)
        if self._transport is not None:
            self._transport.close()

    def _decrypt(self) -> None:
        """Pass on what can be read; the reader may close us at any time."""
        tls = self._tls
        while tls is not None and not self._silent:
            try:
                data = tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                self._fail(_reason(error))
                return
            if not data:
                self._fail("closed by the remote")
                return
            self._user.link_data(data)
            if not self._incoming.pending and len(data) < _RECORD_BYTES and not tls.pending():
                break
        if self._outgoing.pending and self._transport is not None:  # alerts, key updates
            self._transport.write(self._outgoing.read())

    def _fail_soon(self, text: str) -> None:
        asyncio.get_running_loop().call_soon(self._fail, text)

    def _fail(self, text: str) -> None:
        if self._silent:
            return
        self.silence()
        if self._transport is not None:
            self._transport.abort()
        self._user.link_lost(text)


def _is_name(host: str) -> bool:
    """Say whether a host may stand in the server name extension: names only (RFC 6066 section 3)."""
    return bool(host) and ":" not in host and not host.replace(".", "").isdigit()


def _reason(error: BaseException) -> str:
    """Return one printable line about an error of the network."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return printable(f"certificate: {error.verify_message}".encode())
    if isinstance(error, ssl.SSLError) and error.reason:
        return printable(error.reason.replace("_", " ").lower().encode())
    number = error.errno if isinstance(error, OSError) else None
    text = os.strerror(number) if number is not None and number > 0 else str(error) or type(error).__name__
    return printable(str(text).encode())
