"""Signatures as receivers see them: who signs, with which key, through rotation, import, and switching off."""

import base64
import re
import smtplib
import sqlite3
import subprocess
import uuid

import dkim
import pytest
from cryptography.hazmat.primitives import serialization as forms

from tests.product import Product, Receiver, eventually

WEEK_S = 7 * 86_400


class Door:
    """Whether the receiver takes mail now."""

    closed = False

    def __call__(self, verb, line):
        return "451 4.3.0 later" if self.closed and verb == "RCPT" else None


@pytest.fixture(scope="module")
def door():
    return Door()


@pytest.fixture(scope="module")
def receiver(door):
    with Receiver(answer=door) as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Product(receiver.port, delivery={"retry": ["1s"], "retry_jitter_percent": 0}) as made:
        yield made


def submit(product, author, headers=""):
    """Submit a message without a password, and return its mark."""
    mark = uuid.uuid4().hex
    text = f"From: {author}\r\nTo: user@remote.example\r\nSubject: A test\r\nX-Mark: {mark}\r\n{headers}\r\nHello\r\n"
    with smtplib.SMTP("127.0.0.1", product.trusted_port, timeout=30) as client:
        client.sendmail(author, ["user@remote.example"], text.encode())
    return mark


def arrived(receiver, mark):
    def find():
        return next((data for _, _, data in receiver.messages if mark.encode() in data), None)

    return eventually(find, what="the message")


def sent(product, receiver, author, headers=""):
    return arrived(receiver, submit(product, author, headers))


def tags(data, name):
    """Return the values of a tag in the signatures of a message, from the top."""
    head = re.sub(rb"\r\n[ \t]+", b" ", data.partition(b"\r\n\r\n")[0])
    found = re.findall(rb"^DKIM-Signature:(.*)$", head, re.MULTILINE)
    return [re.search(rf"(?:^|;)\s*{name}=\s*([^;]*)".encode(), one).group(1).decode() for one in found]


def published(product, *domains):
    """Return a look-up of what owners are told to publish, as dkimpy wants it."""
    found = {}
    for domain in domains:
        for record in product.json("dkim", "show", domain)["records"]:
            found[f"{record['name']}."] = record["value"].encode()
    return lambda name, timeout=5: found.get(name.decode(), b"")


@pytest.mark.req("DKIM-001", "DKIM-009", "DKIM-017")
def test_a_signature_of_easy_dkim(product, receiver):
    """L04: a time, and an end a week later; every field that a reader sees is covered, From once more."""
    headers = (
        "Cc: c@remote.example\r\nReply-To: r@example.com\r\nMIME-Version: 1.0\r\nFeedback-ID: 1:2:3\r\n"
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n"
    )
    data = sent(product, receiver, "app@example.com", headers)
    assert dkim.verify(data, dnsfunc=published(product, "example.com"))
    (a,), (c,), (q,), (t,), (x,), (h,) = (tags(data, name) for name in ("a", "c", "q", "t", "x", "h"))
    assert (a, c, q, int(x) - int(t)) == ("rsa-sha256", "relaxed/relaxed", "dns/txt", WEEK_S)
    covered = h.replace(" ", "").split(":")
    assert covered.count("from") == 2
    assert set(covered) >= {
        "from", "to", "cc", "reply-to", "subject", "date", "message-id", "mime-version", "content-type",
        "content-transfer-encoding", "feedback-id",
    }  # fmt: skip
    shown = product.json("dkim", "show", "example.com")
    assert (shown["signingAttributesOrigin"], shown["signingEnabled"]) == ("AWS_SES", True)
    assert len(shown["tokens"]) == 3
    assert tags(data, "s")[0] in shown["tokens"]
    assert (shown["currentSigningKeyLength"], shown["nextSigningKeyLength"]) == ("RSA_2048_BIT", "RSA_2048_BIT")
    assert shown["lastKeyGeneration"]


