"""Our own names, records, certificate and clock, judged as receivers judge them. Pure: facts come as arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from relay.model.check import CheckState
from relay.model.pool import Reverse, ReverseDns
from relay.model.tls import StsMode, StsPolicy
from relay.policy.mta_sts import names_host, policy_host, record_id, record_name
from relay.policy.records import Answer
from relay.policy.spf_evaluation import SpfResult, SpfVerdict
from relay.policy.tls_report import record_name as tls_report_record
from relay.policy.tls_report import report_addresses

CERTIFICATE_WARNING_DAYS = 14
CERTIFICATE_ERROR_DAYS = 3
DAY_SECONDS = 86_400.0


class Grade(StrEnum):
    """How a check came out. UNKNOWN: DNS or the machine gave no answer, which is no fault of ours."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


BAD = frozenset({Grade.WARNING, Grade.ERROR})


@dataclass(frozen=True, slots=True)
class OwnCheck:
    """One check of one thing of ours; `next_step` says what to do, "" when nothing is to be done."""

    kind: str
    subject: str
    grade: Grade
    detail: str
    next_step: str = ""


def reverse(address: str, helo: str, found: ReverseDns) -> OwnCheck:
    """Say what the reverse name of an address is worth, by the judgement of `relay.policy.reverse`."""
    subject, names = "reverse name", ", ".join(found.names)
    step = f"Ask whoever owns {address} for a PTR record to {helo}, and give {helo} an address record of {address}."
    if found.state in (Reverse.UNAVAILABLE, Reverse.UNKNOWN):
        return OwnCheck(subject, address, Grade.UNKNOWN, found.error or "was not looked at yet")
    if found.state is Reverse.MISSING:
        return OwnCheck(subject, address, Grade.ERROR, "has no reverse name; many servers refuse it", step)
    if found.state is Reverse.UNCONFIRMED:
        return OwnCheck(subject, address, Grade.ERROR, f"is {names}, which does not lead back", step)
    if not found.helo:
        return OwnCheck(subject, address, Grade.WARNING, f"is {names}, and says EHLO {helo}", step)
    return OwnCheck(subject, address, Grade.OK, f"is {helo} and back")


def helo_name(helo: str, address: str, forward: Sequence[Answer]) -> OwnCheck:
    """Judge the EHLO name: it has an address, best the one that mail comes from (RFC 5321 section 4.1.4)."""
    found = [value for one in forward for value in one.values]
    failure = next((one.failure for one in forward if one.failure), "")
    if failure and address not in found:  # the half that is missing may have it
        return OwnCheck("EHLO name", helo, Grade.UNKNOWN, failure)
    step = f"Give {helo} an address record of {address}."
    if not found:
        return OwnCheck("EHLO name", helo, Grade.ERROR, "has no address in DNS; some servers refuse it", step)
    if address not in found:
        return OwnCheck("EHLO name", helo, Grade.WARNING, f"is {', '.join(found[:3])}, not {address}", step)
    return OwnCheck("EHLO name", helo, Grade.OK, f"is {address}")


def spf(domain: str, address: str, verdict: SpfVerdict) -> OwnCheck:
    """Judge what SPF says of mail from an address with a return path at a domain (AUTHN-001)."""
    subject = f"{domain} from {address}"
    step = "`relay spf` prints the record to publish."
    if verdict.result is SpfResult.PASS:
        return OwnCheck("SPF", subject, Grade.OK, f"passes by {verdict.reason}")
    if verdict.result is SpfResult.TEMPERROR:
        return OwnCheck("SPF", subject, Grade.UNKNOWN, verdict.reason)
    failing = verdict.result in (SpfResult.FAIL, SpfResult.PERMERROR)
    grade = Grade.ERROR if failing else Grade.WARNING
    return OwnCheck("SPF", subject, grade, f"{verdict.result.value}: {verdict.reason}", step)


def mta_sts_record(domain: str, record: Answer) -> OwnCheck | None:
    """Judge the MTA-STS record of a domain; None when it is one, so that its policy is looked at (RFC 8461 3.1)."""
    if record.failure:
        return OwnCheck("MTA-STS", domain, Grade.UNKNOWN, record.failure)
    if record_id([text.encode() for text in record.values]):
        return None
    if not any(text.startswith("v=STSv1") for text in record.values):
        return OwnCheck("MTA-STS", domain, Grade.OK, "has no policy, and needs none")
    step = f'Publish one TXT record at {record_name(domain)}: "v=STSv1; id=..." with a new id for each policy.'
    return OwnCheck("MTA-STS", domain, Grade.WARNING, "has a record that is not valid, or several", step)


