"""What messages and events are searched by: queries, and the terms under which both are filed.

A term is a number of 31 bits made of a kind and a value; two values may share one, so whatever is found by terms is
compared with the query again. The subject is filed under a keyed hash alone, so that whoever has that hash can search
without knowing the subject, and a hash tells nothing without the key. Pure: key and times are given.
"""

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from relay.model.delivery import DeliveryState
from relay.model.event import LoggedEvent
from relay.model.facts import milliseconds
from relay.model.ids import is_message_id

Json = dict[str, Any]

FOREVER_MS: Final = 1 << 62
SUBJECT_HASH_BYTES: Final = 16
OWN_TAGS: Final = "ses:"  # such tags have columns of their own, or are the same in every message
OUTCOMES: Final = frozenset(DeliveryState)
_RECIPIENT_LISTS: Final = ("recipients", "bouncedRecipients", "complainedRecipients", "delayedRecipients")
_TERM_BITS: Final = 0x7FFFFFFF
_COMMON_OUTCOMES: Final = (DeliveryState.DELIVERED, DeliveryState.QUEUED, DeliveryState.HELD)  # not filed: most are


@dataclass(frozen=True, slots=True)
class MessageQuery:
    """Which messages: every criterion given must hold, "" and () stand for anything.

    Addresses and domains are compared without case. `identity` is the identity it was sent from, an address or a
    domain. `subject_hash` is the hexadecimal text of `subject_hash`. `outcome` is the state of a delivery, of the one
    for `recipient` where that is given. Accepted from `since_ms` on and before `until_ms`. `header_id` is the
    Message-ID that its sender gave it, with or without brackets (NOTIF-018).
    """

    recipient: str = ""
    domain: str = ""
    sender: str = ""
    identity: str = ""
    account: str = ""
    configuration_set: str = ""
    subject_hash: str = ""
    header_id: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    outcome: DeliveryState | None = None
    since_ms: int = 0
    until_ms: int = FOREVER_MS

    def terms(self) -> list[int]:
        """Return the terms under which every message that is meant is filed."""
        given = [
            ("r", self.recipient.lower()),
            ("d", self.domain.lower()),
            ("s", self.sender.lower()),
            ("i", self.identity.lower()),
            ("a", self.account),
            ("c", self.configuration_set),
            ("h", self.subject_hash),
            ("n", plain_id(self.header_id)),
            ("o", "" if self.outcome in (None, *_COMMON_OUTCOMES) else str(self.outcome)),
            *(("t", f"{name}={value}") for name, value in self.tags),
        ]
        return [term(kind, value) for kind, value in given if value]

    def meant(self, facts: "MessageFacts", key: bytes) -> bool:
        """Say whether a message with these facts is one that is looked for; `key` is the one of subject hashes."""
        if not self.since_ms <= facts.accepted_ms < self.until_ms:
            return False
        if self.account not in ("", facts.account) or self.configuration_set not in ("", facts.configuration_set):
            return False
        mail = mail_of(facts.mail_json) if self._of_mail else {}
        return self._meant_recipient(facts.deliveries) and all(
            (
                not self.sender or self.sender.lower() in _senders(facts, mail),
                not self.identity or self.identity.lower() == identity_of(mail),
                not self.subject_hash or self.subject_hash == subject_hash(key, subject_of(mail)),
                not self.header_id or plain_id(self.header_id) == header_id_of(mail),
                all(value in tags_of(mail).get(name, ()) for name, value in self.tags),
            )
        )

    @property
    def _of_mail(self) -> bool:
        return bool(self.sender or self.identity or self.subject_hash or self.header_id or self.tags)

    def _meant_recipient(self, deliveries: Iterable[tuple[str, DeliveryState]]) -> bool:
        if not (self.recipient or self.domain or self.outcome):
            return True
        recipient, domain = self.recipient.lower(), self.domain.lower()
        return any(
            recipient in ("", address.lower())
            and domain in ("", address.lower().rpartition("@")[2])
            and self.outcome in (None, state)
            for address, state in deliveries
        )


