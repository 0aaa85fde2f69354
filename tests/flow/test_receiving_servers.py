"""Postfix and Exim as receivers: what leaves with TLS, what waits, and what they themselves say about it."""

import contextlib
import os
import re
import shutil
import socket
from pathlib import Path
from tempfile import mkdtemp

import pytest

from relay.testing.internet import FakeInternet
from tests.authority import Certificate, WebServer, authority, server_context
from tests.exim import EXIM, exim
from tests.postfix import COMMAND, postfix
from tests.product import Product, Receiver, eventually, free_ports

pytestmark = [
    pytest.mark.peer,
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="mail servers of its own need root"),
]
HOSTS = ("any", "clear", "sts", "sts-name", "sts-clear", "dane", "dane-other", "dane-clear")
NETWORK = {"postfix": "127.0.18.{}", "exim": "127.0.19.{}"}
IN_TLS = {"postfix": b"(using TLSv1.3 with cipher ", "exim": b"with esmtps  (TLS1.3) "}
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: {}\r\nmax_age: 86400\r\n"


class World:
    """A server's hosts: `clear` and what ends so offer no TLS, each other one shows a certificate of its own."""

    def __init__(self, kind):
        self.kind = kind
        self.directory = Path(mkdtemp(prefix=f"relay-{kind}-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.authority = authority()
        (self.directory / "ca.pem").write_bytes(self.authority.pem())
        self.net = FakeInternet()
        self.addresses = {name: NETWORK[kind].format(number) for number, name in enumerate(HOSTS, 1)}
        self.port = _port_of_all(self.addresses.values())
        self.certificates = {}
        answers = {}
        zones = self.net.dns.zones
        for name, address in self.addresses.items():
            domain, host = f"{name}.test", f"mx.{name}.test"
            issuer = self.authority if name.startswith("sts") else None
            made = self.certificates[name] = Certificate(
                ["mx.elsewhere.test" if name == "sts-name" else host], issuer
            )
            made.save(self.directory / f"{address}.pem")
            signed = {"AD": name.startswith("dane")}
            zones[domain] = {"MX": [f"10 {host}."], **signed}
            zones[host] = {"A": [address], **signed}
            if signed["AD"]:
                fits = Certificate(["x.test"]) if name == "dane-other" else made
                zones[f"_{self.port}._tcp.{host}"] = {"TLSA": [fits.tlsa()], **signed}
            if name.startswith("sts"):
                zones[f"_mta-sts.{domain}"] = {"TXT": ['"v=STSv1; id=1;"']}
                zones[f"mta-sts.{domain}"] = {"A": ["127.0.0.1"]}
                answers[f"mta-sts.{domain}"] = (200, {"Content-Type": "text/plain"}, POLICY.format(host).encode())
        self.web = WebServer(server_context(Certificate(list(answers), self.authority), self.directory), answers)

    def postfix(self, relay_port):
        """Run a Postfix with a service for each host."""
        lines = []
        for name, address in self.addresses.items():
            level = "none" if name.endswith("clear") else "may"
            pem = self.directory / f"{address}.pem"
            options = f"-o smtpd_tls_security_level={level} -o smtpd_tls_cert_file={pem}"
            lines.append(f"{address}:{self.port} inet n - n - - smtpd {options}")
        (own,) = free_ports(1)
        settings = f"relayhost = [127.0.0.1]:{relay_port}\nsmtpd_tls_received_header = yes\n"
        return postfix(self.directory / "postfix", own, settings, lines)

    def exim(self, relay_port):
        """Run an Exim that listens on the address of each host."""
        directory = self.directory / "exim"
        directory.mkdir()
        for pem in self.directory.glob("*.pem"):
            shutil.chown(pem, "Debian-exim")
        clear = ":".join(address for name, address in self.addresses.items() if name.endswith("clear"))
        main = (
            f"tls_certificate = {self.directory}/$received_ip_address.pem\n"
            f"tls_advertise_hosts = ${{if inlist{{$received_ip_address}}{{{clear}}}{{}}{{*}}}}\n"
        )
        return exim(directory, self.addresses.values(), self.port, relay_port, main)


def _port_of_all(addresses):
    """Return a port that is free on all addresses."""
    while True:
        (port,) = free_ports(1)
        with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
            for address in addresses:
                opened.enter_context(socket.socket()).bind((address, port))
            return port


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("postfix", marks=pytest.mark.skipif(not Path(COMMAND).exists(), reason="no Postfix")),
        pytest.param("exim", marks=pytest.mark.skipif(not EXIM.exists(), reason="Exim is not unpacked")),
    ],
)
def world(request):
    made = World(request.param)
    with Receiver() as made.receiver, made.web, made.net.in_thread(), getattr(made, made.kind)(made.receiver.port):
        eventually(lambda: _greets(made.addresses["dane-clear"], made.port), 60, what=made.kind)
        yield made
    shutil.rmtree(made.directory, ignore_errors=True)


