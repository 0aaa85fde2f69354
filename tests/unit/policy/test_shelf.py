"""Stored texts are read once, bounded, and refuse when they cannot be read."""

import json

import pytest

from relay.policy import shelf as module
from relay.policy.authorization import Verdict, decide
from relay.policy.shelf import TOO_MANY, UNREADABLE, Shelf
from tests.unit.policy.policies import DELEGATE, DOMAIN, OWNER, request


def text(**elements: object) -> str:
    statement = {"Effect": "Allow", "Principal": {"AWS": DELEGATE}, "Action": "ses:Send*", "Resource": str(DOMAIN)}
    return json.dumps({"Statement": statement | elements})


def test_a_text_is_read_once():
    shelf = Shelf()
    texts = (("p", text()),)
    first = shelf.of_identity(DOMAIN, texts)
    assert shelf.of_identity(DOMAIN, (("p", text()),)) is first
    assert first[0].name == "p"
    assert shelf.of_identity(DOMAIN, (("q", text()),))[0].name == "q"
    assert shelf.of_identity(DOMAIN, ()) == ()


@pytest.mark.parametrize("bad", [text(Resource=str(DOMAIN).replace("us-east-1", "eu-west-1")), "", "{", "[]"])
@pytest.mark.parametrize("account", [OWNER, DELEGATE])
def test_what_cannot_be_read_denies_everything(bad, account):
    policies = Shelf().of_identity(DOMAIN, (("good", text(Principal="*")), ("old", bad)))
    decision = decide(request(account), DOMAIN, policies)
    assert (decision.verdict, decision.policy, decision.sid) == (Verdict.DENY, "old", UNREADABLE)


def test_what_cannot_be_read_of_a_user_denies_everything():
    good = '{"Statement": {"Effect": "Allow", "Action": "ses:*", "Resource": "*"}}'
    assert decide(request(OWNER), DOMAIN, [], Shelf().of_user((("a+b", good),))).policy == "a+b"
    assert decide(request(OWNER), DOMAIN, [], Shelf().of_user((("a", good), ("b", "{}")))).verdict is Verdict.DENY
    assert decide(request(OWNER), DOMAIN, [], Shelf().of_user(())).verdict is Verdict.NO_MATCH


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "KEPT_MAX_CHARS", 10_000)
    shelf = Shelf()
    used = (("used", text()),)
    first = shelf.of_identity(DOMAIN, used)
    for number in range(200):
        shelf.of_identity(DOMAIN, ((f"p{number}", text(Sid=f"s{number}")),))
        assert shelf.of_identity(DOMAIN, used) is first  # what is in use stays
        kept = sum(len(one) for _, texts in (*shelf._young, *shelf._old) for _, one in texts)
        assert kept <= 11_000


def test_what_one_request_reads_anew_is_bounded():
    shelf = Shelf()
    largest = [tuple((f"p{n}", text(Sid="s" * 3700 + f"{number}-{n}")) for n in range(20)) for number in range(4)]
    shelf.begin()
    asked = [decide(request(), DOMAIN, shelf.of_identity(DOMAIN, texts)) for texts in largest]
    assert [one.allowed for one in asked] == [True, False, False, False]
    assert (asked[1].verdict, asked[1].sid) == (Verdict.DENY, TOO_MANY)
    shelf.begin()  # what was read is kept, and what was not is not forgotten
    assert decide(request(), DOMAIN, shelf.of_identity(DOMAIN, largest[0])).allowed
    assert decide(request(), DOMAIN, shelf.of_identity(DOMAIN, largest[1])).allowed
