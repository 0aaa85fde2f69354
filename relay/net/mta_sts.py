"""Fetches the MTA-STS policy of a domain (RFC 8461 section 3.3): what is none comes with the name of its fault."""

from dataclasses import dataclass

from relay.model.tls import StsPolicy
from relay.net.web import Web, WebError
from relay.policy.mta_sts import POLICY_MAX_BYTES, parse_policy, policy_host

PATH = "/.well-known/mta-sts.txt"
_OK = 200
_REDIRECTS = range(300, 400)


@dataclass(frozen=True, slots=True)
class NoPolicy:
    """Why a domain's policy could not be had: a result type of RFC 8460 section 4.3.2.2, and a sentence."""

    result: str
    text: str
    refused: bool = False


async def fetch_policy(web: Web, domain: str) -> StsPolicy | NoPolicy:
    """Fetch and read the policy of a domain; never raises on what its host does."""
    try:
        answer = await web.get(policy_host(domain), PATH, POLICY_MAX_BYTES)
    except WebError as error:
        result = "sts-webpki-invalid" if error.certificate else "sts-policy-fetch-error"
        return NoPolicy(result, str(error), refused=error.refused)
    if answer.status in _REDIRECTS:
        return NoPolicy("sts-policy-fetch-error", "the policy host redirects, which is not followed")
    if answer.status != _OK:
        return NoPolicy("sts-policy-fetch-error", f"the policy host answered with status {answer.status}")
    if answer.media_type != "text/plain":
        return NoPolicy("sts-policy-fetch-error", "the policy is not text/plain")
    policy = parse_policy(answer.body)
    return NoPolicy("sts-policy-invalid", policy) if isinstance(policy, str) else policy
