"""Conditions: which requests a statement is about (AUTHZ-007 to AUTHZ-010).

A condition is compiled once, when its policy is read, and asked once a request with the values that the request has
for its key: none, one, or several (recipients, authors). How several values count:

    ForAllValues:   all of them match; true when there are none
    ForAnyValue:    at least one matches; false when there are none
    neither         the stricter of the two, when there are several: an Allow needs all of them to match, for a
                    Deny one is enough

Without a value a positive operator is false, a negated one (StringNotEquals, ...) true, and one with `IfExists` true.
Texts compare with case, except that the domain of an address has none.
"""

import operator
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from relay.mail.address import BadAddress, normal_domain
from relay.policy.glob import GlobSet
from relay.policy.operands import arn_glob, fold, instant, lower_domain, network, number, plain_address

Test = Callable[[str], bool]
"""Whether one value of a request is among those of a condition."""

ADDRESS_KEYS = frozenset(("ses:Recipients", "ses:FromAddress", "ses:FeedbackAddress"))
KEYS = {
    key.lower(): key
    for key in (
        *sorted(ADDRESS_KEYS),
        "ses:FromDisplayName",
        "ses:ApiVersion",
        "aws:CurrentTime",
        "aws:EpochTime",
        "aws:SecureTransport",
        "aws:SourceIp",
        "aws:UserAgent",
        "aws:SourceAccount",
        "aws:SourceArn",
        "aws:SourceOwner",
        "aws:PrincipalOrgID",
    )
}
"""Every condition key (AUTHZ-007) by its lower-case form: keys are compared without case."""


class Quantifier(StrEnum):
    """How several values of a request count."""

    STRICT = ""
    ALL = "ForAllValues"
    ANY = "ForAnyValue"


