"""Filter policies of subscriptions: which notifications one gets (TOPIC-144).

A policy is a JSON object: each name has a list of conditions, of which one must hold, and all names must. `$or` has
a list of objects, of which one must hold. Conditions:

    "text", 5, true, null                       the value is this one (true and null in bodies only)
    {"prefix": "x"}, {"suffix": "x"}            the text begins or ends so
    {"equals-ignore-case": "x"}                 the text is this one in some letter case
    {"anything-but": ...}                       none of these: a value, a list, a prefix or a suffix
    {"numeric": [">=", 0, "<", 100]}            the number lies there
    {"cidr": "10.0.0.0/24"}                     the address lies there
    {"exists": true}                            there is such a name, or is not

Looked at are the attributes of a message, or its text when that is a JSON object; there names may nest, and of an
array one element is enough. What matching costs is bounded by the size of a policy and of a message: every condition
is asked about every value at most once, and nothing backtracks.
"""

import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from relay.errors import RequestRefusedError
from relay.model.topic import Attribute, FilterScope
from relay.policy.jsontext import JsonValue, Number, read_json, shown

TEXT_MAX_BYTES: Final = 262_144
NAMES_MAX: Final = 5  # at the top
LEVELS_MAX: Final = 5
COMBINATIONS_MAX: Final = 150
CONDITIONS_MAX: Final = 1000
NUMBER_MAX: Final = Decimal(10) ** 9
BODY_LEVELS_MAX: Final = 64

_OR: Final = "$or"
_COMPARE: Final[Mapping[str, Callable[[Decimal, Decimal], bool]]] = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}

Value = str | Decimal | bool | None
Test = Callable[[Value], bool]
Found = Mapping[str, Sequence[Value]]
"""The values under each name; nested names are joined by a NUL, which no name has."""


@dataclass(frozen=True, slots=True)
class _Name:
    """The conditions of one name: one of `tests` must hold for one of its values, or `exists` as it is."""

    name: str
    tests: tuple[Test, ...]
    exists: tuple[bool, ...]

    def holds(self, found: Found) -> bool:
        values = found.get(self.name)
        if (values is not None) in self.exists:
            return True
        return any(test(value) for value in values or () for test in self.tests)


