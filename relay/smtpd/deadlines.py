"""How long a connection may take: for each phase, and for what it says (SMTP-026).

Times are those of the door's coarse clock. Nothing here waits: the door's timer asks for every connection in turn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Final

from relay.smtp.server.policy import SessionPolicy
from relay.smtp.server.session import Session

LINGER_SECONDS: Final = 2.0
# How long a client waits for our answer at the end of data (RFC 5321 section 4.5.3.2.6). Permits answer in seconds
# and the disk in less; what has not answered by then never will, and the connection would stay for good.
ANSWER_SECONDS_MAX: Final = 600.0


class Phase(IntEnum):
    """Where a connection is.

    HEADER: behind a balancer, its PROXY header is awaited; HANDSHAKE: TLS is being set up; CLEAR and SECURE: the
    session talks, without TLS or inside; LINGERING: our last line was written, input is read and dropped for two
    seconds, so that the client can read it before a reset.
    """

    HEADER = auto()
    HANDSHAKE = auto()
    CLEAR = auto()
    SECURE = auto()
    LINGERING = auto()


@dataclass(frozen=True, slots=True)
class PhaseLimit:
    """How long a phase may last, and what is counted when it lasted too long; then the connection is cut."""

    seconds: Callable[[SessionPolicy], float]
    counted: tuple[str, ...] = ()


# A phase that is not listed has the deadlines of its session.
PHASE_LIMITS: Final[dict[Phase, PhaseLimit]] = {
    Phase.HEADER: PhaseLimit(
        lambda policy: policy.proxy_header_seconds, ("relay_sessions_refused_total", "proxy_header")
    ),
    Phase.HANDSHAKE: PhaseLimit(lambda policy: policy.tls_handshake_seconds, ("relay_tls_failures_total",)),
    Phase.LINGERING: PhaseLimit(lambda _policy: LINGER_SECONDS),
}


class Progress:
    """When a session was heard of last, and since when a command or a message is unfinished."""

    __slots__ = ("_began", "_command_since", "_data_since", "heard")

    def __init__(self, now: float) -> None:
        self._began = self.heard = now
        self._command_since = self._data_since = 0.0

    def note(self, session: Session, now: float) -> None:
        """Note when an unfinished command or a message began to arrive."""
        if session.in_data:
            self._data_since = self._data_since or now
        else:
            self._data_since = 0.0
        if session.partial:
            self._command_since = self._command_since or now
        else:
            self._command_since = 0.0

    def overdue(self, session: Session, now: float, *, stressed: bool) -> str:
        """Return the deadline that has passed, "" when none has."""
        policy = session.policy
        silent_seconds = now - self.heard
        if session.waiting:
            return "deadline" if silent_seconds > ANSWER_SECONDS_MAX else ""
        if session.in_data:
            elapsed = now - self._data_since
            slow = elapsed > policy.data_grace_seconds and session.data_bytes < elapsed * policy.data_rate_min
            if slow:
                return "rate"
            return "deadline" if silent_seconds > policy.data_block_timeout_seconds else ""
        idle = policy.stress_idle_timeout_seconds if stressed else policy.idle_timeout_seconds
        if silent_seconds > min(idle, policy.idle_timeout_seconds):
            return "idle"
        if session.partial and self._command_since and now - self._command_since > policy.command_deadline_seconds:
            return "deadline"
        return ""

    def too_long(self, policy: SessionPolicy, now: float) -> bool:
        """Say whether the session has lasted as long as it may, so that it ends between messages (SMTP-029)."""
        return policy.session_seconds_max > 0 and now - self._began > policy.session_seconds_max
