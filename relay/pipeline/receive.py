"""Receive: mail for our own addresses. Bounces that come back, feedback loops, and mail for the postmaster.

A return path is a signed token, checked at RCPT; mail for a token that is not ours, or too old, is refused there
(FLOW-018). What arrives is read once, committed here, answered, and handed to the shard that owns the message until
that shard acknowledges it; the owner settles it (`relay.pipeline.returned`).

Reports of feedback loops come to the role addresses; one that names a message of ours goes to its owner in the same
way, everything else to the contact.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from relay.errors import TemporaryError
from relay.mail import returnpath
from relay.mail.classify import Classification, classify
from relay.mail.headers import RECEIVED_MAX
from relay.mail.trace import received_field
from relay.model.content import Content
from relay.model.ids import accepted_ms_of, shard_of
from relay.model.message import NewMessage, Submission
from relay.model.refusal import Accepted, Reason, Refusal
from relay.pipeline.internal import InternalMail, protection
from relay.pipeline.returned import Returned, Taken, complained_about, item_of
from relay.policy.simulator import is_simulator_domain
from relay.ports import Clock, Inbox, Log, Metrics, Spool

READ_MAX_BYTES = 1024 * 1024
WAITING_BATCH = 200
AGAIN_SECONDS = 10.0
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
ROLE_ACCOUNTS = frozenset({"postmaster", "abuse", "fbl"})  # RFC 5321 section 4.5.1, RFC 2142; feedback loops

Answer = Callable[[Accepted | Refusal], None]


class Peers(Protocol):
    """The other workers."""

    def hand_over(self, shard: int, item_id: str, item: bytes, done: Taken) -> None:
        """Give an item to the worker that owns `shard`; None when it was committed there."""
        ...


@dataclass(frozen=True, slots=True)
class ReceiveRules:
    """What configuration says about mail for us. `token_key` signs return paths."""

    hostname: str
    bounce_domain: str
    contact: str
    retention_ms: int
    token_key: bytes


class Receive:
    """Takes mail addressed to the relay itself."""

    def __init__(
        self,
        *,
        rules: ReceiveRules,
        inbox: Inbox,
        spool: Spool,
        peers: Peers,
        returned: Returned,
        mail: InternalMail,
        is_mail_from: Callable[[str], bool],
        accepted: Callable[[NewMessage], None],
        call_later: Callable[[float, Callable[[], None]], object],
        clock: Clock,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self.rules = rules
        self._inbox = inbox
        self._spool = spool
        self._peers = peers
        self._returned = returned
        self._mail = mail
        self._is_mail_from = is_mail_from
        self._accepted = accepted
        self._call_later = call_later
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._under_way: set[str] = set()
        self._waits = False  # for the next round
        self._more = False  # may wait than a round took

    def start(self) -> None:
        """Take up what an earlier life of this worker did not hand over."""
        self._hand_over_waiting()

    # --- at the door ---------------------------------------------------------------------------------------------

    def may_receive(self, recipient: str) -> Refusal | None:
        """Say whether mail for an address is taken without authentication (SMTP-003, MFROM-011)."""
        if self._is_role(recipient):
            return None
        local, _, domain = recipient.rpartition("@")
        if domain == self.rules.bounce_domain or self._is_mail_from(domain):
            return None if self._token(local) is not None else Refusal(Reason.BAD_BOUNCE_TOKEN, recipient)
        if domain == self.rules.hostname or is_simulator_domain(domain, self.rules.hostname):  # SIM-010
            return Refusal(Reason.NO_SUCH_USER, recipient)
        return Refusal(Reason.NOT_LOCAL)

    def receive(self, submission: Submission, answer: Answer) -> None:
        """Commit what arrived, then answer; hand it over afterwards."""
        content = submission.content
        if len(_RECEIVED.findall(content.head)) >= RECEIVED_MAX:
            answer(Refusal(Reason.LOOP))
            return
        message_id = self._mail.new_id()
        tokens = [returnpath.read(r.rpartition("@")[0], self.rules.token_key) for r in submission.recipients]
        found = [token for token in tokens if token is not None]
        waits = _Countdown(len(found) + bool(len(found) < len(tokens)), partial(self._kept, answer, message_id))
        if not waits.left:
            answer(Refusal(Reason.NO_RECIPIENTS))
            return
        # The envelope sender is said as a delivery would (RFC 5321 section 4.4): the null one is a mark of reports.
        seen = classify(b"Return-Path: <%b>\r\n" % submission.sender.encode() + _first_bytes(content))
        for number, token in enumerate(found):
            self._keep(f"{message_id}/{number}", token.message_id_prefix, token.index, seen, content, waits)
        if len(found) == len(tokens):
            return
        about = complained_about(seen, self._token)
        if about is not None and self._is_recent(about.prefix):
            self._keep(f"{message_id}/loop", about.prefix, about.index, seen, content, waits)
        else:
            self._forward_to_contact(message_id, submission, waits)

    def _keep(  # noqa: PLR0917 - what is kept, about what, and who waits for it
        self, item_id: str, prefix: str, index: int, seen: Classification, content: Content, waits: "_Countdown"
    ) -> None:
        item = item_of(prefix, index, seen, content, self._clock.now_ms())
        shard = shard_of(prefix)
        self._inbox.keep(item_id, shard, item, partial(self._item_kept, item_id, shard, item, waits))

    def _item_kept(self, item_id: str, shard: int, item: bytes, waits: "_Countdown", error: Exception | None) -> None:
        waits.one(error)
        if error is None:
            self._hand_over(item_id, shard, item)

    def _kept(self, answer: Answer, message_id: str, error: Exception | None) -> None:
        if error is not None:
            self._log.error("received mail not written", message_id=message_id, error=str(error))
            answer(Refusal(Reason.TEMPORARY))
            return
        self._log.info("received", message_id=message_id)
        answer(Accepted(message_id))

    def _forward_to_contact(self, message_id: str, submission: Submission, waits: "_Countdown") -> None:
        content = Content(self._received(message_id, submission) + submission.content.head, submission.content.body)
        eight_bit, smtputf8 = submission.facts.eight_bit, submission.smtputf8
        new = self._mail.message(
            message_id,
            "",
            self.rules.contact,
            content,
            eight_bit=eight_bit,
            smtputf8=smtputf8,
            options=protection(requiretls=submission.wishes.requiretls),
        )

        def done(error: Exception | None) -> None:
            waits.one(error)
            if error is None:
                self._accepted(new)

        self._spool.append(new, done)

    def _received(self, message_id: str, submission: Submission) -> bytes:
        return received_field(message_id, self.rules.hostname, submission.protocol, self._clock.now_ms())

    def _is_role(self, recipient: str) -> bool:
        local, at, domain = recipient.rpartition("@")
        if not at:
            return recipient.lower() == "postmaster"
        if local.lower() not in ROLE_ACCOUNTS:
            return False
        return domain in {self.rules.hostname, self.rules.bounce_domain} or self._is_mail_from(domain)

    def _is_recent(self, prefix: str) -> bool:
        return self._clock.now_ms() - accepted_ms_of(prefix) <= self.rules.retention_ms

    def _token(self, local: str) -> returnpath.ReturnPath | None:
        token = returnpath.read(local, self.rules.token_key)
        if token is None or token.expired(self._clock.now_ms(), self.rules.retention_ms):
            return None
        return token

    # --- on the way to the owner ---------------------------------------------------------------------------------

    def _hand_over(self, item_id: str, shard: int, item: bytes) -> None:
        if item_id in self._under_way:
            return
        self._under_way.add(item_id)
        taken = partial(self._taken, item_id)
        if shard == self._spool.shard:
            self._returned.take(item, taken)
            return
        self._peers.hand_over(shard, item_id, item, taken)

    def _taken(self, item_id: str, error: Exception | None) -> None:
        if error is not None:
            self._under_way.discard(item_id)
            self._log.warning("feedback not handed over, trying again", item=item_id, error=str(error))
            self._wait()
            return
        self._inbox.forget(item_id, partial(self._forgotten, item_id))

    def _forgotten(self, item_id: str, error: Exception | None) -> None:
        self._under_way.discard(item_id)
        if error is not None:  # it is taken again then, which changes nothing
            self._wait()
        elif self._more and not self._under_way:
            self._hand_over_waiting()

    def _wait(self) -> None:
        """Begin another round a while later: one for all that failed meanwhile."""
        if not self._waits:
            self._waits = True
            self._call_later(AGAIN_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._waits = False
        self._hand_over_waiting()

    def _hand_over_waiting(self) -> None:
        try:
            waiting = self._inbox.waiting(WAITING_BATCH)
        except TemporaryError as error:
            self._log.warning("received mail cannot be read, trying again", error=str(error))
            self._wait()
            return
        self._more = len(waiting) == WAITING_BATCH
        for item_id, shard, item in waiting:
            self._hand_over(item_id, shard, item)


class _Countdown:
    """Calls `done` once, after so many parts are through: with the first error, or None."""

    def __init__(self, left: int, done: Taken) -> None:
        self.left = left
        self._done = done
        self._error: Exception | None = None

    def one(self, error: Exception | None) -> None:
        """Note that a part is through."""
        self._error = self._error or error
        self.left -= 1
        if not self.left:
            self._done(self._error)


def _first_bytes(content: Content) -> bytes:
    """Return the message, at most `READ_MAX_BYTES` of it: reports are short, or their beginning says enough."""
    if isinstance(content.body, bytes):
        return content.head + content.body
    with open(content.body.path, "rb") as file:  # noqa: PTH123 (a path as text everywhere)
        file.seek(content.body.offset_bytes)
        return content.head + file.read(min(READ_MAX_BYTES, content.body.size_bytes))
