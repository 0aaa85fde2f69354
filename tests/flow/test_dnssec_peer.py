"""DANE with zones that are signed, served by nsd and validated by unbound, and mail that depends on it."""

import dns.flags
import dns.rcode
import pytest
import yaml

from relay.testing.internet import FakeInternet
from tests.authority import Certificate, authority, server_context
from tests.product import Product, eventually
from tests.validating import Signed, SignedServer, Unbound

pytestmark = pytest.mark.peer
DOMAINS = {
    "fits": "tls requiretls",
    "issuer": "tls",
    "other-key": "tls",
    "clear": "",
    "forged-mx": "tls",
    "forged-tlsa": "tls",
    "forged-host": "tls",
    "lapsed": "tls",
    "no-tlsa": "tls",
    "unsigned": "tls",
    "mended": "tls",
    "alias": "tls",
}


class World:
    """Hosts with certificates, and zones that say what their keys are."""

    def __init__(self, directory):
        self.directory = directory
        self.authority = authority()
        self.net = FakeInternet({f"{name}.test": [script] for name, script in DOMAINS.items()})
        self.certificates = {}
        for name, host in self.net.hosts.items():
            self.certificates[name] = Certificate([name], self.authority if "issuer" in name else None)
            host.context = server_context(self.certificates[name], directory)

    def records(self, domain, tlsa):
        """Return the records of a domain with one host."""
        host = f"mx1.{domain}"
        lines = [f"@ 1 IN MX 10 {host}.", f"{host}. 1 IN A {self.net.hosts[host].address}"]
        lines += [f"_{self.net.port}._tcp.{host}. 1 IN TLSA {tlsa}"] if tlsa else []
        return "\n".join(lines)

    def own_key(self, domain):
        return self.certificates[f"mx1.{domain}"].tlsa()

    def zones(self):
        """Return every zone below `test.`, as it is signed."""
        other = Certificate(["x.test"])
        tlsa = {f"{name}.test": self.own_key(f"{name}.test") for name in DOMAINS}
        tlsa |= {
            "issuer.test": self.authority.tlsa(2, 0, 1), "other-key.test": other.tlsa(), "no-tlsa.test": "",
            "unsigned.test": other.tlsa(), "alias.test": "",
        }  # fmt: skip
        zones = {name: Signed(self.records(name, one)) for name, one in tlsa.items()}
        zones["unsigned.test"] = Signed(zones["unsigned.test"].records, signed=False)
        zones["lapsed.test"] = Signed(zones["lapsed.test"].records, lapsed=True)
        zones["forged-mx.test"].forged = [("MX 10 mx1.forged-mx.test.", "MX 10 mx1.fits.test.")]
        zones["forged-host.test"].forged = [("A 127.0.16.", "A 127.0.17.")]
        for name in ("forged-tlsa.test", "mended.test"):
            zones[name].forged = [(tlsa[name], other.tlsa())]
        # The host has another name in the MX record, and its keys are at the name that the alias leads to.
        zones["alias.test"] = Signed(
            "@ 1 IN MX 10 mail.alias.test.\nmail.alias.test. 1 IN CNAME mx1.alias.test.\n"
            + self.records("alias.test", self.own_key("alias.test")).partition("\n")[2]
        )
        # An unsigned domain at a host that has keys, and a signed one at a host in an unsigned zone.
        zones["guest.test"] = Signed("@ 1 IN MX 10 mx1.other-key.test.", signed=False)
        zones["lodger.test"] = Signed("@ 1 IN MX 10 mx1.unsigned.test.")
        return zones


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("dnssec"))
    with (
        made.net.in_thread(),
        SignedServer(made.directory, made.zones()) as made.server,
        Unbound(made.directory, made.server) as made.resolver,
    ):
        yield made


@pytest.fixture(scope="module")
def product(world):
    settings = {
        "dns": {"nameservers": [world.resolver.address], "timeout": "5s"},
        "delivery": {
            "port": world.net.port,
            "allow_private_destinations": True,
            "retry": ["1s", "1s", "1s", "1s", "1h"],
        },
        "mta_sts": {"enabled": False},
    }
    with Product(**settings) as made:
        yield made


def delivery(product, message_id):
    return product.json("trace", message_id)["deliveries"][0]


def delivered(product, message_id):
    """Wait for the delivery and return its last attempt."""
    found = eventually(
        lambda: (one := delivery(product, message_id))["state"] == "delivered" and one,
        what=f"delivery of {message_id}",
    )
    return found["attempts"][-1]


