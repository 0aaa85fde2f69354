"""What TLS mail leaves with: MTA-STS, DANE, REQUIRETLS and TLS-Required, against receivers of every kind."""

import contextlib
import json
import signal
import smtplib
import ssl
import time

import pytest
import yaml

from relay.testing.internet import FakeInternet
from tests.authority import Certificate, WebServer, authority, server_context
from tests.product import Product, eventually

MX = "mx1.{}"
POLICY = "version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n"
STS = {  # domain: script of its host, mode, mx pattern
    "good.test": ("tls requiretls", "enforce", "mx1.good.test"),
    "wild.test": ("tls", "enforce", "*.wild.test"),
    "wrong-name.test": ("tls", "enforce", "mx1.wrong-name.test"),
    "expired.test": ("tls", "enforce", "mx1.expired.test"),
    "untrusted.test": ("tls", "enforce", "mx1.untrusted.test"),
    "stripped.test": ("", "enforce", "mx1.stripped.test"),
    "refused.test": ("tls-454", "enforce", "mx1.refused.test"),
    "old.test": ("tls", "enforce", "mx1.old.test"),
    "unnamed.test": ("tls", "enforce", "mx.elsewhere.test"),
    "two-labels.test": ("tls", "enforce", "*.test"),
    "testing.test": ("tls", "testing", "mx1.testing.test"),
    "testing-clear.test": ("", "testing", "mx1.testing-clear.test"),
    "none.test": ("tls", "none", "mx1.none.test"),
    "redirect.test": ("tls", "enforce", "mx1.redirect.test"),
    "html.test": ("tls", "enforce", "mx1.html.test"),
    "bad-web.test": ("tls", "enforce", "mx1.bad-web.test"),
    "huge.test": ("tls", "enforce", "mx1.huge.test"),
    "dane-first.test": ("tls", "enforce", "mx.elsewhere.test"),
}
DANE = {  # domain: script of its host
    "ee.test": "tls requiretls",
    "ee-wrong.test": "tls",
    "ee-two.test": "tls",
    "ee-stripped.test": "",
    "ta.test": "tls",
    "ta-name.test": "tls",
    "ta-wrong.test": "tls",
    "unusable.test": "tls",
    "unusable-clear.test": "",
    "lost.test": "tls",
    "unsigned.test": "tls",
    "alias.test": "tls",
}
PLAIN = {"example.com": "", "clear.test": "", "broken.test": "tls-garbage", "noreqtls.test": "tls"}


