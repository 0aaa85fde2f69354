"""The text of a message: DATA and BDAT, and what follows its end until the client is answered (RFC 5321, RFC 3030).

Where a text ends say `data` and `chunks`; what is kept of it says `content`. Then the intake
takes the message, and its answer is the client's.
"""

from functools import partial
from typing import Final

from relay.model.refusal import Accepted, Reason, Refusal
from relay.smtp.server import reply
from relay.smtp.server.chunks import ChunkStage, SkipStage, parse_bdat
from relay.smtp.server.content import Received
from relay.smtp.server.data import DataStage
from relay.smtp.server.dialogue import Dialogue
from relay.smtp.server.reply import Reply
from relay.smtp.server.state import State
from relay.smtp.server.transaction import Stage

CHUNK_EXCESS_MAX_BYTES = 64 << 20  # how far over the limit of a message a chunk may be to be consumed and refused
# A text is read to its end to refuse it there (SMTP-018): one that has a gigabyte too much has no end.
TEXT_EXCESS_MAX_BYTES = 1 << 30

_WITHOUT_TRANSACTION: Final = {State.CLEAR: reply.TLS_REQUIRED, State.GREETED: reply.AUTH_REQUIRED}


# --- the commands -------------------------------------------------------------------------------------------------


def on_data(dialogue: Dialogue, argument: bytes) -> None:
    """Expect the text, up to the final dot."""
    if argument.strip(b" "):
        dialogue.say(reply.BAD_ARGUMENT)
    elif dialogue.state is State.MAIL:
        dialogue.say(_no_recipients(dialogue))
    else:
        dialogue.transaction.data_begins()
        dialogue.say(reply.START_INPUT)


def on_bdat(dialogue: Dialogue, argument: bytes) -> None:
    """Expect a chunk: its octets follow whatever the answer will be (RFC 3030 section 2)."""
    policy = dialogue.policy
    if not (policy.chunking and dialogue.client.esmtp):
        dialogue.say(reply.NOT_IMPLEMENTED)
        return
    command = parse_bdat(argument)
    if command is None:
        if dialogue.state is State.CHUNKS:  # nobody knows any more what belongs to the message
            dialogue.reset()
        dialogue.say(reply.BAD_BDAT)
    elif command.size_bytes > policy.message_size_max + CHUNK_EXCESS_MAX_BYTES:
        dialogue.close_with(reply.TOO_LARGE)
    elif dialogue.state not in (State.RCPT, State.CHUNKS):
        dialogue.transaction.stage = SkipStage(command.size_bytes, _out_of_place(dialogue))
    else:
        dialogue.state = State.CHUNKS
        dialogue.transaction.chunk_begins(command)


def _no_recipients(dialogue: Dialogue) -> Reply:
    envelope = dialogue.transaction.envelope
    return reply.NO_RECIPIENTS if envelope is not None and envelope.tried_recipients else reply.BAD_SEQUENCE


def _out_of_place(dialogue: Dialogue) -> Reply:
    """Return the answer to BDAT where there is no transaction with a recipient."""
    if dialogue.state is State.MAIL:
        return _no_recipients(dialogue)
    return _WITHOUT_TRANSACTION.get(dialogue.state, reply.BAD_SEQUENCE)


def on_more_text(dialogue: Dialogue, stage: Stage) -> None:
    """End the session when what arrives has no end; BDAT says beforehand how long a chunk is."""
    if stage.taken_bytes > dialogue.policy.message_size_max + TEXT_EXCESS_MAX_BYTES:
        dialogue.door.refused(Reason.MESSAGE_TOO_LONG.label)
        dialogue.close_with(reply.TOO_LARGE)


# --- the end of the text ------------------------------------------------------------------------------------------


def on_end_of_stage(dialogue: Dialogue, stage: Stage) -> None:
    """Go on after the final dot, or the last octet of a chunk."""
    if isinstance(stage, DataStage):
        _end_of_text(dialogue)
    elif isinstance(stage, ChunkStage):
        _end_of_chunk(dialogue, stage)
    else:
        dialogue.transaction.stage = None
        dialogue.say(stage.answer)


def _end_of_chunk(dialogue: Dialogue, chunks: ChunkStage) -> None:
    gathering = dialogue.transaction.gathering
    assert gathering is not None
    if chunks.last:
        chunks.complete()
        _end_of_text(dialogue)
        return
    dialogue.transaction.stage = None
    if gathering.fault is None:
        dialogue.say(reply.OK)
        return
    fault = gathering.fault
    dialogue.door.refused(fault.reason.label)
    dialogue.reset()
    dialogue.refuse(fault)


def _end_of_text(dialogue: Dialogue) -> None:
    gathering, envelope = dialogue.transaction.gathering, dialogue.transaction.envelope
    assert gathering is not None
    dialogue.waiting = True
    dialogue.messages += 1
    if envelope is not None and envelope.overflow:
        gathering.refuse(Refusal(Reason.TOO_MANY_RECIPIENTS, str(dialogue.policy.recipients_max)))
    gathering.finish(partial(_received, dialogue))


def _received(dialogue: Dialogue, received: Received | Refusal) -> None:
    """Give the message to the intake."""
    if isinstance(received, Refusal):
        dialogue.door.refused(received.reason.label)
        _answered(dialogue, received)
        return
    if dialogue.closing:
        return
    envelope = dialogue.transaction.envelope
    assert envelope is not None
    take = dialogue.intake.receive if envelope.receiving_only else dialogue.intake.submit
    try:
        submission = envelope.submission(received, dialogue.client)
        dialogue.transaction.given = True
        take(submission, partial(_answered, dialogue))
    except Exception as error:  # noqa: BLE001 - any fault of ours is a temporary one to the client (SMTP-028)
        dialogue.door.failed(error)
        if dialogue.waiting:
            _answered(dialogue, Refusal(Reason.TEMPORARY))


def _answered(dialogue: Dialogue, result: Accepted | Refusal) -> None:
    # Also of a message that was taken: the spool has moved its body, a report needs none.
    dialogue.transaction.drop_text()
    dialogue.waiting = dialogue.transaction.given = False
    if dialogue.closing:
        return
    dialogue.reset()
    if isinstance(result, Accepted):
        dialogue.accept(result.message_id)
    else:
        dialogue.refuse(result)
    dialogue.proceed()
