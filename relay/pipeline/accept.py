"""Accept: from a submission to a promise kept on disk, or one refusal and nothing queued (FLOW-001, 002, 005, 022).

The checks run in the order of FLOW-022 and the first failure is the answer: account, syntax and size, recipients,
configuration set, identities, sandbox, rate and quota. Suppressed recipients are accepted and never contacted, and so
is everybody when the message has the EICAR test file in it (SIM-011). Recipients at the mailbox simulator count
against the rate and not against the quota (QUOTA-003). Shaping and signing come last, so that nothing is signed that
is refused. A submission crosses at most two waits: permits (limited accounts only) and the commit; one whose body is
a file, also the search for the test file.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

from relay.errors import StorageError
from relay.events import payload
from relay.mail.attachments import ContentRules
from relay.mail.compose import Shaped, ShapeRules, needs_helper, shape
from relay.mail.eicar import contains_eicar
from relay.mail.headers import join_head
from relay.model.account import Account, AccountState, Identity, MailFromFallback, SuppressionEntry
from relay.model.configuration_set import ConfigurationSet, TlsPolicy
from relay.model.content import BodyFile, Content
from relay.model.delivery import DeliveryState
from relay.model.ids import new_message_id
from relay.model.message import (
    DEFAULT_OPTIONS,
    Delivery,
    Message,
    NewEvent,
    NewMessage,
    SendOptions,
    Submission,
)
from relay.model.refusal import Accepted, Reason, Refusal
from relay.model.scan import Scan, ScanVerdict
from relay.pipeline.senders import Caller, Sender, SenderCheck, caller_of
from relay.policy.simulator import Scenario, is_simulator_address, scenario_of, simulated_recipients
from relay.policy.suppression import SuppressedRecipient, suppressed_recipients
from relay.ports import Clock, Directory, Lease, Log, Metrics, Permits, SigningKey, Spool
from relay.schedule.bandwidth import LargeMail
from relay.signing.dkim import sign

MINUTE_MS = 60_000
EICAR = "EICAR test file"
RELAY_ACCOUNT = "000000000001"  # an identity of the host name there makes the relay's own signature

CallLater = Callable[[float, Callable[[], None]], object]
Answer = Callable[[Accepted | Refusal], None]
# Answers with the submission to go on with, or a refusal, and with what removes the body that was made for it.
Reencoded = Callable[[Submission | Refusal, Callable[[], None]], None]
Reencode = Callable[[Submission, ContentRules, Reencoded], None]
Examine = Callable[[BodyFile, Callable[[bool | Refusal], None]], None]


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


@dataclass(frozen=True, slots=True)
class _Request:
    """A submission on its way; `message_id` and `now_ms` are fixed once, at the first check.

    `configuration_set` is the one it is sent with, by name or as the default of its identity;
    `simulated` are the positions of recipients at the mailbox simulator; `bad_content`: it is delivered to nobody.
    """

    submission: Submission
    caller: Caller
    recipients: tuple[str, ...]
    shaped: Shaped
    sender: Sender
    configuration_set: ConfigurationSet | None
    mail_from_domain: str
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


class Accept:
    """Takes submissions of this worker into its shard."""

    def __init__(
        self,
        *,
        rules: AcceptRules,
        directory: Directory,
        permits: Permits,
        spool: Spool,
        accepted: Callable[[NewMessage], None],
        reencode: Reencode,
        examine: Examine,
        large_mail: LargeMail,
        call_later: CallLater,
        clock: Clock,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self.rules = rules
        self._directory = directory
        self._senders = SenderCheck(directory)
        self._permits = permits
        self._spool = spool
        self._accepted = accepted
        self._reencode = reencode
        self._examine = examine
        self._large_mail = large_mail
        self._call_later = call_later
        self._clock = clock
        self._log = log
        self._metrics = metrics

    def submit(self, submission: Submission, answer: Answer) -> None:
        """Accept or refuse; answers after the commit. May answer from inside the call."""
        size_bytes = submission.content.size_bytes
        wait_seconds = self._large_mail.wait_seconds(submission.account, size_bytes, self._clock.monotonic())
        if wait_seconds is None:
            self._refuse(submission, Refusal(Reason.RATE_EXCEEDED), answer)
        elif wait_seconds:
            self._call_later(wait_seconds, partial(self._in_turn, submission, answer))
        else:
            self._in_turn(submission, answer)

    def _in_turn(self, submission: Submission, answer: Answer) -> None:
        if not needs_helper(submission):
            self._begin(submission, answer, None)
            return
        account = self._caller_in_time(submission)
        if isinstance(account, Refusal):
            self._refuse(submission, account, answer)
            return
        self._reencode(submission, self.rules.shape.content, partial(self._reencoded, submission, answer))

    def _examined(self, submission: Submission, answer: Answer, found: bool | Refusal) -> None:  # noqa: FBT001
        if isinstance(found, Refusal):
            self._refuse(submission, found, answer)
            return
        self._begin(submission, answer, found)

    def _begin(self, submission: Submission, answer: Answer, bad_content: bool | None) -> None:  # noqa: FBT001
        begun = self._clock.monotonic()
        try:
            checked = self._check(submission, begun, answer, bad_content)
        except StorageError as error:
            self._log.error("the catalog cannot be read", error=str(error))
            checked = Refusal(Reason.TEMPORARY)
        if isinstance(checked, Refusal):
            self._refuse(submission, checked, answer)
            return
        recipients = len(checked.recipients)
        self._permits.take(checked.account, recipients, partial(self._permitted, checked), counted=checked.counted)

    def _reencoded(
        self, submission: Submission, answer: Answer, result: Submission | Refusal, discard: Callable[[], None]
    ) -> None:
        if isinstance(result, Refusal):
            self._refuse(submission, result, answer)
            return
        answer = partial(_answer_or_discard, answer, discard)
        body = result.content.body
        assert isinstance(body, BodyFile)
        self._examine(body, partial(self._examined, result, answer))

    # --- checks --------------------------------------------------------------------------------------------------

    def _check(
        self,
        submission: Submission,
        begun: float,
        answer: Answer,
        bad_content: bool | None,  # noqa: FBT001
    ) -> _Request | Refusal:
        self._directory.refresh()
        caller = self._caller(submission)
        if isinstance(caller, Refusal):
            return caller
        now_ms = self._clock.now_ms()
        message_id = new_message_id(self._spool.shard, now_ms)
        shaped = shape(submission, self.rules.shape, message_id, now_ms)
        if isinstance(shaped, Refusal):
            return shaped
        recipients = tuple(dict.fromkeys(submission.recipients))
        if not recipients:
            return Refusal(Reason.NO_RECIPIENTS)
        if len(recipients) > self.rules.recipients_max:
            return Refusal(Reason.TOO_MANY_RECIPIENTS, str(self.rules.recipients_max))
        sending = self._sending(caller, submission, shaped, recipients, now_ms)
        if isinstance(sending, Refusal):
            return sending
        simulated = simulated_recipients(recipients, self.rules.shape.hostname)
        body = submission.content.body
        if bad_content is None and isinstance(body, bytes):
            bad_content = contains_eicar(submission.content.head, body)
        return _Request(
            submission,
            caller,
            recipients,
            shaped,
            *sending,
            message_id,
            now_ms,
            begun,
            answer,
            simulated,
            bool(bad_content),
        )

    def _caller_in_time(self, submission: Submission) -> Caller | Refusal:
        """Check the account before the helper works for it: its state is the first thing to be told (FLOW-022)."""
        try:
            self._directory.refresh()
            return self._caller(submission)
        except StorageError as error:
            self._log.error("the catalog cannot be read", error=str(error))
            return Refusal(Reason.TEMPORARY)

    def _sending(
        self, caller: Caller, submission: Submission, shaped: Shaped, recipients: tuple[str, ...], now_ms: int
    ) -> tuple[Sender, ConfigurationSet | None, str] | Refusal:
        """Return sender, configuration set and MAIL FROM domain ("": the relay's own) that a message is sent with."""
        rules, account = self.rules, caller.account
        named = shaped.controls.configuration_set
        chosen = self._configuration_set(account, named)
        if isinstance(chosen, Refusal):
            return chosen
        sender = self._senders.sender(caller, submission, shaped, recipients, now_ms, rules.region)
        if isinstance(sender, Refusal):
            return sender
        if not named and sender.identity.account == account.account_id:  # AUTHZ-020
            chosen = self._configuration_set(account, sender.identity.configuration_set)
            if isinstance(chosen, Refusal):
                return chosen
        simulated = partial(is_simulator_address, hostname=rules.shape.hostname)
        refusal = self._senders.sandbox(account, sender.owners, recipients, simulated, rules.region)
        if refusal is not None:
            return refusal
        mail_from = _mail_from_domain(sender.identity)
        return mail_from if isinstance(mail_from, Refusal) else (sender, chosen, mail_from)

    def _caller(self, submission: Submission) -> Caller | Refusal:
        principal = None
        if submission.principal:
            principal = self._directory.principal(submission.principal)
            if principal is None or principal.account != submission.account:
                return Refusal(Reason.CREDENTIALS_INVALID)
        account = self._directory.account(submission.account)
        if account is None or account.state is AccountState.CLOSED:
            return Refusal(Reason.ACCOUNT_CLOSED)
        if account.state is AccountState.PAUSED:
            return Refusal(Reason.ACCOUNT_PAUSED)
        return caller_of(account, principal)

    def _configuration_set(self, account: Account, name: str) -> ConfigurationSet | Refusal | None:
        """Return a set of the account that may be sent with, None without a name (CFG-009, CFG-013, CFG-017)."""
        if not name:
            return None
        found = self._directory.configuration_set(account.account_id, name)
        if found is None:
            return Refusal(Reason.SET_UNKNOWN, name)
        return found if found.sending_enabled else Refusal(Reason.SET_PAUSED, name)

    # --- the promise ---------------------------------------------------------------------------------------------

    def _permitted(self, request: _Request, lease: Lease | Refusal) -> None:
        if isinstance(lease, Refusal):
            self._metrics.count("relay_permits_total", _PERMIT_ANSWERS.get(lease.reason, "away"))
            self._refuse(request.submission, lease, request.answer)
            return
        if lease.lease_id:
            self._metrics.count("relay_permits_total", "granted")
        try:
            new = self._new_message(request)
        except StorageError as error:
            self._log.error("the catalog cannot be read", error=str(error))
            self._permits.unused(lease)
            self._refuse(request.submission, Refusal(Reason.TEMPORARY), request.answer)
            return
        self._spool.append(new, partial(self._committed, request, new, lease))

    def _committed(self, request: _Request, new: NewMessage, lease: Lease, error: Exception | None) -> None:
        if error is not None:
            self._permits.unused(lease)
            self._log.error("message not written", message_id=request.message_id, error=str(error))
            reason = Reason.DISK_FULL if self._spool.room_bytes() <= 0 else Reason.TEMPORARY
            self._refuse(request.submission, Refusal(reason), request.answer)
            return
        self._permits.spent(lease, request.now_ms // MINUTE_MS)
        request.answer(Accepted(request.message_id))
        self._accepted(new)
        self._tell(request, new)
        if request.bad_content:
            self._tell_bad_content(new.message)

    def _new_message(self, request: _Request) -> NewMessage:
        submission, shaped = request.submission, request.shaped
        content = Content(self._signed_head(request), shaped.body)
        message = Message(
            key=self._spool.next_key(),
            message_id=request.message_id,
            account=request.account.account_id,
            sender=request.sender.feedback_address,
            accepted_ms=request.now_ms,
            expires_ms=request.now_ms + (_lifetime_ms(request.configuration_set) or self.rules.lifetime_ms),
            size_bytes=content.size_bytes,
            smtputf8=submission.smtputf8,
            eight_bit=shaped.facts.eight_bit,
            mail_json=self._mail(request),
            options=_options(request),
        )
        if request.bad_content:
            deliveries, events = _rejected(message, request.recipients)
        else:
            deliveries, events = self._promised(message, request)
        return NewMessage(message, content, deliveries, (_sent(message), *events), request.counted)

    def _promised(self, message: Message, request: _Request) -> tuple[Sequence[Delivery], Sequence[NewEvent]]:
        """Return what is to be delivered, and what is known of those who are not contacted."""
        suppressed = suppressed_recipients(request.recipients, partial(self._suppressed, request))
        silent = {one.index for one in suppressed}
        listed = [index for index in request.simulated if index not in silent and _plays_listed(request, index)]
        events = _suppressed_events(message, suppressed)
        if listed:
            recipients = [request.recipients[index] for index in listed]
            events.append(_listed_event(message, listed[0], recipients))
        return _deliveries(message, request.recipients, silent.union(listed)), events

    def _suppressed(self, request: _Request, address: str) -> SuppressionEntry | None:
        """Return the entry that stops an address: one whose reason counts for the configuration set (SUPP-019)."""
        entry = self._directory.suppressed(request.account.account_id, address)
        if entry is None or request.configuration_set is None:
            return entry
        counted = request.configuration_set.suppressed_reasons
        return entry if counted is None or entry.reason in counted else None

    def _signed_head(self, request: _Request) -> bytes:
        """Return the header section with a signature of the author's domain on top (DKIM-012, DKIM-017)."""
        shaped, rules = request.shaped, self.rules
        keys = self._signing_keys(request.sender.identity)
        if not rules.ed25519:
            keys = [key for key in keys if key.algorithm != "ed25519-sha256"]
        now_s = request.now_ms // 1000
        signatures = sign(shaped.fields, shaped.facts.sha256_relaxed, keys, now_s, expire_s=rules.dkim_expire_s)
        return signatures + join_head(shaped.fields)

    def _signing_keys(self, identity: Identity) -> Sequence[SigningKey]:
        """Return the author's keys, and the relay's own by decision 7: where no identity signs, or always."""
        rules, directory = self.rules, self._directory
        keys = directory.signing_keys(identity.account, identity.dkim_domain) if identity.dkim_domain else ()
        if rules.relay_signature == "never" or (keys and rules.relay_signature == "auto"):
            return keys
        own = directory.signing_keys(RELAY_ACCOUNT, rules.shape.hostname)
        return [*keys, *(key for key in own if key.domain not in {one.domain for one in keys})]

    def _mail(self, request: _Request) -> bytes:
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
        )

    # --- log and metrics -----------------------------------------------------------------------------------------

    def _refuse(self, submission: Submission, refusal: Refusal, answer: Answer) -> None:
        decided = {"why": refusal.why} if refusal.why else {}
        self._log.info(
            "refused",
            reason=refusal.reason.label,
            text=refusal.text,
            detail=refusal.detail,
            account=submission.account,
            sender=submission.sender,
            recipients=len(submission.recipients),
            **decided,
        )
        self._metrics.count("relay_messages_refused_total", refusal.reason.label)
        answer(refusal)

    def _tell(self, request: _Request, new: NewMessage) -> None:
        metrics, message = self._metrics, new.message
        metrics.count("relay_messages_accepted_total", request.submission.protocol.value)
        metrics.count("relay_messages_accepted_bytes_total", amount=message.size_bytes)
        metrics.count("relay_recipients_accepted_total", amount=len(new.deliveries))
        suppressed = [one.index for one in new.deliveries if one.state is DeliveryState.SUPPRESSED]
        if suppressed:
            played = len(set(request.simulated).intersection(suppressed))
            metrics.count("relay_recipients_suppressed_total", amount=len(suppressed) - played)
            metrics.count("relay_simulator_deliveries_total", Scenario.SUPPRESSION_LIST, amount=played)
        metrics.observe("relay_message_bytes", message.size_bytes)
        metrics.observe("relay_accept_seconds", self._clock.monotonic() - request.begun)
        delegated = {"identity": request.sender.arn, "why": request.sender.why} if request.sender.why else {}
        self._log.info(
            "accepted",
            message_id=message.message_id,
            account=message.account,
            sender=message.sender,
            recipients=len(new.deliveries),
            size_bytes=message.size_bytes,
            **delegated,
        )

    def _tell_bad_content(self, message: Message) -> None:
        scan = Scan(ScanVerdict.INFECTED, "eicar", EICAR, scanned_ms=message.accepted_ms)
        self._spool.keep_scan(message.key, scan)
        self._metrics.count("relay_messages_rejected_total", "eicar")
        self._log.warning("rejected, bad content", message_id=message.message_id, detail=EICAR)


_PERMIT_ANSWERS = {Reason.RATE_EXCEEDED: "rate", Reason.QUOTA_EXCEEDED: "quota"}


def _mail_from_domain(identity: Identity) -> str | Refusal:
    """Return the domain of the return path, "" for the relay's own, or why the message is refused (MFROM-008)."""
    mail_from = identity.mail_from
    if mail_from is None:
        return ""
    if mail_from.usable:
        return mail_from.domain
    if mail_from.fallback is MailFromFallback.REJECT_MESSAGE:
        return Refusal(Reason.MAIL_FROM_NOT_VERIFIED)
    return ""


def _lifetime_ms(configuration_set: ConfigurationSet | None) -> int:
    """Return how long a configuration set lets its mail be tried, 0 where it does not say."""
    return configuration_set.max_delivery_seconds * 1000 if configuration_set else 0


def _options(request: _Request) -> SendOptions:
    """Return how a message is sent: from which domain, and as its configuration set says."""
    chosen = request.configuration_set
    if chosen is None:
        return SendOptions(mail_from_domain=request.mail_from_domain) if request.mail_from_domain else DEFAULT_OPTIONS
    return SendOptions(
        mail_from_domain=request.mail_from_domain,
        configuration_set=chosen.name,
        tls_required=chosen.tls_policy is TlsPolicy.REQUIRE,
        pool=chosen.sending_pool,
    )


def _answer_or_discard(answer: Answer, discard: Callable[[], None], outcome: Accepted | Refusal) -> None:
    """Pass an answer on; the door removes the body it took in, nobody but us the one made of it."""
    if isinstance(outcome, Refusal):
        discard()
    answer(outcome)


def _plain(shaped: Shaped) -> bool:
    """Say whether a single author is all that the header names as a sender."""
    return len(shaped.authors) == 1 and shaped.sender is None and shaped.return_path is None


def _deliveries(message: Message, recipients: Sequence[str], silent: AbstractSet[int]) -> tuple[Delivery, ...]:
    return tuple(
        Delivery(
            message,
            index,
            recipient,
            state=DeliveryState.SUPPRESSED if index in silent else DeliveryState.QUEUED,
            next_ms=message.accepted_ms,
        )
        for index, recipient in enumerate(recipients)
    )


def _rejected(message: Message, recipients: Sequence[str]) -> tuple[Sequence[Delivery], Sequence[NewEvent]]:
    """Return deliveries that are made to nobody, and the one event that says so (FLOW-006, SIM-011)."""
    reply = f"Bad content: {EICAR}"
    state = DeliveryState.REJECTED
    deliveries = [
        Delivery(message, index, recipient, state=state, last_reply=reply)
        for index, recipient in enumerate(recipients)
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


def _plays_listed(request: _Request, index: int) -> bool:
    return scenario_of(request.recipients[index]) is Scenario.SUPPRESSION_LIST


def _listed_event(message: Message, index: int, recipients: Sequence[str]) -> NewEvent:
    """Return the one bounce of all recipients that play an entry of the relay's list (SIM-006, SIM-008)."""
    event_id = f"{message.message_id}/{index}/Bounce/listed"
    body = payload.suppressed_by_relay(
        message.mail_json, recipients, timestamp_ms=message.accepted_ms, feedback_id=event_id
    )
    return NewEvent(event_id, "Bounce", message.message_id, body)