@dataclass(frozen=True, slots=True)
class BadCondition:
    """What is wrong with a condition: a sentence, and an example of the right form."""

    reason: str
    example: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator and key with its values, compiled; `steps` says what asking it about one value may cost."""

    operator: str
    key: str
    values: tuple[str, ...]
    quantifier: Quantifier
    negated: bool
    if_missing: bool
    steps: int
    _test: Test = field(repr=False, compare=False)

    def holds(self, found: Sequence[str], *, allowing: bool) -> bool:
        """Say whether the condition holds for the values a request has; `allowing` in a statement that allows."""
        if not found:
            return self.if_missing
        matches = map(self._test, found)
        every = allowing if self.quantifier is Quantifier.STRICT else self.quantifier is Quantifier.ALL
        if self.negated:
            return not any(matches) if every else not all(matches)
        return all(matches) if every else any(matches)


@dataclass(frozen=True, slots=True)
class _Operator:
    """What an operator does: how it reads its values, and whether it is turned round."""

    read: Callable[[str, tuple[str, ...]], Test | BadCondition]
    negated: bool = False
    each: bool = True  # each value of the condition is compared, one after the other


def compile_condition(name: str, key: str, values: tuple[str, ...]) -> Condition | BadCondition:
    """Return a condition from its parts as written, ready to be asked, or what is wrong with it."""
    quantifier, rest = _split_quantifier(name)
    base = rest.removesuffix("IfExists")
    known = _OPERATORS.get(base)
    if known is None or (base == "Null" and name != "Null"):
        return BadCondition(*_unknown_operator(name))
    spelled = KEYS.get(key.lower())
    if spelled is None:
        return BadCondition(
            f"There is no such condition key. Known are {', '.join(KEYS.values())}.", "ses:FromAddress"
        )
    if not values:
        return BadCondition("A condition needs at least one value.", '"ses:FromAddress": "marketing@example.com"')
    fault = _fault_of_values(spelled, values)
    if fault is not None:
        return fault
    test = known.read(spelled, values)
    if isinstance(test, BadCondition):
        return test
    if base == "Null":
        wanted = test("")
        return Condition(
            name, spelled, values, quantifier, negated=False, if_missing=wanted, steps=1, _test=lambda _: not wanted
        )
    if_missing = rest != base or (quantifier is Quantifier.ALL or (known.negated and quantifier is Quantifier.STRICT))
    steps = _VALUE_STEPS + sum(map(_steps, values)) if known.each else _VALUE_STEPS
    return Condition(name, spelled, values, quantifier, known.negated, if_missing, steps, test)


_VALUE_STEPS = 10  # reading one value of a request, and comparing it with all plain values at once
_COMPARISON_STEPS = 5


def _steps(value: str) -> int:
    """Return what comparing a value of a request with one of the condition may cost."""
    wildcards = value.count("*") + value.count("?")
    if wildcards == 1 and "*" in (value[0], value[-1]):
        return 1
    return _COMPARISON_STEPS * (1 + wildcards) + (len(value) if "?" in value else len(value) // 2)


def _split_quantifier(name: str) -> tuple[Quantifier, str]:
    prefix, colon, rest = name.partition(":")
    if colon and prefix in (Quantifier.ALL, Quantifier.ANY):
        return Quantifier(prefix), rest
    return Quantifier.STRICT, name


def _unknown_operator(name: str) -> tuple[str, str]:
    """Return reason and example; a name that is only written in other capitals is the example."""
    meant = {one.lower(): one for one in _OPERATORS}.get(name.lower(), "StringLike")
    return "There is no such condition operator; names are written with capitals.", meant


def _fault_of_values(key: str, values: tuple[str, ...]) -> BadCondition | None:
    """Refuse values that could never match, though a reader would think they do."""
    for value in values:
        if not unicodedata.is_normalized("NFC", value):
            return BadCondition("A value is not in Unicode normalization form C (NFC).", "composed characters")
        _, at, domain = value.rpartition("@")
        if key in ADDRESS_KEYS and at and not domain.isascii():
            return BadCondition("The domain of an address is compared in its A-label form.", f"*@{_a_label(domain)}")
    return None


def _a_label(domain: str) -> str:
    normal = normal_domain(domain)
    return "xn--bcher-kva.example" if isinstance(normal, BadAddress) else normal


# --- operators -------------------------------------------------------------------------------------------------


def _equals(key: str, values: tuple[str, ...]) -> Test:
    if key not in ADDRESS_KEYS:
        return frozenset(values).__contains__
    wanted = frozenset(map(plain_address, values))
    return lambda value: plain_address(value) in wanted


def _equals_without_case(key: str, values: tuple[str, ...]) -> Test:
    plain = plain_address if key in ADDRESS_KEYS else str
    wanted = frozenset(fold(plain(value)) for value in values)
    return lambda value: fold(plain(value)) in wanted


def _like_with_case(key: str, values: tuple[str, ...]) -> Test | BadCondition:
    if key not in ADDRESS_KEYS:
        return GlobSet(values).fits
    for value in values:
        if _domain_has_capitals(value):
            return BadCondition(
                "A pattern without @ ends in the domain, which is compared in lower case, so one with capitals there "
                "never matches.",
                value.lower(),
            )
    wanted = GlobSet(map(lower_domain, values)).fits
    return lambda value: wanted(plain_address(value))


def _like_without_case(key: str, values: tuple[str, ...]) -> Test:
    plain = plain_address if key in ADDRESS_KEYS else str
    wanted = GlobSet(map(fold, values)).fits
    return lambda value: wanted(fold(plain(value)))


def _arn_like(_key: str, values: tuple[str, ...]) -> Test | BadCondition:
    patterns = [arn_glob(value) for value in values]
    known = [pattern.fits for pattern in patterns if pattern is not None]
    if len(known) < len(patterns):
        return BadCondition(
            "A value is not an ARN of six parts.", '"arn:aws:cognito-idp:us-east-1:888888888888:userpool/*"'
        )
    return _any_of(known)


def _in_network(_key: str, values: tuple[str, ...]) -> Test | BadCondition:
    networks = [network(value) for value in values]
    known = [one.holds for one in networks if one is not None]
    if len(known) < len(networks):
        return BadCondition("A value is neither an IP address nor a range of them.", '"203.0.113.0/24"')
    return _any_of(known)


def _boolean(_key: str, values: tuple[str, ...]) -> Test | BadCondition:
    wanted = {value.lower() for value in values}
    if len(wanted) != 1 or not wanted <= {"true", "false"}:
        return BadCondition('The value is "true" or "false".', '"true"')
    return lambda value: value.lower() in wanted


def _null(_key: str, values: tuple[str, ...]) -> Test | BadCondition:
    test = _boolean("", values)
    return test if isinstance(test, BadCondition) else lambda _: test("true")


def _compared(
    read: Callable[[str], object], compare: Callable[..., bool], reason: str, example: str
) -> Callable[[str, tuple[str, ...]], Test | BadCondition]:
    """Return the reader of an operator that compares numbers or instants."""

    def reader(_key: str, values: tuple[str, ...]) -> Test | BadCondition:
        wanted = [read(value) for value in values]
        if None in wanted:
            return BadCondition(reason, example)

        def test(value: str) -> bool:
            found = read(value)
            return found is not None and any(compare(found, one) for one in wanted)

        return test

    return reader


def _domain_has_capitals(pattern: str) -> bool:
    """Say whether a pattern of addresses ends in capitals that can only stand for the domain.

    What follows the last wildcard is in the domain: no @ is in it, and a wildcard before it may be the @.
    """
    end = re.split(r"[*?]", pattern)[-1]
    return "@" not in pattern and end.lower() != end


def _any_of(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda value: any(test(value) for test in tests)


_COMPARISONS: dict[str, tuple[Callable[..., bool], bool]] = {
    "Equals": (operator.eq, False),
    "NotEquals": (operator.eq, True),
    "LessThan": (operator.lt, False),
    "LessThanEquals": (operator.le, False),
    "GreaterThan": (operator.gt, False),
    "GreaterThanEquals": (operator.ge, False),
}
_BAD_NUMBER = ("A value is not a decimal number.", '"1630411200"')
_BAD_DATE = (
    "A value is not a date with a time zone, with or without seconds, nor seconds since 1970.",
    '"2021-08-31T12:00Z"',
)

_OPERATORS: dict[str, _Operator] = {
    "StringEquals": _Operator(_equals, each=False),
    "StringNotEquals": _Operator(_equals, negated=True, each=False),
    "StringEqualsIgnoreCase": _Operator(_equals_without_case, each=False),
    "StringNotEqualsIgnoreCase": _Operator(_equals_without_case, negated=True, each=False),
    "StringLike": _Operator(_like_with_case),
    "StringNotLike": _Operator(_like_with_case, negated=True),
    "StringLikeIgnoreCase": _Operator(_like_without_case),
    "StringNotLikeIgnoreCase": _Operator(_like_without_case, negated=True),
    "Bool": _Operator(_boolean),
    "IpAddress": _Operator(_in_network),
    "NotIpAddress": _Operator(_in_network, negated=True),
    "ArnEquals": _Operator(_arn_like),
    "ArnLike": _Operator(_arn_like),
    "ArnNotEquals": _Operator(_arn_like, negated=True),
    "ArnNotLike": _Operator(_arn_like, negated=True),
    "Null": _Operator(_null),
}
for _name, (_compare, _negated) in _COMPARISONS.items():
    _OPERATORS[f"Numeric{_name}"] = _Operator(_compared(number, _compare, *_BAD_NUMBER), _negated)
    _OPERATORS[f"Date{_name}"] = _Operator(_compared(instant, _compare, *_BAD_DATE), _negated)
OPERATORS = tuple(_OPERATORS)
"""Every operator, without `IfExists` and the quantifiers."""