def mta_sts(domain: str, policy: StsPolicy | str, exchangers: Answer) -> OwnCheck:
    """Judge the MTA-STS policy of a domain that has a record: `policy` is why it cannot be had where it cannot.

    `exchangers` is the MX answer; without MX the domain is its own host (RFC 5321 section 5.1). What an enforced
    policy does not name gets no mail from senders that obey it (RFC 8461 section 5).
    """
    place = f"https://{policy_host(domain)}/.well-known/mta-sts.txt"
    if isinstance(policy, str):
        step = f"Serve the policy at {place}, or take the record at {record_name(domain)} away."
        return OwnCheck("MTA-STS", domain, Grade.WARNING, f"has a record and no policy: {policy}", step)
    if policy.mode is StsMode.NONE:
        return OwnCheck("MTA-STS", domain, Grade.OK, "has a policy of mode none")
    if exchangers.failure:
        return OwnCheck("MTA-STS", domain, Grade.UNKNOWN, exchangers.failure)
    hosts = [value.rpartition(" ")[2] for value in exchangers.values] or [domain]
    missing = [host for host in hosts if not names_host(policy, host)]
    if missing:
        step = f"Name {', '.join(missing[:3])} in {place}, and give its record a new id."
        detail = f"has a policy of mode {policy.mode.value} that does not name {', '.join(missing[:3])}"
        grade = Grade.ERROR if policy.mode is StsMode.ENFORCE else Grade.WARNING
        return OwnCheck("MTA-STS", domain, grade, detail, step)
    return OwnCheck("MTA-STS", domain, Grade.OK, f"has a policy of mode {policy.mode.value} that names its hosts")


def tls_reports(domain: str, record: Answer) -> OwnCheck:
    """Judge the TLS-RPT record of a domain, which nobody must have (RFC 8460 section 3)."""
    if record.failure:
        return OwnCheck("TLS-RPT", domain, Grade.UNKNOWN, record.failure)
    wanted = report_addresses([text.encode() for text in record.values])
    if wanted:
        return OwnCheck("TLS-RPT", domain, Grade.OK, f"wants reports at {', '.join(wanted[:3])}")
    if not any(text.startswith("v=TLSRPTv1") for text in record.values):
        return OwnCheck("TLS-RPT", domain, Grade.OK, "wants no reports, and needs none")
    step = f'Publish one TXT record at {tls_report_record(domain)}: "v=TLSRPTv1; rua=mailto:..."'
    return OwnCheck("TLS-RPT", domain, Grade.WARNING, "has a record that is not valid, or several", step)


def signing(states: Mapping[CheckState, int], lost: Sequence[str]) -> OwnCheck:
    """Judge the DKIM records of all identities: how many are in which state, and some whose records are not right."""
    gone, failed = states.get(CheckState.TEMPORARY_FAILURE, 0), states.get(CheckState.FAILED, 0)
    if not gone + failed:
        found = f"{states.get(CheckState.SUCCESS, 0)} are verified, none lost its records"
        return OwnCheck("DKIM", "identities", Grade.OK, found)
    step = f"`relay identity show {lost[0]}` prints what to publish." if lost else ""
    detail = f"{gone} lost their records, {failed} are given up: {', '.join(lost)}"
    return OwnCheck("DKIM", "identities", Grade.WARNING, detail, step)


def certificate(name: str, names: Sequence[str], ends_seconds: float, now_seconds: float) -> OwnCheck:
    """Judge the certificate of our listeners: `names` it is for, when it ends (seconds since 1970)."""
    days = (ends_seconds - now_seconds) / DAY_SECONDS
    step = "Put a new one in its place; `relay` takes it on with `kill -HUP`."
    if days <= 0:
        return OwnCheck("certificate", name, Grade.ERROR, f"expired {-days:.0f} days ago", step)
    if days < CERTIFICATE_ERROR_DAYS:
        return OwnCheck("certificate", name, Grade.ERROR, f"expires in {days:.1f} days", step)
    if days < CERTIFICATE_WARNING_DAYS:
        return OwnCheck("certificate", name, Grade.WARNING, f"expires in {days:.0f} days", step)
    if not any(_covers(one, name) for one in names):
        detail = f"is for {', '.join(names[:3]) or 'no name'}"
        return OwnCheck("certificate", name, Grade.WARNING, detail, f"Clients that check want one for {name}.")
    return OwnCheck("certificate", name, Grade.OK, f"valid for {days:.0f} days")


def _covers(pattern: str, name: str) -> bool:
    pattern, name = pattern.lower(), name.lower()
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return pattern == name


def clock(*, synchronised: bool | None) -> OwnCheck:
    """Judge the clock by what the kernel knows: whether something keeps it right. No other clock is asked."""
    step = "Start a time service (systemd-timesyncd, chrony): signatures, TLS and quotas need the right time."
    if synchronised is None:
        return OwnCheck("clock", "this machine", Grade.UNKNOWN, "the kernel does not say whether it is synchronised")
    if not synchronised:
        return OwnCheck("clock", "this machine", Grade.WARNING, "is not synchronised with any other", step)
    return OwnCheck("clock", "this machine", Grade.OK, "is synchronised")


def turned(before: Grade | None, now: Grade) -> bool:
    """Say whether the operator is told: a fault began, changed its weight, or ended.

    No answer is no news, and a mere warning that was there from the first look on is for `relay doctor`.
    """
    if now is Grade.UNKNOWN or before is now or (before is None and now is Grade.WARNING):
        return False
    return now in BAD or before in BAD
