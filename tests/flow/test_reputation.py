"""How accounts send, through the whole product: counted, judged, put under review, paused, and let go again."""

import json
import os
import signal
import smtplib
import time

import pytest

from tests.product import Product, Receiver, eventually

PAUSED = (
    554,
    (
        b"Message rejected: Sending paused for this account. For more information, please check the inbox of the "
        b"email address associated with your AWS account."
    ),
)
RULES = "name: bigmail\nmatch: {routes: [127.0.0.2]}\n"
VOLUME_MIN = 20
SETTINGS = {
    "reputation": {
        "volume_min": VOLUME_MIN,
        "pause": "at_once",
        "every": "0.2s",
        "feedback_providers": ["bigmail"],
        "spamtraps": "traps.txt",
        "spamtrap_pause_hits": 3,
    },
    "shaping": {"directory": "shaping"},
    "delivery": {"retry": ["1s"], "lifetime": "2s", "retry_jitter_percent": 0},
}


def answer(verb, line):
    if verb == "RCPT" and "nobody" in line:
        return "550 5.1.1 no such user"
    if verb == "RCPT" and "full" in line:
        return "452 4.2.2 mailbox full"
    if verb == "RCPT" and "blocked" in line:
        return "554 5.7.1 blocked using zen.spamhaus.org; see https://check.spamhaus.org/"
    return None


@pytest.fixture(scope="module")
def receiver():
    with Receiver(answer=answer) as made:
        yield made


@pytest.fixture(scope="module")
def big():
    with Receiver(host="127.0.0.2") as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver, big):
    routes = [
        {"domain": "big.example", "smarthost": f"127.0.0.2:{big.port}"},
        {"domain": "*", "smarthost": f"127.0.0.1:{receiver.port}"},
    ]
    made = Product(workers=2, routes=routes, **SETTINGS)
    (made.directory / "shaping").mkdir()
    (made.directory / "shaping" / "bigmail.yaml").write_text(RULES)
    (made.directory / "traps.txt").write_text("Trap@remote.example\n\n# nothing\n")
    made.logins = {}
    with made:
        yield made


class Tenant:
    """An account of the product with one verified domain, logged in."""

    last = 100

    def __init__(self, product):
        Tenant.last += 1
        self.product, self.account = product, f"{Tenant.last:012d}"
        self.domain = f"t{Tenant.last}.example"
        product.run("account", "create", self.account, "--production", "--contact", f"owner@{self.domain}")
        product.run("identity", "create", self.domain, "--account", self.account)
        product.run("identity", "verify", "--force", self.domain, "--account", self.account)
        self.login = product.json("credentials", "create", "--account", self.account)["smtp"]

    def send(self, *recipients, headers=""):
        """Submit a message and return the reply to its data."""
        with smtplib.SMTP("127.0.0.1", self.product.port, timeout=30) as client:
            client.starttls()
            client.login(self.login["username"], self.login["password"])
            client.mail(f"app@{self.domain}")
            for recipient in recipients:
                assert client.rcpt(recipient)[0] == 250
            text = f"From: app@{self.domain}\r\nTo: x@x.example\r\nSubject: A test\r\n{headers}\r\nhi\r\n"
            return client.data(text.encode())

    def take(self, *recipients, **more):
        code, text = self.send(*recipients, **more)
        assert code == 250, text
        return text.decode().split()[-1]

    def page(self, **more):
        options = [part for name, value in more.items() for part in (f"--{name}", value)]
        return self.product.json("reputation", "show", "--account", self.account, *options)

    def counts(self, by="account", name=None):
        rows = self.product.rows("statistics", "--account", self.account, "--by", by)
        return next((row for row in rows if name is None or row[by] == name), {})

    def wait_sent(self, sent, **more):
        """Wait until so many messages are in the bounce rate."""
        return eventually(
            lambda: (page := self.page(**more))["bounceRate"]["messagesSent"] >= sent and page,
            what=f"{sent} messages counted",
        )

    def wait_case(self, kind, state):
        return eventually(
            lambda: [
                one
                for one in self.product.rows("reputation", "cases", "--all", "--account", self.account)
                if (one["kind"], one["state"]) == (kind, state)
            ],
            what=f"a case {kind}, {state}",
        )[0]


@pytest.fixture
def tenant(product):
    return Tenant(product)


