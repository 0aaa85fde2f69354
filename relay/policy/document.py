"""Policy texts: read, checked, and turned into `Policy` values, or into faults that say what to write instead.

Three kinds share the language. A policy of an identity says who else may send for it: it has a Principal, the sending
actions only, and the ARN of its own identity as Resource (AUTHZ-001 to 005). A policy of a user says what the user
may do: it has no Principal, any `ses:` action, and `*` or ARNs of identities as Resource (AUTHZ-013). A policy of a
topic says who may do what with it: it has a Principal, `sns:` actions, and the topic's ARN as Resource (TOPIC-002).

Nothing is guessed and nothing ignored: an unknown element, key or operator is a fault, since a Deny that never
matches is worse than one that is refused.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from relay.policy.arn import (
    IDENTITY_EXAMPLE,
    USER_EXAMPLE,
    AccountRoot,
    BadArn,
    IdentityArn,
    TopicArn,
    identity_name,
    parse_identity_arn,
    parse_principal_arn,
    parse_topic_arn,
)
from relay.policy.conditions import BadCondition, Condition, compile_condition
from relay.policy.glob import Glob
from relay.policy.jsontext import JsonValue, Number, read_json, shown
from relay.policy.statements import (
    SEND_ACTIONS,
    Actions,
    Effect,
    IdentityPattern,
    Policy,
    Principals,
    Resources,
    Statement,
)

IDENTITY_POLICY_MAX_BYTES = 4096
USER_POLICY_MAX_BYTES = 6144
TOPIC_POLICY_MAX_BYTES = 30_720
POLICIES_MAX = 20  # of one identity
NAME_MAX_CHARS = 64
FAULTS_MAX = 20
VERSIONS = ("2008-10-17", "2012-10-17")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ACTION = re.compile(r"ses:[a-z0-9*?]{1,128}\Z")
_SEND_NAMES = frozenset(action.lower() for action in SEND_ACTIONS)
_SEND_ALL = "ses:send*"
_TOPIC_ACTION = re.compile(r"sns:[a-z*?]{1,64}\Z")
_PATTERN = re.compile(r"arn:aws:ses:([a-z0-9*?-]{1,63}):([0-9*?]{1,12}):identity/([!-~]{1,320})\Z")
_VARIABLES = "2012-10-17"  # the version in which ${...} is no plain text

_POLICY_ELEMENTS = ("Version", "Id", "Statement")
_ELEMENTS = (
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
)
_STATEMENT_EXAMPLE = (
    '{"Effect": "Allow", "Principal": {"AWS": ["123456789012"]}, "Action": ["ses:SendEmail", "ses:SendRawEmail"], '
    f'"Resource": "{IDENTITY_EXAMPLE}"}}'
)
_PRINCIPAL_EXAMPLE = f'{{"AWS": ["123456789012", "{USER_EXAMPLE}"]}}'
_CONDITION_EXAMPLE = '{"StringLike": {"ses:FromAddress": "marketing*@example.com"}}'


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an element (`Statement[1].Condition.StringLike`), and an example of the right form."""

    element: str
    reason: str
    example: str

    def __str__(self) -> str:
        return f"{self.element}: {self.reason} Example: {self.example}"


@dataclass(frozen=True, slots=True)
class Faults:
    """Everything found wrong with a policy, at most `FAULTS_MAX`; nothing of it may be stored."""

    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


def check_name(name: str) -> Fault | None:
    """Return what is wrong with the name of a policy (AUTHZ-001)."""
    if _NAME.match(name):
        return None
    reason = f'A name is 1 to {NAME_MAX_CHARS} letters and digits of ASCII, "-" and "_".'
    return Fault("PolicyName", reason, "marketing-2021")


def check_room(existing: Collection[str], name: str) -> Fault | None:
    """Return a fault when an identity with the `existing` policies has no room for one called `name`."""
    if name in existing or len(existing) < POLICIES_MAX:
        return None
    reason = f"An identity has at most {POLICIES_MAX} policies; delete one first."
    return Fault("PolicyName", reason, "one policy with several statements")


def parse_identity_policy(name: str, text: str, arn: IdentityArn, services: Collection[str] = ()) -> Policy | Faults:
    """Read a policy to be attached to the identity `arn`; `services` are the service principals this relay knows."""
    return _Reader(arn, frozenset(services)).read(name, text, IDENTITY_POLICY_MAX_BYTES)


