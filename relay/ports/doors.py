"""What listeners and pages ask of the product."""

from collections.abc import Callable
from typing import Protocol

from relay.model.message import Submission
from relay.model.refusal import Accepted, Refusal
from relay.model.topic import Subscription
from relay.model.verification import VerificationLink


class Intake(Protocol):
    """What a door asks of the product. `done` may be called from inside the call when the answer is known."""

    def may_start(self, size_bytes: int) -> Refusal | None:
        """Say whether a transaction of about `size_bytes` may start now (disk, overload); None: yes."""
        ...

    def account_of(self, principal: str) -> str | None:
        """Return the account of an authenticated user while its credential is active, else None (CRED-011)."""
        ...

    def submit(self, submission: Submission, done: Callable[[Accepted | Refusal], None]) -> None:
        """Accept a message for delivery: answer only after it is synced, or refuse it whole."""
        ...

    def may_receive(self, recipient: str) -> Refusal | None:
        """Say whether the `mx` listener takes mail for an address without authentication (SMTP-003)."""
        ...

    def receive(self, submission: Submission, done: Callable[[Accepted | Refusal], None]) -> None:
        """Take a message that arrived on the `mx` listener without authentication; `account` is ""."""
        ...


class Confirmations(Protocol):
    """What the page of a verification link asks. Both raise TemporaryError when the catalog cannot be used now."""

    async def look(self, token: str) -> VerificationLink | None:
        """Return what a link is for, usable or not any more; None when there never was one. Changes nothing."""
        ...

    async def confirm(self, token: str) -> VerificationLink | None:
        """Verify the address of a usable link, once; return after the commit. Else as `look`: nothing happened."""
        ...


class TopicLinks(Protocol):
    """What the links of topics ask. All raise RequestRefusedError, and TemporaryError when it cannot be known now."""

    async def of_token(self, topic_arn: str, token: str) -> tuple[Subscription, str]:
        """Return the subscription that a token confirms, and its ARN. Changes nothing."""
        ...

    async def confirm(self, topic_arn: str, token: str) -> None:
        """Confirm a subscription; return after the commit."""
        ...

    async def of_arn(self, subscription_arn: str) -> Subscription:
        """Return a subscription. Changes nothing."""
        ...

    async def end(self, subscription_arn: str) -> None:
        """End a subscription for its endpoint; return after the commit."""
        ...

    async def certificate(self, name: str) -> bytes | None:
        """Return a certificate that notifications are or were signed with lately, as PEM; None for none."""
        ...
