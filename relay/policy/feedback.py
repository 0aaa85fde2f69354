"""Whether feedback about a message is mailed to its sender, and whose settings decide (NOTIF-003, 009, 010, 017)."""

import re

from relay.model.feedback import FeedbackKind, FeedbackSettings

_SOURCE_ARN = re.compile(rb'"sourceArn":"(arn:aws:ses:[a-z0-9-]+:(\d{12}):identity/([^"\\]+))"')


def mailed(settings: FeedbackSettings, kind: FeedbackKind, *, published: bool) -> bool:
    """Say whether feedback of a kind is mailed; `published`: the message's own set publishes that kind.

    With forwarding off it is mailed all the same where nobody else would hear of it (NOTIF-009); of deliveries there
    is never a mail (NOTIF-003).
    """
    if kind is FeedbackKind.DELIVERY:
        return False
    return settings.forwarding or not (settings.topic(kind) or published)


def settings_key(account: str, identity_arn: str) -> str:
    """Return under which name an account has its settings about an identity.

    That is the identity's name for its owner, and its ARN for an account that sends by a policy of the owner
    (NOTIF-017), which has settings of its own.
    """
    _, _, rest = identity_arn.partition(":ses:")
    owner, _, name = rest.partition(":")[2].partition(":identity/")
    return name if owner == account else identity_arn


def identity_arn_of(mail_json: bytes) -> str:
    """Return the ARN of the identity a message was sent from, by the `mail` object of its events; "" without one."""
    found = _SOURCE_ARN.search(mail_json)
    return found.group(1).decode() if found else ""
