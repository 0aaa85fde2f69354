"""Verification mails in an account's own words, from the command to the page they lead to."""

import base64
import contextlib
import sqlite3
import time

import dkim
import httpx
import pytest

from tests.flow.test_address_verification import confirm, link_in, mail_to, read
from tests.product import Product, Receiver, free_ports

CONTENT = """<html>
<head></head>
<body style='font-family:sans-serif;'>
<h1 style='text-align:center'>Ready to start sending?</h1>
<p>One last step: use the link.</p>
<img src="data:image/png;base64,{image}" alt="logo">
</body>
</html>
"""
SUCCESS, FAILURE = "https://www.shop.example/welcome", "https://www.shop.example/sorry?why=link"
IMAGE = b"\x89PNG" + bytes(range(256)) * 2000  # larger than what a message may have in memory while it arrives


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    (port,) = free_ports(1)
    listeners = ({"kind": "http", "address": "127.0.0.1", "port": port},)
    with Product(receiver.port, listeners=listeners, http={"public_url": f"http://127.0.0.1:{port}"}) as made:
        made.content = made.directory / "mail.html"
        made.content.write_text(CONTENT.format(image=base64.b64encode(IMAGE).decode()))
        create(made, "welcome")
        yield made


def create(product, name, check=True, **options):
    values = {
        "from": "hello@example.com",
        "subject": "Please confirm your address",
        "content": str(product.content),
        "success-url": SUCCESS,
        "failure-url": FAILURE,
    }
    values |= {key.replace("_", "-"): value for key, value in options.items()}
    options = [part for key, value in values.items() if value is not None for part in (f"--{key}", value)]
    return product.run("verification-template", "create", name, *options, check=check)


def names(product):
    return {row["identity"] for row in product.rows("identity", "list")}


def lookup(product):
    """Return a DNS function for dkim that knows the records of the domain."""
    records = {one["name"] + ".": one["value"] for one in product.json("identity", "show", "example.com")["records"]}
    return lambda name, timeout=5: records[name.decode()].encode()


@pytest.mark.req("IDENT-026", "IDENT-027")
def test_the_identity_appears_once_the_link_is_used_and_the_reader_is_sent_on(product, receiver):
    product.run("verification", "send", "customer@buyer.example", "--template", "welcome")
    mail = mail_to(receiver, "customer@buyer.example")[0]
    assert mail[0] == ""
    parsed = read(mail)
    assert parsed["From"] == "hello@example.com"
    assert parsed["Subject"] == "Please confirm your address"
    assert parsed["Auto-Submitted"] == "auto-generated"
    [image] = [part for part in parsed.walk() if part.get_content_type() == "image/png"]
    assert image.get_content() == IMAGE
    assert image.get_content_disposition() == "inline"
    assert dkim.verify(mail[2], dnsfunc=lookup(product))
    assert b"d=example.com" in mail[2]
    link = link_in(mail)
    assert "ignore this mail" in parsed.get_body(("plain",)).get_content()
    page = httpx.get(link)
    assert page.status_code == 200
    assert "form-action 'self' https://www.shop.example;" in page.headers["content-security-policy"]
    assert "customer@buyer.example" not in names(product)
    done = confirm(link)
    assert (done.status_code, done.headers["location"]) == (303, SUCCESS)
    assert done.headers["referrer-policy"] == "no-referrer"
    assert product.json("identity", "show", "customer@buyer.example")["verified"]
    again = confirm(link)
    assert (again.status_code, again.headers["location"]) == (303, FAILURE)
    assert httpx.get(link).headers["location"] == FAILURE


@pytest.mark.req("IDENT-027")
def test_a_link_that_is_too_old_leads_to_the_failure_page_and_makes_nothing(product, receiver):
    product.run("identity", "create", "late@buyer.example", "--template", "welcome")
    link = link_in(mail_to(receiver, "late@buyer.example")[0])
    with contextlib.closing(sqlite3.connect(product.data_dir / "catalog.db", timeout=10)) as connection, connection:
        connection.execute(
            "UPDATE verification_link SET expires_ms = ? WHERE address = 'late@buyer.example'",
            (int(time.time() * 1000) - 1,),
        )
    assert confirm(link).headers["location"] == FAILURE
    assert "late@buyer.example" not in names(product)


