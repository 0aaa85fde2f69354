"""What workers share: quotas, rates, authentication failures."""

from collections.abc import Callable
from typing import Protocol

from relay.model.account import Account
from relay.model.refusal import Refusal
from relay.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to accept a request of an account, once. Give it back or report it spent.

    `recipients` are those that count against the daily quota.
    """

    lease_id: int
    account: str
    recipients: int


@dataclass(frozen=True, slots=True)
class AuthGate:
    """Whether an address may try to authenticate now: refuse it, or answer after `delay_seconds`."""

    refused: bool
    delay_seconds: float


class Permits(Protocol):
    """What workers share: rates, quotas, authentication failures. Exact for quotas, never over."""

    def take(
        self, account: Account, recipients: int, done: Callable[[Lease | Refusal], None], *, counted: int
    ) -> None:
        """Ask for a lease. Answers RATE_EXCEEDED, QUOTA_EXCEEDED, or TEMPORARY while permits is away.

        All `recipients` count against the rate, `counted` of them against the daily quota (QUOTA-003).
        An account without limits is granted at once, from inside the call.
        """
        ...

    def spent(self, lease: Lease, minute: int) -> None:
        """Report that the lease's recipients were committed in `minute` (minutes since 1970)."""
        ...

    def unused(self, lease: Lease) -> None:
        """Give a lease back: the request failed after it was granted (ERR-010)."""
        ...

    def auth_gate(self, address: str, username: str) -> AuthGate:
        """Return what the failure limits say about this address and user, from local knowledge, at once."""
        ...

    def recognises(self, address: str) -> bool:
        """Say whether an address authenticated lately, from local knowledge, at once."""
        ...

    def auth_result(self, address: str, username: str, *, succeeded: bool) -> None:
        """Report the result of an authentication, to be known by all workers."""
        ...
