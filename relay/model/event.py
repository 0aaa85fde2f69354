"""An event as its readers meet it: a row of a shard's log, its two JSON objects parsed at most once.

The record is what consumers see (docs/spec/feedback.md section 3). The notes are what the relay knows beside it, for
statistics and for notifications; they are never published. Keys of notes, each left out where it says nothing:
`provider` (of the recipient's site), `pool`, `remoteMtaIp`, `simulator`, `autoReply`, `blocked`; of a bounce `rule`
(what decided), `fault` (`relay.mail.replies.Fault`) and `suppress` (whether the address may be suppressed for it).
"""

from typing import Any

import orjson

from relay.model.message import NewEvent

Json = dict[str, Any]


class LoggedEvent:
    """An event with its number in the log of its shard; several readers share one object."""

    __slots__ = ("_note", "_record", "event", "seq", "shard")

    def __init__(self, shard: int, seq: int, event: NewEvent) -> None:
        self.shard = shard
        self.seq = seq
        self.event = event
        self._record: Json | None = None
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
    def note(self) -> Json:
        """The notes, parsed; empty where there are none."""
        if self._note is None:
            self._note = orjson.loads(self.event.notes) if self.event.notes else {}
        return self._note
