"""Reports on TLS from two workers: counted by domain, signed, sent by mail and HTTPS, kept over restarts."""

import email
import gzip
import json
import os
import signal
import time

import dkim
import pytest

from relay.testing.internet import FakeInternet
from tests.authority import Certificate, WebServer, authority, server_context
from tests.product import Product, eventually

REPORTS = "reports.test"
SENT = "/v1/tls?x=1"


class World:
    def __init__(self, directory):
        self.authority = authority()
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(self.authority.pem())
        self.net = FakeInternet(
            {"a.test": ["tls"], "b.test": ["tls"], "clear.test": [""], REPORTS: ["tls"], "example.com": [""]}
        )
        for name, host in self.net.hosts.items():
            names = ["elsewhere.test"] if REPORTS in name else [name]
            host.context = server_context(Certificate(names, self.authority), directory)
        zones = self.net.dns.zones
        zones["shares.test"] = {"MX": ["10 mx1.a.test."]}
        self.answers = {}
        for domain in ("a.test", REPORTS):
            zones[f"_mta-sts.{domain}"] = {"TXT": ['"v=STSv1; id=1;"']}
            zones[f"mta-sts.{domain}"] = {"A": ["127.0.0.1"]}
            policy = f"version: STSv1\nmode: enforce\nmx: mx1.{domain}\nmax_age: 86400\n".encode()
            self.answers[f"mta-sts.{domain}"] = (200, {"Content-Type": "text/plain"}, policy)
        zones["_smtp._tls.a.test"] = {"TXT": [f'"v=TLSRPTv1; rua=mailto:tls@{REPORTS},https://web.test{SENT}"']}
        zones["_smtp._tls.clear.test"] = {"TXT": [f'"v=TLSRPTv1; rua=mailto:clear@{REPORTS}"']}
        zones["web.test"] = {"A": ["127.0.0.1"]}
        self.answers["web.test"] = (500, {}, b"")
        web = Certificate([*self.answers], self.authority)
        self.web = WebServer(server_context(web, directory), self.answers)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("reports"))
    with made.web, made.net.in_thread():
        yield made


@pytest.fixture(scope="module")
def product(world):
    settings = {
        "dns": {"nameservers": [world.net.dns.nameserver], "timeout": "2s"},
        "delivery": {
            "port": world.net.port,
            "allow_private_destinations": True,
            "tls_ca_file": str(world.ca_file),
            "connection_idle": "0s",
        },
        "mta_sts": {"ca_file": str(world.ca_file), "port": world.web.port, "allow_private_hosts": True},
        "tls_reports": {"contact": "tls@relay.example", "organization": "Example Sender"},
    }
    with Product(workers=2, **settings) as made:
        made.run("identity", "create", "relay.example", "--account", "000000000001")
        made.run("identity", "verify", "relay.example", "--force")
        yield made


def send(product, domain):
    with product.client() as client:
        client.sendmail("sender@example.com", f"user@{domain}", "From: sender@example.com\r\nSubject: s\r\n\r\nx\r\n")


def counted(product, domain, day="today"):
    """Return (policy type, successful, failed) of each policy in the report as it is now."""
    policies = product.json("tls-policy", "report", domain, "--day", day)["policies"]
    return [
        (
            one["policy"]["policy-type"],
            one["summary"]["total-successful-session-count"],
            one["summary"]["total-failure-session-count"],
        )
        for one in policies
    ]


def reports_of(world, recipient):
    mails = [email.message_from_bytes(one.content) for one in world.net.received if recipient in one.recipients]
    return [(mail, json.loads(gzip.decompress(mail.get_payload()[1].get_payload(decode=True)))) for mail in mails]