class MessageFacts(NamedTuple):
    """What is compared with a query: columns of a message, and recipient and state of each delivery."""

    account: str
    sender: str
    configuration_set: str
    accepted_ms: int
    mail_json: bytes
    deliveries: Sequence[tuple[str, DeliveryState]]


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events: every criterion given must hold, "" stands for anything.

    `kind` is an event type. An event is about `recipient` when that is among those its own part names, or among those
    of the message where it names none. Times are those of the event.
    """

    event_id: str = ""
    message_id: str = ""
    recipient: str = ""
    kind: str = ""
    account: str = ""
    configuration_set: str = ""
    since_ms: int = 0
    until_ms: int = FOREVER_MS

    def terms(self) -> list[int]:
        """Return the terms under which every event that is meant is filed."""
        given = [
            ("e", self.event_id),
            ("m", self.message_id),
            ("r", self.recipient.lower()),
            ("a", self.account),
            ("c", self.configuration_set),
            ("k", self.kind),
        ]
        return [term(kind, value) for kind, value in given if value]

    def meant(self, facts: "EventFacts") -> bool:
        """Say whether an event with these facts is one that is looked for."""
        return (
            self.since_ms <= facts.time_ms < self.until_ms
            and self.event_id in ("", facts.event_id)
            and self.message_id in ("", facts.message_id)
            and self.kind in ("", facts.kind)
            and self.account in ("", facts.account)
            and self.configuration_set in ("", facts.configuration_set)
            and (not self.recipient or self.recipient.lower() in (each.lower() for each in facts.recipients))
        )


class EventFacts(NamedTuple):
    """What an event is filed under and compared by; `time_ms` is when it happened, milliseconds since 1970."""

    event_id: str
    message_id: str
    kind: str
    account: str
    configuration_set: str
    recipients: Sequence[str]
    time_ms: int

    def terms(self) -> list[int]:
        """Return the terms of this event."""
        found = [term("e", self.event_id), term("m", self.message_id), _common_term("k", self.kind)]
        found += [_common_term("a", self.account)] if self.account else []
        found += [_common_term("c", self.configuration_set)] if self.configuration_set else []
        return found + [term("r", each.lower()) for each in self.recipients]


def event_facts(event: LoggedEvent) -> EventFacts:
    """Return what an event is filed under; what its record does not say, or says in another shape, is left empty."""
    mail, part = _parts(event.outline)
    sets = mail.get("tags", {}).get("ses:configuration-set") if isinstance(mail.get("tags"), dict) else None
    account = mail.get("sendingAccountId")
    return EventFacts(
        event.event_id,
        event.message_id,
        event.kind,
        account if isinstance(account, str) else "",
        sets[0] if isinstance(sets, list) and sets and isinstance(sets[0], str) else "",
        _event_recipients(mail, part),
        _milliseconds(part.get("timestamp")) or _milliseconds(mail.get("timestamp")),
    )


def recipients_of(record: object) -> tuple[str, ...]:
    """Return whom an event is about: the recipients its own part names, else those of the message."""
    return _event_recipients(*_parts(record))


def _parts(record: object) -> tuple[Json, Json]:
    """Return the `mail` object of a record and the part of its own; empty where there is none."""
    mail: Json = {}
    part: Json = {}
    for name, value in record.items() if isinstance(record, dict) else ():
        if isinstance(value, dict):
            mail, part = (value, part) if name == "mail" else (mail, value)
    return mail, part


def _event_recipients(mail: Json, part: Json) -> tuple[str, ...]:
    for name in _RECIPIENT_LISTS:
        listed = part.get(name)
        if isinstance(listed, list):
            found = (each.get("emailAddress") if isinstance(each, dict) else each for each in listed)
            return tuple(each for each in found if isinstance(each, str))
    listed = mail.get("destination")
    return tuple(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else ()


def _milliseconds(text: object) -> int:
    """Return a time such as 2026-11-26T01:02:03.004Z in milliseconds since 1970, 0 for anything else."""
    if not isinstance(text, str):
        return 0
    try:
        return milliseconds(text)
    except ValueError:
        return 0


def term(kind: str, value: str) -> int:
    """Return the term of a value of a kind."""
    return zlib.crc32(value.encode("utf-8", "surrogateescape"), ord(kind)) & _TERM_BITS


_common_term = lru_cache(maxsize=1024)(term)  # of what thousands of events share


def message_terms(facts: MessageFacts, key: bytes) -> set[int]:
    """Return the terms of a message; `key` is the one of subject hashes."""
    mail = mail_of(facts.mail_json)
    found = {term("a", facts.account), *(term("s", each) for each in _senders(facts, mail))}
    if facts.configuration_set:
        found.add(term("c", facts.configuration_set))
    for address, state in facts.deliveries:
        recipient = address.lower()
        found |= {term("r", recipient), term("d", recipient.rpartition("@")[2])}
        if state not in _COMMON_OUTCOMES:
            found.add(term("o", state))
    identity, subject, header_id = identity_of(mail), subject_of(mail), header_id_of(mail)
    if header_id and not is_message_id(header_id):  # the relay's own stands in where there was none
        found.add(term("n", header_id))
    if identity:
        found.add(term("i", identity))
    if subject:
        found.add(term("h", subject_hash(key, subject)))
    found |= {
        term("t", f"{name}={value}")
        for name, values in tags_of(mail).items()
        if not name.startswith(OWN_TAGS)
        for value in values
    }
    return found


def subject_hash(key: bytes, subject: str) -> str:
    """Return the keyed hash of a subject, without regard to case and white space; 32 hexadecimal digits."""
    plain = " ".join(subject.split()).casefold().encode("utf-8", "surrogateescape")
    return hashlib.blake2b(plain, key=key, digest_size=SUBJECT_HASH_BYTES, person=b"relay subject").hexdigest()


def identity_of(mail: Mapping[str, Any]) -> str:
    """Return the identity that a `mail` object was sent from, lower case, "" for none."""
    arn = mail.get("sourceArn")
    return arn.partition(":identity/")[2].lower() if isinstance(arn, str) else ""


def _senders(facts: MessageFacts, mail: Json) -> set[str]:
    source = mail.get("source")
    found = {facts.sender.lower(), source.lower() if isinstance(source, str) else ""}
    return found - {""}


def subject_of(mail: Json) -> str:
    """Return the subject in a `mail` object, "" for none."""
    headers = mail.get("commonHeaders")
    subject = headers.get("subject") if isinstance(headers, dict) else None
    return subject if isinstance(subject, str) else ""


def header_id_of(mail: Json) -> str:
    """Return the Message-ID in a `mail` object, without brackets, "" for none."""
    headers = mail.get("commonHeaders")
    found = headers.get("messageId") if isinstance(headers, dict) else None
    return plain_id(found) if isinstance(found, str) else ""


def plain_id(text: str) -> str:
    """Return a Message-ID without brackets and what is around them."""
    return text.strip().removeprefix("<").removesuffix(">").strip()


def tags_of(mail: Json) -> dict[str, list[str]]:
    """Return the tags in a `mail` object, those of the relay too."""
    tags = mail.get("tags")
    if not isinstance(tags, dict):
        return {}
    return {name: [str(value) for value in values] for name, values in tags.items() if isinstance(values, list)}


def mail_of(text: bytes) -> Json:
    """Return the `mail` object of a text; an empty one for anything else, so that a row is found by its columns."""
    try:
        found = orjson.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
