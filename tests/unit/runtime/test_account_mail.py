"""Letters to the contacts of an account."""

from email import message_from_bytes, policy

import pytest

from relay.model.account import Account, AccountState
from relay.model.review import ReviewKind
from relay.runtime import account_mail

ACCOUNT = Account("000000000002", AccountState.ENABLED, sandbox=False, daily_quota=5000, send_rate=2.5)


def read(content):
    whole = content.head + content.body
    assert whole.isascii()
    assert b"\n" not in whole.replace(b"\r\n", b"")
    return message_from_bytes(whole, policy=policy.default)


@pytest.mark.parametrize(
    ("write", "subject", "said"),
    [
        (
            account_mail.review_decided("r.example", 0, ReviewKind.PRODUCTION, granted=True, reason="Welcome."),
            "Request for production access granted for account 000000000002",
            ["is granted", "Reason: Welcome.", "to 5000 recipients in 24 hours", "2.5 recipients a second"],
        ),
        (
            account_mail.review_decided("r.example", 0, ReviewKind.QUOTA, granted=False, reason=""),
            "Request for other sending limits denied for account 000000000002",
            ["is denied"],
        ),
        (
            account_mail.paused("r.example", 0, "Complaints."),
            "Sending paused for account 000000000002",
            ["Complaints."],
        ),
        (account_mail.limits_changed("r.example", 0, "Use."), "Sending limits changed for account 000000000002", []),
    ],
)
def test_letters(write, subject, said):
    letter = read(write(ACCOUNT, "c@x.example"))
    assert (letter["To"], letter["Subject"]) == ("c@x.example", subject)
    assert letter["Auto-Submitted"] == "auto-generated"
    text = " ".join(letter.get_content().split())
    for words in ["000000000002", *said]:
        assert words in text


def test_a_reason_cannot_write_headers_or_lines():
    letter = read(account_mail.paused("r.example", 0, "a\r\nBcc: x@y.example\u2028 \u00fc")(ACCOUNT, "c@x.example"))
    assert letter["Bcc"] is None
    assert "a  Bcc: x@y.example" in letter.get_content()
