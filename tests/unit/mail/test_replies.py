"""The judgement on remote replies, row by row."""

import pytest

from relay.mail.replies import bounce_of, delay_type_of, judge_reply
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


def test_long_texts_cost_little():
    for text in ("user " * 200_000, "ip " * 300_000, "exceeds " * 100_000, "a" * 1_000_000):
        judge_reply(550, "5.7.1", text)
        delay_type_of(outcome(450, "4.0.0", text))