class World:
    """Names, hosts with certificates, and a policy server."""

    def __init__(self, directory):
        self.authority = authority()
        (directory / "ca.pem").write_bytes(self.authority.pem())
        self.ca_file = directory / "ca.pem"
        domains = {domain: [script] for domain, (script, _, _) in STS.items()}
        domains |= {domain: [script] for domain, script in {**DANE, **PLAIN}.items()}
        self.net = FakeInternet(domains)
        self.sni = []
        self.certificates = {}
        for name, host in self.net.hosts.items():
            self.certificates[name] = self._certificate(name)
            maximum = ssl.TLSVersion.TLSv1_1 if name == "mx1.old.test" else None
            host.context = server_context(self.certificates[name], directory, self.sni, maximum)
        zones = self.net.dns.zones
        policies = {}
        for domain, (_, mode, mx) in STS.items():
            zones[f"_mta-sts.{domain}"] = {"TXT": ['"v=STSv1; id=1;"']}
            zones[f"mta-sts.{domain}"] = {"A": ["127.0.0.1"]}
            text = POLICY.format(mode=mode, mx=mx).encode()
            policies[f"mta-sts.{domain}"] = (200, {"Content-Type": "text/plain"}, text)
        policies["mta-sts.redirect.test"] = (301, {"Location": "https://mta-sts.good.test/"}, b"")
        policies["mta-sts.html.test"] = (200, {"Content-Type": "text/html"}, policies["mta-sts.html.test"][2])
        huge = policies["mta-sts.huge.test"][2] + b"x: y\r\n" * 20_000
        policies["mta-sts.huge.test"] = (200, {"Content-Type": "text/plain"}, huge)
        zones["shares.test"] = {"MX": ["10 mx1.wrong-name.test."]}
        web = Certificate([name for name in policies if "bad-web" not in name], self.authority)
        bad = {"mta-sts.bad-web.test": server_context(Certificate(["mta-sts.bad-web.test"]), directory)}
        self.web = WebServer(server_context(web, directory), policies, bad)

    def _certificate(self, name):
        issuer = self.authority if name.removeprefix("mx1.") in STS else None
        if name in ("mx1.wrong-name.test", "mx1.testing.test", "mx1.ta-name.test"):
            return Certificate(["mx.somebody-else.test"], self.authority)
        if name in ("mx1.ta.test", "mx1.ta-wrong.test"):
            return Certificate([name], self.authority)
        if name in ("mx1.untrusted.test", "mx1.dane-first.test"):
            issuer = None
        return Certificate([name], issuer, expired=name == "mx1.expired.test")

    def sign(self):
        """Put the domains of DANE into signed zones; the names of TLSA records have the port in them."""
        zones, port = self.net.dns.zones, self.net.port
        other = Certificate(["x.test"])
        tlsa = {
            "ee.test": [self._of("ee.test").tlsa()],
            "ee-wrong.test": [other.tlsa()],
            "ee-two.test": [other.tlsa(), self._of("ee-two.test").tlsa(3, 0, 2)],
            "ee-stripped.test": [self._of("ee-stripped.test").tlsa()],
            "ta.test": [self.authority.tlsa(2, 0, 1)],
            "ta-name.test": [self.authority.tlsa(2, 1, 1)],
            "ta-wrong.test": [other.tlsa(2, 1, 1)],
            "unusable.test": [self._of("unusable.test").tlsa(1, 1, 1)],
            "unusable-clear.test": [self._of("unusable-clear.test").tlsa(1, 1, 1)],
            "unsigned.test": [other.tlsa()],
            "dane-first.test": [self._of("dane-first.test").tlsa()],
        }
        for domain in [*DANE, "dane-first.test"]:
            signed = {"AD": domain != "unsigned.test"}
            host = MX.format(domain)
            zones[domain] = {**zones[domain], **signed}
            zones[host] = {**zones[host], **signed}
            if domain in tlsa:
                zones[f"_{port}._tcp.{host}"] = {"TLSA": tlsa[domain], **signed}
        zones[f"_{port}._tcp.mx1.lost.test"] = {"FAULT": "servfail"}
        zones["alias.test"] = {"MX": ["10 mail.alias.test."], "AD": True}
        zones["mail.alias.test"] = {"CNAME": "mx1.alias.test", "AD": True}
        zones[f"_{port}._tcp.mx1.alias.test"] = {"TLSA": [self._of("alias.test").tlsa()], "AD": True}

    def _of(self, domain):
        return self.certificates[MX.format(domain)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("tls"))
    with made.web, made.net.in_thread():
        made.sign()
        yield made


@pytest.fixture(scope="module")
def product(world):
    settings = {
        "dns": {"nameservers": [world.net.dns.nameserver], "timeout": "2s"},
        "delivery": {
            "port": world.net.port,
            "allow_private_destinations": True,
            "tls_ca_file": str(world.ca_file),
            "retry": ["1s", "1h"],
        },
        "mta_sts": {"ca_file": str(world.ca_file), "port": world.web.port, "allow_private_hosts": True},
        "tls_reports": {"contact": "tls@relay.example"},
    }
    with Product(**settings) as made:
        yield made


def send(product, domain, *, headers="", options=()):
    """Submit a message over TLS; return its id."""
    with product.client() as client:
        client.ehlo()
        client.mail("sender@example.com", list(options))
        client.rcpt(f"user@{domain}")
        text = f"From: sender@example.com\r\nTo: user@{domain}\r\nSubject: s\r\n{headers}\r\nx\r\n"
        code, reply = client.data(text.encode())
        assert code == 250, reply
        return reply.decode().split()[1]


