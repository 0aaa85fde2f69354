"""AUTH: from the command to the answer whether the user may send (RFC 4954).

What the lines of an exchange mean says `auth`; who is right says the door.
"""

from functools import partial

from relay.model.refusal import Refusal
from relay.smtp.server import reply
from relay.smtp.server.auth import Credentials, Exchange, begin
from relay.smtp.server.dialogue import HARD_ERROR, Dialogue
from relay.smtp.server.door import AuthAnswer, Blocked
from relay.smtp.server.extensions import auth_offered
from relay.smtp.server.policy import TlsMode
from relay.smtp.server.reply import Reply


def on_auth(dialogue: Dialogue, argument: bytes) -> None:
    """Begin an exchange."""
    policy, client = dialogue.policy, dialogue.client
    if client.principal:
        dialogue.say(reply.ALREADY_AUTHENTICATED)
        return
    if not auth_offered(policy, encrypted=client.encrypted):
        dialogue.say(reply.TLS_REQUIRED if policy.tls is TlsMode.STARTTLS else reply.NOT_IMPLEMENTED)
        return
    exchange, answer = begin(argument)
    _step(dialogue, exchange, answer)


def on_response(dialogue: Dialogue, exchange: Exchange, line: bytes) -> None:
    """Take the client's answer to a challenge."""
    _step(dialogue, exchange, exchange.step(line))


def _step(dialogue: Dialogue, exchange: Exchange | None, answer: Reply | Credentials) -> None:
    if isinstance(answer, Reply):
        dialogue.exchange = exchange if answer.code < HARD_ERROR else None
        dialogue.say(answer)
        return
    dialogue.exchange = None
    dialogue.waiting = True
    dialogue.door.authenticate(answer.username, answer.password, partial(_answered, dialogue, answer.username))


def _answered(dialogue: Dialogue, username: str, answer: AuthAnswer) -> None:
    dialogue.waiting = False
    if dialogue.closing:
        return
    if isinstance(answer, str):
        dialogue.client.logs_in(username, answer)
        dialogue.state = dialogue.client.state
        dialogue.say(reply.AUTHENTICATED)
    elif isinstance(answer, Blocked):
        dialogue.close_with(reply.TOO_MANY_AUTH_FAILURES)
    else:
        _refused(dialogue, answer)
    dialogue.proceed()


def _refused(dialogue: Dialogue, refusal: Refusal) -> None:
    dialogue.refuse(refusal)
    if refusal.reason.code < HARD_ERROR:
        return
    dialogue.auth_failures += 1
    if dialogue.auth_failures >= dialogue.policy.auth_failures_max:
        dialogue.close_with(reply.TOO_MANY_AUTH_FAILURES)
