"""Large messages: what one of 40 MB, and ten at once, do to other sessions and to memory.

    python -m bench.large [--quick] [--size 40000000] [--at-once 10]

Eight probing sessions (SO_REUSEPORT spreads them over the workers) send a NOOP every 10 ms and a small message
after every twentieth; each round trip is timed. They run in this process, the large messages come from another one,
over STARTTLS with a password. Measured from the first octet of the large messages until the receiver has them all.
The same probes without a large message, in the same run, tell what the machine itself takes.
Memory is sampled five times a second in all processes of the relay: PSS, and the sum of RSS.
"""

import argparse
import json
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench import relaymta
from bench.figures import ROOT, Figure, Receiver, arguments, at_most, finish, show_reference, submit
from bench.load import quantile
from bench.memory import BODY, step
from bench.proc import pss_mb, tree

PROBES = 8
NOOPS = 20
PAUSE_SECONDS = 0.01
TEXT = b"From: <bench@example.com>\r\nSubject: probe\r\n\r\n" + BODY + b".\r\n"


class Probe(threading.Thread):
    """One session that asks again and again; round trips in seconds."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.stop = stop
        self.noops: list[float] = []
        self.messages: list[float] = []
        self.problem = ""

    def run(self) -> None:
        try:
            self.ask()
        except (OSError, SystemExit) as error:
            self.problem = str(error) or repr(error)

    def ask(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            step(connection, b"", b"220 ")
            step(connection, b"EHLO probe.example\r\n", b"250 ")
            while not self.stop.is_set():
                for _ in range(NOOPS):
                    self.timed(self.noops, lambda: step(connection, b"NOOP\r\n", b"250 "))
                    time.sleep(PAUSE_SECONDS)
                self.timed(self.messages, lambda: self.send(connection))
            step(connection, b"QUIT\r\n", b"221 ")

    def timed(self, times: list[float], action) -> None:
        begin = time.monotonic()
        action()
        times.append(time.monotonic() - begin)

    def send(self, connection: socket.socket) -> None:
        step(connection, b"MAIL FROM:<bench@example.com>\r\n", b"250 ")
        step(connection, b"RCPT TO:<user@sink.example>\r\n", b"250 ")
        step(connection, b"DATA\r\n", b"354 ")
        step(connection, TEXT, b"250 ")


class Memory(threading.Thread):
    """Samples the memory of the relay; `most` are the highest PSS and RSS in MB."""

    def __init__(self, root: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.root = root
        self.stop = stop
        self.most = (0.0, 0.0)

    def run(self) -> None:
        while not self.stop.wait(0.2):
            self.most = tuple(map(max, self.most, memory(self.root)))


def memory(root: int) -> tuple[float, float]:
    """Return PSS and RSS of a process and its descendants in MB."""
    rss = 0
    for pid in tree(root):
        try:
            rss += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4096
        except OSError:
            continue
    return pss_mb(root), rss / 1e6


def observed(server, receiver: Receiver, large: int, args: argparse.Namespace) -> dict:
    """Probe while so many large messages are submitted at once and delivered (none: for some seconds)."""
    before = memory(server.process.pid)
    stop = threading.Event()
    probes = [Probe(server.plain_port, stop) for _ in range(PROBES)]
    watch = Memory(server.process.pid, stop)
    for thread in (*probes, watch):
        thread.start()
    begin = time.monotonic()
    try:
        if large:
            deliver(server, receiver, large, args)
        else:
            time.sleep(args.seconds)
        seconds = time.monotonic() - begin
    finally:
        stop.set()
        for thread in (*probes, watch):
            thread.join(90)
    problems = [probe.problem for probe in probes if probe.problem]
    if problems:
        raise SystemExit(f"a probing session failed: {problems[0]}")
    noops = [one for probe in probes for one in probe.noops]
    messages = [one for probe in probes for one in probe.messages]
    row = {
        "seconds": seconds,
        "noop_max": max(noops),
        "message_max": max(messages),
        "pss": watch.most[0] - before[0],
        "rss": watch.most[1] - before[1],
    }
    print(
        f"  {large:2} large: {seconds:5.1f} s; NOOP p50 {1000 * quantile(noops, 0.5):5.1f} p99 "
        f"{1000 * quantile(noops, 0.99):6.1f} max {1000 * max(noops):6.1f} ms ({len(noops)}); message p50 "
        f"{1000 * quantile(messages, 0.5):5.1f} p99 {1000 * quantile(messages, 0.99):6.1f} max "
        f"{1000 * max(messages):6.1f} ms ({len(messages)}); PSS {row['pss']:+.0f} MB, RSS {row['rss']:+.0f} MB",
        flush=True,
    )
    return row


def deliver(server, receiver: Receiver, large: int, args: argparse.Namespace) -> None:
    """Submit large messages at once from another process; wait until the receiver has them."""
    command = [sys.executable, "-m", "bench.large", "--send", str(large), "--size", str(args.size)]
    command += ["--port", str(server.port), "--user", server.user, "--password", server.password]
    before = receiver.ask()["large"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=200)
    if done.returncode:
        raise SystemExit(f"large messages were not taken: {done.stdout}{done.stderr}")
    print(f"     acknowledged after {json.loads(done.stdout)} s", flush=True)
    deadline = time.monotonic() + 120
    while receiver.ask()["large"] < before + large:
        if time.monotonic() > deadline:
            raise SystemExit("large messages did not arrive")
        time.sleep(0.1)


def send(args: argparse.Namespace) -> None:
    """Submit large messages at once, one a thread; print after how many seconds each was acknowledged."""
    import ssl

    from bench.load import make_message
    from bench.memory import relay_token

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    text = make_message(args.size, "bench@example.com", "user@sink.example", 1) + b".\r\n"
    begin = time.monotonic()
    answers: queue.SimpleQueue[float | str] = queue.SimpleQueue()

    def one() -> None:
        try:
            plain = socket.create_connection(("127.0.0.1", args.port), timeout=120)
            step(plain, b"", b"220 ")
            step(plain, b"EHLO large.example\r\n", b"250 ")
            step(plain, b"STARTTLS\r\n", b"220 ")
            with context.wrap_socket(plain) as secure:
                step(secure, b"EHLO large.example\r\n", b"250 ")
                step(secure, b"AUTH PLAIN " + relay_token(args) + b"\r\n", b"235 ")
                step(secure, b"MAIL FROM:<bench@example.com> SIZE=%d\r\n" % args.size, b"250 ")
                step(secure, b"RCPT TO:<user@sink.example>\r\n", b"250 ")
                step(secure, b"DATA\r\n", b"354 ")
                for at in range(0, len(text), 1 << 20):
                    secure.sendall(memoryview(text)[at : at + (1 << 20)])
                step(secure, b"", b"250 ")
            answers.put(round(time.monotonic() - begin, 1))
        except (OSError, SystemExit) as error:
            answers.put(str(error) or repr(error))

    threads = [threading.Thread(target=one) for _ in range(args.send)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = [answers.get() for _ in threads]
    problems = [one for one in results if isinstance(one, str)]
    if problems:
        raise SystemExit("; ".join(problems))
    print(json.dumps(sorted(results)))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--size", type=int, default=40_000_000)
    parser.add_argument("--at-once", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--send", type=int, help=argparse.SUPPRESS)
    for name in ("--port", "--user", "--password"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.send:
        send(args)
        return
    if args.quick:
        args.rounds, args.seconds = 1, 3
    show_reference()
    receiver = Receiver()
    rows: dict[int, list[dict]] = {0: [], 1: [], args.at_once: []}
    with tempfile.TemporaryDirectory(prefix="relay-bench-", dir="/tmp") as directory:
        server = relaymta.start(Path(directory) / "relay", receiver.port)
        try:
            submit(server, 500)  # warm up
            receiver.quiet()
            for _ in range(args.rounds):
                for large, seen in rows.items():
                    seen.append(observed(server, receiver, large, args))
                    time.sleep(1)
        finally:
            server.stop()
            receiver.close()
    finish(verdicts(rows), args.json)


def verdicts(rows: dict[int, list[dict]]) -> list[Figure]:
    """Return the figures: the longest round trip of all rounds, since blocking once is blocking."""
    figures = []
    quiet = max(max(row["noop_max"], row["message_max"]) for row in rows[0])
    figures.append(Figure("longest round trip without large messages", "", f"{quiet:.3f} s"))
    for large, seen in rows.items():
        if not large:
            continue
        name = "a 40-MB message" if large == 1 else f"{large} at once"
        figures.append(at_most(f"longest NOOP beside {name}", max(row["noop_max"] for row in seen), 0.5, "s"))
        longest = max(row["message_max"] for row in seen)
        figures.append(at_most(f"longest small message beside {name}", longest, 0.5, "s"))
        figures.append(at_most(f"PSS added by {name}", max(row["pss"] for row in seen), 150, "MB"))
        figures.append(at_most(f"RSS added by {name}", max(row["rss"] for row in seen), 150, "MB"))
    return figures


if __name__ == "__main__":
    main()
