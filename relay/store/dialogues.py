"""Dialogues as the spool keeps them: JSON, compressed, bounded; of a delivery the first and the newest are kept."""

import zlib
from dataclasses import replace
from typing import Any, Final

import orjson

from relay.model.dialogue import Dialogue, Try

TRIES_MAX: Final = 8
OTHERS_MAX_LINES: Final = 40  # of tries that did not decide
SKIPPED_MAX: Final = 40
RECORD_MAX_BYTES: Final = 256 * 1024
LEVEL: Final = 1


def packed(dialogue: Dialogue) -> bytes:
    """Return a dialogue as a row keeps it."""
    *others, decided = dialogue.tries or (None,)
    kept = [_short(one) for one in others[-(TRIES_MAX - 1) :] if one is not None]
    kept += [decided] if decided is not None else []
    bounded = Dialogue(tuple(kept), dialogue.skipped[:SKIPPED_MAX])
    return zlib.compress(orjson.dumps(bounded), LEVEL)


def unpacked(record: bytes) -> dict[str, Any] | None:
    """Return a dialogue as its names and values, None for a damaged one."""
    try:
        found = orjson.loads(zlib.decompressobj().decompress(record, RECORD_MAX_BYTES))
    except (zlib.error, ValueError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def _short(one: Try) -> Try:
    if len(one.lines) <= OTHERS_MAX_LINES:
        return one
    half = OTHERS_MAX_LINES // 2
    return replace(one, lines=(*one.lines[:half], *one.lines[-half:]))
