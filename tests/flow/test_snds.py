"""The SNDS feed through the whole product: a server with good, broken, huge and hanging answers."""

import datetime as dt
import itertools
import json
import signal

import pytest

from relay.reputation.snds import ROWS_MAX
from relay.testing.internet import FakeInternet
from tests.authority import Certificate, authority, server_context
from tests.consumer import Answer, Webhook
from tests.product import Product, Receiver, eventually

KEY = "c0ffee-11-secret"
HOST = "snds.test"
NUMBERS = itertools.count()
LISTS = [{"name": "Main", "zone": "list.test"}, {"name": "Shown", "zone": "show.test", "action": "show"}]
OWN, QUIET, FOREIGN = "127.0.0.2", "127.0.0.3", "192.0.2.77"


def line(days_ago, address=OWN, colour="GREEN", complaints="< 0.1%", traps="0", rcpt=381):
    begin = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days_ago)
    form = "{0.month}/{0.day}/{0.year} 12:00 AM"
    period = f"{form.format(begin)},{form.format(begin + dt.timedelta(days=1))}"
    return f"{address},{period},{rcpt},360,379,{colour},{complaints},,,{traps},mail.example.com,x@example.com,\r\n"


def csv(*lines, **more):
    return Answer(headers={"Content-Type": "text/csv; charset=utf-8"}, body="".join(lines).encode(), **more)


class Feed:
    """The server of the feed; `answer` is what it says."""

    def __init__(self, hook, authority_file, nameserver):
        self.hook, self.authority_file, self.nameserver = hook, authority_file, nameserver
        self.answer = csv()

    @property
    def url(self):
        return f"https://{HOST}:{self.hook.port}/snds/data.aspx"

    def questions(self, product):
        """Return how often a product asked: each has a key of its own."""
        return sum(one.target.endswith(f"key={product.secret}") for one in list(self.hook.requests))

    def asked_anew(self, product):
        """Wait until a question came that was asked after now."""
        count = self.questions(product)
        eventually(lambda: self.questions(product) > count, what="another question")


@pytest.fixture(scope="module")
def feed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("snds")
    made = authority()
    (directory / "ca.pem").write_bytes(made.pem())
    hook = Webhook(context=server_context(Certificate([HOST], made), directory))
    with FakeInternet({}).in_thread() as net:
        net.dns.zones[HOST] = {"A": ["127.0.0.1"]}
        net.dns.zones["2.0.0.127.list.test"] = {"A": ["127.0.0.2"]}
        net.dns.zones["3.0.0.127.list.test"] = {"A": ["127.0.0.2"]}
        net.dns.zones["2.0.0.127.show.test"] = {"A": ["127.0.0.2"]}
        found = Feed(hook, str(directory / "ca.pem"), net.dns.nameserver)
        hook.answer = lambda request: found.answer
        with hook:
            yield found


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


def new_product(receiver, feed, secret=KEY, **snds):
    settings = {"url": feed.url, "key_file": "snds.key", "ca_file": feed.authority_file, "allow_private": True,
                "every": "0.2s", "again": "0.2s", "timeout": "2s"}  # fmt: skip
    product = Product(
        receiver.port,
        snds={**settings, **snds},
        contact=f"admin{next(NUMBERS)}@remote.example",
        alarms={"every": "0.2s"},
        dns={"nameservers": [feed.nameserver], "timeout": "2s"},
        own_checks={"private_addresses": True, "block_lists": LISTS},
    )
    product.secret = secret
    key = product.directory / "snds.key"
    key.write_text(f"{secret}\nnot this\n")
    key.chmod(0o600)
    return product


def started(receiver, feed, secret):
    made = new_product(receiver, feed, secret)
    for address in (OWN, QUIET):
        made.run("address", "add", address)
    return made


@pytest.fixture(scope="module")
def product(receiver, feed):
    with started(receiver, feed, KEY) as made:
        yield made


@pytest.fixture
def fresh(receiver, feed, request):
    """A product that never read anything, for what depends on what is known."""
    with started(receiver, feed, request.node.name) as made:
        yield made


def kept(product, *options):
    return product.rows("snds", *options)


def said(product):
    """Return what `relay snds` says beside figures."""
    return product.run("snds").stderr


