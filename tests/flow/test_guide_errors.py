"""The guide's table of SMTP responses (troubleshoot-smtp.md), row by row, each shown over a real socket."""

import base64
import os
import re
import signal
import smtplib
import socket

import pytest

from relay.policy.authorization import SMTP_ACTION, SendContext
from relay.policy.delegation import access_denied
from tests.product import Product, Receiver, eventually

CONNECTIONS_MAX = 12
GUIDE = {  # response code as the guide prints it; italics stand for what differs
    "Authentication successful": "235 Authentication successful",
    "Successful delivery": "250 Ok MessageID",
    "Service unavailable": "421 Too many concurrent SMTP connections",
    "Local processing error": "451 Temporary service failure",
    "Timeout": "451 Timeout waiting for data from client",
    "Daily sending quota exceeded": "454 Throttling failure: Daily message quota exceeded",
    "Maximum send rate exceeded": "454 Throttling failure: Maximum sending rate exceeded",
    "Amazon SES issue when validating SMTP credentials": "454 Temporary authentication failure",
    "Problem receiving the request": "454 Temporary service failure",
    "Incorrect credentials": "530 Authentication required",
    "Authentication Credentials Invalid": "535 Authentication Credentials Invalid",
    "Account not subscribed to Amazon SES": "535 Account not subscribed to SES",
    "Message is too long": "552 Message is too long.",
    "MAIL FROM syntax error": "553 <email-address> Invalid email address",
    "RCPT TO syntax error": "553 <email-address> address unknown",
    "User not authorized to call the Amazon SES SMTP endpoint": (
        "554 Access denied: User UserARN is not authorized to perform ses:SendRawEmail on resource IdentityARN"
    ),
    "Unverified email address": (
        "554 Message rejected: Email address is not verified. The following identities failed the check in region "
        "region: identity0, identity1, identity2"
    ),
}


@pytest.fixture(scope="module")
def product():
    limits = {"connections_per_address_max": CONNECTIONS_MAX, "idle_timeout": "2s", "disk_free_min": "1MB"}
    with Receiver(keep_bytes=False) as receiver, Product(receiver.port, limits=limits) as made:
        yield made


def said(reply):
    code, text = reply
    return f"{code} {text.decode()}"


def connected(product):
    client = smtplib.SMTP("127.0.0.1", product.port, timeout=30)
    client.starttls()
    client.ehlo()
    return client


def login(product, username=None, password=None):
    """Return the reply to a login."""
    with connected(product) as client:
        given = f"\0{username or product.user}\0{password or product.password}"
        return said(client.docmd("AUTH", "PLAIN " + base64.b64encode(given.encode()).decode()))


def submit(product, body=b"hi\r\n", sender="app@example.com", headers=""):
    with product.client() as client:
        client.ehlo_or_helo_if_needed()
        client.mail("app@example.com")
        client.rcpt("user@remote.example")
        return said(client.data(f"From: {sender}\r\n{headers}\r\n".encode() + body))


def raw(product, *lines):
    """Return the last reply to commands of an authenticated session."""
    with product.client() as client:
        client.ehlo_or_helo_if_needed()
        return [said(client.docmd(line)) for line in lines][-1]


def quota(product, daily, rate):
    product.run("quota", "set", "--daily", str(daily), "--rate", str(rate))


def too_many(product):
    held = []
    try:
        while len(held) < 2 * CONNECTIONS_MAX:
            held.append(socket.create_connection(("127.0.0.1", product.port), timeout=10))
            greeting = held[-1].recv(200).decode()
            if not greeting.startswith("220"):
                return greeting.strip()
        return "no limit"
    finally:
        for each in held:
            each.close()


def without_permits(product):
    quota(product, 1000, -1)
    permits = product.children()["relay-permits"]
    os.kill(permits, signal.SIGSTOP)
    try:
        return submit(product)
    finally:
        os.kill(permits, signal.SIGCONT)
        quota(product, -1, -1)


def silent(product):
    with socket.create_connection(("127.0.0.1", product.port), timeout=30) as client:
        client.recv(200)
        return client.recv(200).decode().strip()


def over_the_day(product):
    quota(product, 0, -1)
    try:
        return submit(product)
    finally:
        quota(product, -1, -1)


