"""What a session asks of the connection it runs on (`SessionDoor`): users, files, time, and to be told of faults."""

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from relay.model.refusal import Reason, Refusal
from relay.smtp.server.door import AuthAnswer, Blocked
from relay.smtp.server.reply import TOO_MANY_CONNECTIONS, Reply
from relay.smtpd.login import check_login, report_login

if TYPE_CHECKING:
    from relay.smtpd.admission import Admission
    from relay.smtpd.connection import SmtpConnection
    from relay.smtpd.door import SmtpDoor
    from relay.smtpd.incoming import IncomingBody


class Answers:
    """One a connection. `sink` is the last file that was opened for a large body."""

    __slots__ = ("_admission", "_connection", "_door", "_services", "sink")

    def __init__(self, door: "SmtpDoor", connection: "SmtpConnection", admission: "Admission") -> None:
        self._door = door
        self._services = door.services
        self._connection: SmtpConnection | None = connection
        self._admission = admission
        self.sink: IncomingBody | None = None

    def authenticate(self, username: str, password: str, done: Callable[[AuthAnswer], None]) -> None:
        """Check a user."""
        peer = self._admission.peer
        try:
            result, delay_seconds = check_login(self._services, peer, username, password)
        except Exception as error:  # noqa: BLE001 - whatever is wrong is ours, never the client's (SMTP-012)
            self.failed(error)
            result, delay_seconds = Refusal(Reason.AUTH_TEMPORARY), 0.0
        if isinstance(result, Blocked):
            done(result)
            return
        report_login(self._services, peer, username, result)
        if delay_seconds > 0:
            self._door.loop.call_later(delay_seconds, self._checked, result, done)
        else:
            self._checked(result, done)

    def _checked(self, result: str | Refusal, done: Callable[[AuthAnswer], None]) -> None:
        """Count the session for its account and give the answer to the session."""
        connection = self._connection
        here = connection is not None and not connection.gone
        if connection is not None and here and isinstance(result, str) and not self._admission.enter_account(result):
            connection.end(TOO_MANY_CONNECTIONS)
        else:
            done(result)

    def client_named(self, address: str | None) -> bool | Reply:
        """Count the client at another address (XCLIENT) and judge it anew."""
        return self._admission.rename(address)

    def open_sink(self) -> "IncomingBody":
        """Open a file for a large body."""
        self.sink = self._door.incoming.open(self._has_room)
        return self.sink

    def _has_room(self) -> None:
        if self._connection is not None:
            self._connection.control_reading()

    def now_ms(self) -> int:
        """Return the time in milliseconds since 1970."""
        return self._services.clock.now_ms()

    def refused(self, label: str) -> None:
        """Count a refusal."""
        self._services.metrics.count("relay_messages_refused_total", label)

    def failed(self, error: Exception) -> None:
        """Log a fault of ours."""
        trace = "".join(traceback.format_exception(error))
        self._services.log.error("smtp session fault", peer=self._admission.peer, error=repr(error), trace=trace)

    def resumed(self) -> None:
        """Write what a late answer brought and go on reading."""
        if self._connection is not None:
            self._connection.resumed()

    def left(self) -> None:
        """Forget the connection, which has ended.

        Otherwise connection and session hold each other, and every session waits for the garbage collector: with
        those of some thousand sessions it costs more than anything else that is done for them.
        """
        self._connection = self.sink = None
