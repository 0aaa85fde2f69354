"""Return paths at a domain of the sender's own, and what receivers will find for its mail (MFROM, AUTHN)."""

import json
import smtplib

import pytest

from tests.adversarial.test_backscatter import REPORT
from tests.nameserver import NameServer
from tests.product import Product, Receiver, eventually

pytestmark = pytest.mark.peer
HOST = "relay.example"  # the product's name
BOUNCE = f"bounce.{HOST}"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    zones = dict.fromkeys(
        (*(f"{name}.example" for name in ("shop", "strict", "two", "joe", "dmarc", "spf")), HOST), ""
    )
    with NameServer(tmp_path_factory.mktemp("nsd"), zones) as server:
        yield server


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as taking:
        yield taking


@pytest.fixture(scope="module")
def product(names, receiver):
    made = Product(receiver.port, domain=None, dns={"nameservers": [names.address], "timeout": "2s"})
    with made:
        yield made


def own(product, names, domain):
    """Let the account send from a domain whose DKIM records are published."""
    product.run("identity", "create", domain)
    names.publish(domain, records(product, domain))
    product.run("identity", "verify", domain)
    product.domain = domain


def records(product, *identities, mail_from=True):
    """Return the records to publish as lines of a zone file, as the command writes them."""
    lines = "".join(product.run("identity", "records", name).stdout for name in identities).splitlines()
    return "".join(f"{line}\n" for line in lines if mail_from or "_domainkey" in line)


def path_of(product, receiver, **send):
    """Send a message and return the return path that its receiver saw."""
    number = len(receiver.messages)
    recipient = f"u{number}@remote.example"
    product.send(recipient, **send)
    found = eventually(lambda: [m for m in receiver.messages if m[1] == [recipient]], what=recipient)
    return found[0][0]


def mail_from(product, name):
    return product.json("identity", "show", name, "--no-dns")["checks"].get("MAIL_FROM", {}).get("state")


def answers(product, recipient):
    with smtplib.SMTP("127.0.0.1", product.mx_port, timeout=20) as client:
        client.ehlo()
        client.mail("")
        return client.rcpt(recipient)[0]


def told(receiver, words):
    """Wait for a mail to the contact whose subject has these words."""

    def there():
        mails = [data for _, to, data in receiver.messages if to == ["owner@remote.example"]]
        return any(words.encode() in data.replace(b"\r\n ", b" ") for data in mails)

    eventually(there, what=words)


@pytest.mark.req(
    "MFROM-001", "MFROM-004", "MFROM-006", "MFROM-007", "MFROM-008", "MFROM-009", "MFROM-010", "MFROM-011"
)
def test_a_domain_is_used_once_its_mx_record_is_found_and_bounces_come_back_there(product, names, receiver):
    product.run("account", "contact", product.account, "owner@remote.example")
    own(product, names, "shop.example")
    assert path_of(product, receiver).endswith(f"@{BOUNCE}")
    out = product.run("identity", "mail-from", "set", "shop.example", "mail.shop.example").stdout
    assert f"mail.shop.example. IN MX 10 {HOST}." in out
    assert f'mail.shop.example. IN TXT "v=spf1 include:{BOUNCE} ~all"' in out
    assert mail_from(product, "shop.example") == "PENDING"
    assert path_of(product, receiver).endswith(f"@{BOUNCE}")  # UseDefaultValue
    names.publish("shop.example", records(product, "shop.example"))
    product.run("identity", "verify", "shop.example")
    assert mail_from(product, "shop.example") == "SUCCESS"
    told(receiver, "MAIL FROM domain setup successful for shop.example")
    path = path_of(product, receiver)
    assert path.endswith("@mail.shop.example")
    # Only tokens are taken there, and the postmaster.
    assert answers(product, path) == 250
    assert answers(product, "x@mail.shop.example") == 550
    assert answers(product, f"{path[1:5]}{path[5:]}") == 550
    assert answers(product, "postmaster@mail.shop.example") == 250
    assert answers(product, "x@other.shop.example") == 530
    before = len(product.events("Bounce"))
    with smtplib.SMTP("127.0.0.1", product.mx_port, timeout=20) as client:
        client.sendmail("", [path], REPORT)
    eventually(lambda: len(product.events("Bounce")) == before + 1, what="the bounce")
    # The record goes, and comes back: what cannot take bounces is not used meanwhile.
    names.publish("shop.example", records(product, "shop.example", mail_from=False))
    product.run("identity", "verify", "shop.example", check=False)
    assert mail_from(product, "shop.example") == "TEMPORARY_FAILURE"
    told(receiver, "MAIL FROM domain setup about to fail for shop.example")
    assert path_of(product, receiver).endswith(f"@{BOUNCE}")
    names.publish("shop.example", records(product, "shop.example"))
    product.run("identity", "verify", "shop.example", check=False)
    assert path_of(product, receiver).endswith("@mail.shop.example")
    product.run("identity", "mail-from", "clear", "shop.example")
    assert path_of(product, receiver).endswith(f"@{BOUNCE}")
    assert mail_from(product, "shop.example") is None