@pytest.mark.req("DKIM-012", "DKIM-013", "DKIM-014")
def test_who_signs_and_who_may_say_otherwise(product, receiver):
    def domains(author):
        return tags(sent(product, receiver, author, "Reply-To: a@elsewhere.example\r\n"), "d")

    for address in ("joe@example.com", "joe@elsewhere.example"):
        product.run("identity", "create", address)
        product.run("identity", "verify", "--force", address)
    assert domains("user@a.example.com") == domains("joe@example.com") == ["example.com"]
    assert domains("joe@elsewhere.example") == []
    product.run("dkim", "disable", "joe@example.com")
    assert domains("joe@example.com") == []
    assert domains("ann@example.com") == ["example.com"]
    product.run("dkim", "disable", "example.com")
    product.run("dkim", "enable", "joe@example.com")
    assert domains("ann@example.com") == domains("user@a.example.com") == []
    assert domains("joe@example.com") == ["example.com"]
    product.run("dkim", "enable", "example.com")
    assert domains("ann@example.com") == ["example.com"]
    for command in ("enable", "disable"):
        refused = product.run("dkim", command, "joe@elsewhere.example", check=False)
        assert refused.returncode == 64
        assert "elsewhere.example is not a verified identity of this account" in refused.stderr


@pytest.mark.req("DKIM-005")
def test_queued_mail_verifies_after_a_rotation(product, receiver, door):
    """L14: the old key signs nothing more, and stays published for what carries it."""
    door.closed = True
    mark = submit(product, "app@example.com")
    eventually(lambda: any(row["attempts"] for row in product.rows("queue", "list")), what="an attempt")
    rotated = product.json("dkim", "rotate", "example.com", "--force")
    door.closed = False
    old = arrived(receiver, mark)
    new = sent(product, receiver, "app@example.com")
    assert tags(old, "s") != tags(new, "s")
    states = {key["selector"]: key["state"] for key in rotated["keys"]}
    assert (states[tags(old, "s")[0]], states[tags(new, "s")[0]]) == ("retired", "active")
    lookup = published(product, "example.com")
    assert dkim.verify(old, dnsfunc=lookup)
    assert dkim.verify(new, dnsfunc=lookup)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "private.key"
    subprocess.run(["openssl", "genrsa", "-out", str(path), "1024"], check=True, capture_output=True)
    return path


@pytest.mark.req("DKIM-006", "DKIM-008", "DKIM-009", "DKIM-010", "DKIM-019")
def test_a_key_of_ones_own(product, receiver, key_file):
    """The guide's way: openssl makes the key, the owner publishes its public half, mail is signed throughout."""
    (old,) = tags(sent(product, receiver, "app@example.com"), "s")
    made = product.json("dkim", "import", "example.com", "--selector", "own", "--key-file", str(key_file))
    assert (made["signingAttributesOrigin"], made["status"], made["tokens"]) == ("EXTERNAL", "PENDING", [])
    public = subprocess.run(
        ["openssl", "rsa", "-in", str(key_file), "-pubout"], check=True, capture_output=True, text=True
    ).stdout
    wanted = "".join(public.splitlines()[1:-1])
    record = next(one for one in made["records"] if one["name"] == "own._domainkey.example.com")
    assert (record["type"], record["value"]) == ("TXT", f"v=DKIM1; k=rsa; p={wanted}")
    assert tags(sent(product, receiver, "app@example.com"), "s") == [old]
    product.run("identity", "verify", "--force", "example.com")
    data = sent(product, receiver, "app@example.com")
    assert tags(data, "s") == ["own"]
    assert dkim.verify(data, dnsfunc=published(product, "example.com"))
    assert product.json("dkim", "show", "example.com")["currentSigningKeyLength"] == "RSA_1024_BIT"
    assert_nowhere(product, key_file)
    back = product.json("dkim", "easy", "example.com")
    assert (back["signingAttributesOrigin"], len(back["tokens"])) == ("AWS_SES", 3)
    assert tags(sent(product, receiver, "app@example.com"), "s") == ["own"]
    product.run("identity", "verify", "--force", "example.com")
    assert tags(sent(product, receiver, "app@example.com"), "s")[0] in back["tokens"]


