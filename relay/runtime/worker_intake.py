"""What the SMTP door of a worker asks: may mail start, who sends, take this (port `Intake`)."""

from collections.abc import Callable

from relay.errors import StorageError
from relay.model.message import Submission
from relay.model.refusal import Accepted, Reason, Refusal
from relay.pipeline.accept import Accept
from relay.pipeline.receive import Receive
from relay.ports import Clock, Directory, Spool

LOOK_SECONDS = 0.02
WORST_EXPANSION = 1.5  # what a message may need on disk beside its own size: log, rows, re-encoding


class WorkerIntake:
    """Joins acceptance and receiving of one worker."""

    def __init__(self, accept: Accept, receive: Receive, directory: Directory, spool: Spool, clock: Clock) -> None:
        self._accept = accept
        self._receive = receive
        self._directory = directory
        self._spool = spool
        self._clock = clock
        self._looked = -LOOK_SECONDS

    def may_start(self, size_bytes: int) -> Refusal | None:
        """Refuse with 452 before the disk is full."""
        room_bytes = self._spool.room_bytes()
        if room_bytes <= 0 or room_bytes < size_bytes * WORST_EXPANSION:
            return Refusal(Reason.DISK_FULL)
        return None

    def account_of(self, principal: str) -> str | None:
        """Return the account of a user whose credential and account are still good (CRED-011)."""
        try:
            self._look()
            found = self._directory.principal(principal)
        except StorageError:
            return None
        return found.account if found else None

    def _look(self) -> None:
        """Refresh, unless acceptance did just now: a revoked user is refused at the end of the data in any case."""
        now = self._clock.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._directory.refresh()

    def submit(self, submission: Submission, done: Callable[[Accepted | Refusal], None]) -> None:
        """Accept a message for delivery."""
        self._accept.submit(submission, done)

    def may_receive(self, recipient: str) -> Refusal | None:
        """Say whether mail for an address is taken without authentication."""
        return self._receive.may_receive(recipient)

    def receive(self, submission: Submission, done: Callable[[Accepted | Refusal], None]) -> None:
        """Take mail for the relay itself."""
        self._receive.receive(submission, done)