def good(count, domain="remote.example"):
    return [f"user{n}@{domain}" for n in range(count)]


def bad(count, domain="remote.example"):
    return [f"nobody{n}@{domain}" for n in range(count)]


def mail_to(receiver, tenant, needle):
    return [one for one in receiver.messages if one[1] == [f"owner@{tenant.domain}"] and needle in one[2]]


@pytest.mark.req("STAT-001", "STAT-002", "STAT-003")
def test_statistics_have_the_shape_of_the_api_and_count_by_recipient(product, tenant):
    tenant.take(*good(3), "nobody@remote.example", "success@simulator.relay.example")
    tenant.take("full@remote.example", "me@elsewhere.example")
    eventually(lambda: (tenant.counts().get("softBounces"), tenant.counts().get("deliveries")) == (1, 5))
    found = product.json("statistics", "--account", tenant.account)
    assert list(found) == ["SendDataPoints"]
    for point in found["SendDataPoints"]:
        assert list(point) == ["Timestamp", "DeliveryAttempts", "Bounces", "Complaints", "Rejects"]
        assert point["Timestamp"][14:] in {f"{minute}:00.000Z" for minute in ("00", "15", "30", "45")}
    sums = {key: sum(point[key] for point in found["SendDataPoints"]) for key in ("DeliveryAttempts", "Bounces")}
    assert sums == {"DeliveryAttempts": 7, "Bounces": 1}  # simulator mail is counted here, a soft bounce is none
    assert tenant.counts()["delays"] >= 1
    text = product.run("statistics", "--account", tenant.account).stdout
    assert text.splitlines()[0].split()[:2] == ["From", "Sends"]
    assert "hard bounces 14.29%" in text


@pytest.mark.req("STAT-006", "STAT-007", "STAT-008", "DLV-002")
def test_statistics_as_rates_mark_what_misses_its_goal(product, tenant):
    product.run("configuration-set", "create", "worse", "--account", tenant.account)
    tenant.take(*good(57))
    tenant.take("nobody@remote.example", *good(1), headers="X-SES-CONFIGURATION-SET: worse\r\n")
    tenant.take("complaint@simulator.relay.example")
    eventually(lambda: (found := tenant.counts()).get("hardBounces") == 1 and found["complaints"] == 1)

    def rates(*options):
        return product.rows("statistics", "--account", tenant.account, "--rates", *options)

    whole = [point for span in ("1d", "14d") for point in rates("--since", span)]
    assert sum(point["sends"] for point in whole) == 120
    for point in whole:
        assert point["timestamp"][14:] == "00:00.000Z"
        assert set(point) == {"timestamp", "sends", "rejectRate", "bounceRate", "complaintRate", "goalsMissed"}
    (account,) = rates("--by", "account")
    assert account["bounceRate"] == 1 / 60
    assert account["goalsMissed"] == ["complaintRate"]
    (worse,) = rates("--by", "set")
    assert (worse["set"], worse["bounceRate"], worse["goalsMissed"]) == ("worse", 0.5, ["bounceRate"])
    (identity,) = rates("--by", "identity")
    assert (identity["identity"], identity["rejectRate"]) == (tenant.domain, 0.0)
    text = product.run("statistics", "--account", tenant.account, "--rates", "--by", "set").stdout
    assert text.splitlines()[0].split()[:2] == ["Set", "Sends"]
    assert "50.00% !" in text
    assert "Goals (! where missed): hard bounces below 5%, better below 2%; complaints below 0.1%." in text
    assert "From" in product.run("statistics", "--account", tenant.account, "--rates", "--every", "1h").stdout


@pytest.mark.req("STAT-001")
def test_statistics_are_by_set_identity_provider_and_pool(product, tenant):
    product.run("configuration-set", "create", "news", "--account", tenant.account)
    tenant.take("a@big.example", "b@remote.example", headers="X-SES-CONFIGURATION-SET: news\r\n")
    tenant.take("c@big.example")
    eventually(lambda: tenant.counts().get("deliveries") == 3)
    assert tenant.counts("set", "news")["sends"] == 2
    assert tenant.counts("identity", tenant.domain)["sends"] == 3
    assert tenant.counts("provider", "bigmail")["deliveries"] == 2
    assert tenant.counts("provider", "other")["sends"] == 1
    done = product.json("statistics", "--account", tenant.account, "--provider", "bigmail")
    assert sum(point["DeliveryAttempts"] for point in done["SendDataPoints"]) == 2
    for wrong in (("--by", "moon"), ("--set", "a", "--pool", "b"), ("--since", "5"), ("--every", "2h")):
        assert product.run("statistics", *wrong, check=False).returncode == 64