def test_sessions_of_all_workers_are_counted_and_reported(product, world):
    """RFC 8460: through a restart, by each domain, to whoever asks for it; a host that fails is tried again."""
    sessions = 8
    for number in range(sessions):  # one after the other, so that none shares a session
        send(product, "a.test")
        product.wait_event("Delivery", number + 1)
    send(product, "clear.test")
    send(product, "b.test")
    eventually(lambda: counted(product, "a.test") == [("sts", sessions, 0)], what="all sessions with a.test")
    eventually(lambda: counted(product, "clear.test") == [("no-policy-found", 0, 1)], what="the one with clear.test")
    send(product, "shares.test")
    product.stop()  # what was counted last is given away at the end
    product.start()
    eventually(
        lambda: counted(product, "shares.test") == [("no-policy-found", 1, 0)], what="the session before the end"
    )
    assert counted(product, "a.test") == [("sts", sessions, 0)]

    done = product.json("tls-policy", "report", "--send", "--day", "today")
    assert done == {"sent": 2, "failed": 1}
    assert '"operation": "tls-policy.report"' in (product.data_dir / "audit.jsonl").read_text()
    ((mail, report),) = eventually(lambda: reports_of(world, f"tls@{REPORTS}"), what="the mail")
    assert report["organization-name"] == "Example Sender"
    assert report["contact-info"] == "tls@relay.example"
    policy = report["policies"][0]
    assert policy["policy"]["policy-domain"] == "a.test"
    assert policy["policy"]["policy-string"][:2] == ["version: STSv1", "mode: enforce"]
    assert policy["summary"] == {"total-successful-session-count": sessions, "total-failure-session-count": 0}
    assert report["report-id"] in mail["Subject"]
    ((_, clear),) = eventually(lambda: reports_of(world, f"clear@{REPORTS}"), what="the other mail")
    assert clear["policies"][0]["failure-details"][0]["result-type"] == "starttls-not-supported"

    assert product.json("tls-policy", "report", "--send", "--day", "today") == {"sent": 0, "failed": 0}
    posts = [one for one in world.web.requests if one[1] == "POST"]
    assert [(one[0], one[2]) for one in posts] == [("web.test", SENT)]
    assert posts[0][3]["Content-Type"] == "application/tlsrpt+gzip"
    assert json.loads(gzip.decompress(posts[0][4])) == report
    assert counted(product, "a.test") == [("sts", sessions, 0)]  # kept for the one that failed
    assert counted(product, "b.test") == counted(product, "shares.test") == []  # nobody asked for these
    eventually(lambda: product.metric('relay_tls_reports_total{result="failed"}') == 1, what="the metric")


def test_a_report_is_signed_and_arrives_through_broken_tls(product, world):
    """RFC 8460 sections 3 and 5.3: the policy of the reports' own domain is not enforced, nor is it reported."""
    send(product, "clear.test")
    eventually(lambda: counted(product, "clear.test"), what="the count")
    before = len(reports_of(world, f"clear@{REPORTS}"))
    product.run("tls-policy", "report", "--send", "--day", "today")
    eventually(lambda: len(reports_of(world, f"clear@{REPORTS}")) > before, what="the mail")
    raw = [one for one in world.net.received if f"clear@{REPORTS}" in one.recipients][-1]
    assert raw.tls == "TLSv1.3"  # tried, although the certificate is for another name
    shown = product.json("identity", "show", "relay.example")["records"]
    records = {one["name"] + ".": one["value"] for one in shown}
    assert b"DKIM-Signature" in raw.content
    assert dkim.verify(raw.content, dnsfunc=lambda name, timeout=5: records[name.decode()].encode())
    assert counted(product, REPORTS) == []


def test_nothing_is_reported_of_days_that_are_not_over(product):
    send(product, "a.test")
    eventually(lambda: counted(product, "a.test"), what="the count")
    done = product.json("tls-policy", "report", "--send")
    assert done["sent"] == 0
    assert product.run("tls-policy", "report", "a.test", "--day", "x", check=False).returncode == 64
    assert product.run("tls-policy", "report", check=False).returncode == 64
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86400 * 5))
    assert counted(product, "a.test", day) == []


def test_a_killed_worker_loses_no_count_but_that_of_its_last_moment(product):
    def successful():
        return sum(good for _, good, _ in counted(product, "a.test"))

    def count_one_more():
        before, deliveries = successful(), len(product.events("Delivery"))
        send(product, "a.test")
        product.wait_event("Delivery", deliveries + 1)
        eventually(lambda: successful() > before, 6, "the count, soon after the delivery")

    count_one_more()
    count_one_more()  # wherever the first one fell between two batches
    kept = successful()
    workers = {name: pid for name, pid in product.children().items() if name.startswith("worker")}
    for pid in workers.values():
        os.kill(pid, signal.SIGKILL)
    eventually(
        lambda: all(product.children().get(name) not in {None, pid} for name, pid in workers.items()),
        what="other workers",
    )
    eventually(product.is_ready, what="readiness")
    assert successful() == kept
    count_one_more()
