"""The whole product as a test sees it: a real `relay serve` in a directory of its own, and a receiver that counts.

Ports are given out by the kernel; nothing outside loopback is reached; everything started here is ended here.
"""

import asyncio
import atexit
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import yaml

from tests.commands import Service, run_command
from tests.shapes import event_faults

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every process started here compiles the whole product
RELAY = [sys.executable, "-m", "relay"]
READY_SECONDS = 60


PORTS_EACH = 2000
EVENTS_CHECKED_MAX = 2000  # of a product, at its end


def _ports_of_this_process():
    """Yield the ports of this test process in turn: below those that the kernel gives to outgoing connections."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 10
    first = 11_000 + number * PORTS_EACH
    begin = os.getpid() % PORTS_EACH
    return itertools.cycle([first + (begin + n) % PORTS_EACH for n in range(PORTS_EACH)])


_PORTS = _ports_of_this_process()


def free_ports(count):
    """Return free ports, each different, that no other test process and no client of anybody takes meanwhile."""
    found = []
    for port in itertools.islice(_PORTS, PORTS_EACH):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


def eventually(check, timeout_seconds=30, what="the condition"):
    """Return the first true value of `check()`, asked often; fail when none came in time."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_seconds} s"
        time.sleep(0.02)


class Receiver:
    """A receiving MTA on a thread of its own: keeps what it gets; `answer(command, argument)` may refuse."""

    def __init__(self, keep_bytes=True, host="127.0.0.1", port=0, answer=None):
        self.messages = []
        self.arrivals = []  # where each message came from: address, name in EHLO, first recipient
        self.seen = Counter()
        self.connections = 0
        self.keep_bytes = keep_bytes
        self.answer = answer or (lambda verb, line: None)
        self.host = host
        self.port = port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self):
        self._loop = asyncio.new_event_loop()
        server = self._loop.run_until_complete(self._loop.create_server(lambda: _Session(self), self.host, self.port))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.close()

    def wait(self, count, timeout_seconds=30):
        """Wait for messages and return them."""
        eventually(lambda: len(self.messages) >= count, timeout_seconds, f"message number {count}")
        return self.messages


class _Session(asyncio.Protocol):
    def __init__(self, owner):
        self.owner = owner
        self.buffer = bytearray()
        self.seen = 0  # octets of the buffer in which no end was
        self.data = False
        self.sender = None
        self.helo = ""
        self.recipients = []

    def connection_made(self, transport):
        self.owner.connections += 1
        self.transport = transport
        transport.write(b"220 receiver ESMTP\r\n")

    def data_received(self, data):
        self.buffer += data
        while self.buffer:
            mark = b"\r\n.\r\n" if self.data else b"\r\n"
            end = self.buffer.find(mark, self.seen)
            self.seen = max(0, len(self.buffer) - len(mark) + 1) if end < 0 else 0
            if end < 0:
                return
            part = bytes(self.buffer[:end])
            del self.buffer[: end + len(mark)]
            reply = self.message(part + b"\r\n") if self.data else self.command(part)
            self.transport.write(reply + b"\r\n")
            if reply.startswith((b"221", b"421")):
                self.transport.close()
                return

    def command(self, line):
        verb = line.split(b" ")[0].split(b":")[0].upper().decode()
        refusal = self.owner.answer(verb, line.decode(errors="replace"))
        if refusal:
            return refusal.encode()
        if verb == "EHLO":
            self.helo = line.decode(errors="replace").partition(" ")[2]
            return b"250-receiver\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8"
        if verb == "MAIL":
            self.sender, self.recipients = _path(line), []
        if verb == "RCPT":
            self.recipients.append(_path(line))
        if verb == "DATA" and not self.recipients:
            return b"503 no valid recipients"
        if verb == "DATA":
            self.data = True
            return b"354 go on"
        return b"221 bye" if verb == "QUIT" else b"250 ok"

    def message(self, data):
        self.data = False
        refusal = self.owner.answer(".", "")
        if refusal:
            return refusal.encode()
        data = data.replace(b"\r\n.", b"\r\n")
        found = re.search(rb"^X-Number: (\S+)", data, re.MULTILINE)
        if found:
            self.owner.seen[found.group(1).decode()] += 1
        kept = data if self.owner.keep_bytes else b""
        self.owner.arrivals.append((self.transport.get_extra_info("peername")[0], self.helo, self.recipients[0]))
        self.owner.messages.append((self.sender, list(self.recipients), kept))
        return b"250 2.0.0 taken"


