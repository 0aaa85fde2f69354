"""One TCP connection: carries octets between the wire and the SMTP session, from its first phase to its last.

`_TAKES` says what takes the octets that arrive in each phase (`deadlines.Phase`), and this is how phases follow:

    made        -> HEADER (from a balancer's network), or as after HEADER
    HEADER      -> HANDSHAKE (implicit TLS), CLEAR; a header that is none cuts the connection
    CLEAR       -> HANDSHAKE (STARTTLS), LINGERING
    HANDSHAKE   -> SECURE, LINGERING (it failed)
    SECURE      -> LINGERING

Before HEADER has ended the client is counted nowhere; then it is admitted or refused (`admission`). A phase that
lasts too long ends with the connection: one timer for all connections of the worker calls `check`.

What the session asks of its connection is in `answers` (users: `login`), when it is read in `reading`, what it is
carried by in `wire`. This module is longer than most because its phases share one connection's end.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from relay.smtp.server import reply
from relay.smtp.server.policy import TlsMode
from relay.smtp.server.proxy_protocol import BadHeader, read_header
from relay.smtp.server.session import Session
from relay.smtpd.admission import Admission
from relay.smtpd.answers import Answers
from relay.smtpd.deadlines import PHASE_LIMITS, Phase, Progress
from relay.smtpd.reading import Reading
from relay.smtpd.wire import Wire

if TYPE_CHECKING:
    from relay.smtpd.door import SmtpDoor
    from relay.smtpd.listener import SmtpListener
    from relay.smtpd.tls import TlsChannel

_WRITE_BUFFER_MAX_BYTES = 64 * 1024


class SmtpConnection(asyncio.Protocol):
    """A client of one listener."""

    __slots__ = (
        "_admission",
        "_answers",
        "_door",
        "_eof",
        "_header",
        "_listener",
        "_phase",
        "_phase_since",
        "_progress",
        "_reading",
        "_refused",
        "_services",
        "_session",
        "_take",
        "_transport",
        "_wire",
    )

    def __init__(self, door: "SmtpDoor", listener: "SmtpListener") -> None:
        self._door = door
        self._listener = listener
        self._services = door.services
        self._eof = False
        self._header = bytearray()  # what has arrived of a PROXY header
        self._refused: reply.Reply | None = None
        self._progress = Progress(door.now)

    # --- asyncio.Protocol --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit or refuse the client and greet it."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_WRITE_BUFFER_MAX_BYTES)
        self._wire = Wire(self._transport)
        self._reading = Reading(self._transport)
        address = transport.get_extra_info("peername")
        peer = str(address[0]) if address else ""
        self._admission = Admission(self._door, self._listener, peer)
        self._answers = Answers(self._door, self, self._admission)
        self._door.connections.add(self)
        self._listener.opened()
        if self._listener.proxied(peer):
            self._session = self._new_session()
            self._enter(Phase.HEADER)
        else:
            self._begin(trusted=self._listener.trusts(peer))

    def data_received(self, data: bytes) -> None:
        """Work through everything that arrived."""
        if self._phase is Phase.LINGERING:
            return
        self._progress.heard = self._door.now
        if self._reading.tired(len(data)):
            self.control_reading()
            self._door.rest(self)
        try:
            self._take(self, data)
        except Exception as error:  # noqa: BLE001 - one session's fault must not reach others
            self._broken(error)

    def eof_received(self) -> bool:
        """Keep the connection for the answer that is still due (a client that half-closes after the dot)."""
        self._eof = True
        return self._session.waiting and self._phase is not Phase.LINGERING

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the client; a message that was not complete is dropped."""
        self._session.lost()
        self._door.connections.discard(self)
        self._admission.leave()
        self._listener.closed()
        if self._session.session_id:  # it was greeted, hence counted as one that began
            self._services.metrics.count("relay_sessions_ended_total", self._session.cause)
        self._answers.left()
        self._door.left()

    def pause_writing(self) -> None:
        """Read no more while the client does not take our replies."""
        self._reading.choked = True
        self.control_reading()

    def resume_writing(self) -> None:
        """Read again: the client took our replies."""
        self._reading.choked = False
        self.control_reading()

    # --- phases ------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._phase_since = self._door.now
        self._take = _TAKES[phase]

    def _new_session(self) -> Session:
        admission = self._admission
        dialect, intake = self._listener.dialect, self._services.intake
        return Session(dialect, self._answers, intake, admission.peer, trusted=admission.trusted)

    def _begin(self, *, trusted: bool) -> None:
        """Admit or refuse the client, whose address is known now, and greet it."""
        self._refused = self._admission.enter(trusted=trusted)
        self._session = self._new_session()
        self._session.may_name = self._listener.may_name(self._admission.peer)
        self._enter(Phase.CLEAR)
        if self._session.policy.tls is not TlsMode.IMPLICIT:
            self._welcome()
        elif self._refused is reply.CLIENT_DENIED:
            self._transport.close()  # no handshake for those who get nothing behind it
        else:
            self._start_tls()

    def _welcome(self) -> None:
        if self._refused is not None:
            self._session.close_with(self._refused)
        elif self._door.draining:
            self._session.close_with(reply.CLOSING)
        else:
            self._session.greet(self._door.new_session_id())
            self._session.stress(stressed=self._door.stressed)
            self._services.metrics.count("relay_sessions_total", self._session.policy.kind.value)
        self._flush()

    def _take_header(self, data: bytes) -> None:
        """Take the PROXY header, and what came behind it."""
        header = self._header
        header += data
        found = read_header(bytes(header))
        if found is None:
            return
        if isinstance(found, BadHeader):
            self._services.metrics.count("relay_sessions_refused_total", "proxy_header")
            self._services.log.info("bad PROXY header", peer=self._admission.peer, problem=found.text)
            self._transport.abort()
            return
        # A balancer that does not say for whom it connects is served, but its own address earns nobody trust.
        self._admission.peer = found.address or self._admission.peer
        self._begin(trusted=bool(found.address) and self._listener.trusts(self._admission.peer))
        behind = bytes(header[found.size_bytes :])
        header.clear()
        if behind:
            self._take(self, behind)

    def _start_tls(self) -> None:
        context = self._services.tls.context
        if context is None:
            self._services.log.error("smtp listener has no certificate", listener=self._listener.name)
            self._transport.abort()
            return
        self._wire.begin_tls(context)
        self._enter(Phase.HANDSHAKE)

    def _take_handshake(self, data: bytes) -> None:
        tls = self._wire.tls
        assert tls is not None
        try:
            if not self._wire.shakes_hands(tls, data):
                return
            self._enter(Phase.SECURE)
            self._services.metrics.count("relay_tls_sessions_total", tls.version)
            if self._session.encrypted:
                self._welcome()
            else:
                self._session.tls_started()
            text = tls.read()
        except ssl.SSLError as error:
            self._tls_failed(error)
            return
        self._take_inside(tls, text)

    def _take_ciphertext(self, data: bytes) -> None:
        tls = self._wire.tls
        assert tls is not None
        try:
            text = self._wire.decrypted(tls, data)
        except ssl.SSLError as error:
            self._tls_failed(error)
            return
        self._take_inside(tls, text)

    def _take_inside(self, tls: "TlsChannel", text: bytes) -> None:
        """Take what came inside TLS, and the client's end if it said so."""
        self._take_text(text)
        if tls.finished:
            self._client_ended()

    def _tls_failed(self, error: ssl.SSLError) -> None:
        self._services.metrics.count("relay_tls_failures_total")
        self._services.log.debug("tls failed", peer=self._admission.peer, error=str(error))
        self._wire.send_pending()
        self._close()

    def _take_text(self, text: bytes) -> None:
        if text and self._phase is not Phase.LINGERING:
            self._session.receive(text)
            self._flush()

    def _take_nothing(self, data: bytes) -> None:
        """Drop what arrives after the end."""

    # --- output ------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        session = self._session
        out = session.take_output()
        if out:
            self._wire.write(out)
        if session.closing:
            self._close()
            return
        if session.starting_tls and self._phase is Phase.CLEAR:
            self._start_tls()
        self._progress.note(session, self._door.now)
        self.control_reading()
        if self._eof and not session.waiting:
            self._close()

    def _close(self) -> None:
        """Say good-bye on all layers, then linger, so that the last reply survives unread input."""
        self._session.lost()
        if self._phase is Phase.LINGERING or self._transport.is_closing():
            return
        self._enter(Phase.LINGERING)
        self._reading.to_the_end()
        self._wire.end(at_once=self._eof or self._session.said_bye)

    def _client_ended(self) -> None:
        """Close after the peer's close_notify, but not before an answer that is still due."""
        self._eof = True
        if not self._session.waiting:
            self._close()

    def _broken(self, error: Exception) -> None:
        self._answers.failed(error)
        self._session.close_with(reply.TEMPORARY)
        try:
            self._flush()
        except Exception as again:  # noqa: BLE001 - nothing more can be said on this connection
            self._answers.failed(again)
            self._transport.abort()

    def rested(self) -> None:
        """Read again: others have had their turn."""
        self._reading.resting = False
        self.control_reading()

    def control_reading(self) -> None:
        """Read, or do not, as things stand."""
        if self._phase is not Phase.LINGERING:
            sink = self._answers.sink
            self._reading.control(full=self._session.overfull or (sink is not None and sink.overfull))

    # --- from outside: late answers, the door's timer, the end ---------------------------------------------------

    @property
    def gone(self) -> bool:
        """True when the client is not there any more."""
        return self._transport.is_closing()

    def resumed(self) -> None:
        """Write what a late answer brought and go on reading."""
        self._progress.heard = self._door.now
        try:
            self._flush()
        except Exception as error:  # noqa: BLE001 - one session's fault must not reach others
            self._broken(error)

    def end(self, answer: reply.Reply) -> None:
        """End the session with a last line, soon."""
        self._session.close_with(answer)
        self._door.loop.call_soon(self._flush_from_outside)

    def check(self, now: float, *, stressed: bool) -> None:
        """Look at the deadlines; called once a tick."""
        session = self._session
        limit = PHASE_LIMITS.get(self._phase)
        if limit is not None:
            if now - self._phase_since > limit.seconds(session.policy):
                if limit.counted:
                    self._services.metrics.count(*limit.counted)
                self._transport.abort()
            return
        overdue = self._progress.overdue(session, now, stressed=stressed)
        if overdue:
            if session.waiting:
                self._answers.failed(TimeoutError("the client waited in vain for an answer"))
            session.close_with(reply.TEMPORARY if session.waiting else reply.TIMED_OUT, overdue)
            self._flush_from_outside()
        elif not session.waiting and self._progress.too_long(session.policy, now):
            self.drain()

    def stress(self, *, stressed: bool) -> None:
        """Pass on that the worker is nearly full, or no more."""
        self._session.stress(stressed=stressed)

    def drain(self) -> None:
        """End the session between messages; one that has no TLS yet has none to wait for."""
        if self._phase in (Phase.HEADER, Phase.HANDSHAKE):
            self._transport.abort()
            return
        self._session.drain()
        self._flush_from_outside()

    def _flush_from_outside(self) -> None:
        if self._phase not in (Phase.CLEAR, Phase.SECURE):
            return
        try:
            self._flush()
        except Exception as error:  # noqa: BLE001 - one session's fault must not reach others
            self._broken(error)

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()


# What takes the octets that arrive in a phase; the row of CLEAR is the session's own.
_TAKES: Final[dict[Phase, Callable[[SmtpConnection, bytes], None]]] = {
    Phase.HEADER: SmtpConnection._take_header,  # noqa: SLF001 - the table belongs to the class
    Phase.HANDSHAKE: SmtpConnection._take_handshake,  # noqa: SLF001
    Phase.CLEAR: SmtpConnection._take_text,  # noqa: SLF001
    Phase.SECURE: SmtpConnection._take_ciphertext,  # noqa: SLF001
    Phase.LINGERING: SmtpConnection._take_nothing,  # noqa: SLF001
}