def _greets(address, port):
    with contextlib.suppress(OSError), socket.create_connection((address, port), 10) as client:
        return client.recv(100).startswith(b"220")


@pytest.fixture(scope="module")
def product(world):
    ca_file = str(world.directory / "ca.pem")
    settings = {
        "dns": {"nameservers": [world.net.dns.nameserver], "timeout": "2s"},
        "delivery": {
            "port": world.port, "allow_private_destinations": True, "tls_ca_file": ca_file,
            "retry": ["1s", "1s", "1h"],
        },
        "mta_sts": {"ca_file": ca_file, "port": world.web.port, "allow_private_hosts": True},
    }  # fmt: skip
    with Product(**settings) as made:
        made.run("configuration-set", "create", "strict", "--tls", "REQUIRE")
        yield made


def send(product, name, *, strict=False, options=()):
    headers = "X-SES-CONFIGURATION-SET: strict\r\n" if strict else ""
    return product.send(f"user@{name}.test", headers=headers, options=options)


def delivery(product, message_id):
    return product.json("trace", message_id)["deliveries"][0]


def at_the_end(world, message_id):
    """Return a message as the server handed it on, with its Received field on top; None while it has not come."""
    return next((data for _, _, data in world.receiver.messages if message_id.encode() in data), None)


def delivered(product, world, name, **given):
    """Send, and return the last attempt and whether the server says that it came over TLS."""
    message_id = send(product, name, **given)
    found = eventually(
        lambda: (one := delivery(product, message_id))["state"] == "delivered" and one, what=f"delivery to {name}"
    )
    data = eventually(lambda: at_the_end(world, message_id), 60, f"{message_id} behind {world.kind}")
    top = re.sub(rb"\s*\r\n\s+", b" ", data).partition(b"\r\nReceived:")[0]
    return found["attempts"][-1], IN_TLS[world.kind].lower() in top.lower()


def waits(product, world, name, **given):
    """Send, and return what a second attempt came to; nothing may have arrived."""
    message_id = send(product, name, **given)
    found = eventually(
        lambda: len((one := delivery(product, message_id))["attempts"]) >= 2 and one, what="a second attempt"
    )
    assert {attempt["outcome"] for attempt in found["attempts"]} == {"temporary"}
    assert found["state"] == "queued"
    assert at_the_end(world, message_id) is None
    return found["attempts"][-1]["reply"]


@pytest.mark.req("TLS-003")
def test_mail_leaves_in_tls_where_it_is_offered(product, world):
    """The certificate signs itself: opportunistic TLS asks nobody who that is."""
    attempt, in_tls = delivered(product, world, "any")
    assert (attempt["tls"], in_tls) == ("TLSv1.3", True)
    attempt, in_tls = delivered(product, world, "clear")
    assert (attempt["tls"], in_tls) == ("none", False)


@pytest.mark.req("TLS-004", "CFG-005")
def test_a_set_that_requires_tls_never_sends_in_clear(product, world):
    attempt, in_tls = delivered(product, world, "any", strict=True)
    assert (attempt["tls"], in_tls) == ("TLSv1.3", True)
    assert "TLS is required and the host does not offer it" in waits(product, world, "clear", strict=True)


@pytest.mark.req("TLS-005")
def test_an_enforced_policy_of_the_domain(product, world):
    """RFC 8461 section 5."""
    attempt, in_tls = delivered(product, world, "sts")
    assert (attempt["tlsPolicy"], in_tls) == ("sts", True)
    assert "Hostname mismatch" in waits(product, world, "sts-name")
    assert "TLS is required and the host does not offer it" in waits(product, world, "sts-clear")


@pytest.mark.req("TLS-005")
def test_keys_in_signed_records(product, world):
    """RFC 7672 section 2.2."""
    attempt, in_tls = delivered(product, world, "dane")
    assert (attempt["tlsPolicy"], in_tls) == ("dane", True)
    assert "fits none of the TLSA records" in waits(product, world, "dane-other")
    assert "TLS is required and the host does not offer it" in waits(product, world, "dane-clear")


def test_a_message_that_needs_requiretls_comes_back(product, world):
    """RFC 8689 section 5: neither server offers the extension."""
    with product.client() as client:
        message_id = product.send("user@dane.test", options=["REQUIRETLS"], client=client)
    found = eventually(
        lambda: (one := delivery(product, message_id))["state"] == "bounced" and one, what="the bounce"
    )
    assert found["attempts"][-1]["reply"].startswith("5.7.30 ")
    assert at_the_end(world, message_id) is None
