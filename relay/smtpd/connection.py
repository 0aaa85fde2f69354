"""One TCP connection: carries bytes between the wire, TLS and the SMTP session, and keeps its deadlines.

States: behind a trusted balancer, waiting for the PROXY header, and counted nowhere before it is there; refused or
admitted by the gate; `HANDSHAKE` while TLS is set up; open; `lingering` after our last line was written (input is
read and dropped for two seconds, so that the client can read it before a reset). All deadlines are looked at by one
timer for all connections of the worker, which calls `check`. Limits, trust and logs are by the client's own address.
"""

import asyncio
import ssl
import traceback
from typing import TYPE_CHECKING, cast

from relay.model.refusal import Reason, Refusal
from relay.smtp import reply
from relay.smtp.proxy_protocol import BadHeader, read_header
from relay.smtp.server import Session
from relay.smtp.server_dialect import Dialect
from relay.smtp.server_dialogue import HARD_ERROR
from relay.smtp.server_door import AuthAnswer, Blocked
from relay.smtp.server_policy import TlsMode
from relay.smtpd.tls import TlsChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.smtpd.door import SmtpDoor
    from relay.smtpd.incoming import IncomingBody
    from relay.smtpd.listener import SmtpListener

LINGER_SECONDS = 2.0
# The loop reads a busy socket again and again before it looks at others: make way after this much.
BURST_BYTES = 128 * 1024
_WRITE_BUFFER_MAX_BYTES = 64 * 1024


