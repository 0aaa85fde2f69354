"""What the contacts of an account are told about reviews, pauses and new limits: from a change to a letter."""

from collections.abc import Callable

from relay.mail import notices
from relay.mail.letter import Letter, Letterhead
from relay.mail.notices import ReviewStep
from relay.model.account import UNLIMITED, Account
from relay.model.review import ReviewKind

_REQUEST = {
    ReviewKind.PRODUCTION: "production access",
    ReviewKind.QUOTA: "other sending limits",
    ReviewKind.ADDRESSES: "source addresses",
}

Write = Callable[[Account, str], Letter]


def review_decided(letterhead: Letterhead, now_ms: int, kind: ReviewKind, *, granted: bool, reason: str) -> Write:
    """Return the writer of the letter about a decided request."""
    step = ReviewStep.GRANTED if granted else ReviewStep.DENIED

    def write(account: Account, recipient: str) -> Letter:
        return notices.review(
            letterhead,
            recipient,
            account=account.account_id,
            request=_REQUEST[kind],
            step=step,
            details=_standing(account),
            reason=reason,
            now_ms=now_ms,
        )

    return write


def paused(letterhead: Letterhead, now_ms: int, reason: str) -> Write:
    """Return the writer of the letter that a pause begins (ERR-004)."""

    def write(account: Account, recipient: str) -> Letter:
        return notices.paused(letterhead, recipient, account=account.account_id, reason=reason, now_ms=now_ms)

    return write


def limits_changed(letterhead: Letterhead, now_ms: int, reason: str) -> Write:
    """Return the writer of the letter about limits changed by rule (QUOTA-013, QUOTA-014)."""

    def write(account: Account, recipient: str) -> Letter:
        return notices.limits_changed(
            letterhead,
            recipient,
            account=account.account_id,
            details=_standing(account),
            reason=reason,
            now_ms=now_ms,
        )

    return write


def _standing(account: Account) -> tuple[tuple[str, str], ...]:
    return (
        ("sandbox", "yes" if account.sandbox else "no"),
        ("recipients in 24 hours", _limit(account.daily_quota)),
        ("recipients a second", _limit(account.send_rate)),
    )


def _limit(limit: float) -> str:
    return "any number" if limit == UNLIMITED else f"{limit:g}"
