"""What the benchmarks share: rows of the final table, a fixed reference for the machine, arguments, a receiver.

Every benchmark with a target makes `Figure`s, prints them, and writes them as JSON where `--json` says, for
`python -m bench` to collect.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ROOT = Path(__file__).resolve().parent.parent
REFERENCE_MS = 0.25  # an RSA-2048 signature on the machine that the targets were set for, while it was quiet


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; `passed` is None for what has no target or could not be measured."""

    name: str
    target: str
    measured: str
    passed: bool | None = None


def at_most(name: str, value: float, limit: float, unit: str, note: str = "") -> Figure:
    """Return a figure that must not be above a limit."""
    return Figure(name, f"<= {limit:g} {unit}".strip(), _text(value, unit, note), value <= limit)


def at_least(name: str, value: float, limit: float, unit: str, note: str = "") -> Figure:
    """Return a figure that must not be below a limit."""
    return Figure(name, f">= {limit:g} {unit}".strip(), _text(value, unit, note), value >= limit)


def _text(value: float, unit: str, note: str) -> str:
    return f"{value:.3g} {unit} {note}".strip() if abs(value) < 100 else f"{value:.0f} {unit} {note}".strip()


def mark(figure: Figure) -> str:
    return {True: "PASS", False: "FAIL", None: "-"}[figure.passed]


def show(figures: list[Figure]) -> None:
    """Print a table."""
    rows = [("", "target", "measured", ""), *((f.name, f.target, f.measured, mark(f)) for f in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True))
        print(f"  {cells}  {row[3]}".rstrip(), flush=True)


def reference_ms(rounds: int = 5, signatures: int = 40) -> float:
    """Return the CPU time of an RSA-2048 signature now: median of several rounds, in milliseconds."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        for _ in range(signatures):
            key.sign(b"reference", padding.PKCS1v15(), hashes.SHA256())
        times.append((time.process_time() - begin) / signatures)
    return 1000 * statistics.median(times)


def show_reference() -> float:
    """Print how fast the machine is now beside the one that the targets were set for; return the factor."""
    now = reference_ms()
    print(
        f"reference: an RSA-2048 signature costs {now:.3f} ms of CPU here and now, {REFERENCE_MS} ms on the quiet "
        f"reference machine (x {now / REFERENCE_MS:.2f})",
        flush=True,
    )
    return now / REFERENCE_MS


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark understands; a TERM now ends it with everything it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller counts: a look, not a measurement")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser


def finish(figures: list[Figure], path: Path | None) -> None:
    """Print the figures and keep them for the table of all."""
    show(figures)
    if path:
        path.write_text(json.dumps([asdict(figure) for figure in figures], indent=2), encoding="utf-8")


class Receiver:
    """A receiving process (`bench.tail_sink`), asked over its standard input."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "bench.tail_sink"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.port = json.loads(self.process.stdout.readline())["port"]

    def ask(self) -> dict:
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def wait(self, messages: int, timeout_seconds: float = 120) -> dict:
        """Wait until it has so many messages in all."""
        deadline = time.monotonic() + timeout_seconds
        while (seen := self.ask())["messages"] < messages:
            if time.monotonic() > deadline:
                raise SystemExit(f"only {seen['messages']} of {messages} messages arrived")
            time.sleep(0.1)
        return seen

    def quiet(self, timeout_seconds: float = 60) -> int:
        """Wait until nothing has arrived for a moment; return the number of messages."""
        deadline = time.monotonic() + timeout_seconds
        last = -1
        while time.monotonic() < deadline:
            seen = self.ask()["messages"]
            if seen == last:
                break
            last = seen
            time.sleep(0.4)
        return last

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)


def submit(
    server, messages: int, *, connections: int = 20, rate: float = 0, size: int = 10_240, **more: object
) -> dict:
    """Submit over STARTTLS with a password (`plain=True`: on the trusted listener); return what was measured."""
    command = [sys.executable, "-m", "bench.load", "--messages", str(messages), "--connections", str(connections)]
    command += ["--rate", str(rate), "--size", str(size)]
    if more.pop("plain", False):
        command += ["--port", str(server.plain_port), "--no-tls"]
    else:
        command += ["--port", str(server.port), "--user", server.user, "--password", server.password]
    for name, value in more.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=200)
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"the generator failed: {done.stdout}{done.stderr}")
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    if figures["failed"]:
        raise SystemExit(f"messages were refused: {done.stdout}")
    return figures


def end_to_end(server, receiver: Receiver, messages: int, **how: object) -> tuple[float, dict]:
    """Submit and wait for the receiver to have all; return messages a second and the generator's figures."""
    before = receiver.quiet()
    begin = time.monotonic()
    figures = submit(server, messages, **how)
    seen = receiver.wait(before + messages)
    return messages / (seen["last"] - begin), figures
