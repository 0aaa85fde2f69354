"""The envelope of one mail transaction while it is being given, and what becomes of it: a `Submission`."""

from dataclasses import replace

from relay.model.message import Submission
from relay.model.notification import Wishes
from relay.smtp.server.client import Client
from relay.smtp.server.command import MailFrom, RcptTo
from relay.smtp.server.content import Received


class Envelope:
    """Sender and recipients of a transaction. `receiving_only`: of a client that did not authenticate."""

    __slots__ = ("_asked", "_mail", "overflow", "receiving_only", "recipients", "tried_recipients")

    def __init__(self, mail: MailFrom, *, receiving_only: bool) -> None:
        self._mail = mail
        self._asked: dict[str, str] | None = None
        self.receiving_only = receiving_only
        self.recipients: dict[str, None] = {}
        self.overflow = False
        self.tried_recipients = False

    @property
    def utf8(self) -> bool:
        """True for a transaction with SMTPUTF8 (RFC 6531)."""
        return self._mail.smtputf8

    def add(self, command: RcptTo) -> None:
        """Take a recipient; given twice, what was asked for last holds."""
        self.recipients[command.recipient] = None
        if command.wishes:
            self._asked = self._asked or {}
            self._asked[command.recipient] = command.wishes

    def _wishes(self) -> Wishes:
        return replace(self._mail.wishes, recipients=self._asked) if self._asked else self._mail.wishes

    def submission(self, received: Received, client: Client) -> Submission:
        """Return the message with this envelope."""
        content, facts = received
        utf8 = self._mail.smtputf8
        return Submission(
            account=client.account,
            principal=client.principal,
            sender=self._mail.sender,
            recipients=tuple(self.recipients),
            content=content,
            facts=facts,
            protocol=client.transmission(utf8=utf8),
            smtputf8=utf8,
            source_address=client.source,
            helo=client.name,
            wishes=self._wishes(),
        )