def received(world, message_id):
    return [one for one in world.net.received if f"id {message_id}".encode() in one.content]


def test_the_resolver_validates(world):
    """What the others stand on: the bit for what is signed, SERVFAIL for what is forged, neither for the rest."""
    signed = world.resolver.ask("fits.test.", "MX")
    assert signed.flags & dns.flags.AD
    unsigned = world.resolver.ask("unsigned.test.", "MX")
    assert unsigned.answer
    assert not unsigned.flags & dns.flags.AD
    for name, kind in (("forged-mx.test.", "MX"), ("lapsed.test.", "MX"), ("mx1.forged-host.test.", "A")):
        assert world.resolver.ask(name, kind).rcode() == dns.rcode.SERVFAIL
    assert world.resolver.ask(f"_{world.net.port}._tcp.mx1.no-tlsa.test.", "TLSA").flags & dns.flags.AD


@pytest.mark.req("TLS-005")
@pytest.mark.parametrize("domain", ["fits.test", "issuer.test", "alias.test"])
def test_keys_that_fit_the_signed_records_get_mail(product, world, domain):
    """RFC 7672 sections 2.2, 3.1.1 and 3.1.2."""
    attempt = delivered(product, product.send(f"user@{domain}"))
    assert attempt["tls"] == "TLSv1.3"
    assert attempt["tlsPolicy"] == "dane"


@pytest.mark.req("TLS-005")
@pytest.mark.parametrize("domain", ["no-tlsa.test", "unsigned.test", "guest.test", "lodger.test"])
def test_what_is_not_signed_or_not_there_binds_nobody(product, world, domain):
    """RFC 7672 section 2.1.1: records that do not fit, in zones nobody signed, count for nothing."""
    attempt = delivered(product, product.send(f"user@{domain}"))
    assert attempt["tls"] == "TLSv1.3"
    assert not attempt["tlsPolicy"]


@pytest.mark.req("TLS-005")
@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("other-key.test", "fits none of the TLSA records"),
        ("forged-tlsa.test", "the TLSA records of mx1.forged-tlsa.test cannot be looked up"),
        ("forged-mx.test", ""),
        ("forged-host.test", ""),
        ("lapsed.test", ""),
    ],
)
def test_what_is_forged_waits(product, world, domain, reason):
    """RFC 7672 sections 2.1.2 and 3.1: tried again, never bounced, never sent without what the records ask for."""
    message_id = product.send(f"user@{domain}")
    found = eventually(
        lambda: len((one := delivery(product, message_id))["attempts"]) >= 2 and one, what="a second attempt"
    )
    for attempt in found["attempts"]:
        assert attempt["outcome"] == "temporary", attempt
        assert reason in attempt["reply"]
    assert found["state"] == "queued"
    assert not received(world, message_id)
    assert not [one for one in product.events("Bounce") if one["mail"]["messageId"] == message_id]


@pytest.mark.req("TLS-005")
def test_mail_leaves_when_the_signatures_are_mended(product, world):
    message_id = product.send("user@mended.test")
    eventually(lambda: delivery(product, message_id)["attempts"], what="an attempt")
    assert not received(world, message_id)
    world.server.publish("mended.test", world.records("mended.test", world.own_key("mended.test")))

    def gone():
        product.run("queue", "retry", message_id, check=False)
        return delivery(product, message_id)["state"] == "delivered"

    eventually(gone, what="the delivery")
    assert delivery(product, message_id)["attempts"][-1]["tlsPolicy"] == "dane"
    (one,) = received(world, message_id)
    assert one.tls == "TLSv1.3"


def test_a_resolver_that_does_not_validate_gives_no_dane(product, world):
    """RFC 7672 section 2.1.1; the operator may also say that the resolver's word does not count."""

    def policy(**dns):
        other = product.directory / "other.yaml"
        other.write_text(yaml.safe_dump({**product.values, "dns": {**product.values["dns"], **dns}}))
        return product.run("tls-policy", "show", "other-key.test", "--json", "-c", str(other), config=None).stdout

    assert '"policy": "dane"' in policy()
    assert '"policy": "dane"' not in policy(trust_ad="no")
    with Unbound(world.directory, world.server, validates=False) as believer:
        assert '"policy": "dane"' not in policy(nameservers=[believer.address])
