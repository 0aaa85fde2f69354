"""Tags of identities and configuration sets: names and values that mean something to their owner only (IDENT-020)."""

from collections.abc import Mapping

from relay.errors import UsageError

TAGS_MAX = 50
KEY_MAX_CHARACTERS = 128
VALUE_MAX_CHARACTERS = 256


def require_tags(tags: Mapping[str, str]) -> None:
    """Raise UsageError for tags that cannot be kept: too many, a key of no or too many characters, a long value."""
    if len(tags) > TAGS_MAX:
        raise UsageError(f"There are at most {TAGS_MAX} tags, not {len(tags)}.")
    for key, value in tags.items():
        if not 0 < len(key) <= KEY_MAX_CHARACTERS or len(value) > VALUE_MAX_CHARACTERS:
            msg = (
                f"A tag has a key of 1 to {KEY_MAX_CHARACTERS} characters and a value of 0 to {VALUE_MAX_CHARACTERS}"
            )
            raise UsageError(f"{msg}; {key[:40]!r} does not.")
        if not (key + value).isprintable():
            raise UsageError(f"A tag has no control characters; {key[:40]!r} does.")