@pytest.mark.req("REP-001", "REP-002", "REP-005", "REP-007", "REP-015")
def test_only_mail_to_strangers_counts_and_too_little_of_it_has_no_effect(product, tenant):
    product.run("suppression", "add", "listed@remote.example", "--account", tenant.account)
    tenant.take(
        "bounce@simulator.relay.example",
        "complaint@simulator.relay.example",
        "suppressionlist@simulator.relay.example",
        f"nobody@{tenant.domain}",  # a verified name of the account itself
        "listed@remote.example",
        "blocked@remote.example",
        *bad(VOLUME_MIN - 4),
        *good(2),
    )
    page = tenant.wait_sent(VOLUME_MIN - 1)
    bounces = VOLUME_MIN - 4 + len(("bounce@simulator", "suppressionlist@simulator", "own", "blocked"))
    eventually(lambda: (found := tenant.counts())["hardBounces"] + found["softBounces"] == bounces)
    eventually(lambda: tenant.counts()["complaints"] == 1)
    page = tenant.page()
    assert (page["bounceRate"]["count"], page["bounceRate"]["messagesSent"]) == (VOLUME_MIN - 4, VOLUME_MIN - 1)
    assert page["bounceRate"]["sentSince"]
    assert page["complaintRate"] == {
        "value": None,
        "count": 0,
        "messagesSent": 0,
        "sentSince": None,
        "status": "Healthy",
    }
    assert (page["status"], page["cases"]) == ("Healthy", [])
    assert tenant.send("more@remote.example")[0] == 250


@pytest.mark.req("REP-006", "REP-017", "REVIEW-001", "REVIEW-004", "STAT-005")
def test_a_bounce_rate_puts_an_account_under_review_and_it_goes_on_sending(product, receiver, tenant):
    tenant.take(*good(38), *bad(2))
    case = tenant.wait_case("bounce-rate", "under review")
    assert "2 of the last 40 messages bounced for good: 5.00%" in case["cause"]
    page = tenant.page()
    assert (page["status"], page["summary"], page["enforcementStatus"]) == (
        "Under review",
        "Under review",
        "PROBATION",
    )
    assert page["bounceRate"]["status"] == "Under review"
    letter = eventually(lambda: mail_to(receiver, tenant, b"Under review"))[0]
    assert b"case: %d" % case["case"] in letter[2]
    assert tenant.send("more@remote.example")[0] == 250
    assert product.json("account", "show", tenant.account)["health"] == "Under review"
    name = f'relay_reputation_bounce_rate{{account="{tenant.account}",configuration_set=""}}'
    eventually(lambda: product.metric(name) > 0)  # REP-012
    lines = [json.loads(line) for line in (product.data_dir / "audit.jsonl").read_text().splitlines()]
    assert any(line["operation"] == "reputation.open" and line["account"] == tenant.account for line in lines)


