"""Header From and envelope sender must both belong to the account, on every listener."""

import smtplib

import pytest

from tests.product import Product, Receiver


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Product(receiver.port) as made:
        yield made


def attempt(product, sender, header, trusted=False):
    """Submit and return (code, text) of the reply to the data."""
    client = smtplib.SMTP("127.0.0.1", product.trusted_port) if trusted else product.client()
    with client:
        client.ehlo_or_helo_if_needed()
        assert client.mail(sender)[0] == 250
        assert client.rcpt("user@remote.example")[0] == 250
        code, text = client.data(f"{header}\r\nSubject: x\r\n\r\nhi\r\n".encode())
        return code, text.decode()


FOREIGN = [
    "From: someone@else.example",
    "From: App <app@example.com>, x@else.example\r\nSender: x@else.example",
    "From: app@example.com\r\nFrom: x@else.example",
    "From: x@else.example\r\nFrom: app@example.com",
    "fRoM: x@else.example",
    "From: x@else.example (app@example.com)",
    'From: "app@example.com" <x@else.example>',
    "From: app@example.com <x@else.example>",
    "From: <app@example.com>, <x@else.example>",
    "From: group: app@example.com, x@else.example;",
    "From: app@example.com.else.example",
    "From: app@example.com.",
    "From: app@ex\u0430mple.com",
    "From: app@xn--exmple-4nf.com",
    "From: <app@example.com> x@else.example",
    "From: =?utf-8?q?app=40example=2Ecom?= <x@else.example>",
    "From : app@example.com\r\nFrom: x@else.example",
    "From: app@example.com\r\nSender: x@else.example",
    "From:",
    "X-From: app@example.com",
]


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("header", FOREIGN)
def test_a_from_that_is_not_ours_is_refused_whole(product, receiver, header, trusted):
    before = len(receiver.messages)
    code, _ = attempt(product, "app@example.com", header, trusted)
    assert code == 554
    assert product.rows("queue", "list") == []
    assert len(receiver.messages) == before


@pytest.mark.req("ERR-001", "SMTP-020")
def test_the_refusal_names_what_failed_and_the_region(product):
    code, text = attempt(product, "bounce@other.example", "From: a@else.example")
    assert code == 554
    assert text == (
        "Message rejected: Email address is not verified. The following identities failed the check in region "
        "LOCAL-1: a@else.example, bounce@other.example"
    )


@pytest.mark.parametrize("trusted", [False, True])
def test_a_foreign_envelope_sender_is_refused(product, trusted):
    assert attempt(product, "x@else.example", "From: app@example.com", trusted)[0] == 554


@pytest.mark.req("IDENT-002", "IDENT-005")
def test_subdomains_and_other_case_of_a_verified_domain_are_ours(product):
    assert attempt(product, "App@Example.COM", "From: App@Sub.EXAMPLE.com")[0] == 250


@pytest.mark.req("SMTP-017")
def test_the_null_sender_needs_only_a_from_of_ours(product):
    assert attempt(product, "", "From: app@example.com")[0] == 250
    assert attempt(product, "", "From: x@else.example")[0] == 554


@pytest.mark.req("IDENT-006", "IDENT-005")
def test_a_verified_address_covers_itself_and_its_labels_only(product):
    product.run("identity", "create", "me@solo.example")
    product.run("identity", "verify", "--force", "me@solo.example")
    assert attempt(product, "me@solo.example", "From: me+label@solo.example")[0] == 250
    assert attempt(product, "me@solo.example", "From: you@solo.example")[0] == 554
    assert attempt(product, "me@solo.example", "From: Me@solo.example")[0] == 554


@pytest.mark.req("IDENT-005")
def test_an_address_identity_with_a_capital_domain_covers_nothing_and_says_so(product):
    made = product.run("identity", "create", "me@CAPITAL.example")
    assert "me@CAPITAL.example covers no mail" in made.stderr
    assert "Create me@capital.example." in made.stderr
    product.run("identity", "verify", "--force", "me@CAPITAL.example")
    for sender in ("me@CAPITAL.example", "me@capital.example"):
        assert attempt(product, sender, f"From: {sender}")[0] == 554
    assert "covers no mail" in product.run("identity", "show", "me@CAPITAL.example").stderr
    product.run("identity", "create", "me@capital.example")
    product.run("identity", "verify", "--force", "me@capital.example")
    assert attempt(product, "me@CAPITAL.example", "From: me@Capital.example")[0] == 250


def test_a_pattern_is_refused_as_identity_with_a_sentence(product):
    refused = product.run("identity", "create", "*@pattern.example", check=False)
    assert refused.returncode == 64
    assert "Create the identity pattern.example instead" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.req("CRED-011")
def test_a_revoked_credential_ends_open_sessions_before_their_next_message(product):
    made = product.json("credentials", "create")["smtp"]
    client = smtplib.SMTP("127.0.0.1", product.port)
    client.starttls()
    client.login(made["username"], made["password"])
    product.send(client=client)
    product.run("credentials", "revoke", made["username"])
    with pytest.raises((AssertionError, smtplib.SMTPServerDisconnected, smtplib.SMTPResponseException)):
        product.send(client=client)
    client.close()


@pytest.mark.req("SMTP-011")
def test_a_closed_account_is_told_so_with_valid_credentials_only(product):
    account = "000000000002"
    product.run("account", "create", account)
    login = product.json("credentials", "create", "--account", account)["smtp"]
    product.run("account", "close", account, "--yes")
    for password, text in ((login["password"], b"Account not subscribed to SES"), ("wrong", b"Invalid")):
        with smtplib.SMTP("127.0.0.1", product.port) as client:
            client.starttls()
            with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
                client.login(login["username"], password)
            assert caught.value.smtp_code == 535
            assert text in caught.value.smtp_error
