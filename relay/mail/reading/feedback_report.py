"""Complaints: feedback reports (RFC 5965, 6591, 6650) and the forms of loops that came before or beside them.

Read are also reports whose top is no multipart/report, whose report part is in base64, and those of a loop that
attaches the message alone and names the recipient in a field of it. A recipient that was blacked out is looked for in
the message: whom it was to at the reporting provider (EVT-028).
"""

from dataclasses import dataclass
from typing import Final

from relay.mail.dsn import RECIPIENTS_MAX, untyped
from relay.mail.headers import Field
from relay.mail.reading.opened import Fields, Opened, read_fields
from relay.mail.reading.origin import address_in
from relay.mail.reading.status import clean_address

COMPLAINT_TYPES: Final = frozenset(("abuse", "auth-failure", "fraud", "not-spam", "other", "virus"))
_LOOPS: Final = ("complaint about message from", "complaint about a message from", "abuse report", "spam report")
# Fields that loops put on the message they give back, with who reported it.
_REPORTED: Final = ("x-hmxmroriginalrecipient", "x-original-rcpt-to", "x-complaints-recipient")
_BLACKED: Final = ("redacted", "removed", "hidden", "anonymous", "xxx", "***", "unknown", "undisclosed")


@dataclass(frozen=True, slots=True)
class Complaint:
    """A feedback report; "" and empty where it says nothing. `redacted`: the recipients were found by the provider.

    `return_paths` and `original` name the message it is about; they prove nothing by themselves.
    """

    feedback_type: str
    user_agent: str = ""
    arrival_date: str = ""
    recipients: tuple[str, ...] = ()
    original: tuple[Field, ...] = ()
    return_paths: tuple[str, ...] = ()
    reporting_mta: str = ""
    redacted: bool = False
    rule: str = "RFC 5965"


def read_complaint(opened: Opened) -> Complaint | None:
    """Return what a message complains of, None when it is no complaint."""
    part = opened.part("message/feedback-report")
    if part is None:
        return _bare_loop(opened)
    about = read_fields(part.data)
    if not about.has("feedback-type"):
        return None
    kind = about.first("feedback-type").partition(";")[0].strip().lower()
    returned = opened.returned
    named = _addresses(
        about.all("original-rcpt-to") or about.all("x-original-rcpt-to") or about.all("removal-recipient")
    )
    recipients = named or _addresses(_all(returned, _REPORTED)) or _by_provider(opened, about, returned)
    return Complaint(
        kind if kind in COMPLAINT_TYPES else "other",
        about.first("user-agent"),
        about.first("arrival-date") or about.first("received-date"),
        recipients,
        returned.raw,
        _return_paths(about, returned),
        about.first("reporting-mta"),
        redacted=not named,
    )


def _bare_loop(opened: Opened) -> Complaint | None:
    """Return a complaint that is the message alone, attached (JMRP)."""
    returned = opened.returned
    reported = _addresses(_all(returned, _REPORTED))
    begins = opened.fields.subject.strip().lower().startswith(_LOOPS)
    if not (reported and (begins or opened.fields.first("x-jmrp") or returned.has("x-hmxmroriginalrecipient"))):
        return None
    paths = _return_paths(Fields(), returned)
    return Complaint("abuse", "", "", reported, returned.raw, paths, rule="attached message with its recipient")


def _return_paths(about: Fields, returned: Fields) -> tuple[str, ...]:
    """Return where bounces of the message would have gone: what a loop names, and what the message has."""
    named = (about.first("original-mail-from"), *_all(returned, ("return-path", "x-envelope-from", "errors-to")))
    return tuple(dict.fromkeys(one for one in (clean_address(untyped(each)) for each in named[:10]) if "@" in one))


def _all(fields: Fields, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value for name in names for value in fields.all(name))


def _addresses(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the addresses among values of fields; what was blacked out is none."""
    found = (clean_address(untyped(value)) for value in values[:RECIPIENTS_MAX])
    return tuple(dict.fromkeys(one for one in found if _open(one)))


def _open(address: str) -> bool:
    local, at, domain = address.lower().rpartition("@")
    return bool(at and local and "." in domain) and not any(word in local for word in _BLACKED)


def _by_provider(opened: Opened, about: Fields, returned: Fields) -> tuple[str, ...]:
    """Return whom the message was to at the provider that reports; all of them where the provider is not known."""
    listed = ",".join(returned.all("to") + returned.all("cc"))[:20_000].split(",")
    people = tuple(dict.fromkeys(one for one in map(address_in, listed[:RECIPIENTS_MAX]) if _open(one)))
    hosts = (untyped(about.first("reporting-mta")), address_in(opened.fields.first("from")).rpartition("@")[2])
    own = tuple(one for one in people if any(_same_site(one.rpartition("@")[2], host) for host in hosts))
    return own or (people if len(people) == 1 else ())


def _same_site(domain: str, host: str) -> bool:
    domain, host = domain.lower(), host.lower().rstrip(".")
    return bool(domain) and (
        host == domain or host.endswith("." + domain) or (domain.endswith("." + host) and "." in host)
    )
