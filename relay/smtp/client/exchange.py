"""Commands out, replies in: what one side has said and the other owes, and until when.

Owns the wire, the reader of replies, the notes, the queue of expected replies, the deadline, and whether the session
is open. Promises: a command is never written while something unread is there that would be taken for its reply; an
end is told once. What a reply means is not its business.
"""

import math
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import Final

from relay.smtp.client.answer import Answer, Fault, local_failure
from relay.smtp.client.options import Timeouts, Wire
from relay.smtp.client.reply import Reply, ReplyReader
from relay.smtp.client.steps import STEPS, Step
from relay.smtp.client.transcript import Transcript

NEVER: Final = math.inf
TOO_MUCH_SAID: Final = "Host says more than it was asked for"


_seconds_of: Callable[[Timeouts], tuple[float, ...]] = attrgetter(*(state.timeout for state in STEPS))


class Exchange:
    """`over` is told what ended the session. `seconds`: how long each reply is waited for, in the order of `Step`.

    `slipped`: nobody can tell any more what each reply was for.
    """

    __slots__ = (
        "_over",
        "deadline",
        "expected",
        "log",
        "open",
        "reader",
        "seconds",
        "slipped",
        "timeouts",
        "wire",
    )

    def __init__(self, wire: Wire, timeouts: Timeouts, log: Transcript, over: Callable[[Answer], None]) -> None:
        self._over = over
        self.seconds = _seconds_of(timeouts)
        self.deadline = NEVER
        self.expected: deque[Step] = deque()
        self.log = log
        self.open = True
        self.reader = ReplyReader()
        self.slipped = False
        self.timeouts = timeouts
        self.wire = wire

    # --- out ---

    def expect(self, step: Step, now: float) -> None:
        """Expect a reply, and wait for it from now on."""
        self.expected.append(step)
        self.deadline = now + self.seconds[step]

    def ask(self, step: Step, line: bytes, now: float) -> None:
        """Send a command and expect its reply."""
        if self.reader.pending:  # what came too early would be taken for the reply to this
            self.slip(local_failure(STEPS[step].stage, "4.5.0", TOO_MUCH_SAID))
            return
        self.expect(step, now)
        self.log.sent(now, STEPS[step].hidden or line)
        self.wire.write(line)

    def ask_together(self, steps: list[Step], data: bytes, now: float) -> None:
        """Send commands without waiting for their replies (RFC 2920)."""
        self.expected.extend(steps)
        self.deadline = now + self.timeouts.mail
        self.log.sent(now, data)
        self.wire.write(data)

    # --- ends ---

    def close(self) -> None:
        """Close the wire; whoever calls tells it."""
        self.open = False
        self.deadline = NEVER
        self.wire.close()

    def forget(self) -> None:
        """Expect nothing any more: the session is over."""
        self.open = False
        self.deadline = NEVER
        self.expected.clear()

    def end(self, answer: Answer) -> None:
        """Close, with an answer for whoever waits for one."""
        self.wire.close()
        self._over(answer)

    def abort(self, answer: Answer) -> None:
        """The same, and nothing that still waits here is sent."""
        self.wire.abort()
        self._over(answer)

    def slip(self, answer: Answer) -> None:
        """End a session whose replies cannot be told apart: what they said so far counts for nobody."""
        self.slipped = True
        self.end(answer)

    def out_of_step(self, reply: Reply, step: Step, fault: Fault = Fault.LINK) -> None:
        """End a session whose host gave a reply that cannot be meant for this command."""
        text = f"Host answered {step.name} with {reply.code} {reply.text}"[:1000]
        self.slip(local_failure(STEPS[step].stage, "4.5.0", text, fault))
