"""A policy text from its parts, as a form or a command line gives them (AUTHZ-023)."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from relay.policy.arn import IdentityArn
from relay.policy.document import Faults, parse_identity_policy
from relay.policy.statements import SEND_ACTIONS, Effect

VERSION = "2012-10-17"
_EVERYONE = "*"


@dataclass(frozen=True, slots=True)
class StatementParts:
    """One statement to be written.

    `principals` are account ids, ARNs of users or accounts, names of services, or `*`; `actions` may leave out
    `ses:`; `conditions` are (operator, key, value): those of one operator and key are alternatives.
    """

    principals: Sequence[str]
    effect: str = Effect.ALLOW
    actions: Sequence[str] = SEND_ACTIONS
    conditions: Sequence[tuple[str, str, str]] = ()
    sid: str = ""


def generate(
    name: str,
    arn: IdentityArn,
    statements: Sequence[StatementParts],
    services: Collection[str] = (),
    *,
    existing: str = "",
) -> str | Faults:
    """Return the text of a policy called `name` for the identity `arn`, or what is wrong with its parts.

    With an `existing` text the statements are added to it, and all else of it is kept.
    """
    document: dict[str, object] = {"Version": VERSION, "Id": name, "Statement": []}
    if existing:
        before = parse_identity_policy(name, existing, arn, services)
        if isinstance(before, Faults):
            return before
        document = json.loads(existing)
    kept = document["Statement"]
    document["Statement"] = [
        *(kept if isinstance(kept, list) else [kept]),
        *(_statement(arn, parts) for parts in statements),
    ]
    text = json.dumps(document, indent=2, ensure_ascii=False)
    policy = parse_identity_policy(name, text, arn, services)
    return policy if isinstance(policy, Faults) else text


def _statement(arn: IdentityArn, parts: StatementParts) -> dict[str, object]:
    statement: dict[str, object] = {"Sid": parts.sid} if parts.sid else {}
    statement["Effect"] = str(parts.effect)
    statement["Principal"] = _principal(parts.principals)
    statement["Action"] = [action if ":" in action else f"ses:{action}" for action in parts.actions]
    statement["Resource"] = str(arn)
    if parts.conditions:
        statement["Condition"] = _conditions(parts.conditions)
    return statement


def _principal(principals: Sequence[str]) -> object:
    if list(principals) == [_EVERYONE]:
        return _EVERYONE
    services = [one for one in principals if "." in one and not one.startswith("arn:")]
    accounts = [one for one in principals if one not in services]
    return {kind: names for kind, names in (("AWS", accounts), ("Service", services)) if names}


def _conditions(conditions: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, list[str]]]:
    written: dict[str, dict[str, list[str]]] = {}
    for operator, key, value in conditions:
        written.setdefault(operator, {}).setdefault(key, []).append(value)
    return written
