r"""Regular expressions that never backtrack, for texts that a remote server chooses. Pure.

The language is the usual one as far as a finite automaton goes: characters, `.`, classes (`[a-z]`, `[^0-9]`, `\d`,
`\w`, `\s` and their opposites), `(...)`, `|`, `?`, `*`, `+`, `{2,5}`, `^` at the beginning and `$` at the end.
There are no look-arounds, references, lazy forms or word boundaries: `PatternError` says so when a pattern is read.
Upper and lower case are the same, a pattern is looked for anywhere in the text, and of a text the first 1,000
characters count.

All patterns of a set are searched in one pass. The automaton is Glushkov's: a bit for each character of a pattern, so
that what may come next is known by shifting and masking one number. Steps that were made before are remembered,
within bounds, so that a text like an earlier one costs a look-up a character; a text made by an enemy costs a few
operations on numbers a character more, and never anything that grows with the choices made before.
`PATTERN_BITS_MAX` and `TEXT_MAX` are the whole bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

TEXT_MAX: Final = 1000  # characters of a text that are looked at
PATTERN_MAX: Final = 500  # characters of a pattern
PATTERN_BITS_MAX: Final = 600  # characters of a pattern with its repetitions written out
REPEAT_MAX: Final = 100
_EDGES_MAX: Final = 5000  # steps that one set of patterns remembers
_NEST_MAX: Final = 10

_DIGITS = frozenset("0123456789")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_SPACE = frozenset(" \t\r\n\f\v")
_CLASSES: dict[str, tuple[frozenset[str], bool]] = {
    "d": (_DIGITS, False),
    "D": (_DIGITS, True),
    "w": (_WORD, False),
    "W": (_WORD, True),
    "s": (_SPACE, False),
    "S": (_SPACE, True),
}
_SIGNS = frozenset(".^$*+?{}[]\\|()-/:;,#<>=@%&!'\"~` ")


class PatternError(ValueError):
    """What is wrong with a pattern, as the half sentence that follows its place in a file."""


@dataclass(frozen=True, slots=True)
class _Any:
    """One character: one of `chars`, or with `other` none of them."""

    chars: frozenset[str]
    other: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a pattern by its positions (bits): where it may begin and end, and whether it may be empty."""

    first: int
    last: int
    empty: bool