def attempts(product, message_id):
    return product.json("trace", message_id)["deliveries"][0]["attempts"]


def first_attempt(product, message_id):
    return eventually(lambda: attempts(product, message_id), what="an attempt")[0]


def received(world, message_id):
    """Return what any host took of a message."""
    return [one for one in world.net.received if f"id {message_id}".encode() in one.content]


def state(product, message_id):
    return product.json("trace", message_id)["deliveries"][0]["state"]


def delivered(product, world, domain, **given):
    """Send, await the delivery, and return its attempt and what the receiver got."""
    message_id = send(product, domain, **given)
    eventually(lambda: state(product, message_id) == "delivered", what=f"delivery to {domain}")
    return attempts(product, message_id)[-1], received(world, message_id)[0]


def deferred(product, world, domain, **given):
    """Send, await the first attempt, and return what it came to; nothing may have arrived."""
    message_id = send(product, domain, **given)
    attempt = first_attempt(product, message_id)
    assert attempt["outcome"] == "temporary", attempt
    assert not received(world, message_id)
    return attempt, message_id


@pytest.mark.req("TLS-005")
@pytest.mark.parametrize("domain", ["good.test", "wild.test"])
def test_a_host_that_the_policy_names_and_that_shows_its_name_gets_mail(product, world, domain):
    """RFC 8461 section 4.1; the MX host's name is in the handshake (RFC 8461 section 4.2)."""
    attempt, mail = delivered(product, world, domain)
    assert attempt["tls"] == mail.tls == "TLSv1.3"
    assert attempt["tlsPolicy"] == "sts"
    assert MX.format(domain) in world.sni


@pytest.mark.req("TLS-005")
@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("wrong-name.test", "Hostname mismatch"),
        ("expired.test", "certificate has expired"),
        ("untrusted.test", "self-signed certificate"),
        ("stripped.test", "TLS is required and the host does not offer it"),
        ("refused.test", "STARTTLS refused: 454"),
        ("old.test", "TLS failed: "),
        ("unnamed.test", "the MTA-STS policy of the domain does not name mx1.unnamed.test"),
        ("two-labels.test", "the MTA-STS policy of the domain does not name mx1.two-labels.test"),
    ],
)
def test_enforce_defers_what_cannot_be_sent_as_the_policy_says(product, world, domain, reason):
    """RFC 8461 section 5; the reason is in the trace and in the event, and a metric counts it."""
    attempt, message_id = deferred(product, world, domain)
    assert reason in attempt["reply"]
    assert "MTA-STS" in attempt["reply"]
    assert attempt["stage"] == "tls"

    def event():
        delays = product.events("DeliveryDelay")
        return [one for one in delays if one["mail"]["messageId"] == message_id]

    told = eventually(event, what="the event")[0]["deliveryDelay"]["delayedRecipients"][0]
    assert reason in told["diagnosticCode"]
    assert told["status"].startswith("4.7.")


@pytest.mark.req("TLS-005")
def test_what_fails_is_counted(product, world):
    deferred(product, world, "expired.test")
    name = 'relay_tls_policy_failures_total{policy="sts",result="certificate-expired"}'
    eventually(lambda: product.metric(name), what="the metric")


@pytest.mark.req("TLS-003", "TLS-005")
def test_domains_with_and_without_a_policy_share_no_connection(product, world):
    """Both have the same mail exchanger, whose certificate is for another name."""
    deferred(product, world, "wrong-name.test")
    attempt, _ = delivered(product, world, "shares.test")
    assert attempt["tls"] == "TLSv1.3"
    assert not attempt["tlsPolicy"]
    deferred(product, world, "wrong-name.test")


@pytest.mark.req("TLS-005")
@pytest.mark.parametrize(("domain", "tls"), [("testing.test", "TLSv1.3"), ("testing-clear.test", "none")])
def test_testing_delivers_all_the_same(product, world, domain, tls):
    """RFC 8461 section 5: `mode: testing` only reports."""
    attempt, _ = delivered(product, world, domain)
    assert attempt["tls"] == tls
    eventually(
        lambda: product.metric(
            'relay_tls_policy_failures_total{policy="sts",result="starttls-not-supported"}'
            if tls == "none"
            else 'relay_tls_policy_failures_total{policy="sts",result="certificate-host-mismatch"}'
        ),
        what="a count",
    )