@pytest.mark.req(
    "PAUSE-001",
    "PAUSE-002",
    "PAUSE-003",
    "PAUSE-007",
    "REVIEW-003",
    "REVIEW-005",
    "REVIEW-006",
    "REVIEW-007",
    "REP-013",
)
def test_a_pause_and_the_way_out_of_it(product, receiver, tenant):
    waiting = tenant.take("full@remote.example")  # accepted before, it is still tried and told
    tenant.take(*good(30), *bad(10))
    case = tenant.wait_case("bounce-rate", "sending paused")
    assert tenant.send("more@remote.example") == PAUSED
    eventually(
        lambda: any(event["mail"]["messageId"] == waiting for event in product.events("Bounce")),
        what="the end of what was accepted before",
    )
    product.run("account", "pause", tenant.account)
    done = product.run("account", "resume", tenant.account)
    assert "still refused by a case" in done.stderr
    assert tenant.send("more@remote.example") == PAUSED
    shown = product.json("account", "show", tenant.account)
    assert (shown["state"], shown["enforcement"], shown["enforcementStatus"]) == ("enabled", "paused", "SHUTDOWN")
    (event,) = product.rows("account", "events", tenant.account)
    assert event["name"] == "SES sending paused"
    assert f"case: {case['case']}" in event["notice"]
    assert eventually(lambda: mail_to(receiver, tenant, b"Sending paused for account"))
    number = str(case["case"])
    assert product.run("reputation", "answer", number, "--root-cause", "x", check=False).returncode == 64
    answer = ("--root-cause", "an old list", "--changes", "it is deleted", "--prevention", "sign-ups are confirmed")
    product.run("reputation", "answer", number, *answer)
    product.run("reputation", "reject", number, "--reason", "Which list?")
    product.run("reputation", "answer", number, *answer)
    product.run("reputation", "accept", number, "--fresh-start", "--reason", "Thank you.")
    assert tenant.send("more@remote.example")[0] == 250
    page = tenant.wait_sent(1)
    assert (page["status"], page["bounceRate"]["count"], page["cases"]) == ("Healthy", 0, [])
    assert page["lastFreshStart"]
    shown = product.json("reputation", "case", number)
    assert [one["state"] for one in shown["answers"]] == ["GRANTED", "DENIED"]
    assert set(shown["texts"]) == {"why", "solve", "underReview", "paused"}


@pytest.mark.req("REP-011", "REP-012", "PAUSE-004", "CFG-008")
def test_a_set_with_reputation_metrics_is_paused_alone(product, tenant):
    for name, metrics in (("watched", "--reputation-metrics"), ("other", "--no-reputation-metrics")):
        product.run("configuration-set", "create", name, metrics, "--account", tenant.account)
    tenant.take(*good(500))  # so that the account as a whole stays well below
    tenant.wait_sent(500)  # the logs of two workers are read one after the other
    tenant.take(*good(15), *bad(5), headers="X-SES-CONFIGURATION-SET: watched\r\n")
    tenant.take(*good(15), *bad(5), headers="X-SES-CONFIGURATION-SET: other\r\n")
    case = tenant.wait_case("bounce-rate", "sending paused")
    assert case["configurationSet"] == "watched"
    reply = tenant.send("more@remote.example", headers="X-SES-CONFIGURATION-SET: watched\r\n")
    assert reply == (554, b"Message rejected: Sending paused for configuration set watched.")
    assert tenant.send("more@remote.example", headers="X-SES-CONFIGURATION-SET: other\r\n")[0] == 250
    page = tenant.page(set="watched")
    assert (page["status"], page["bounceRate"]["count"]) == ("Sending paused", 5)
    assert tenant.page()["status"] == "Healthy"
    name = 'relay_reputation_bounce_rate{account="%s",configuration_set="%s"}'
    eventually(lambda: product.metric(name % (tenant.account, "watched")) == 0.25)
    assert name % (tenant.account, "other") not in product.metrics()
    set_ = ("configuration-set", "set", "watched", "--sending", "--account", tenant.account)
    product.run(*set_)
    assert tenant.send("x@remote.example", headers="X-SES-CONFIGURATION-SET: watched\r\n")[0] == 554
    product.run("reputation", "accept", str(case["case"]), "--fresh-start")
    assert tenant.send("x@remote.example", headers="X-SES-CONFIGURATION-SET: watched\r\n")[0] == 250
    assert product.json("configuration-set", "show", "watched", "--account", tenant.account)["lastFreshStart"]


@pytest.mark.req("DNSBL-005")
def test_block_replies_are_told_first_and_pause_when_severe(product, receiver, tenant):
    tenant.take(*good(46), "blocked1@remote.example", "blocked2@remote.example", "blocked3@remote.example")
    case = tenant.wait_case("sending-pattern", "under review")
    assert "3 of the 49 messages of a day were refused because of a block list." in case["cause"]
    assert eventually(lambda: mail_to(receiver, tenant, b"kind: Sending pattern"))
    assert tenant.page()["status"] == "Under review"
    tenant.take(*(f"blocked{n}@remote.example" for n in range(10, 35)))  # goes on, and worse
    worse = tenant.wait_case("sending-pattern", "sending paused")
    assert worse["case"] == case["case"]
    assert tenant.send("more@remote.example") == PAUSED
    assert eventually(lambda: mail_to(receiver, tenant, b"Sending paused for account"))


