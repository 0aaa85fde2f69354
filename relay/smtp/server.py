"""The server side of one SMTP session, without any input or output of its own.

States, and what leads from one to the next (`_TABLE` is the whole truth; a command it does not list in a state
gets the reply that state has for everything else):

    CLEAR      a submission listener before TLS: EHLO, NOOP, STARTTLS and QUIT only (SMTP-002)
    HELLO      EHLO or HELO is expected: a new session, and again after STARTTLS
    GREETED    a submission listener, not authenticated: no mail
    READY      between messages
    MAIL       a sender was given
    RCPT       a recipient was accepted as well
    CHUNKS     a message is arriving by BDAT, between two of its chunks (RFC 3030)

`receive` takes whatever arrived and works through it; `take_output` returns all replies at once, in order
(PIPELINING, RFC 2920). When an answer is not known at once (AUTH, end of data) nothing further is parsed until it
is; the door stops reading meanwhile, so the buffer stays bounded. Then the door's `resumed` is called.

What a line is says `server_lines`, where a message ends `server_data` and `server_chunks`.
This module is long because it is one idea: the dialogue of RFC 5321 section 4, in order.
"""

from collections.abc import Callable
from enum import IntEnum, auto
from typing import Any

from relay.model.message import RECIPIENTS_HARD_MAX
from relay.model.refusal import Accepted, Reason, Refusal
from relay.ports import Intake
from relay.smtp import reply
from relay.smtp.command import (
    COMMAND_LINE_MAX_BYTES,
    LINE_MAX_BYTES,
    MailFrom,
    parse_hello,
    parse_mail,
    parse_rcpt,
)
from relay.smtp.extensions import auth_offered, greeting
from relay.smtp.reply import Reply
from relay.smtp.server_auth import Credentials, Exchange, begin
from relay.smtp.server_chunks import ChunkStage, SkipStage, parse_bdat
from relay.smtp.server_content import Gathering, Received
from relay.smtp.server_data import DataStage
from relay.smtp.server_dialect import Dialect
from relay.smtp.server_door import AuthAnswer, Blocked, SessionDoor
from relay.smtp.server_envelope import Envelope, transmission
from relay.smtp.server_lines import LineReader
from relay.smtp.server_policy import ListenerKind, TlsMode
from relay.smtp.xclient import XClient, parse_xclient

HELD_INPUT_MAX_BYTES = 64 * 1024  # read no more while an answer is awaited and this much waits
CHUNK_EXCESS_MAX_BYTES = 64 << 20  # how far over the limit of a message a chunk may be to be consumed and refused
HARD_ERROR = 500
NOTHING_OFFERED: frozenset[str] = frozenset()


class State(IntEnum):
    """Where a session is in its dialogue."""

    CLEAR = auto()
    HELLO = auto()
    GREETED = auto()
    READY = auto()
    MAIL = auto()
    RCPT = auto()
    CHUNKS = auto()