class SmtpConnection(asyncio.Protocol):
    """A client of one listener; also the `SessionDoor` of its session."""

    __slots__ = (
        "_account",
        "_admitted",
        "_burst",
        "_choked",
        "_command_since",
        "_data_since",
        "_door",
        "_eof",
        "_handshake_since",
        "_last",
        "_linger",
        "_listener",
        "_paused",
        "_peer",
        "_proxy",
        "_refused",
        "_resting",
        "_services",
        "_session",
        "_since",
        "_sink",
        "_tls",
        "_transport",
        "_trusted",
    )

    def __init__(self, door: "SmtpDoor", listener: "SmtpListener") -> None:
        self._door = door
        self._listener = listener
        self._services = door.services
        self._account = ""
        self._peer = ""
        self._burst = 0
        self._resting = self._choked = self._paused = self._eof = self._linger = False
        self._admitted = self._trusted = False
        self._proxy: bytearray | None = None  # what has arrived of a PROXY header
        self._refused: reply.Reply | None = None
        self._since = self._last = door.now
        self._command_since = self._data_since = self._handshake_since = 0.0
        self._sink: IncomingBody | None = None
        self._tls: TlsChannel | None = None

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit or refuse the client and greet it."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_WRITE_BUFFER_MAX_BYTES)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        self._door.connections.add(self)
        self._listener.opened()
        if self._listener.proxied(self._peer):
            self._proxy = bytearray()
            self._session = self._new_session()
        else:
            self._begin(trusted=self._listener.trusts(self._peer))

    def _new_session(self) -> Session:
        return Session(self._listener.dialect, self, self._services.intake, self._peer, trusted=self._trusted)

    def _begin(self, *, trusted: bool) -> None:
        """Admit or refuse the client, whose address is known now, and greet it."""
        self._trusted = trusted
        self._session = self._new_session()
        self._session.may_name = self._listener.may_name(self._peer)
        self._refused = self._admission(trusted=trusted)
        self._admitted = self._refused is None
        dialect = self._listener.dialect
        if dialect.policy.tls is not TlsMode.IMPLICIT:
            self._welcome(dialect)
        elif self._refused is reply.CLIENT_DENIED:
            self._transport.close()  # no handshake for those who get nothing behind it
        else:
            self._start_tls()

    def data_received(self, data: bytes) -> None:
        """Work through everything that arrived."""
        if self._linger:
            return
        self._last = self._door.now
        self._burst += len(data)
        if self._burst > BURST_BYTES:
            self._rest()
        try:
            if self._proxy is not None:
                data = self._behind_header(self._proxy, data)
            if self._tls is not None and data:
                data = self._decrypt(self._tls, data)
            if data and not self._linger:
                self._session.receive(data)
                self._flush()
            if self._tls is not None and self._tls.finished:
                self._ended()
        except Exception as error:  # noqa: BLE001 - one session's fault must not reach others
            self._broken(error)

    def _behind_header(self, header: bytearray, data: bytes) -> bytes:
        """Take the PROXY header; return what came behind it, nothing while it is incomplete or when it is none."""
        header += data
        found = read_header(bytes(header))
        if found is None:
            return b""
        if isinstance(found, BadHeader):
            self._services.metrics.count("relay_sessions_refused_total", "proxy_header")
            self._services.log.info("bad PROXY header", peer=self._peer, problem=found.text)
            self._transport.abort()
            return b""
        self._proxy = None
        # A balancer that does not say for whom it connects is served, but its own address earns nobody trust.
        self._peer = found.address or self._peer
        self._begin(trusted=bool(found.address) and self._listener.trusts(self._peer))
        return bytes(header[found.size_bytes :])

    def eof_received(self) -> bool:
        """Keep the connection for the answer that is still due (a client that half-closes after the dot)."""
        self._eof = True
        return self._session.waiting and not self._linger

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the client; a message that was not complete is dropped."""
        self._session.lost()
        self._door.connections.discard(self)
        if self._admitted:
            self._services.gate.leave(self._peer)
        if self._account:
            self._services.gate.leave_account(self._account)
            self._account = ""
        self._listener.closed()
        if self._admitted:
            self._services.metrics.count("relay_sessions_ended_total", self._session.cause)
        self._door.left()

    def pause_writing(self) -> None:
        """Read no more while the client does not take our replies."""
        self._choked = True
        self._control_reading()

    def resume_writing(self) -> None:
        """Read again: the client took our replies."""
        self._choked = False
        self._control_reading()

    def _admission(self, *, trusted: bool) -> reply.Reply | None:
        """Count the client in; return what it is told instead when it comes too fast or is one too many."""
        services, peer = self._services, self._peer
        if not self._listener.serves(peer):
            services.metrics.count("relay_sessions_refused_total", "denied")
            services.log.debug("client denied", peer=peer, listener=self._listener.name)
            return reply.CLIENT_DENIED
        known = trusted or services.permits.recognises(peer)
        if not (known or services.gate.arrive(peer) or self._door.trusts(peer)):
            services.metrics.count("relay_sessions_refused_total", "rate")
            self._door.hurried(peer)
            return reply.TOO_MANY_NEW_CONNECTIONS
        if peer and services.gate.enter(peer):
            return None
        services.metrics.count("relay_sessions_refused_total", "connections")
        return reply.TOO_MANY_CONNECTIONS

    # --- TLS ----------------------------------------------------------------------------------------------------

    def _start_tls(self) -> None:
        context = self._services.tls.context
        if context is None:
            self._services.log.error("smtp listener has no certificate", listener=self._listener.name)
            self._transport.abort()
            return
        self._tls = TlsChannel(context)
        self._handshake_since = self._door.now

    def _decrypt(self, tls: TlsChannel, data: bytes) -> bytes:
        try:
            if tls.established:
                tls.feed(data)
                text = tls.read()
                if tls.has_output:  # an alert to a renegotiation, the answer to a key update
                    self._transport.write(tls.take())
                return text
            tls.feed(data)
            if not tls.established:
                self._transport.write(tls.take())
                return b""
            self._secured(tls)
            return tls.read()
        except ssl.SSLError as error:
            self._services.metrics.count("relay_tls_failures_total")
            self._services.log.debug("tls failed", peer=self._peer, error=str(error))
            self._transport.write(tls.take())  # the alert
            self._close()
            return b""

    def _secured(self, tls: TlsChannel) -> None:
        self._handshake_since = 0.0
        self._services.metrics.count("relay_tls_sessions_total", tls.version)
        if self._session.encrypted:
            self._transport.write(tls.take())
            self._welcome(self._listener.dialect)
        else:
            self._session.tls_started()
            self._transport.write(tls.take())

    # --- output -------------------------------------------------------------------------------------------------

    def _welcome(self, dialect: Dialect) -> None:
        if self._refused is not None:
            self._session.close_with(self._refused)
        elif self._door.draining:
            self._session.close_with(reply.CLOSING)
        else:
            self._session.greet(self._door.new_session_id())
            self._session.stress(stressed=self._door.stressed)
            self._services.metrics.count("relay_sessions_total", dialect.policy.kind.value)
        self._flush()

    def _flush(self) -> None:
        session = self._session
        out = session.take_output()
        if out:
            self._write(out)
        if session.closing:
            self._close()
            return
        if session.starting_tls and self._tls is None:
            self._start_tls()
        self._note_progress(session)
        self._control_reading()
        if self._eof and not session.waiting:
            self._close()

    def _write(self, out: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._tls is None:
            self._transport.write(out)
            return
        self._tls.write(out)
        self._transport.write(self._tls.take())

    def _close(self) -> None:
        """Say good-bye on all layers, then linger, so that the last reply survives unread input."""
        self._session.lost()
        if self._linger or self._transport.is_closing():
            return
        if self._tls is not None and self._tls.established:
            self._tls.close()
            self._transport.write(self._tls.take())
        self._linger = True
        self._last = self._door.now
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._eof or self._session.said_bye:
            self._transport.close()
        else:
            self._transport.write_eof()

    def _ended(self) -> None:
        """Close after the peer's close_notify, but not before an answer that is still due."""
        self._eof = True
        if not self._session.waiting:
            self._close()

    def _broken(self, error: Exception) -> None:
        self.failed(error)
        self._session.close_with(reply.TEMPORARY)
        try:
            self._flush()
        except Exception as again:  # noqa: BLE001 - nothing more can be said on this connection
            self.failed(again)
            self._transport.abort()

    def _note_progress(self, session: Session) -> None:
        """Note when an unfinished command or a message began to arrive."""
        if session.in_data:
            self._data_since = self._data_since or self._door.now
        else:
            self._data_since = 0.0
        if session.partial:
            self._command_since = self._command_since or self._door.now
        else:
            self._command_since = 0.0

    def _rest(self) -> None:
        """Let other connections have the loop: those that bring much take turns."""
        self._burst = 0
        self._resting = True
        self._control_reading()
        self._door.rest(self)

    def rested(self) -> None:
        """Read again."""
        self._resting = False
        self._control_reading()

    def _control_reading(self) -> None:
        sink = self._sink
        blocked = self._resting or self._choked or self._session.overfull or (sink is not None and sink.overfull)
        if blocked == self._paused or self._linger or self._transport.is_closing():
            return
        self._paused = blocked
        if blocked:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # --- SessionDoor --------------------------------------------------------------------------------------------

    def authenticate(self, username: str, password: str, done: "Callable[[AuthAnswer], None]") -> None:
        """Check a user. The answer waits as long as the failure limits ask, right or wrong (no oracle in time)."""
        services = self._services
        try:
            gate = services.permits.auth_gate(self._peer, username)
            if gate.refused:
                services.metrics.count("relay_auth_total", "refused")
                done(Blocked.BLOCKED)
                return
            result = services.authenticator.check(username, password)
            delay_seconds = gate.delay_seconds
        except Exception as error:  # noqa: BLE001 - whatever is wrong is ours, never the client's (SMTP-012)
            self.failed(error)
            result, delay_seconds = Refusal(Reason.AUTH_TEMPORARY), 0.0
        self._report_auth(username, result)
        if delay_seconds > 0:
            self._door.loop.call_later(delay_seconds, self._admit, result, done)
        else:
            self._admit(result, done)

    def _report_auth(self, username: str, result: str | Refusal) -> None:
        services = self._services
        wrong = isinstance(result, Refusal) and result.reason.code >= HARD_ERROR
        label = "succeeded" if isinstance(result, str) else "failed" if wrong else "temporary"
        services.metrics.count("relay_auth_total", label)
        wrong = isinstance(result, Refusal) and result.reason is Reason.CREDENTIALS_INVALID
        if wrong:
            services.log.info("authentication failed", peer=self._peer, username=username)
        if wrong or isinstance(result, str):
            services.permits.auth_result(self._peer, username, succeeded=not wrong)

    def _admit(self, result: str | Refusal, done: "Callable[[AuthAnswer], None]") -> None:
        """Count the session for its account and give the answer to the session."""
        if isinstance(result, str) and not self._transport.is_closing() and not self._account:
            if not self._services.gate.enter_account(result):
                self._services.metrics.count("relay_sessions_refused_total", "connections")
                self._session.close_with(reply.TOO_MANY_CONNECTIONS)
                self._door.loop.call_soon(self._flush)
                return
            self._account = result
        done(result)

    def now_ms(self) -> int:
        """Return the time in milliseconds since 1970."""
        return self._services.clock.now_ms()

    def client_named(self, address: str | None) -> bool | reply.Reply:
        """Count the client at another address (XCLIENT) and judge it anew."""
        if address == "":  # whoever it is: counted where it was, and trusted no more
            self._trusted = False
        elif address is not None:
            trusted = self._listener.trusts(address)
            if self._admitted:
                self._services.gate.leave(self._peer)
            self._peer = address
            refused = self._admission(trusted=trusted)
            self._admitted, self._trusted = refused is None, trusted
            if refused is not None:
                return refused
        return self._trusted

    def open_sink(self) -> "IncomingBody":
        """Open a file for a large body."""
        self._sink = self._door.incoming.open(self._control_reading)
        return self._sink

    def refused(self, label: str) -> None:
        """Count a refusal."""
        self._services.metrics.count("relay_messages_refused_total", label)

    def failed(self, error: Exception) -> None:
        """Log a fault of ours."""
        trace = "".join(traceback.format_exception(error))
        self._services.log.error("smtp session fault", peer=self._peer, error=repr(error), trace=trace)

    def resumed(self) -> None:
        """Write what a late answer brought and go on reading."""
        self._last = self._door.now
        try:
            self._flush()
        except Exception as error:  # noqa: BLE001 - one session's fault must not reach others
            self._broken(error)

    # --- deadlines and the end ----------------------------------------------------------------------------------

    def check(self, now: float, *, stressed: bool) -> None:
        """Look at the deadlines; called once a tick."""
        if self._linger:
            if now - self._last > LINGER_SECONDS:
                self._transport.abort()
            return
        policy, session = self._session.policy, self._session
        if self._proxy is not None:
            if now - self._since > policy.proxy_header_seconds:
                self._services.metrics.count("relay_sessions_refused_total", "proxy_header")
                self._transport.abort()
            return
        if self._handshake_since:
            if now - self._handshake_since > policy.tls_handshake_seconds:
                self._services.metrics.count("relay_tls_failures_total")
                self._transport.abort()
            return
        if session.waiting:
            return
        overdue = self._overdue(now, stressed=stressed)
        if overdue:
            self._session.close_with(reply.TIMED_OUT, overdue)
            self._flush_from_outside()
        elif policy.session_seconds_max and now - self._since > policy.session_seconds_max:
            self.drain()

    def _overdue(self, now: float, *, stressed: bool) -> str:
        """Return the deadline that has passed, "" when none has (SMTP-026)."""
        policy, session = self._session.policy, self._session
        silent_seconds = now - self._last
        if session.in_data:
            elapsed = now - self._data_since
            slow = elapsed > policy.data_grace_seconds and session.data_bytes < elapsed * policy.data_rate_min
            if slow:
                return "rate"
            return "deadline" if silent_seconds > policy.data_block_timeout_seconds else ""
        idle = policy.stress_idle_timeout_seconds if stressed else policy.idle_timeout_seconds
        if silent_seconds > min(idle, policy.idle_timeout_seconds):
            return "idle"
        if session.partial and self._command_since and now - self._command_since > policy.command_deadline_seconds:
            return "deadline"
        return ""

    def stress(self, *, stressed: bool) -> None:
        """Pass on that the worker is nearly full, or no more."""
        self._session.stress(stressed=stressed)

    def drain(self) -> None:
        """End the session between messages; one that has no TLS yet has none to wait for."""
        if self._handshake_since or self._proxy is not None:
            self._transport.abort()
            return
        self._session.drain()
        self._flush_from_outside()

    def _flush_from_outside(self) -> None:
        if self._handshake_since or self._linger or self._proxy is not None:
            return
        try:
            self._flush()
        except Exception as error:  # noqa: BLE001 - one session's fault must not reach others
            self._broken(error)

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()