@pytest.mark.parametrize("domain", ["none.test", "redirect.test", "html.test", "bad-web.test", "huge.test"])
def test_a_policy_that_is_none_asks_for_nothing(product, world, domain):
    """RFC 8461 section 3.3: no redirects, 64 KiB, text/plain, a trusted certificate."""
    attempt, _ = delivered(product, world, domain)
    assert attempt["tls"] == "TLSv1.3"
    assert not attempt["tlsPolicy"]
    if domain == "redirect.test":
        assert ("mta-sts.good.test", "/") not in {(one[0], one[2]) for one in world.web.requests}


def test_the_policy_is_fetched_once_and_outlives_its_host_and_a_restart(product, world):
    """RFC 8461 section 5.1: neither a policy host that is gone nor a missing record takes a valid policy away."""
    delivered(product, world, "good.test")
    asked = [one for one in world.web.requests if one[0] == "mta-sts.good.test"]
    assert [one[2] for one in asked] == ["/.well-known/mta-sts.txt"]
    assert "Cookie" not in asked[0][3]
    zones, answers = world.net.dns.zones, world.web.answers
    kept_record, kept_answer = zones["_mta-sts.wrong-name.test"], answers["mta-sts.wrong-name.test"]
    deferred(product, world, "wrong-name.test")
    try:
        del zones["_mta-sts.wrong-name.test"]
        answers["mta-sts.wrong-name.test"] = (404, {}, b"")
        product.stop()
        assert product.json("tls-policy", "show", "wrong-name.test")["mtaSts"]["mode"] == "enforce"
        product.start()
        deferred(product, world, "wrong-name.test")
        zones["_mta-sts.wrong-name.test"] = {"TXT": ['"v=STSv1; id=2;"']}
        product.stop()
        product.start()
        deferred(product, world, "wrong-name.test")
    finally:
        zones["_mta-sts.wrong-name.test"], answers["mta-sts.wrong-name.test"] = kept_record, kept_answer


@pytest.mark.req("TLS-005")
@pytest.mark.parametrize("domain", ["ee.test", "ee-two.test", "ta.test", "unusable.test", "dane-first.test"])
def test_a_host_whose_keys_fit_its_records_gets_mail(product, world, domain):
    """RFC 7672 section 3.1, and no usable record: TLS of anybody (section 2.2). DANE beats MTA-STS (RFC 8461 2)."""
    attempt, _ = delivered(product, world, domain)
    assert attempt["tls"] == "TLSv1.3"
    assert attempt["tlsPolicy"] == "dane"
    assert MX.format(domain) in world.sni


@pytest.mark.req("TLS-005")
@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("ee-wrong.test", "fits none of the TLSA records"),
        ("ee-stripped.test", "TLS is required and the host does not offer it"),
        ("ta-wrong.test", "no issuer of the certificate fits the TLSA records"),
        ("ta-name.test", "hostname mismatch"),
        ("unusable-clear.test", "TLS is required and the host does not offer it"),
        ("lost.test", "the TLSA records of mx1.lost.test cannot be looked up"),
    ],
)
def test_dane_defers_and_never_falls_back(product, world, domain, reason):
    """RFC 7672 sections 2.1.2, 2.2 and 3.1."""
    attempt, _ = deferred(product, world, domain)
    assert reason in attempt["reply"]


def test_records_that_nobody_validated_count_for_nothing(product, world):
    """RFC 7672 section 2.1.1."""
    attempt, _ = delivered(product, world, "unsigned.test")
    assert attempt["tls"] == "TLSv1.3"
    assert not attempt["tlsPolicy"]


def test_the_name_behind_an_alias_is_the_base_domain(product, world):
    """RFC 7672 section 2.2.2: TLSA records and SNI are those of the name that aliases lead to."""
    attempt, _ = delivered(product, world, "alias.test")
    assert attempt["tlsPolicy"] == "dane"
    assert "mx1.alias.test" in world.sni
    assert "mail.alias.test" not in world.sni