@pytest.mark.req("MFROM-008", "ERR-007", "FLOW-022")
def test_a_strict_domain_refuses_mail_until_it_is_found(product, names, receiver):
    own(product, names, "strict.example")
    product.run("identity", "mail-from", "set", "strict.example", "m.strict.example", "--fallback", "REJECT_MESSAGE")
    with pytest.raises(AssertionError, match="Mail FROM domain is not verified"):
        product.send()
    names.publish("strict.example", records(product, "strict.example"))
    product.run("identity", "verify", "strict.example")
    assert path_of(product, receiver).endswith("@m.strict.example")


@pytest.mark.req("MFROM-005")
def test_two_mx_records_are_none(product, names):
    own(product, names, "two.example")
    product.run("identity", "mail-from", "set", "two.example", "m.two.example")
    names.publish("two.example", records(product, "two.example") + f"m 1 IN MX 20 {HOST}.\n")
    product.run("identity", "verify", "two.example", check=False)
    shown = product.json("identity", "show", "two.example", "--no-dns")["checks"]["MAIL_FROM"]
    assert (shown["state"], shown["errorType"]) == ("PENDING", "INVALID_VALUE")


@pytest.mark.req("MFROM-010", "IDENT-004")
def test_an_address_has_its_own_or_its_domains(product, names, receiver):
    own(product, names, "joe.example")
    product.run("identity", "mail-from", "set", "joe.example", "mail.joe.example")
    names.publish("joe.example", records(product, "joe.example"))
    product.run("identity", "verify", "joe.example")
    product.run("identity", "create", "joe@joe.example")
    product.run("identity", "verify", "--force", "joe@joe.example")
    text = "From: joe@joe.example\r\nTo: {}\r\nSubject: x\r\n\r\nhi\r\n"

    def path(number):
        recipient = f"joe{number}@remote.example"
        with smtplib.SMTP("127.0.0.1", product.trusted_port) as client:
            client.sendmail("joe@joe.example", [recipient], text.format(recipient))
        return eventually(lambda: [m for m in receiver.messages if m[1] == [recipient]], what=recipient)[0][0]

    assert path(1).endswith("@mail.joe.example")
    product.run("identity", "mail-from", "set", "joe@joe.example", "own.joe.example")
    names.publish("joe.example", records(product, "joe.example", "joe@joe.example"))
    product.run("identity", "verify", "joe@joe.example")
    assert path(2).endswith("@own.joe.example")
    assert path_of(product, receiver).endswith("@mail.joe.example")


@pytest.mark.req("MFROM-002", "MFROM-003", "MFROM-010")
@pytest.mark.parametrize(
    ("name", "domain", "text"),
    [
        ("bad.example", "bad.example", "subdomain"),
        ("bad.example", "mail.other.example", "subdomain"),
        ("bad.example", "evilbad.example", "subdomain"),
        ("bad.example", "a b.bad.example", "not a domain name"),
        ("bad.example", "mail.bad.example.", "not a domain name"),
        ("nobody.example", "m.nobody.example", "no identity"),
        (HOST, BOUNCE, "takes mail for"),
        ("lone@elsewhere.example", "m.elsewhere.example", "no identity of account"),
    ],
)
def test_domains_that_cannot_be(product, name, domain, text):
    product.run("identity", "create", name, check=False)
    if name == "nobody.example":
        product.run("identity", "delete", "--yes", name)
    refused = product.run("identity", "mail-from", "set", name, domain, check=False)
    assert refused.returncode == 64
    assert text in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.req("MFROM-003")
