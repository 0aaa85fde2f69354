"""Shape: what becomes of a submitted message before it is signed.

Adds Received, and Date, Message-ID and MIME fields where they are missing; removes Bcc, Return-Path, Bounces-to,
every X-SES-* control field, X-Relay-Engaged, and Authentication-Results forged in our name; joins repeated To and
Cc. All other fields pass in order, byte for byte. A body in memory is walked by `structure`: attachments and MIME
structure, and what little of it changes. When its longest line is over 998 octets it is re-encoded part by part, or
the message is refused. A body in a file has been through the same two steps in the helper process before
(`relay.mail.reencode`).

Nothing is decided here about who may send: the authors found are for the identity check.
"""

import re
from collections.abc import Mapping
from dataclasses import field, replace

from relay.mail.address import ILLEGAL, Address, BadAddress
from relay.mail.addresslist import Mailbox, parse_from, parse_list
from relay.mail.attachments import ContentRules
from relay.mail.encode import Goal, Plan, Unconvertible, convert, write
from relay.mail.headers import (
    LINE_MAX_BYTES,
    RECEIVED_MAX,
    SINGLE_FIELDS,
    Field,
    join_head,
    parse_head,
    refuse_duplicates,
)
from relay.mail.scan import scan_body
from relay.mail.structure import inspect
from relay.mail.trace import (
    feedback_id_field,
    format_date,
    is_date,
    is_message_id,
    message_id_field,
    received_field,
)
from relay.model.content import BodyFacts, BodyFile
from relay.model.message import Submission
from relay.model.refusal import Reason, Refusal
from relay.model.value import dataclass

X_SES = b"x-ses-"
ENGAGED = "X-Relay-Engaged"
_ENGAGED = ENGAGED.lower().encode()
_WORDS = {"yes": True, "no": False}
_DROPPED = frozenset((b"bcc", b"return-path", b"bounces-to", _ENGAGED))
_LISTS = {b"to": "To", b"cc": "Cc", b"bcc": "Bcc"}
_RESULTS = frozenset((b"authentication-results", b"arc-authentication-results"))
_SIGNATURES = frozenset((b"dkim-signature", b"arc-seal", b"arc-message-signature"))
_NOTHING: frozenset[bytes] = frozenset()
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}\Z")
TAGS_MAX = 50


@dataclass(frozen=True, slots=True)
class ShapeRules:
    """What configuration says about shaping.

    `received_client` shows the client's address and HELO name in Received; `replace_date` and `replace_message_id`
    overwrite the submitter's (both off: decisions 10 and 23). `outgoing_field` and `feedback_id_field` are the names
    of the fields of HDR-020, "" for none; the first is added by who knows the source address. `feedback_key` hides
    the account in the feedback id.
    """

    hostname: str
    received_client: bool = False
    replace_date: bool = False
    replace_message_id: bool = False
    content: ContentRules = field(default_factory=ContentRules)
    outgoing_field: str = ""
    feedback_id_field: str = ""
    feedback_brand: str = ""
    feedback_key: bytes = b""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Controls:
    """What X-SES-* control fields of the submitter say, "" where they are missing (HDR-012 to 016).

    `source_address` is an administrator's request for one source address (relay.policy.pin). `engaged` says whether
    the recipients are known to want the mail (`X-Relay-Engaged: yes` or `no`), None where nothing says so.
    """

    configuration_set: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    source_arn: str = ""
    from_arn: str = ""
    return_path_arn: str = ""
    list_management: str = ""
    source_address: str = ""
    engaged: bool | None = None


@dataclass(frozen=True, slots=True)
class Shaped:
    """A message ready to be signed.

    `fields` joined are its head (`head` adds the end). `author` is the first From mailbox, which selects identity
    settings and DKIM; every address of `authors`, and `sender` when given, must pass the identity check (HDR-011),
    as must `return_path` (the submitter's Return-Path field). `submitted` are the fields as they came.
    """

    fields: list[Field]
    body: bytes | BodyFile
    facts: BodyFacts
    authors: tuple[Mailbox, ...]
    sender: Mailbox | None
    return_path: Address | None
    controls: Controls
    submitted: list[Field]

    @property
    def author(self) -> Address:
        """The address whose identity signs."""
        return self.authors[0].address

    @property
    def head(self) -> bytes:
        """The header section with the empty line that ends it."""
        return join_head(self.fields)


