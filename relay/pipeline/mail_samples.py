"""A few messages of each account and hour, kept in memory until the office asks for them (REP-022).

Mail that is not chosen costs one look into a dict. Samples are lost when the worker ends, and not kept beyond a few:
they say something about an account that goes on sending, and nothing depends on a single one.
"""

from collections import Counter, deque
from dataclasses import dataclass

from relay.model.message import NewMessage
from relay.ports import Clock

HOUR_SECONDS = 3600.0
BODY_MAX_BYTES = 64 * 1024  # of a larger body the beginning
HEAD_MAX_BYTES = 32 * 1024  # a message with more is not chosen
KEPT_MAX = 64
ACCOUNTS_MAX = 10_000  # of an hour with more, the others have none


@dataclass(frozen=True, slots=True)
class MailSample:
    """A message as it was accepted, the body cut off after `BODY_MAX_BYTES`."""

    account: str
    accepted_ms: int
    content: bytes


class MailSamples:
    """Chooses samples: `per_hour` of each account, the first ones; 0: none."""

    def __init__(self, clock: Clock, per_hour: int) -> None:
        self.per_hour = per_hour
        self._clock = clock
        self._chosen: Counter[str] = Counter()
        self._hour_ends = clock.monotonic() + HOUR_SECONDS
        self._kept: deque[MailSample] = deque()

    def offer(self, new: NewMessage) -> None:
        """Look at a message that was just accepted."""
        account = new.message.account
        if self._chosen.get(account, 0) >= self.per_hour and self._clock.monotonic() < self._hour_ends:
            return
        self._consider(new)

    def take(self, most: int) -> list[MailSample]:
        """Return up to `most` samples, oldest first, and forget them."""
        return [self._kept.popleft() for _ in range(min(most, len(self._kept)))]

    def _consider(self, new: NewMessage) -> None:
        now = self._clock.monotonic()
        if now >= self._hour_ends:
            self._chosen.clear()
            self._hour_ends = now + HOUR_SECONDS
        message, content = new.message, new.content
        if not self.per_hour or len(self._kept) >= KEPT_MAX or len(content.head) > HEAD_MAX_BYTES:
            return
        if not isinstance(content.body, bytes) or len(self._chosen) >= ACCOUNTS_MAX:
            return
        self._chosen[message.account] += 1
        body = content.body[:BODY_MAX_BYTES]
        self._kept.append(MailSample(message.account, message.accepted_ms, content.head + body))
