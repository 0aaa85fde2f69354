"""What the tests of policies share: the examples of the guide, a short way to write policies and requests."""

import json
import re
from pathlib import Path

from relay.policy.arn import IdentityArn
from relay.policy.authorization import SendContext
from relay.policy.document import parse_identity_policy, parse_user_policy
from relay.policy.statements import Policy

REGION = "us-east-1"
OWNER = "888888888888"
DELEGATE = "123456789012"
DOMAIN = IdentityArn(REGION, OWNER, "example.com")
SERVICES = ("cognito-idp.amazonaws.com",)
_NUMBER = re.compile(r"^ *\d+\. ", re.MULTILINE)


def guide() -> dict[str, str]:
    """Return the policies of the guide by title, without the line numbers they are printed with."""
    text = (Path(__file__).parent / "guide_policies.txt").read_text(encoding="utf-8")
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)[1:]
    return {title: _NUMBER.sub("", body) for title, body in zip(parts[::2], parts[1::2], strict=True)}


def identity_policy(arn: IdentityArn = DOMAIN, name: str = "p", *statements: dict, **elements: object) -> Policy:
    """Return a policy of an identity: one statement from the defaults and `elements`, or the statements given."""
    default = {
        "Effect": "Allow",
        "Principal": {"AWS": DELEGATE},
        "Action": "ses:SendRawEmail",
        "Resource": str(arn),
    }
    written = [default | elements] if not statements else [default | one for one in statements]
    policy = parse_identity_policy(name, json.dumps({"Statement": written}), arn, SERVICES)
    assert isinstance(policy, Policy), str(policy)
    return policy


def user_policy(*statements: dict, name: str = "u", **elements: object) -> Policy:
    """Return a policy of a user."""
    default = {"Effect": "Allow", "Action": "ses:SendRawEmail", "Resource": "*"}
    written = [default | elements] if not statements else [default | one for one in statements]
    written = [{name: value for name, value in one.items() if value is not None} for one in written]
    policy = parse_user_policy(name, json.dumps({"Statement": written}))
    assert isinstance(policy, Policy), str(policy)
    return policy


def request(account: str = DELEGATE, **values: object) -> SendContext:
    """Return a request over SMTP from sender@example.com to one recipient."""
    default = {
        "action": "ses:SendRawEmail",
        "recipients": ("bob@receiver.example",),
        "from_addresses": ("sender@example.com",),
        "from_names": ("",),
        "feedback_address": "sender@example.com",
        "now_ms": 1_631_000_000_000,  # 2021-09-07
        "secure_transport": True,
        "source_ip": "203.0.113.9",
    }
    return SendContext(account=account, **(default | values))