def _path(line):
    return line.decode(errors="replace").split(":", 1)[1].strip().split(">")[0].lstrip("<")


_TEMPLATES = {}  # domain: what init printed, and the directory it made


def copy_of_template(directory, domain):
    """Fill a directory as init does, with a verified domain; return what init printed about it."""
    if domain not in _TEMPLATES:
        template = Path(tempfile.mkdtemp(prefix="relay-template-", dir="/tmp"))
        atexit.register(shutil.rmtree, template, ignore_errors=True)
        done = run_command(["init", str(template / "made"), "--hostname", "relay.example", "--json"])
        assert done.returncode == 0, done.stderr
        own = ("-c", str(template / "made" / "relay.yaml"))
        for command in (["create"], ["verify", "--force"]) if domain else ():
            run_command(["identity", *command, domain, *own])
        # Bounces suppress nobody here: an address may bounce in one test after the other.
        run_command(["suppression", "settings", "--reasons", "COMPLAINT", *own])
        _TEMPLATES[domain] = (json.loads(done.stdout), template / "made")
    made, source = _TEMPLATES[domain]
    shutil.copytree(source, directory, dirs_exist_ok=True)
    return made


class Product:
    """A relay in a directory of its own. Use as a context manager; `settings` overlay the configuration.

    Bounces put nobody on the account's suppression list unless `suppression` is true.
    """

    def __init__(
        self, receiver_port=None, *, workers=1, listeners=(), domain="example.com", suppression=False, **settings
    ):
        self.directory = Path(tempfile.mkdtemp(prefix="relay-test-", dir="/tmp"))
        self.config = self.directory / "relay.yaml"
        ready = "" if "dkim" in settings else domain  # how keys are made follows the settings
        made = copy_of_template(self.directory, ready)
        self.user, self.password = made["smtp"]["username"], made["smtp"]["password"]
        self.access_key = made["access_key"]
        self.account = made["account"]
        self.certificate = self.directory / "tls" / Path(made["certificate"]).name
        ports = free_ports(5)
        self.port, self.implicit_port, self.trusted_port, self.mx_port, self.metrics_port = ports
        values = yaml.safe_load(self.config.read_text())
        values["hostname"] = "relay.example"
        values["workers"] = workers
        values["listeners"] = [
            {"kind": "submission", "address": "127.0.0.1", "port": self.port, "tls": "starttls"},
            {"kind": "submission", "address": "127.0.0.1", "port": self.implicit_port, "tls": "implicit"},
            {
                "kind": "submission",
                "address": "127.0.0.1",
                "port": self.trusted_port,
                "tls": "none",
                "trust": {"networks": ["127.0.0.0/8"], "account": self.account},
            },
            {"kind": "mx", "address": "127.0.0.1", "port": self.mx_port},
            {"kind": "metrics", "address": "127.0.0.1", "port": self.metrics_port},
            *listeners,
        ]
        values["events"] = [{"name": "all", "type": "file", "path": "events.jsonl", "types": "all"}]
        values["bounce_domain"] = "bounce.relay.example"
        if receiver_port:
            values["routes"] = [{"domain": "*", "smarthost": f"127.0.0.1:{receiver_port}"}]
        values["limits"] = {"disk_free_min": "1MB"}
        values["own_checks"] = {"enabled": False}  # they would ask the name servers of this machine
        values |= settings
        self.values = values
        self.data_dir = self.directory / values["data_dir"]
        self.save()
        self.domain = domain
        for command in (["create"], ["verify", "--force"]) if domain and not ready else ():
            self.run("identity", *command, domain)
        if suppression:
            self.run("suppression", "settings", "--reasons", "BOUNCE,COMPLAINT")
        self.process = None

    def save(self):
        """Write the configuration as `values` say."""
        self.config.write_text(yaml.safe_dump(self.values, sort_keys=False))

    def run(self, *arguments, check=True, config="own", input_text=None, env=None):
        """Run a relay command to its end."""
        own = ["-c", str(self.config)] if config == "own" else []
        done = run_command([*arguments, *own], input_text=input_text, env=env)
        assert not check or done.returncode == 0, f"{done.args}: {done.stdout}{done.stderr}"
        return done

    def json(self, *arguments):
        """Run a command with --json and return the object it printed."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def rows(self, *arguments, check=True):
        """Run a list command with --json and return its objects."""
        return [json.loads(line) for line in self.run(*arguments, "--json", check=check).stdout.splitlines()]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind=None, *exc):
        self.stop()
        wrong = self.wrong_events() if kind is None else []
        shutil.rmtree(self.directory, ignore_errors=True)
        assert not wrong, wrong[:10]

    def wrong_events(self):
        """Return what is wrong with the shapes of published events: whatever a test did, each is as documented."""
        return [fault for event in self.events()[-EVENTS_CHECKED_MAX:] for fault in event_faults(event)]

    def start(self, ready=True, image=True):
        """Start `relay serve` and wait until it is ready; without `image` from an interpreter that starts as well."""
        self.log = (self.directory / "relay.log").open("ab")
        command = ["serve", "-c", str(self.config)]
        if image:
            self.process = Service(command, self.log.name)
        else:
            self.process = subprocess.Popen([*RELAY, *command], stdout=self.log, stderr=self.log)
        if ready:
            self.wait_ready()

    def wait_ready(self):
        eventually(self.is_ready, READY_SECONDS, "readiness")

    def is_ready(self):
        assert self.process.poll() is None, self.log_text()[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=5) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def stop(self, sig=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(60)
        if self.process:
            self.log.close()
            self.process = None

    def log_text(self):
        return (self.directory / "relay.log").read_text(errors="replace")

    def children(self):
        """Return {process name: pid} of the running children."""
        command = ["ps", "-o", "pid=,comm=", "--ppid", str(self.process.pid)]
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        return {name.replace("relay-w0", "worker-0"): int(pid) for pid, name in map(str.split, lines)}

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def metric(self, name):
        """Return the value of a metric, named with its labels as the page has it; 0 while the page lacks it.

        The page may be a second old: await a count, and compare it with what was there before.
        """
        values = [line.rpartition(" ")[2] for line in self.metrics().splitlines() if line.startswith(f"{name} ")]
        return float(values[0]) if values else 0.0

    def events(self, kind=None):
        """Return the published events."""
        path = self.data_dir / "events.jsonl"
        *lines, _ = path.read_text().split("\n") if path.exists() else [""]  # the last line may be half written
        found = [json.loads(line) for line in lines]
        return [event for event in found if kind in (None, event["eventType"])]

    def wait_event(self, kind, count=1, timeout_seconds=30):
        """Wait for events of a kind and return them."""
        return eventually(
            lambda: (found := self.events(kind)) and len(found) >= count and found, timeout_seconds, f"{kind} event"
        )

    def client(self, implicit=False):
        """Return a connected, authenticated smtplib client."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if implicit:
            client = smtplib.SMTP_SSL("localhost", self.implicit_port, context=context, timeout=30)
        else:
            client = smtplib.SMTP("localhost", self.port, timeout=30)
            client.starttls(context=context)
        client.login(self.user, self.password)
        return client

    def send(
        self, recipients="user@remote.example", body="Hello\r\n", headers="", sender=None, client=None, options=()
    ):
        """Submit one message and return its message id."""
        sender = sender if sender is not None else f"app@{self.domain}"
        to = recipients if isinstance(recipients, str) else ", ".join(recipients)
        text = f"From: App <app@{self.domain}>\r\nTo: {to}\r\nSubject: A test\r\n{headers}\r\n{body}"
        own = client or self.client()
        try:
            own.ehlo_or_helo_if_needed()
            code, reply = own.mail(sender, options)
            assert code == 250, reply
            for recipient in [recipients] if isinstance(recipients, str) else recipients:
                code, reply = own.rcpt(recipient)
                assert code == 250, reply
            code, reply = own.data(text.encode())
            assert code == 250, (code, reply)
            return reply.decode().split()[-1]
        finally:
            if client is None:
                own.quit()
