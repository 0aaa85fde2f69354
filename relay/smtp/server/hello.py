"""How a session begins and ends: EHLO, HELO, STARTTLS and QUIT (RFC 5321 section 4.1.1, RFC 3207)."""

from relay.smtp.server import reply
from relay.smtp.server.command import parse_hello
from relay.smtp.server.dialogue import Dialogue
from relay.smtp.server.policy import TlsMode


def on_ehlo(dialogue: Dialogue, argument: bytes) -> None:
    """Begin anew and offer the extensions."""
    if _hello(dialogue, argument, esmtp=True):
        now_ms = dialogue.door.now_ms()
        encrypted = dialogue.client.encrypted
        dialogue.write(dialogue.dialect.ehlo(encrypted=encrypted, named=dialogue.may_name, now_ms=now_ms))


def on_helo(dialogue: Dialogue, argument: bytes) -> None:
    """Begin anew without extensions."""
    if _hello(dialogue, argument, esmtp=False):
        dialogue.write(dialogue.dialect.helo)


def _hello(dialogue: Dialogue, argument: bytes, *, esmtp: bool) -> bool:
    name = parse_hello(argument)
    if name is None:
        dialogue.say(reply.BAD_HELLO)
        return False
    dialogue.client.greets(name, esmtp=esmtp)
    dialogue.reset()
    return True


def on_starttls(dialogue: Dialogue, argument: bytes) -> None:
    """Begin TLS where it is offered; bytes pipelined behind STARTTLS are dropped (SMTP-006)."""
    if argument.strip(b" "):
        dialogue.say(reply.BAD_ARGUMENT)  # RFC 3207 section 4
    elif dialogue.client.encrypted:
        dialogue.say(reply.ALREADY_SECURE)
    elif dialogue.policy.tls is not TlsMode.STARTTLS:
        dialogue.say(reply.NOT_IMPLEMENTED)
    else:
        dialogue.say(reply.READY_FOR_TLS)
        dialogue.drop_input()
        dialogue.starting_tls = True


def on_quit(dialogue: Dialogue, argument: bytes) -> None:
    """End the session."""
    if argument.strip(b" "):
        dialogue.say(reply.BAD_ARGUMENT)
    else:
        dialogue.said_bye = True
        dialogue.close_with(reply.BYE)
