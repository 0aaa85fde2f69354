"""One SMTP connection as a client, without I/O: bytes in, bytes out, time as an argument.

Owns the dialogue of one connection: greeting, EHLO (HELO when that is refused), STARTTLS, AUTH, then any number of
transactions. Promises: commands are pipelined where the host offers it; `transaction_done` may call `send` again,
which continues in the same turn; the final dot of a transaction is not sent before every hold was released;
`session_ready` or `session_failed` is called once, `transaction_done` once for each `send` that returned None, and
`session_over` once after a session that was ready can carry nothing more. Never raises on what a remote sends.

Steps are a queue of expected replies; with PIPELINING several are expected at once, without it one.
This module is one idea and therefore longer than most.
"""

import base64
import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum

from relay.model.content import BodyFile
from relay.model.outcome import Stage, Verdict
from relay.smtp.client_answer import Answer, Fault, from_reply, local_failure, local_refusal, misunderstood
from relay.smtp.client_body import END, stuffed
from relay.smtp.client_envelope import Transaction, Unfit, fit, mail_command, rcpt_commands
from relay.smtp.client_extensions import Extensions, first_word, parse
from relay.smtp.client_options import ClientOptions, ClientUser, TlsUse, Wire
from relay.smtp.client_reply import Reply, ReplyError, ReplyReader
from relay.smtp.transcript import Transcript

NEVER = math.inf
_OK, _MORE, _FAILED = 2, 3, 5
_GREETING = 220
_CLOSING = 421
_TOO_MUCH = 552
_TOO_MUCH_SAID = "Host says more than it was asked for"
_NOT_ASKED = "(it broke off at EHLO, so it is spoken to by HELO for a while)"
_NO_REQUIRETLS = "REQUIRETLS support required, which the host does not offer"
_MISUNDERSTOOD = frozenset({500, 502, 503})  # what hosts say to commands they lost their place in


class Step(IntEnum):
    """A reply that is expected; the number is the row in `_STEPS`."""

    GREETING = 0
    EHLO = 1
    HELO = 2
    STARTTLS = 3
    HANDSHAKE = 4
    AUTH = 5
    AUTH_USER = 6
    AUTH_PASSWORD = 7
    RESET = 8
    MAIL = 9
    RCPT = 10
    DATA = 11
    FINAL_DOT = 12


_STEPS: tuple[tuple[Stage, str], ...] = (  # stage of the outcome, time-out
    (Stage.GREETING, "greeting"),
    (Stage.EHLO, "ehlo"),
    (Stage.EHLO, "ehlo"),
    (Stage.TLS, "tls"),
    (Stage.TLS, "tls"),
    (Stage.AUTH, "auth"),
    (Stage.AUTH, "auth"),
    (Stage.AUTH, "auth"),
    (Stage.MAIL, "reset"),
    (Stage.MAIL, "mail"),
    (Stage.RCPT, "rcpt"),
    (Stage.DATA, "data"),
    (Stage.FINAL_DOT, "final_dot"),
)


