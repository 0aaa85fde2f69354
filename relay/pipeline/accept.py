"""Accept: from a submission to a promise kept on disk, or one refusal and nothing queued (FLOW-001, 002, 005, 022).

The checks run in the order of FLOW-022 and the first failure is the answer: account, syntax and size, recipients,
configuration set, identities, sandbox, rate and quota. Suppressed recipients are accepted and never contacted, and so
is everybody when the message has the EICAR test file in it (SIM-011). Recipients at the mailbox simulator count
against the rate and not against the quota (QUOTA-003). Signing comes last (`relay.pipeline.promise`), so that nothing
is signed that is refused. A submission crosses at most two waits: permits (limited accounts only) and the commit; one
whose body is a file, also the search for the test file.
"""

from collections.abc import Callable
from functools import partial

from relay.errors import StorageError
from relay.mail.attachments import ContentRules
from relay.mail.compose import Shaped, needs_helper, shape
from relay.mail.eicar import contains_eicar
from relay.model.account import Account, AccountState, Identity, MailFromFallback
from relay.model.configuration_set import ConfigurationSet
from relay.model.content import BodyFile
from relay.model.delivery import DeliveryState
from relay.model.finding import Enforcement
from relay.model.ids import new_message_id
from relay.model.message import (
    Message,
    NewMessage,
    Submission,
)
from relay.model.pool import PIN_PREFIX
from relay.model.refusal import Accepted, Reason, Refusal
from relay.model.scan import Scan, ScanVerdict
from relay.pipeline.pools import Shelf
from relay.pipeline.promise import EICAR, AcceptRules, Answer, Promise, Request
from relay.pipeline.recipient_domains import RecipientDomains
from relay.pipeline.senders import Caller, Sender, SenderCheck, caller_of
from relay.policy import pin as pins
from relay.policy.simulator import Scenario, is_simulator_address, simulated_recipients
from relay.ports import Clock, Directory, Lease, Log, Metrics, Permits, Spool
from relay.schedule.bandwidth import LargeMail
from relay.schedule.pools import PoolBook

MINUTE_MS = 60_000

CallLater = Callable[[float, Callable[[], None]], object]
# Answers with the submission to go on with, or a refusal, and with what removes the body that was made for it.
Reencoded = Callable[[Submission | Refusal, Callable[[], None]], None]
Reencode = Callable[[Submission, ContentRules, Reencoded], None]
Examine = Callable[[BodyFile, Callable[[bool | Refusal], None]], None]


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
        domains: RecipientDomains | None = None,
    ) -> None:
        self.rules = rules
        self._domains = domains
        self._directory = directory
        self._senders = SenderCheck(directory)
        self._shelf = Shelf(directory)
        self._promise = Promise(directory, spool.next_key, self._shelf)
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
        if checked.account.recipient_check and self._domains is not None:
            self._domains.check(checked.recipients, partial(self._reachable, checked))
        else:
            self._take(checked)

    def _reachable(self, request: Request, unreachable: str) -> None:
        if unreachable:
            self._refuse(request.submission, Refusal(Reason.INVALID_RECIPIENT, unreachable), request.answer)
        else:
            self._take(request)

    def _take(self, request: Request) -> None:
        recipients = len(request.recipients)
        self._permits.take(request.account, recipients, partial(self._permitted, request), counted=request.counted)

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
    ) -> Request | Refusal:
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
        return Request(
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
    ) -> tuple[Sender, ConfigurationSet | None, str, str] | Refusal:
        """Return sender, configuration set, MAIL FROM domain ("": the relay's own) and pool of a message."""
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
        if isinstance(mail_from, Refusal):
            return mail_from
        pool = self._pool(account, shaped, sender, chosen, recipients, now_ms)
        return pool if isinstance(pool, Refusal) else (sender, chosen, mail_from, pool)

    def _pool(  # noqa: PLR0917 - whose mail, what it says, as whom, with which set, to whom, when
        self,
        account: Account,
        shaped: Shaped,
        sender: Sender,
        chosen: ConfigurationSet | None,
        recipients: tuple[str, ...],
        now_ms: int,
    ) -> str | Refusal:
        """Return the pool that the message leaves from, "" where nothing names one (`relay.schedule.pools`)."""
        book, pin = self._shelf.book(), shaped.controls.source_address
        if pin:
            return _pinned(book, account.account_id, pin, self.rules.pin_key, now_ms)
        if book.plain:
            return ""
        named = chosen.sending_pool if chosen is not None else ""
        own = sender.identity.pool if sender.identity.account == account.account_id else ""
        return book.resolve(account.account_id, named, own, shaped.author.domain.lower(), recipients)

    def _caller(self, submission: Submission) -> Caller | Refusal:
        principal = None
        if submission.principal:
            principal = self._directory.principal(submission.principal)
            if principal is None or principal.account != submission.account:
                return Refusal(Reason.CREDENTIALS_INVALID)
        account = self._directory.account(submission.account)
        if account is None or account.state is AccountState.CLOSED:
            return Refusal(Reason.ACCOUNT_CLOSED)
        if account.enforcement is Enforcement.SUSPENDED:
            return Refusal(Reason.ACCOUNT_SUSPENDED)
        if account.state is AccountState.PAUSED or account.enforcement is Enforcement.PAUSED:
            return Refusal(Reason.ACCOUNT_PAUSED)
        return caller_of(account, principal)

    def _configuration_set(self, account: Account, name: str) -> ConfigurationSet | Refusal | None:
        """Return a set of the account that may be sent with, None without a name (CFG-009, CFG-013, CFG-017)."""
        if not name:
            return None
        found = self._directory.configuration_set(account.account_id, name)
        if found is None:
            return Refusal(Reason.SET_UNKNOWN, name)
        return found if found.may_send else Refusal(Reason.SET_PAUSED, name)

    # --- the promise ---------------------------------------------------------------------------------------------

    def _permitted(self, request: Request, lease: Lease | Refusal) -> None:
        if isinstance(lease, Refusal):
            self._metrics.count("relay_permits_total", _PERMIT_ANSWERS.get(lease.reason, "away"))
            self._refuse(request.submission, lease, request.answer)
            return
        if lease.lease_id:
            self._metrics.count("relay_permits_total", "granted")
        try:
            new = self._promise.make(request, self.rules)
        except StorageError as error:
            self._log.error("the catalog cannot be read", error=str(error))
            self._permits.unused(lease)
            self._refuse(request.submission, Refusal(Reason.TEMPORARY), request.answer)
            return
        self._spool.append(new, partial(self._committed, request, new, lease))

    def _committed(self, request: Request, new: NewMessage, lease: Lease, error: Exception | None) -> None:
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

    def _tell(self, request: Request, new: NewMessage) -> None:
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


def _pinned(book: PoolBook, account: str, text: str, key: bytes, now_ms: int) -> str | Refusal:
    """Return the pool of one address, for an administrator's test of it."""
    address = pins.read(key, text, account, now_ms // 1000)
    if address is None:
        return Refusal(Reason.BAD_HEADER, "The source address is asked for without the right to, or too late.")
    why = book.plan(account, PIN_PREFIX + address).why
    return Refusal(Reason.BAD_HEADER, f"{why}.") if why else PIN_PREFIX + address


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


def _answer_or_discard(answer: Answer, discard: Callable[[], None], outcome: Accepted | Refusal) -> None:
    """Pass an answer on; the door removes the body it took in, nobody but us the one made of it."""
    if isinstance(outcome, Refusal):
        discard()
    answer(outcome)
