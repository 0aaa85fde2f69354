"""One SMTP connection as a client, without I/O: bytes in, bytes out, time as an argument.

Owns the order of things: the session is set up once (`setup`, `auth`), then it carries any number of
transactions (`transactions`, `data`), and it ends in one of the ways below. Which replies can come, and
what is true while one is awaited, is the table in `steps`; what a reply means is judged in `answer`.

Promises: `transaction_done` may call `send` again, which continues in the same turn; the final dot of a transaction
is not sent before every hold was released; `session_ready` or `session_failed` is called once, `transaction_done`
once for each `send` that returned None, and `session_over` once after a session that was ready can carry nothing
more. Never raises on what a remote sends.
"""

from relay.model.outcome import Stage
from relay.smtp.client.answer import Answer, Fault, from_reply, in_doubt, local_failure, local_refusal
from relay.smtp.client.auth import Login
from relay.smtp.client.envelope import Transaction, Unfit, fit
from relay.smtp.client.exchange import NEVER, TOO_MUCH_SAID, Exchange
from relay.smtp.client.extensions import Extensions
from relay.smtp.client.options import ClientOptions, ClientUser, Wire
from relay.smtp.client.reply import Reply, ReplyError
from relay.smtp.client.setup import Setup
from relay.smtp.client.steps import STEPS, Step
from relay.smtp.client.transactions import Transactions
from relay.smtp.client.transcript import Transcript

_CLOSING = 421
_JUDGE_CLOSING = frozenset({Step.GREETING, Step.FINAL_DOT})  # what a 421 means there they say themselves
_NOT_ASKED = "(it broke off at EHLO, so it is spoken to by HELO for a while)"


