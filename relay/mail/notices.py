"""The wording of the relay's own mails to senders and contacts, all of it, in one place.

Every function returns head and body of a letter (`relay.mail.letter`) and is pure: who gets it, and when it is
written, is the caller's. Custom verification mails, whose words are the account's, are in `custom_verification`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from relay.mail.letter import VERBATIM, Letter, Letterhead, letter
from relay.mail.trace import format_date
from relay.model.check import Aspect, CheckState, StateChange

VERIFICATION_SUBJECT = "{product} - Email Address Verification Request in region {region}"  # IDENT-018


_UNASKED = "If you did not ask for this, do nothing: without your confirmation no mail is sent from your address."

# --- addresses -------------------------------------------------------------------------------------------------


def verification_request(
    letterhead: Letterhead, address: str, account: str, url: str, *, expires_ms: int, now_ms: int
) -> Letter:
    """Return the mail that asks whoever reads `address` to confirm it at `url` (IDENT-017, IDENT-018)."""
    subject = VERIFICATION_SUBJECT.format(product=letterhead.product, region=letterhead.region)
    return letter(
        letterhead,
        address,
        subject,
        (
            f"Account {account} of {letterhead.product} asks to send mail from this address:",
            VERBATIM + address,
            "If that is your wish, open this page and confirm it there:",
            VERBATIM + url,
            f"The page can be used once, until {format_date(expires_ms)}.",
            f"{_UNASKED} If you have concerns, forward this mail to {letterhead.contact}.",
        ),
        now_ms,
    )


# --- changes of state ------------------------------------------------------------------------------------------


_SUBJECTS = {
    CheckState.SUCCESS: "{product} - {what} successful for {name} in region {region}",
    CheckState.PENDING: "{product} - {what} begun for {name} in region {region}",
    CheckState.TEMPORARY_FAILURE: "{product} - {what} about to fail for {name} in region {region}",
    CheckState.FAILED: "{product} - {what} failed for {name} in region {region}",
    CheckState.NOT_STARTED: "{product} - {what} ended for {name} in region {region}",
}
_WHAT = {
    Aspect.VERIFICATION: "Verification",
    Aspect.DKIM: "DKIM setup",
    Aspect.MAIL_FROM: "MAIL FROM domain setup",
}
_NEWS = {
    (Aspect.VERIFICATION, CheckState.SUCCESS): "It is verified: mail can be sent from it.",
    (Aspect.VERIFICATION, CheckState.TEMPORARY_FAILURE): "It was verified, and what proved that is no longer found. "
    "Mail can still be sent from it.",
    (Aspect.VERIFICATION, CheckState.FAILED): "It is not verified: no mail can be sent from it. To try again, start "
    "its verification anew.",
    (Aspect.DKIM, CheckState.SUCCESS): "Its DKIM records are found: mail from it is signed with its own keys.",
    (Aspect.DKIM, CheckState.TEMPORARY_FAILURE): "Its DKIM records were found before and no longer are. Mail from it "
    "is still signed, but receivers that look for the records may not find them.",
    (
        Aspect.DKIM,
        CheckState.FAILED,
    ): "Its DKIM records were not found in time: mail from it is no longer signed with "
    "its own keys. To sign again, set up DKIM from the beginning.",
    (Aspect.MAIL_FROM, CheckState.SUCCESS): "The MX record of its MAIL FROM domain is found: bounces go there.",
    (Aspect.MAIL_FROM, CheckState.TEMPORARY_FAILURE): "The MX record of its MAIL FROM domain was found before and no "
    "longer is.",
    (
        Aspect.MAIL_FROM,
        CheckState.FAILED,
    ): "The MX record of its MAIL FROM domain was not found in time: the domain is "
    "not used any more. To use it again, set it up from the beginning.",
}
_UNUSED_LINK = (
    "The link that was mailed there was not used within 24 hours. The address is not verified: no mail can be sent "
    "from it. To mail a new link:"
)
_OTHERWISE = {
    CheckState.PENDING: "The records are being looked for.",
    CheckState.NOT_STARTED: "Nothing is looked for any more.",
}


def state_change(letterhead: Letterhead, recipient: str, change: StateChange, *, now_ms: int) -> Letter:
    """Return the mail to a contact about a check that came to another state."""
    subject = _SUBJECTS[change.state].format(
        product=letterhead.product, what=_WHAT[change.aspect], name=change.identity, region=letterhead.region
    )
    paragraphs = [
        "This is about an identity of your account:",
        f"{VERBATIM}identity:  {change.identity}",
        f"{VERBATIM}account:   {change.account}",
        *([f"{VERBATIM}MAIL FROM: {change.domain}"] if change.domain else []),
        _NEWS.get((change.aspect, change.state)) or _OTHERWISE[change.state],
    ]
    if change.error_text:
        paragraphs += ["What was found:", VERBATIM + change.error_text]
    if change.state is CheckState.TEMPORARY_FAILURE and change.until_ms:
        paragraphs.append(
            f"It is looked at again until {format_date(change.until_ms)}, which is in "
            f"{time_left(change.until_ms - now_ms)}. If nothing has changed by then, it fails."
        )
    if change.state in (CheckState.TEMPORARY_FAILURE, CheckState.FAILED):
        paragraphs += [
            "What to publish, and what DNS answers now:",
            f"{VERBATIM}relay identity show {change.identity}",
        ]
    return letter(letterhead, recipient, subject, paragraphs, now_ms)


def address_expired(letterhead: Letterhead, recipient: str, account: str, address: str, *, now_ms: int) -> Letter:
    """Return the mail to a contact about an address whose link nobody used in time (IDENT-017)."""
    subject = _SUBJECTS[CheckState.FAILED].format(
        product=letterhead.product, what=_WHAT[Aspect.VERIFICATION], name=address, region=letterhead.region
    )
    paragraphs = (
        "This is about an address of your account:",
        f"{VERBATIM}address:  {address}",
        f"{VERBATIM}account:  {account}",
        _UNUSED_LINK,
        f"{VERBATIM}relay identity resend {address}",
    )
    return letter(letterhead, recipient, subject, paragraphs, now_ms)


def time_left(left_ms: int) -> str:
    """Return a duration for people, rounded down: `71 hours`, `1 hour`, `25 minutes`."""
    minutes = max(0, left_ms) // 60_000
    hours = minutes // 60
    count, unit = (hours, "hour") if hours else (minutes, "minute")
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


# --- topics ----------------------------------------------------------------------------------------------------


def topic_given_up(
    letterhead: Letterhead,
    recipient: str,
    *,
    account: str,
    identity: str,
    kind: str,
    topic: str,
    reason: str,
    message_id: str,
    now_ms: int,
) -> Letter:
    """Return the mail to a contact about a topic of an identity that cannot be published to (NOTIF-015).

    `kind` is `Bounce` or `Complaint`, `message_id` the message whose notification could not be published.
    """
    subject = f"{letterhead.product} - {kind} notifications for {identity} in region {letterhead.region} are mailed"
    paragraphs = (
        f"A {kind.lower()} notification could not be published to the topic that is set for it:",
        f"{VERBATIM}identity: {identity}",
        f"{VERBATIM}account:  {account}",
        f"{VERBATIM}topic:    {topic}",
        f"{VERBATIM}reason:   {reason}",
        f"{VERBATIM}message:  {message_id}",
        f"The topic is unset: from now on bounces and complaints of mail from {identity} are mailed to its senders.",
        "What happened to this message was told to nobody; to look at it:",
        f"{VERBATIM}relay trace {message_id}",
        "When the topic can be published to again, set it again:",
        f"{VERBATIM}relay identity notifications set {identity} --{kind.lower()}-topic {topic} --account {account}",
    )
    return letter(letterhead, recipient, subject, paragraphs, now_ms)


# --- reviews and pauses ----------------------------------------------------------------------------------------


class ReviewStep(Enum):
    """What became of a request that people decide about."""

    GRANTED = "granted"
    DENIED = "denied"


_REVIEW_NEWS = {
    ReviewStep.GRANTED: "Your request is granted. It holds from now on.",
    ReviewStep.DENIED: "Your request is denied. Nothing about your account has changed.",
}


def review(
    letterhead: Letterhead,
    recipient: str,
    *,
    account: str,
    request: str,
    step: ReviewStep,
    now_ms: int,
    details: Sequence[tuple[str, str]] = (),
    reason: str = "",
) -> Letter:
    """Return the mail about a request: `request` names it ("production access", "a higher sending quota").

    `details` are names and values of how the account stands now; `reason` is what the administrator wrote.
    """
    subject = f"{letterhead.product} - Request for {request} {step.value} in region {letterhead.region}"
    paragraphs = [
        f"This is about the request for {request} of your account:",
        f"{VERBATIM}account: {account}",
        *[f"{VERBATIM}{name}: {value}" for name, value in details],
        _REVIEW_NEWS[step],
    ]
    if reason:
        paragraphs += ["The administrator wrote:", VERBATIM + reason]
    return letter(letterhead, recipient, subject, paragraphs, now_ms)


def limits_changed(
    letterhead: Letterhead,
    recipient: str,
    *,
    account: str,
    now_ms: int,
    details: Sequence[tuple[str, str]] = (),
    reason: str = "",
) -> Letter:
    """Return the mail to a contact when a rule has changed the sending limits of an account."""
    subject = f"{letterhead.product} - Sending limits changed for account {account} in region {letterhead.region}"
    paragraphs = [
        f"The sending limits of account {account} have changed. They are now:",
        *[f"{VERBATIM}{name}: {value}" for name, value in details],
    ]
    if reason:
        paragraphs += ["The reason given:", VERBATIM + reason]
    paragraphs.append(f"Questions about this go to {letterhead.contact}.")
    return letter(letterhead, recipient, subject, paragraphs, now_ms)


_STILL = "Mail that was accepted before goes on, and everything else about the account can still be used."


def paused(letterhead: Letterhead, recipient: str, *, account: str, now_ms: int, reason: str = "") -> Letter:
    """Return the mail to a contact when sending of an account is paused (ERR-004)."""
    subject = f"{letterhead.product} - Sending paused for account {account} in region {letterhead.region}"
    paragraphs = [
        f"Sending is paused for account {account}: every new message is refused. {_STILL}",
    ]
    if reason:
        paragraphs += ["The reason given:", VERBATIM + reason]
    paragraphs.append(f"To send again, write to {letterhead.contact}.")
    return letter(letterhead, recipient, subject, paragraphs, now_ms)


# --- the relay itself ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnNews:
    """A change that a look at the relay itself found; `bad` while it is a fault."""

    about: str
    detail: str
    next_step: str
    bad: bool


NEWS_MAX = 50


def own_changes(letterhead: Letterhead, recipient: str, news: Sequence[OwnNews], *, now_ms: int) -> Letter:
    """Return the mail to the operator about addresses, names and records of the relay itself (DNSBL-001)."""
    faults = sum(one.bad for one in news)
    subject = f"{letterhead.product} - {faults} new faults of {letterhead.hostname} as receivers see it"
    if not faults:
        subject = f"{letterhead.product} - faults of {letterhead.hostname} are mended"
    told: list[str] = []
    for one in news[:NEWS_MAX]:
        told.append(f"{'Fault' if one.bad else 'Mended'}: {one.about}: {one.detail}")
        told += [VERBATIM + one.next_step] if one.next_step else []
    if len(news) > NEWS_MAX:
        told.append(f"And {len(news) - NEWS_MAX} more.")
    return letter(letterhead, recipient, subject, (*told, "`relay doctor` shows how things are now."), now_ms)
