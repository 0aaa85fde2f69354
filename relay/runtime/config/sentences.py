"""Pydantic's errors as half sentences for an operator, in the product's words."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from relay.runtime.config.faults import Fault
from relay.runtime.config.suggest import nearest, unknown_key
from relay.runtime.config.values import format_duration, shown

_Sentence = Callable[[dict[str, Any], Any], str]


def _choice(context: dict[str, Any], value: Any) -> str:
    expected = str(context.get("expected", ""))
    words = re.findall(r"'([^']*)'", expected) or re.findall(r"\d+", expected)
    meant = nearest(value, words) if isinstance(value, str) else ""
    hint = f"; did you mean `{meant}`?" if meant else ""
    return f"must be one of {', '.join(words)}, not {shown(value)}{hint}"


def _bound(word: str, key: str) -> _Sentence:
    def sentence(context: dict[str, Any], value: Any) -> str:
        limit = context[key]
        return f"must be at {word} {format_duration(limit) if isinstance(limit, float) else limit}" + (
            f", not {shown(value)}" if isinstance(value, (int, str)) else ""
        )

    return sentence


_SENTENCES: dict[str, _Sentence] = {
    "missing": lambda _context, _value: "is missing; it has no default",
    "literal_error": _choice,
    "greater_than_equal": _bound("least", "ge"),
    "less_than_equal": _bound("most", "le"),
    "too_short": lambda context, _value: f"must have at least {context['min_length']} entry",
    "too_long": lambda context, _value: f"must have at most {context['max_length']} entries",
    "string_too_long": lambda context, _value: f"must have at most {context['max_length']} characters",
    "string_pattern_mismatch": lambda _context, value: (
        f"must be letters, digits and the signs . _ - only, not {shown(value)}"
    ),
    "string_type": lambda _context, value: f"must be text, not {shown(value)}; put it in quotes",
    "int_type": lambda _context, value: f"must be a whole number, not {shown(value)}",
    "bool_type": lambda _context, value: f"must be true or false, not {shown(value)}",
    "tuple_type": lambda _context, value: f"must be a list ([a, b] or lines that begin with -), not {shown(value)}",
    "model_type": lambda _context, value: f"must be a group of settings (key: value), not {shown(value)}",
    "value_error": lambda context, _value: str(context["error"]),
}


def faults_of(error: ValidationError, root: type[BaseModel]) -> Iterator[Fault]:
    """Yield the faults, one a setting."""
    items = error.errors(include_url=False)
    for item in items:
        path, kind, context = tuple(item["loc"]), item["type"], item.get("ctx", {})
        if kind == "too_short" and any(
            len(other["loc"]) > len(path) and other["loc"][: len(path)] == path for other in items
        ):
            continue  # pydantic does not count the entries that are at fault themselves
        if kind == "extra_forbidden":
            text = unknown_key(root, path)
        elif kind in _SENTENCES:
            text = _SENTENCES[kind](context, item["input"])
        else:
            text = f"is not usable: {item['msg']}"
        yield Fault(path, text)
