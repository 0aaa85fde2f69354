"""The server side of one SMTP session, without any input or output of its own.

`receive` takes whatever arrived and works through it; `take_output` returns all replies at once, in order
(PIPELINING, RFC 2920). When an answer is not known at once (AUTH, end of data) nothing further is parsed until it
is; the door stops reading meanwhile, so the buffer stays bounded. Then the door's `resumed` is called.

This is the loop alone; the rooms beside it are listed in the package.
"""

from relay.ports import Intake
from relay.smtp.server import reply
from relay.smtp.server.command import COMMAND_LINE_MAX_BYTES, LINE_MAX_BYTES
from relay.smtp.server.dialect import Dialect
from relay.smtp.server.dialogue import Dialogue
from relay.smtp.server.door import SessionDoor
from relay.smtp.server.extensions import greeting
from relay.smtp.server.lines import LineReader
from relay.smtp.server.login import on_response
from relay.smtp.server.reply import Reply
from relay.smtp.server.table import JUNK, TABLE
from relay.smtp.server.text import on_end_of_stage, on_more_text
from relay.smtp.server.unknown import on_unknown

HELD_INPUT_MAX_BYTES = 64 * 1024  # read no more while an answer is awaited and this much waits


class Session(Dialogue):
    """One session. The door reads `closing`, `starting_tls`, `waiting`, `in_data` and `partial` after each call."""

    __slots__ = ("_lines", "_running")

    def __init__(self, dialect: Dialect, door: SessionDoor, intake: Intake, source: str, *, trusted: bool) -> None:
        super().__init__(dialect, door, intake, source, trusted=trusted)
        self._lines = LineReader()
        self._running = False

    # --- what the door calls --------------------------------------------------------------------------------------

    def greet(self, session_id: str) -> None:
        """Say the first line; call once, inside TLS on an implicit listener."""
        self.session_id = session_id
        self.write(greeting(self.policy, session_id))

    def receive(self, data: bytes) -> None:
        """Take what arrived; afterwards take the output."""
        if self.closing:
            return
        self._buffer += data
        if not self.waiting:
            self._run()
        if self._draining:  # EHLO or a refused chunk may have ended the transaction
            self.end_if_draining()

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
        self.starting_tls = False
        self.drop_input()
        self.client.secures()
        self.reset()

    def drain(self) -> None:
        """End the session with 421 as soon as it is between messages (SMTP-029)."""
        self._draining = True
        self.end_if_draining()

    def stress(self, *, stressed: bool) -> None:
        """Tell the session whether the listener is nearly full: then one error ends it (RFC 5321 section 4.5.3)."""
        self._stressed = stressed

    @property
    def encrypted(self) -> bool:
        """True inside TLS, and from the beginning on an implicit listener."""
        return self.client.encrypted

    @property
    def in_data(self) -> bool:
        """True while the text of a message is being received, between its chunks too."""
        transaction = self.transaction
        return not self.waiting and (transaction.stage is not None or transaction.chunks is not None)

    @property
    def partial(self) -> bool:
        """True while a command line has begun to arrive and is not complete."""
        return self.transaction.stage is None and not self.waiting and (self._lines.skipping or len(self._buffer) > 0)

    @property
    def overfull(self) -> bool:
        """True when no more should be read before the answer that is awaited has come."""
        return self.waiting and len(self._buffer) >= HELD_INPUT_MAX_BYTES

    @property
    def data_bytes(self) -> int:
        """Octets of the message received so far, or 0 outside DATA and BDAT."""
        stage = self.transaction.stage or self.transaction.chunks
        return 0 if stage is None else stage.taken_bytes + len(self._buffer)

    # --- the loop -------------------------------------------------------------------------------------------------

    def proceed(self) -> None:
        """Go on after an answer; the loop does so itself when the answer came from inside the call."""
        self.end_if_draining()
        if self._running:
            return
        self._run()
        self.door.resumed()

    def _run(self) -> None:
        transaction = self.transaction
        self._running = True
        try:
            while not (self.waiting or self.closing or self.starting_tls):
                stage = transaction.stage
                if stage is not None:
                    if not stage.feed(self._buffer):
                        on_more_text(self, stage)
                        return
                    on_end_of_stage(self, stage)
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
            self.exchange = None
            if line is reply.TOO_MANY_ERRORS:
                self.close_with(line)
            else:
                self.say(line)
        elif self.exchange is not None:
            on_response(self, self.exchange, line)
        else:
            self._command(line)
        return True

    def _command(self, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        size = len(line)
        if size > COMMAND_LINE_MAX_BYTES and size > LINE_MAX_BYTES.get(verb, COMMAND_LINE_MAX_BYTES):
            self.say(reply.LINE_TOO_LONG)
            return
        if verb in JUNK:
            self.junk += 1
            if self.junk > self.policy.junk_commands_max:
                self.close_with(reply.TOO_MANY_COMMANDS)
                return
        action = TABLE[self.state].get(verb)
        if action is None:
            on_unknown(self, verb)
        elif isinstance(action, Reply):
            self.say(action)
        else:
            action(self, argument)
