"""The message itself: held back until it may leave, written or streamed, then the reply to its final dot.

Promises: the final dot does not leave before every hold was released; a host that answers before it can have the
whole message has not got it, whatever it says; a whole message without an answer is in doubt, and is not tried
again at once.
"""

from collections.abc import Callable

from relay.model.content import BodyFile, Content
from relay.model.outcome import Stage
from relay.smtp.client.answer import Answer, Fault, from_reply, in_doubt, local_failure
from relay.smtp.client.body import stuffed
from relay.smtp.client.exchange import Exchange
from relay.smtp.client.reply import Reply
from relay.smtp.client.steps import Step

_OK, _MORE = 2, 3
_CLOSING = 421


class DataStage:
    """One message after the other, each from the 354 to its reply. `answered` is told what that means."""

    __slots__ = ("_answered", "_exchange", "_held", "_parked", "streaming")

    def __init__(self, exchange: Exchange, answered: Callable[[Answer], None]) -> None:
        self._exchange = exchange
        self._answered = answered
        self._held = 0
        self._parked: Content | None = None
        self.streaming = False

    @property
    def parked(self) -> bool:
        """True while a message waits for its release."""
        return self._parked is not None

    # --- out ---

    def hold(self) -> None:
        """Keep the next message back."""
        self._held += 1

    def release(self, now: float) -> None:
        """Take back one hold."""
        self._held -= 1
        content = self._parked
        if self._held == 0 and content is not None:
            self._parked = None
            self._write(content, now)

    def send(self, content: Content, now: float) -> None:
        """The host waits for the message: let it have it, once nothing holds it back."""
        if self._held:
            self._parked = content
            self._exchange.deadline = now + self._exchange.timeouts.gate
        else:
            self._write(content, now)

    def _write(self, content: Content, now: float) -> None:
        exchange = self._exchange
        if exchange.reader.pending:  # an answer from before the question must not become the answer to the message
            exchange.end(local_failure(Stage.DATA, "4.5.0", "Host answered the message before it was sent"))
            return
        exchange.log.content(now, content.size_bytes)
        exchange.expect(Step.FINAL_DOT, now)
        if isinstance(content.body, BodyFile):
            self.streaming = True
            exchange.deadline = now + exchange.timeouts.block
            exchange.wire.write_content(content)
            return
        exchange.wire.write(stuffed(content.head, content.body))

    def progress(self, now: float) -> None:
        """A part of a streamed message has left."""
        if self.streaming:
            self._exchange.deadline = now + self._exchange.timeouts.block

    def written(self, now: float) -> None:
        """A streamed message has left whole, with its final dot."""
        self.streaming = False
        if self._exchange.open:
            self._exchange.deadline = now + self._exchange.timeouts.final_dot

    def forget(self) -> None:
        """The session is over: nothing waits or leaves any more."""
        self._parked = None
        self.streaming = False

    # --- the reply ---

    def on_final_dot(self, reply: Reply, _now: float) -> None:
        """Judge what a host says to a message."""
        exchange = self._exchange
        if self.streaming or exchange.wire.unsent():
            self._too_early(reply)
        elif reply.code == _CLOSING:
            exchange.end(from_reply(reply, Stage.FINAL_DOT, Fault.LINK))
        elif reply.code // 100 == _MORE:  # no answer to a whole message: it may have it or not
            exchange.end(in_doubt(f"Host answered the message with {reply.code} {reply.text}", "4.5.0"))
        else:
            self._answered(from_reply(reply, Stage.FINAL_DOT))

    def _too_early(self, reply: Reply) -> None:
        """The host did not wait for the final dot: no answer of its can mean that it has the message."""
        text = f"Host answered in the middle of the message: {reply.code} {reply.text}"
        if reply.code == _CLOSING:
            answer = from_reply(reply, Stage.FINAL_DOT, Fault.LINK)
        elif reply.code // 100 not in (_OK, _MORE):
            answer = from_reply(reply, Stage.DATA)
        elif self.streaming:
            answer = local_failure(Stage.DATA, "4.5.0", text[:1000])
        else:  # the dot is on its way
            answer = in_doubt(text, "4.5.0")
        self._exchange.abort(answer)