def come_back(product, to, kind, parts):
    """Let a report come back from outside."""
    text = (
        f"From: postmaster@big.example\r\nTo: {to}\r\nSubject: A report\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type={kind}; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nA report.\r\n"
        + "".join(f"--b\r\nContent-Type: {name}\r\n\r\n{part}\r\n" for name, part in parts)
        + "--b--\r\n"
    )
    with smtplib.SMTP("127.0.0.1", product.mx_port, timeout=30) as client:
        client.ehlo()
        client.mail("" if kind == "delivery-status" else "postmaster@big.example")
        assert client.rcpt(to)[0] == 250
        code, reply = client.data(text.encode())
        assert code == 250, reply


@pytest.mark.req("REP-003", "REP-018", "STAT-002", "REP-012")
def test_complaints_count_against_mail_to_providers_that_report_them(product, big, tenant):
    tenant.take(*good(10))  # a provider that reports none
    tenant.take(*(f"{tenant.account}-{n}@big.example" for n in range(VOLUME_MIN)))
    mine = eventually(
        lambda: (
            (found := [one for one in big.messages if one[1][0].startswith(tenant.account)])
            and len(found) == VOLUME_MIN
            and found
        )
    )
    eventually(lambda: tenant.page()["complaintRate"]["messagesSent"] == VOLUME_MIN)
    path, (recipient,), _ = mine[0]
    # A bounce that comes back late, and a complaint: both are of this provider, and count in its volume.
    status = f"Reporting-MTA: dns; mx.big.example\r\n\r\nFinal-Recipient: rfc822; {recipient}\r\n"
    status += "Action: failed\r\nStatus: 5.1.1\r\n"
    come_back(product, path, "delivery-status", [("message/delivery-status", status)])
    path, (recipient,), _ = mine[1]
    report = "Feedback-Type: abuse\r\nUser-Agent: Big/1.0\r\nVersion: 1\r\n"
    original = (
        f"Return-Path: <{path}>\r\nFrom: app@{tenant.domain}\r\nTo: {recipient}\r\nSubject: A test\r\n\r\nhi\r\n"
    )
    for _ in range(2):  # the same again changes nothing
        parts = [("message/feedback-report", report), ("message/rfc822", original)]
        come_back(product, "abuse@relay.example", "feedback-report", parts)
    case = tenant.wait_case("complaint-rate", "sending paused")
    assert f"1 of the last {VOLUME_MIN} messages to providers that report complaints" in case["cause"]
    page = eventually(lambda: (found := tenant.page())["bounceRate"]["count"] == 1 and found)
    assert page["bounceRate"]["messagesSent"] == VOLUME_MIN + 10
    assert (page["complaintRate"]["count"], page["complaintRate"]["status"]) == (1, "Sending pause")
    sums = tenant.counts("provider", "bigmail")
    assert (sums["sends"], sums["hardBounces"], sums["complaints"]) == (VOLUME_MIN, 1, 1)
    name = f'relay_reputation_complaint_rate{{account="{tenant.account}",configuration_set=""}}'
    eventually(lambda: product.metric(name) == 1 / VOLUME_MIN)


@pytest.mark.req("REP-027")
def test_mail_to_a_trap_opens_a_case_and_more_of_it_is_evidence(product, receiver, tenant):
    tenant.take("trap@remote.example")
    case = tenant.wait_case("spamtrap", "under review")
    text = product.run("reputation", "case", str(case["case"])).stdout
    letter = eventually(lambda: mail_to(receiver, tenant, b"Under review"))[0]
    for shown in (text, letter[2].decode(), case["cause"]):
        assert "trap@remote.example" not in shown.lower()
    time.sleep(max(0.0, 1 - time.time() % 1))  # hits are kept by the second: these are later than the case
    tenant.take("TRAP@remote.example", "other@remote.example")
    eventually(lambda: product.json("reputation", "case", str(case["case"]))["evidence"] == 1)
    for _ in range(2):
        tenant.take("trap@remote.example")
    tenant.wait_case("spamtrap", "sending paused")
    assert tenant.send("user@remote.example") == PAUSED


