"""What one listener asks of its sessions: values only, frozen, swapped whole for new sessions at reload."""

from dataclasses import dataclass
from enum import StrEnum

from relay.model.content import MEMORY_BODY_MAX_BYTES


class ListenerKind(StrEnum):
    """What a listener is for: taking mail of our own senders, or mail addressed to us as well (decision 18)."""

    SUBMISSION = "submission"
    MX = "mx"


class TlsMode(StrEnum):
    """How a session becomes encrypted."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """Rules and limits of a session; 0 means "no limit" for `messages_max` and `session_seconds_max` only.

    `instance` goes into the greeting. `trusted_networks` (CIDR text) may send for `trusted_account` without AUTH.
    `auth_in_clear` is for loopback listeners without TLS. `recipient_limit_reply` is 452 or 554 (SMTP-019).
    `hold_seconds_max` is how far ahead mail may be sent off, 0: not at all. Clients are refused that lie in
    `denied_networks`, or outside `allowed_networks` where there are any. `proxy_networks` begin with a PROXY header;
    `xclient_networks` may say who is behind them, and as whom that client is logged in with `xclient_login`.
    """

    hostname: str
    kind: ListenerKind = ListenerKind.SUBMISSION
    tls: TlsMode = TlsMode.STARTTLS
    instance: str = "1"
    trusted_networks: tuple[str, ...] = ()
    trusted_account: str = ""
    auth_in_clear: bool = False
    message_size_max: int = 41943040
    head_size_max: int = MEMORY_BODY_MAX_BYTES
    recipients_max: int = 1000
    recipient_limit_reply: int = 452
    null_sender: bool = True
    smtputf8: bool = True
    enhanced_codes: bool = False
    dsn: bool = True
    chunking: bool = True
    limits: bool = True
    hold_seconds_max: int = 604_800
    deliver_by: bool = True
    allowed_networks: tuple[str, ...] = ()
    denied_networks: tuple[str, ...] = ()
    proxy_networks: tuple[str, ...] = ()
    proxy_header_seconds: float = 5.0
    xclient_networks: tuple[str, ...] = ()
    xclient_login: bool = False
    errors_max: int = 20
    junk_commands_max: int = 100
    auth_failures_max: int = 3
    messages_max: int = 0
    session_seconds_max: float = 0.0
    idle_timeout_seconds: float = 300.0
    stress_idle_timeout_seconds: float = 10.0
    command_deadline_seconds: float = 300.0
    data_block_timeout_seconds: float = 180.0
    data_rate_min: float = 500.0  # octets a second, once the grace below has passed
    data_grace_seconds: float = 30.0
    tls_handshake_seconds: float = 10.0
