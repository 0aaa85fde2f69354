"""TLS reports (RFC 8460): the record that asks for them, what is counted, and the report of one domain. Pure.

A report tells a domain about sessions with its own hosts only: which of its policies was applied, how many sessions
worked, which failures there were, from which address of ours to which host of theirs. Senders, recipients, subjects
and single messages are in no report (section 8.1).
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from relay.mail.address import BadAddress, parse_mailbox
from relay.ports import Json

ADDRESSES_MAX = 4
DETAILS_MAX = 1000
DAY_SECONDS = 86_400
TEXT_MAX = 200

_RECORD = re.compile(r"v=TLSRPTv1[ \t]*;")


@dataclass(frozen=True, slots=True)
class Count:
    """What is counted: sessions of a day (days since 1970) with the hosts of a policy domain.

    `policy` is `tlsa`, `sts` or `no-policy-found` (RFC 8460 section 4.4), `strings` the policy that was applied, one
    line each; `result` is "" for a session that worked, else its name of section 4.3 with `reason` in our words.
    """

    day: int
    domain: str
    policy: str
    strings: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    result: str = ""
    source_address: str = ""
    host: str = ""
    address: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports: the organization's name, whom to ask, and our host name."""

    organization: str
    contact: str
    hostname: str


def record_name(domain: str) -> str:
    """Return where a domain says where reports go."""
    return f"_smtp._tls.{domain}"


def report_addresses(texts: Sequence[bytes]) -> tuple[str, ...]:
    """Return the `mailto:` and `https:` addresses of a domain's one record, () when it wants none (section 3)."""
    records = [text for text in (raw.decode("ascii", "replace") for raw in texts) if _RECORD.match(text)]
    if len(records) != 1:
        return ()
    for part in records[0].split(";")[1:]:
        name, equals, value = part.strip(" \t").partition("=")
        if name == "rua" and equals:
            return tuple(one for one in map(_address, value.split(",")[: ADDRESSES_MAX * 4]) if one)[:ADDRESSES_MAX]
    return ()


def _address(text: str) -> str:
    """Return an address that a report may go to, "" for any other."""
    text = text.strip(" \t")
    scheme, _, rest = text.partition(":")
    if scheme.lower() == "mailto":
        mailbox = rest.partition("?")[0].replace("%2C", ",").replace("%2c", ",")
        return "" if isinstance(parse_mailbox(mailbox, smtputf8=False), BadAddress) else f"mailto:{mailbox}"
    if scheme.lower() != "https" or not text.isascii() or not text.isprintable() or " " in text:
        return ""
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and parts.username is None and parts.port in (None, 443)
    except ValueError:
        return ""
    return text if usable else ""


def report_id(domain: str, day: int, hostname: str) -> str:
    """Return the id of a report: the same however often it is sent."""
    return f"{day_text(day)}.{domain}@{hostname}"


def day_text(day: int) -> str:
    """Return a day as 2026-11-25."""
    return dt.datetime.fromtimestamp(day * DAY_SECONDS, dt.UTC).strftime("%Y-%m-%d")


def report(reporter: Reporter, domain: str, day: int, counts: Mapping[Count, int]) -> Json:
    """Return the report of one domain and day as the object of RFC 8460 section 4."""
    start = day_text(day)
    return {
        "organization-name": reporter.organization,
        "date-range": {"start-datetime": f"{start}T00:00:00Z", "end-datetime": f"{start}T23:59:59Z"},
        "contact-info": reporter.contact,
        "report-id": report_id(domain, day, reporter.hostname),
        "policies": [_policy(domain, same) for same in _by_policy(counts)],
    }


def _by_policy(counts: Mapping[Count, int]) -> Iterable[list[tuple[Count, int]]]:
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[Count, int]]] = {}
    for count, sessions in counts.items():
        groups.setdefault((count.policy, count.strings), []).append((count, sessions))
    return (groups[key] for key in sorted(groups))


def _policy(domain: str, counts: list[tuple[Count, int]]) -> Json:
    first = counts[0][0]
    described: Json = {"policy-type": first.policy, "policy-domain": domain}
    if first.strings:
        described["policy-string"] = list(first.strings)
    if first.mx:
        described["mx-host"] = list(first.mx)
    failures = sorted(
        ((count, sessions) for count, sessions in counts if count.result), key=lambda pair: (-pair[1], str(pair[0]))
    )
    told: Json = {
        "policy": described,
        "summary": {
            "total-successful-session-count": sum(sessions for count, sessions in counts if not count.result),
            "total-failure-session-count": sum(sessions for _, sessions in failures),
        },
    }
    if failures:
        told["failure-details"] = [_failure(*one) for one in failures[:DETAILS_MAX]]
    return told


def _failure(count: Count, sessions: int) -> Json:
    told: Json = {"result-type": count.result, "failed-session-count": sessions}
    for name, value in (
        ("sending-mta-ip", count.source_address),
        ("receiving-mx-hostname", count.host),
        ("receiving-ip", count.address),
        ("failure-reason-code", count.reason[:TEXT_MAX]),
    ):
        if value:
            told[name] = value
    return told


def file_name(domain: str, day: int, hostname: str) -> str:
    """Return the name of a report's file (section 5.1)."""
    begin = day * DAY_SECONDS
    return f"{hostname}!{domain}!{begin}!{begin + DAY_SECONDS - 1}.json.gz"
