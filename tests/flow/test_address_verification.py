"""Addresses are verified by a mailed link: the mail, its page, and everything that must not work."""

import base64
import contextlib
import email
import email.policy
import re
import sqlite3
import ssl
import time
import warnings

import httpx
import pytest

from tests.product import Product, Receiver, eventually, free_ports

DAY_MS = 24 * 3600 * 1000


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    port, secure_port = free_ports(2)
    listeners = (
        {"kind": "http", "address": "127.0.0.1", "port": port},
        {"kind": "http", "address": "127.0.0.1", "port": secure_port, "tls": "implicit"},
    )
    settings = {
        "http": {"public_url": f"http://127.0.0.1:{port}"},
        "notifications": {"product_name": "Mail Works"},
        "contact": "abuse@relay.example",
    }
    with Product(receiver.port, workers=2, listeners=listeners, **settings) as made:
        made.http_port, made.secure_port = port, secure_port
        yield made


def mail_to(receiver, address, count=1, timeout_seconds=15):
    """Return the mails to an address, when there are so many."""

    def found():
        mails = [message for message in receiver.messages if message[1] == [address]]
        return mails if len(mails) >= count else None

    return eventually(found, timeout_seconds, f"mail number {count} to {address}")


def read(mail):
    return email.message_from_bytes(mail[2], policy=email.policy.default)


def link_in(mail):
    """Return the link of a mail's plain text."""
    text = read(mail).get_body(("plain",)).get_content()
    found = re.findall(r"https?://\S+/verify/[A-Za-z0-9_-]{22}(?=\s|$)", text)
    assert len(found) == 1, text
    return found[0]


def ask_for(product, receiver, address):
    """Create an address identity and return the link that was mailed."""
    product.run("identity", "create", address)
    return link_in(mail_to(receiver, address)[0])


def confirm(link, **options):
    return httpx.post(link, data={"confirm": "yes"}, **options)


def shown(product, address):
    return product.json("identity", "show", address)


def in_catalog(product, statement, *values):
    """Run a statement in the catalog's file."""
    with contextlib.closing(sqlite3.connect(product.data_dir / "catalog.db", timeout=10)) as connection, connection:
        return connection.execute(statement, values).fetchall()


@pytest.mark.req("IDENT-017", "IDENT-018", "HDR-021")
def test_creating_an_address_mails_a_link_within_seconds(product, receiver):
    begun = time.monotonic()
    link = ask_for(product, receiver, "Joe@Elsewhere.example")
    assert time.monotonic() - begun < 30  # the command itself takes most of it
    sender, _, data = mail_to(receiver, "Joe@Elsewhere.example")[0]
    mail = email.message_from_bytes(data, policy=email.policy.default)
    assert sender == ""
    assert mail["Subject"] == "Mail Works - Email Address Verification Request in region local-1"
    assert mail["From"].addresses[0].addr_spec == "no-reply@relay.example"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert re.fullmatch(r"<[0-9A-Za-z-]+@relay\.example>", mail["Message-ID"])
    assert link.startswith(f"http://127.0.0.1:{product.http_port}/verify/")
    assert mail.defects == []
    assert shown(product, "Joe@Elsewhere.example")["state"] == "PENDING"


@pytest.mark.req("IDENT-019")
def test_looking_at_the_page_verifies_nothing_and_its_button_does(product, receiver):
    link = ask_for(product, receiver, "ann@elsewhere.example")
    for _ in range(2):
        page = httpx.get(link)
        assert page.status_code == 200
        assert "ann<wbr>@elsewhere.example" in page.text
    assert httpx.head(link).status_code == 200
    assert httpx.post(link).status_code == 200  # a scanner that posts without the form's field
    assert httpx.post(link, data={"confirm": "no"}).status_code == 200
    assert httpx.get(link + "?confirm=yes").status_code == 200
    assert not shown(product, "ann@elsewhere.example")["verified"]
    done = confirm(link)
    assert done.status_code == 200
    assert "is verified" in done.text
    assert shown(product, "ann@elsewhere.example") | {"verified": True, "state": "SUCCESS"} == shown(
        product, "ann@elsewhere.example"
    )
    again = confirm(link)
    assert again.status_code == 404
    assert httpx.get(link).text == again.text


