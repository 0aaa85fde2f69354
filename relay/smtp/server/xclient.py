"""XCLIENT: a trusted front end says who its client is, and the session begins anew with that one, as in Postfix.

`xclient_attributes` reads the attributes; the door says whether this client may name another (`Session.may_name`).
"""

from relay.model.refusal import Reason
from relay.smtp.server import reply
from relay.smtp.server.dialogue import Dialogue
from relay.smtp.server.extensions import greeting
from relay.smtp.server.reply import Reply
from relay.smtp.server.unknown import on_unknown
from relay.smtp.server.xclient_attributes import XClient, parse_xclient

_CREDENTIALS_INVALID = Reply(
    Reason.CREDENTIALS_INVALID.code, Reason.CREDENTIALS_INVALID.enhanced, Reason.CREDENTIALS_INVALID.text
)


def on_xclient(dialogue: Dialogue, argument: bytes) -> None:
    """Begin anew with the client that is named."""
    if not dialogue.may_name:
        on_unknown(dialogue, b"XCLIENT")
        return
    command = parse_xclient(argument)
    if isinstance(command, Reply):
        dialogue.say(command)
        return
    account = _account(dialogue, command)
    if isinstance(account, Reply):
        dialogue.say(account)
        return
    trusted = dialogue.door.client_named(command.address)
    if isinstance(trusted, Reply):
        dialogue.close_with(trusted)
        return
    dialogue.forget()
    dialogue.client.becomes(command, account, trusted=trusted)
    dialogue.state = dialogue.client.state
    dialogue.write(greeting(dialogue.policy, dialogue.session_id))


def _account(dialogue: Dialogue, command: XClient) -> str | Reply:
    """Return the account of the user that a front end has checked, "" without one: never more than configured."""
    if not command.login:
        return ""
    if not dialogue.policy.xclient_login:
        return reply.LOGIN_NOT_TAKEN
    if dialogue.client.needs_tls:
        return reply.TLS_REQUIRED
    try:
        return dialogue.intake.account_of(command.login) or _CREDENTIALS_INVALID
    except Exception as error:  # noqa: BLE001 - any fault of ours is a temporary one to the client (SMTP-028)
        dialogue.door.failed(error)
        return reply.AUTH_TEMPORARY