def assert_nowhere(product, key_file):
    """No file of the relay holds the private key, and no command tells it."""
    key = forms.load_pem_private_key(key_file.read_bytes(), None)
    der = key.private_bytes(forms.Encoding.DER, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    secret = key.private_numbers().p.to_bytes(64, "big")[:32]
    at = der.index(secret)
    needles = [secret, *(base64.b64encode(der[at + shift : at + 30]) for shift in range(3))]
    assert needles[0] in der
    raw = b"".join(path.read_bytes() for path in product.directory.rglob("*") if path.is_file())
    commands = (("dkim", "show"), ("dkim", "list"), ("identity", "show"))
    raw += b"".join(product.run(*command, "example.com", "--json").stdout.encode() for command in commands)
    assert b"own._domainkey" in raw
    assert not [needle for needle in needles if needle in raw]


@pytest.mark.req("DKIM-019")
def test_a_key_that_does_not_open_delays_mail(product, receiver):
    """L10: unsigned mail would be worse than late mail."""
    product.run("identity", "create", "broken.example")
    product.run("identity", "verify", "--force", "broken.example")
    catalog = sqlite3.connect(product.data_dir / "catalog.db")
    with catalog:
        catalog.execute("UPDATE dkim_key SET sealed = zeroblob(100) WHERE domain = 'broken.example'")
        catalog.execute("INSERT INTO change (account) VALUES (?)", (product.account,))
    catalog.close()
    before = len(receiver.messages)
    with pytest.raises(smtplib.SMTPResponseException) as caught:
        submit(product, "app@broken.example")
    assert caught.value.smtp_code == 451
    sent(product, receiver, "app@example.com")
    assert len(receiver.messages) == before + 1


@pytest.mark.req("DKIM-015")
def test_the_relays_own_signature(receiver):
    """Mail of an identity without DKIM is signed once, by the relay; `always` adds it to all mail."""
    with Product(receiver.port, dkim={"expire_after": "0s"}) as product:
        for name in ("relay.example", "joe@elsewhere.example"):
            product.run("identity", "create", name)
            product.run("identity", "verify", "--force", name)
        lookup = published(product, "example.com", "relay.example")
        plain = sent(product, receiver, "joe@elsewhere.example")
        assert tags(plain, "d") == ["relay.example"]
        assert dkim.verify(plain, dnsfunc=lookup)
        assert b" x=" not in plain
        assert tags(sent(product, receiver, "app@example.com"), "d") == ["example.com"]
        product.values["dkim"] = {"relay_signature": "always"}
        product.save()
        product.stop()
        product.start()
        both = sent(product, receiver, "app@example.com")
        assert tags(both, "d") == ["example.com", "relay.example"]
        assert [dkim.DKIM(both).verify(number, dnsfunc=lookup) for number in range(2)] == [True, True]


@pytest.mark.req("DKIM-005")
def test_the_office_rotates_what_is_due(product, receiver, tmp_path):
    """At its start it looks: the next key is in DNS, the present one has signed for its time."""
    from relay.testing.internet import FakeInternet

    with FakeInternet({}, network="127.0.23").in_thread() as net:
        with Product(receiver.port, dns={"nameservers": [net.dns.nameserver]}) as own:
            for record in own.json("dkim", "show", "example.com")["records"]:
                value = record["value"]
                strings = " ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255))
                net.dns.zones[record["name"]] = {"TXT": [strings]}
            (old,) = tags(sent(own, receiver, "app@example.com"), "s")
            own.stop()
            catalog = sqlite3.connect(own.data_dir / "catalog.db")
            with catalog:
                catalog.execute("UPDATE identity SET dkim_rotated_ms = dkim_rotated_ms - 90 * 86400000")
            catalog.close()
            own.start()
            eventually(lambda: "dkim key rotated" in own.log_text(), what="a rotation")
            (new,) = tags(sent(own, receiver, "app@example.com"), "s")
            assert new != old
            assert new in own.json("dkim", "show", "example.com")["tokens"]
