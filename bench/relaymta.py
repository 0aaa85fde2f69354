"""A Relay instance for measurements: its own directory and ports, everything routed to a sink."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

PLAIN_SENDER = "bench@plain.example"
RELAY = [sys.executable, "-m", "relay"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command(config: Path, *arguments: str) -> str:
    """Run a relay command against an instance and return what it printed."""
    done = subprocess.run(
        [*RELAY, *arguments, "-c", str(config)], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        raise SystemExit(f"relay {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


class RelayMta:
    """A running instance."""

    name = "relay"

    def __init__(self, directory: Path, made: dict, settings: dict, environment: dict | None = None) -> None:
        self.directory = directory
        self.config = directory / "relay.yaml"
        self.user = made["smtp"]["username"]
        self.password = made["smtp"]["password"]
        ports = {f"{one['kind']}-{one.get('tls', 'none')}": one["port"] for one in settings["listeners"]}
        self.port = ports["submission-starttls"]
        self.plain_port = ports["submission-none"]
        self.metrics_port = ports["metrics-none"]
        self.environment = environment
        self.start()

    def start(self) -> None:
        self.log = (self.directory / "relay.log").open("ab")
        self.process = subprocess.Popen(
            [*RELAY, "serve", "-c", str(self.config)],
            stdout=self.log,
            stderr=self.log,
            env=os.environ | (self.environment or {}),
        )
        self.wait_ready()

    def wait_ready(self, timeout_seconds: float = 60) -> float:
        """Wait until every process is ready; return how long it took."""
        begin = time.monotonic()
        while time.monotonic() - begin < timeout_seconds:
            if self.process.poll() is not None:
                raise SystemExit((self.directory / "relay.log").read_text(encoding="utf-8")[-2000:])
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=2) as answer:
                    if answer.status == 200:
                        return time.monotonic() - begin
            except (OSError, urllib.error.URLError):
                time.sleep(0.05)
        raise SystemExit("relay did not get ready: " + (self.directory / "relay.log").read_text()[-2000:])

    def pids(self) -> list[int]:
        return [self.process.pid]

    def stop(self, sig: int = signal.SIGTERM) -> None:
        self.process.send_signal(sig)
        self.process.wait(60)
        self.log.close()


def prepare(directory: Path, sink_port: int, **settings: object) -> tuple[dict, dict]:
    """Make an instance whose mail all goes to the sink; return what `init` printed, and its settings."""
    done = subprocess.run(
        [*RELAY, "init", str(directory), "--json", "--hostname", "relay.example"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    made = json.loads(done.stdout)
    config = directory / "relay.yaml"
    values = yaml.safe_load(config.read_text(encoding="utf-8"))
    values["listeners"] = [
        {"kind": "submission", "address": "127.0.0.1", "port": free_port(), "tls": "starttls"},
        {"kind": "submission", "address": "127.0.0.1", "port": free_port(), "tls": "none",
         "trust": {"networks": ["127.0.0.0/8"], "account": made["account"]}},
        {"kind": "metrics", "address": "127.0.0.1", "port": free_port()},
    ]  # fmt: skip
    values["workers"] = 2
    values["routes"] = [{"domain": "*", "smarthost": f"127.0.0.1:{sink_port}"}]
    values["logging"] = {"format": "json"}
    values |= settings
    config.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    command(config, "identity", "create", "example.com")
    command(config, "identity", "verify", "--force", "example.com")
    # An address identity has no signing key: plain relaying is measured without a signature, like Postfix.
    command(config, "identity", "create", PLAIN_SENDER)
    command(config, "identity", "verify", "--force", PLAIN_SENDER)
    return made, values


def start(directory: Path, sink_port: int, environment: dict | None = None, **settings: object) -> RelayMta:
    """Prepare and start an instance."""
    made, values = prepare(directory, sink_port, **settings)
    return RelayMta(directory, made, values, environment)