class Client:
    """The state of one connection. `deadline` is compared with the same clock that `now` comes from.

    `extensions` are those of the session that is ready.
    """

    __slots__ = (
        "_data",
        "_exchange",
        "_handlers",
        "_login",
        "_options",
        "_ready",
        "_setup",
        "_transactions",
        "_user",
        "extensions",
    )

    def __init__(
        self, wire: Wire, user: ClientUser, options: ClientOptions, now: float, log: Transcript | None = None
    ) -> None:
        self._user = user
        self._options = options
        self._ready = False
        self.extensions = Extensions()
        self._exchange = exchange = Exchange(wire, options.timeouts, log or Transcript(now), self._over)
        self._setup = Setup(exchange, options, self._authenticate)
        self._login = Login(exchange, options, self._become_ready)
        self._transactions = Transactions(exchange, user)
        self._data = self._transactions.data
        self._handlers = (*self._setup.handlers, *self._login.handlers, *self._transactions.handlers)
        self._setup.begin(now)

    # --- what the owner of the connection asks ---

    @property
    def open(self) -> bool:
        """True until the session is over."""
        return self._exchange.open

    @property
    def idle(self) -> bool:
        """True when the session is ready and no transaction is under way."""
        return self._ready and self._transactions.current is None and self._exchange.open

    @property
    def deadline(self) -> float:
        """When `expire` is to be called."""
        return self._exchange.deadline

    @property
    def transactions(self) -> int:
        """How many transactions have ended."""
        return self._transactions.count

    # --- what the owner of the connection tells ---

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the wire."""
        exchange = self._exchange
        if not exchange.open or (exchange.expected and exchange.expected[0] is Step.HANDSHAKE):
            return  # bytes in clear between STARTTLS and the handshake are nobody's
        reader = exchange.reader
        reader.feed(data)
        try:
            while exchange.open and (reply := reader.next()) is not None:
                self._take(reply, now)
        except ReplyError as error:
            exchange.wire.close()
            self._broken(f"Host sent something that is not SMTP: {error}", "4.5.0")
            return
        if self._transactions.current is None and self._ready and exchange.open and reader.pending:
            self._leave()  # the rest of it would be taken for the reply to our next command

    def send(self, transaction: Transaction, now: float) -> Answer | None:
        """Start a transaction; only when `idle`. Return the refusal when this host can never take it, else None.

        `transaction_done` follows only after None, and never from inside the call. What `downgrade` raises passes;
        nothing was sent then.
        """
        assert self.idle
        host = self.extensions
        fitted = fit(transaction, host, self._options.downgrade)
        if isinstance(fitted, Unfit):
            return self._unfit(fitted)
        self._transactions.begin(fitted, host, now, pipelined=host.pipelining and self._options.pipelining)
        return None

    def _unfit(self, why: Unfit) -> Answer:
        """Judge what keeps a message from this host: a host that was not asked what it offers may offer it."""
        if why.of_offer and not self._options.extended:
            return local_failure(Stage.LOCAL, f"4{why.enhanced[1:]}", f"{why.text} {_NOT_ASKED}", Fault.NONE)
        return local_refusal(Stage.LOCAL, why.enhanced, why.text)

    def hold(self) -> None:
        """Keep back the next final dot until `release` was called as often as `hold`."""
        self._data.hold()

    def release(self, now: float) -> None:
        """Take back one hold."""
        self._data.release(now)

    def tls_started(self, now: float) -> None:
        """The handshake succeeded: everything learnt before is forgotten (RFC 3207 section 4.2)."""
        if self._exchange.open:
            self._setup.tls_started(now)

    def tls_failed(self, text: str) -> None:
        """The handshake failed."""
        if self._exchange.open:
            self._exchange.end(local_failure(Stage.TLS, "4.7.5", f"TLS failed: {text}", Fault.TLS))

    def content_progress(self, now: float) -> None:
        """A part of a streamed message has left."""
        self._data.progress(now)

    def content_written(self, now: float) -> None:
        """A streamed message has left whole, with its final dot."""
        self._data.written(now)

    def content_failed(self, text: str) -> None:
        """A streamed message cannot be read; its final dot is never sent."""
        if self._exchange.open and self._transactions.current is not None:
            self._exchange.abort(local_failure(Stage.LOCAL, "4.3.0", text, Fault.NONE))

    def lost(self, text: str) -> None:
        """The link is gone."""
        if self._exchange.open:
            self._broken(f"Connection lost {self._where()}: {text}", "4.4.2")

    def expire(self, now: float) -> None:
        """Give up when the deadline has passed."""
        if self._exchange.open and now >= self._exchange.deadline:
            self._exchange.wire.abort()
            self._broken(f"Timed out {self._where()}", "4.4.2")

    def quit(self) -> None:
        """End an idle session politely; nothing waits for the reply."""
        if self._exchange.open:
            self._exchange.wire.write(b"QUIT\r\n")
            self._exchange.close()

    # --- from one part to the next ---

    def _take(self, reply: Reply, now: float) -> None:
        exchange = self._exchange
        exchange.log.received(now, reply)
        if not exchange.expected:
            self._unasked(reply)
            return
        step = exchange.expected.popleft()
        if reply.code == _CLOSING and step not in _JUDGE_CLOSING:
            # RFC 5321 section 3.8: it may answer any command; the message is untouched, the link is useless
            exchange.end(from_reply(reply, STEPS[step].stage, Fault.LINK))
            return
        self._handlers[step](reply, now)

    def _authenticate(self, now: float) -> None:
        self._login.begin(self._setup.extensions.auth, now, tls_active=self._setup.tls_active)

    def _become_ready(self) -> None:
        if self._exchange.reader.pending:  # its next words would be taken for the reply to our next command
            self._exchange.end(local_failure(Stage.EHLO, "4.5.0", TOO_MUCH_SAID))
            return
        self._ready = True
        self.extensions = self._setup.extensions
        self._exchange.deadline = NEVER
        self._user.session_ready()

    # --- ends ---

    def _unasked(self, reply: Reply) -> None:
        """A reply to nothing: a 421 before it closes an idle link, or a host out of step."""
        if self._transactions.current is not None:  # parked before its final dot
            text = f"Host gave up before the message was sent: {reply.code} {reply.text}"[:1000]
            self._exchange.end(local_failure(Stage.DATA, "4.4.2", text))
            return
        self._leave()

    def _leave(self) -> None:
        """Close an idle session whose host said something that nobody asked for."""
        self._exchange.close()
        self._user.session_over()

    def _where(self) -> str:
        if self._data.parked:
            return "before the message was sent"
        if self._data.streaming:
            return "while the message was sent"
        expected = self._exchange.expected
        return STEPS[expected[0]].where if expected else "while idle"

    def _broken(self, text: str, enhanced: str) -> None:
        expected = self._exchange.expected
        step = expected[0] if expected else Step.DATA
        if step is Step.FINAL_DOT and not self._data.streaming and self._transactions.wanted:
            self._over(in_doubt(text, enhanced))
            return
        self._over(local_failure(STEPS[step].stage, enhanced, text[:1000], self._fault_of(step)))

    def _fault_of(self, step: Step) -> Fault:
        secured = self._setup.tls_active
        if step is Step.EHLO and not secured and self._options.extended:
            return Fault.EHLO
        if step in (Step.STARTTLS, Step.HANDSHAKE) or (step is Step.EHLO and secured):
            return Fault.TLS  # in TLS 1.3 a host that refuses our handshake says so when we think it is done
        if self._transactions.pipelined and step in (Step.RCPT, Step.DATA) and self._exchange.expected:
            return Fault.PIPELINE
        return Fault.LINK

    def _over(self, answer: Answer) -> None:
        """The session is over; tell whoever waits for it."""
        self._exchange.forget()
        if not self._ready:
            self._user.session_failed(answer)
            return
        self._transactions.break_off(answer)
        self._user.session_over()