def serve(product, feed, *lines):
    """Serve lines, and wait until the answer was taken in."""
    feed.answer = csv(*lines)
    feed.asked_anew(product)
    feed.asked_anew(product)  # a round begins after the one before has ended


@pytest.mark.req("SNDS-001", "SNDS-002")
def test_figures_of_own_addresses_are_read_kept_shown_and_measured(fresh, feed):
    serve(fresh, feed, line(3, traps="2"), line(2, colour="YELLOW", complaints="0.5%"), line(2, FOREIGN, "RED"))
    newest, older = kept(fresh)
    day = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=2)
    assert newest == {
        "address": OWN,
        "begin": f"{day}T00:00:00",
        "end": f"{day + dt.timedelta(days=1)}T00:00:00",
        "SNDS.RCPTCommands": 381,
        "SNDS.DATACommands": 360,
        "SNDS.MessageRecipients": 379,
        "SNDS.SpamRate": 0.5,
        "SNDS.ComplaintRate": 0.005,
        "SNDS.TrapHits": 0,
    }
    assert (older["SNDS.SpamRate"], older["SNDS.ComplaintRate"], older["SNDS.TrapHits"]) == (0, 0, 2)
    for name, value in (("rcpt_commands", 381), ("data_commands", 360), ("message_recipients", 379),
                        ("spam_rate", 0.5), ("complaint_rate", 0.005), ("trap_hits", 0)):  # fmt: skip
        series = f'relay_snds_{name}{{address="{OWN}"}}'
        eventually(lambda s=series, v=value: f"{s} {v:g}" in fresh.metrics(), what=series)
    assert FOREIGN not in fresh.metrics()
    table = fresh.run("snds", "--address", OWN).stdout
    assert "0.5 (10 % to 90 %)" in table
    assert "< 0.1%" in table
    # The feed corrects a day: what came later is right, and it is no second day.
    serve(fresh, feed, line(2, colour="YELLOW", complaints="0.5%", rcpt=400))
    assert [one["SNDS.RCPTCommands"] for one in kept(fresh)] == [400, 381]


@pytest.mark.req("SNDS-003")
def test_a_day_without_figures_stays_a_gap(fresh, feed):
    serve(fresh, feed, line(2, OWN), line(2, QUIET))
    quiet = f'relay_snds_spam_rate{{address="{QUIET}"}}'
    eventually(lambda: quiet in fresh.metrics(), what="the series of both")
    serve(fresh, feed, line(1, OWN))
    eventually(lambda: quiet not in fresh.metrics(), what="the gap")
    assert f'relay_snds_spam_rate{{address="{OWN}"}} 0' in fresh.metrics()
    assert len(kept(fresh, "--address", QUIET)) == 1  # no zero for the day that had none
    serve(fresh, feed)  # nothing at all
    assert len(kept(fresh, "--address", QUIET)) == 1
    assert "failed" not in said(fresh)


@pytest.mark.req("SNDS-003")
def test_a_spam_rate_that_turns_1_is_mailed_once_and_alarms(fresh, feed, receiver):
    def mails():
        return [
            data
            for _, to, data in list(receiver.messages)
            if to == [fresh.values["contact"]] and b"SNDS.SpamRate turned 1" in data.replace(b"\r\n", b" ")
        ]

    fresh.run("alarm", "create", "outlook", "--metric", "SNDS.SpamRate", "--threshold", "1")
    serve(fresh, feed, line(2, QUIET))
    serve(fresh, feed, line(1, QUIET, "RED"))
    eventually(mails, what="the mail to the administrator")
    eventually(lambda: fresh.json("alarm", "show", "outlook")["state"] == "ALARM", what="the alarm")
    serve(fresh, feed, line(1, QUIET, "RED"))  # the same again
    serve(fresh, feed, line(0, QUIET, "RED"))  # and no turn
    assert QUIET in mails()[0].decode()
    lines = [json.loads(text) for text in (fresh.data_dir / "audit.jsonl").read_text().splitlines()]
    assert sum(entry["operation"] == "snds.spam" for entry in lines) == 1
    serve(fresh, feed, line(0, QUIET, "YELLOW"))
    eventually(lambda: fresh.json("alarm", "show", "outlook")["state"] == "OK", what="the end of the alarm")
    assert len(mails()) == 1


