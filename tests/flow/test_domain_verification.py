"""A domain is verified by what a real name server answers, from the first look to the end of its 72 hours."""

import asyncio
import contextlib
import csv
import json
import smtplib
import ssl
import time
from types import SimpleNamespace

import pytest

from relay.runtime.children import new_epoch
from relay.runtime.config.load import load
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.office_checks import CheckService
from relay.runtime.settings import master_key
from relay.store.catalog import open_catalog
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog
from tests.nameserver import NameServer
from tests.product import Product, Receiver, eventually

pytestmark = pytest.mark.peer
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    zones = dict.fromkeys(("shop.example", "token.example", "broken.example", "lost.example", "mine.example"), "")
    with NameServer(tmp_path_factory.mktemp("nsd"), zones) as server:
        yield server


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as taking:
        yield taking


@pytest.fixture(scope="module")
def product(names, receiver):
    made = Product(receiver.port, domain=None, dns={"nameservers": [names.address], "timeout": "2s"})
    made.run("account", "create", "000000000002", "--contact", "owner@other.example")
    with made:
        yield made


def verified(product, names, domain):
    """Let the account have a domain whose records are published, and send from it."""
    product.run("identity", "create", domain)
    names.publish(domain, bind(product, domain))
    product.run("identity", "verify", domain)
    product.domain = domain


def bind(product, name, *more):
    return product.run("identity", "records", name, *more).stdout


def mailed(receiver, recipient, subject):
    return any(to == [recipient] and subject in data.replace(b"\r\n ", b" ") for _, to, data in receiver.messages)


def state(product, name):
    shown = product.json("identity", "show", name, "--no-dns")
    return shown["state"], shown["checks"]["DKIM"]["state"], shown["verified"]


def refused(product, sender):
    with pytest.raises(AssertionError) as failed:
        product.send(sender=sender, headers="")
    return str(failed.value)


@pytest.mark.req("IDENT-010", "DKIM-002")
def test_the_office_finds_what_was_published_before_it_started(product, names):
    product.domain = "shop.example"
    product.run("identity", "create", "shop.example")
    assert state(product, "shop.example") == ("PENDING", "PENDING", False)
    assert "not verified" in refused(product, "app@shop.example")
    product.stop()
    names.publish("shop.example", bind(product, "shop.example"))
    product.run("identity", "restart", "shop.example")
    product.start()
    eventually(lambda: state(product, "shop.example") == ("SUCCESS", "SUCCESS", True), 30, "the verified domain")
    product.send()
    shown = product.json("identity", "show", "shop.example")
    assert [one["difference"] for one in shown["records"]] == ["published"] * 3
    eventually(lambda: product.metric('relay_identity_changes_total{state="SUCCESS"}') >= 2, what="the metric")


@pytest.mark.req("IDENT-016", "IDENT-014")
def test_the_token_alone_verifies_among_other_values(product, names):
    product.run("identity", "create", "token.example")
    token = product.json("identity", "show", "token.example", "--no-dns")["txtToken"]
    names.publish("token.example", f'_amazonses 1 IN TXT "{token.lower()}"')
    failed = product.run("identity", "verify", "token.example", check=False)
    assert failed.returncode == 75
    names.publish("token.example", f'_amazonses 1 IN TXT "another"\n_amazonses 1 IN TXT "{token}"')
    product.run("identity", "verify", "token.example")
    assert state(product, "token.example") == ("SUCCESS", "PENDING", True)
    names.publish("token.example", f'@ 1 IN TXT "v=spf1 -all"\n@ 1 IN TXT "{token}"')
    product.run("identity", "verify", "token.example")
    names.publish("token.example", "")
    product.run("identity", "verify", "token.example", check=False)
    assert state(product, "token.example") == ("TEMPORARY_FAILURE", "PENDING", True)


@pytest.mark.req("IDENT-015")
def test_check_says_what_went_wrong(product, names):
    product.run("identity", "create", "broken.example")
    record, *_ = (json.loads(line) for line in bind(product, "broken.example", "--format", "json").splitlines())

    def told():
        done = product.run("identity", "check", "broken.example", "--json", check=False)
        assert done.returncode == 75
        return json.loads(done.stdout.splitlines()[0])

    assert (told()["difference"], told()["errorType"]) == ("absent", "HOST_NOT_FOUND")
    names.publish("broken.example", bind(product, "broken.example").lower())
    assert (told()["difference"], told()["errorType"]) == ("lower-cased", "INVALID_VALUE")
    names.publish("broken.example", f"{record['name']}.broken.example. 1 IN TXT anything")
    found = told()
    assert (found["difference"], found["errorType"]) == ("name appended twice", "HOST_NOT_FOUND")
    assert f"{record['name']}.broken.example" in found["text"]
    names.publish("broken.example", f'{record["name"]}. 1 IN TXT "v=DKIM1; k=rsa; p=AAAA"')
    assert (told()["difference"], told()["found"]) == ("differs", ["v=DKIM1; k=rsa; p=AAAA"])
    names.publish("broken.example", f"{record['name']}. 1 IN A 127.0.0.1")
    assert (told()["difference"], told()["errorType"]) == ("absent", "TYPE_NOT_FOUND")
    text = product.run("identity", "check", "broken.example", check=False).stdout
    assert f"{record['name']} has no TXT record." in text


