"""Why a request was refused: one table that all doors share (group ERR of docs/spec/sending.md).

A refusal is a value. Each door renders it in its own dialect; the SMTP dialect is here, because its texts
are the contract that clients match on. `%s` in a text is replaced by the refusal's detail.
"""

from dataclasses import field
from enum import Enum

from relay.model.value import dataclass


class Reason(Enum):
    """Every reason to refuse: (SMTP code, enhanced code, SMTP text, metric label)."""

    NOT_VERIFIED = (
        554,
        "5.7.1",
        "Message rejected: Email address is not verified. The following identities failed the check in region %s",
        "not_verified",
    )
    MAIL_FROM_NOT_VERIFIED = (
        554,
        "5.7.1",
        "Message rejected: Mail FROM domain is not verified",
        "mail_from_not_verified",
    )
    ACCESS_DENIED = (554, "5.7.1", "Access denied: %s", "access_denied")
    INVALID_ARN = (554, "5.6.0", "Transaction failed: %s", "arn")
    ACCOUNT_PAUSED = (
        554,
        "5.7.1",
        (
            "Message rejected: Sending paused for this account. For more information, please check the inbox of the "
            "email address associated with your AWS account."
        ),
        "account_paused",
    )
    ACCOUNT_SUSPENDED = (
        554,
        "5.7.1",
        "Message rejected: Sending suspended for this account. Please contact the administrator.",
        "account_suspended",
    )
    ACCOUNT_CLOSED = (535, "5.7.8", "Account not subscribed to SES", "account_closed")
    QUOTA_EXCEEDED = (454, "4.7.0", "Throttling failure: Daily message quota exceeded", "daily_quota")
    RATE_EXCEEDED = (454, "4.7.0", "Throttling failure: Maximum sending rate exceeded", "send_rate")
    SET_UNKNOWN = (554, "5.6.0", "Message rejected: Configuration set does not exist", "configuration_set")
    SET_PAUSED = (554, "5.7.1", "Message rejected: Sending paused for configuration set %s.", "set_paused")
    TOO_MANY_RECIPIENTS = (554, "5.5.3", "Transaction failed: Recipient count exceeds %s.", "recipients")
    NO_RECIPIENTS = (554, "5.5.1", "No valid recipients", "no_recipients")
    MESSAGE_TOO_LONG = (552, "5.3.4", "Message is too long.", "size")
    MISSING_FROM = (554, "5.6.0", "Transaction failed: Missing required header 'From'.", "headers")
    EMPTY_HEADER = (554, "5.6.0", "Transaction failed: Empty required header '%s'.", "headers")
    DUPLICATE_HEADER = (554, "5.6.0", "Transaction failed: Duplicate header '%s'.", "headers")
    BAD_HEADER = (554, "5.6.0", "Transaction failed: %s", "headers")
    BAD_LINE_ENDING = (554, "5.6.0", "Transaction failed: %s", "line_endings")
    LINE_TOO_LONG = (554, "5.6.0", "Transaction failed: %s", "line_length")
    BAD_STRUCTURE = (554, "5.6.0", "Transaction failed: %s", "mime")
    ATTACHMENT = (554, "5.7.1", "Transaction failed: %s", "attachment")
    LOOP = (554, "5.4.6", "Transaction failed: Too many Received header fields, this is a mail loop.", "loop")
    CREDENTIALS_INVALID = (535, "5.7.8", "Authentication Credentials Invalid", "credentials")
    AUTH_TEMPORARY = (454, "4.7.0", "Temporary authentication failure", "auth_temporary")
    DISK_FULL = (452, "4.3.1", "Insufficient system storage", "disk_full")
    TEMPORARY = (451, "4.3.0", "Temporary service failure", "temporary")
    OVERLOADED = (451, "4.3.2", "Temporary service failure", "overloaded")
    RECEIVE_FAILED = (454, "4.3.0", "Temporary service failure", "receive_failed")
    BAD_BOUNCE_TOKEN = (550, "5.1.1", "%s mailbox unavailable", "bounce_token")
    NOT_LOCAL = (530, "5.7.0", "Authentication required", "not_local")
    NO_SUCH_USER = (550, "5.1.1", "%s mailbox unavailable", "unknown_user")
    INVALID_SENDER = (553, "5.1.7", "<%s> Invalid email address", "sender_syntax")
    INVALID_RECIPIENT = (553, "5.1.3", "<%s> address unknown", "recipient_syntax")
    TIMED_OUT = (451, "4.4.2", "Timeout waiting for data from client", "timeout")
    TOO_MANY_CONNECTIONS = (421, "4.7.0", "Too many concurrent SMTP connections", "connections")

    def __init__(self, code: int, enhanced: str, text: str, label: str) -> None:
        self.code = code
        self.enhanced = enhanced
        self.text = text
        self.label = label


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request refused for `reason`; nothing was queued for any recipient.

    `why` is for the log of the operator alone: the client must not learn which policy denies, or what is missing.
    """

    reason: Reason
    detail: str = ""
    why: str = field(default="", compare=False)

    @property
    def text(self) -> str:
        """The text without codes, the detail filled in."""
        return self.reason.text % self.detail if "%s" in self.reason.text else self.reason.text


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that was committed to storage under `message_id`."""

    message_id: str
