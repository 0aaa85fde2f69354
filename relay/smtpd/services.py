"""What the SMTP door needs from the rest of the product, as one value."""

from dataclasses import dataclass
from pathlib import Path

from relay.ports import Authenticator, Clock, Intake, Log, Metrics, Permits
from relay.smtpd.gate import ConnectionGate
from relay.smtpd.tls import ContextHolder


@dataclass(frozen=True, slots=True)
class Services:
    """Ports of the door. `incoming` is the directory for large bodies, on the file system of the spool."""

    intake: Intake
    authenticator: Authenticator
    permits: Permits
    metrics: Metrics
    log: Log
    clock: Clock
    gate: ConnectionGate
    tls: ContextHolder
    incoming: Path
