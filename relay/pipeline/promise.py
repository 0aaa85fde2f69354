"""Promise: what is committed for a request that every check let pass: message, deliveries and first events.

Shaping is done; here the message is signed, last of all, and told as its first events say it. Suppressed recipients
and those who play it (SIM-006) are recorded and never contacted; a message with the EICAR test file in it (SIM-011)
is delivered to nobody. Nothing is written here.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import partial

from relay.events import payload
from relay.mail.compose import Shaped, ShapeRules
from relay.mail.headers import Field, join_head
from relay.mail.tls_required import waived
from relay.mail.trace import outgoing_field
from relay.model.account import Account, Identity
from relay.model.configuration_set import ConfigurationSet, Priority, TlsPolicy
from relay.model.content import Content
from relay.model.delivery import DeliveryState
from relay.model.message import (
    DEFAULT_OPTIONS,
    WEIGHT_DEFAULT,
    Delivery,
    Message,
    NewEvent,
    NewMessage,
    SendOptions,
    Submission,
)
from relay.model.notification import NO_WISHES, Wishes
from relay.model.refusal import Accepted, Refusal
from relay.model.value import dataclass
from relay.pipeline.pools import Shelf
from relay.pipeline.senders import Caller, Sender
from relay.policy.priority import is_bulk
from relay.policy.simulator import Scenario, scenario_of
from relay.policy.suppression import SuppressedRecipient, reasons_in_use, suppressed_recipients
from relay.ports import Directory, SigningKey
from relay.signing.dkim import sign

EICAR = "EICAR test file"
RELAY_ACCOUNT = "000000000001"  # an identity of the host name there makes the relay's own signature

Answer = Callable[[Accepted | Refusal], None]


@dataclass(frozen=True, slots=True)
class AcceptRules:
    """What configuration says about accepting; replaced whole at reload."""

    region: str
    shape: ShapeRules
    lifetime_ms: int
    recipients_max: int
    relay_signature: str  # auto, always, never
    ed25519: bool
    dkim_expire_s: int = 0  # how long signatures hold, 0: for ever
    pin_key: bytes = b""  # of requests for one source address (relay.policy.pin)


@dataclass(frozen=True, slots=True)
class Request:
    """A submission on its way; `message_id` and `now_ms` are fixed once, at the first check.

    `configuration_set` is the one it is sent with, by name or as the default of its identity; `pool` what it leaves
    from, "" where nothing names one;
    `simulated` are the positions of recipients at the mailbox simulator; `bad_content`: it is delivered to nobody.
    """

    submission: Submission
    caller: Caller
    recipients: tuple[str, ...]
    shaped: Shaped
    sender: Sender
    configuration_set: ConfigurationSet | None
    mail_from_domain: str
    pool: str
    message_id: str
    now_ms: int
    begun: float
    answer: Answer
    simulated: tuple[int, ...]
    bad_content: bool

    @property
    def counted(self) -> int:
        """How many recipients count against the daily quota (QUOTA-003)."""
        return len(self.recipients) - len(self.simulated)

    @property
    def account(self) -> Account:
        """The account that sends, which quota, events and suppression list belong to (AUTHZ-018, AUTHZ-020)."""
        return self.caller.account


class Promise:
    """Makes messages of requests, by the rules that hold now."""

    def __init__(self, directory: Directory, next_key: Callable[[], int], shelf: Shelf) -> None:
        self._directory = directory
        self._shelf = shelf
        self._next_key = next_key

    def make(self, request: Request, rules: AcceptRules) -> NewMessage:
        """Return what one transaction writes. Raise StorageError when catalog or keys cannot be read."""
        submission, shaped = request.submission, request.shaped
        options, lifetime_ms = _options(request), _lifetime_ms(request.configuration_set) or rules.lifetime_ms
        release_ms = options.release_ms or request.now_ms
        content = Content(self._signed_head(request, rules, release_ms), shaped.body)
        message = Message(
            key=self._next_key(),
            message_id=request.message_id,
            account=request.account.account_id,
            sender=request.sender.feedback_address,
            accepted_ms=request.now_ms,
            expires_ms=_expires_ms(options, release_ms + lifetime_ms),
            size_bytes=content.size_bytes,
            smtputf8=submission.smtputf8,
            eight_bit=shaped.facts.eight_bit,
            mail_json=_mail(request),
            options=options,
        )
        if request.bad_content:
            deliveries, events = _rejected(message, request)
        else:
            deliveries, events = self._promised(message, request)
        return NewMessage(message, content, deliveries, (_sent(message), *events), request.counted)

    def _promised(self, message: Message, request: Request) -> tuple[Sequence[Delivery], Sequence[NewEvent]]:
        """Return what is to be delivered, and what is known of those who are not contacted."""
        directory, account = self._directory, request.account
        reasons = reasons_in_use(account, request.configuration_set)
        lookup = partial(directory.suppressed, account.account_id)
        suppressed = suppressed_recipients(request.recipients, reasons, lookup)
        silent = {one.index for one in suppressed}
        events = _suppressed_events(message, suppressed)
        if not reasons:  # the account's list, where it is in use, stands above the relay's (SUPP-005, SUPP-022)
            stopped = [i for i, one in enumerate(request.recipients) if directory.listed(one, request.now_ms)]
            silent.update(stopped)
            events += [_listed_event(message, index, [request.recipients[index]]) for index in stopped]
        played = [index for index in request.simulated if index not in silent and _plays_listed(request, index)]
        if played:
            recipients = [request.recipients[index] for index in played]
            events.append(_listed_event(message, played[0], recipients))
        return _deliveries(message, request, silent.union(played)), events

    def _signed_head(self, request: Request, rules: AcceptRules, release_ms: int) -> bytes:
        """Return the header section with a signature of the author's domain on top (DKIM-012, DKIM-017).

        A signature that ends holds as long for a message that leaves later as for one that leaves now.
        """
        shaped = request.shaped
        keys = self._signing_keys(request.sender.identity, rules)
        if not rules.ed25519:
            keys = [key for key in keys if key.algorithm != "ed25519-sha256"]
        now_s = request.now_ms // 1000
        expire_s = rules.dkim_expire_s and rules.dkim_expire_s + (release_ms - request.now_ms) // 1000
        fields = self._with_outgoing(request, rules)
        signatures = sign(fields, shaped.facts.sha256_relaxed, keys, now_s, expire_s=expire_s)
        return signatures + join_head(fields)

    def _with_outgoing(self, request: Request, rules: AcceptRules) -> list[Field]:
        """Return the fields with the one that tells the source address, where that is certain (HDR-020)."""
        fields, name = request.shaped.fields, rules.shape.outgoing_field
        book = self._shelf.book()
        address = "" if book.plain or not name else book.certain(request.account.account_id, request.pool)
        key = name.lower().encode()
        if not address or any(field.key == key for field in fields):
            return fields
        return [fields[0], Field(key, outgoing_field(name, address, request.now_ms)), *fields[1:]]

    def _signing_keys(self, identity: Identity, rules: AcceptRules) -> Sequence[SigningKey]:
        """Return the author's keys, and the relay's own by decision 7: where no identity signs, or always."""
        directory = self._directory
        keys = directory.signing_keys(identity.account, identity.dkim_domain) if identity.dkim_domain else ()
        if rules.relay_signature == "never" or (keys and rules.relay_signature == "auto"):
            return keys
        own = directory.signing_keys(RELAY_ACCOUNT, rules.shape.hostname)
        return [*keys, *(key for key in own if key.domain not in {one.domain for one in keys})]


def _mail(request: Request) -> bytes:
    submission, shaped, account = request.submission, request.shaped, request.account.account_id
    return payload.mail(
        shaped,
        timestamp_ms=request.now_ms,
        message_id=request.message_id,
        source=submission.sender,
        source_arn=request.sender.arn,
        account=account,
        destination=request.recipients,
        source_ip=submission.source_address,
        caller=request.caller.user or submission.principal or account,
        configuration_set=request.configuration_set.name if request.configuration_set else "",
        operation=submission.operation,
    )


def _lifetime_ms(configuration_set: ConfigurationSet | None) -> int:
    """Return how long a configuration set lets its mail be tried, 0 where it does not say."""
    return configuration_set.max_delivery_seconds * 1000 if configuration_set else 0


def _expires_ms(options: SendOptions, expires_ms: int) -> int:
    """Return when a message is given up: with a time limit that returns it, then at the latest (RFC 2852)."""
    return min(expires_ms, options.deliver_by_ms) if options.deliver_by_mode[:1] == "R" else expires_ms


def _options(request: Request) -> SendOptions:
    """Return how a message is sent: as its submitter asks, and as the relay says."""
    options, wishes = _own_options(request), request.submission.wishes
    return options if wishes is NO_WISHES else _with_wishes(options, wishes, request.now_ms)


def _with_wishes(options: SendOptions, wishes: Wishes, now_ms: int) -> SendOptions:
    release_ms = wishes.hold_until_ms or (now_ms + wishes.hold_seconds * 1000 if wishes.hold_seconds else 0)
    by = wishes.deliver_by
    return replace(
        options,
        ret=wishes.ret,
        envelope_id=wishes.envelope_id,
        release_ms=release_ms,
        deliver_by_ms=(release_ms or now_ms) + by.seconds * 1000 if by else 0,
        deliver_by_mode=("R" if by.returns else "N") + ("T" if by.traced else "") if by else "",
    )


def _own_options(request: Request) -> SendOptions:
    """Return how a message is sent: from which domain, signed by whom, and as its configuration set says."""
    chosen, owner, account = request.configuration_set, request.sender.identity.account, request.account
    signing_account = "" if owner == account.account_id else owner
    requiretls = request.submission.wishes.requiretls
    tls_relaxed = waived(request.shaped.fields) and not requiretls  # RFC 8689 section 4.1
    priority = Priority.AUTO if chosen is None else chosen.priority
    bulk = is_bulk(priority, request.shaped.submitted, len(request.recipients))
    said = request.shaped.controls.engaged
    engaged = said if said is not None else chosen is not None and chosen.engaged
    special = (
        request.mail_from_domain or signing_account or request.pool or requiretls or tls_relaxed or bulk or engaged
    )
    if chosen is None and not special and account.weight == WEIGHT_DEFAULT:
        return DEFAULT_OPTIONS
    return SendOptions(
        mail_from_domain=request.mail_from_domain,
        configuration_set=chosen.name if chosen else "",
        tls_required=chosen is not None and chosen.tls_policy is TlsPolicy.REQUIRE,
        pool=request.pool,
        signing_account=signing_account,
        requiretls=requiretls,
        tls_relaxed=tls_relaxed,
        bulk=bulk,
        weight=account.weight,
        set_weight=chosen.weight if chosen else WEIGHT_DEFAULT,
        engaged=engaged,
    )


def _deliveries(message: Message, request: Request, silent: AbstractSet[int]) -> tuple[Delivery, ...]:
    wishes, first_ms = request.submission.wishes.recipients, message.options.release_ms or message.accepted_ms
    return tuple(
        Delivery(
            message,
            index,
            recipient,
            state=DeliveryState.SUPPRESSED if index in silent else DeliveryState.QUEUED,
            next_ms=first_ms,
            wishes=wishes.get(recipient, ""),
        )
        for index, recipient in enumerate(request.recipients)
    )


def _rejected(message: Message, request: Request) -> tuple[Sequence[Delivery], Sequence[NewEvent]]:
    """Return deliveries that are made to nobody, and the one event that says so (FLOW-006, SIM-011)."""
    reply = f"Bad content: {EICAR}"
    state = DeliveryState.REJECTED
    deliveries = [
        Delivery(message, index, recipient, state=state, last_reply=reply)
        for index, recipient in enumerate(request.recipients)
    ]
    return deliveries, [
        NewEvent(f"{message.message_id}/Reject", "Reject", message.message_id, payload.reject(message.mail_json))
    ]


def _sent(message: Message) -> NewEvent:
    message_id = message.message_id
    return NewEvent(f"{message_id}/Send", "Send", message_id, payload.send(message.mail_json))


def _suppressed_events(message: Message, suppressed: Sequence[SuppressedRecipient]) -> list[NewEvent]:
    events = []
    for one in suppressed:
        event_id = f"{message.message_id}/{one.index}/{one.event}/suppressed"
        body = payload.suppressed(message.mail_json, one, timestamp_ms=message.accepted_ms, feedback_id=event_id)
        events.append(NewEvent(event_id, one.event, message.message_id, body))
    return events


def _plays_listed(request: Request, index: int) -> bool:
    return scenario_of(request.recipients[index]) is Scenario.SUPPRESSION_LIST


def _listed_event(message: Message, index: int, recipients: Sequence[str]) -> NewEvent:
    """Return the one bounce of recipients on the relay's list (SUPP-004), or that play it (SIM-006, SIM-008)."""
    event_id = f"{message.message_id}/{index}/Bounce/listed"
    body = payload.suppressed_by_relay(
        message.mail_json, recipients, timestamp_ms=message.accepted_ms, feedback_id=event_id
    )
    return NewEvent(event_id, "Bounce", message.message_id, body)
