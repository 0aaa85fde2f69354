"""How the client of one connection is judged and counted: under its own address, and for the account it logs in to.

Behind a balancer the address is known only after the PROXY header, and XCLIENT changes it; each time the client is
judged anew. Whatever was counted here is counted out by `leave`, once.
"""

from typing import TYPE_CHECKING

from relay.smtp.server import reply

if TYPE_CHECKING:
    from relay.smtpd.door import SmtpDoor
    from relay.smtpd.listener import SmtpListener


class Admission:
    """One a connection. `trusted`: may send without a password; `admitted`: counted, and not refused."""

    __slots__ = ("_account", "_door", "_listener", "admitted", "peer", "trusted")

    def __init__(self, door: "SmtpDoor", listener: "SmtpListener", peer: str) -> None:
        self._door = door
        self._listener = listener
        self._account = ""
        self.peer = peer
        self.admitted = self.trusted = False

    def enter(self, *, trusted: bool) -> reply.Reply | None:
        """Count the client in; return what it is told instead when it comes too fast or is one too many."""
        self.trusted = trusted
        refused = self._judge(trusted=trusted)
        self.admitted = refused is None
        return refused

    def _judge(self, *, trusted: bool) -> reply.Reply | None:
        services, peer = self._door.services, self.peer
        if not self._listener.serves(peer):
            services.metrics.count("relay_sessions_refused_total", "denied")
            services.log.debug("client denied", peer=peer, listener=self._listener.name)
            return reply.CLIENT_DENIED
        known = trusted or services.permits.recognises(peer)
        if not (known or services.gate.arrive(peer) or self._door.trusts(peer)):
            services.metrics.count("relay_sessions_refused_total", "rate")
            self._door.hurried(peer)
            return reply.TOO_MANY_NEW_CONNECTIONS
        if peer and services.gate.enter(peer):
            return None
        services.metrics.count("relay_sessions_refused_total", "connections")
        return reply.TOO_MANY_CONNECTIONS

    def rename(self, address: str | None) -> bool | reply.Reply:
        """Count the client at another address (XCLIENT) and judge it anew: whether it is trusted, or how it ends."""
        if address == "":  # whoever it is: counted where it was, and trusted no more
            self.trusted = False
        elif address is not None:
            trusted = self._listener.trusts(address)
            if self.admitted:
                self._door.services.gate.leave(self.peer)
            self.peer = address
            refused = self.enter(trusted=trusted)
            if refused is not None:
                return refused
        return self.trusted

    def enter_account(self, account: str) -> bool:
        """Count the session for an account, and no more for the one before; False when that has one too many."""
        if self._account == account:
            return True
        gate = self._door.services.gate
        if not gate.enter_account(account):
            self._door.services.metrics.count("relay_sessions_refused_total", "connections")
            return False
        if self._account:
            gate.leave_account(self._account)
        self._account = account
        return True

    def leave(self) -> None:
        """Count the client out."""
        gate = self._door.services.gate
        if self.admitted:
            gate.leave(self.peer)
        if self._account:
            gate.leave_account(self._account)
            self._account = ""
