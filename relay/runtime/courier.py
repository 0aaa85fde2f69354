"""The courier: hands the relay's own mail from the catalog to a worker, each mail once, in order.

A mail is forgotten in the catalog only after the worker has committed it under a dedupe key. So a crash before the
hand-over, between the worker's commit and the forgetting, or in the middle of either, loses nothing and repeats
nothing: what is still there is handed over again.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from relay.errors import RelayError, TemporaryError
from relay.ports import Log

PAGE = 50

HandOver = Callable[[int], Awaitable[None]]
"""Give a notice, by its number, to a worker: returns when it was committed. TemporaryError: no worker; RelayError."""


class NoticeBook(Protocol):
    """The waiting mails of the catalog, asked from an event loop."""

    async def waiting(self, limit: int, after: int) -> Sequence[int]:
        """Return numbers beyond `after`, oldest first."""
        ...

    async def forget(self, notice_ids: Sequence[int]) -> None:
        """Drop what was committed."""
        ...


async def hand_over_all(book: NoticeBook, hand_over: HandOver, log: Log) -> int:
    """Hand over all that waits; return how many are left because a worker failed at them.

    Raise TemporaryError when no worker answers: what is left then waits, and what was committed is forgotten.
    """
    after, left = 0, 0
    while ids := await book.waiting(PAGE, after):
        after = ids[-1]
        taken: list[int] = []
        try:
            for notice_id in ids:
                try:
                    await hand_over(notice_id)
                except TemporaryError:
                    raise
                except RelayError as error:
                    left += 1
                    if left == 1:  # once a round: a thousand may fail for one reason
                        log.warning("a notice was not taken and is tried again", notice=notice_id, reason=str(error))
                else:
                    taken.append(notice_id)
        finally:
            if taken:
                await book.forget(taken)
    return left
