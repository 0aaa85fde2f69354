"""Whether the sender of a message gets feedback about it by mail, as the settings of its identity say now."""

from collections.abc import Callable

from relay.errors import StorageError
from relay.model.feedback import FeedbackKind
from relay.model.message import Message
from relay.policy.feedback import identity_arn_of, mailed, settings_key
from relay.ports import Directory, Log

Forwarding = Callable[[Message, FeedbackKind], bool]


class IdentityForwarding:
    """Forwarding: asks the catalog. Feedback that nobody can decide about is mailed rather than lost."""

    def __init__(self, directory: Directory, log: Log) -> None:
        self._directory = directory
        self._log = log

    def __call__(self, message: Message, kind: FeedbackKind) -> bool:
        """Say whether feedback of a kind about a message is mailed (NOTIF-002 to 004, 009, 010)."""
        arn = identity_arn_of(message.mail_json)
        if not arn:
            return True
        directory = self._directory
        try:
            directory.refresh()
            settings = directory.feedback(message.account, settings_key(message.account, arn))
            if settings.forwarding:
                return True
            published = directory.publishes(message.account, message.options.configuration_set, kind)
        except StorageError as error:
            self._log.warning("feedback settings unreadable", message_id=message.message_id, error=str(error))
            return True
        return mailed(settings, kind, published=published)


def always(_message: Message, _kind: FeedbackKind) -> bool:
    """Forwarding without settings: everything is mailed."""
    return True
