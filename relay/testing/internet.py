"""A whole internet in a literal: zones, and scripted mail hosts on loopback addresses that share one port.

Nothing leaves the machine. Use it inside a running loop (`async with`), or from plain code, where it runs in a
thread of its own (`with internet.in_thread():`).
"""

import asyncio
import contextlib
import datetime as dt
import ssl
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay.testing.internet_dialogue import Received
from relay.testing.internet_dns import FakeDns
from relay.testing.internet_host import FakeHost, words

_PORT_TRIES = 50
_HOSTS_A_ROW = 250


class FakeInternet:
    """`domains` maps a domain to the scripts of its hosts, in order of preference: {"a.test": ["grey.1", ""]}.

    Each gets a name, `mx1.a.test`, and an address in 127.0.0.0/8 of its own; records in `zones` are added to these
    or replace them. `port` is the one that every host listens on, `dns.nameserver` is to be asked.
    `certificate` is that of all hosts whose script does not say cert-expired, cert-name or cert-untrusted; `trusted`
    has those of all but the last.
    """

    def __init__(
        self,
        domains: Mapping[str, Iterable[str]] | None = None,
        zones: Mapping[str, Mapping[str, object]] | None = None,
        *,
        us: str = "relay.example",
        network: str = "127.0.16",
    ) -> None:
        self.dns = FakeDns()
        self.hosts: dict[str, FakeHost] = {}
        self.port = 0
        self._us = us
        self._network = network
        self._directory = tempfile.TemporaryDirectory(prefix="relay-internet-")
        self.certificate = Path(self._directory.name) / "cert.pem"
        self.trusted = Path(self._directory.name) / "trusted.pem"
        self._contexts: dict[str, ssl.SSLContext] = {}
        for domain, scripts in (domains or {}).items():
            self._add_domain(domain, scripts)
        self.dns.zones.update(zones or {})

    def _add_domain(self, domain: str, scripts: Iterable[str]) -> None:
        records = []
        for index, script in enumerate(scripts, 1):
            host = self.add_host(f"mx{index}.{domain}", script)
            records.append(f"{index * 10} {host.name}.")
        self.dns.zones[domain] = {"MX": records}

    def add_host(self, name: str, script: str = "") -> FakeHost:
        """Add a host before the start, with an address record of its own."""
        prefix, _, third = self._network.rpartition(".")
        row, number = divmod(len(self.hosts), _HOSTS_A_ROW)
        address = f"{prefix}.{int(third) + row}.{number + 1}"
        host = FakeHost(name, address, words(script), us=self._us)
        self.hosts[name] = host
        self.dns.zones[name] = {"A": [address]}
        return host

    @property
    def received(self) -> list[Received]:
        """Everything that any host took."""
        return [received for host in self.hosts.values() for received in host.received]

    async def __aenter__(self) -> Self:
        """Start."""
        for host in self.hosts.values():
            host.context = host.context or self._tls(host)
        await self.dns.start()
        for _ in range(_PORT_TRIES):
            if await self._listen():
                return self
        raise OSError("no port is free on all addresses")

    async def _listen(self) -> bool:
        port = 0
        for host in self.hosts.values():
            try:
                port = await host.start(port)
            except OSError:
                for other in self.hosts.values():
                    await other.stop()
                return False
        self.port = port
        return True

    async def __aexit__(self, *exc: object) -> None:
        """Stop."""
        for host in self.hosts.values():
            await host.stop()
        await self.dns.stop()
        self._directory.cleanup()

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Run in a thread with a loop of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="fake-internet", daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(self.__aenter__(), loop).result(30)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self.__aexit__(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(30)
            loop.close()

    def _tls(self, host: FakeHost) -> ssl.SSLContext:
        """Return the context of a host: one for all that are in order, one for each kind of bad certificate."""
        kind = next((word for word in host.faults if word.startswith("cert-")), "")
        if kind not in self._contexts:
            certificate = self.certificate.with_name(f"{kind}.pem") if kind else self.certificate
            key = certificate.with_name(f"{kind}key.pem")
            names = ["elsewhere.test"] if kind == "cert-name" else list(self.hosts)
            write_certificate(certificate, key, names, days=-1 if kind == "cert-expired" else 30)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self._contexts[kind] = context
            if kind != "cert-untrusted":
                with self.trusted.open("ab") as file:
                    file.write(certificate.read_bytes())
        return self._contexts[kind]


def write_certificate(certificate: Path, key: Path, names: Iterable[str], days: int = 30) -> None:
    """Write a self-signed ECDSA certificate for names, which ends in so many days, and its key."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"fake internet {certificate.stem}")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names] or [x509.DNSName("x")]), False
        )
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
