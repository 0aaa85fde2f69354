"""The whole configuration as one immutable value. The example file and the reference page are made from it.

A test fails when a setting has no description. Cross-checks between settings are in `consistency`, checks against
this machine (files, ports, certificates) in `environment`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from relay.runtime.config.alarms import AlarmSettings, Snds
from relay.runtime.config.incoming import Http, Limits, Listener, Smtp, Tls
from relay.runtime.config.outgoing import Delivery, Dkim, Dns, Headers, Route
from relay.runtime.config.outgoing_tls import MtaSts, TlsPolicy, TlsReports
from relay.runtime.config.own import OwnChecks
from relay.runtime.config.publishing import Bus, EventMetrics, EventQueue, Stream
from relay.runtime.config.reputation import Reputation, StatisticsSettings
from relay.runtime.config.scanning import Content
from relay.runtime.config.section import REQUIRED, Section, setting
from relay.runtime.config.shaping import Shaping
from relay.runtime.config.topics import Topics
from relay.runtime.config.upkeep import (
    Audit,
    EventDestination,
    Feedback,
    History,
    Logging,
    Notifications,
    QuotaRules,
    RunAs,
)
from relay.runtime.config.values import Domain, FilePath, Hostname, Kind, Mailbox, parse_hostname, shown
from relay.runtime.config.warming import Warming

WORKERS_MAX = 256  # a shard number has four hex digits, a machine has fewer cores

Region = Annotated[str, Field(strict=True, pattern=r"^[a-z0-9][a-z0-9-]{0,62}$"), Kind("region")]


def parse_workers(value: Any) -> int | str:
    """Return a number of workers, or `auto`."""
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= WORKERS_MAX:
        raise ValueError(f"must be `auto` or a number from 1 to {WORKERS_MAX}, not {shown(value)}")
    return value


Workers = Annotated[Literal["auto"] | int, BeforeValidator(parse_workers), Kind("auto, or a number")]

DEFAULT_LISTENERS: tuple[dict[str, Any], ...] = (
    {"kind": "submission", "address": "127.0.0.1", "port": 2587, "tls": "starttls"},
    {"kind": "submission", "address": "127.0.0.1", "port": 2465, "tls": "implicit"},
    {"kind": "mx", "address": "127.0.0.1", "port": 2525},
    {"kind": "metrics", "address": "127.0.0.1", "port": 9090},
)


def _with_default(section: Any, key: str, value: str) -> Any:
    """Return a section with a value for a key that it leaves out; what is no section is left to be refused."""
    if section is None:
        return {key: value}
    if not isinstance(section, dict) or section.get(key) is not None:
        return section
    return {**section, key: value}


class Config(Section):
    """Everything an operator can set."""

    hostname: Hostname = setting(
        REQUIRED,
        "The relay's own name: its EHLO name, and the default for every name derived from it. It should resolve to "
        "this machine, and this machine's address back to it.",
        restart=True,
        shown="relay.example",
    )
    data_dir: FilePath = setting(
        "/var/lib/relay",
        "Where the queue, the catalog and the keys are kept. The relay makes it private (mode 0700).",
        restart=True,
    )
    region: Region = setting(
        "local-1", "The region that API clients name, and that SMTP passwords are derived for.", restart=True
    )
    workers: Workers = setting("auto", "Worker processes; `auto` is one for each core.", restart=True)
    run_as: RunAs | None = setting(
        None, "The user and group to become after the ports are open, when root starts the relay.", restart=True
    )
    listeners: tuple[Listener, ...] = setting(
        DEFAULT_LISTENERS, "Where clients connect, one entry for each address and port.", min_length=1, max_length=100
    )
    tls: Tls = setting({}, "The certificate that listeners show.")
    limits: Limits = setting({}, "Bounds on what clients can ask for.")
    http: Http = setting({}, "What the `http` listeners serve.")
    smtp: Smtp = setting({}, "How the SMTP dialogue of the listeners behaves.")
    contact: Mailbox = setting(
        "",
        "Who reads mail for postmaster@ and abuse@ of the relay's own domains.",
        shown="postmaster@ the hostname",
    )
    headers: Headers = setting({}, "What happens to headers that the submitter wrote.")
    content: Content = setting({}, "What is looked for in messages.")
    dkim: Dkim = setting({}, "How messages are signed.")
    dns: Dns = setting({}, "How names are looked up.")
    delivery: Delivery = setting({}, "How mail leaves.")
    warmup: Warming = setting({}, "How source addresses that warm up come to their full volume.")
    shaping: Shaping = setting(
        {}, "How much each receiver bears, and what its replies mean; the rules are in files of their own."
    )
    routes: tuple[Route, ...] = setting(
        (), "Domains whose mail goes to a given host instead of their mail exchangers.", max_length=10_000
    )
    tls_policies: tuple[TlsPolicy, ...] = setting(
        (), "Domains that need another TLS than `delivery.starttls` says for all.", max_length=10_000
    )
    mta_sts: MtaSts = setting({}, "MTA-STS policies of recipient domains.")
    tls_reports: TlsReports = setting({}, "Daily reports on TLS to domains that ask for them.")
    bounce_domain: Domain = setting(
        "",
        "The domain of return paths. Its MX must be this relay, or bounces are lost.",
        shown="bounce. before the hostname",
    )
    feedback: Feedback = setting({}, "Bounces and complaints that come back.")
    notifications: Notifications = setting({}, "The relay's own mail to senders and contacts.")
    events: tuple[EventDestination, ...] = setting((), "Places that events are published to.", max_length=100)
    streams: tuple[Stream, ...] = setting(
        (), "Streams that event destinations of configuration sets may name.", max_length=100
    )
    buses: tuple[Bus, ...] = setting(
        (), "Event buses that event destinations of configuration sets may name.", max_length=100
    )
    event_queue: EventQueue = setting({}, "What waits for streams, buses and subscriptions.")
    event_metrics: EventMetrics = setting({}, "Metrics destinations of configuration sets.")
    topics: Topics = setting({}, "Topics: how notifications are signed, and whom they may be delivered to.")
    history: History = setting({}, "Records of finished messages, without their bodies.")
    audit: Audit = setting({}, "The audit log.")
    quota_rules: QuotaRules = setting({}, "Sending limits that follow how an account sends.")
    statistics: StatisticsSettings = setting({}, "Counts of what was sent and what became of it.")
    reputation: Reputation = setting({}, "When accounts are under review, and when they are paused.")
    alarms: AlarmSettings = setting({}, "Alarms of accounts on what is measured.")
    snds: Snds = setting({}, "Microsoft's figures about the relay's addresses (SNDS).")
    own_checks: OwnChecks = setting({}, "What is looked at about the relay itself, as receivers would.")
    logging: Logging = setting({}, "What the relay says on standard error.")

    @model_validator(mode="before")
    @classmethod
    def _derive_from_hostname(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        try:
            name = parse_hostname(data.get("hostname"))
        except ValueError:
            name = "hostname.invalid"  # never used: the host name itself is refused
        given = {key: value for key, value in data.items() if value is not None}
        return {
            "contact": f"postmaster@{name}",
            "bounce_domain": f"bounce.{name}",
            **given,
            "http": _with_default(given.get("http"), "public_url", f"https://{name}"),
            "notifications": _with_default(given.get("notifications"), "sender", f"no-reply@{name}"),
        }

    def worker_count(self, cores: int) -> int:
        """Return how many workers to run on a machine with so many cores."""
        return max(1, min(cores, WORKERS_MAX)) if self.workers == "auto" else self.workers

    def event_file(self, destination: EventDestination) -> Path:
        """Return where a file destination writes."""
        return self.data_dir / destination.path

    def stream_directory(self, stream: Stream) -> Path:
        """Return where a stream of type `directory` writes."""
        return self.data_dir / (stream.directory or Path("streams", stream.name))
