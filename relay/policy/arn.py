"""Amazon resource names (ARNs): one reader, one writer (AUTHZ-003, AUTHZ-004, TOPIC-151).

    arn:aws:ses:<region>:<account>:identity/<name>     a domain, or a whole address
    arn:aws:iam::<account>:user/<name>                 a user of an account
    arn:aws:iam::<account>:root, or <account> alone    everybody of an account
    arn:aws:sns:<region>:<account>:<name>              a topic; `:` and a UUID behind it, a subscription
    arn:aws:sqs:<region>:<account>:<name>              a local queue

One identity has one ARN here: a domain in A-label form and lower case, an address with the case of its local part
kept. What could be read in two ways is refused, never repaired: wildcards, percent escapes (`%40` is no `@`),
Unicode, other partitions, more colons than an ARN has.
"""

import re

from relay.mail.address import BadAddress, normal_domain, parse_mailbox
from relay.model.value import dataclass

ARN_MAX_CHARS = 400  # the longest region, account and address need 357; subscriptions of long topic names 398
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_ACCOUNT = re.compile(r"[0-9]{12}\Z")
_USER = re.compile(r"[A-Za-z0-9._@+=,-]{1,128}\Z")

_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,256}\Z")
_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")

TOPIC_EXAMPLE = "arn:aws:sns:us-east-1:123456789012:bounces"
IDENTITY_EXAMPLE = "arn:aws:ses:us-east-1:123456789012:identity/example.com"
USER_EXAMPLE = "arn:aws:iam::123456789012:user/John"
ACCOUNT_EXAMPLE = "123456789012"


@dataclass(frozen=True, slots=True)
class IdentityArn:
    """The identity `name` of an account in a region; the name is in the form the catalog keeps."""

    region: str
    account: str
    name: str

    def __str__(self) -> str:
        return f"arn:aws:ses:{self.region}:{self.account}:identity/{self.name}"


@dataclass(frozen=True, slots=True)
class UserArn:
    """A user of an account; names compare with case."""

    account: str
    name: str

    def __str__(self) -> str:
        return f"arn:aws:iam::{self.account}:user/{self.name}"


@dataclass(frozen=True, slots=True)
class AccountRoot:
    """An account as a whole: all its users and keys."""

    account: str

    def __str__(self) -> str:
        return f"arn:aws:iam::{self.account}:root"


@dataclass(frozen=True, slots=True)
class TopicArn:
    """The topic `name` of an account in a region."""

    region: str
    account: str
    name: str

    def __str__(self) -> str:
        return f"arn:aws:sns:{self.region}:{self.account}:{self.name}"


@dataclass(frozen=True, slots=True)
class SubscriptionArn:
    """The subscription `id`, a UUID, of a topic."""

    topic: TopicArn
    id: str

    def __str__(self) -> str:
        return f"{self.topic}:{self.id}"


@dataclass(frozen=True, slots=True)
class QueueArn:
    """The local queue `name` of an account in a region."""

    region: str
    account: str
    name: str

    def __str__(self) -> str:
        return f"arn:aws:sqs:{self.region}:{self.account}:{self.name}"


@dataclass(frozen=True, slots=True)
class BadArn:
    """Why a text is not an ARN of the kind that was expected: one sentence, without the text itself."""

    text: str


def identity_name(text: str) -> str | None:
    """Return the catalog's form of an identity's name, ASCII only; None when it is neither address nor domain."""
    if not text.isascii():
        return None
    named = parse_mailbox(text) if "@" in text else normal_domain(text)
    return None if isinstance(named, BadAddress) else str(named)