@pytest.mark.req("TLS-003")
def test_without_a_policy_tls_is_tried_and_given_up(product, world):
    attempt, _ = delivered(product, world, "clear.test")
    assert attempt["tls"] == "none"
    attempt, _ = delivered(product, world, "broken.test")
    assert attempt["tls"] == "none"


@pytest.mark.parametrize("domain", ["good.test", "ee.test"])
def test_requiretls_goes_to_hosts_that_prove_themselves_and_offer_it(product, world, domain):
    """RFC 8689 section 4.2.1."""
    _, mail = delivered(product, world, domain, options=["REQUIRETLS"])
    assert "REQUIRETLS" in mail.parameters.split()


@pytest.mark.parametrize("domain", ["clear.test", "wild.test"])
def test_requiretls_bounces_where_it_is_not_offered(product, world, domain):
    """RFC 8689 section 5: 5.7.30."""
    message_id = send(product, domain, options=["REQUIRETLS"])
    eventually(lambda: state(product, message_id) == "bounced", what="the bounce")
    assert attempts(product, message_id)[-1]["reply"].startswith("5.7.30 ")
    bounces = eventually(
        lambda: [one for one in product.events("Bounce") if one["mail"]["messageId"] == message_id], what="the event"
    )
    assert bounces[0]["bounce"]["bouncedRecipients"][0]["status"] == "5.7.30"


def test_requiretls_bounces_where_nobody_vouches_for_the_host(product, world):
    """RFC 8689 section 4.2.1: a name from unsigned MX records needs an MTA-STS policy that has it."""
    message_id = send(product, "noreqtls.test", options=["REQUIRETLS"])
    eventually(lambda: state(product, message_id) == "bounced", what="the bounce")
    reply = attempts(product, message_id)[-1]["reply"]
    assert reply.startswith("5.7.30 ")
    assert "vouch for mx1.noreqtls.test" in reply


def test_requiretls_waits_for_a_certificate_that_is_wrong_now(product, world):
    deferred(product, world, "expired.test", options=["REQUIRETLS"])


@contextlib.contextmanager
def configured(product, **changed):
    """Let the relay take on other settings for a block."""
    kept = dict(product.values)

    def use(values):
        product.values = values
        product.save()
        before = product.log_text().count('"reloaded"')
        product.process.send_signal(signal.SIGHUP)
        eventually(lambda: product.log_text().count('"reloaded"') > before, what="the reload")

    use({**kept, **changed})
    try:
        yield
    finally:
        use(kept)


@pytest.mark.req("TLS-003", "TLS-005")
def test_the_operator_has_a_word_for_single_domains(product, world):
    """Broken TLS is remembered for opportunistic deliveries only; `opportunistic` silences a policy."""
    delivered(product, world, "broken.test")
    rules = [
        {"domain": "broken.test", "tls": "require"},
        {"domain": "expired.test", "tls": "opportunistic"},
        {"domain": "*.test", "tls": "verify", "minimum_version": "1.3"},
    ]
    with configured(product, tls_policies=rules):
        attempt, _ = deferred(product, world, "broken.test")
        assert "tls_policies for broken.test asks for it" in attempt["reply"]
        attempt, mail = delivered(product, world, "expired.test")
        assert mail.tls == "TLSv1.3"
        assert not attempt["tlsPolicy"]
        attempt, _ = deferred(product, world, "unsigned.test")
        assert "certificate: self-signed certificate" in attempt["reply"]
        shown = product.json("tls-policy", "show", "unsigned.test")["hosts"][0]
        assert (shown["tls"], shown["minimumVersion"]) == ("verify", "1.3")
    deferred(product, world, "expired.test")


