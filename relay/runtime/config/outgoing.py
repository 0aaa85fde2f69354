"""Settings of what goes out: DNS, delivery, routes, signatures, headers."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from relay.mail.headers import SINGLE_FIELDS
from relay.model.pool import PERCENT_MAX, WEIGHT_MAX
from relay.runtime.config.outgoing_tls import TlsVersion
from relay.runtime.config.section import REQUIRED, Section, setting
from relay.runtime.config.values import (
    Address,
    Domain,
    DomainPattern,
    Duration,
    FilePath,
    Flag,
    Hostname,
    Kind,
    Nameserver,
    Number,
    OpenPort,
    Smarthost,
    Text,
    parse_smarthost,
    shown,
)

SUBMISSIONS_PORT = 465  # implicit TLS, RFC 8314 section 7.3
_TAKEN = SINGLE_FIELDS.keys() | {b"to", b"cc", b"bcc", b"received", b"dkim-signature"}


def _free_name(value: str) -> str:
    if value.lower().encode() in _TAKEN:
        raise ValueError(f"must not be {value}, which means something else")
    return value


FieldName = Annotated[
    str, Field(strict=True, pattern=r"^[A-Za-z0-9-]{0,60}$"), AfterValidator(_free_name), Kind("header field name")
]
Brand = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9._-]{1,60}$"), Kind("name")]


class Headers(Section):
    """What happens to headers that the submitter wrote."""

    message_id: Literal["keep", "replace"] = setting(
        "keep", "`keep` a well-formed Message-ID, so that threads stay whole, or `replace` every one."
    )
    date: Literal["keep", "replace"] = setting(
        "keep", "`keep` a well-formed Date, or `replace` it with the time of acceptance."
    )
    outgoing: FieldName = setting(
        "X-SES-Outgoing",
        "Name of the field with the date and the source address that mail leaves from; an empty text for none. It is "
        "written only where that address is certain: where the message can leave from one address only.",
    )
    feedback_id: FieldName = setting(
        "Feedback-ID",
        "Name of the field by which receivers sum up complaints; an empty text for none. Its value is the same for "
        "all mail of an account and does not tell which account. A submitter's own Feedback-ID is kept instead.",
    )
    feedback_brand: Brand = setting("Relay", "The last part of the feedback id: who sends, for all accounts.")


class Dkim(Section):
    """How messages are signed."""

    ed25519: Flag = setting(
        False, "Adds a second signature, Ed25519 (RFC 8463), for identities that have such a key."
    )
    relay_signature: Literal["auto", "always", "never"] = setting(
        "auto", "When the relay signs with its own domain: `auto` only where no identity signs."
    )
    zone: Domain | None = setting(
        None,
        "A DNS zone of the relay's, such as `dkim.relay.example`. Owners of domains then publish CNAME records into "
        "it once, and `relay dkim zone` prints what it has to hold; without it they publish TXT records.",
    )
    rotate_every: Duration = setting(
        "90d",
        "How long a key that the relay made signs before the next one takes over.",
        ge=86400.0,
        le=3650 * 86400.0,
    )
    expire_after: Duration = setting(
        "7d",
        "How long a signature holds (`x=`), so that a message cannot be replayed for ever; `0s` for no end. It is "
        "never less than a day more than `delivery.lifetime`.",
        ge=0.0,
        le=365 * 86400.0,
    )


class Dns(Section):
    """How names are looked up."""

    nameservers: tuple[Nameserver, ...] = setting(
        (),
        "Addresses of the name servers to ask, with a port when it is not 53, in the order in which they are asked; "
        "one that does not answer comes last for a while. Without any, /etc/resolv.conf is read, again whenever it "
        "changes.",
        shown="those of /etc/resolv.conf",
        max_length=16,
    )
    timeout: Duration = setting(
        "5s", "How long one question may take, repeats included; then there is no answer for now.", ge=0.05, le=60.0
    )
    nxdomain: Literal["bounce", "retry"] = setting(
        "bounce", "What becomes of mail for a domain that does not exist, when a second look says the same."
    )
    nxdomain_recheck: Duration = setting(
        "60s", "How long to wait before the second look at a domain that does not exist.", ge=0.0, le=86400.0
    )
    cache_entries_max: Number = setting(10_000, "Answers each worker remembers.", ge=0, le=10_000_000)
    trust_ad: Literal["auto", "yes", "no"] = setting(
        "auto",
        "Whether the name servers' word that they validated an answer (the AD bit) counts; DANE needs it. `auto`: "
        "when all of them have loopback addresses. `yes` only for validating servers behind a line that nobody else "
        "can write to.",
    )


class DeliveryTimeouts(Section):
    """How long to wait for a remote server, stage by stage (RFC 5321 section 4.5.3.2)."""

    connect: Duration = setting("30s", "The connection to be made.", ge=0.1, le=3600.0)
    tls: Duration = setting("60s", "The TLS handshake.", ge=0.1, le=3600.0)
    greeting: Duration = setting("5m", "The 220 greeting.", ge=0.1, le=3600.0)
    ehlo: Duration = setting("5m", "The reply to EHLO, HELO, STARTTLS or AUTH.", ge=0.1, le=3600.0)
    mail: Duration = setting("5m", "The reply to MAIL.", ge=0.1, le=3600.0)
    rcpt: Duration = setting("5m", "The reply to RCPT.", ge=0.1, le=3600.0)
    data: Duration = setting("2m", "The reply to DATA.", ge=0.1, le=3600.0)
    data_block: Duration = setting("3m", "Each block of the message to be taken.", ge=0.1, le=3600.0)
    data_end: Duration = setting(
        "10m", "The reply after the final dot; cutting it short sends messages twice.", ge=0.1, le=3600.0
    )
    quit: Duration = setting("5s", "The reply to QUIT, after which nothing is lost.", ge=0.1, le=3600.0)


def parse_warm_up(value: Any) -> str:
    """Return `off`, `auto`, or a percentage such as `40%`."""
    text = "off" if value is False else value  # how YAML reads a bare off
    if text in ("off", "auto"):
        return str(text)
    if isinstance(text, str) and re.fullmatch(r"\d{1,3}%", text) and int(text[:-1]) <= PERCENT_MAX:
        return text
    raise ValueError(f"must be off, auto or a percentage such as 40%, not {shown(value)}")


WarmUpText = Annotated[str, BeforeValidator(parse_warm_up), Kind("off, auto or percentage")]


class SourceAddress(Section):
    """An address that mail leaves from, for all accounts; an address alone is `{address: ADDRESS}`.

    What `relay address` says of it later stays until the entry is changed.
    """

    address: Address = setting(REQUIRED, "The address, which must be one of this machine.")
    ehlo_name: Hostname | None = setting(
        None, "Its name in EHLO, which its reverse DNS should say as well.", shown="`hostname`"
    )
    weight: Number | None = setting(
        None,
        "Its share of the mail among the addresses of its pool; 0 lets it rest.",
        shown="100",
        ge=0,
        le=WEIGHT_MAX,
    )
    warmup: WarmUpText | None = setting(
        None, "Whether it is warmed up: `off`, by its age (`auto`), or as far as a percentage says.", shown="off"
    )

    @model_validator(mode="before")
    @classmethod
    def _address_alone(cls, data: Any) -> Any:
        return {"address": data} if isinstance(data, str) else data


class Delivery(Section):
    """How mail leaves."""

    port: OpenPort = setting(25, "The port of mail exchangers.")
    source_addresses: tuple[SourceAddress, ...] = setting(
        (),
        "Addresses of this machine to connect from: those that all accounts share. `relay address` adds others.",
        shown="what the system chooses",
        max_length=1000,
    )
    lifetime: Duration = setting(
        "14h", "How long delivery is tried before the message bounces.", ge=1.0, le=30 * 86400.0
    )
    delay_report_after: Duration = setting(
        "4h",
        "How long mail may take before senders that asked to be told of delays (NOTIFY=DELAY) are told, once.",
        ge=1.0,
        le=30 * 86400.0,
    )
    retry: tuple[Duration, ...] = setting(
        ("1m", "5m", "15m", "30m", "1h"),
        "How long to wait after each failed attempt; the last one repeats.",
        min_length=1,
        max_length=100,
    )
    retry_jitter_percent: Number = setting(
        20, "By how much a wait is randomly longer or shorter, so that retries do not come in waves.", ge=0, le=50
    )
    allow_private_destinations: Flag = setting(
        False,
        "Delivers to mail exchangers with loopback, private or link-local addresses, or the relay's own. Routes may "
        "always name such hosts.",
    )
    connections_per_site: Number = setting(
        20, "Connections at a time to one destination, over all workers.", ge=1, le=10_000
    )
    connections_max: Number = setting(500, "Connections of one worker to all destinations.", ge=1, le=100_000)
    messages_per_connection: Number = setting(100, "Messages after which a connection is closed.", ge=1, le=1_000_000)
    connection_idle: Duration = setting(
        "5s", "How long a connection without work is kept for the next message.", ge=0.0, le=300.0
    )
    managed_address_a_day: Number = setting(
        50_000,
        "Messages a day that one address of a managed pool should carry; the pool grows and shrinks by it.",
        ge=1,
        le=100_000_000,
    )
    hosts_per_attempt: Number = setting(5, "Mail exchangers tried in one attempt.", ge=1, le=100)
    starttls: Literal["opportunistic", "require", "none"] = setting(
        "opportunistic",
        "TLS to mail exchangers: `opportunistic` uses it where it works, `require` waits and bounces without it.",
    )
    tls_minimum: TlsVersion = setting("1.0", "The oldest version of TLS where TLS is opportunistic.")
    tls_minimum_required: Literal["1.2", "1.3"] = setting(
        "1.2", "The oldest version of TLS where TLS is required, by whomever."
    )
    tls_ca_file: FilePath | None = setting(
        None,
        "Authorities that certificates of mail exchangers and smart hosts are checked with, as PEM.",
        shown="those of the system",
    )
    dane: Flag = setting(
        True,
        "Obeys TLSA records (RFC 7672). They count only where `dns.trust_ad` lets a validating name server vouch for "
        "them.",
    )
    starttls_failure_memory: Duration = setting(
        "1h", "How long a host whose TLS failed is spared another try, when TLS is not required.", ge=0.0, le=86400.0
    )
    ipv6: Flag = setting(True, "Uses IPv6 addresses of mail exchangers.")
    prefer_ipv6: Flag = setting(False, "Tries IPv6 before IPv4 where a host has both.")
    timeouts: DeliveryTimeouts = setting({}, "How long to wait for a remote server, stage by stage.")
    trace: Literal["failures", "all", "none"] = setting(
        "failures",
        "The attempts of which `relay trace` shows what was said, host by host; secrets and content are left out.",
    )


class Route(Section):
    """Where mail for a domain goes, instead of its mail exchangers."""

    domain: DomainPattern = setting(
        REQUIRED, "A recipient domain, `*.example` for every name below it, or `*` for all. The closest match counts."
    )
    smarthost: Smarthost = setting(
        REQUIRED, "The host and port that takes the mail; the port defaults to 25, to 465 with `tls: implicit`."
    )
    username: Text = setting("", "The user name to log in with.")
    password: SecretStr = setting(SecretStr(""), "The password to log in with; a file keeps it out of this one.")
    password_file: FilePath | None = setting(None, "A file with the password in its first line, mode 0600.")
    tls: Literal["none", "opportunistic", "require", "implicit"] = setting(
        "opportunistic",
        "TLS to this host by STARTTLS; `require` also checks its certificate. `implicit`: TLS from the first byte, "
        "as on port 465, with a checked certificate.",
    )
    return_path: Literal["own", "original"] = setting(
        "own",
        "`own` gives each recipient a return path of the relay, so that bounces are matched; `original` keeps the "
        "submitter's, for hosts that judge by it, and sends several recipients at once.",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_port(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("tls") != "implicit":
            return data
        try:
            return {**data, "smarthost": parse_smarthost(data.get("smarthost"), default_port=SUBMISSIONS_PORT)}
        except ValueError:  # the setting itself says what is wrong with it
            return data
