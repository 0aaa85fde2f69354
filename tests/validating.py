"""DNSSEC without a line of ours: zones signed by dnspython and served by nsd, validated by an unbound on loopback.

`test.` is the island of trust: the unbound has its key as trust anchor, and follows DS records to the zones below.
"""

import shutil
import subprocess
import time

import dns.dnssec
import dns.message
import dns.query
import dns.rdatatype
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.nameserver import SOA, NameServer
from tests.product import eventually, free_ports

UNBOUND = shutil.which("unbound", path="/usr/sbin:/sbin:/usr/local/sbin")
ANCHOR = "test"
_DAY_SECONDS = 86_400


class Signed:
    """Records of a zone, and how it is signed.

    `records` are lines of a zone file. `forged` are (line, line): a record that is changed after it was signed.
    `key` None: not at all, and the zone above says so. `lapsed`: signatures whose time is over.
    """

    def __init__(self, records, *, forged=(), signed=True, lapsed=False):
        self.records = records
        self.forged = forged
        self.key = ec.generate_private_key(ec.SECP256R1()) if signed else None
        self.lapsed = lapsed

    @property
    def dnskey(self):
        return dns.dnssec.make_dnskey(self.key.public_key(), "ECDSAP256SHA256", flags=257)

    def text(self, name, serial):
        """Return the zone file."""
        plain = f"$ORIGIN {name}.\n{SOA.format(serial=serial)}{self.records}\n"
        if self.key is None:
            return plain
        zone = dns.zone.from_text(plain, origin=f"{name}.", relativize=False)
        now = int(time.time())
        begin, end = (now - 9 * _DAY_SECONDS, now - _DAY_SECONDS) if self.lapsed else (now - 3600, now + _DAY_SECONDS)
        dns.dnssec.sign_zone(zone, keys=[(self.key, self.dnskey)], inception=begin, expiration=end)
        made = zone.to_text(relativize=False)
        for good, bad in self.forged:
            assert good in made, (good, made)
            made = made.replace(good, bad)
        return made


class SignedServer(NameServer):
    """An nsd for `zones`, {name below ANCHOR: Signed}, and for ANCHOR itself, which delegates to them."""

    def __init__(self, directory, zones):
        self.root = Signed("\n".join(_delegation(name, zone) for name, zone in zones.items()))
        self.signed = {ANCHOR: self.root, **zones}
        super().__init__(directory, self.signed)

    def publish(self, zone, text):
        """Serve other records of a zone, signed in order from now on."""
        signed = self.signed[zone]
        signed.records, signed.forged, signed.lapsed = text, (), False
        super().publish(zone, text)

    def _write(self, name, _):
        (self.directory / name).write_text(self.signed[name].text(name, self.serial))


def _delegation(name, zone):
    lines = [f"{name}. 1 IN NS ns.{ANCHOR}."]
    if zone.key is not None:
        lines.append(f"{name}. 1 IN DS {dns.dnssec.make_ds(f'{name}.', zone.dnskey, 'SHA256').to_text()}")
    return "\n".join(lines)


class Unbound:
    """A running unbound that asks a `SignedServer` and nobody else; `validates` False: it believes what it gets."""

    def __init__(self, directory, server, *, validates=True):
        if UNBOUND is None:
            pytest.skip("unbound is not installed")
        (self.port,) = free_ports(1)
        self.config = directory / f"unbound-{self.port}.conf"
        self.log = directory / f"unbound-{self.port}.log"
        anchor = server.root.dnskey.to_text()
        lines = [
            "server:", f"  port: {self.port}", "  interface: 127.0.0.1", "  outgoing-interface: 127.0.0.1",
            '  username: ""', '  chroot: ""', f'  directory: "{directory}"', '  pidfile: ""', "  use-syslog: no",
            "  do-daemonize: no", "  do-ip6: no", "  do-not-query-localhost: no", "  num-threads: 1",
            '  local-zone: "test." nodefault', "  val-bogus-ttl: 1", "  cache-max-negative-ttl: 1",
            "  val-log-level: 2",
            f'  module-config: "{"validator " if validates else ""}iterator"', "  qname-minimisation: no",
            f'  trust-anchor: "{ANCHOR}. DNSKEY {anchor}"',
            "remote-control:", "  control-enable: no",
        ]  # fmt: skip
        for name in server.signed:
            lines += ["stub-zone:", f"  name: {name}.", f"  stub-addr: 127.0.0.1@{server.port}"]
        self.config.write_text("\n".join(lines) + "\n")

    def __enter__(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([UNBOUND, "-d", "-c", str(self.config)], stderr=log, stdout=log)
        eventually(self.answers, what="unbound")
        return self

    def __exit__(self, *exc):
        self.process.terminate()
        self.process.wait(10)

    @property
    def address(self):
        """The resolver as `dns.nameservers` wants it."""
        return f"127.0.0.1:{self.port}"

    def ask(self, name, kind):
        """Return what it says about a name to who asks whether it was validated."""
        query = dns.message.make_query(name, kind)
        query.flags |= dns.flags.AD
        return dns.query.udp(query, "127.0.0.1", timeout=5, port=self.port)

    def answers(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask(f"{ANCHOR}.", "SOA").answer
        except (OSError, dns.exception.DNSException):
            return False