def test_authorities_that_are_none_are_told_by_name(product):
    bad = product.directory / "bad.yaml"
    values = {**product.values, "mta_sts": {"ca_file": str(product.config)}}
    values["delivery"] = {**product.values["delivery"], "tls_ca_file": "/nowhere/ca.pem"}
    bad.write_text(yaml.safe_dump(values))
    done = product.run("check", "-c", str(bad), check=False, config=None)
    assert done.returncode == 78
    said = done.stdout + done.stderr
    assert "delivery.tls_ca_file: cannot be used: /nowhere/ca.pem: No such file" in said
    assert "mta_sts.ca_file: cannot be used" in said


def test_requiretls_is_for_sessions_inside_tls(product):
    """RFC 8689 section 2."""
    with smtplib.SMTP("127.0.0.1", product.trusted_port) as client:
        client.ehlo()
        assert not client.has_extn("requiretls")
        assert client.mail("sender@example.com", ["REQUIRETLS"])[0] == 555
    with product.client() as client:
        client.ehlo()
        assert client.has_extn("requiretls")
        assert client.mail("sender@example.com", ["REQUIRETLS=yes"])[0] == 501


def test_the_sender_may_waive_what_the_recipient_published(product, world):
    """RFC 8689 section 3."""
    for domain in ("untrusted.test", "ee-wrong.test"):
        _, mail = delivered(product, world, domain, headers="TLS-Required: No\r\n")
        assert mail.tls == "TLSv1.3"
    deferred(product, world, "untrusted.test")


def test_a_report_goes_to_who_asks_for_one(product, world):
    """RFC 8460 sections 3 to 5: by mail, signed, gzipped, about sessions and nothing else."""
    import email
    import gzip

    delivered(product, world, "good.test")
    deferred(product, world, "expired.test")
    world.net.dns.zones["_smtp._tls.expired.test"] = {"TXT": ['"v=TLSRPTv1; rua=mailto:reports@clear.test"']}
    today = int(time.time()) // 86400

    def counted():
        return product.json("tls-policy", "report", "expired.test", "--day", "today")["policies"]

    eventually(counted, what="the counts")
    product.run("tls-policy", "report", "--send", "--day", "today")
    mail = eventually(
        lambda: [one for one in world.net.received if "reports@clear.test" in one.recipients], what="the report"
    )[0]
    message = email.message_from_bytes(mail.content)
    assert message["TLS-Report-Domain"] == "expired.test"
    assert message["TLS-Report-Submitter"] == "relay.example"
    assert message["TLS-Required"] == "No"
    assert message.get_param("report-type") == "tlsrpt"
    part = message.get_payload()[1]
    assert part.get_content_type() == "application/tlsrpt+gzip"
    report = json.loads(gzip.decompress(part.get_payload(decode=True)))
    assert report["date-range"]["start-datetime"].startswith(time.strftime("%Y-%m-%d", time.gmtime(today * 86400)))
    (policy,) = (one for one in report["policies"] if one["policy"]["policy-type"] == "sts")
    assert policy["policy"]["policy-type"] == "sts"
    assert policy["policy"]["policy-domain"] == "expired.test"
    assert policy["policy"]["mx-host"] == ["mx1.expired.test"]
    assert policy["summary"]["total-successful-session-count"] == 0
    details = policy["failure-details"][0]
    assert details["result-type"] == "certificate-expired"
    assert details["receiving-mx-hostname"] == "mx1.expired.test"
    assert details["failed-session-count"] == policy["summary"]["total-failure-session-count"] >= 1
    assert b"sender@example.com" not in json.dumps(report).encode()


def test_the_command_says_what_applies(product, world):
    delivered(product, world, "good.test")
    shown = product.json("tls-policy", "show", "good.test")
    assert shown["mtaSts"]["mode"] == "enforce"
    assert shown["mtaSts"]["id"] == "1"
    assert shown["hosts"][0]["host"] == "mx1.good.test"
    assert shown["hosts"][0]["policy"] == "sts"
    shown = product.json("tls-policy", "show", "ee.test")
    assert shown["hosts"][0]["policy"] == "dane"
    assert shown["hosts"][0]["tlsa"] == [str(world.certificates["mx1.ee.test"].tlsa())]
    assert "clear text" in product.run("tls-policy", "show", "clear.test").stdout