def over_the_rate(product):
    quota(product, -1, 0)
    try:
        return submit(product)
    finally:
        quota(product, -1, -1)


def without_catalog(product):
    path = product.data_dir / "catalog.db"
    away = path.with_name("away.db")
    path.rename(away)
    try:
        return eventually(lambda: (reply := login(product)) and not reply.startswith("235") and reply)
    finally:
        away.rename(path)


def without_room_to_receive(product):
    path = product.data_dir / "spool" / "0001" / "incoming"
    away = path.with_name("away")
    path.rename(away)
    try:
        return submit(product, body=(b"x" * 70 + b"\r\n") * 6000)
    finally:
        away.rename(path)


def closed_account(product):
    account = "000000000002"
    product.run("account", "create", account)
    made = product.json("credentials", "create", "--account", account)["smtp"]
    product.run("account", "close", account, "--yes")
    return login(product, made["username"], made["password"])


SHOWN = {
    "Authentication successful": login,
    "Successful delivery": submit,
    "Service unavailable": too_many,
    "Local processing error": without_permits,
    "Timeout": silent,
    "Daily sending quota exceeded": over_the_day,
    "Maximum send rate exceeded": over_the_rate,
    "Amazon SES issue when validating SMTP credentials": without_catalog,
    "Problem receiving the request": without_room_to_receive,
    "Incorrect credentials": lambda product: said(connected(product).docmd("MAIL FROM:<app@example.com>")),
    "Authentication Credentials Invalid": lambda product: login(product, password="wrong"),
    "Account not subscribed to Amazon SES": closed_account,
    "Message is too long": lambda product: raw(product, "MAIL FROM:<app@example.com> SIZE=41943041"),
    "MAIL FROM syntax error": lambda product: raw(product, "MAIL FROM:<email-address>"),
    "RCPT TO syntax error": lambda product: raw(product, "MAIL FROM:<app@example.com>", "RCPT TO:<email-address>"),
    "Unverified email address": lambda product: submit(product, sender="identity0@else.example"),
}
DIFFERENT = {
    "MessageID": r"[0-9a-f]{16}-[0-9a-f-]{36}-[0-9]{6}",
    "region: identity0, identity1, identity2": "LOCAL-1: identity0@else[.]example",
}


def pattern(text):
    expression = re.escape(text)
    for words, stands_for in DIFFERENT.items():
        expression = expression.replace(re.escape(words), stands_for)
    return expression


def takes_mail(product):
    try:
        return submit(product).startswith("250 Ok ")
    except smtplib.SMTPException:  # connections that were held are still being closed
        return False


@pytest.mark.req("SMTP-010", "SMTP-011", "SMTP-012", "SMTP-015", "SMTP-021", "SMTP-027", "SMTP-028", "QUOTA-005")
@pytest.mark.parametrize("row", sorted(SHOWN))
def test_each_response_of_the_guide(product, row):
    assert re.fullmatch(pattern(GUIDE[row]), SHOWN[row](product))
    eventually(lambda: takes_mail(product), what="a relay that takes mail again")


def test_every_row_is_shown_but_the_one_by_policy():
    """What a policy refuses has the text of the guide; the quotes are those that were observed."""
    assert GUIDE.keys() - SHOWN.keys() == {"User not authorized to call the Amazon SES SMTP endpoint"}
    refusal = access_denied(SendContext(SMTP_ACTION, "000000000001", user_arn="UserARN"), "IdentityARN")
    plain = f"{refusal.reason.code} {refusal.text}".replace("`", "").replace("'", "")
    assert plain == GUIDE["User not authorized to call the Amazon SES SMTP endpoint"]


@pytest.mark.req("ERR-010", "ERR-011")
def test_what_is_refused_costs_no_quota_leaves_no_message_and_4xx_may_be_repeated(product):
    quota(product, -1, -1)
    eventually(lambda: product.rows("queue", "list") == [])
    before = product.json("quota", "show")["sentLast24Hours"]
    for refused in (over_the_day, over_the_rate, without_permits, SHOWN["Unverified email address"]):
        assert refused(product)[0] in "45"
    assert product.json("quota", "show")["sentLast24Hours"] == before
    assert product.rows("queue", "list") == []
    assert submit(product).startswith("250 Ok ")