NO_CONTROLS = Controls()


def needs_helper(submission: Submission) -> bool:
    """Say whether the body must go through `relay.mail.reencode` before `shape`: it is a file."""
    return isinstance(submission.content.body, BodyFile)


def shape(submission: Submission, rules: ShapeRules, message_id: str, now_ms: int) -> Shaped | Refusal:
    """Return the message as it will be signed and sent, or why it is refused.

    Call it on a body in a file only when `relay.mail.reencode` has seen it.
    """
    smtputf8 = submission.smtputf8
    submitted = parse_head(submission.content.head, smtputf8=smtputf8)
    if isinstance(submitted, Refusal):
        return submitted
    keys = [key for key, _ in submitted]
    index = dict(zip(reversed(keys), reversed(submitted), strict=True))  # the first field of each name
    refusal = _check_structure(keys, index)
    if refusal is not None:
        return refusal
    authors = _authors(index, smtputf8=smtputf8)
    if isinstance(authors, Refusal):
        return authors
    unique = len(index) == len(keys)
    lists = [field for field in (index.values() if unique else submitted) if field.key in _LISTS]
    refusal = _check_lists(lists, smtputf8=smtputf8)
    if refusal is not None:
        return refusal
    return_path = _return_path(index, smtputf8=smtputf8)
    if isinstance(return_path, Refusal):
        return return_path
    stale = _stale(index, rules)
    kept = _kept(submitted, keys, index, stale, rules.hostname)
    fields = [*_added(submission, index, stale, rules, message_id, now_ms), *kept]
    body, facts = submission.content.body, submission.facts
    if isinstance(body, bytes):
        made = _shape_body(fields, index, body, facts, rules.content)
        if isinstance(made, Refusal):
            return made
        fields, body, facts = made
    controls = _controls(index) if X_SES in b"\n".join(index) else NO_CONTROLS
    if _ENGAGED in index:
        engaged = _engaged(index[_ENGAGED])
        if isinstance(engaged, Refusal):
            return engaged
        controls = replace(controls, engaged=engaged)
    sender = authors.sender
    return Shaped(fields, body, facts, authors.mailboxes, sender, return_path, controls, submitted)


def _shape_body(
    fields: list[Field], index: dict[bytes, Field], body: bytes, facts: BodyFacts, rules: ContentRules
) -> tuple[list[Field], bytes, BodyFacts] | Refusal:
    """Walk a body in memory, change what content rules and line lengths demand; the same objects when nothing."""
    walked = inspect(
        fields, index, body, 0, len(body), rules,
        eight_bit=facts.eight_bit, relabel=may_relabel(index),
    )  # fmt: skip
    if isinstance(walked, Refusal):
        return walked
    if walked.edits:
        body = apply_edits(walked, body)
        facts = scan_body(body)
    if facts.longest_line_bytes <= LINE_MAX_BYTES:
        return walked.fields, body, facts
    converted = convert(walked.fields, body, Goal.SHORT_LINES)
    if isinstance(converted, Unconvertible):
        return Refusal(Reason.LINE_TOO_LONG, f"Line is longer than 998 octets, and {converted.text}.")
    return *converted, scan_body(converted[1])


def may_relabel(index: Mapping[bytes, Field]) -> bool:
    """Say whether labels of the body may change: somebody else's signature would cover them (DKIM-016)."""
    return _SIGNATURES.isdisjoint(index)


def apply_edits(planned: Plan, body: bytes) -> bytes:
    """Return a body in memory with its edits."""
    pieces: list[bytes] = []
    write(planned.edits, body, 0, len(body), pieces.append)
    return b"".join(pieces)


# --- checks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Authors:
    mailboxes: tuple[Mailbox, ...]
    sender: Mailbox | None


def _check_structure(keys: list[bytes], index: dict[bytes, Field]) -> Refusal | None:
    if len(index) != len(keys):
        refusal = refuse_duplicates(keys)
        if refusal is not None:
            return refusal
        if keys.count(b"received") >= RECEIVED_MAX:
            return Refusal(Reason.LOOP)  # FLOW-020
    if b"from" not in index:
        return Refusal(Reason.MISSING_FROM)
    return None