def parse_identity_arn(text: str) -> IdentityArn | BadArn:
    """Return the identity that an ARN names."""
    parts = _parts(text, "ses")
    if isinstance(parts, BadArn):
        return parts
    region, account, resource = parts
    kind, slash, written = resource.partition("/")
    if kind != "identity" or not slash:
        return BadArn('The last part of an identity ARN is "identity/" and the name of the identity.')
    if not _REGION.match(region):
        return BadArn("The fourth part of an identity ARN is a region, in lower case.")
    if not _ACCOUNT.match(account):
        return BadArn("The fifth part of an identity ARN is an account id, 12 digits.")
    name = identity_name(written)
    if name is None:
        return BadArn("The name in the ARN is neither a domain nor an e-mail address.")
    return IdentityArn(region, account, name)


def parse_principal_arn(text: str) -> AccountRoot | UserArn | BadArn:
    """Return the account or the user that a principal names: an account id, a root ARN or a user ARN."""
    if _ACCOUNT.match(text):
        return AccountRoot(text)
    if not text.startswith("arn:"):
        return BadArn("A principal is an account id (12 digits), or the ARN of a user or of an account's root.")
    parts = _parts(text, "iam")
    if isinstance(parts, BadArn):
        return parts
    region, account, resource = parts
    if region:
        return BadArn("The ARN of a user has no region: its fourth part is empty.")
    if not _ACCOUNT.match(account):
        return BadArn("The fifth part of a user's ARN is an account id, 12 digits.")
    if resource == "root":
        return AccountRoot(account)
    kind, _, name = resource.partition("/")
    if kind != "user" or not _USER.match(name):
        return BadArn('The last part of the ARN is "root", or "user/" and the name of a user.')
    return UserArn(account, name)


def parse_topic_arn(text: str) -> TopicArn | BadArn:
    """Return the topic that an ARN names."""
    parts = _of_account(text, "sns")
    if isinstance(parts, BadArn):
        return parts
    region, account, name = parts
    if not _TOPIC.match(name):
        return BadArn('The last part of a topic ARN is its name: 1 to 256 letters, digits, "-" and "_".')
    return TopicArn(region, account, name)


def parse_subscription_arn(text: str) -> SubscriptionArn | BadArn:
    """Return the subscription that an ARN names."""
    first, _, last = text.rpartition(":")
    if not _UUID.match(last):
        return BadArn("A subscription ARN is that of its topic, with a colon and a UUID behind it.")
    topic = parse_topic_arn(first)
    return topic if isinstance(topic, BadArn) else SubscriptionArn(topic, last)


def parse_queue_arn(text: str) -> QueueArn | BadArn:
    """Return the local queue that an ARN names."""
    parts = _of_account(text, "sqs")
    if isinstance(parts, BadArn):
        return parts
    region, account, name = parts
    if not _QUEUE.match(name):
        return BadArn('The last part of a queue ARN is its name: 1 to 80 letters, digits, "-" and "_".')
    return QueueArn(region, account, name)


def _of_account(text: str, service: str) -> tuple[str, str, str] | BadArn:
    """Return region, account and resource of an ARN whose service has regions and accounts."""
    parts = _parts(text, service)
    if isinstance(parts, BadArn):
        return parts
    if not _REGION.match(parts[0]):
        return BadArn("The fourth part of the ARN is a region, in lower case.")
    if not _ACCOUNT.match(parts[1]):
        return BadArn("The fifth part of the ARN is an account id, 12 digits.")
    return parts


def _parts(text: str, service: str) -> tuple[str, str, str] | BadArn:
    """Return region, account and resource of an ARN of a service."""
    if len(text) > ARN_MAX_CHARS:
        return BadArn(f"The ARN is longer than {ARN_MAX_CHARS} characters.")
    if not text.isascii():
        return BadArn("An ARN is ASCII; write a domain in its A-label form (xn--...).")
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn":  # noqa: PLR2004 - an ARN has six parts
        return BadArn('An ARN has six parts with ":" between them and begins with "arn".')
    if parts[1] != "aws":
        return BadArn('The second part of the ARN, the partition, is "aws".')
    if parts[2] != service:
        return BadArn(f'The third part of the ARN, the service, is "{service}" here.')
    return parts[3], parts[4], parts[5]
