"""The judgement on remote replies, row by row."""

import pytest

from relay.mail.replies import (
    CONTENT,
    GENERAL,
    MAILBOX_FULL,
    NO_EMAIL,
    TRANSIENT,
    Fault,
    bounce_of,
    delay_type_of,
    judge,
    judge_reply,
    normal,
    subject,
)
from relay.mail.reply_rules import STATUSES, TEXTS
from relay.model.outcome import Outcome, Stage, Verdict

BOUNCES = [
    (550, "5.1.1", "user unknown", "Permanent", "NoEmail"),
    (550, "5.1.2", "bad domain", "Permanent", "NoEmail"),
    (550, "5.1.10", "null mx", "Permanent", "NoEmail"),
    (550, "", "No such user here", "Permanent", "NoEmail"),
    (
        550,
        "",
        "<x@y.example>: Recipient address rejected: User unknown in local recipient table",
        "Permanent",
        "NoEmail",
    ),
    (550, "5.0.0", "mailbox not found", "Permanent", "NoEmail"),
    (550, "5.7.1", "relaying denied", "Transient", "General"),
    (550, "5.7.1", "no", "Permanent", "General"),
    (550, "5.4.4", "unroutable", "Permanent", "General"),
    (554, "", "no", "Permanent", "General"),
    (552, "5.2.2", "mailbox full", "Transient", "MailboxFull"),
    (452, "4.2.2", "over quota", "Transient", "MailboxFull"),
    (550, "", "The mailbox is full", "Transient", "MailboxFull"),
    (552, "5.3.4", "too big", "Transient", "MessageTooLarge"),
    (552, "5.2.3", "too big", "Transient", "MessageTooLarge"),
    (552, "", "Message size exceeds fixed maximum message size", "Transient", "MessageTooLarge"),
    (552, "", "no", "Transient", "General"),
    (550, "5.7.1", "This message looks like spam", "Transient", "ContentRejected"),
    (554, "5.7.1", "Our filters detected a virus", "Transient", "ContentRejected"),
    (550, "5.7.1", "Attachment of this type is not allowed", "Transient", "AttachmentRejected"),
    (
        550,
        "5.7.1",
        "Service unavailable; client host [192.0.2.1] blocked using zen.spamhaus.org",
        "Transient",
        "General",
    ),
    (450, "4.2.0", "wait", "Transient", "General"),
    (421, "", "wait", "Transient", "General"),
    (0, "5.0.0", "", "Permanent", "General"),
    (0, "", "what is this", "Undetermined", "Undetermined"),
    (250, "2.0.0", "fine", "Undetermined", "Undetermined"),
]


@pytest.mark.req("EVT-021", "EVT-022", "EVT-023")
@pytest.mark.parametrize(("code", "enhanced", "text", "kind", "subtype"), BOUNCES)
def test_bounces(code, enhanced, text, kind, subtype):
    bounce = judge_reply(code, enhanced, text)
    assert (bounce.bounce_type, bounce.bounce_sub_type) == (kind, subtype)


def outcome(code=0, enhanced="", text="", *, stage=Stage.RCPT, local=False, nxdomain=False):
    return Outcome(Verdict.PERMANENT, stage, code, enhanced, text, local=local, nxdomain=nxdomain)


@pytest.mark.parametrize(
    ("made", "expired", "expected"),
    [
        (outcome(nxdomain=True, enhanced="5.1.2", local=True), False, ("Permanent", "General")),
        (outcome(enhanced="5.3.4", local=True, text="too big for it"), False, ("Transient", "MessageTooLarge")),
        (outcome(enhanced="5.1.10", local=True), False, ("Permanent", "General")),
        (outcome(550, "5.1.1"), False, ("Permanent", "NoEmail")),
        (outcome(stage=Stage.CONNECT, text="timed out"), True, ("Transient", "General")),
        (outcome(450, "4.1.1", "user unknown for now"), True, ("Transient", "General")),
        (outcome(452, "4.2.2"), True, ("Transient", "MailboxFull")),
    ],
)
def test_outcomes(made, expired, expected):
    bounce = bounce_of(made, expired=expired)
    assert (bounce.bounce_type, bounce.bounce_sub_type) == expected


