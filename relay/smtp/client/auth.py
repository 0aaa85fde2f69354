"""Our login at a smart host: AUTH PLAIN, or LOGIN where that is all there is (RFC 4954).

Promises: credentials are not sent in clear unless the operator said so, and are noted nowhere. A login that is
refused is the operator's to mend: mail waits for that and does not bounce.
"""

import base64
from collections.abc import Callable

from relay.model.outcome import Stage
from relay.smtp.client.answer import local_failure
from relay.smtp.client.exchange import Exchange
from relay.smtp.client.options import ClientOptions
from relay.smtp.client.reply import Reply
from relay.smtp.client.steps import Step

_OK, _MORE = 2, 3


class Login:
    """AUTH, where there is a user name. `then` is called when we may send."""

    __slots__ = ("_exchange", "_options", "_then")

    def __init__(self, exchange: Exchange, options: ClientOptions, then: Callable[[], None]) -> None:
        self._exchange = exchange
        self._options = options
        self._then = then

    @property
    def handlers(self) -> tuple[Callable[[Reply, float], None], ...]:
        """Who takes the replies, in the order of `Step`."""
        return self._on_auth, self._on_user, self._on_password

    def begin(self, offered: frozenset[str], now: float, *, tls_active: bool) -> None:
        """Authenticate by one of the mechanisms that are offered, if we are to."""
        options, exchange = self._options, self._exchange
        if not options.username:
            self._then()
            return
        plain = base64.b64encode(f"\0{options.username}\0{options.password}".encode())
        coded = [base64.b64encode(secret.encode()).decode() for secret in (options.username, options.password)]
        exchange.log.hide(plain.decode(), *coded, options.password)
        if not (tls_active or options.clear_auth):
            exchange.end(local_failure(Stage.AUTH, "4.7.0", "Credentials are not sent without TLS"))
        elif "PLAIN" in offered:
            exchange.ask(Step.AUTH_PASSWORD, b"AUTH PLAIN " + plain + b"\r\n", now)
        elif "LOGIN" in offered:
            exchange.ask(Step.AUTH, b"AUTH LOGIN\r\n", now)
        else:
            exchange.end(local_failure(Stage.AUTH, "4.7.0", "Host offers neither AUTH PLAIN nor AUTH LOGIN"))

    def _on_auth(self, reply: Reply, now: float) -> None:
        self._challenge(reply, Step.AUTH_USER, self._options.username, now)

    def _on_user(self, reply: Reply, now: float) -> None:
        self._challenge(reply, Step.AUTH_PASSWORD, self._options.password, now)

    def _challenge(self, reply: Reply, then: Step, secret: str, now: float) -> None:
        if reply.code // 100 != _MORE:
            self._refused(reply)
            return
        self._exchange.ask(then, base64.b64encode(secret.encode()) + b"\r\n", now)

    def _on_password(self, reply: Reply, _now: float) -> None:
        if reply.code // 100 == _OK:
            self._then()
            return
        self._refused(reply)

    def _refused(self, reply: Reply) -> None:
        text = f"Host refused our credentials: {reply.code} {reply.text}"[:1000]
        self._exchange.end(local_failure(Stage.AUTH, "4.7.8", text))
