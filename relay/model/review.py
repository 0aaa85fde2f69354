"""What an account says about itself, and requests that an administrator decides (SBX-004, SBX-005, QUOTA-012)."""

from dataclasses import dataclass
from enum import StrEnum

WEBSITE_URL_MAX_CHARACTERS = 1000
USE_CASE_MAX_CHARACTERS = 5000
CONTACTS_MAX = 4


class MailType(StrEnum):
    """What most mail of an account is."""

    MARKETING = "MARKETING"
    TRANSACTIONAL = "TRANSACTIONAL"


class ContactLanguage(StrEnum):
    """The language its contacts read."""

    EN = "EN"
    JA = "JA"


MAIL_TYPE_ALIASES = {"PROMOTIONAL": MailType.MARKETING}  # request-production-access.md
LANGUAGE_ALIASES = {"JP": ContactLanguage.JA}


@dataclass(frozen=True, slots=True)
class AccountDetails:
    """What an account tells about its mail; `contacts` are one to four addresses that mail about it goes to."""

    mail_type: MailType
    website_url: str
    use_case: str
    contacts: tuple[str, ...] = ()
    language: ContactLanguage = ContactLanguage.EN


class ReviewKind(StrEnum):
    """What is asked for; `RULE` is what an administrator's rule did by itself.

    `APPEAL` is an account's answer to a finding (REVIEW-006), `PAUSE` what the relay proposes about one (REVIEW-008),
    `INVESTIGATION` something that an administrator should look into (REVIEW-009); the last two are not the account's.
    """

    PRODUCTION = "production"
    QUOTA = "quota"
    ADDRESSES = "addresses"
    RULE = "rule"
    APPEAL = "appeal"
    PAUSE = "pause"
    INVESTIGATION = "investigation"


INTERNAL_KINDS = frozenset({ReviewKind.PAUSE, ReviewKind.INVESTIGATION})
"""What the relay asks its administrator, which is not for the account to see."""


class ReviewState(StrEnum):
    """Where a request stands; a decided one stays as it is."""

    PENDING = "PENDING"
    GRANTED = "GRANTED"
    DENIED = "DENIED"


@dataclass(frozen=True, slots=True)
class Review:
    """A request. `daily_quota` and `send_rate` are what is asked for, None: nothing; times are ms since 1970.

    `addresses` is how many source addresses are asked for, `opt_in` how recipients asked for the mail, and
    `bounce_process` what is done about bounces and complaints (POOL-009). `finding` is the finding that it is about,
    0: none; of an appeal, `root_cause`, `changes` and `prevention` are its three answers (REVIEW-006).
    """

    review_id: int
    account: str
    kind: ReviewKind
    state: ReviewState
    created_ms: int
    daily_quota: int | None = None
    send_rate: float | None = None
    use_case: str = ""
    reason: str = ""
    decided_ms: int | None = None
    addresses: int | None = None
    opt_in: str = ""
    bounce_process: str = ""
    finding: int = 0
    root_cause: str = ""
    changes: str = ""
    prevention: str = ""