class Client:
    """The state of one connection. `deadline` is compared with the same clock that `now` comes from."""

    __slots__ = (
        "_answers",
        "_deadline_of",
        "_expected",
        "_held",
        "_log",
        "_next_recipient",
        "_options",
        "_parked",
        "_pipelined",
        "_reader",
        "_ready",
        "_reset_needed",
        "_streaming",
        "_tls_active",
        "_todo",
        "_transaction",
        "_user",
        "_wire",
        "deadline",
        "extensions",
        "open",
        "transactions",
    )

    def __init__(
        self, wire: Wire, user: ClientUser, options: ClientOptions, now: float, log: Transcript | None = None
    ) -> None:
        self._wire = wire
        self._user = user
        self._options = options
        self._log = log or Transcript(now)
        self._reader = ReplyReader()
        self._deadline_of: tuple[float, ...] = tuple(getattr(options.timeouts, name) for _, name in _STEPS)
        self._expected: deque[Step] = deque((Step.GREETING,))
        self._todo: deque[tuple[Step, bytes]] = deque()
        self._transaction: Transaction | None = None
        self._answers: list[Answer | None] = []
        self._next_recipient = 0
        self._held = 0
        self._parked = False
        self._pipelined = False
        self._ready = False
        self._reset_needed = False
        self._streaming = False
        self._tls_active = False
        self.open = True
        self.transactions = 0
        self.extensions = Extensions()
        self.deadline = now + options.timeouts.greeting
        if options.tls is TlsUse.IMPLICIT:
            self._expected[0] = Step.HANDSHAKE
            self.deadline = now + options.timeouts.tls
            wire.start_tls()

    # --- what the owner of the connection calls ---

    @property
    def idle(self) -> bool:
        """True when the session is ready and no transaction is under way."""
        return self.open and self._ready and self._transaction is None

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the wire."""
        if not self.open or (self._expected and self._expected[0] is Step.HANDSHAKE):
            return  # bytes in clear between STARTTLS and the handshake are nobody's
        self._reader.feed(data)
        try:
            while self.open and (reply := self._reader.next()) is not None:
                self._take(reply, now)
        except ReplyError as error:
            self._break_off(f"Host sent something that is not SMTP: {error}", "4.5.0")
            return
        if self._transaction is None and self.idle and self._reader.pending:
            self._leave()  # the rest of it would be taken for the reply to our next command

    def send(self, transaction: Transaction, now: float) -> Answer | None:
        """Start a transaction; only when `idle`. Return the refusal when this host can never take it, else None.

        `transaction_done` follows only after None, and never from inside the call.
        """
        assert self.idle
        fitted = fit(transaction, self.extensions, self._options.downgrade)
        if isinstance(fitted, Unfit):
            return self._unfit(fitted)
        self._log.begin()
        self._transaction = fitted
        self._answers = [None] * len(fitted.recipients)
        self._next_recipient = 0
        self._issue(fitted, now)
        return None

    def _unfit(self, why: Unfit) -> Answer:
        """Judge what keeps a message from this host: a host that was not asked what it offers may offer it."""
        if why.of_offer and not self._options.extended:
            return local_failure(Stage.LOCAL, f"4{why.enhanced[1:]}", f"{why.text} {_NOT_ASKED}", Fault.NONE)
        return local_refusal(Stage.LOCAL, why.enhanced, why.text)

    def hold(self) -> None:
        """Keep back the next final dot until `release` was called as often as `hold`."""
        self._held += 1

    def release(self, now: float) -> None:
        """Take back one hold."""
        self._held -= 1
        if self._held == 0 and self._parked:
            self._parked = False
            self._send_content(now)

    def tls_started(self, now: float) -> None:
        """The handshake succeeded: everything learnt before is forgotten (RFC 3207 section 4.2).

        Where TLS came first, the host has not greeted yet (RFC 8314 section 3).
        """
        if not self.open:
            return
        self._log.note(now, "TLS is on")
        self._reader.clear()
        self._expected.clear()
        self._tls_active = True
        self.extensions = Extensions()
        if self._options.tls is TlsUse.IMPLICIT:
            self._expected.append(Step.GREETING)
            self.deadline = now + self._options.timeouts.greeting
            return
        self._command(Step.EHLO, f"EHLO {self._options.helo_name}\r\n".encode(), now)

    def tls_failed(self, text: str) -> None:
        """The handshake failed."""
        self._fail_session(local_failure(Stage.TLS, "4.7.5", f"TLS failed: {text}", Fault.TLS))

    def content_progress(self, now: float) -> None:
        """A part of a streamed message has left."""
        if self._streaming:
            self.deadline = now + self._options.timeouts.block

    def content_written(self, now: float) -> None:
        """A streamed message has left whole, with its final dot."""
        self._streaming = False
        if self.open:
            self.deadline = now + self._options.timeouts.final_dot

    def content_failed(self, text: str) -> None:
        """A streamed message cannot be read; its final dot is never sent."""
        if self.open and self._transaction is not None:
            self._wire.abort()
            self._end_open(local_failure(Stage.LOCAL, "4.3.0", text, Fault.NONE))

    def lost(self, text: str) -> None:
        """The link is gone."""
        if self.open:
            self._broken(f"Connection lost {self._where()}: {text}", "4.4.2")

    def expire(self, now: float) -> None:
        """Give up when the deadline has passed."""
        if self.open and now >= self.deadline:
            self._wire.abort()
            self._broken(f"Timed out {self._where()}", "4.4.2")

    def quit(self) -> None:
        """End an idle session politely; nothing waits for the reply."""
        if not self.open:
            return
        self.open = False
        self.deadline = NEVER
        self._wire.write(b"QUIT\r\n")
        self._wire.close()

    # --- replies ---

    def _take(self, reply: Reply, now: float) -> None:
        self._log.received(now, reply)
        if not self._expected:
            self._unasked(reply)
            return
        step = self._expected.popleft()
        if reply.code == _CLOSING and step not in _JUDGE_CLOSING:
            self._closing(reply, step)
            return
        _HANDLERS[step](self, reply, now)

    def _unasked(self, reply: Reply) -> None:
        """A reply to nothing: a 421 before it closes an idle link, or a host out of step."""
        if self._transaction is not None:  # parked before its final dot
            text = f"Host gave up before the message was sent: {reply.code} {reply.text}"[:1000]
            self._close_with(local_failure(Stage.DATA, "4.4.2", text))
            return
        self._leave()

    def _leave(self) -> None:
        """Close an idle session whose host said something that nobody asked for."""
        self.open = False
        self.deadline = NEVER
        self._wire.close()
        self._user.session_over()

    def _closing(self, reply: Reply, step: Step) -> None:
        """421 may answer any command (RFC 5321 section 3.8): the message is untouched, the link is useless."""
        self._close_with(from_reply(reply, _STEPS[step][0], Fault.LINK))

    def _unexpected(self, reply: Reply, _now: float) -> None:
        """A reply in clear during the handshake; `receive` lets none through."""
        self._out_of_step(reply, Step.HANDSHAKE)

    def _command(self, step: Step, line: bytes, now: float) -> None:
        if self._reader.pending:  # what came too early would be taken for the reply to this
            self._answers = [None] * len(self._answers)
            self._close_with(local_failure(_STEPS[step][0], "4.5.0", _TOO_MUCH_SAID))
            return
        self._expected.append(step)
        self.deadline = now + self._deadline_of[step]
        self._log.sent(now, line if step not in _SECRET else _HIDDEN_LINE[step])
        self._wire.write(line)

    def _out_of_step(self, reply: Reply, step: Step, fault: Fault = Fault.LINK) -> None:
        """A reply that cannot be meant for this command: nobody can tell which recipient the others were for."""
        text = f"Host answered {step.name} with {reply.code} {reply.text}"[:1000]
        self._answers = [None] * len(self._answers)
        self._close_with(local_failure(_STEPS[step][0], "4.5.0", text, fault))

    # --- setting the session up ---

    def _on_greeting(self, reply: Reply, now: float) -> None:
        if reply.code == _GREETING:
            if self._is_us(reply):
                return
            if self._options.extended:
                self._command(Step.EHLO, f"EHLO {self._options.helo_name}\r\n".encode(), now)
            else:
                self._command(Step.HELO, f"HELO {self._options.helo_name}\r\n".encode(), now)
            return
        if reply.code // 100 in (2, 3):
            self._out_of_step(reply, Step.GREETING)
            return
        self._close_with(from_reply(reply, Stage.GREETING, Fault.LINK))

    def _on_ehlo(self, reply: Reply, now: float) -> None:
        kind = reply.code // 100
        if kind == _OK:
            if self._is_us(reply):
                return
            self.extensions = parse(reply)
            self._after_ehlo(now)
        elif kind == _FAILED:
            self._command(Step.HELO, f"HELO {self._options.helo_name}\r\n".encode(), now)
        elif kind == _MORE:
            self._out_of_step(reply, Step.EHLO)
        else:
            self._close_with(from_reply(reply, Stage.EHLO, Fault.LINK))

    def _on_helo(self, reply: Reply, now: float) -> None:
        if reply.code // 100 == _OK:
            if not self._is_us(reply):
                self._after_ehlo(now)
        elif reply.code // 100 == _MORE:
            self._out_of_step(reply, Step.HELO)
        else:
            self._close_with(from_reply(reply, Stage.EHLO, Fault.LINK))

    def _is_us(self, reply: Reply) -> bool:
        if first_word(reply) not in self._options.own_names:
            return False
        self._close_with(local_refusal(Stage.EHLO, "5.4.6", "Mail loops back to this host", Fault.LOOP))
        return True

    def _after_ehlo(self, now: float) -> None:
        use = self._options.tls
        if self._tls_active and self._options.requiretls and not self.extensions.requiretls:
            self._close_with(local_refusal(Stage.TLS, "5.7.30", _NO_REQUIRETLS))  # RFC 8689 section 4.2.1
        elif self._tls_active or use is TlsUse.NEVER:
            self._authenticate(now)
        elif self.extensions.starttls:
            self._command(Step.STARTTLS, b"STARTTLS\r\n", now)
        elif self._options.requiretls:
            self._close_with(
                local_refusal(Stage.TLS, "5.7.30", "REQUIRETLS asks for TLS, which the host does not offer")
            )
        elif use is TlsUse.REQUIRED:
            self._close_with(local_failure(Stage.TLS, "4.7.4", "TLS is required and the host does not offer it"))
        else:
            self._authenticate(now)

    def _on_starttls(self, reply: Reply, now: float) -> None:
        if reply.code != _GREETING:
            text = f"STARTTLS refused: {reply.code} {reply.text}"[:1000]
            self._close_with(local_failure(Stage.TLS, "4.7.5", text, Fault.TLS))
            return
        self._reader.clear()  # whatever came behind the 220 was injected in clear (RFC 3207 section 6)
        self._expected.append(Step.HANDSHAKE)
        self.deadline = now + self._options.timeouts.tls
        self._wire.start_tls()

    def _authenticate(self, now: float) -> None:
        options = self._options
        if not options.username:
            self._become_ready()
            return
        plain = base64.b64encode(f"\0{options.username}\0{options.password}".encode())
        coded = [base64.b64encode(secret.encode()).decode() for secret in (options.username, options.password)]
        self._log.hide(plain.decode(), *coded, options.password)
        if not (self._tls_active or options.clear_auth):
            self._close_with(local_failure(Stage.AUTH, "4.7.0", "Credentials are not sent without TLS"))
        elif "PLAIN" in self.extensions.auth:
            self._command(Step.AUTH_PASSWORD, b"AUTH PLAIN " + plain + b"\r\n", now)
        elif "LOGIN" in self.extensions.auth:
            self._command(Step.AUTH, b"AUTH LOGIN\r\n", now)
        else:
            self._close_with(local_failure(Stage.AUTH, "4.7.0", "Host offers neither AUTH PLAIN nor AUTH LOGIN"))

    def _on_auth(self, reply: Reply, now: float) -> None:
        self._challenge(reply, Step.AUTH_USER, self._options.username, now)

    def _on_auth_user(self, reply: Reply, now: float) -> None:
        self._challenge(reply, Step.AUTH_PASSWORD, self._options.password, now)

    def _challenge(self, reply: Reply, then: Step, secret: str, now: float) -> None:
        if reply.code // 100 != _MORE:
            self._auth_refused(reply)
            return
        self._command(then, base64.b64encode(secret.encode()) + b"\r\n", now)

    def _on_auth_password(self, reply: Reply, _now: float) -> None:
        if reply.code // 100 == _OK:
            self._become_ready()
            return
        self._auth_refused(reply)

    def _auth_refused(self, reply: Reply) -> None:
        """A wrong password is the operator's to mend: mail waits for that and does not bounce."""
        text = f"Host refused our credentials: {reply.code} {reply.text}"[:1000]
        self._close_with(local_failure(Stage.AUTH, "4.7.8", text))

    def _become_ready(self) -> None:
        if self._reader.pending:  # its next words would be taken for the reply to our next command
            self._close_with(local_failure(Stage.EHLO, "4.5.0", _TOO_MUCH_SAID))
            return
        self._ready = True
        self.deadline = NEVER
        self._user.session_ready()

    # --- transactions ---

    def _issue(self, transaction: Transaction, now: float) -> None:
        mail = mail_command(transaction, self.extensions)
        recipients = rcpt_commands(transaction, self.extensions)
        expected = self._expected
        self._pipelined = self.extensions.pipelining and self._options.pipelining
        if not self._pipelined:
            if self._reset_needed:
                self._todo.append((Step.RESET, b"RSET\r\n"))
            self._todo.append((Step.MAIL, mail))
            self._todo.extend((Step.RCPT, command) for command in recipients)
            self._reset_needed = False
            self._next_command(now)
            return
        parts = [mail, *recipients, b"DATA\r\n"]
        if self._reset_needed:
            self._reset_needed = False
            parts.insert(0, b"RSET\r\n")
            expected.append(Step.RESET)
        expected.append(Step.MAIL)
        expected.extend([Step.RCPT] * len(recipients))
        expected.append(Step.DATA)
        self.deadline = now + self._options.timeouts.mail
        data = b"".join(parts)
        self._log.sent(now, data)
        self._wire.write(data)

    def _next_command(self, now: float) -> None:
        if self._pipelined:
            self.deadline = now + self._deadline_of[self._expected[0]]
            return
        if self._todo:
            self._command(*self._todo.popleft(), now)
        elif None in self._answers:
            self._command(Step.DATA, b"DATA\r\n", now)
        else:
            self._reset_needed = True
            self._finish()

    def _on_reset(self, reply: Reply, now: float) -> None:
        if reply.code // 100 != _OK:
            self._out_of_step(reply, Step.RESET)
            return
        self._next_command(now)

    def _on_mail(self, reply: Reply, now: float) -> None:
        if reply.code // 100 == _OK:
            self._next_command(now)
        elif self._lied(reply):
            self._close_with(misunderstood(reply, Stage.MAIL))
        elif reply.code // 100 == _MORE:
            self._out_of_step(reply, Step.MAIL)
        else:
            self._answers = [from_reply(reply, Stage.MAIL)] * len(self._answers)
            self._todo.clear()
            self._next_command(now)

    def _on_rcpt(self, reply: Reply, now: float) -> None:
        index = self._next_recipient
        self._next_recipient += 1
        kind = reply.code // 100
        if kind != _OK and self._answers[index] is None:
            if self._lied(reply):
                self._close_with(misunderstood(reply, Stage.RCPT))
                return
            if kind == _MORE:
                self._out_of_step(reply, Step.RCPT)
                return
            self._answers[index] = self._refused_recipient(reply, index)
        self._next_command(now)

    def _refused_recipient(self, reply: Reply, index: int) -> Answer:
        """Too many recipients is 452, or 552 from old hosts (RFC 5321 section 4.5.3.1.10): the rest goes again."""
        answer = from_reply(reply, Stage.RCPT)
        if reply.code not in (_TOO_MUCH, 452) or None not in self._answers[:index]:
            return answer
        return replace(answer, verdict=Verdict.TEMPORARY, fault=Fault.CROWDED)

    def _lied(self, reply: Reply) -> bool:
        return self._pipelined and reply.code in _MISUNDERSTOOD

    def _on_data(self, reply: Reply, now: float) -> None:
        kind = reply.code // 100
        wanted = None in self._answers
        if kind == _MORE:
            if not wanted:  # RFC 2920 section 3.1: all were refused, so there is nothing to send
                self._command(Step.FINAL_DOT, END, now)
            elif self._held:
                self._parked = True
                self.deadline = now + self._options.timeouts.gate
            else:
                self._send_content(now)
            return
        if wanted and (kind == _OK or self._lied(reply)):
            self._out_of_step(reply, Step.DATA, Fault.PIPELINE if kind != _OK else Fault.LINK)
            return
        if wanted and len(self._answers) > 1 and self._reader.pending:
            self._out_of_step(reply, Step.DATA)  # perhaps the last recipient's reply, and DATA's comes behind it
            return
        self._reset_needed = True
        self._fill(from_reply(reply, Stage.DATA))
        self._finish()

    def _send_content(self, now: float) -> None:
        transaction = self._transaction
        assert transaction is not None
        if self._reader.pending:  # an answer from before the question must not become the answer to the message
            self._close_with(local_failure(Stage.DATA, "4.5.0", "Host answered the message before it was sent"))
            return
        content = transaction.content
        self._log.content(now, content.size_bytes)
        self._expected.append(Step.FINAL_DOT)
        if isinstance(content.body, BodyFile):
            self._streaming = True
            self.deadline = now + self._options.timeouts.block
            self._wire.write_content(content)
            return
        self.deadline = now + self._options.timeouts.final_dot
        self._wire.write(stuffed(content.head, content.body))

    def _on_final_dot(self, reply: Reply, _now: float) -> None:
        if self._streaming or self._wire.unsent():
            self._too_early(reply)
            return
        if reply.code == _CLOSING:
            self._closing(reply, Step.FINAL_DOT)
            return
        if reply.code // 100 == _MORE:  # no answer to a whole message: it may have it or not
            self._wire.close()
            self._end_open(self._unknown(f"Host answered the message with {reply.code} {reply.text}", "4.5.0"))
            return
        self._fill(from_reply(reply, Stage.FINAL_DOT))
        self._finish()

    def _too_early(self, reply: Reply) -> None:
        """The host did not wait for the final dot: no answer of its can mean that it has the message."""
        text = f"Host answered in the middle of the message: {reply.code} {reply.text}"
        self._wire.abort()
        if reply.code == _CLOSING:
            answer = from_reply(reply, Stage.FINAL_DOT, Fault.LINK)
        elif reply.code // 100 not in (_OK, _MORE):
            answer = from_reply(reply, Stage.DATA)
        elif self._streaming:
            answer = local_failure(Stage.DATA, "4.5.0", text[:1000])
        else:  # the dot is on its way
            answer = self._unknown(text, "4.5.0")
        self._end_open(answer)

    def _fill(self, answer: Answer) -> None:
        self._answers = [answer if known is None else known for known in self._answers]

    def _finish(self) -> None:
        """Hand the answers over; the user may send the next transaction from inside."""
        transaction = self._transaction
        assert transaction is not None
        answers = [answer for answer in self._answers if answer is not None]
        self._transaction = None
        self._answers = []
        self.transactions += 1
        self.deadline = NEVER
        strays = self.open and self._reader.pending
        if strays:  # a 421 behind its last answer, or a host out of step: nothing more on this link
            self.open = False
            self._wire.close()
        self._user.transaction_done(transaction, answers)
        if strays:
            self._user.session_over()

    # --- ends ---

    def _where(self) -> str:
        if self._parked:
            return "before the message was sent"
        if self._streaming:
            return "while the message was sent"
        step = self._expected[0] if self._expected else None
        if step is None:
            return "while idle"
        return _WHERE.get(step, f"while waiting for the reply to {step.name}")

    def _break_off(self, text: str, enhanced: str) -> None:
        self._wire.close()
        self._broken(text, enhanced)

    def _broken(self, text: str, enhanced: str) -> None:
        step = self._expected[0] if self._expected else Step.DATA
        answer = local_failure(_STEPS[step][0], enhanced, text[:1000], self._fault_of(step))
        if step is Step.FINAL_DOT and not self._streaming and None in self._answers:
            answer = self._unknown(text, enhanced)
        self._end_open(answer)

    def _unknown(self, text: str, enhanced: str) -> Answer:
        """Everything has left, the reply has not come: nobody can know (RFC 5321 section 6.1)."""
        return Answer(Verdict.UNKNOWN, Stage.FINAL_DOT, 0, enhanced, text[:1000], local=True)

    def _fault_of(self, step: Step) -> Fault:
        if step is Step.EHLO and not self._tls_active and self._options.extended:
            return Fault.EHLO
        if step in (Step.STARTTLS, Step.HANDSHAKE) or (step is Step.EHLO and self._tls_active):
            return Fault.TLS  # in TLS 1.3 a host that refuses our handshake says so when we think it is done
        if self._pipelined and step in (Step.RCPT, Step.DATA) and self._expected:
            return Fault.PIPELINE
        return Fault.LINK

    def _close_with(self, answer: Answer) -> None:
        self._wire.close()
        self._end_open(answer)

    def _fail_session(self, answer: Answer) -> None:
        if self.open:
            self._close_with(answer)

    def _end_open(self, answer: Answer) -> None:
        """The session is over; tell whoever waits for it."""
        self.open = False
        self.deadline = NEVER
        self._streaming = False
        self._parked = False
        self._expected.clear()
        if not self._ready:
            self._user.session_failed(answer)
            return
        if self._transaction is not None:
            self._fill(answer)
            self._finish()
        self._user.session_over()


