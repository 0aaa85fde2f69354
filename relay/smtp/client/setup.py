"""From the first byte to a session that can carry mail: greeting, EHLO or HELO, TLS; then `auth`.

Owns what the host offers and whether TLS is on. Promises: where TLS is a must nothing but STARTTLS follows in clear;
what a host said before TLS is forgotten (RFC 3207 section 4.2); a host that is ourselves gets no mail.
"""

from collections.abc import Callable

from relay.model.outcome import Stage
from relay.smtp.client.answer import Fault, from_reply, local_failure, local_refusal
from relay.smtp.client.exchange import Exchange
from relay.smtp.client.extensions import Extensions, first_word, parse
from relay.smtp.client.options import ClientOptions, TlsUse
from relay.smtp.client.reply import Reply
from relay.smtp.client.steps import Step

_READY = 220  # the greeting, and go ahead with TLS
_OK, _MORE, _FAILED = 2, 3, 5
_NO_REQUIRETLS = "REQUIRETLS support required, which the host does not offer"
_NO_TLS_FOR_REQUIRETLS = "REQUIRETLS asks for TLS, which the host does not offer"


class Setup:
    """Greeting to TLS. `then` is called with the time when nothing but authentication is missing."""

    __slots__ = ("_exchange", "_options", "_then", "extensions", "tls_active")

    def __init__(self, exchange: Exchange, options: ClientOptions, then: Callable[[float], None]) -> None:
        self._exchange = exchange
        self._options = options
        self._then = then
        self.extensions = Extensions()
        self.tls_active = False

    @property
    def handlers(self) -> tuple[Callable[[Reply, float], None], ...]:
        """Who takes the replies, in the order of `Step`."""
        return self._on_greeting, self._on_ehlo, self._on_helo, self._on_starttls, self._unexpected

    def begin(self, now: float) -> None:
        """Wait for the greeting, where TLS comes first for that (RFC 8314 section 3)."""
        if self._options.tls is TlsUse.IMPLICIT:
            self._shake_hands(now)
        else:
            self._exchange.expect(Step.GREETING, now)

    def tls_started(self, now: float) -> None:
        """Begin anew inside TLS; where it came first, the host has not greeted yet."""
        exchange = self._exchange
        exchange.log.note(now, "TLS is on")
        exchange.reader.clear()
        exchange.expected.clear()
        self.tls_active = True
        self.extensions = Extensions()
        if self._options.tls is TlsUse.IMPLICIT:
            exchange.expect(Step.GREETING, now)
        else:
            self._say_ehlo(now)

    # --- greeting and EHLO ---

    def _on_greeting(self, reply: Reply, now: float) -> None:
        if reply.code != _READY:
            if reply.code // 100 in (_OK, _MORE):
                self._exchange.out_of_step(reply, Step.GREETING)
            else:
                self._exchange.end(from_reply(reply, Stage.GREETING, Fault.LINK))
        elif self._is_us(reply):
            return
        elif self._options.extended:
            self._say_ehlo(now)
        else:
            self._say_helo(now)

    def _say_ehlo(self, now: float) -> None:
        self._exchange.ask(Step.EHLO, f"EHLO {self._options.helo_name}\r\n".encode(), now)

    def _say_helo(self, now: float) -> None:
        self._exchange.ask(Step.HELO, f"HELO {self._options.helo_name}\r\n".encode(), now)

    def _on_ehlo(self, reply: Reply, now: float) -> None:
        kind = reply.code // 100
        if kind == _OK:
            if self._is_us(reply):
                return
            self.extensions = parse(reply)
            self._go_on(now)
        elif kind == _FAILED:  # RFC 5321 section 3.2
            self._say_helo(now)
        elif kind == _MORE:
            self._exchange.out_of_step(reply, Step.EHLO)
        else:
            self._exchange.end(from_reply(reply, Stage.EHLO, Fault.LINK))

    def _on_helo(self, reply: Reply, now: float) -> None:
        kind = reply.code // 100
        if kind == _OK:
            if not self._is_us(reply):
                self._go_on(now)
        elif kind == _MORE:
            self._exchange.out_of_step(reply, Step.HELO)
        else:
            self._exchange.end(from_reply(reply, Stage.EHLO, Fault.LINK))

    def _is_us(self, reply: Reply) -> bool:
        if first_word(reply) not in self._options.own_names:
            return False
        self._exchange.end(local_refusal(Stage.EHLO, "5.4.6", "Mail loops back to this host", Fault.LOOP))
        return True

    # --- TLS ---

    def _go_on(self, now: float) -> None:
        use, exchange = self._options.tls, self._exchange
        if self.tls_active and self._options.requiretls and not self.extensions.requiretls:
            exchange.end(local_refusal(Stage.TLS, "5.7.30", _NO_REQUIRETLS))  # RFC 8689 section 4.2.1
        elif self.tls_active or use is TlsUse.NEVER:
            self._then(now)
        elif self.extensions.starttls:
            exchange.ask(Step.STARTTLS, b"STARTTLS\r\n", now)
        elif self._options.requiretls:
            exchange.end(local_refusal(Stage.TLS, "5.7.30", _NO_TLS_FOR_REQUIRETLS))
        elif use is TlsUse.REQUIRED:
            exchange.end(local_failure(Stage.TLS, "4.7.4", "TLS is required and the host does not offer it"))
        else:
            self._then(now)

    def _on_starttls(self, reply: Reply, now: float) -> None:
        if reply.code != _READY:
            text = f"STARTTLS refused: {reply.code} {reply.text}"[:1000]
            self._exchange.end(local_failure(Stage.TLS, "4.7.5", text, Fault.TLS))
            return
        self._exchange.reader.clear()  # whatever came behind the 220 was injected in clear (RFC 3207 section 6)
        self._shake_hands(now)

    def _shake_hands(self, now: float) -> None:
        self._exchange.expect(Step.HANDSHAKE, now)
        self._exchange.wire.start_tls()

    def _unexpected(self, reply: Reply, _now: float) -> None:
        """A reply in clear during the handshake; `Client.receive` lets none through."""
        self._exchange.out_of_step(reply, Step.HANDSHAKE)
