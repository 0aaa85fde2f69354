"""Patterns of the policy language: `*` is any run of characters, `?` any one, all else is itself (AUTHZ-009).

A pattern fits the whole text or not at all. Both sides can be hostile, so nothing here backtracks: a pattern is cut
at its stars, each piece is looked for once, leftmost first, and a piece with `?` is searched at all places at once,
as bits of a number. Time grows with the length of the pattern times that of the text in machine words.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled pattern."""

    pattern: str
    _pieces: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _length_min: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        first, *others = self.pattern.split("*")
        pieces = (first, *(piece for piece in others[:-1] if piece), *others[-1:])
        object.__setattr__(self, "_pieces", pieces)
        object.__setattr__(self, "_length_min", sum(map(len, pieces)))

    def fits(self, text: str) -> bool:
        """Say whether the whole text has the form of the pattern."""
        pieces = self._pieces
        head = pieces[0]
        if len(pieces) == 1:
            return len(head) == len(text) and _fits_at(head, text, 0)
        if len(text) < self._length_min:
            return False
        tail = pieces[-1]
        end = len(text) - len(tail)
        if not _fits_at(head, text, 0) or not _fits_at(tail, text, end):
            return False
        at = len(head)
        for piece in pieces[1:-1]:
            found = _find(piece, text, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True


class GlobSet:
    """Patterns of which one must fit. Plain beginnings and endings, the usual ones, are compared all at once."""

    __slots__ = ("_exact", "_globs", "_heads", "_tails")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact, heads, tails, globs = list[str](), list[str](), list[str](), list[Glob]()
        for pattern in patterns:
            wildcards = pattern.count("*") + pattern.count("?")
            if not wildcards:
                exact.append(pattern)
            elif wildcards == 1 and pattern.endswith("*"):
                heads.append(pattern[:-1])
            elif wildcards == 1 and pattern.startswith("*"):
                tails.append(pattern[1:])
            else:
                globs.append(Glob(pattern))
        self._exact, self._heads, self._tails, self._globs = frozenset(exact), tuple(heads), tuple(tails), globs

    def fits(self, text: str) -> bool:
        """Say whether a pattern fits the whole text."""
        if text in self._exact or text.startswith(self._heads) or text.endswith(self._tails):
            return True
        return any(glob.fits(text) for glob in self._globs)


def _fits_at(piece: str, text: str, at: int) -> bool:
    """Say whether a piece, which may hold `?`, stands at a place of the text where it has room."""
    if "?" not in piece:
        return text.startswith(piece, at)
    return all(char in ("?", text[at + index]) for index, char in enumerate(piece))


def _find(piece: str, text: str, start: int, end: int) -> int:
    """Return where a piece first stands within text[start:end], or -1."""
    if "?" not in piece:
        return text.find(piece, start, end)
    room = end - start - len(piece) + 1
    if room <= 0:
        return -1
    places = _places(text)
    found = ((1 << room) - 1) << start
    for index, char in enumerate(piece):
        if char != "?":
            found &= places.of(char) >> index
            if not found:
                return -1
    return (found & -found).bit_length() - 1


class _Only(dict[int, str]):
    """A table for `str.translate` that makes one character a 1 and all others a 0."""

    def __missing__(self, _key: int) -> str:
        return "0"


class _Places:
    """Where each character stands in a text: bit n for place n, made when first asked for."""

    __slots__ = ("_backwards", "_masks")

    def __init__(self, text: str) -> None:
        self._backwards = text[::-1]
        self._masks: dict[str, int] = {}

    def of(self, char: str) -> int:
        mask = self._masks.get(char)
        if mask is None:
            mask = self._masks[char] = int(self._backwards.translate(_Only({ord(char): "1"})), 2)
        return mask


@lru_cache(maxsize=2)  # the same text is compared with many patterns in a row
def _places(text: str) -> _Places:
    return _Places(text)
