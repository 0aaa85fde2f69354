"""A client that says exactly the bytes it is told, and helpers to look at what came of them."""

import base64
import socket
import ssl

from relay.model.delivery import DeliveryState
from relay.store.reader import ShardReader
from tests.product import eventually

TIMEOUT_SECONDS = 30


def trusting(product):
    """Return a TLS context that trusts the product's own certificate."""
    return ssl.create_default_context(cafile=str(product.certificate))


class Wire:
    """One raw SMTP connection; the greeting has been read unless `greeted` is false."""

    def __init__(self, port, *, source="", context=None, implicit=False, greeted=True):
        address = (source, 0) if source else None
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS, source_address=address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.context = context
        self.buffer = b""
        if implicit:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.greeting = self.reply() if greeted else ""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        while b"\r\n" not in self.buffer:
            data = self.socket.recv(65536)
            assert data, f"closed after {self.buffer!r}"
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode("ascii")

    def reply(self):
        """Read one reply and return its last line."""
        while True:
            line = self.line()
            if line[3:4] != "-":
                return line

    def say(self, line):
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.reply()

    def rest(self):
        """Return everything until the other end closes."""
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return self.buffer
            self.buffer += data

    def silent(self, seconds=0.3):
        """Say whether nothing more comes for a while."""
        if self.buffer:
            return False
        self.socket.settimeout(seconds)
        try:
            self.buffer += self.socket.recv(65536)
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT_SECONDS)

    def starttls(self):
        assert self.say("STARTTLS") == "220 Ready to start TLS"
        self.socket = self.context.wrap_socket(self.socket, server_hostname="localhost")

    def login(self, user, password):
        return self.say(b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()))

    def transaction(self, text, sender="app@example.com", recipients=("user@remote.example",), options=""):
        """Submit `text`, already dot-stuffed and without the final dot; return the last reply."""
        answer = self.say(f"MAIL FROM:<{sender}>{options}")
        if answer[0] != "2":
            return answer
        for recipient in recipients:
            answer = self.say(f"RCPT TO:<{recipient}>")
            if answer[0] != "2":
                return answer
        answer = self.say("DATA")
        assert answer.startswith("354"), answer
        self.send(text + b".\r\n")
        return self.reply()


def open_listener(product, kind, source=""):
    """Return a session on a listener, ready for MAIL: submission, implicit, trusted or mx."""
    context = trusting(product)
    if kind == "implicit":
        client = Wire(product.implicit_port, context=context, implicit=True, source=source)
    else:
        port = {"submission": product.port, "trusted": product.trusted_port, "mx": product.mx_port}[kind]
        client = Wire(port, context=context, source=source)
    assert client.say("EHLO client.example") == "250 Ok"
    if kind == "submission":
        client.starttls()
        assert client.say("EHLO client.example") == "250 Ok"
    if kind in {"submission", "implicit"}:
        assert client.login(product.user, product.password) == "235 Authentication successful"
    return client


def settled(product, timeout_seconds=20):
    """Wait until nothing is queued."""
    eventually(lambda: not waiting(product), timeout_seconds, "an empty queue")


def waiting(product):
    """Return how many deliveries are queued, read from the spool itself (the command line takes a second)."""
    return sum(_queued(path) for path in (product.data_dir / "spool").glob("*/spool.db"))


def _queued(path):
    reader = ShardReader(path)
    try:
        counts = reader.counts()
    finally:
        reader.close()
    return counts.get(DeliveryState.QUEUED, 0) + counts.get(DeliveryState.HELD, 0)


def with_mark(messages, mark):
    """Return the messages that contain a mark."""
    return [message for message in messages if mark.encode() in message[2]]


def message(mark, body=b"x\r\n", headers=b""):
    """Return a small valid message that carries a mark."""
    return b"From: app@example.com\r\nX-Mark: " + mark.encode() + b"\r\n" + headers + b"\r\n" + body


def zone(product, *domains):
    """Return a look-up of the DKIM keys that identities publish, as dkimpy wants it."""
    found = {}
    for domain in domains or (product.domain,):
        for record in product.json("identity", "show", domain)["records"]:
            if record["type"] == "TXT":
                found[record["name"].rstrip(".")] = record["value"].encode()
    return lambda name, timeout=5: found.get(name.decode().rstrip("."), b"")