class _Builder:
    """Reads patterns into one automaton."""

    def __init__(self) -> None:
        self.positions: list[_Any] = []
        self.follow: list[int] = []
        self.anchored = 0  # positions that may only come first in the text
        self._text = ""
        self._at = 0
        self._nest = 0
        self._start = 0

    def add(self, pattern: str) -> tuple[_Part, bool]:
        """Read a pattern; return it, and whether it must reach the end of the text."""
        if not pattern or len(pattern) > PATTERN_MAX:
            raise PatternError(f"must have 1 to {PATTERN_MAX} characters")
        at_start, at_end = pattern.startswith("^"), pattern.endswith("$") and not pattern.endswith("\\$")
        self._text = pattern[at_start : len(pattern) - at_end]
        self._at, self._start = 0, len(self.positions)
        part = self._alternatives()
        if self._at < len(self._text):
            raise PatternError(f"has a `)` without its `(` at character {self._at + 1 + at_start}")
        if part.empty:
            raise PatternError("fits every text, because it may be empty")
        if at_start:
            self.anchored |= part.first
        return part, at_end

    def _alternatives(self) -> _Part:
        part = self._sequence()
        while self._peek() == "|":
            self._at += 1
            other = self._sequence()
            part = _Part(part.first | other.first, part.last | other.last, part.empty or other.empty)
        return part

    def _sequence(self) -> _Part:
        if self._peek() in ("", "|", ")"):
            raise PatternError("has an alternative without any character")
        part = self._repeated()
        while self._peek() not in ("", "|", ")"):
            part = self._joined(part, self._repeated())
        return part

    def _joined(self, one: _Part, two: _Part) -> _Part:
        self._connect(one.last, two.first)
        return _Part(
            one.first | (two.first if one.empty else 0),
            two.last | (one.last if two.empty else 0),
            one.empty and two.empty,
        )

    def _connect(self, ends: int, starts: int) -> None:
        while ends:
            bit = ends & -ends
            self.follow[bit.bit_length() - 1] |= starts
            ends ^= bit

    def _repeated(self) -> _Part:
        start = self._at
        part = self._atom()
        least, most = self._count()
        if (least, most) == (1, 1):
            return part
        end = self._at
        if most is None and least <= 1:
            self._connect(part.last, part.first)
            return _Part(part.first, part.last, part.empty or least == 0)
        # Written out: {2,4} is xx(x(x)?)?; each copy is read anew, so that it has positions of its own.
        copies = [part] + [self._copy(start) for _ in range((most or least) - 1)]
        self._at = end
        whole = copies[-1] if least == len(copies) else _Part(copies[-1].first, copies[-1].last, empty=True)
        if most is None:
            self._connect(copies[-1].last, copies[-1].first)
        for index in range(len(copies) - 2, -1, -1):
            whole = self._joined(copies[index], whole)
            if index >= least:
                whole = _Part(whole.first, whole.last, empty=True)
        return whole

    def _copy(self, start: int) -> _Part:
        self._at = start
        return self._atom()

    def _count(self) -> tuple[int, int | None]:
        sign = self._peek()
        if sign not in ("?", "*", "+", "{"):
            return 1, 1
        self._at += 1
        counts: dict[str, tuple[int, int | None]] = {"?": (0, 1), "*": (0, None), "+": (1, None)}
        count = counts[sign] if sign != "{" else self._braces()
        if self._peek() in ("?", "*", "+", "{"):
            raise PatternError("repeats a repetition, or is lazy; write it without the second sign")
        return count

    def _braces(self) -> tuple[int, int | None]:
        end = self._text.find("}", self._at)
        low, comma, high = self._text[self._at : end].partition(",") if end >= 0 else ("", "", "")
        if not low.isdecimal() or (high and not high.isdecimal()):
            raise PatternError("has braces that are no count such as {3} or {0,40}")
        least, most = int(low), (int(high) if high else None if comma else int(low))
        if max(least, most or 0) > REPEAT_MAX or (most is not None and most < max(least, 1)):
            raise PatternError(f"has a count that is not between 1 and {REPEAT_MAX}")
        self._at = end + 1
        return least, most

    def _atom(self) -> _Part:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return self._position(self._class())
        if char == ".":
            return self._position(_Any(frozenset(), other=True))
        if char == "\\":
            return self._position(self._escaped(self._next()))
        if char in "*+?{":
            raise PatternError(f"has a {char} that repeats nothing")
        if char in "^$":
            raise PatternError(f"has a {char} that is neither the first nor the last character; write \\{char}")
        return self._position(_Any(frozenset(char.lower())))

    def _group(self) -> _Part:
        if self._text.startswith("?:", self._at):
            self._at += 2
        elif self._peek() == "?":
            raise PatternError("has a group of a kind that is not supported; write (...) or (?:...)")
        self._nest += 1
        if self._nest > _NEST_MAX:
            raise PatternError(f"has groups more than {_NEST_MAX} deep")
        part = self._alternatives()
        if self._next() != ")":
            raise PatternError("has a `(` without its `)`")
        self._nest -= 1
        return part

    def _class(self) -> _Any:
        other = self._peek() == "^"
        self._at += other
        chars: set[str] = set()
        while True:
            char = self._next()
            if char == "]" and chars:
                return _Any(frozenset(chars), other=other)
            if char == "":
                raise PatternError("has a `[` without its `]`")
            chars |= self._class_item(char)

    def _class_item(self, char: str) -> frozenset[str] | set[str]:
        if char == "\\":
            found = self._escaped(self._next())
            if found.other:
                raise PatternError("has a negated class inside brackets; write [^...]")
            return found.chars
        if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("", "]"):
            self._at += 1
            end = self._next()
            if not (char.isascii() and end.isascii() and char <= end):
                raise PatternError(f"has a range {char}-{end} that has no characters, or is not ASCII")
            return {chr(code).lower() for code in range(ord(char), ord(end) + 1)}
        return {char.lower()}

    def _escaped(self, char: str) -> _Any:
        if char in _CLASSES:
            return _Any(*_CLASSES[char])
        if char in _SIGNS and char:
            return _Any(frozenset(char))
        raise PatternError(f"has \\{char}, which is not supported (\\d \\w \\s and escaped signs are)")

    def _position(self, one: _Any) -> _Part:
        if len(self.positions) - self._start >= PATTERN_BITS_MAX:
            raise PatternError(f"is longer than {PATTERN_BITS_MAX} characters with its repetitions written out")
        bit = 1 << len(self.positions)
        self.positions.append(one)
        self.follow.append(0)
        return _Part(bit, bit, empty=False)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char