def _authors(index: dict[bytes, Field], *, smtputf8: bool) -> _Authors | Refusal:
    """Read From and Sender strictly; several authors need a Sender (HDR-011)."""
    value = index[b"from"].value
    if not value:
        return Refusal(Reason.EMPTY_HEADER, "From")
    mailboxes = parse_from(value.decode(), smtputf8=smtputf8)
    if isinstance(mailboxes, BadAddress):
        return Refusal(Reason.BAD_HEADER, mailboxes.text)
    field = index.get(b"sender")
    if field is None:
        if len(mailboxes) > 1:
            return Refusal(Reason.BAD_HEADER, "From has several addresses and there is no Sender.")
        return _Authors(mailboxes, None)
    senders = parse_from(field.value.decode(), smtputf8=smtputf8)
    if isinstance(senders, BadAddress):
        return Refusal(Reason.BAD_HEADER, senders.text)
    if len(senders) != 1:
        return Refusal(Reason.BAD_HEADER, "Sender has several addresses.")
    return _Authors(mailboxes, senders[0])


def _check_lists(lists: list[Field], *, smtputf8: bool) -> Refusal | None:
    """Refuse empty To and Cc (HDR-009) and addresses with faults (HDR-010)."""
    for key, value in ((each.key, each.value) for each in lists):
        if not value:
            if key == b"bcc":
                continue  # it is removed, and many clients leave it empty
            return Refusal(Reason.EMPTY_HEADER, _LISTS[key])
        found = parse_list(value.decode(), smtputf8=smtputf8)
        if isinstance(found, BadAddress):
            return Refusal(Reason.BAD_HEADER, found.text)
    return None


def _return_path(index: dict[bytes, Field], *, smtputf8: bool) -> Address | Refusal | None:
    """Read the submitter's Return-Path (HDR-007); `<>` and an empty one name nobody."""
    field = index.get(b"return-path")
    if field is None or field.value in (b"", b"<>"):
        return None
    found = parse_from(field.value.decode(), smtputf8=smtputf8)
    if isinstance(found, BadAddress):
        return Refusal(Reason.BAD_HEADER, found.text)
    return found[0].address if len(found) == 1 else Refusal(Reason.BAD_HEADER, ILLEGAL)


# --- changes ---------------------------------------------------------------------------------------------------


def _added(  # noqa: PLR0917 - what six fields are made of
    submission: Submission,
    index: dict[bytes, Field],
    stale: frozenset[bytes],
    rules: ShapeRules,
    message_id: str,
    now_ms: int,
) -> list[Field]:
    """Return the fields to put on top: Received always, the others where missing, to be replaced, or asked for."""
    client = (submission.helo, submission.source_address) if rules.received_client else None
    received = received_field(message_id, rules.hostname, submission.protocol, now_ms, client=client)
    added = [Field(b"received", received)]
    if b"date" in stale:
        added.append(Field(b"date", f"Date: {format_date(now_ms)}\r\n".encode()))
    if b"message-id" in stale:
        added.append(Field(b"message-id", message_id_field(message_id, rules.hostname)))
    # Somebody else's signature may cover the absence of these (RFC 6376 section 5.4.2).
    if (b"mime-version" not in index or b"content-type" not in index) and not _SIGNATURES.intersection(index):
        added.extend(_mime_fields(submission, index))
    if rules.feedback_id_field:
        key = rules.feedback_id_field.lower().encode()
        if key not in index or key.startswith(X_SES):
            raw = feedback_id_field(
                rules.feedback_id_field, rules.region, submission.account, rules.feedback_brand, rules.feedback_key
            )
            added.append(Field(key, raw))
    return added


def _stale(index: dict[bytes, Field], rules: ShapeRules) -> frozenset[bytes]:
    """Return which of Date and Message-ID the relay writes: missing, malformed, or replaced by rule (decision 10)."""
    date, identifier = index.get(b"date"), index.get(b"message-id")
    stale: list[bytes] = []
    if date is None or rules.replace_date or not is_date(date.value):
        stale.append(b"date")
    if identifier is None or rules.replace_message_id or not is_message_id(identifier.value):
        stale.append(b"message-id")
    return frozenset(stale) if stale else _NOTHING


