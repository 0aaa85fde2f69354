"""Letters to the contacts of an account."""

from email import message_from_bytes, policy

import pytest

from relay.mail.letter import Letterhead
from relay.model.account import Account, AccountState
from relay.model.review import ReviewKind
from relay.runtime import account_mail

HEAD = Letterhead("Relay", "local-1", "r.example", "no-reply@r.example", "postmaster@r.example")
ACCOUNT = Account("000000000002", AccountState.ENABLED, sandbox=False, daily_quota=5000, send_rate=2.5)


def read(letter):
    whole = b"".join(letter)
    assert whole.isascii()
    assert b"\n" not in whole.replace(b"\r\n", b"")
    return message_from_bytes(whole, policy=policy.default)


@pytest.mark.parametrize(
    ("write", "subject", "said"),
    [
        (
            account_mail.review_decided(HEAD, 0, ReviewKind.PRODUCTION, granted=True, reason="Welcome."),
            "Relay - Request for production access granted in region local-1",
            ["is granted", "Welcome.", "recipients in 24 hours: 5000", "recipients a second: 2.5", "sandbox: no"],
        ),
        (
            account_mail.review_decided(HEAD, 0, ReviewKind.QUOTA, granted=False, reason=""),
            "Relay - Request for other sending limits denied in region local-1",
            ["is denied"],
        ),
        (
            account_mail.paused(HEAD, 0, "Complaints."),
            "Relay - Sending paused for account 000000000002 in region local-1",
            ["Complaints."],
        ),
        (
            account_mail.limits_changed(HEAD, 0, "Use."),
            "Relay - Sending limits changed for account 000000000002 in region local-1",
            [],
        ),
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
    letter = read(account_mail.paused(HEAD, 0, "a\r\nBcc: x@y.example\u2028 \u00fc")(ACCOUNT, "c@x.example"))
    assert letter["Bcc"] is None
    assert "a Bcc: x@y.example" in letter.get_content()
