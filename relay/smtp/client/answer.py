"""What a remote's reply, or the lack of one, means for a transaction or a session: one value."""

from dataclasses import replace
from enum import Enum

from relay.model.outcome import Stage, Verdict
from relay.model.value import dataclass
from relay.smtp.client.reply import Reply

_VERDICTS = {2: Verdict.DELIVERED, 5: Verdict.PERMANENT}


class Fault(Enum):
    """What went wrong with the session, beside the message. All but NONE leave the message without any effect."""

    NONE = "none"
    LINK = "link"  # lost, timed out, 421, or not SMTP: the same may work on another connection
    EHLO = "ehlo"  # the host dies of EHLO: try HELO (RFC 5321 section 3.2)
    TLS = "tls"  # offered, and failed: try in clear where that is allowed (TLS-003)
    PIPELINE = "pipeline"  # offered, and not understood: try without
    CROWDED = "crowded"  # too many recipients in this transaction: the rest goes in the next one
    FAMILY = "family"  # no host has an address of the family that we came with
    SOURCE = "source"  # our own address is not of this host any more
    LOOP = "loop"  # the host is ourselves (RFC 5321 section 6.3)


@dataclass(frozen=True, slots=True)
class Answer:
    """Verdict on one recipient, or on a session. `local` is true when the words are ours."""

    verdict: Verdict
    stage: Stage
    code: int
    enhanced: str
    text: str
    local: bool = False
    fault: Fault = Fault.NONE


def from_reply(reply: Reply, stage: Stage, fault: Fault = Fault.NONE) -> Answer:
    """Judge a reply by its first digit and by nothing else (RFC 5321 section 4.2.1)."""
    verdict = _VERDICTS.get(reply.code // 100, Verdict.TEMPORARY)
    return Answer(verdict, stage, reply.code, reply.enhanced, reply.text, fault=fault)


def in_doubt(text: str, enhanced: str) -> Answer:
    """Everything has left, the reply has not come: nobody can know (RFC 5321 section 6.1)."""
    return Answer(Verdict.UNKNOWN, Stage.FINAL_DOT, 0, enhanced, text[:1000], local=True)


def misunderstood(reply: Reply, stage: Stage) -> Answer:
    """Return what a reply means that only pipelined commands get: it says nothing about message or recipient."""
    return replace(from_reply(reply, stage, Fault.PIPELINE), verdict=Verdict.TEMPORARY)


def local_failure(stage: Stage, enhanced: str, text: str, fault: Fault = Fault.LINK) -> Answer:
    """Return our own temporary verdict."""
    return Answer(Verdict.TEMPORARY, stage, 0, enhanced, text, local=True, fault=fault)


def local_refusal(stage: Stage, enhanced: str, text: str, fault: Fault = Fault.NONE) -> Answer:
    """Return our own permanent verdict."""
    return Answer(Verdict.PERMANENT, stage, 0, enhanced, text, local=True, fault=fault)
