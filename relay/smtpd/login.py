"""Whether a user name and a password are right, and how long the answer waits."""

from relay.model.refusal import Reason, Refusal
from relay.smtp.server.dialogue import HARD_ERROR
from relay.smtp.server.door import Blocked
from relay.smtpd.services import Services


def check_login(services: Services, peer: str, username: str, password: str) -> tuple[str | Refusal | Blocked, float]:
    """Check a user: account, refusal or Blocked, and after how many seconds the client may know.

    The answer waits as long as the failure limits ask, right or wrong (no oracle in time). May raise what the
    authenticator and permits raise.
    """
    gate = services.permits.auth_gate(peer, username)
    if gate.refused:
        services.metrics.count("relay_auth_total", "refused")
        return Blocked.BLOCKED, 0.0
    return services.authenticator.check(username, password), gate.delay_seconds


def report_login(services: Services, peer: str, username: str, result: str | Refusal) -> None:
    """Count an answer, and tell permits whose password was wrong."""
    failed = isinstance(result, Refusal) and result.reason.code >= HARD_ERROR
    label = "succeeded" if isinstance(result, str) else "failed" if failed else "temporary"
    services.metrics.count("relay_auth_total", label)
    wrong = isinstance(result, Refusal) and result.reason is Reason.CREDENTIALS_INVALID
    if wrong:
        services.log.info("authentication failed", peer=peer, username=username)
    if wrong or isinstance(result, str):
        services.permits.auth_result(peer, username, succeeded=not wrong)
