"""What is decided about DKIM keys: which one is next, what becomes of old ones, which changes are refused."""

from collections.abc import Collection, Sequence
from enum import StrEnum

from relay.model.dkim import PUBLISHED_MS, DkimKey, DkimSettings, ExpectedKey, KeyOrigin, KeyState

EASY_KEYS = 3  # DKIM-001
RSA_2048_BIT = "RSA_2048_BIT"
RSA_1024_BIT = "RSA_1024_BIT"
DAY_MS = 86_400_000


class Retired(StrEnum):
    """What becomes of a retired key."""

    KEEP = "keep"
    STAND_BY = "stand by"
    DELETE = "delete"


def expected(domain: str, keys: Sequence[DkimKey]) -> tuple[ExpectedKey, ...]:
    """Return what DNS must say about a domain's keys, retired ones left out.

    RSA keys that wait to be found decide; where none waits, those in use do (DKIM-001, 008, 010).
    """
    deciding = {KeyState.PENDING} if pending_set(keys) else {KeyState.ACTIVE, KeyState.STANDBY}
    return tuple(
        ExpectedKey(key.name(domain), key.public_txt, key.selector, key.state, key.rsa and key.state in deciding)
        for key in keys
        if key.state is not KeyState.RETIRED
    )


def pending_set(keys: Sequence[DkimKey]) -> list[DkimKey]:
    """Return the RSA keys that take over together when they are found."""
    return [key for key in keys if key.rsa and key.state is KeyState.PENDING]


def activation(keys: Sequence[DkimKey], found: Collection[str] | None) -> dict[str, KeyState]:
    """Return the new states, by selector, after the records of `found` selectors were found (None: of all keys).

    The pending RSA keys take over when all of them are there, the first one active; those in use retire. An Ed25519
    key becomes active by itself, but signs only beside an RSA key.
    """
    there = {key.selector for key in keys} if found is None else set(found)
    moves: dict[str, KeyState] = {}
    waiting = pending_set(keys)
    if waiting and all(key.selector in there for key in waiting):
        moves = {key.selector: KeyState.RETIRED for key in keys if key.rsa and in_use(key)}
        moves |= {key.selector: KeyState.STANDBY for key in waiting}
        moves[waiting[0].selector] = KeyState.ACTIVE
    if KeyState.ACTIVE in moves.values() or any(key.rsa and key.state is KeyState.ACTIVE for key in keys):
        moves |= {
            key.selector: KeyState.ACTIVE
            for key in keys
            if not key.rsa and key.state is KeyState.PENDING and key.selector in there
        }
    return moves


def loss(keys: Sequence[DkimKey]) -> dict[str, KeyState]:
    """Return the new states when the check of a domain has failed: nothing signs any more (DKIM-011).

    The keys wait to be found again. While others are waited for it is those that were not found, and the ones that
    sign go on as long as their own records are there (DKIM-010).
    """
    if pending_set(keys):
        return {}
    return {key.selector: KeyState.PENDING for key in keys if in_use(key)}


def in_use(key: DkimKey) -> bool:
    """Say whether a key is part of what was verified."""
    return key.state in {KeyState.ACTIVE, KeyState.STANDBY}


def successors(keys: Sequence[DkimKey]) -> list[DkimKey]:
    """Return the keys that may sign next, the one that rested longest first (DKIM-005)."""
    standing = [key for key in keys if key.rsa and key.state is KeyState.STANDBY]
    return sorted(standing, key=lambda key: (max(key.retired_ms, key.created_ms), key.retired_ms, key.selector))


def after_retirement(key: DkimKey, keys: Sequence[DkimKey], origin: KeyOrigin, now_ms: int) -> Retired:
    """Return what becomes of a retired key of a domain whose keys have `origin` now.

    An Easy DKIM key takes its turn again, or is kept for the way back while a key of the owner's signs.
    """
    if now_ms < key.retired_ms + PUBLISHED_MS:
        return Retired.KEEP
    if not key.rsa or key.origin is KeyOrigin.EXTERNAL:
        return Retired.DELETE
    if origin is KeyOrigin.EXTERNAL:
        return Retired.KEEP
    used = sum(1 for other in keys if other.rsa and other.origin is origin and other.state is not KeyState.RETIRED)
    return Retired.STAND_BY if used < EASY_KEYS else Retired.DELETE


def easy_set(keys: Sequence[DkimKey]) -> list[DkimKey]:
    """Return the three keys of Easy DKIM: those that wait to take over, else those in use and what rests of them."""
    waiting = pending_set(keys)
    if waiting:
        return waiting
    easy = [key for key in keys if key.rsa and key.origin is KeyOrigin.AWS_SES]
    newest = sorted(easy, key=lambda key: (not in_use(key), -key.retired_ms))[:EASY_KEYS]
    return [key for key in easy if key in newest]


def refuse_length(settings: DkimSettings, wanted: str, now_ms: int) -> str:
    """Return why a key length cannot be set, in one sentence that begins like the hosted service's, or "".

    DKIM-004; short keys are no longer made, though they may still be imported (decision 7, RFC 8301 section 3.2).
    """
    invalid = "The input you provided is invalid: "
    if wanted not in {RSA_2048_BIT, RSA_1024_BIT}:
        return f"{invalid}a key length is {RSA_2048_BIT}, not {wanted[:40]!r}."
    if wanted == settings.next_key_length:
        return f"{invalid}the signing key length is {wanted} already."
    if wanted == RSA_1024_BIT:
        return f"{invalid}{RSA_1024_BIT} keys are no longer made; use {RSA_2048_BIT}, or import a key of your own."
    if now_ms < settings.length_changed_ms + DAY_MS:
        return f"{invalid}the signing key length was changed less than 24 hours ago."
    return ""


def publishes(texts: Sequence[str], public_txt: str) -> bool:
    """Say whether the TXT records of a name make a key known, and no other one (RFC 6376 section 3.6.1).

    Blanks and the order of tags do not matter; a record without `p=` is none of DKIM's. Two keys at one name are
    as good as none: a verifier may take either.
    """
    wanted = _tags(public_txt)
    found = [tags for tags in (_tags(text) for text in texts) if "p" in tags]
    return bool(found) and all(_same(tags, wanted) for tags in found)


def _tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip(): "".join(value.split()) for name, _, value in pairs}


def _same(tags: dict[str, str], wanted: dict[str, str]) -> bool:
    return (
        tags["p"] == wanted["p"]
        and tags.get("k", "rsa") == wanted.get("k", "rsa")
        and tags.get("v", "DKIM1") == "DKIM1"
        and _lists(tags, "h", "sha256")
        and (_lists(tags, "s", "email") or _lists(tags, "s", "*"))
    )


def _lists(tags: dict[str, str], name: str, value: str) -> bool:
    """Say whether a tag is absent or names a value in its list."""
    return name not in tags or value in tags[name].split(":")