def check(pattern: str) -> None:
    """Raise PatternError when a pattern cannot be used."""
    _Builder().add(pattern)


class PatternSet:
    """Patterns that are searched together."""

    __slots__ = (
        "_accept",
        "_begin",
        "_chain",
        "_edges",
        "_first",
        "_jumps",
        "_nodes",
        "_others",
        "_owners",
        "_singles",
    )

    def __init__(self, patterns: Sequence[str]) -> None:
        builder = _Builder()
        self._owners: list[tuple[int, bool]] = []  # where each pattern ends, and whether the text must end there
        self._begin = 0
        for pattern in patterns:
            part, at_end = builder.add(pattern)
            self._begin |= part.first
            self._owners.append((part.last, at_end))
        self._first = self._begin & ~builder.anchored
        self._accept = 0
        for last, _ in self._owners:
            self._accept |= last
        self._singles, self._others = _masks(builder.positions)
        self._chain, self._jumps = _successors(builder.follow)
        self._nodes: dict[int, _Node] = {}
        self._edges = 0

    def search(self, text: str) -> list[int]:
        """Return the numbers of the patterns that stand somewhere in a text, in order."""
        node = self._node(self._begin)
        found = met = 0
        for char in text[:TEXT_MAX].lower():
            step = node.edges.get(char)
            if step is None:
                step = self._step(node, char)
            met, node = step
            found |= met
        return [number for number, (last, at_end) in enumerate(self._owners) if (met if at_end else found) & last]

    def _node(self, state: int) -> "_Node":
        node = self._nodes.get(state)
        if node is None:
            node = self._nodes[state] = _Node(state)
        return node

    def _step(self, node: "_Node", char: str) -> "tuple[int, _Node]":
        """Work out one step: which positions fit the character, and which may come next."""
        met = node.state & self._singles.get(char, self._others)
        after = (met & self._chain) << 1
        for sources, targets in self._jumps:
            if met & sources:
                after |= targets
        self._edges += 1
        if self._edges > _EDGES_MAX:
            self._edges = 0
            self._nodes = {}
        step = (met & self._accept, self._node(after | self._first))
        node.edges[char] = step
        return step


class _Node:
    """A set of positions that may come next, and the steps from it that were worked out."""

    __slots__ = ("edges", "state")

    def __init__(self, state: int) -> None:
        self.state = state
        self.edges: dict[str, tuple[int, _Node]] = {}


def _masks(positions: Sequence[_Any]) -> tuple[dict[str, int], int]:
    """Return which positions each named character can stand at, and which all others can."""
    others = sum(1 << index for index, one in enumerate(positions) if one.other)
    singles: dict[str, int] = {}
    for char in {char for one in positions for char in one.chars}:
        singles[char] = sum(1 << index for index, one in enumerate(positions) if (char in one.chars) is not one.other)
    return singles, others


def _successors(follow: Sequence[int]) -> tuple[int, list[tuple[int, int]]]:
    """Return what follows what as steps to the next position (one shift), and jumps that many positions share."""
    chain, jumps = 0, dict[int, int]()
    for index, after in enumerate(follow):
        chain |= (1 << index) if after >> (index + 1) & 1 else 0
        if rest := after & ~(2 << index):
            jumps[rest] = jumps.get(rest, 0) | 1 << index
    return chain, [(sources, targets) for targets, sources in jumps.items()]