@pytest.mark.req("REP-019", "REP-020", "REP-030", "REP-026", "REVIEW-010", "REVIEW-011", "REVIEW-012", "REP-014")
def test_what_administrators_do_by_hand(product, receiver, tenant):
    other = Tenant(product)
    product.run("reputation", "link", tenant.account, other.account)
    product.run("account", "request", "quota", "--account", tenant.account, "--daily", "500")
    done = product.run("reputation", "open", "nonsense", "--account", tenant.account, check=False)
    assert (done.returncode, "listbombing" in done.stderr) == (64, True)
    assert product.run("reputation", "open", "other", "--account", tenant.account, check=False).returncode == 64
    opened = ("reputation", "open", "vulnerable-site", "--account", tenant.account, "--note", "seen by Kim's filter")
    case = product.json(*opened)
    (request,) = product.rows("account", "review", "list", "--account", tenant.account)
    done = product.run("account", "review", "grant", str(request["request"]), check=False)
    assert (done.returncode, "is held" in done.stderr) == (64, True)
    letter = eventually(lambda: mail_to(receiver, tenant, b"Vulnerable site"))[0]
    assert b"Kim" not in letter[2]
    message = product.directory / "sample.eml"
    message.write_text("Subject: from a form\n\nBuy!\n")
    product.run("reputation", "sample", str(case["case"]), str(message))
    assert "from a form" in product.run("reputation", "sample", str(case["case"])).stdout
    product.run("reputation", "pause", str(case["case"]), "--reason", "it goes on")
    assert tenant.send("x@remote.example") == PAUSED
    related = other.wait_case("related-account", "under review")
    assert related["relatedAccount"] == tenant.account
    assert other.send("x@remote.example")[0] == 250
    product.run("reputation", "extend", str(case["case"]), "--for", "10d")
    assert tenant.send("x@remote.example")[0] == 250
    product.run("reputation", "accept", str(case["case"]))
    product.run("account", "review", "grant", str(request["request"]))
    product.run("account", "suspend", tenant.account, "--reason", "for good")
    reply = tenant.send("x@remote.example")
    assert reply[0] == 554
    assert b"suspended" in reply[1]
    assert tenant.page()["status"] == "Suspended"
    product.run("account", "reinstate", tenant.account)
    assert tenant.send("x@remote.example")[0] == 250
    listed = product.rows("reputation", "list")
    assert {row["account"] for row in listed} >= {tenant.account, other.account}
    text = product.run("reputation", "list").stdout
    assert text.splitlines()[0].split()[:5] == ["Account", "Set", "Summary", "Status", "Bounces"]


@pytest.mark.req("REVIEW-009")
def test_what_should_be_looked_into_waits_in_the_queue(product, receiver, tenant):
    product.run("reputation", "investigate", "--account", tenant.account, "--reason", "complaints by phone")
    (request,) = product.rows("account", "review", "list", "--account", tenant.account)
    assert (request["kind"], request["useCase"]) == ("investigation", "complaints by phone")
    product.run("account", "review", "dismiss", str(request["request"]), "--reason", "a misunderstanding")
    assert product.rows("account", "review", "list", "--account", tenant.account) == []
    assert mail_to(receiver, tenant, b"") == []


@pytest.mark.req("STAT-004")
def test_the_account_shows_limits_health_use_and_where_to_submit(product, tenant):
    product.run("quota", "set", "--daily", "1000", "--rate", "-1", "--account", tenant.account)
    tenant.take(*good(10))
    text = product.run("account", "show", tenant.account).stdout
    shown = dict(line.split("  ", 1) for line in text.splitlines() if "  " in line)
    shown = {key.strip(): value.strip() for key, value in shown.items()}
    assert shown["health"] == "Healthy"
    assert (shown["remaining"], shown["used"]) == ("990", "1 %")
    assert f"relay.example:{product.port} (STARTTLS)" in shown["SMTP"]
    assert f"relay.example:{product.implicit_port} (TLS)" in shown["SMTP"]


@pytest.mark.req("STAT-001")
def test_killing_the_process_of_events_loses_and_doubles_nothing(product, tenant):
    sent = 0
    for _ in range(4):
        for _message in range(5):
            tenant.take(*good(5))
            sent += 5
        pid = product.children()["relay-events"]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: product.children().get("relay-events") not in {None, pid})
    eventually(lambda: tenant.counts().get("deliveries") == sent and tenant.counts()["sends"] == sent)
    page = tenant.wait_sent(sent)
    assert page["bounceRate"]["messagesSent"] == sent
