"""Parameters of Content-Type and Content-Disposition: what any reader may take them for.

Two questions are answered here. `media_type_fault`: is a Content-Type well-formed (RFC 2045 section 5.1), and if not,
what would a parser say (MIME-007)? `read_parameters`: which values can a parameter have, continuations and charsets
of RFC 2231 resolved? Readers differ on what is malformed, so a parameter has several values where they would differ;
a check for safety looks at all of them.

Linear in the length of the value, whatever it holds; no limit on the number of parameters but the header's size.
"""

import re
from urllib.parse import unquote_to_bytes

from relay.mail.words import decode_bytes

GOT_MAX_CHARS = 40

_WORD = r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]"
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_VALID = re.compile(
    rf"\s*+{_WORD}++\s*+/\s*+{_WORD}++\s*+(?:;\s*+(?:{_WORD}++\s*+=\s*+(?:{_QUOTED}\s*+|(?!\")[^;]*+))?+)*+\Z",
    re.DOTALL,
)
# Linear: a quote that is never closed runs to the end, and no search begins at a character that is escaped.
_COMMENT = re.compile(r'("(?:[^"\\]|\\.|\\\Z)*+(?:"|\Z)|\\.)|\((?:[^()\\]|\\.)*+\)', re.DOTALL)
_COMMENTS_NESTED_MAX = 5
_COMMENTED_MAX_CHARS = 4096  # no real field is longer; what has comments beyond this is malformed
# A value that begins with a quote ends at the next one, or at the end; what follows up to the semicolon is kept.
_PARAMETER = re.compile(r';\s*+([^\s=;"]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"?+)?+([^;]*+)', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_TOKEN = re.compile(rf"{_WORD}++|\S")

Parameters = dict[str, list[str]]


def media_type_fault(text: str) -> str:
    """Return what is wrong with a Content-Type value, "" when it is well-formed."""
    if _VALID.match(text):
        return ""
    for _ in range(_COMMENTS_NESTED_MAX if "(" in text and len(text) <= _COMMENTED_MAX_CHARS else 0):
        text = _COMMENT.sub(lambda found: found.group(1) or " ", text)
        if _VALID.match(text):
            return ""
    return _diagnose(text)


def _diagnose(text: str) -> str:
    """Walk a malformed value and say where it goes wrong, in the words MIME parsers use."""
    position = 0
    for expected, pattern in (("MIME type", rf"{_WORD}++"), ("'/'", "/"), ("MIME subtype", rf"{_WORD}++")):
        step = re.compile(rf"\s*+{pattern}").match(text, position)
        if step is None:
            return f"Expected {expected}, got {_got(text, position)}"
        position = step.end()
    while True:
        position = _skip(text, position)
        if position == len(text):
            return "Malformed Content-Type"
        if text[position] != ";":
            return f"Expected ';', got {_got(text, position)}"
        position = _skip(text, position + 1)
        if position == len(text) or text[position] == ";":
            continue
        name = re.compile(rf"{_WORD}++").match(text, position)
        if name is None:
            return f"Expected parameter name, got {_got(text, position)}"
        position = _skip(text, name.end())
        if text[position : position + 1] != "=":
            return f"Expected '=', got {_got(text, position)}"
        position = _skip(text, position + 1)
        value = re.compile(rf'{_QUOTED}|(?!")[^;]*+', re.DOTALL).match(text, position)
        if value is None:
            return "Expected '\"', got end of field"
        position = value.end()


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _got(text: str, position: int) -> str:
    token = _TOKEN.search(text, position)
    if token is None:
        return "end of field"
    return token.group()[:GOT_MAX_CHARS].encode("ascii", "replace").decode("ascii")


def read_parameters(text: str) -> Parameters:
    """Return every value each parameter may have, by lower-case name without the marks of RFC 2231."""
    found: Parameters = {}
    sections: dict[str, list[tuple[int, bool, str]]] = {}
    for name, quoted, rest in _PARAMETER.findall(text):
        base, star, marks = name.lower().partition("*")
        values = _readings(quoted, rest)
        if not star:
            found.setdefault(base, []).extend(values)
            continue
        number = marks.partition("*")[0]
        if marks in ("", "*"):
            sections.setdefault(base, []).append((0, True, values[0]))
        elif number.isascii() and number.isdigit() and len(number) <= 9:  # noqa: PLR2004 - a number that means anything
            sections.setdefault(base, []).append((int(number), marks.endswith("*"), values[0]))
        else:
            found.setdefault(base, []).extend(values)
    for base, pieces in sections.items():
        found.setdefault(base, []).extend(_join(pieces))
    return found


def _readings(quoted: str, rest: str) -> list[str]:
    """Return the values that readers may see: to the closing quote, to the first blank, to the semicolon."""
    rest = rest.strip()
    if not quoted:
        first = rest.partition(" ")[0].partition("\t")[0]
        return [rest] if first == rest else [first, rest]
    inner = quoted[1:-1] if len(quoted) > 1 and quoted.endswith('"') else quoted[1:]
    if "\\" in inner:
        inner = _QUOTED_PAIR.sub(r"\1", inner)
    return [inner] if not rest else [inner, inner + rest.replace('"', "")]


def _join(pieces: list[tuple[int, bool, str]]) -> list[str]:
    """Join the sections of RFC 2231 section 3; a gap ends the value for some readers and not for others."""
    pieces.sort(key=lambda piece: piece[0])
    charset = ""
    data: list[bytes] = []
    gap = 0
    for index, (number, extended, value) in enumerate(pieces):
        if not extended:
            data.append(value.encode("utf-8", "replace"))
        else:
            text = value
            if index == 0 and value.count("'") > 1:
                charset, _, text = value.split("'", 2)
            data.append(unquote_to_bytes(text))
        if not gap and number != index:
            gap = index
    joined = [decode_bytes(b"".join(data), charset)]
    if gap:
        joined.append(decode_bytes(b"".join(data[:gap]), charset))
    return joined