class Session:
    """One session. The door reads `closing`, `starting_tls`, `waiting`, `in_data` and `partial` after each call."""

    __slots__ = (
        "_auth_failures",
        "_buffer",
        "_chunks",
        "_commands",
        "_data",
        "_dialect",
        "_door",
        "_draining",
        "_enhanced",
        "_envelope",
        "_errors",
        "_esmtp",
        "_exchange",
        "_gathering",
        "_given",
        "_helo",
        "_intake",
        "_junk",
        "_lines",
        "_messages",
        "_named",
        "_out",
        "_running",
        "_session_id",
        "_source",
        "_state",
        "_stressed",
        "_trusted",
        "_user",
        "account",
        "cause",
        "closing",
        "encrypted",
        "may_name",
        "policy",
        "principal",
        "said_bye",
        "starting_tls",
        "waiting",
    )

    def __init__(self, dialect: Dialect, door: SessionDoor, intake: Intake, source: str, *, trusted: bool) -> None:
        policy = dialect.policy
        self._dialect = dialect
        self.policy = policy
        self._door = door
        self._intake = intake
        self._source = source
        self._trusted = trusted
        self._enhanced = policy.enhanced_codes
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._exchange: Exchange | None = None
        self._user = ""
        self._data: DataStage | ChunkStage | SkipStage | None = None  # takes what arrives, while it is no command
        self._chunks: ChunkStage | None = None
        self._gathering: Gathering | None = None
        self._envelope: Envelope | None = None
        self._named: XClient | None = None
        self._session_id = ""
        self._helo = ""
        self._esmtp = False
        self._errors = self._junk = self._auth_failures = self._messages = 0
        self._running = self._draining = self._stressed = False
        self._lines = LineReader()
        self._given = False  # the message is in the hands of the intake
        self.encrypted = policy.tls is TlsMode.IMPLICIT
        self.cause = "lost"
        self.principal = ""
        self.may_name = False  # XCLIENT is taken from this client; the door says so before it greets
        self.account = policy.trusted_account if trusted else ""
        self.closing = self.starting_tls = self.waiting = self.said_bye = False
        self._forget()
        self._enter(self._first_state())

    # --- what the door calls ------------------------------------------------------------------------------------

    def greet(self, session_id: str) -> None:
        """Say the first line; call once, inside TLS on an implicit listener."""
        self._session_id = session_id
        self._out.append(greeting(self.policy, session_id))

    def receive(self, data: bytes) -> None:
        """Take what arrived; afterwards take the output."""
        if self.closing:
            return
        self._buffer += data
        if not self.waiting:
            self._run()

    def take_output(self) -> bytes:
        """Return everything to be written now, as one piece, and forget it."""
        out = self._out
        if not out:
            return b""
        joined = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return joined

    def tls_started(self) -> None:
        """Begin anew inside TLS: nothing said before counts (SMTP-006, RFC 3207 section 4.2)."""
        self.encrypted = True
        self.starting_tls = False
        self._buffer.clear()
        self._helo = ""
        self._forget()
        self._enter(State.HELLO)

    def close_with(self, answer: Reply, cause: str = "") -> None:
        """Say a last line and end the session, whatever it was doing; `cause` is for the statistics."""
        if self.closing:
            return
        self.cause = cause or _CAUSES.get(answer, "protocol")
        self._say_bytes(answer)
        self.lost()

    def drain(self) -> None:
        """End the session with 421 as soon as it is between messages (SMTP-029)."""
        self._draining = True
        self._end_if_draining()

    def stress(self, *, stressed: bool) -> None:
        """Tell the session whether the listener is nearly full: then one error ends it (RFC 5321 section 4.5.3)."""
        self._stressed = stressed

    def lost(self) -> None:
        """Drop everything: the connection is gone or about to be."""
        self.closing = True
        self._buffer.clear()
        if not self._given:
            self._drop_message()

    @property
    def in_data(self) -> bool:
        """True while the text of a message is being received, between its chunks too."""
        return not self.waiting and (self._data is not None or self._chunks is not None)

    @property
    def partial(self) -> bool:
        """True while a command line has begun to arrive and is not complete."""
        return self._data is None and not self.waiting and (self._lines.skipping or len(self._buffer) > 0)

    @property
    def overfull(self) -> bool:
        """True when no more should be read before the answer that is awaited has come."""
        return self.waiting and len(self._buffer) >= HELD_INPUT_MAX_BYTES

    @property
    def data_bytes(self) -> int:
        """Octets of the message received so far, or 0 outside DATA and BDAT."""
        stage = self._data or self._chunks
        return 0 if stage is None else stage.taken_bytes + len(self._buffer)

    # --- the loop -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._running = True
        try:
            while not (self.waiting or self.closing or self.starting_tls):
                if self._data is not None:
                    if not self._data.feed(self._buffer):
                        return
                    self._end_of_stage(self._data)
                elif not self._next_line():
                    return
        finally:
            self._running = False

    def _next_line(self) -> bool:
        """Work on one line, if it is there."""
        line = self._lines.next(self._buffer)
        if line is None:
            return False
        if isinstance(line, Reply):
            self._exchange = None
            if line is reply.TOO_MANY_ERRORS:
                self.close_with(line)
            else:
                self._say(line)
        elif self._exchange is not None:
            self._continue_auth(line)
        else:
            self._command(line)
        return True

    def _command(self, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        if len(line) > LINE_MAX_BYTES.get(verb, COMMAND_LINE_MAX_BYTES):
            self._say(reply.LINE_TOO_LONG)
            return
        if verb in _JUNK:
            self._junk += 1
            if self._junk > self.policy.junk_commands_max:
                self.close_with(reply.TOO_MANY_COMMANDS)
                return
        action = self._commands.get(verb)
        if action is None:
            self._unlisted(verb)
        elif isinstance(action, Reply):
            self._say(action)
        else:
            action(self, argument)

    def _unlisted(self, verb: bytes) -> None:
        if verb in _HTTP:
            self.close_with(reply.NOT_HTTP)
        elif self._state is State.CLEAR:
            self._say(reply.TLS_REQUIRED)
        else:
            self._say(reply.NOT_IMPLEMENTED if verb in _NOT_OFFERED else reply.UNKNOWN_COMMAND)

    # --- replies and state --------------------------------------------------------------------------------------

    def _say_bytes(self, answer: Reply) -> None:
        self._out.append(answer.rich if self._enhanced else answer.plain)

    def _say(self, answer: Reply) -> None:
        self._out.append(answer.rich if self._enhanced else answer.plain)
        if answer.code < HARD_ERROR:
            return
        self._errors += 1
        if self._errors >= (1 if self._stressed else self.policy.errors_max):
            self.close_with(reply.TOO_MANY_ERRORS)

    def _refuse(self, refusal: Refusal) -> None:
        reason = refusal.reason
        self._say(Reply(reason.code, reason.enhanced, refusal.text))

    def _enter(self, state: State) -> None:
        self._state = state
        self._commands = _TABLE[state]

    def _first_state(self) -> State:
        policy = self.policy
        must_encrypt = policy.kind is ListenerKind.SUBMISSION and policy.tls is TlsMode.STARTTLS
        return State.CLEAR if must_encrypt and not self.encrypted and not self._trusted else State.HELLO

    def _idle_state(self) -> State:
        """Return the state between messages, which depends on who the client is."""
        if not self._helo:
            return self._first_state()
        if self.account or self.policy.kind is ListenerKind.MX:
            return State.READY
        return State.GREETED if self._first_state() is State.HELLO else State.CLEAR

    def _forget(self) -> None:
        """Drop the mail transaction."""
        self._exchange = None
        self._envelope = None
        if self._gathering is not None:
            self._drop_message()

    def _drop_message(self) -> None:
        """Drop what has arrived of a message."""
        if self._gathering is not None:
            self._gathering.abort()
            self._gathering = None
        self._data = self._chunks = None

    def _reset(self) -> None:
        self._forget()
        self._enter(self._idle_state())

    def _end_if_draining(self) -> None:
        between = self._state < State.MAIL and self._data is None
        if self._draining and between and not self.waiting and not self.starting_tls:
            self.close_with(reply.CLOSING)

    def _continue(self) -> None:
        """Go on after an answer; the loop does so itself when the answer came from inside the call."""
        self._end_if_draining()
        if self._running:
            return
        self._run()
        self._door.resumed()

    # --- commands -----------------------------------------------------------------------------------------------

    def _on_ehlo(self, argument: bytes) -> None:
        if self._hello(argument):
            self._esmtp = True
            now_ms = self._door.now_ms()
            self._out.append(self._dialect.ehlo(encrypted=self.encrypted, named=self.may_name, now_ms=now_ms))

    def _on_helo(self, argument: bytes) -> None:
        if self._hello(argument):
            self._esmtp = False
            self._out.append(self._dialect.helo)

    def _hello(self, argument: bytes) -> bool:
        name = parse_hello(argument)
        if name is None:
            self._say(reply.BAD_HELLO)
            return False
        self._helo = name
        self._reset()
        return True

    def _on_noop(self, _argument: bytes) -> None:
        self._say(reply.OK)

    def _on_rset(self, argument: bytes) -> None:
        if argument.strip(b" "):
            self._say(reply.BAD_ARGUMENT)
            return
        self._reset()
        self._say(reply.OK)
        self._end_if_draining()

    def _on_quit(self, argument: bytes) -> None:
        if argument.strip(b" "):
            self._say(reply.BAD_ARGUMENT)
        else:
            self.said_bye = True
            self.close_with(reply.BYE)

    def _on_starttls(self, argument: bytes) -> None:
        if argument.strip(b" "):
            self._say(reply.BAD_ARGUMENT)  # RFC 3207 section 4
        elif self.encrypted:
            self._say(reply.ALREADY_SECURE)
        elif self.policy.tls is not TlsMode.STARTTLS:
            self._say(reply.NOT_IMPLEMENTED)
        else:
            self._say(reply.READY_FOR_TLS)
            self._buffer.clear()  # bytes pipelined behind STARTTLS are dropped (SMTP-006)
            self.starting_tls = True

    def _on_auth(self, argument: bytes) -> None:
        if self.principal:
            self._say(reply.ALREADY_AUTHENTICATED)
            return
        if not auth_offered(self.policy, encrypted=self.encrypted):
            clear = self.policy.tls is TlsMode.STARTTLS
            self._say(reply.TLS_REQUIRED if clear else reply.NOT_IMPLEMENTED)
            return
        exchange, answer = begin(argument)
        self._auth_step(exchange, answer)

    def _continue_auth(self, line: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        self._auth_step(exchange, exchange.step(line))

    def _auth_step(self, exchange: Exchange | None, answer: Reply | Credentials) -> None:
        if isinstance(answer, Reply):
            self._exchange = exchange if answer.code < HARD_ERROR else None
            self._say(answer)
            return
        self._exchange = None
        self._user = answer.username
        self.waiting = True
        self._door.authenticate(answer.username, answer.password, self._authenticated)

    def _authenticated(self, answer: AuthAnswer) -> None:
        self.waiting = False
        if self.closing:
            return
        if isinstance(answer, str):
            self.principal, self.account = self._user, answer
            self._enter(self._idle_state())
            self._say(reply.AUTHENTICATED)
        elif isinstance(answer, Blocked):
            self.close_with(reply.TOO_MANY_AUTH_FAILURES)
        else:
            self._auth_refused(answer)
        self._continue()

    def _auth_refused(self, refusal: Refusal) -> None:
        self._refuse(refusal)
        if refusal.reason.code < HARD_ERROR:
            return
        self._auth_failures += 1
        if self._auth_failures >= self.policy.auth_failures_max:
            self.close_with(reply.TOO_MANY_AUTH_FAILURES)

    def _on_mail(self, argument: bytes) -> None:
        policy = self.policy
        if policy.messages_max and self._messages >= policy.messages_max:
            self.close_with(reply.TOO_MANY_MESSAGES)
            return
        if self.principal and not self._still_authenticated():
            self._say(reply.AUTH_REQUIRED)
            return
        command = parse_mail(argument, self._offered)
        fault = command if isinstance(command, Reply) else self._held_too_long(command)
        if fault is not None or isinstance(command, Reply):
            self._say(fault or reply.BAD_MAIL)
            return
        if command.size_bytes > policy.message_size_max:
            self._door.refused(Reason.MESSAGE_TOO_LONG.label)
            self._refuse(Refusal(Reason.MESSAGE_TOO_LONG))
            return
        if not command.sender and not policy.null_sender and self.account:
            self._say(reply.NO_NULL_SENDER)
            return
        refusal = self._ask(self._intake.may_start, command.size_bytes)
        if refusal is not None:
            self._refuse(refusal)
            return
        self._forget()
        self._envelope = Envelope(command, receiving_only=not self.account)
        self._enter(State.MAIL)
        self._say(reply.SENDER_OK)

    @property
    def _offered(self) -> frozenset[str]:
        """The extensions whose parameters this client may use: none after HELO."""
        if not self._esmtp:
            return NOTHING_OFFERED
        return self._dialect.offered_secure if self.encrypted else self._dialect.offered

    def _held_too_long(self, command: MailFrom) -> Reply | None:
        """Judge when a message is to leave (RFC 4865 section 5)."""
        wishes, longest = command.wishes, self.policy.hold_seconds_max
        if wishes.hold_until_ms:
            ahead_ms = wishes.hold_until_ms - self._door.now_ms()
            if ahead_ms <= 0:
                return reply.HELD_TO_THE_PAST
            # The latest time was told with the answer to EHLO, which may be a minute old.
            return reply.HELD_TOO_LONG if ahead_ms > longest * 1000 else None
        return reply.HELD_TOO_LONG if wishes.hold_seconds > longest else None

    def _still_authenticated(self) -> bool:
        """Look again whether the credential may be used: it may have been revoked meanwhile (CRED-011)."""
        try:
            account = self._intake.account_of(self.principal)
        except Exception as error:  # noqa: BLE001 - any fault of ours: what held at AUTH holds until it is repaired
            self._door.failed(error)
            return True
        if account is not None:
            self.account = account
            return True
        self.principal = ""
        self.account = self.policy.trusted_account if self._trusted else ""
        self._enter(self._idle_state())
        return False

    def _ask(self, question: Callable[[Any], Refusal | None], argument: object) -> Refusal | None:
        try:
            return question(argument)
        except Exception as error:  # noqa: BLE001 - any fault of ours is a temporary one to the client (SMTP-028)
            self._door.failed(error)
            return Refusal(Reason.TEMPORARY)

    def _on_rcpt(self, argument: bytes) -> None:
        policy, envelope = self.policy, self._envelope
        assert envelope is not None
        envelope.tried_recipients = True
        command = parse_rcpt(argument, self._offered, smtputf8=envelope.utf8, hostname=policy.hostname)
        if isinstance(command, Reply):
            self._say(command)
            return
        full = len(envelope.recipients) >= min(policy.recipients_max, RECIPIENTS_HARD_MAX)
        if full and command.recipient not in envelope.recipients:
            if policy.recipient_limit_reply == Reason.TOO_MANY_RECIPIENTS.code:
                envelope.overflow = True  # SMTP-019: told at the end of data
                self._say(reply.RECIPIENT_OK)
            else:
                self._say(reply.TOO_MANY_RECIPIENTS)
            return
        if envelope.receiving_only:
            refusal = self._ask(self._intake.may_receive, command.recipient)
            if refusal is not None:
                self._refuse(refusal)
                return
        envelope.add(command)
        self._enter(State.RCPT)
        self._say(reply.RECIPIENT_OK)

    def _on_data(self, argument: bytes) -> None:
        if argument.strip(b" "):
            self._say(reply.BAD_ARGUMENT)
        elif self._state is State.MAIL:
            self._say(self._no_recipients())
        else:
            self._data = DataStage(self._gather())
            self._say(reply.START_INPUT)

    def _no_recipients(self) -> Reply:
        tried = self._envelope is not None and self._envelope.tried_recipients
        return reply.NO_RECIPIENTS if tried else reply.BAD_SEQUENCE

    def _gather(self) -> Gathering:
        policy = self.policy
        self._gathering = Gathering(policy.message_size_max, policy.head_size_max, self._door.open_sink)
        return self._gathering

    def _on_bdat(self, argument: bytes) -> None:
        """Expect a chunk: its octets follow whatever the answer will be (RFC 3030 section 2)."""
        policy = self.policy
        if not (policy.chunking and self._esmtp):
            self._say(reply.NOT_IMPLEMENTED)
            return
        command = parse_bdat(argument)
        if command is None:
            if self._state is State.CHUNKS:  # nobody knows any more what belongs to the message
                self._reset()
            self._say(reply.BAD_BDAT)
        elif command.size_bytes > policy.message_size_max + CHUNK_EXCESS_MAX_BYTES:
            self.close_with(reply.TOO_LARGE)
        elif self._state not in (State.RCPT, State.CHUNKS):
            self._data = SkipStage(command.size_bytes, self._out_of_place())
        else:
            if self._chunks is None:
                self._chunks = ChunkStage(self._gather())
                self._enter(State.CHUNKS)
            self._chunks.begin(command, policy.message_size_max)
            self._data = self._chunks

    def _out_of_place(self) -> Reply:
        """Return the answer to BDAT where there is no transaction with a recipient."""
        if self._state is State.MAIL:
            return self._no_recipients()
        return _WITHOUT_TRANSACTION.get(self._state, reply.BAD_SEQUENCE)

    # --- XCLIENT ------------------------------------------------------------------------------------------------

    def _on_xclient(self, argument: bytes) -> None:
        """Begin anew with the client that a trusted front end names, as Postfix does."""
        if not self.may_name:
            self._unlisted(b"XCLIENT")
            return
        command = parse_xclient(argument)
        if isinstance(command, Reply):
            self._say(command)
            return
        account = self._named_account(command)
        if isinstance(account, Reply):
            self._say(account)
            return
        trusted = self._door.client_named(command.address)
        if isinstance(trusted, Reply):
            self.close_with(trusted)
            return
        self._trusted = trusted
        self._source = self._source if command.address is None else command.address
        self._named = command
        self.principal = (command.login or "") if account else ""
        self.account = account or (self.policy.trusted_account if trusted else "")
        self._helo = ""
        self._forget()
        self._enter(self._first_state())
        self._out.append(greeting(self.policy, self._session_id))

    def _named_account(self, command: XClient) -> str | Reply:
        """Return the account of the user that a front end has checked, "" without one: never more than configured."""
        if not command.login:
            return ""
        if not self.policy.xclient_login:
            return reply.LOGIN_NOT_TAKEN
        if self._first_state() is State.CLEAR and not self._trusted:
            return reply.TLS_REQUIRED
        try:
            return self._intake.account_of(command.login) or _CREDENTIALS_INVALID
        except Exception as error:  # noqa: BLE001 - any fault of ours is a temporary one to the client (SMTP-028)
            self._door.failed(error)
            return reply.AUTH_TEMPORARY

    # --- the end of data ----------------------------------------------------------------------------------------

    def _end_of_stage(self, stage: DataStage | ChunkStage | SkipStage) -> None:
        if isinstance(stage, DataStage):
            self._end_of_data()
        elif isinstance(stage, ChunkStage):
            self._end_of_chunk(stage)
        else:
            self._data = None
            self._say(stage.answer)

    def _end_of_chunk(self, chunks: ChunkStage) -> None:
        gathering = self._gathering
        assert gathering is not None
        if chunks.last:
            chunks.complete()
            self._end_of_data()
            return
        self._data = None
        if gathering.fault is None:
            self._say(reply.OK)
            return
        fault = gathering.fault
        self._door.refused(fault.reason.label)
        self._reset()
        self._refuse(fault)

    def _end_of_data(self) -> None:
        gathering, envelope = self._gathering, self._envelope
        assert gathering is not None
        self.waiting = True
        self._messages += 1
        if envelope is not None and envelope.overflow:
            gathering.refuse(Refusal(Reason.TOO_MANY_RECIPIENTS, str(self.policy.recipients_max)))
        gathering.finish(self._received)

    def _received(self, received: Received | Refusal) -> None:
        if isinstance(received, Refusal):
            self._door.refused(received.reason.label)
            self._answered(received)
            return
        if self.closing:
            return
        envelope, named = self._envelope, self._named
        assert envelope is not None
        esmtp = self._esmtp if named is None or named.esmtp is None else named.esmtp
        submission = envelope.submission(
            received,
            account=self.account,
            principal=self.principal,
            protocol=transmission(
                utf8=envelope.utf8, esmtp=esmtp, secure=self.encrypted, authenticated=bool(self.principal)
            ),
            source=self._source,
            helo=self._helo if named is None or named.helo is None else named.helo,
        )
        self._given = True
        take = self._intake.receive if envelope.receiving_only else self._intake.submit
        try:
            take(submission, self._answered)
        except Exception as error:  # noqa: BLE001 - any fault of ours is a temporary one to the client (SMTP-028)
            self._door.failed(error)
            if self.waiting:
                self._answered(Refusal(Reason.TEMPORARY))

    def _answered(self, result: Accepted | Refusal) -> None:
        self._drop_message()  # also of a message that was taken: the spool has moved its body, a report needs none
        self.waiting = self._given = False
        if self.closing:
            return
        self._reset()
        if isinstance(result, Accepted):
            self._errors = self._junk = 0  # a client that gets its work done is a good client
            self._out.append(reply.acceptance(result.message_id, enhanced=self._enhanced))
        else:
            self._refuse(result)
        self._continue()


_CAUSES = {
    reply.BYE: "quit",
    reply.TOO_MANY_ERRORS: "errors",
    reply.TOO_MANY_COMMANDS: "junk",
    reply.TOO_MANY_AUTH_FAILURES: "errors",
    reply.CLOSING: "drain",
    reply.TOO_MANY_MESSAGES: "drain",
}

_WITHOUT_TRANSACTION = {State.CLEAR: reply.TLS_REQUIRED, State.GREETED: reply.AUTH_REQUIRED}
_CREDENTIALS_INVALID = Reply(
    Reason.CREDENTIALS_INVALID.code, Reason.CREDENTIALS_INVALID.enhanced, Reason.CREDENTIALS_INVALID.text
)

Action = Reply | Callable[[Session, bytes], None]

# Commands that do not move mail: too many of them without a message end the session.
_JUNK = frozenset((b"NOOP", b"RSET", b"VRFY", b"EXPN", b"HELP", b"EHLO", b"HELO"))
_HTTP = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI", b"HOST:")
)
_NOT_OFFERED = frozenset((b"ETRN", b"ATRN", b"TURN", b"BURL", b"SEND", b"SOML", b"SAML"))

# Rows hold the functions themselves: a command costs one look-up.
_ALWAYS: dict[bytes, Action] = {
    b"EHLO": Session._on_ehlo,  # noqa: SLF001 - the table belongs to the class
    b"HELO": Session._on_helo,  # noqa: SLF001
    b"NOOP": Session._on_noop,  # noqa: SLF001
    b"RSET": Session._on_rset,  # noqa: SLF001
    b"QUIT": Session._on_quit,  # noqa: SLF001
    b"STARTTLS": Session._on_starttls,  # noqa: SLF001
    b"HELP": reply.HELP,
    b"VRFY": reply.CANNOT_VERIFY,
    b"EXPN": reply.NOT_IMPLEMENTED,
    b"AUTH": reply.BAD_SEQUENCE,
    b"MAIL": reply.BAD_SEQUENCE,
    b"RCPT": reply.BAD_SEQUENCE,
    b"DATA": reply.BAD_SEQUENCE,
    b"BDAT": Session._on_bdat,  # noqa: SLF001
    b"XCLIENT": Session._on_xclient,  # noqa: SLF001
}
_TABLE: dict[State, dict[bytes, Action]] = {
    State.CLEAR: {verb: _ALWAYS[verb] for verb in (b"EHLO", b"NOOP", b"QUIT", b"STARTTLS", b"BDAT", b"XCLIENT")},
    State.HELLO: _ALWAYS,
    State.GREETED: _ALWAYS
    | {
        b"AUTH": Session._on_auth,  # noqa: SLF001
        b"MAIL": reply.AUTH_REQUIRED,
        b"RCPT": reply.AUTH_REQUIRED,
        b"DATA": reply.AUTH_REQUIRED,
    },
    State.READY: _ALWAYS | {b"AUTH": Session._on_auth, b"MAIL": Session._on_mail},  # noqa: SLF001
    State.MAIL: _ALWAYS | {b"RCPT": Session._on_rcpt, b"DATA": Session._on_data, b"XCLIENT": reply.BAD_SEQUENCE},  # noqa: SLF001
    State.RCPT: _ALWAYS | {b"RCPT": Session._on_rcpt, b"DATA": Session._on_data, b"XCLIENT": reply.BAD_SEQUENCE},  # noqa: SLF001
    State.CHUNKS: _ALWAYS | {b"XCLIENT": reply.BAD_SEQUENCE},
}