def _mime_fields(submission: Submission, index: dict[bytes, Field]) -> list[Field]:
    """Fill in MIME fields (MIME-006); a body with 8-bit bytes is labelled as what it is (MIME-010)."""
    fields = [] if b"mime-version" in index else [Field(b"mime-version", b"MIME-Version: 1.0\r\n")]
    if b"content-type" in index:
        return fields
    charset, encoding = "us-ascii", "7bit"
    if submission.facts.eight_bit:
        charset, encoding = _charset(submission.content.body), "8bit"
    fields.append(Field(b"content-type", f"Content-Type: text/plain; charset={charset}\r\n".encode()))
    if b"content-transfer-encoding" not in index:
        label = f"Content-Transfer-Encoding: {encoding}\r\n".encode()
        fields.append(Field(b"content-transfer-encoding", label))
    return fields


def _charset(body: bytes | BodyFile) -> str:
    if isinstance(body, BodyFile):
        return "unknown-8bit"  # RFC 1428 section 3
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "unknown-8bit"
    return "utf-8"


def _kept(
    submitted: list[Field], keys: list[bytes], index: dict[bytes, Field], stale: frozenset[bytes], hostname: str
) -> list[Field]:
    """Return the submitter's fields that stay, in order."""
    dropped = (_DROPPED | stale) & index.keys()
    if X_SES in b"\n".join(index):  # cheaper than a look at each name
        dropped |= {key for key in index if key.startswith(X_SES)}
    fields = [field for field in submitted if field.key not in dropped] if dropped else submitted
    if not _RESULTS.isdisjoint(index):
        fields = [field for field in fields if field.key not in _RESULTS or not _forged(field, hostname)]
    if len(index) != len(keys):
        fields = _merge_lists(fields, keys)
    return fields


def _forged(field: Field, hostname: str) -> bool:
    """Say whether an Authentication-Results field claims to be ours (RFC 8601 section 5).

    The name may hide behind comments and instance numbers, so it is looked for in everything before the results.
    """
    claim = b";".join(field.value.lower().split(b";")[:2])
    return hostname.lower().encode() in claim


def _merge_lists(fields: list[Field], keys: list[bytes]) -> list[Field]:
    """Join repeated To and Cc fields into the first one of each (HDR-004)."""
    for key, name in _LISTS.items():
        if keys.count(key) < 2:  # noqa: PLR2004 - a pair
            continue
        values = [field.raw[len(key) + 1 :].strip(b" \t\r\n") for field in fields if field.key == key]
        if not values:
            continue
        joined = Field(key, name.encode() + b": " + b",\r\n\t".join(values) + b"\r\n")
        first = next(position for position, field in enumerate(fields) if field.key == key)
        rest = [field for field in fields[first:] if field.key != key]
        fields = [*fields[:first], joined, *rest]
    return fields


# --- control fields --------------------------------------------------------------------------------------------


def _controls(index: dict[bytes, Field]) -> Controls:
    """Read control fields; of a repeated one only the first counts (HDR-016)."""

    def text(name: bytes) -> str:
        field = index.get(X_SES + name)
        return "" if field is None else field.value.decode("utf-8", "replace")

    return Controls(
        configuration_set=text(b"configuration-set"),
        tags=parse_tags(text(b"message-tags")),
        source_arn=text(b"source-arn"),
        from_arn=text(b"from-arn"),
        return_path_arn=text(b"return-path-arn"),
        list_management=text(b"list-management-options"),
        source_address=text(b"source-address"),
    )


def _engaged(field: Field) -> bool | Refusal:
    """Return what a sender says about the recipients of a message."""
    word = field.value.strip().lower().decode("ascii", "replace")
    if word not in _WORDS:
        return Refusal(Reason.BAD_HEADER, f"Header '{ENGAGED}' is yes or no.")
    return _WORDS[word]


def parse_tags(text: str) -> tuple[tuple[str, str], ...]:
    """Return `name1=value1, name2=value2` as pairs; what is no tag is left out (HDR-013, TAG-001)."""
    tags: list[tuple[str, str]] = []
    for item in text.split(",", TAGS_MAX)[:TAGS_MAX]:
        name, _, value = (part.strip() for part in item.partition("="))
        if _TAG.match(name) and _TAG.match(value):
            tags.append((name, value))
    return tuple(tags)


assert SINGLE_FIELDS.keys() >= {b"from", b"sender", b"date", b"message-id", b"mime-version", b"content-type"}
