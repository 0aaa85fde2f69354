"""What is noted beside a record and never published, as the JSON of `relay.model.event`. Pure."""

from collections.abc import Mapping
from functools import lru_cache

import orjson

from relay.model.message import NewEvent
from relay.model.outcome import Outcome

SIMULATED = b'{"simulator":true}'


@lru_cache(maxsize=1024)
def lane_notes(provider: str, pool: str, *, blocked: bool = False, remote: str = "") -> bytes:
    """Return the notes of where mail went: which rules its receiver has, which pool it left from.

    `blocked`: it was refused because of our address, which a block list has. `remote`: the address of the host that
    answered (NOTIF-014).
    """
    said = {"provider": provider, "pool": pool, "blocked": blocked, "remoteMtaIp": remote}
    found = {name: value for name, value in said.items() if value}
    return orjson.dumps(found) if found else b""


def notes_of(outcome: Outcome) -> bytes:
    """Return the notes of an attempt."""
    return lane_notes(outcome.provider, outcome.pool, blocked=bool(outcome.blocklist), remote=outcome.remote_address)


def joined(notes: bytes, more: Mapping[str, object]) -> bytes:
    """Return notes with some more."""
    written = orjson.dumps(more)
    return notes[:-1] + b"," + written[1:] if notes and more else notes or written


def simulated(event: NewEvent) -> NewEvent:
    """Return an event that the mailbox simulator played."""
    return NewEvent(event.event_id, event.kind, event.message_id, event.payload, SIMULATED)
