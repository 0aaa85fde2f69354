"""How accounts hear of feedback, by identity (NOTIF-002, 010 to 012, 017).

A row is kept under the identity's name for its owner, and under its ARN for an account that sends by a policy of the
owner. Without a row the defaults hold: feedback is mailed.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from relay.errors import NotFoundError, UsageError
from relay.mail.letter import Letter
from relay.model.feedback import DEFAULT_FEEDBACK, FeedbackKind, FeedbackSettings
from relay.policy.arn import BadArn, parse_identity_arn
from relay.policy.feedback import settings_key
from relay.store.catalog_identities import canonical_name
from relay.store.catalog_notices import Notices
from relay.store.catalog_tables import Row, Tables

TOPIC_ARN_MAX_CHARACTERS = 400


class Feedback:
    """Reads and changes feedback settings. Unknown identities raise NotFoundError."""

    __slots__ = ("_notices", "_tables")

    def __init__(self, tables: Tables, notices: Notices) -> None:
        self._tables = tables
        self._notices = notices

    def get(self, account: str, identity: str) -> FeedbackSettings:
        """Return the settings of an identity, given by name or, when another account owns it, by ARN."""
        return read_feedback(self._tables, account, self._key(account, identity))

    def set_forwarding(self, account: str, identity: str, *, enabled: bool) -> FeedbackSettings:
        """Switch the mailing of bounces and complaints."""
        return self._change(account, identity, lambda before: replace(before, forwarding=enabled))

    def set_topic(self, account: str, identity: str, kind: FeedbackKind, topic: str) -> FeedbackSettings:
        """Publish notifications of a kind to a topic, "" to end that; whether it may be used is asked before."""
        if len(topic) > TOPIC_ARN_MAX_CHARACTERS:
            raise UsageError(f"A topic's ARN has at most {TOPIC_ARN_MAX_CHARACTERS} characters.")
        return self._change(account, identity, lambda before: before.with_topic(kind, topic))

    def set_headers(self, account: str, identity: str, kinds: Iterable[FeedbackKind]) -> FeedbackSettings:
        """Put the original headers into notifications of these kinds and no others."""
        return self._change(account, identity, lambda before: replace(before, headers=frozenset(kinds)))

    def topic_failed(
        self, account: str, key: str, kind: FeedbackKind, topic: str, write: Callable[[str], Letter]
    ) -> bool:
        """Give up a topic that cannot be published to (NOTIF-015); say whether something changed.

        Bounces and complaints are mailed from now on, and the account's contacts are told, each by a letter of
        `write`; a topic for deliveries stays. `key` is that of `settings_key`.
        """
        with self._tables.writing(account):
            before = read_feedback(self._tables, account, key)
            if kind is FeedbackKind.DELIVERY or before.topic(kind) != topic:
                return False
            changed = replace(before.with_topic(kind, ""), forwarding=True)
            self._tables.run("put_identity_feedback", _values(account, key, changed))
            self._notices.tell_contacts(account, write)
        return True

    def _change(
        self, account: str, identity: str, change: Callable[[FeedbackSettings], FeedbackSettings]
    ) -> FeedbackSettings:
        key = self._key(account, identity)
        with self._tables.writing(account):
            changed = change(read_feedback(self._tables, account, key))
            self._tables.run("put_identity_feedback", _values(account, key, changed))
        return changed

    def _key(self, account: str, identity: str) -> str:
        """Return the row's name; an identity of another account must exist and be named by its ARN."""
        owner, name, key = account, identity, ""
        if identity.startswith("arn:"):
            arn = parse_identity_arn(identity)
            if isinstance(arn, BadArn):
                raise UsageError(f"{identity[:80]!r} is not the ARN of an identity: {arn.text}")
            owner, name, key = arn.account, arn.name, settings_key(account, str(arn))
        kept, _ = canonical_name(name)
        if self._tables.row("get_identity", {"account": owner, "name": kept}) is None:
            raise NotFoundError(f"Account {owner} has no identity {name}.")
        return key or kept


def read_feedback(tables: Tables, account: str, key: str) -> FeedbackSettings:
    """Return the settings of a row, the defaults where there is none."""
    row = tables.row("get_identity_feedback", {"account": account, "identity": key})
    return feedback_of(row) if row else DEFAULT_FEEDBACK


def feedback_of(row: Row) -> FeedbackSettings:
    """Return the settings of a row of `get_identity_feedback`."""
    forwarding, bounce, complaint, delivery, headers = row
    kinds = frozenset(FeedbackKind(kind) for kind in headers.split(",") if kind)
    return FeedbackSettings(bool(forwarding), bounce, complaint, delivery, kinds)


def _values(account: str, key: str, settings: FeedbackSettings) -> dict[str, object]:
    return {
        "account": account,
        "identity": key,
        "forwarding": settings.forwarding,
        "bounce_topic": settings.bounce_topic,
        "complaint_topic": settings.complaint_topic,
        "delivery_topic": settings.delivery_topic,
        "headers": ",".join(sorted(settings.headers)),
    }