_HANDLERS: tuple[Callable[[Client, Reply, float], None], ...] = (
    Client._on_greeting,  # noqa: SLF001 - its own table
    Client._on_ehlo,  # noqa: SLF001 - its own table
    Client._on_helo,  # noqa: SLF001 - its own table
    Client._on_starttls,  # noqa: SLF001 - its own table
    Client._unexpected,  # noqa: SLF001 - its own table
    Client._on_auth,  # noqa: SLF001 - its own table
    Client._on_auth_user,  # noqa: SLF001 - its own table
    Client._on_auth_password,  # noqa: SLF001 - its own table
    Client._on_reset,  # noqa: SLF001 - its own table
    Client._on_mail,  # noqa: SLF001 - its own table
    Client._on_rcpt,  # noqa: SLF001 - its own table
    Client._on_data,  # noqa: SLF001 - its own table
    Client._on_final_dot,  # noqa: SLF001 - its own table
)

_JUDGE_CLOSING = frozenset({Step.GREETING, Step.FINAL_DOT})  # what a 421 means there they say themselves

_HIDDEN_LINE = {
    Step.AUTH_USER: b"(user name hidden)",
    Step.AUTH_PASSWORD: b"(credentials hidden)",
}
_SECRET = frozenset(_HIDDEN_LINE)

_WHERE = {
    Step.GREETING: "while waiting for the greeting",
    Step.HANDSHAKE: "during the TLS handshake",
    Step.FINAL_DOT: "after the message was sent, before its reply",
}
