"""Settings of what comes in: listeners, TLS, the SMTP dialogue, limits."""

import ipaddress
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from relay.runtime.config.section import REQUIRED, Section, setting
from relay.runtime.config.values import (
    AccountId,
    Address,
    BaseUrl,
    Duration,
    FilePath,
    Flag,
    Kind,
    Network,
    Number,
    Port,
    Size,
)
from relay.signing.secrets import DEFAULT_REGIONS

ListenerKind = Literal["submission", "mx", "http", "console", "metrics"]
ListenerTls = Literal["starttls", "implicit", "none"]
SMTP_KINDS = ("submission", "mx")


class Tls(Section):
    """The certificate that listeners show."""

    certificate: FilePath = setting(
        "tls/cert.pem", "The certificate with its chain, PEM. A reload reads it again, without losing a session."
    )
    key: FilePath = setting("tls/key.pem", "Its private key, PEM, readable by nobody but the relay (mode 0600).")
    minimum_version: Annotated[Literal["1.2", "1.3"], BeforeValidator(str)] = setting(
        "1.2", "The oldest TLS version that clients may use."
    )


class Trust(Section):
    """Clients that may submit without a password."""

    networks: tuple[Network, ...] = setting(
        REQUIRED, "The networks these clients connect from.", min_length=1, max_length=1000
    )
    account: AccountId = setting(
        REQUIRED, "The account that their mail belongs to; its identities are checked as with a password."
    )


class ProxyProtocol(Section):
    """Load balancers that say who their client is."""

    networks: tuple[Network, ...] = setting(
        REQUIRED,
        "The networks these balancers connect from. Each of their connections must begin with a PROXY header, "
        "version 1 or 2; whoever connects from elsewhere is an ordinary client.",
        min_length=1,
        max_length=1000,
    )


class XClient(Section):
    """Front ends that say who their client is, within the SMTP dialogue."""

    networks: tuple[Network, ...] = setting(
        REQUIRED,
        "The networks these front ends connect from. XCLIENT is offered to nobody else.",
        min_length=1,
        max_length=1000,
    )
    login: Flag = setting(
        False,
        "Takes LOGIN from them: they have checked the password, and the client is that SMTP user, with its rights "
        "and no others. The user must exist here.",
    )


