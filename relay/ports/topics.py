"""What delivering to topics asks of the rest: the catalog's topics, a signer, the web, the relay's own mail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from relay.model.topic import Subscription, Topic


class TopicDirectory(Protocol):
    """Topics and subscriptions as the catalog has them. Calls raise StorageError when it cannot be read now."""

    def refresh(self) -> bool:
        """Drop what changed since the last call; say whether anything did."""
        ...

    def topic(self, account: str, name: str) -> Topic | None:
        """Return a topic, None when there is none."""
        ...

    def confirmed(self, account: str, topic: str) -> Sequence[Subscription]:
        """Return the confirmed subscriptions of a topic."""
        ...

    def subscription(self, subscription_id: str) -> Subscription | None:
        """Return a subscription in any state, None when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, and where the certificate for it is found."""

    text: str
    version: str
    cert_url: str


UNSIGNED: Final = Signature("", "", "")


class TopicSigner(Protocol):
    """Signs bodies of notifications with the key of the day."""

    def sign(self, version: str, fields: Mapping[str, str]) -> Signature:
        """Sign a body; UNSIGNED while there is no key. May be called from any thread."""
        ...


@dataclass(frozen=True, slots=True)
class Posted:
    """What an endpoint answered: its status, 0 when it gave none. `fault` says why, and whether trying again helps.

    `forbidden`: the address must not be connected to.
    """

    status: int
    fault: str = ""
    forbidden: bool = False


class Poster(Protocol):
    """Posts bodies to endpoints of strangers, each within an absolute time. Never raises for what they do."""

    async def post(self, endpoint: str, login: str, headers: Mapping[str, str], body: bytes) -> Posted:
        """Post a body once; a challenge to authenticate is answered with `login`, "user:password"."""
        ...


class Mailer(Protocol):
    """Hands over mail of the relay's own."""

    async def mail(self, account: str, recipient: str, head: bytes, body: bytes) -> bool:
        """Keep a mail until it is sent, synced on return; False when too many wait. Raise StorageError."""
        ...


class QueueFiles(Protocol):
    """Local queues: files of JSON lines."""

    async def append(self, account: str, name: str, line: bytes) -> None:
        """Append one line (without its end) to a queue, synced on return. Raise TemporaryError."""
        ...
