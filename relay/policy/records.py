"""The records an identity wants in DNS, and what was found there, as values (IDENT-015, DKIM-001, MFROM-004).

What answers mean is decided in `relay.policy.record_judgement`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from relay.model.check import Aspect, ErrorType
from relay.policy import spf

TOKEN_LABEL = "_amazonses"  # noqa: S105 - a label (IDENT-016)
MX_PREFERENCE = 10


class Difference(StrEnum):
    """How a record in DNS differs from the one to publish (IDENT-015)."""

    PUBLISHED = "published"
    ABSENT = "absent"
    DIFFERS = "differs"
    LOWER_CASED = "lower-cased"
    NAME_TWICE = "name appended twice"
    NO_TXT = "CNAME answers, TXT does not"
    SEVERAL = "several"
    NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Question:
    """A name without a final dot, and a type."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Values as text (TXT strings joined, MX as "10 host", names without a final dot); empty: no record of the type.

    `exists` is False when the name itself does not exist; `failure` says why DNS gave no answer, else "".
    """

    values: tuple[str, ...] = ()
    exists: bool = True
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """A record to publish for an identity: a whole name without a final dot, a type, the value as one string.

    `text` is what a TXT query must yield when the record itself is a CNAME. `also_at` is another name that may carry
    the record instead. A record that does not decide is worth having, and its absence changes no state. Keys `in_use`
    prove the domain together, whether they decide about DKIM or not.
    """

    domain: str
    aspect: Aspect
    name: str
    kind: str
    value: str
    text: str = ""
    also_at: str = ""
    decides: bool = True
    in_use: bool = False

    @property
    def question(self) -> Question:
        """The question that finds it."""
        return Question(self.name, "MX" if self.kind == "MX" else "TXT")


@dataclass(frozen=True, slots=True)
class RecordReport:
    """What DNS answers for a record; `found` are values, `text` a sentence, "" when it is published."""

    expected: Expected
    difference: Difference
    found: tuple[str, ...] = ()
    error_type: ErrorType | str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key whose record is to be published: its selector and the text of its TXT record.

    `decides`: the DKIM check of the domain depends on it, as it does on RSA keys. `in_use`: it was found before and
    belongs to the set that signs, so that the set proves the domain while another one is waited for. `alias` is the
    name in the relay's own zone that a CNAME record leads to (DKIM-001), "" for a TXT record.
    """

    selector: str
    text: str
    decides: bool = True
    in_use: bool = False
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """What an identity's records are made of; `keys` are those not retired.

    `mail_host` and `spf_domain` are the relay's, for the records of `mail_from_domain`, which is "" when there is
    none.
    """

    domain: str
    keys: Sequence[PublicKey] = ()
    token: str = ""
    mail_from_domain: str = ""
    mail_host: str = ""
    spf_domain: str = ""


def expected_records(parts: Published) -> tuple[Expected, ...]:
    """Return the records to publish: of keys, the token, those of the MAIL FROM domain."""
    made = [_dkim_record(parts.domain, key) for key in parts.keys]
    if parts.token:
        name = f"{TOKEN_LABEL}.{parts.domain}"
        token = Expected(parts.domain, Aspect.VERIFICATION, name, "TXT", parts.token, also_at=parts.domain)
        made.append(token)
    if parts.mail_from_domain:
        where = parts.mail_from_domain
        mx = f"{MX_PREFERENCE} {parts.mail_host}"
        made.append(Expected(parts.domain, Aspect.MAIL_FROM, where, "MX", mx))
        made.append(
            Expected(
                parts.domain, Aspect.MAIL_FROM, where, "TXT", spf.include_record(parts.spf_domain), decides=False
            )
        )
    return tuple(made)


def _dkim_record(domain: str, key: PublicKey) -> Expected:
    return Expected(
        domain,
        Aspect.DKIM,
        f"{key.selector}._domainkey.{domain}",
        "CNAME" if key.alias else "TXT",
        key.alias or key.text,
        key.text if key.alias else "",
        decides=key.decides,
        in_use=key.in_use,
    )