class Listener(Section):
    """One address and port, and what is served there."""

    kind: ListenerKind = setting(
        REQUIRED,
        "`submission`: mail from applications and smart hosts, with a password. `mx`: bounces, complaints and mail "
        "for the relay's own domains. `http`: the pages that links in mails open. `console`: the web console. "
        "`metrics`: /metrics, /healthz and /readyz.",
    )
    address: Address = setting("127.0.0.1", "The address to listen on; 0.0.0.0 and :: are every address.")
    port: Port = setting(REQUIRED, "The port. 0 takes any free one and the log says which, for tests.")
    tls: ListenerTls = setting(
        "none",
        "`starttls`: starts in clear, STARTTLS comes before the password. `implicit`: TLS from the first byte. "
        "`none`: no TLS; a submission listener may do so on loopback or with `trust` only.",
        shown="starttls for submission and mx, none for the others",
    )
    trust: Trust | None = setting(None, "Clients that need no password, on a submission listener of their own.")
    allow: tuple[Network, ...] = setting(
        (), "Networks whose clients an SMTP listener serves, and no others. Empty: all.", max_length=10_000
    )
    deny: tuple[Network, ...] = setting(
        (),
        "Networks whose clients an SMTP listener refuses with 554, also where `allow` names them.",
        max_length=10_000,
    )
    proxy_protocol: ProxyProtocol | None = setting(
        None, "Load balancers before an SMTP listener: limits, trust and logs are by the address they name."
    )
    xclient: XClient | None = setting(None, "Front ends before an SMTP listener that use Postfix's XCLIENT.")
    allow_remote: Flag = setting(
        False, "Lets a metrics listener, which asks for no password, listen on an address other than loopback."
    )

    @model_validator(mode="before")
    @classmethod
    def _default_tls(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "tls" in data:
            return data
        return {**data, "tls": "starttls" if data.get("kind") in SMTP_KINDS else "none"}

    @property
    def loopback(self) -> bool:
        """True when only this machine can connect."""
        return ipaddress.ip_address(self.address).is_loopback


class Http(Section):
    """What the `http` listeners serve."""

    public_url: BaseUrl = setting(
        "https://relay.invalid",
        "The address under which an `http` listener is reached from outside, through a reverse proxy or with its own "
        "TLS; links in mails begin with it. https, or http on loopback.",
        shown="https:// and the hostname",
    )


class Smtp(Section):
    """How the SMTP dialogue of the listeners behaves."""

    enhanced_codes: Flag = setting(False, "Puts enhanced status codes (RFC 2034) into every reply.")
    smtputf8: Flag = setting(True, "Offers SMTPUTF8: addresses and headers beyond ASCII (RFC 6531).")
    dsn: Flag = setting(True, "Offers DSN: senders choose what they are told of (RFC 3461).")
    chunking: Flag = setting(True, "Offers CHUNKING: messages by BDAT (RFC 3030), without BINARYMIME.")
    limits: Flag = setting(True, "Offers LIMITS: tells clients how many recipients and messages it takes (RFC 9422).")
    future_release_max: Duration = setting(
        "7d",
        "How far ahead a submission may ask to be sent off (FUTURERELEASE, RFC 4865); 0s does not offer it.",
        ge=0.0,
        le=31 * 86_400.0,
    )
    deliver_by: Flag = setting(
        True, "Offers DELIVERBY on submission listeners: a time limit for one message (RFC 2852)."
    )
    null_sender: Literal["accept", "reject"] = setting(
        "accept", "What a submission with the null sender (MAIL FROM:<>) gets."
    )
    accepted_regions: tuple[Annotated[str, Field(strict=True, max_length=100), Kind("region")], ...] = setting(
        DEFAULT_REGIONS,
        "Regions, besides `region`, for which an SMTP password derived from an access key is accepted.",
        restart=True,
        max_length=1000,
    )
    received_client: Flag = setting(False, "Writes the client's address and HELO name into the Received header.")
    max_messages_per_session: Number = setting(
        0, "Messages after which a session ends with 421; 0 is no limit.", ge=0, le=1_000_000_000
    )
    max_session_seconds: Number = setting(
        0, "Seconds after which a session ends with 421, between messages; 0 is no limit.", ge=0, le=31_536_000
    )
    recipient_limit_reply: Literal[452, 554] = setting(
        452,
        "The reply to a recipient beyond `limits.smtp_recipients_max`: 452, sent again by good clients in another "
        "transaction, or 554.",
    )


class AuthLimits(Section):
    """Limits of failed logins, shared by all workers."""

    failures_per_minute: Number = setting(
        10, "Failed logins of one client address in a minute, then it is refused.", ge=1, le=1_000_000
    )
    failures_per_day: Number = setting(
        50, "Failed logins of one client address in 24 hours, then it is refused.", ge=1, le=10_000_000
    )
    delay_from: Number = setting(
        3, "From this failed login on, the answers to an address or a user are delayed.", ge=1, le=1_000_000
    )
    delay: Duration = setting(
        "1s", "How long such an answer is delayed. A user is never locked out.", ge=0.0, le=60.0
    )


class Limits(Section):
    """Bounds on what clients can ask for."""

    message_size_max: Size = setting(
        41943040, "Largest message in bytes, as EHLO announces it (RFC 1870).", ge=65536, le=1 << 30
    )
    recipients_max: Number = setting(50, "Recipients of a message through the API.", ge=1, le=100_000)
    smtp_recipients_max: Number = setting(
        1000, "Recipients of one SMTP transaction; at least 100 (RFC 5321 section 4.5.3.1.8).", ge=100, le=100_000
    )
    connections_max: Number = setting(
        5000, "Open client connections, over all workers. From 80 % on, idle sessions end sooner.", ge=1, le=1_000_000
    )
    connections_per_address_max: Number = setting(
        200, "Open client connections of one address, over all workers.", ge=1, le=1_000_000
    )
    connections_per_account_max: Number = setting(
        2500,
        "Open client connections that logged in to one account, over all workers: half of all, so that one sender "
        "leaves room for others; 0 is no limit.",
        ge=0,
        le=1_000_000,
    )
    connections_per_minute_max: Number = setting(
        300,
        "New client connections of one address in a minute (an IPv6 address counts as its /64), over all workers; 0 "
        "is no limit. Addresses with a successful login in the last 24 hours, and those of trusted listeners' "
        "networks, are exempt.",
        ge=0,
        le=60_000,
    )
    idle_timeout: Duration = setting("300s", "Silence between commands that ends a session.", ge=1.0, le=3600.0)
    command_timeout: Duration = setting(
        "300s", "Time a client has to send one whole command, however steadily it drips.", ge=1.0, le=3600.0
    )
    data_timeout: Duration = setting("180s", "Silence within message data that ends a session.", ge=1.0, le=3600.0)
    data_rate_min: Size = setting(
        500, "Bytes a second below which message data is cut off, measured over the whole message.", le=1 << 30
    )
    errors_max: Number = setting(20, "Refused commands in one session, then it ends with 421.", ge=1, le=1_000_000)
    junk_commands_max: Number = setting(
        100, "Commands that move no mail (NOOP, RSET, VRFY ...) between two messages, then 421.", ge=1, le=1_000_000
    )
    disk_free_min: Size = setting(
        "512MB",
        "Free space on the file system of `data_dir` below which new mail gets 452. Deliveries need some of it to be "
        "written down: keep at least 16 MB for each worker.",
        le=1 << 50,
    )
    drain_timeout: Duration = setting(
        "30s",
        "How long a stop waits for open sessions and deliveries in flight. Keep it below the time-out of the service "
        "that stops the relay (TimeoutStopSec).",
        ge=0.0,
        le=3600.0,
    )
    auth: AuthLimits = setting({}, "Limits of failed logins.", restart=True)