def parse_user_policy(name: str, text: str) -> Policy | Faults:
    """Read a policy of a user or an access key."""
    return _Reader(None, frozenset()).read(name, text, USER_POLICY_MAX_BYTES)


def parse_topic_policy(text: str, arn: TopicArn, services: Collection[str] = ()) -> Policy | Faults:
    """Read the policy of the topic `arn`; `services` are the service principals this relay knows."""
    return _Reader(arn, frozenset(services)).read("policy", text, TOPIC_POLICY_MAX_BYTES)


class _Reader:
    """Reads one text and gathers its faults; `owner` is the identity or topic, None for a policy of a user."""

    def __init__(self, owner: IdentityArn | TopicArn | None, services: frozenset[str]) -> None:
        self._owner = owner
        self._services = services
        self._faults: list[Fault] = []
        self._variables = False

    def read(self, name: str, text: str, size_max_bytes: int) -> Policy | Faults:
        """Return the policy, or its faults."""
        bad_name = check_name(name)
        if bad_name is not None:
            self._faults.append(bad_name)
        document = read_json(text, size_max_bytes)
        if isinstance(document, str):
            self._fault("Policy", document, f'{{"Version": "2012-10-17", "Statement": [{_STATEMENT_EXAMPLE}]}}')
            return Faults(tuple(self._faults))
        policy = self._policy(name, document)
        return Faults(tuple(self._faults[:FAULTS_MAX])) if self._faults else policy

    def _fault(self, element: str, reason: str, example: str) -> None:
        self._faults.append(Fault(element, reason, example))

    # --- the document --------------------------------------------------------------------------------------------

    def _policy(self, name: str, document: dict[str, JsonValue]) -> Policy:
        self._unknown("", document, _POLICY_ELEMENTS)
        version = self._text("Version", document.get("Version", ""), "2012-10-17")
        if "Version" in document and version not in VERSIONS:
            self._fault("Version", f"The language has the versions {' and '.join(VERSIONS)}.", '"2012-10-17"')
        self._variables = version == _VARIABLES
        policy_id = self._text("Id", document.get("Id", ""), '"ExamplePolicy"')
        statements = tuple(self._statements(document.get("Statement")))
        sids = [one.sid for one in statements if one.sid]
        if len(set(sids)) != len(sids):
            self._fault("Statement", "Two statements have the same Sid.", '"Sid": "AuthorizeMarketer"')
        return Policy(name, statements, version, policy_id)

    def _statements(self, value: JsonValue) -> Iterator[Statement]:
        if isinstance(value, dict):
            yield self._statement("Statement", value)
        elif isinstance(value, list) and value:
            for index, one in enumerate(value):
                if len(self._faults) >= FAULTS_MAX:
                    return
                element = f"Statement[{index}]"
                if isinstance(one, dict):
                    yield self._statement(element, one)
                else:
                    self._fault(element, "A statement is an object.", _STATEMENT_EXAMPLE)
        else:
            reason = "A policy has at least one statement: an object, or a list of objects."
            self._fault("Statement", reason, f"[{_STATEMENT_EXAMPLE}]")

    def _statement(self, element: str, value: dict[str, JsonValue]) -> Statement:
        self._unknown(f"{element}.", value, _ELEMENTS)
        return Statement(
            effect=self._effect(element, value.get("Effect")),
            actions=self._actions(element, value),
            resources=self._resources(element, value),
            sid=self._text(f"{element}.Sid", value.get("Sid", ""), '"AuthorizeMarketer"'),
            principals=self._principals(element, value),
            conditions=tuple(self._conditions(f"{element}.Condition", value.get("Condition", {}))),
        )

    def _unknown(self, prefix: str, value: dict[str, JsonValue], known: tuple[str, ...]) -> None:
        for name in value:
            if name not in known:
                meant = {one.lower(): one for one in known}.get(name.lower(), known[-1])
                self._fault(
                    f"{prefix}{shown(name)}", f"There is no such element; known are {', '.join(known)}.", meant
                )

    def _text(self, element: str, value: JsonValue, example: str) -> str:
        if isinstance(value, str) and not isinstance(value, Number):
            return value
        self._fault(element, "The value is a text.", example)
        return ""

    def _texts(self, element: str, value: JsonValue, example: str) -> tuple[str, ...]:
        """Return a text or a list of texts; a fault, and nothing, for anything else."""
        values = value if isinstance(value, list) else [value]
        texts = tuple(one for one in values if isinstance(one, str) and not isinstance(one, Number))
        if texts and len(texts) == len(values):
            return texts
        self._fault(element, "The value is a text, or a list of at least one text.", example)
        return ()

    def _effect(self, element: str, value: JsonValue) -> Effect:
        if value in ("Allow", "Deny"):
            return Effect(value)
        self._fault(f"{element}.Effect", "The effect is Allow or Deny.", '"Allow"')
        return Effect.DENY

    # --- who -----------------------------------------------------------------------------------------------------

    def _principals(self, element: str, value: dict[str, JsonValue]) -> Principals | None:
        if "NotPrincipal" in value:
            reason = "NotPrincipal is refused, because it would allow everybody who is not named; name who is meant."
            self._fault(f"{element}.NotPrincipal", reason, f'"Principal": {_PRINCIPAL_EXAMPLE}')
        element = f"{element}.Principal"
        if self._owner is None:
            if "Principal" in value:
                self._fault(element, "A policy of a user is about that user and has no Principal.", "leave it out")
            return None
        found = value.get("Principal")
        if found == "*":
            return Principals(everyone=True)
        if not isinstance(found, dict) or not found:
            reason = 'The principal is "*", or an object that names who is meant by "AWS" or "Service".'
            self._fault(element, reason, _PRINCIPAL_EXAMPLE)
            return Principals()
        return self._named_principals(element, found)

    def _named_principals(self, element: str, value: dict[str, JsonValue]) -> Principals:
        everyone, services = False, frozenset[str]()
        accounts, users = set[str](), set[str]()
        for kind, names in value.items():
            one = f"{element}.{shown(kind)}"
            if kind == "Service":
                services = self._service_names(one, names)
            elif kind != "AWS":
                self._fault(one, 'Principals are named by "AWS" or "Service".', _PRINCIPAL_EXAMPLE)
            else:
                for text in self._texts(one, names, _PRINCIPAL_EXAMPLE):
                    everyone = everyone or text == "*"
                    principal = None if text == "*" else parse_principal_arn(text)
                    if isinstance(principal, BadArn):
                        self._fault(one, principal.text, _PRINCIPAL_EXAMPLE)
                    elif isinstance(principal, AccountRoot):
                        accounts.add(principal.account)
                    elif principal is not None:
                        users.add(str(principal))
        return Principals(everyone, frozenset(accounts), frozenset(users), services)

    def _service_names(self, element: str, value: JsonValue) -> frozenset[str]:
        example = min(self._services, default="cognito-idp.amazonaws.com")
        names = frozenset(self._texts(element, value, f'["{example}"]'))
        if not names <= self._services:
            known = ", ".join(sorted(self._services)) or "none"
            self._fault(element, f"This relay does not know the service; configured are: {known}.", f'["{example}"]')
        return names

    # --- what ----------------------------------------------------------------------------------------------------

    def _one_of(self, element: str, value: dict[str, JsonValue], name: str, example: str) -> tuple[str, bool]:
        """Return which of `Name` and `NotName` a statement has, and whether it is the negated one."""
        negated = f"Not{name}"
        if name in value and negated in value:
            self._fault(f"{element}.{negated}", f"A statement has {name} or {negated}, not both.", example)
        if name not in value and negated not in value:
            self._fault(f"{element}.{name}", "The element is missing.", example)
        return (negated, True) if name not in value and negated in value else (name, False)

    def _actions(self, element: str, value: dict[str, JsonValue]) -> Actions:
        example = '"sns:Publish"' if isinstance(self._owner, TopicArn) else '["ses:SendEmail", "ses:SendRawEmail"]'
        name, negated = self._one_of(element, value, "Action", example)
        names, globs = set[str](), list[Glob]()
        texts = self._texts(f"{element}.{name}", value[name], example) if name in value else ()
        for text in texts:
            lowered = text.lower() if text.isascii() else ""
            fault = self._action_fault(lowered)
            if fault:
                self._fault(f"{element}.{name}", fault, example)
            elif "*" in lowered or "?" in lowered:
                globs.append(Glob(lowered))
            else:
                names.add(lowered)
        return Actions(frozenset(names), tuple(globs), negated)

    def _action_fault(self, lowered: str) -> str:
        if self._owner is None:
            known = lowered == "*" or _ACTION.match(lowered)
            return (
                ""
                if known
                else 'An action is "ses:" and the name of an API operation, with "*" and "?" as wildcards.'
            )
        if isinstance(self._owner, TopicArn):
            known = lowered == "*" or _TOPIC_ACTION.match(lowered)
            return "" if known else 'An action of a topic is "sns:" and the name of an operation.'
        if lowered in _SEND_NAMES or lowered == _SEND_ALL:
            return ""
        return f"A policy of an identity allows sending only: {', '.join(SEND_ACTIONS)} or ses:Send*."

    def _resources(self, element: str, value: dict[str, JsonValue]) -> Resources | None:
        example = f'"{self._owner or IDENTITY_EXAMPLE}"'
        name, negated = self._one_of(element, value, "Resource", example)
        texts = self._texts(f"{element}.{name}", value[name], example) if name in value else ()
        element = f"{element}.{name}"
        if self._owner is None:
            return self._named_resources(element, texts, negated=negated)
        what, parse = (
            ("topic", parse_topic_arn) if isinstance(self._owner, TopicArn) else ("identity", parse_identity_arn)
        )
        if negated:
            reason = f"NotResource is refused: a policy of an identity or a topic is about that {what}."
            self._fault(element, reason, f'"Resource": {example}')
        elif texts and [parse(text) for text in texts] != [self._owner]:
            reason = f"The resource is one, the ARN of the {what} that the policy is attached to."
            self._fault(element, reason, example)
        return None

    def _named_resources(self, element: str, texts: tuple[str, ...], *, negated: bool) -> Resources:
        patterns: list[IdentityPattern] = []
        for text in texts:
            if text == "*":
                continue
            pattern = self._pattern(element, text)
            if pattern is not None:
                patterns.append(pattern)
        return Resources("*" in texts, patterns=tuple(patterns), negated=negated)

    def _pattern(self, element: str, text: str) -> IdentityPattern | None:
        """Return the pattern of an identity ARN; its parts may have wildcards."""
        self._no_variable(element, text)
        match = _PATTERN.match(text)
        if match is None:
            reason = 'A resource is "*" or the ARN of an identity; region, account and name may have "*" and "?".'
            self._fault(element, reason, f'"{IDENTITY_EXAMPLE}"')
            return None
        region, account, name = match.groups()
        if "*" not in name and "?" not in name:
            canonical = identity_name(name)
            if canonical is None:
                reason = "The name in the ARN is neither a domain nor an e-mail address."
                self._fault(element, reason, f'"{IDENTITY_EXAMPLE}"')
                return None
            name = canonical
        elif (domain := name.rpartition("@")[2]) != domain.lower():
            # Whether "*Example.com" means a domain cannot be known, and as it stands it would never match one.
            self._fault(element, "In a name with wildcards the domain is in lower case.", f'"{IDENTITY_EXAMPLE}"')
        return IdentityPattern(Glob(region), Glob(account), Glob(name))

    # --- when ----------------------------------------------------------------------------------------------------

    def _conditions(self, element: str, value: JsonValue) -> Iterator[Condition]:
        if not isinstance(value, dict):
            self._fault(element, "The conditions are an object of operators.", _CONDITION_EXAMPLE)
            return
        for name, keys in value.items():
            one = f"{element}.{shown(name)}"
            if not isinstance(keys, dict) or not keys:
                self._fault(one, "An operator has an object of condition keys and values.", _CONDITION_EXAMPLE)
                continue
            for key, found in keys.items():
                condition = self._condition(one, name, key, found)
                if condition is not None:
                    yield condition

    def _condition(self, element: str, name: str, key: str, value: JsonValue) -> Condition | None:
        values = value if isinstance(value, list) else [value]
        texts = [str(one).lower() if isinstance(one, bool) else one for one in values]
        known = tuple(str(text) for text in texts if isinstance(text, str))
        if len(known) != len(texts):
            self._fault(element, "The values of a condition are texts, numbers or booleans.", _CONDITION_EXAMPLE)
            return None
        for text in known:
            self._no_variable(element, text)
        condition = compile_condition(name, key, known)
        if isinstance(condition, BadCondition):
            self._fault(element, f"{shown(key)}: {condition.reason}", condition.example)
            return None
        return condition

    def _no_variable(self, element: str, text: str) -> None:
        if self._variables and "${" in text:
            self._fault(element, "Policy variables (${...}) are not available; write the value itself.", '"John"')
