"""MTA-STS (RFC 8461): the record in DNS, the policy file, and which hosts a policy names. Pure.

Nothing here raises on what a stranger publishes: a text is a value, or a sentence that says what is wrong with it.
"""

import re
from collections.abc import Sequence

from relay.model.tls import StsMode, StsPolicy

POLICY_MAX_BYTES = 64 * 1024  # RFC 8461 section 3.3
MAX_AGE_SECONDS_MAX = 31_557_600  # RFC 8461 section 3.2
MX_PATTERNS_MAX = 1000

_RECORD = re.compile(r"v=STSv1[ \t]*;")
_RECORD_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})=([\x21-\x3a\x3c\x3e-\x7e]+)\Z")
_ID = re.compile(r"[A-Za-z0-9]{1,32}\Z")
_KEY_VALUE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31}):[ \t]*(.*?)[ \t]*\Z")
_MAX_AGE = re.compile(r"[0-9]{1,10}\Z")
_MX = re.compile(
    r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z", re.IGNORECASE
)


def record_name(domain: str) -> str:
    """Return where a domain's record is."""
    return f"_mta-sts.{domain}"


def policy_host(domain: str) -> str:
    """Return the host that serves a domain's policy (RFC 8461 section 3.3)."""
    return f"mta-sts.{domain}"


def record_id(texts: Sequence[bytes]) -> str:
    """Return the id of a domain's one valid record, "" when it has no MTA-STS (RFC 8461 section 3.1)."""
    records = [text for text in (raw.decode("ascii", "replace") for raw in texts) if _RECORD.match(text)]
    if len(records) != 1:  # none, or more than one: the domain does not take part
        return ""
    found: dict[str, str] = {}
    for part in records[0].split(";"):
        field = _RECORD_FIELD.match(part.strip(" \t"))
        if field is None:
            if part.strip(" \t"):
                return ""
            continue
        found.setdefault(field[1], field[2])
    given = found.get("id", "")
    return given if _ID.match(given) else ""


def parse_policy(data: bytes) -> StsPolicy | str:
    """Read a policy file (RFC 8461 section 3.2); return the policy, or why there is none in it."""
    if len(data) > POLICY_MAX_BYTES:
        return "the policy is longer than 64 KiB"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "the policy is not UTF-8"
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        found = _KEY_VALUE.match(line)
        if found is None:
            if line.strip():
                return "a line of the policy is no field"
            continue
        if found[1] == "mx":
            patterns.append(found[2].lower().rstrip("."))
        else:
            fields.setdefault(found[1], found[2])  # of fields that stand once, the first counts
    return _judged(fields, tuple(dict.fromkeys(patterns)))


def _judged(fields: dict[str, str], patterns: tuple[str, ...]) -> StsPolicy | str:
    if fields.get("version") != "STSv1":
        return "the policy has another version than STSv1"
    if fields.get("mode") not in set(StsMode):
        return "the policy has no known mode"
    if not _MAX_AGE.match(fields.get("max_age", "")):
        return "the policy has no max_age"
    mode = StsMode(fields["mode"])
    if len(patterns) > MX_PATTERNS_MAX:
        return f"the policy names more than {MX_PATTERNS_MAX} hosts"
    if not patterns and mode is not StsMode.NONE:
        return "the policy names no mx"
    if not all(map(_MX.match, patterns)):
        return "an mx of the policy is no host name"
    return StsPolicy(mode, patterns, min(int(fields["max_age"]), MAX_AGE_SECONDS_MAX))


def names_host(policy: StsPolicy, host: str) -> bool:
    """Say whether a policy names an MX host; a wildcard stands for exactly one label (RFC 8461 section 4.1)."""
    host = host.lower().rstrip(".")
    label, _, rest = host.partition(".")
    return any(
        pattern == host or (pattern.startswith("*.") and label != "" and rest == pattern[2:]) for pattern in policy.mx
    )
