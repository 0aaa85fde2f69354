"""The wording of the relay's own mails to contacts.

Every function is pure and returns head and body of a mail; who gets it, and when, is the caller's.
"""

from dataclasses import dataclass

from relay.mail.trace import format_date
from relay.model.check import Aspect, CheckState, StateChange

_WHAT = {Aspect.VERIFICATION: "Verification", Aspect.DKIM: "DKIM setup", Aspect.MAIL_FROM: "MAIL FROM domain setup"}
_HOW = {
    CheckState.SUCCESS: "successful",
    CheckState.TEMPORARY_FAILURE: "about to fail",
    CheckState.FAILED: "failed",
    CheckState.PENDING: "begun",
    CheckState.NOT_STARTED: "ended",
}


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Who writes: the product's name, the region, our host name, the no-reply address, and whom to ask."""

    product: str
    region: str
    hostname: str
    sender: str
    contact: str


def state_change(letterhead: Letterhead, recipient: str, change: StateChange, *, now_ms: int) -> tuple[bytes, bytes]:
    """Return the mail to a contact about a check that came to another state (IDENT-010, DKIM-011, MFROM-009)."""
    what = f"{_WHAT[change.aspect]} {_HOW[change.state]} for {change.identity}"
    head = (
        f"From: {letterhead.product} <{letterhead.sender}>",
        f"To: <{recipient}>",
        f"Subject: {letterhead.product} - {what} in region {letterhead.region}",
        f"Date: {format_date(now_ms)}",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
    )
    lines = [f"{what} (account {change.account})."]
    if change.error_text:
        lines.append(change.error_text)
    if change.state is CheckState.TEMPORARY_FAILURE:
        hours = max(0, change.until_ms - now_ms) // 3_600_000
        lines.append(f"It is looked at until {format_date(change.until_ms)}, for {hours} hours, and then fails.")
    lines += ["", f"relay identity show {change.identity}", "", f"Questions: {letterhead.contact}"]
    return ("\r\n".join(head) + "\r\n\r\n").encode(), ("\r\n".join(lines) + "\r\n").encode()