@pytest.mark.req("EVT-029", "EVT-031")
@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (outcome(452, "4.2.2", "full"), "MailboxFull"),
        (outcome(450, "", "mailbox full"), "MailboxFull"),
        (outcome(451, "4.7.1", "looks like spam"), "SpamDetected"),
        (outcome(421, "4.7.0", "too many connections from your address"), "IPFailure"),
        (outcome(450, "4.7.1", "blocked using dnsbl.example"), "IPFailure"),
        (outcome(stage=Stage.CONNECT, text="refused"), "TransientCommunicationFailure"),
        (outcome(stage=Stage.DNS, text="SERVFAIL"), "TransientCommunicationFailure"),
        (outcome(454, "4.7.0", "TLS not available", stage=Stage.TLS), "TransientCommunicationFailure"),
        (outcome(stage=Stage.FINAL_DOT, text="connection lost"), "TransientCommunicationFailure"),
        (outcome(451, "4.3.0", "queue file write error"), "RecipientServerError"),
        (outcome(450, "4.7.1", "Greylisted, try again"), "General"),
        (outcome(stage=Stage.LOCAL, text="key cannot be read"), "InternalFailure"),
    ],
)
def test_delays(made, expected):
    assert delay_type_of(made) == expected


@pytest.mark.parametrize(
    ("enhanced", "text", "kind", "fault", "suppresses"),
    [
        ("5.1.1", "user unknown", NO_EMAIL, Fault.RECIPIENT, True),
        ("5.2.1", "account disabled", GENERAL, Fault.RECIPIENT, True),
        ("", "no", GENERAL, Fault.UNSTATED, True),
        ("5.7.1", "no", GENERAL, Fault.POLICY, False),
        ("5.2.2", "full", MAILBOX_FULL, Fault.MAILBOX, False),
        ("5.1.1", "mailbox full", MAILBOX_FULL, Fault.MAILBOX, False),
        ("5.7.1", "blocked using bl.lists.example", TRANSIENT, Fault.REPUTATION, False),
        ("5.1.1", "client host blocked using bl.lists.example", TRANSIENT, Fault.REPUTATION, False),
        ("5.7.606", "Access denied", TRANSIENT, Fault.REPUTATION, False),
        ("5.7.26", "", TRANSIENT, Fault.POLICY, False),
        ("5.7.1", "Relay access denied", TRANSIENT, Fault.POLICY, False),
        ("5.7.1", "looks like spam", CONTENT, Fault.CONTENT, False),
        ("5.4.6", "loop", TRANSIENT, Fault.SYSTEM, False),
        ("5.4.1", "Recipient address rejected: Access denied", NO_EMAIL, Fault.RECIPIENT, True),
    ],
)
@pytest.mark.req("EVT-022", "EVT-023")
def test_only_the_fault_of_a_recipient_suppresses(enhanced, text, kind, fault, suppresses):
    """K15: what is said of the sender, the message or a policy is never held against an address."""
    judged = judge(550, enhanced, text)
    assert (judged.bounce, judged.fault, judged.suppresses) == (kind, fault, suppresses)


@pytest.mark.parametrize(
    "text",
    [
        "<dmarc-reports@spam.example>: user unknown",
        "<mailbox.full@rbl.example>... User unknown",
        "user unknown, see https://postmaster.example/policy/spam-and-dmarc",
        "sorry, no such user blacklist@dnsbl.example",
    ],
)
def test_what_somebody_is_called_is_no_reason(text):
    assert judge(550, "", text).bounce == NO_EMAIL


def test_every_rule_says_where_it_is_known_from_and_can_fit():
    assert all(rule.source and (rule.phrases or rule.pattern) for rule in TEXTS)
    assert all(phrase == normal(phrase) for rule in TEXTS for phrase in rule.phrases)
    for _, source, details in STATUSES:
        assert source
        assert all(subject(f"5.{detail.replace('*', '1')}") for detail in details)


def test_long_texts_cost_little():
    for text in ("user " * 200_000, "ip " * 300_000, "exceeds " * 100_000, "a" * 1_000_000):
        judge_reply(550, "5.7.1", text)
        delay_type_of(outcome(450, "4.0.0", text))
