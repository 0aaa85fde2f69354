"""JSON text of strangers as values: bounded in size and depth, with one meaning.

Refused beyond what is not JSON: names that occur twice in an object (two readers would take different ones), NaN and
Infinity, texts with control characters or halves of surrogate pairs. A number keeps its text.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator

DEPTH_MAX = 12

_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"|([\[{])|([\]}])', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SHOWN_MAX_CHARS = 40


class Number(str):
    """A number as it was written."""

    __slots__ = ()


JsonValue = dict[str, "JsonValue"] | list["JsonValue"] | str | bool | None
"""What a text holds; numbers are `Number`, a kind of `str`."""


class _RefusedError(ValueError):
    """Why a text is refused although it is JSON; never leaves this module."""


def read_json(text: str, size_max_bytes: int) -> dict[str, JsonValue] | str:
    """Return the object that the whole of a text is, or a sentence that says why it is none."""
    if len(text) > size_max_bytes or len(text.encode("utf-8", "surrogatepass")) > size_max_bytes:
        return f"The text is longer than {size_max_bytes} bytes."
    if _depth(text) > DEPTH_MAX:
        return f"The text has more than {DEPTH_MAX} levels of brackets."
    try:
        value: JsonValue = json.loads(
            text, object_pairs_hook=_once, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        return f"The text is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
    except _RefusedError as error:
        return str(error)
    if not isinstance(value, dict):
        return "The text is not a JSON object."
    if any(_CONTROL.search(one) for one in _texts(value)):
        return "A text in it has a control character or half of a surrogate pair."
    return value


def shown(text: str) -> str:
    """Return a stranger's text as it may stand in a message: short, and without control characters."""
    cut = text if len(text) <= _SHOWN_MAX_CHARS else f"{text[:_SHOWN_MAX_CHARS]}..."
    return _CONTROL.sub("?", cut)


def _depth(text: str) -> int:
    """Return how deep brackets nest; quoted ones do not count."""
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        if match.group(1):
            depth += 1
            deepest = max(deepest, depth)
        elif match.group(2):
            depth -= 1
    return deepest


def _once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise _RefusedError(f'The name "{shown(twice)}" occurs twice in one object.')
    return found


def _refuse_constant(_name: str) -> JsonValue:
    raise _RefusedError("NaN and Infinity are not JSON.")


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from _texts(one)