def test_a_domain_that_mail_is_also_from_gets_a_warning(product):
    for name in ("both.example", "news.both.example"):
        product.run("identity", "create", name)
    done = product.run("identity", "mail-from", "set", "both.example", "news.both.example")
    assert "also an identity to send from" in done.stderr


@pytest.mark.req("AUTHN-003", "AUTHN-004", "AUTHN-005", "AUTHN-006")
def test_dmarc_is_judged_before_anything_is_sent(product, names):
    own(product, names, "dmarc.example")
    product.run("dkim", "disable", "dmarc.example")
    names.publish("dmarc.example", records(product, "dmarc.example"))

    def judged(code):
        done = product.run("dmarc", "check", "dmarc.example", "--json", check=False)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    one = judged(75)
    assert (one["passes"], one["spf"]["passes"], one["dkim"]["passes"]) == (False, False, False)
    out = product.run("dmarc", "check", "dmarc.example", check=False).stdout
    assert '_dmarc.dmarc.example. IN TXT "v=DMARC1;p=quarantine;pct=25;rua=mailto:' in out
    product.run("dkim", "enable", "dmarc.example")
    names.publish("dmarc.example", "")
    one = judged(75)
    assert (one["passes"], one["dkim"]["passes"]) == (False, False)
    assert "is not in DNS at" in one["dkim"]["reason"]
    names.publish("dmarc.example", records(product, "dmarc.example"))
    assert judged(0)["dkim"]["passes"]
    product.run("identity", "mail-from", "set", "dmarc.example", "m.dmarc.example")
    dmarc = '_dmarc 1 IN TXT "v=DMARC1; p=reject; aspf={}; adkim=s; pct=400"\n'
    names.publish("dmarc.example", records(product, "dmarc.example") + dmarc.format("r"))
    product.run("identity", "verify", "dmarc.example")
    one = judged(0)
    assert one["spf"]["passes"]
    assert one["dkim"]["passes"]
    assert "pct=400" in one["faults"][0]
    without_spf = [line for line in records(product, "dmarc.example").splitlines(keepends=True) if "spf1" not in line]
    names.publish("dmarc.example", "".join(without_spf) + dmarc.format("r"))
    one = judged(0)
    assert one["spf"] == {"passes": False, "reason": "m.dmarc.example has no SPF record, or several"}
    assert one["dkim"]["passes"]
    names.publish("dmarc.example", records(product, "dmarc.example") + dmarc.format("s"))
    one = judged(0)
    assert one["spf"]["passes"] is False
    assert "strict" in one["spf"]["reason"]
    shown = product.json("identity", "show", "dmarc.example")["dmarc"]
    assert (shown["passes"], shown["returnPathDomain"]) == (True, "m.dmarc.example")


@pytest.mark.req("AUTHN-001", "AUTHN-002")
def test_spf_records_to_publish(product, names):
    names.publish(HOST, "@ 1 IN A 198.51.100.7\n@ 1 IN AAAA 2001:db8::7\n")
    own_record = product.json("spf")
    assert (own_record["name"], own_record["value"]) == (BOUNCE, "v=spf1 ip4:198.51.100.7 ip6:2001:db8::7 ~all")
    assert product.json("spf", "shop.example")["value"] == f"v=spf1 include:{BOUNCE} ~all"
    names.publish("spf.example", '@ 1 IN TXT "v=spf1 mx -all"\n')
    assert product.json("spf", "spf.example")["value"] == f"v=spf1 mx include:{BOUNCE} -all"
    names.publish("spf.example", f'@ 1 IN TXT "v=spf1 include:{BOUNCE} -all"\n')
    assert "It is published." in product.json("spf", "spf.example")["remarks"]
