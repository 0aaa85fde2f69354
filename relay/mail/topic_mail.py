"""Notifications of topics as mail (TOPIC-126): the text as it was published, and how to end the subscription."""

import re

from relay.mail.letter import VERBATIM as _VERBATIM
from relay.mail.letter import Letter, Letterhead, finished, opening, signature, text_part, text_type, wrapped
from relay.signing.notification import NOTIFICATION, SUBSCRIPTION_CONFIRMATION

SUBJECT = "AWS Notification Message"
_SUBJECTS = {
    SUBSCRIPTION_CONFIRMATION: "AWS Notification - Subscription Confirmation",
}
_LINE_END = re.compile(r"\r\n|\r|\n")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # RFC 5322 section 2.3: none is text
_ENDED = "AWS Notification - Unsubscribe Confirmation"


def topic_mail(
    letterhead: Letterhead,
    recipient: str,
    *,
    name: str,
    kind: str,
    subject: str,
    text: str,
    unsubscribe_url: str,
    now_ms: int,
) -> Letter:
    """Return a mail from the relay with `text`; `name` is the display name of the topic, "" for the product's.

    `unsubscribe_url` is "" where the text has it already, or there is nothing to unsubscribe from.
    """
    if kind != NOTIFICATION:
        subject = _SUBJECTS.get(kind, _ENDED)
    lines = "\r\n".join(_CONTROL.sub("?", line) for line in _LINE_END.split(text))
    if unsubscribe_url:
        asked = "To stop receiving notifications from this topic, open this page and confirm it there:"
        lines += "\r\n\r\n--\r\n" + wrapped([asked, _VERBATIM + unsubscribe_url, signature(letterhead)])
    encoding, body = text_part(lines if lines.endswith("\r\n") else lines + "\r\n")
    head = opening(name or letterhead.product, letterhead.sender, recipient, subject or SUBJECT, now_ms)
    head += [f"Content-Type: {text_type(encoding)}", f"Content-Transfer-Encoding: {encoding}"]
    return finished(head), body