@pytest.mark.req("IDENT-017")
def test_a_confirmed_address_may_send_from_the_next_request_on(product, receiver):
    link = ask_for(product, receiver, "sender@solo.example")
    client = product.client()
    with client:
        client.mail("sender@solo.example")
        client.rcpt("user@remote.example")
        assert client.data(b"From: sender@solo.example\r\n\r\nhi\r\n")[0] == 554
        assert confirm(link).status_code == 200
        client.mail("sender@solo.example")
        client.rcpt("user@remote.example")
        assert client.data(b"From: sender@solo.example\r\n\r\nhi\r\n")[0] == 250


def test_what_cannot_be_used_looks_the_same_whatever_it_is(product, receiver):
    used = ask_for(product, receiver, "used@elsewhere.example")
    confirm(used)
    old = ask_for(product, receiver, "old@elsewhere.example")
    in_catalog(
        product,
        "UPDATE verification_link SET expires_ms = ? WHERE address = 'old@elsewhere.example'",
        int(time.time() * 1000) - 1,
    )
    base = old.rpartition("/")[0]
    bad = [used, old, f"{base}/{'A' * 22}", f"{base}/short", f"{base}/{'%00' * 22}", f"{base}/{'A' * 5000}"]
    answers = [call(link) for link in bad for call in (httpx.get, confirm)]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    different = {"date"}
    headers = [{k: v for k, v in answer.headers.items() if k not in different} for answer in answers]
    assert all(one == headers[0] for one in headers)
    assert not shown(product, "old@elsewhere.example")["verified"]


@pytest.mark.req("IDENT-017")
def test_a_link_that_nobody_uses_in_a_day_fails_the_identity(product, receiver):
    product.run("account", "create", "000000000002", "--contact", "owner@contact.example")
    product.run("identity", "create", "late@elsewhere.example", "--account", "000000000002")
    link = link_in(mail_to(receiver, "late@elsewhere.example")[0])
    ends, created = in_catalog(
        product, "SELECT expires_ms, created_ms FROM verification_link WHERE address = 'late@elsewhere.example'"
    )[0]
    assert ends - created == DAY_MS
    in_catalog(
        product,
        "UPDATE verification_link SET expires_ms = ? WHERE address = 'late@elsewhere.example'",
        int(time.time() * 1000) - 1,
    )
    show = ("identity", "show", "late@elsewhere.example", "--account", "000000000002")
    eventually(lambda: product.json(*show)["state"] == "FAILED", 20)
    assert confirm(link).status_code == 404
    told = read(mail_to(receiver, "owner@contact.example")[0])
    assert "Verification failed for late@elsewhere.example" in told["Subject"]
    product.run("identity", "resend", "late@elsewhere.example", "--account", "000000000002")
    assert product.json(*show)["state"] == "PENDING"
    assert confirm(link_in(mail_to(receiver, "late@elsewhere.example", 2)[1])).status_code == 200
    assert product.json(*show)["state"] == "SUCCESS"
    assert "Verification successful" in read(mail_to(receiver, "owner@contact.example", 2)[1])["Subject"]


@pytest.mark.req("IDENT-018")
def test_resending_voids_the_older_link(product, receiver):
    first = ask_for(product, receiver, "twice@elsewhere.example")
    product.run("identity", "resend", "twice@elsewhere.example")
    second = link_in(mail_to(receiver, "twice@elsewhere.example", 2)[1])
    assert first != second
    assert confirm(first).status_code == 404
    assert not shown(product, "twice@elsewhere.example")["verified"]
    assert confirm(second).status_code == 200
    done = product.run("identity", "resend", "twice@elsewhere.example", check=False)
    assert done.returncode == 64
    assert "verified already" in done.stderr


