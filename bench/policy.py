"""What policies cost: reading one, asking those of the maximum size, and a request that has none.

`python -m bench.policy`. A policy of the maximum size must evaluate in under 1 ms. The largest ones are made in
several shapes, since what is slow differs: many statements, many patterns, hostile patterns, several recipients.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from bench.figures import Figure, arguments, at_most, finish, show_reference
from relay.model.account import Identity, IdentityKind
from relay.policy.arn import IdentityArn
from relay.policy.authorization import SendContext, decide
from relay.policy.delegation import NamedArns, OwnedIdentity, Senders, authorize
from relay.policy.document import IDENTITY_POLICY_MAX_BYTES, POLICIES_MAX, parse_identity_policy
from relay.policy.statements import Policy

LIMIT_US = 1000.0
WORST_MS = 50.0  # how long the loop may wait for a hostile owner and a hostile sender together
CALLER, OWNER, REGION = "123456789012", "888888888888", "us-east-1"
ARN = IdentityArn(REGION, OWNER, "example.com")
ADDRESS = "a" * 64 + "@" + ".".join(["b" * 62] * 2) + ".example.com"
CONTEXT = SendContext(
    "ses:SendRawEmail",
    CALLER,
    recipients=tuple(f"user{number}@receiver.example" for number in range(50)),
    from_addresses=(ADDRESS,),
    from_names=("b" + "a" * 199,),
    feedback_address=ADDRESS,
    now_ms=1_631_000_000_000,
    source_ip="203.0.113.9",
)
BASE = {"Effect": "Deny", "Principal": "*", "Action": "ses:Send*", "Resource": str(ARN)}


def largest(make: Callable[[int], list[dict]]) -> Policy:
    """Return the policy with as many parts as fit into the maximum size; none of them matches."""
    count, text = 1, ""
    while len(longer := json.dumps({"Statement": make(count)}, separators=(",", ":"))) <= IDENTITY_POLICY_MAX_BYTES:
        count, text = count + 1, longer
    policy = parse_identity_policy("p", text, ARN)
    assert isinstance(policy, Policy), str(policy)
    return policy


def statements(count: int) -> list[dict]:
    return [BASE | {"Condition": {"StringLike": {"ses:FromAddress": f"{number}*"}}} for number in range(count)]


def one_with(operator: str, key: str, value: Callable[[int], str]) -> Callable[[int], list[dict]]:
    return lambda count: [BASE | {"Condition": {operator: {key: [value(number) for number in range(count)]}}}]


SHAPES: dict[str, Callable[[int], list[dict]]] = {
    "many statements": statements,
    "many patterns": one_with("StringLike", "ses:FromAddress", lambda n: f"*{n}*x@example.com"),
    "many dates": one_with("DateEquals", "aws:CurrentTime", lambda n: f"2020-01-01T00:{n % 60:02}:00Z"),
    "many networks": one_with("IpAddress", "aws:SourceIp", lambda n: f"198.51.{n % 256}.0/24"),
    "hostile marks": one_with("StringLike", "ses:FromDisplayName", lambda _: "*" + "a?" * 50 + "b*"),
    "hostile stars": one_with("StringLike", "ses:FromDisplayName", lambda _: "*a?" * 60 + "*b*"),
    "hostile texts": one_with("StringLike", "ses:FromDisplayName", lambda _: "*" + "a" * 50 + "b" + "a" * 50 + "*"),
}


def microseconds(call: Callable[[], object], rounds: int) -> float:
    """Return the CPU time of a call: the best of five, since others use the machine."""
    best = float("inf")
    for _ in range(5):
        begin = time.process_time()
        for _ in range(rounds):
            call()
        best = min(best, (time.process_time() - begin) / rounds * 1e6)
    return best


def worst() -> float:
    """Return the slowest of hostile requests: many recipients, many authors, a very long name, twenty policies."""
    contexts = (
        replace(CONTEXT, recipients=tuple(f"{'a' * 40}{number}@{'a' * 60}.example" for number in range(1000))),
        replace(CONTEXT, from_names=tuple("a" * 190 for _ in range(50))),
        replace(CONTEXT, from_names=("a" * 9990,)),
    )
    keyed = {
        f"{key} {pattern}": one_with("StringLike", key, lambda number, pattern=pattern: pattern.format(number))
        for key in ("ses:Recipients", "ses:FromDisplayName")
        for pattern in ("*{}*x@example.com", "*{}.example", "{}*", "*" + "a" * 50 + "b" + "a" * 50 + "{}*")
    }
    policies = [[largest(make)] * POLICIES_MAX for make in (SHAPES | keyed).values()]
    return max(
        microseconds(lambda context=context, many=many: decide(context, ARN, many), 1)
        for context in contexts
        for many in policies
    )


def plain(name: str, value: float) -> Figure:
    return Figure(name, "", f"{value:.1f} us")


def main() -> int:
    args = arguments(__doc__).parse_args()
    rounds = 20 if args.quick else 200
    show_reference()
    figures = []
    for name, make in SHAPES.items():
        policy = largest(make)
        value = microseconds(lambda policy=policy: decide(CONTEXT, ARN, [policy]), rounds)
        figures.append(at_most(f"largest policy, {name}", value, LIMIT_US, "us"))
    fifty = largest(one_with("StringLike", "ses:Recipients", lambda n: f"*@domain{n}.example"))
    value = microseconds(lambda: decide(CONTEXT, ARN, [fifty]), max(2, rounds // 10))
    figures.append(plain(f"largest policy, patterns of {len(CONTEXT.recipients)} recipients", value))
    many = [largest(statements)] * POLICIES_MAX
    figures.append(plain(f"{POLICIES_MAX} largest policies", microseconds(lambda: decide(CONTEXT, ARN, many), 10)))
    figures.append(at_most("the worst that a request may cost", worst() / 1000, WORST_MS, "ms"))
    text = json.dumps({"Statement": statements(19)})
    reading = microseconds(lambda: parse_identity_policy("p", text, ARN), 20)
    figures += [plain(f"reading a policy of {len(text)} bytes", reading), *requests(rounds)]
    finish(figures, args.json)
    return int(any(figure.passed is False for figure in figures))


def requests(rounds: int) -> list[Figure]:
    """Return what a whole request costs: without any policy, and of a delegate with a small one."""
    allow = BASE | {"Effect": "Allow", "Principal": {"AWS": CALLER}}
    small = parse_identity_policy("p", json.dumps({"Statement": allow}), ARN)
    assert isinstance(small, Policy)
    catalog = {
        OWNER: [OwnedIdentity(Identity(OWNER, "example.com", IdentityKind.DOMAIN, True, 0), (small,))],
        CALLER: [OwnedIdentity(Identity(CALLER, "mine.example", IdentityKind.DOMAIN, True, 0))],
    }

    def ask(source: str, address: str) -> object:
        senders = Senders((address,), envelope=address)
        return authorize(
            NamedArns(source), senders, CONTEXT, region=REGION, covering=lambda account, _: catalog.get(account, ())
        )

    return [
        plain("a request without policies", microseconds(lambda: ask("", "a@mine.example"), rounds * 10)),
        plain("a request of a delegate", microseconds(lambda: ask(str(ARN), "a@example.com"), rounds * 10)),
    ]


if __name__ == "__main__":
    sys.exit(main())
