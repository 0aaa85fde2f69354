"""The identity step of acceptance: whose identity gives settings, what is decided without policies."""

import json
from dataclasses import replace

import pytest

from relay.mail.compose import Shaped, ShapeRules, shape
from relay.mail.scan import scan_body
from relay.model.account import MailFrom, MailFromFallback
from relay.model.content import Content
from relay.model.message import Protocol, Submission
from relay.model.refusal import Reason, Refusal
from relay.pipeline.senders import Caller, Sender, SenderCheck
from relay.policy.arn import IdentityArn
from relay.testing.directory import MemoryDirectory
from tests.unit.policy.policies import DELEGATE, OWNER, REGION

ARN = str(IdentityArn(REGION, OWNER, "example.com"))
MAIL_FROM = MailFrom("bounce.example.com", usable=True, fallback=MailFromFallback.USE_DEFAULT_VALUE)


class Counting(MemoryDirectory):
    """Counts what policies ask for."""

    asked = 0

    def covering(self, account_id, address):
        self.asked += 1
        return super().covering(account_id, address)

    def user_policies(self, account_id, user):
        self.asked += 1
        return super().user_policies(account_id, user)

    def sending_identity(self, account_id, address):
        before = self.asked
        found = super().sending_identity(account_id, address)
        self.asked = before
        return found


@pytest.fixture
def directory():
    made = Counting()
    made.add_account(OWNER)
    made.add_account(DELEGATE)
    made.add_identity(OWNER, "example.com")
    made.add_identity(DELEGATE, "mine.example")
    return made


def allow(directory, name="example.com"):
    statement = {"Effect": "Allow", "Principal": {"AWS": DELEGATE}, "Action": "ses:Send*"}
    text = json.dumps({"Statement": statement | {"Resource": str(IdentityArn(REGION, OWNER, name))}})
    directory.policies_of_identities[OWNER, name] = {"p": text}


def submitted(author: str, headers: str = "", sender: str | None = None) -> tuple[Submission, Shaped]:
    envelope = author if sender is None else sender
    content = Content(f"{headers}From: {author}\r\n\r\n".encode(), b"hi\r\n")
    facts, to = scan_body(b"hi\r\n"), ("r@remote.example",)
    made = Submission(DELEGATE, "app", envelope, to, content, facts, Protocol.ESMTPSA, False, "127.0.0.1", "x")
    shaped = shape(made, ShapeRules("relay.example"), "m" * 60, 0)
    assert isinstance(shaped, Shaped)
    return made, shaped


def ask(directory, author, headers="", sender=None, account=DELEGATE, user=""):
    caller = Caller(directory.account(account), user)
    return SenderCheck(directory).sender(
        caller, *submitted(author, headers, sender), ("r@remote.example",), 0, REGION
    )


def test_plain_accounts_ask_no_policies(directory):
    allow(directory)
    for author, sender in (("a@mine.example", None), ("a@mine.example", "b@mine.example"), ("a@mine.example", "")):
        assert isinstance(ask(directory, author, sender=sender), Sender)
    refused = ask(directory, "a@example.com", sender="b@mine.example")
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.NOT_VERIFIED
    assert directory.asked == 0


def test_a_policy_about_any_sender_is_asked(directory):
    allow(directory)
    directory.add_identity(OWNER, "plain.example")
    assert isinstance(ask(directory, "a@plain.example", account=OWNER), Sender)
    assert directory.asked == 0
    assert isinstance(ask(directory, "a@plain.example", sender="b@example.com", account=OWNER), Sender)
    assert directory.asked > 0


@pytest.mark.req("AUTHZ-019", "AUTHZ-020")
def test_settings_are_those_of_the_owners_most_specific_identity(directory):
    allow(directory)
    for name, mail_from in (("example.com", None), ("sub.example.com", MAIL_FROM)):
        made = directory.add_identity(OWNER, name, configuration_set="owners")
        directory.identities[OWNER, name] = replace(made, mail_from=mail_from)
    directory.add_identity(DELEGATE, "sub.example.com")
    sender = ask(directory, "a@sub.example.com", f"X-SES-SOURCE-ARN: {ARN}\r\n")
    assert isinstance(sender, Sender)
    assert (sender.identity.account, sender.identity.name) == (OWNER, "sub.example.com")
    assert (sender.identity.mail_from, sender.arn, sender.owners) == (MAIL_FROM, ARN, (OWNER,))
    assert sender.why == "allow of policy p"


@pytest.mark.req("AUTHZ-021", "FLOW-016", "SMTP-017")
def test_where_reports_go(directory):
    allow(directory)
    named = f"X-SES-SOURCE-ARN: {ARN}\r\n"
    path = "Return-Path: r@example.com\r\n"
    assert ask(directory, "a@example.com", named).feedback_address == "a@example.com"
    assert ask(directory, "a@example.com", named + path, "e@example.com").feedback_address == "r@example.com"
    assert ask(directory, "a@example.com", named + path, "").feedback_address == ""
    own = path.replace("example.com", "mine.example")
    assert ask(directory, "a@mine.example", own, "e@mine.example").feedback_address == "e@mine.example"


@pytest.mark.req("AUTHZ-011", "AUTHZ-013")
def test_a_user_without_policies_may_do_nothing_and_the_account_itself_everything(directory):
    refused = ask(directory, "a@mine.example", user="john")
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.ACCESS_DENIED
    assert "user/john' is not authorized to perform `ses:SendRawEmail' on resource `arn:aws:ses:" in refused.text
    assert isinstance(ask(directory, "a@mine.example"), Sender)


@pytest.mark.req("AUTHZ-017")
def test_the_sandbox_of_every_owner_counts(directory):
    check = SenderCheck(directory)

    def asked(owners, *recipients):
        account = directory.account(DELEGATE)
        return check.sandbox(account, owners, recipients, lambda address: "simulator" in address, REGION)

    assert asked((OWNER,), "x@remote.example") is None
    directory.accounts[OWNER] = replace(directory.account(OWNER), sandbox=True)
    assert asked((), "x@remote.example") is None
    refused = asked((OWNER,), "x@remote.example", "a@mine.example", "a@example.com", "a@simulator.example")
    assert refused.text.endswith(": x@remote.example")
    assert asked((OWNER,), "a@mine.example", "a@example.com", "a@simulator.example") is None
    assert asked(("999999999999",), "x@remote.example") is not None
