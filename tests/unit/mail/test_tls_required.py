"""The field by which a sender waives protection (RFC 8689 section 3), and the mail of a report (RFC 8460 5.3)."""

import email

import pytest

from relay.mail.headers import Field
from relay.mail.tls_report import write_tls_report
from relay.mail.tls_required import waived


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"TLS-Required: No\r\n", True),
        (b"TLS-Required:no \r\n", True),
        (b"TLS-Required:\r\n No\r\n", True),
        (b"TLS-Required: Yes\r\n", False),
        (b"TLS-Required: No, really\r\n", False),
        (b"TLS-Required:\r\n", False),
        (b"X-TLS-Required: No\r\n", False),
    ],
)
def test_waived(raw, expected):
    assert waived([Field(b"from", b"From: a\r\n"), Field(raw.partition(b":")[0].lower(), raw)]) is expected


def test_the_mail_of_a_report():
    head, body = write_tls_report(
        product="Relay",
        sender="no-reply@relay.example",
        recipient="tls@a.test",
        domain="a.test",
        hostname="relay.example",
        report_id="2026-11-25.a.test@relay.example",
        file_name="relay.example!a.test!0!86399.json.gz",
        packed=bytes(range(256)) * 20,
        now_ms=0,
    )
    assert all(len(line) <= 998 for line in (head + body).split(b"\r\n"))
    message = email.message_from_bytes(head + body)
    assert message["From"] == "Relay <no-reply@relay.example>"
    assert message["Subject"].replace("\r\n", "") == (
        "Report Domain: a.test Submitter: relay.example Report-ID: <2026-11-25.a.test@relay.example>"
    )
    assert (message["TLS-Report-Domain"], message["TLS-Report-Submitter"]) == ("a.test", "relay.example")
    text, part = message.get_payload()
    assert text.get_content_type() == "text/plain"
    assert part.get_filename() == "relay.example!a.test!0!86399.json.gz"
    assert part.get_payload(decode=True) == bytes(range(256)) * 20