@pytest.mark.req("IDENT-024")
def test_a_template_is_changed_in_parts_listed_shown_and_deleted(product):
    create(product, "other")
    product.run("verification-template", "update", "other", "--subject", "Another subject")
    rows = {row["template"]: row for row in product.rows("verification-template", "list")}
    assert rows["other"]["subject"] == "Another subject"
    assert rows["other"]["successUrl"] == SUCCESS
    assert "Ready to start" in product.json("verification-template", "show", "other")["content"]
    product.run("verification-template", "delete", "other")
    assert "other" not in {row["template"] for row in product.rows("verification-template", "list")}
    for command in ("show", "delete"):
        missing = product.run("verification-template", command, "other", check=False)
        assert missing.returncode == 64
        assert "NotFoundException" in missing.stderr


@pytest.mark.req("IDENT-024", "IDENT-025")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"from": "hello@elsewhere.example"}, "FromEmailAddressNotVerified"),
        ({"from": "Shop <hello@example.com>"}, "display name"),
        ({"subject": ""}, "subject"),
        ({"subject": "a\nb"}, "subject"),
        ({"success_url": "javascript:alert(1)"}, "success redirection URL"),
        ({"failure_url": "www.shop.example"}, "failure redirection URL"),
        ({"content": "/dev/null"}, "CustomVerificationEmailInvalidContent"),
    ],
)
def test_a_template_that_cannot_be_is_refused_whole(product, options, says):
    refused = create(product, "bad", check=False, **options)
    assert refused.returncode == 64
    assert says in refused.stderr
    assert "bad" not in {row["template"] for row in product.rows("verification-template", "list")}


@pytest.mark.req("IDENT-025")
def test_html_outside_the_list_is_refused_with_its_place(product):
    page = product.directory / "bad.html"
    page.write_text("<p>hi</p><a href='https://x.example'>x</a>")
    refused = create(product, "bad", check=False, content=str(page))
    assert refused.returncode == 64
    assert "CustomVerificationEmailInvalidContent: The tag <a> at character 10 is not allowed." in refused.stderr


@pytest.mark.req("IDENT-027")
def test_the_sandbox_has_no_custom_mails(product, receiver):
    sandboxed = "000000000007"
    product.run("account", "create", sandboxed, "--sandbox")
    product.run("identity", "create", "sand.example", "--account", sandboxed)
    product.run("identity", "verify", "sand.example", "--force", "--account", sandboxed)
    made = product.run(
        "verification-template", "create", "t", "--account", sandboxed, "--from", "a@sand.example", "--subject", "s",
        "--content", "-", "--success-url", SUCCESS, "--failure-url", FAILURE, input_text="<p>hi</p>",
    )  # fmt: skip
    assert made.returncode == 0
    refused = product.run(
        "verification", "send", "x@buyer.example", "--template", "t", "--account", sandboxed, check=False
    )
    assert refused.returncode == 64
    assert "ProductionAccessNotGranted" in refused.stderr
    assert all(message[1] != ["x@buyer.example"] for message in receiver.messages)


@pytest.mark.req("IDENT-024")
def test_a_template_whose_author_is_no_longer_verified_is_not_mailed(product):
    product.run("identity", "create", "gone.example")
    product.run("identity", "verify", "gone.example", "--force")
    create(product, "gone", **{"from": "a@gone.example"})
    product.run("identity", "delete", "gone.example", "--yes")
    refused = product.run("verification", "send", "y@buyer.example", "--template", "gone", check=False)
    assert refused.returncode == 64
    assert "FromEmailAddressNotVerified" in refused.stderr
