"""Take: a mail of the relay's own, from the catalog into this shard, once (HDR-021, IDENT-026).

The office names a notice, and names it again until this shard has acknowledged it; a dedupe key makes the repeats
harmless. The key holds the mail's digest beside its number, because a catalog that was restored from a backup gives
its numbers out again. What is written here is never refused for the sandbox, quotas or suppression: it is ours.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.errors import StorageError
from relay.mail.headers import Field, parse_head
from relay.mail.tls_required import waived
from relay.mail.trace import message_id_field
from relay.model.content import BodyFacts, Content
from relay.model.message import DEFAULT_OPTIONS, NewMessage, SendOptions
from relay.model.notice import Notice
from relay.model.refusal import Refusal
from relay.pipeline.internal import InternalMail
from relay.pipeline.promise import RELAY_ACCOUNT
from relay.ports import Clock, Directory, Done, Inbox, Log, Metrics, SigningKey
from relay.signing.dkim import sign


@dataclass(frozen=True, slots=True)
class NoticeRules:
    """What configuration says: our host name, and the address the relay's own mail is from."""

    hostname: str
    sender: str


class TakeNotices:
    """Takes notices into one shard."""

    def __init__(
        self,
        *,
        rules: NoticeRules,
        directory: Directory,
        inbox: Inbox,
        mail: InternalMail,
        accepted: Callable[[NewMessage], None],
        clock: Clock,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self.rules = rules
        self._directory = directory
        self._inbox = inbox
        self._mail = mail
        self._accepted = accepted
        self._clock = clock
        self._log = log
        self._metrics = metrics

    def take(self, notice: Notice, facts: BodyFacts, done: Done) -> None:
        """Sign and commit a notice; a repeat changes nothing. `facts` are those of its body, which is bytes."""
        try:
            new = self._new_message(notice, facts)
        except StorageError as error:
            done(error)
            return
        if new is None:
            done(None)
            return

        def recorded(written: bool, error: Exception | None) -> None:  # noqa: FBT001 (a callback's shape)
            if written:
                self._accepted(new)
                self._log.info("notice accepted", message_id=new.message.message_id, account=notice.account)
            if error is None:
                self._metrics.count("relay_notices_total", "taken" if written else "repeat")
            done(error)

        self._inbox.record(dedupe_key(notice), (), (new,), recorded)

    def _new_message(self, notice: Notice, facts: BodyFacts) -> NewMessage | None:
        self._directory.refresh()
        keys = self._keys(notice)
        fields = parse_head(notice.content.head, smtputf8=True)
        if keys is None or isinstance(fields, Refusal):
            self._log.error("a notice cannot be sent and is dropped", notice=notice.notice_id, account=notice.account)
            self._metrics.count("relay_notices_total", "dropped")
            return None
        message_id = self._mail.new_id()
        raw = message_id_field(message_id, self.rules.hostname)
        fields = [Field(b"message-id", raw), *fields]
        signature = sign(fields, facts.sha256_relaxed, keys, self._clock.now_ms() // 1000)
        content = Content(signature + raw + notice.content.head, notice.content.body)
        smtputf8 = not (notice.recipient.isascii() and notice.content.head.isascii())
        options = SendOptions(tls_relaxed=True) if waived(fields) else DEFAULT_OPTIONS
        return self._mail.message(
            message_id,
            notice.account,
            notice.recipient,
            content,
            eight_bit=facts.eight_bit,
            smtputf8=smtputf8,
            options=options,
        )

    def _keys(self, notice: Notice) -> Sequence[SigningKey] | None:
        """Return the keys of whom the mail is from; None when the account may not send from there any more."""
        directory = self._directory
        account, author = (
            (notice.account, notice.signed_by) if notice.signed_by else (RELAY_ACCOUNT, self.rules.sender)
        )
        identity = directory.sending_identity(account, author)
        if identity is None:
            return None if notice.signed_by else directory.signing_keys(RELAY_ACCOUNT, self.rules.hostname)
        return directory.signing_keys(account, identity.dkim_domain) if identity.dkim_domain else ()


def dedupe_key(notice: Notice) -> str:
    """Return what a notice is known by in its shard."""
    body = notice.content.body
    assert isinstance(body, bytes)
    digest = hashlib.sha256(notice.recipient.encode() + b"\0" + notice.content.head + body)
    return f"notice/{notice.notice_id}/{digest.hexdigest()}"