def test_listed_addresses_raise_an_alarm(product):
    """The alarm counts the addresses that mail of the account may leave from, and lists that are told about."""
    for threshold in ("2", "3"):
        product.run(
            "alarm", "create", f"listed{threshold}", "--metric", "DNSBL.ListedAddresses", "--threshold", threshold
        )

    def states():
        return [product.json("alarm", "show", f"listed{threshold}")["state"] for threshold in ("2", "3")]

    eventually(lambda: states() == ["ALARM", "OK"], what="the listings")


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (Answer(500), "status 500"),
        (Answer(302, {"Location": "https://localhost/"}), "status 302"),
        (Answer(200, {"Content-Type": "text/html"}, b"<html>Sign in</html>"), "is the key right"),
        (csv("<html>Sign in</html>"), "no line of it is one of SNDS"),
        (Answer(body=b"\xff\xfe\x00"), "not UTF-8"),
        (csv('"never closed'), "failed"),
        (csv(*[line(1)] * (ROWS_MAX + 1)), f"more than {ROWS_MAX} lines"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\n\r\n", endless=True), "more than 4194304 bytes"),
        (Answer(hang=True), "longer than 2 s"),
        (csv(line(1), drip_seconds=0.2), "longer than 2 s"),
        (Answer(raw=b"what?\r\n\r\n", close=True), "failed"),
        (Answer(raw=b"", close=True), "failed"),
    ],
    ids=["500", "redirect", "page", "page as csv", "binary", "open quote", "long", "endless", "hanging", "dripping",
         "no HTTP", "nothing"],
)  # fmt: skip
def test_an_answer_that_is_none_changes_nothing_and_is_told(product, feed, answer, word):
    serve(product, feed, line(1))
    eventually(lambda: "failed" not in said(product))
    before = kept(product)
    feed.answer = answer
    found = eventually(lambda: "failed" in (text := said(product)) and word in text and text, what=word)
    assert KEY not in found
    assert kept(product) == before
    serve(product, feed, line(1))
    eventually(lambda: "failed" not in said(product), what="the end of the failure")
    assert product.is_ready()


def test_bad_lines_are_passed_over_and_told(product, feed):
    serve(product, feed, line(1), "192.0.2.1,nonsense\r\n", line(1, QUIET, "BLUE"))
    eventually(lambda: "2 lines of the last answer were passed over" in said(product))
    assert "line 2: 2 columns" in product.log_text()


def test_the_key_is_in_requests_and_nowhere_else(product, feed):
    serve(product, feed, line(1))
    assert f"/snds/data.aspx?key={KEY}" in [one.target for one in feed.hook.requests]
    assert KEY not in product.log_text()
    assert KEY not in product.metrics()
    for file in product.data_dir.rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file


def test_a_restart_reads_nothing_twice_and_a_private_host_is_refused(receiver, feed):
    feed.answer = csv(line(1))

    with new_product(receiver, feed, "another", every="1d") as product:
        eventually(lambda: product.metric("relay_snds_read_seconds") > 0, what="the first reading")
        product.run("address", "add", OWN)
        assert feed.questions(product) == 1
        assert "below 100 messages" in said(product)  # the address came after it
        product.stop()
        product.start()
        product.run("snds")
        product.stop()
        assert feed.questions(product) == 1
        product.values["snds"] |= {"allow_private": False, "every": "0.2s"}
        product.save()
        product.start()
        eventually(lambda: "may be connected to" in said(product), what="the refusal")
        product.values["snds"] |= {"allow_private": True, "every": "1d"}
        product.save()
        product.process.send_signal(signal.SIGHUP)
        eventually(lambda: kept(product), what="figures after the reload")
        assert feed.questions(product) == 2


def test_without_a_feed_or_addresses_the_command_says_so(receiver, feed):
    product = new_product(receiver, feed)
    assert "no source addresses of its own" in said(product)
    product.values.pop("snds")
    product.save()
    done = product.run("snds")
    assert (done.stdout, "No SNDS feed is configured" in done.stderr) == ("", True)
    for changes, word in (
        ({"url": "http://localhost:8443/"}, "must begin with https://"),
        ({"url": "https://localhost:8443/?key=x", "key_file": "snds.key"}, "has the key in it"),
        ({"url": "https://localhost:8443/"}, "is needed beside"),
    ):
        product.values["snds"] = changes
        product.save()
        done = product.run("check", check=False)
        assert done.returncode != 0
        assert word in done.stdout + done.stderr
    product.stop()
