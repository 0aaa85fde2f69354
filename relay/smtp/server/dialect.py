"""What all sessions of one listener say alike."""

from relay.smtp.server.extensions import ehlo_answer, parameters_offered
from relay.smtp.server.parameters import REQUIRETLS
from relay.smtp.server.policy import SessionPolicy

MINUTE_MS = 60_000


class Dialect:
    """What all sessions of one listener say alike, made from the policy; the answers to EHLO once a minute."""

    __slots__ = ("_answers", "_minute", "helo", "offered", "offered_secure", "policy")

    def __init__(self, policy: SessionPolicy) -> None:
        self.policy = policy
        self.offered = parameters_offered(policy)
        self.offered_secure = self.offered | {REQUIRETLS}  # RFC 8689 section 2: inside TLS only
        self.helo = f"250 {policy.hostname}\r\n".encode("ascii")
        self._answers: dict[tuple[bool, bool], bytes] = {}
        self._minute = 0

    def ehlo(self, *, encrypted: bool, named: bool, now_ms: int) -> bytes:
        """Return the answer to EHLO; `named`: the client may use XCLIENT."""
        minute = now_ms // MINUTE_MS
        if minute != self._minute:  # it says until when mail may be held
            self._minute = minute
            self._answers.clear()
        answer = self._answers.get((encrypted, named))
        if answer is None:
            answer = ehlo_answer(self.policy, encrypted=encrypted, named=named, now_ms=minute * MINUTE_MS)
            self._answers[encrypted, named] = answer
        return answer
