"""Mail transactions of one session, one after the other: RSET where it is needed, MAIL, each RCPT, DATA.

Owns who was answered what. Promises: commands are pipelined where the host offers it (RFC 2920); a refusal counts
only for the recipient that it certainly answers; replies that slipped make the whole transaction temporary; the user
is told once of each transaction, and may begin the next one from inside. The message itself is `data`'s.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from relay.model.outcome import Stage, Verdict
from relay.smtp.client.answer import Answer, Fault, from_reply, misunderstood
from relay.smtp.client.body import END
from relay.smtp.client.data import DataStage
from relay.smtp.client.envelope import Transaction, mail_command, rcpt_commands
from relay.smtp.client.exchange import NEVER, Exchange
from relay.smtp.client.extensions import Extensions
from relay.smtp.client.options import ClientUser
from relay.smtp.client.reply import Reply
from relay.smtp.client.steps import Step

_OK, _MORE = 2, 3
_TOO_MANY = frozenset({452, 552})  # 552 from old hosts
_MISUNDERSTOOD = frozenset({500, 502, 503})  # what hosts say to commands they lost their place in


class Transactions:
    """`current` is the one under way, `count` the number of those that ended."""

    __slots__ = (
        "_answers",
        "_exchange",
        "_next_recipient",
        "_reset_needed",
        "_todo",
        "_user",
        "count",
        "current",
        "data",
        "pipelined",
    )

    def __init__(self, exchange: Exchange, user: ClientUser) -> None:
        self._exchange = exchange
        self._user = user
        self._answers: list[Answer | None] = []
        self._next_recipient = 0
        self._reset_needed = False
        self._todo: deque[tuple[Step, bytes]] = deque()
        self.count = 0
        self.current: Transaction | None = None
        self.data = DataStage(exchange, self.finish)
        self.pipelined = False

    @property
    def handlers(self) -> tuple[Callable[[Reply, float], None], ...]:
        """Who takes the replies, in the order of `Step`."""
        return self._on_reset, self._on_mail, self._on_rcpt, self._on_data, self.data.on_final_dot

    @property
    def wanted(self) -> bool:
        """True while a recipient was not refused."""
        return None in self._answers

    # --- out ---

    def begin(self, transaction: Transaction, host: Extensions, now: float, *, pipelined: bool) -> None:
        """Begin a transaction that the host can take."""
        self._exchange.log.begin()
        self.current = transaction
        self._answers = [None] * len(transaction.recipients)
        self._next_recipient = 0
        self.pipelined = pipelined
        mail, recipients = mail_command(transaction, host), rcpt_commands(transaction, host)
        reset, self._reset_needed = self._reset_needed, False
        if pipelined:
            parts = [mail, *recipients, b"DATA\r\n"]
            steps = [Step.MAIL, *[Step.RCPT] * len(recipients), Step.DATA]
            if reset:
                parts.insert(0, b"RSET\r\n")
                steps.insert(0, Step.RESET)
            self._exchange.ask_together(steps, b"".join(parts), now)
            return
        if reset:
            self._todo.append((Step.RESET, b"RSET\r\n"))
        self._todo.append((Step.MAIL, mail))
        self._todo.extend((Step.RCPT, command) for command in recipients)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        if self.pipelined:
            exchange = self._exchange
            exchange.deadline = now + exchange.seconds[exchange.expected[0]]
        elif self._todo:
            self._exchange.ask(*self._todo.popleft(), now)
        elif None in self._answers:
            self._exchange.ask(Step.DATA, b"DATA\r\n", now)
        else:
            self._reset_needed = True
            self._hand_over([answer for answer in self._answers if answer is not None])

    # --- replies ---

    def _on_reset(self, reply: Reply, now: float) -> None:
        if reply.code // 100 != _OK:
            self._exchange.out_of_step(reply, Step.RESET)
            return
        self._go_on(now)

    def _on_mail(self, reply: Reply, now: float) -> None:
        if reply.code // 100 == _OK:
            self._go_on(now)
        elif self._lied(reply):
            self._exchange.end(misunderstood(reply, Stage.MAIL))
        elif reply.code // 100 == _MORE:
            self._exchange.out_of_step(reply, Step.MAIL)
        else:
            self._answers = [from_reply(reply, Stage.MAIL)] * len(self._answers)
            self._todo.clear()
            self._go_on(now)

    def _on_rcpt(self, reply: Reply, now: float) -> None:
        index = self._next_recipient
        self._next_recipient += 1
        kind = reply.code // 100
        if kind != _OK and self._answers[index] is None:
            if self._lied(reply):
                self._exchange.end(misunderstood(reply, Stage.RCPT))
                return
            if kind == _MORE:
                self._exchange.out_of_step(reply, Step.RCPT)
                return
            self._answers[index] = self._refused_recipient(reply, index)
        self._go_on(now)

    def _refused_recipient(self, reply: Reply, index: int) -> Answer:
        """Too many recipients is 452, or 552 (RFC 5321 section 4.5.3.1.10): the rest goes again."""
        answer = from_reply(reply, Stage.RCPT)
        if reply.code not in _TOO_MANY or None not in self._answers[:index]:
            return answer
        return replace(answer, verdict=Verdict.TEMPORARY, fault=Fault.CROWDED)

    def _lied(self, reply: Reply) -> bool:
        return self.pipelined and reply.code in _MISUNDERSTOOD

    def _on_data(self, reply: Reply, now: float) -> None:
        kind, wanted = reply.code // 100, None in self._answers
        transaction = self.current
        if kind == _MORE and transaction is not None:
            if wanted:
                self.data.send(transaction.content, now)
            else:  # RFC 2920 section 3.1: all were refused, so there is nothing to send
                self._exchange.ask(Step.FINAL_DOT, END, now)
        elif wanted and (kind == _OK or self._lied(reply)):
            self._exchange.out_of_step(reply, Step.DATA, Fault.PIPELINE if kind != _OK else Fault.LINK)
        elif wanted and len(self._answers) > 1 and self._exchange.reader.pending:
            self._exchange.out_of_step(reply, Step.DATA)  # perhaps the last RCPT's reply, and DATA's comes behind it
        else:
            self._reset_needed = True
            self.finish(from_reply(reply, Stage.DATA))

    # --- the end ---

    def finish(self, answer: Answer) -> None:
        """End the transaction with an answer for everybody who has none yet."""
        self._hand_over([answer if known is None else known for known in self._answers])

    def break_off(self, answer: Answer) -> None:
        """End the transaction, if one is under way, because the session is over."""
        self.data.forget()
        if self.current is None:
            return
        if self._exchange.slipped:
            self._answers = [None] * len(self._answers)
        self.finish(answer)

    def _hand_over(self, answers: list[Answer]) -> None:
        exchange, transaction = self._exchange, self.current
        assert transaction is not None
        self.current = None
        self._answers = []
        self.count += 1
        exchange.deadline = NEVER
        strays = exchange.open and exchange.reader.pending
        if strays:  # a 421 behind its last answer, or a host out of step: nothing more on this link
            exchange.close()
        self._user.transaction_done(transaction, answers)
        if strays:
            self._user.session_over()
