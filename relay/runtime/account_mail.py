"""What the contacts of an account are told about reviews, pauses and new limits: from a change to a mail."""

from collections.abc import Callable
from functools import partial

from relay.mail.account_letter import account_letter, new_unique
from relay.model.account import UNLIMITED, Account
from relay.model.content import Content
from relay.model.review import ReviewKind

_WHAT = {ReviewKind.PRODUCTION: "production access", ReviewKind.QUOTA: "other sending limits"}

Write = Callable[[Account, str], Content]


def review_decided(hostname: str, now_ms: int, kind: ReviewKind, *, granted: bool, reason: str) -> Write:
    """Return the writer of the mail about a decided request."""
    what, word = _WHAT[kind], "granted" if granted else "denied"
    news = f"The request for {what} is {word}."
    return partial(_write, hostname, now_ms, f"Request for {what} {word}", news, reason)


def paused(hostname: str, now_ms: int, reason: str) -> Write:
    """Return the writer of the mail that a pause begins (ERR-004)."""
    news = "Sending is paused: every new message is refused. Mail that was accepted before goes on."
    return partial(_write, hostname, now_ms, "Sending paused", news, reason)


def limits_changed(hostname: str, now_ms: int, reason: str) -> Write:
    """Return the writer of the mail about limits changed by rule (QUOTA-013, QUOTA-014)."""
    return partial(_write, hostname, now_ms, "Sending limits changed", "The sending limits have changed.", reason)


def _write(  # noqa: PLR0917 - a letter is about this much
    hostname: str, now_ms: int, subject: str, news: str, reason: str, account: Account, recipient: str
) -> Content:
    where = "is in" if account.sandbox else "is outside"
    limits = f"{_limit(account.daily_quota)} in 24 hours and {_limit(account.send_rate)} a second"
    paragraphs = [
        f"This is about account {account.account_id} of the mail relay at {hostname}.",
        news,
        *([f"Reason: {reason}"] if reason else []),
        f"It {where} the sandbox and may send {limits}.",
        f"Questions go to postmaster@{hostname}.",
    ]
    title = f"{subject} for account {account.account_id}"
    return account_letter(hostname, recipient, title, paragraphs, now_ms=now_ms, unique=new_unique())


def _limit(limit: float) -> str:
    return "any number of recipients" if limit == UNLIMITED else f"to {limit:g} recipients"
