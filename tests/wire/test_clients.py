"""Clients that others wrote: Python's smtplib and aiosmtplib."""

import asyncio
import smtplib
import ssl
from email.message import EmailMessage

import aiosmtplib
import pytest

from tests.wire.door import PASSWORD, USER, Door, client_context


def _message() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.net", "Grüße"
    message.set_content(".\n..\nHello\n")
    return message


@pytest.mark.req("SMTP-006", "SMTP-009", "SMTP-021")
def test_smtplib(door: Door) -> None:
    with smtplib.SMTP("127.0.0.1", door.port("submission"), timeout=20) as client:
        client.starttls(context=client_context())
        client.login(USER, PASSWORD)
        for _ in range(3):
            client.send_message(_message())
        client.user, client.password = USER, "wrong"
    with smtplib.SMTP_SSL("127.0.0.1", door.port("implicit"), context=client_context(), timeout=20) as client:
        client.ehlo()
        client.user, client.password = USER, PASSWORD
        assert client.auth("LOGIN", client.auth_login)[0] == 235
        client.send_message(_message())
        assert client.docmd("VRFY", "x")[0] == 252
    assert [body for body in door.product.bodies if body == b".\r\n..\r\nHello\r\n"] == door.product.bodies
    assert len(door.product.bodies) == 4
    assert {submission.protocol.value for submission in door.product.submissions} == {"ESMTPSA"}


@pytest.mark.req("SMTP-010")
def test_smtplib_with_a_wrong_password(door: Door) -> None:
    with smtplib.SMTP_SSL("127.0.0.1", door.port("implicit"), context=client_context(), timeout=20) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
            client.login(USER, "wrong")
        assert caught.value.smtp_code == 535
        assert caught.value.smtp_error == b"Authentication Credentials Invalid"


def test_aiosmtplib(door: Door) -> None:
    context: ssl.SSLContext = client_context()

    async def send() -> None:
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=door.port("submission"), start_tls=True, tls_context=context
        )
        async with client:
            await client.login(USER, PASSWORD)
            errors, text = await client.send_message(_message())
            assert (errors, text) == ({}, "Ok id-1")

    asyncio.run(send())
    assert len(door.product.bodies) == 1
