"""Settings of what goes out, as plain values; a reload replaces the whole object."""

from dataclasses import dataclass, field

from relay.policy.tls_policy import TlsRules
from relay.schedule.route import Route, TlsMode
from relay.schedule.shaping import Shape
from relay.smtp.client.envelope import Downgrade
from relay.smtp.client.options import Timeouts

ATTEMPT_SESSIONS_MAX = 2  # sessions that may break under one delivery in one attempt
RECIPIENTS_MAX = 100  # RFC 5321 section 4.5.3.1.8: every host takes as many
TICK_SECONDS = 0.5  # how late a time-out may be noticed


@dataclass(frozen=True, slots=True)
class OutboundSettings:
    """How mail leaves. `helo_name` is our name in EHLO; `own_names` are all names a host of ours may greet with."""

    helo_name: str
    own_names: frozenset[str] = frozenset()
    port: int = 25
    source_addresses: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    tls: TlsMode = TlsMode.OPPORTUNISTIC
    tls_rules: TlsRules = field(default_factory=TlsRules)
    dane: bool = True
    tls_failure_memory_seconds: float = 3600.0
    connections_per_site: int = 20
    connections_per_site_start: int = 5
    connections_max: int = 500
    messages_per_connection: int = 100
    connection_idle_seconds: float = 5.0
    addresses_per_attempt: int = 5
    pause_after_failure_seconds: float = 2.0
    refusal_memory_seconds: float = 60.0
    connect_timeout_seconds: float = 30.0
    ipv6: bool = True
    prefer_ipv6: bool = False
    timeouts: Timeouts = field(default_factory=Timeouts)
    downgrade: Downgrade | None = None

    @property
    def shape(self) -> Shape:
        """The limits of every destination for which no rule says anything else."""
        return Shape(
            connections=self.connections_per_site,
            connections_start=self.connections_per_site_start,
            messages_per_connection=self.messages_per_connection,
        )
