"""Certificates of receivers that are no good: opportunistic TLS goes on, required and verified TLS waits."""

import json

import pytest

from relay.testing.internet import FakeInternet
from tests.adversarial.wire import message, open_listener
from tests.product import Product, eventually

BAD = {"expired": "certificate has expired", "name": "mismatch", "untrusted": "self-signed"}
DOMAINS = {f"{kind}.test": [f"tls cert-{kind}"] for kind in BAD} | {"good.test": ["tls"], "example.com": [""]}


@pytest.fixture(scope="module")
def net():
    with FakeInternet(DOMAINS, network="127.0.64").in_thread() as made:
        yield made


@pytest.fixture(scope="module")
def product(net):
    kinds = [*BAD, "good"]
    settings = {
        "dns": {"nameservers": [net.dns.nameserver], "timeout": "5s"},
        "delivery": {"port": net.port, "allow_private_destinations": True, "retry": ["1s"]},
        "routes": [
            {"domain": f"by-{kind}.test", "smarthost": f"mx1.{kind}.test:{net.port}", "tls": "require"}
            for kind in kinds
        ],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(net.trusted))
        with Product(**settings) as made:
            yield made


def submit(product, mark, domain):
    with open_listener(product, "trusted") as client:
        answer = client.transaction(message(mark), recipients=[f"user@{domain}"])
    assert answer[:3] == "250", answer
    return answer.split()[-1]


def attempts(product, message_id):
    lines = [line for line in product.log_text().splitlines() if message_id in line and line.endswith("}")]
    return [line for line in map(json.loads, lines) if line["event"] in {"delivered", "deferred", "bounced"}]


def taken(net, kind, mark):
    return [copy for copy in net.hosts[f"mx1.{kind}.test"].received if f"X-Mark: {mark}\r\n".encode() in copy.data]


@pytest.mark.req("TLS-003")
@pytest.mark.parametrize("kind", [*BAD, "good"])
def test_opportunistic_tls_takes_any_certificate(kind, product, net):
    message_id = submit(product, f"any {kind}", f"{kind}.test")
    (line,) = eventually(lambda: attempts(product, message_id), what="an attempt")
    (copy,) = taken(net, kind, f"any {kind}")
    assert line["event"] == "delivered"
    assert copy.tls == line["tls"] == "TLSv1.3"


@pytest.mark.parametrize("kind", BAD)
def test_verified_tls_waits_for_a_good_one_and_never_goes_on_in_clear(kind, product, net):
    message_id = submit(product, f"by {kind}", f"by-{kind}.test")
    lines = eventually(lambda: (found := attempts(product, message_id)) and len(found) > 1 and found, what="attempts")
    assert {line["event"] for line in lines} == {"deferred"}
    assert all(BAD[kind] in line["reply"] for line in lines)
    assert taken(net, kind, f"by {kind}") == []


def test_verified_tls_delivers_where_the_certificate_is_good(product, net):
    message_id = submit(product, "by good", "by-good.test")
    (line,) = eventually(lambda: attempts(product, message_id), what="an attempt")
    assert (line["event"], line["tls"]) == ("delivered", "TLSv1.3")
    assert [copy.tls for copy in taken(net, "good", "by good")] == ["TLSv1.3"]
