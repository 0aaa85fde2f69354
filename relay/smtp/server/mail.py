"""The envelope's commands: MAIL, RCPT and RSET (RFC 5321 sections 4.1.1.2, 4.1.1.3 and 4.1.1.5).

What their arguments mean say `command` and `parameters`; identities and quotas are asked for after the text only
(SMTP-020).
"""

from relay.model.message import RECIPIENTS_HARD_MAX
from relay.model.notification import NO_WISHES, Wishes
from relay.model.refusal import Reason, Refusal
from relay.smtp.server import reply
from relay.smtp.server.command import parse_mail, parse_rcpt
from relay.smtp.server.dialogue import Dialogue
from relay.smtp.server.envelope import Envelope
from relay.smtp.server.reply import Reply
from relay.smtp.server.state import State


def on_mail(dialogue: Dialogue, argument: bytes) -> None:
    """Begin a transaction."""
    policy, client = dialogue.policy, dialogue.client
    if policy.messages_max and dialogue.messages >= policy.messages_max:
        dialogue.close_with(reply.TOO_MANY_MESSAGES)
        return
    if client.principal and not _still_authenticated(dialogue):
        dialogue.say(reply.AUTH_REQUIRED)
        return
    command = parse_mail(argument, client.offered)
    if isinstance(command, Reply):
        dialogue.say(command)
        return
    fault = None if command.wishes is NO_WISHES else _held_too_long(dialogue, command.wishes)
    if fault is not None:
        dialogue.say(fault)
        return
    if command.size_bytes > policy.message_size_max:
        dialogue.door.refused(Reason.MESSAGE_TOO_LONG.label)
        dialogue.refuse(Refusal(Reason.MESSAGE_TOO_LONG))
        return
    if not command.sender and not policy.null_sender and client.account:
        dialogue.say(reply.NO_NULL_SENDER)
        return
    refusal = dialogue.ask(dialogue.intake.may_start, command.size_bytes)
    if refusal is not None:
        dialogue.refuse(refusal)
        return
    dialogue.forget()
    dialogue.transaction.envelope = Envelope(command, receiving_only=not client.account)
    dialogue.state = State.MAIL
    dialogue.say(reply.SENDER_OK)


def _held_too_long(dialogue: Dialogue, wishes: Wishes) -> Reply | None:
    """Judge when a message is to leave (RFC 4865 section 5)."""
    longest = dialogue.policy.hold_seconds_max
    if wishes.hold_until_ms:
        ahead_ms = wishes.hold_until_ms - dialogue.door.now_ms()
        if ahead_ms <= 0:
            return reply.HELD_TO_THE_PAST
        # The latest time was told with the answer to EHLO, which may be a minute old.
        return reply.HELD_TOO_LONG if ahead_ms > longest * 1000 else None
    return reply.HELD_TOO_LONG if wishes.hold_seconds > longest else None


def _still_authenticated(dialogue: Dialogue) -> bool:
    """Look again whether the credential may be used: it may have been revoked meanwhile (CRED-011)."""
    client = dialogue.client
    try:
        account = dialogue.intake.account_of(client.principal)
    except Exception as error:  # noqa: BLE001 - any fault of ours: what held at AUTH holds until it is repaired
        dialogue.door.failed(error)
        return True
    if account is not None:
        if account != client.account:
            client.logs_in(client.principal, account)
        return True
    client.loses_login()
    dialogue.state = client.state
    return False


def on_rcpt(dialogue: Dialogue, argument: bytes) -> None:
    """Take a recipient."""
    policy, envelope = dialogue.policy, dialogue.transaction.envelope
    assert envelope is not None
    envelope.tried_recipients = True
    command = parse_rcpt(argument, dialogue.client.offered, smtputf8=envelope.utf8, hostname=policy.hostname)
    if isinstance(command, Reply):
        dialogue.say(command)
        return
    count = len(envelope.recipients)
    full = count >= policy.recipients_max or count >= RECIPIENTS_HARD_MAX
    if full and command.recipient not in envelope.recipients:
        if policy.recipient_limit_reply == Reason.TOO_MANY_RECIPIENTS.code:
            envelope.overflow = True  # SMTP-019: told at the end of data
            dialogue.say(reply.RECIPIENT_OK)
        else:
            dialogue.say(reply.TOO_MANY_RECIPIENTS)
        return
    if envelope.receiving_only:
        refusal = dialogue.ask(dialogue.intake.may_receive, command.recipient)
        if refusal is not None:
            dialogue.refuse(refusal)
            return
    envelope.add(command)
    dialogue.state = State.RCPT
    dialogue.say(reply.RECIPIENT_OK)


def on_rset(dialogue: Dialogue, argument: bytes) -> None:
    """Give the transaction up."""
    if argument.strip(b" "):
        dialogue.say(reply.BAD_ARGUMENT)
        return
    dialogue.reset()
    dialogue.say(reply.OK)
    dialogue.end_if_draining()
