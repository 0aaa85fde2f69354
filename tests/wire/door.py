"""The real SMTP door on real sockets, in a thread of its own, with a recording product behind it."""

import asyncio
import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from relay.model.content import BodyFile
from relay.model.message import Submission
from relay.model.refusal import Accepted, Reason, Refusal
from relay.ports import AuthGate
from relay.smtp.server.policy import ListenerKind, SessionPolicy, TlsMode
from relay.smtpd.door import SmtpDoor
from relay.smtpd.gate import LocalGate
from relay.smtpd.services import Services
from relay.smtpd.tls import ContextHolder, server_context

HOST = "relay.example"
USER, PASSWORD, ACCOUNT = "alice", "secret", "000000000001"


class Recorder:
    """Intake, Authenticator, Permits, Metrics and Log in one, all of it recorded."""

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.bodies: list[bytes] = []
        self.received: list[Submission] = []
        self.counts: dict[tuple[str, ...], float] = {}
        self.gauges: dict[tuple[str, ...], float] = {}
        self.faults: list[str] = []
        self.warnings: list[str] = []
        self.auth_results: list[tuple[str, str, bool]] = []
        self.accounts: dict[str, str] = {USER: ACCOUNT}
        self.answer: Refusal | None = None
        self.start_answer: Refusal | None = None
        self.auth_answer: str | Refusal | None = None
        self.gate = AuthGate(refused=False, delay_seconds=0.0)
        self.hold_seconds = 0.0
        self.raises = False
        self.keeps_bodies = True
        self.local = {"postmaster@relay.example", "inbox@relay.example"}
        self.lock = threading.Lock()

    # Intake
    def may_start(self, size_bytes: int) -> Refusal | None:
        return self.start_answer

    def account_of(self, principal: str) -> str | None:
        return self.accounts.get(principal)

    def submit(self, submission: Submission, done: Callable[[Accepted | Refusal], None]) -> None:
        self._take(self.submissions, submission, done)

    def may_receive(self, recipient: str) -> Refusal | None:
        if recipient in self.local:
            return None
        if recipient.endswith("@relay.example"):
            return Refusal(Reason.NO_SUCH_USER, recipient)
        return Refusal(Reason.NOT_LOCAL)

    def receive(self, submission: Submission, done: Callable[[Accepted | Refusal], None]) -> None:
        self._take(self.received, submission, done)

    def _take(self, kept: list[Submission], submission: Submission, done: Callable) -> None:
        if self.raises:
            raise RuntimeError("boom")
        with self.lock:
            kept.append(submission)
        body = submission.content.body
        if self.answer is None and self.keeps_bodies:
            self.bodies.append(Path(body.path).read_bytes() if isinstance(body, BodyFile) else body)
        number = len(kept)
        result = self.answer or Accepted(f"id-{number}")
        if self.hold_seconds:
            asyncio.get_running_loop().call_later(self.hold_seconds, done, result)
        else:
            asyncio.get_running_loop().call_soon(done, result)

    # Authenticator
    def check(self, username: str, password: str) -> str | Refusal:
        if self.raises:
            raise RuntimeError("boom")
        if self.auth_answer is not None:
            return self.auth_answer
        right = username == USER and password == PASSWORD
        return ACCOUNT if right else Refusal(Reason.CREDENTIALS_INVALID)

    # Permits
    def auth_gate(self, address: str, username: str) -> AuthGate:
        return self.gate

    def recognises(self, address: str) -> bool:
        return any(succeeded and known == address for known, _, succeeded in self.auth_results)

    def auth_result(self, address: str, username: str, *, succeeded: bool) -> None:
        self.auth_results.append((address, username, succeeded))

    # Metrics
    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        self.counts[name, *labels] = self.counts.get((name, *labels), 0) + amount

    def observe(self, name: str, value: float, *labels: str) -> None:
        raise AssertionError(name)

    def set_gauge(self, name: str, value: float, *labels: str) -> None:
        self.gauges[name, *labels] = value

    # Log
    def debug(self, event: str, **fields: object) -> None:
        """Nothing is recorded at this level."""

    info = debug

    def warning(self, event: str, **fields: object) -> None:
        self.warnings.append(f"{event} {fields}")

    def error(self, event: str, **fields: object) -> None:
        self.faults.append(f"{event} {fields}")