@dataclass(frozen=True, slots=True)
class _All:
    """All of these must hold."""

    parts: tuple["_Part", ...]

    def holds(self, found: Found) -> bool:
        return all(part.holds(found) for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Any:
    """One of these must hold."""

    parts: tuple["_Part", ...]

    def holds(self, found: Found) -> bool:
        return any(part.holds(found) for part in self.parts)


_Part = _Name | _All | _Any


@dataclass(frozen=True, slots=True)
class FilterPolicy:
    """A policy that was read without faults."""

    scope: FilterScope
    _root: _All

    def takes(self, message: "Filtered") -> bool:
        """Say whether a subscription with this policy gets a message."""
        found = message.of_body() if self.scope is FilterScope.BODY else message.of_attributes()
        return found is not None and self._root.holds(found)


class Filtered:
    """A message as filter policies see it: read once, when the first policy asks."""

    __slots__ = ("_attributes", "_body", "_body_read", "_of_attributes", "_of_body")

    def __init__(self, body: str, attributes: Mapping[str, Attribute]) -> None:
        self._body = body
        self._attributes = attributes
        self._of_attributes: Found | None = None
        self._of_body: Found | None = None
        self._body_read = False

    def of_attributes(self) -> Found:
        """Return the values of the attributes; binary ones match nothing."""
        if self._of_attributes is None:
            self._of_attributes = {name: _values(one) for name, one in self._attributes.items()}
        return self._of_attributes

    def of_body(self) -> Found | None:
        """Return the values of a text that is a JSON object, None for any other."""
        if not self._body_read:
            self._body_read = True
            self._of_body = _values_of_body(self._body)
        return self._of_body


@lru_cache(maxsize=1024)
def filter_of(text: str, scope: FilterScope) -> FilterPolicy:
    """Read the text of a policy. Raise RequestRefusedError `InvalidParameter` that says what is wrong with it."""
    value = read_json(text, TEXT_MAX_BYTES)
    if isinstance(value, str):
        raise _refused(value)
    if not value:
        raise _refused("It names nothing; remove the policy instead.")
    return FilterPolicy(scope, _Reader(scope).read(value))


def _refused(reason: str) -> RequestRefusedError:
    return RequestRefusedError("InvalidParameter", f"Invalid parameter: FilterPolicy: {reason}")


# --- what a message holds ------------------------------------------------------------------------------------------


def _values(one: Attribute) -> Sequence[Value]:
    if one.type.startswith("Binary"):
        return ()
    if one.type.startswith("Number"):
        number = _decimal(one.value)
        return (one.value,) if number is None else (number,)
    if one.type == "String.Array":
        try:
            found = json.loads(one.value, parse_int=Decimal, parse_float=Decimal)
        except (ValueError, RecursionError):
            return (one.value,)
        return (
            [_scalar(value) for value in found if not isinstance(value, (list, dict))]
            if isinstance(found, list)
            else (one.value,)
        )
    return (one.value,)


def _values_of_body(text: str) -> Found | None:
    try:
        value = json.loads(text, parse_int=Decimal, parse_float=Decimal)
    except (ValueError, RecursionError, InvalidOperation):
        return None
    if not isinstance(value, dict):
        return None
    found: dict[str, list[Value]] = {}
    waiting: list[tuple[str, Any, int]] = [(name, one, 1) for name, one in value.items()]
    while waiting:
        path, one, level = waiting.pop()
        if isinstance(one, dict):
            if level < BODY_LEVELS_MAX:
                waiting += [(f"{path}\0{name}", inner, level + 1) for name, inner in one.items()]
        elif isinstance(one, list):
            found.setdefault(path, [])
            if level < BODY_LEVELS_MAX:
                waiting += [(path, inner, level + 1) for inner in one]
        else:
            found.setdefault(path, []).append(_scalar(one))
    return found


def _scalar(value: Any) -> Value:
    return value if isinstance(value, (str, bool, Decimal)) or value is None else str(value)


def _decimal(text: str) -> Decimal | None:
    """Return a finite number of sensible length."""
    if len(text) > 40:  # noqa: PLR2004 - more digits than any number that can be asked for
        return None
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


# --- reading a policy ----------------------------------------------------------------------------------------------


class _Reader:
    """Reads one policy; what is wrong with it is raised at once."""

    def __init__(self, scope: FilterScope) -> None:
        self._nests = scope is FilterScope.BODY
        self._conditions = 0

    def read(self, value: dict[str, JsonValue]) -> _All:
        if len(value) > NAMES_MAX:
            raise _refused(f"It has more than {NAMES_MAX} names at its top.")
        root = self._object(value, "", 1)
        if _combinations(root) > COMBINATIONS_MAX:
            raise _refused(f"Its conditions have more than {COMBINATIONS_MAX} combinations.")
        return root

    def _object(self, value: dict[str, JsonValue], prefix: str, level: int) -> _All:
        if level > LEVELS_MAX:
            raise _refused(f"It nests deeper than {LEVELS_MAX} levels.")
        parts: list[_Part] = []
        for name, inner in value.items():
            path = f"{prefix}{name}"
            if name == _OR and isinstance(inner, list) and inner and all(isinstance(one, dict) for one in inner):
                parts.append(self._or(inner, prefix, level))
            elif isinstance(inner, list):
                parts.append(self._name(path, inner))
            elif isinstance(inner, dict) and self._nests and inner:
                parts.append(self._object(inner, f"{path}\0", level + 1))
            else:
                raise _refused(f'"{shown(name)}" needs a list of conditions.')
        return _All(tuple(parts))

    def _or(self, alternatives: list[JsonValue], prefix: str, level: int) -> _Any:
        parts = [self._object(one, prefix, level + 1) for one in alternatives if isinstance(one, dict)]
        if any(not part.parts for part in parts):
            raise _refused("$or has an empty alternative.")
        return _Any(tuple(parts))

    def _name(self, path: str, conditions: list[JsonValue]) -> _Name:
        if not conditions:
            raise _refused(f'"{shown(path)}" has an empty list of conditions.')
        self._conditions += len(conditions)
        if self._conditions > CONDITIONS_MAX:
            raise _refused(f"It has more than {CONDITIONS_MAX} conditions.")
        tests: list[Test] = []
        exists: list[bool] = []
        for one in conditions:
            if isinstance(one, dict) and list(one) == ["exists"]:
                if not isinstance(one["exists"], bool):
                    raise _refused('"exists" is true or false.')
                exists.append(one["exists"])
            else:
                tests.append(self._test(one))
        return _Name(path, tuple(tests), tuple(exists))

    def _test(self, condition: JsonValue) -> Test:
        if not isinstance(condition, dict):
            return self._is(condition)
        if len(condition) != 1:
            raise _refused("A condition has one operator.")
        ((operator, operand),) = condition.items()
        reader = _OPERATORS.get(operator)
        if reader is None:
            raise _refused(f'There is no operator "{shown(operator)}"; known are {", ".join(_OPERATORS)}, exists.')
        return reader(operand)

    def _is(self, value: JsonValue) -> Test:
        wanted = _value(value)
        if not self._nests and (wanted is None or isinstance(wanted, bool)):
            raise _refused("true, false and null can be asked of a message body only.")
        return lambda found: _same(found, wanted)


def _combinations(part: _Part) -> int:
    if isinstance(part, _Name):
        return len(part.tests) + len(part.exists)
    counts = [_combinations(one) for one in part.parts]
    if isinstance(part, _Any):
        return sum(counts)
    product = 1
    for count in counts:
        product *= count
    return product


def _value(value: JsonValue) -> Value:
    if isinstance(value, Number):
        return _number(value)
    if isinstance(value, (str, bool)) or value is None:
        return value
    raise _refused("A value is a text or a number.")


def _number(value: JsonValue) -> Decimal:
    number = _decimal(value) if isinstance(value, Number) else None
    if number is None or abs(number) > NUMBER_MAX:
        raise _refused("A number lies between -1000000000 and 1000000000.")
    return number


def _text(value: JsonValue, operator: str) -> str:
    if not isinstance(value, str) or isinstance(value, Number) or not value:
        raise _refused(f'"{operator}" needs a text.')
    return value


def _same(found: Value, wanted: Value) -> bool:
    """Compare without taking true for 1 or "5" for 5."""
    return type(found) is type(wanted) and found == wanted


def _prefix(operand: JsonValue) -> Test:
    text = _text(operand, "prefix")
    return lambda found: isinstance(found, str) and found.startswith(text)


def _suffix(operand: JsonValue) -> Test:
    text = _text(operand, "suffix")
    return lambda found: isinstance(found, str) and found.endswith(text)


def _ignore_case(operand: JsonValue) -> Test:
    text = _text(operand, "equals-ignore-case").casefold()
    return lambda found: isinstance(found, str) and found.casefold() == text


def _anything_but(operand: JsonValue) -> Test:
    if isinstance(operand, dict):
        if len(operand) != 1 or not operand.keys() <= {"prefix", "suffix"}:
            raise _refused('"anything-but" knows the operators prefix and suffix.')
        ((operator, inner),) = operand.items()
        test = _OPERATORS[operator](inner)
        return lambda found: not test(found)
    values = [_value(one) for one in operand] if isinstance(operand, list) else [_value(operand)]
    if not values:
        raise _refused('"anything-but" has an empty list.')
    return lambda found: not any(_same(found, value) for value in values)


def _numeric(operand: JsonValue) -> Test:
    if not isinstance(operand, list) or len(operand) not in {2, 4}:
        raise _refused('"numeric" needs a list such as [">=", 0, "<", 100].')
    bounds = []
    for sign, number in zip(operand[::2], operand[1::2], strict=True):
        if not isinstance(sign, str) or sign not in _COMPARE or (sign == "=" and len(operand) > 2):  # noqa: PLR2004
            raise _refused('"numeric" knows =, <, <=, > and >=, and = alone.')
        bounds.append((_COMPARE[sign], _number(number)))
    return lambda found: isinstance(found, Decimal) and all(compare(found, bound) for compare, bound in bounds)


def _cidr(operand: JsonValue) -> Test:
    try:
        network = ipaddress.ip_network(_text(operand, "cidr"), strict=False)
    except ValueError:
        raise _refused('"cidr" needs a range such as 10.0.0.0/24.') from None

    def holds(found: Value) -> bool:
        try:
            return isinstance(found, str) and ipaddress.ip_address(found) in network
        except ValueError:
            return False

    return holds


_OPERATORS: Final[dict[str, Callable[[JsonValue], Test]]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _ignore_case,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
}