def test_records_as_csv(product):
    product.run("identity", "create", "csv.example", "--ed25519")
    rows = list(csv.DictReader(bind(product, "csv.example", "--format", "csv").splitlines()))
    shown = product.json("identity", "show", "csv.example", "--no-dns")["records"]
    assert rows == [{"Name": one["name"], "Type": "TXT", "Value": one["value"]} for one in shown]
    assert len(rows) == 4


def later(product, hours):
    """Let the office's own job look, with a clock so many hours ahead; return the states that checks came to."""
    context = SimpleNamespace(
        config=load(product.config).config, log=MemoryLog(), metrics=ProcessMetrics(new_epoch())
    )
    clock = ManualClock(int(time.time() * 1000) + hours * HOUR_MS)
    service = CheckService(context, clock=clock)

    async def run():
        try:
            return await service.run_due()
        finally:
            await service.close()

    return {(one.identity, str(one.aspect)): str(one.state) for one in asyncio.run(run())}


@contextlib.contextmanager
def catalog(product):
    settings = load(product.config).config
    with open_catalog(settings.data_dir, master_key(settings.data_dir)) as opened:
        yield opened


@pytest.mark.req("IDENT-011", "IDENT-012", "DKIM-011")
def test_lost_records_stop_sending_after_72_hours_and_not_before(product, names, receiver):
    verified(product, names, "lost.example")
    product.send()
    with catalog(product) as opened:
        opened.accounts.set_contact(product.account, "owner@lost.example")
    names.publish("lost.example", "")
    assert product.run("identity", "verify", "lost.example", check=False).returncode == 75
    assert state(product, "lost.example") == ("TEMPORARY_FAILURE", "TEMPORARY_FAILURE", True)
    product.send()
    assert ("lost.example", "DKIM") not in later(product, 71)
    product.send()
    changed = later(product, 73)
    assert changed["lost.example", "DKIM"] == changed["lost.example", "VERIFICATION"] == "FAILED"
    assert "not verified" in refused(product, "app@lost.example")
    for news in (b"DKIM setup about to fail for lost.example", b"DKIM setup failed for lost.example"):
        eventually(lambda news=news: mailed(receiver, "owner@lost.example", news), what=news)
    # It is over until somebody starts again.
    names.publish("lost.example", bind(product, "lost.example"))
    assert later(product, 80).get(("lost.example", "DKIM")) is None
    product.run("identity", "restart", "lost.example")
    product.run("identity", "verify", "lost.example")
    product.send()


@pytest.mark.req("IDENT-001")
def test_another_account_can_neither_see_nor_shadow_a_domain(product, names):
    verified(product, names, "mine.example")
    product.run("identity", "create", "hidden.example")
    other = ("--account", "000000000002")
    for name in ("mine.example", "sub.mine.example"):
        made = product.json("identity", "create", name, *other)
        assert made["state"] == "PENDING"
        assert product.run("identity", "verify", name, *other, check=False).returncode == 75
    mine = product.json("identity", "show", "mine.example", "--no-dns")
    theirs = product.json("identity", "show", "mine.example", "--no-dns", *other)
    assert mine["txtToken"] != theirs["txtToken"]
    assert mine["records"][0]["value"] != theirs["records"][0]["value"]
    # Names that exist elsewhere and names that do not are answered alike.
    for command in (("show",), ("verify",), ("delete", "--yes")):
        told = [
            product.run("identity", command[0], name, *command[1:], *other, check=False).stderr.replace(name, "NAME")
            for name in ("hidden.example", "never.example")
        ]
        assert told[0] == told[1]
    # Their identity below my domain changes nothing for me, and mine verifies nothing for them.
    product.send(sender="app@sub.mine.example")
    user = product.json("credentials", "create", *other)
    client = smtplib.SMTP("localhost", product.port, timeout=30)
    client.starttls(context=ssl.create_default_context(cafile=str(product.certificate)))
    client.login(user["smtp"]["username"], user["smtp"]["password"])
    answers = set()
    for domain in ("mine.example", "sub.mine.example", "hidden.example", "never.example"):
        client.mail(f"app@{domain}")
        client.rcpt("user@remote.example")
        code, text = client.data(f"From: app@{domain}\r\nSubject: x\r\n\r\nx\r\n")
        answers.add((code, text.decode().replace(domain, "DOMAIN")))
    assert len(answers) == 1, answers
    client.quit()