class _Metrics:
    def __init__(self, recorder: Recorder) -> None:
        self.count = recorder.count
        self.observe = recorder.observe
        self.gauge = recorder.set_gauge


class _Clock:
    """Real time that tests can push forward."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_seconds


def make_certificate(directory: Path, name: str = HOST) -> tuple[Path, Path]:
    """Write a self-signed ECDSA certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = directory / f"{name}.cert.pem", directory / f"{name}.key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


POLICIES: dict[str, SessionPolicy] = {
    "submission": SessionPolicy(HOST),
    "implicit": SessionPolicy(HOST, tls=TlsMode.IMPLICIT),
    "mx": SessionPolicy(HOST, kind=ListenerKind.MX),
    "trusted": SessionPolicy(HOST, tls=TlsMode.NONE, trusted_networks=("127.0.0.0/8",), trusted_account=ACCOUNT),
    "clear": SessionPolicy(HOST, tls=TlsMode.NONE, auth_in_clear=True),
}
POLICIES["enhanced"] = replace(POLICIES["clear"], enhanced_codes=True)
POLICIES["limit554"] = replace(POLICIES["trusted"], recipient_limit_reply=554, recipients_max=3)
POLICIES["limit452"] = replace(POLICIES["trusted"], recipients_max=3)
POLICIES["nonull"] = replace(POLICIES["trusted"], null_sender=False)
POLICIES["small"] = replace(POLICIES["trusted"], message_size_max=100_000)
POLICIES["ascii"] = replace(POLICIES["trusted"], smtputf8=False)


@dataclass
class Door:
    """A running door; `port(kind)` opens a listener for one of `POLICIES`, or for a policy of the test's own."""

    incoming: Path
    certificate: tuple[Path, Path]
    gate: LocalGate = field(default_factory=lambda: LocalGate(1000))
    tick_seconds: float = 0.05

    def __post_init__(self) -> None:
        self.product = Recorder()
        self.clock = _Clock()
        self.tls = ContextHolder(server_context(*self.certificate))
        self.ports: dict[str, int] = {}
        self.loop = uvloop.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def _work(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(lambda _loop, context: self.product.faults.append(repr(context)))
        product = self.product
        services = Services(
            product, product, product, _Metrics(product), product, self.clock, self.gate, self.tls, self.incoming
        )
        self.door = SmtpDoor(services, self.loop, tick_seconds=self.tick_seconds)
        self.loop.call_soon(ready.set)
        self.loop.run_forever()
        self.door.close()
        self.loop.run_until_complete(asyncio.sleep(0.05))
        self.loop.close()

    def call(self, function: Callable[[], object]) -> object:
        """Run a function on the door's loop and wait for it."""

        async def run() -> object:
            result = function()
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def port(self, kind: str | SessionPolicy) -> int:
        name = kind if isinstance(kind, str) else repr(kind)
        if name not in self.ports:
            policy = POLICIES[kind] if isinstance(kind, str) else kind
            sock = socket.create_server(("127.0.0.1", 0))
            self.ports[name] = sock.getsockname()[1]
            self.call(lambda: self.door.serve(sock, policy))
        return self.ports[name]

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def wait(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Wait until the door has done something that shows on its side only."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the door did not get there"
            time.sleep(0.005)


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """A client that says exactly what it is told."""

    def __init__(self, port: int, *, implicit: bool = False, timeout: float = 20.0) -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout)
        if implicit:
            self.socket = client_context().wrap_socket(self.socket)
        self.rest = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> bytes:
        while b"\r\n" not in self.rest:
            data = self.socket.recv(65536)
            if not data:
                line, self.rest = self.rest, b""
                return line
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\r\n")
        return line

    def reply(self) -> list[bytes]:
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return lines

    def say(self, command: str | bytes) -> str:
        """Send a line, return the last line of the reply."""
        self.send((command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        return self.reply()[-1].decode()

    def rest_until_closed(self) -> bytes:
        data = self.rest
        try:
            while chunk := self.socket.recv(65536):
                data += chunk
        except ConnectionResetError:
            pass
        self.rest = b""
        return data

    def starttls(self) -> None:
        assert self.say("STARTTLS") == "220 Ready to start TLS"
        self.socket = client_context().wrap_socket(self.socket, server_hostname=HOST)

    def login(self) -> None:
        import base64

        token = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
        assert self.say(f"AUTH PLAIN {token}") == "235 Authentication successful"

    def close(self) -> None:
        self.socket.close()
