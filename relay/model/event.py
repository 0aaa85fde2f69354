"""An event as its readers meet it: a row of a shard's log, its JSON objects parsed at most once.

The record is what consumers see (docs/spec/feedback.md section 3). The notes are what the relay knows beside it, for
statistics and for notifications; they are never published. Keys of notes, each left out where it says nothing:
`provider` (of the recipient's site), `pool`, `remoteMtaIp`, `simulator`, `autoReply`, `blocked`; of a bounce `rule`
(what decided), `fault` (`relay.mail.replies.Fault`) and `suppress` (whether the address may be suppressed for it).
"""

from typing import Any

import orjson

from relay.model.message import NewEvent

Json = dict[str, Any]

# What lies between these two has to do with header fields alone (`relay.events.payload`). Neither can stand in a
# string, whose quotes are escaped; before the first are strings and a list of them, and header fields have no objects
# of such a name.
_FIELDS_BEGIN = b',"headersTruncated":'
_FIELDS_END = b',"tags":{'


class LoggedEvent:
    """An event with its number in the log of its shard; several readers share one object."""

    __slots__ = ("_note", "_outline", "_record", "event", "seq", "shard")

    def __init__(self, shard: int, seq: int, event: NewEvent) -> None:
        self.shard = shard
        self.seq = seq
        self.event = event
        self._record: Json | None = None
        self._outline: Json | None = None
        self._note: Json | None = None

    @property
    def event_id(self) -> str:
        """The id, which never changes."""
        return self.event.event_id

    @property
    def kind(self) -> str:
        """The `eventType` of the record."""
        return self.event.kind

    @property
    def message_id(self) -> str:
        """The message it is about."""
        return self.event.message_id

    @property
    def payload(self) -> bytes:
        """The record as it is published, without a newline."""
        return self.event.payload

    @property
    def record(self) -> Json:
        """The record, parsed."""
        if self._record is None:
            self._record = orjson.loads(self.event.payload)
        return self._record

    @property
    def outline(self) -> Json:
        """The record without the message's header fields, which are most of it and rarely asked for."""
        if self._outline is None:
            self._outline = self.record if self._record is not None else _outline(self.event.payload)
        return self._outline

    @property
    def note(self) -> Json:
        """The notes, parsed; empty where there are none."""
        if self._note is None:
            self._note = orjson.loads(self.event.notes) if self.event.notes else {}
        return self._note


def _outline(payload: bytes) -> Json:
    """Return the record of a payload without header fields; all of it where it is not in our own order."""
    begin = payload.find(_FIELDS_BEGIN)
    end = payload.find(_FIELDS_END, begin) if begin > 0 else -1
    try:
        found: Json = orjson.loads(payload[:begin] + payload[end:] if end > 0 else payload)
    except ValueError:
        found = orjson.loads(payload)
    return found
