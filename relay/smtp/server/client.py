"""Who is at the other end of a session: what it said of itself, as whom it may send, and what that allows."""

from relay.model.message import Protocol as Transmission
from relay.smtp.server.dialect import Dialect
from relay.smtp.server.policy import ListenerKind, TlsMode
from relay.smtp.server.state import BETWEEN_MESSAGES, State
from relay.smtp.server.xclient_attributes import XClient

NOTHING_OFFERED: frozenset[str] = frozenset()


class Client:
    """A session's client. `principal` is the user it authenticated as, `account` whose mail it may send, "" for none.

    `source` is its address, `trusted` says that this alone lets it send, `helo` and `esmtp` are of its last hello.
    `state` is where the session is between messages, `offered` are the extensions whose parameters it may use.
    """

    __slots__ = (
        "_dialect",
        "_named",
        "_policy",
        "_receives",
        "account",
        "encrypted",
        "esmtp",
        "helo",
        "offered",
        "principal",
        "source",
        "state",
        "trusted",
    )

    def __init__(self, dialect: Dialect, source: str, *, trusted: bool) -> None:
        policy = dialect.policy
        self._dialect = dialect
        self._policy = policy
        self._receives = policy.kind is ListenerKind.MX
        self._named: XClient | None = None
        self.source = source
        self.trusted = trusted
        self.encrypted = policy.tls is TlsMode.IMPLICIT
        self.helo = ""
        self.esmtp = False
        self.principal = ""
        self.account = policy.trusted_account if trusted else ""
        self.offered = NOTHING_OFFERED
        self.state = State.CLEAR if self.needs_tls else State.HELLO

    def _judge(self) -> None:
        """Work out what follows from who the client is; asked for with every message, hence kept."""
        may_give = self._receives or self.account != ""
        self.state = BETWEEN_MESSAGES[self.needs_tls, self.helo != "", may_give]
        if not self.esmtp:
            self.offered = NOTHING_OFFERED
        else:
            self.offered = self._dialect.offered_secure if self.encrypted else self._dialect.offered

    @property
    def needs_tls(self) -> bool:
        """True while nothing but STARTTLS leads on (SMTP-002)."""
        if self.encrypted or self.trusted or self._receives:
            return False
        return self._policy.tls is TlsMode.STARTTLS

    def greets(self, name: str, *, esmtp: bool) -> None:
        """Take EHLO or HELO."""
        self.helo = name
        self.esmtp = esmtp
        self._judge()

    def secures(self) -> None:
        """Begin anew inside TLS: what was said before does not count, by XCLIENT either (RFC 3207 section 4.2).

        But for the address that XCLIENT gave: under that the client is counted and limited.
        """
        self.encrypted = True
        self.helo = ""
        self._named = None
        self.loses_login()

    def logs_in(self, principal: str, account: str) -> None:
        """Take a user whose password was right."""
        self.principal, self.account = principal, account
        self._judge()

    def loses_login(self) -> None:
        """Take the user away again; what the address alone may do stays."""
        self.principal = ""
        self.account = self._policy.trusted_account if self.trusted else ""
        self._judge()

    def becomes(self, named: XClient, account: str, *, trusted: bool) -> None:
        """Be whom a front end names (XCLIENT); `account` is that of the user it has checked, "" for none."""
        self._named = named
        self.trusted = trusted
        if named.address is not None:
            self.source = named.address
        self.helo = ""
        if account:
            self.logs_in(named.login or "", account)
        else:
            self.loses_login()

    @property
    def name(self) -> str:
        """The name that the client gave with EHLO or HELO, or that a front end passed on."""
        named = self._named
        return self.helo if named is None or named.helo is None else named.helo

    def transmission(self, *, utf8: bool) -> Transmission:
        """Return how a message comes in, as Received says it (RFC 3848, RFC 6531 section 4.3)."""
        named = self._named
        esmtp = self.esmtp if named is None or named.esmtp is None else named.esmtp
        return _TRANSMISSIONS[utf8, esmtp or utf8, self.encrypted, self.principal != ""]


def _transmissions() -> dict[tuple[bool, bool, bool, bool], Transmission]:
    table: dict[tuple[bool, bool, bool, bool], Transmission] = {}
    for secure in (False, True):
        for authenticated in (False, True):
            suffix = ("S" if secure else "") + ("A" if authenticated else "")
            table[False, False, secure, authenticated] = Transmission.SMTP
            table[False, True, secure, authenticated] = Transmission(f"ESMTP{suffix}")
            table[True, True, secure, authenticated] = Transmission(f"UTF8SMTP{suffix}")
    return table


_TRANSMISSIONS = _transmissions()
