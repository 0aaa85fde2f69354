"""What one attempt came to: a value, never an exception (house rule: doubt means try again)."""

from collections.abc import Callable
from dataclasses import field
from enum import StrEnum

from relay.model.dialogue import Dialogue
from relay.model.value import dataclass


class Verdict(StrEnum):
    """The four answers an attempt can have."""

    DELIVERED = "delivered"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"  # the link was lost after the final dot: it may have been delivered


class Stage(StrEnum):
    """Where the attempt ended."""

    ROUTE = "route"
    DNS = "dns"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    FINAL_DOT = "final dot"
    SCAN = "scan"
    SHAPING = "shaping"  # no attempt was made: our own limits put it off
    LOCAL = "local"
    OPERATOR = "operator"  # no attempt was made: somebody ended it


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt for one recipient.

    `code` is the SMTP reply code, 0 where no remote replied; `enhanced` is "5.1.1" or "" when none was given;
    `text` is the reply or our own sentence, one line, at most 1,000 characters, printable. `local` is true when the
    verdict is ours (DNS, policy, time-out) and not the remote's. Times are milliseconds since 1970.
    `not_before_ms` is when it may be tried again at the earliest, 0 where the schedule of retries decides alone; with
    stage `SHAPING` no attempt was made. `reports`: the host offers DSN and was told what the sender wants to know.
    `provider` is who the destination's shaping rules are about, "" for receivers without rules; `pool` is the pool of
    the source address, `rule` the shaping rule that decided about the reply, `effects` what it
    did, in words, and `blocklist` the DNS block list that the reply names. `dialogue` tells what was said, if
    asked before the connection goes on.
    """

    verdict: Verdict
    stage: Stage
    code: int
    enhanced: str
    text: str
    local: bool = False
    remote_host: str = ""
    remote_address: str = ""
    source_address: str = ""
    tls: str = ""
    started_ms: int = 0
    finished_ms: int = 0
    nxdomain: bool = False
    not_before_ms: int = 0
    reports: bool = False
    provider: str = ""
    pool: str = ""
    tls_policy: str = ""  # `dane` or `sts` where one of them decided about TLS
    rule: str = ""
    effects: tuple[str, ...] = ()
    blocklist: str = ""
    dialogue: Callable[[], Dialogue] | None = field(default=None, compare=False, repr=False)

    @property
    def reply(self) -> str:
        """The reply as one line: code, enhanced code where given, text."""
        return " ".join([part for part in (str(self.code) if self.code else "", self.enhanced, self.text) if part])
