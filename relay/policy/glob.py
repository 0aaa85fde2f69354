"""Patterns of the policy language: `*` is any run of characters, `?` any one, all else is itself (AUTHZ-009).

A pattern fits the whole text or not at all. Both sides can be hostile, so nothing here backtracks: a pattern is cut
at its stars, each piece is looked for once, leftmost first, and a piece with `?` is searched bit-parallel (the
shift-and algorithm). Time grows with the length of the text times that of the pattern in 64-bit words.
"""

from dataclasses import dataclass, field


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


def _fits_at(piece: str, text: str, at: int) -> bool:
    """Say whether a piece, which may hold `?`, stands at a place of the text where it has room."""
    if "?" not in piece:
        return text.startswith(piece, at)
    return all(char in ("?", text[at + index]) for index, char in enumerate(piece))


def _find(piece: str, text: str, start: int, end: int) -> int:
    """Return where a piece first stands within text[start:end], or -1."""
    if "?" not in piece:
        return text.find(piece, start, end)
    masks: dict[str, int] = {}
    free = 0
    for index, char in enumerate(piece):
        if char == "?":
            free |= 1 << index
        else:
            masks[char] = masks.get(char, 0) | 1 << index
    last = 1 << (len(piece) - 1)
    state = 0
    for index in range(start, end):
        state = (state << 1 | 1) & (masks.get(text[index], 0) | free)
        if state & last:
            return index - len(piece) + 1
    return -1