def test_only_the_hash_of_a_token_is_kept(product, receiver):
    link = ask_for(product, receiver, "hash@elsewhere.example")
    token = link.rpartition("/")[2]
    assert len(base64.urlsafe_b64decode(token + "==")) == 16

    rows = in_catalog(product, "SELECT * FROM verification_link WHERE address = 'hash@elsewhere.example'")
    assert token not in repr(rows)
    eventually(lambda: in_catalog(product, "SELECT count(*) FROM notice") == [(0,)], 10)


def test_the_page_holds_nothing_back_from_its_reader_and_lets_nothing_in(product, receiver):
    link = ask_for(product, receiver, '"<b&amp;"@elsewhere.example')
    page = httpx.get(link)
    assert "&#34;&lt;b&amp;amp;&#34;<wbr>@elsewhere.example" in page.text
    headers = page.headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    assert not re.search(r"(src|href)=", page.text)


def test_large_and_foreign_requests_are_cut_short(product, receiver):
    link = ask_for(product, receiver, "large@elsewhere.example")
    assert httpx.post(link, content=b"confirm=yes&x=" + b"x" * 100_000).status_code == 200
    assert not shown(product, "large@elsewhere.example")["verified"]
    base = f"http://127.0.0.1:{product.http_port}"
    assert httpx.get(base).status_code == 404
    refused = httpx.put(link, content=b"")
    assert refused.status_code == 405
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert httpx.get(base, headers={"X-Long": "x" * 40_000}).status_code in (400, 404, 431)


@pytest.mark.req("TLS-001")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_listener_may_have_tls_of_its_own(product, receiver, version):
    address = f"tls{version}@elsewhere.example"
    token = ask_for(product, receiver, address).rpartition("/")[2]
    context = ssl.create_default_context(cafile=str(product.certificate))
    context.minimum_version = context.maximum_version = version
    with httpx.Client(verify=context) as client:
        page = client.get(f"https://localhost:{product.secure_port}/verify/{token}")
        assert page.status_code == 200
        done = client.post(page.url, data={"confirm": "yes"})
    assert "is verified" in done.text
    assert shown(product, address)["verified"]


def test_old_tls_is_refused(product):
    context = ssl.create_default_context(cafile=str(product.certificate))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError), httpx.Client(verify=context) as client:
        client.get(f"https://localhost:{product.secure_port}/")


def test_a_mailbox_is_not_pestered_with_links(product, receiver):
    """Five links a day go there, whatever the identity is called and however it is asked for."""
    address = "quiet@elsewhere.example"
    product.run("identity", "create", address)
    for _ in range(2):
        product.run("identity", "resend", address)
    product.run("identity", "delete", address, "--yes")
    product.run("identity", "create", address)
    product.run("identity", "create", "Quiet+label@elsewhere.example")
    for command, name in (("resend", address), ("create", "QUIET@elsewhere.example")):
        done = product.run("identity", command, name, check=False)
        assert done.returncode == 64
        assert re.search(r"within 24 hours.* may be asked for from \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ on", done.stderr)
    assert "QUIET@elsewhere.example" not in product.run("identity", "list").stdout
    product.run("identity", "create", "other@elsewhere.example")  # nobody else is concerned
    link = link_in(mail_to(receiver, address)[-1])
    in_catalog(
        product,
        "UPDATE verification_link SET created_ms = created_ms - ? WHERE address = ?",
        DAY_MS,
        "Quiet+label@elsewhere.example",
    )
    product.run("identity", "resend", address)
    newest = eventually(lambda: (found := link_in(mail_to(receiver, address)[-1])) != link and found, 15, "a mail")
    assert confirm(link).status_code == 404
    assert confirm(newest).status_code == 200
    assert shown(product, address)["verified"]
