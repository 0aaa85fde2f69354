"""Relay beside Debian's Postfix and OpenDKIM: the same messages, the same sink, alternating runs, medians.

    python -m bench.compare [--pairs 5] [--messages 4000] [--only submission|session|plain]

10-KB messages, one recipient, durable queues, loopback, generator and sink on the same cores. Postfix needs root and
the packages postfix, opendkim, sasl2-bin and libsasl2-modules; without them Relay is measured alone.
The CPU ratio decides, because rates on shared machines swing by half.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import postfix, relaymta
from bench.proc import cpu_seconds, pss_mb

ROOT = Path(__file__).resolve().parent.parent
SCENARIOS = {
    "submission": {"title": "STARTTLS + AUTH + DKIM, sessions reused", "plain": False, "per_session": 0},
    "session": {"title": "STARTTLS + AUTH + DKIM, one message a session", "plain": False, "per_session": 1},
    "plain": {"title": "trusted loopback listener, unsigned, sessions reused", "plain": True, "per_session": 0},
}


class SinkProcess:
    """The receiving end, asked over its standard input."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "bench.sink"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.port = json.loads(self.process.stdout.readline())["port"]

    def ask(self) -> dict:
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)


def load(server, messages: int, scenario: dict, rate: float = 0, connections: int = 20) -> dict:
    """Submit messages to a server and return the generator's figures."""
    port = server.plain_port if scenario["plain"] else server.port
    command = [sys.executable, "-m", "bench.load", "--port", str(port), "--messages", str(messages)]
    command += ["--connections", str(connections), "--per-session", str(scenario["per_session"]), "--rate", str(rate)]
    if scenario["plain"]:
        command += ["--no-tls", "--sender", relaymta.PLAIN_SENDER]
    else:
        command += ["--user", server.user, "--password", server.password]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=600)
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"the generator failed: {done.stdout}{done.stderr}")
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    if figures["failed"]:
        print(done.stdout, file=sys.stderr)
    return figures


def measure(server, sink: SinkProcess, messages: int, scenario: dict, rate: float = 0, connections: int = 20) -> dict:
    """Run one load to its end at the sink; CPU is counted until the server is idle again."""
    load(server, 200, scenario, connections=connections)  # warm up
    settle(sink, None)
    before = sink.ask()["messages"]
    cpu = cpu_seconds(*server.pids())
    begin = time.monotonic()
    figures = load(server, messages, scenario, rate, connections)
    seen = settle(sink, before + messages)
    seconds = seen["last"] - begin
    time.sleep(0.5)
    cpu = cpu_seconds(*server.pids()) - cpu
    return {
        "rate": messages / seconds,
        "cpu_ms": 1000 * cpu / messages,
        "ack_p50_ms": figures["ack_p50_ms"],
        "ack_p99_ms": figures["ack_p99_ms"],
        "sink_p50_ms": seen.get("p50_ms"),
        "sink_p99_ms": seen.get("p99_ms"),
        "pss_mb": pss_mb(*server.pids()),
    }


def settle(sink: SinkProcess, target: int | None, timeout_seconds: float = 300) -> dict:
    """Wait until the sink has `target` messages (None: until it is quiet)."""
    deadline = time.monotonic() + timeout_seconds
    latencies = {}
    last = -1
    while time.monotonic() < deadline:
        seen = sink.ask()
        latencies |= {key: seen[key] for key in ("p50_ms", "p99_ms") if key in seen}
        if (target is None and seen["messages"] == last) or (target is not None and seen["messages"] >= target):
            return seen | latencies
        last = seen["messages"]
        time.sleep(0.3)
    raise SystemExit(f"the sink has {last} messages, {target} were sent")


def medians(rows: list[dict]) -> dict:
    return {key: statistics.median(row[key] for row in rows if row[key] is not None) for key in rows[0]}


def show(name: str, row: dict) -> None:
    print(
        f"  {name:10} {row['rate']:8.0f}/s  {row['cpu_ms']:6.2f} ms CPU  ack p50 {row['ack_p50_ms']:6.1f} "
        f"p99 {row['ack_p99_ms']:6.1f} ms  sink p50 {row['sink_p50_ms'] or 0:7.1f} "
        f"p99 {row['sink_p99_ms'] or 0:7.1f} ms  {row['pss_mb']:5.0f} MB",
        flush=True,
    )


def compare(title: str, servers: list, run, pairs: int) -> dict[str, dict]:
    """Alternate the servers, print each run, return the medians by name."""
    print(title, flush=True)
    rows: dict[str, list[dict]] = {server.name: [] for server in servers}
    for _ in range(pairs):
        for server in servers:
            row = run(server)
            rows[server.name].append(row)
            show(server.name, row)
    result = {name: medians(values) for name, values in rows.items()}
    print("  medians")
    for name, row in result.items():
        show(name, row)
    if "relay" in result and "postfix" in result:
        ours, theirs = result["relay"], result["postfix"]
        print(
            f"  rate x {ours['rate'] / theirs['rate']:.2f}, CPU x {ours['cpu_ms'] / theirs['cpu_ms']:.2f}", flush=True
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--only", choices=[*SCENARIOS, "low"])
    parser.add_argument("--without-postfix", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sink = SinkProcess()
    results = {}
    with tempfile.TemporaryDirectory(prefix="relay-bench-", dir="/tmp") as directory:
        servers = [relaymta.start(Path(directory) / "relay", sink.port)]
        if not args.without_postfix and (reason := postfix.missing()) is None:
            servers.append(postfix.start(Path(directory) / "postfix", sink.port))
        elif not args.without_postfix:
            print(f"Postfix is not measured: {reason}")
        try:
            for name, scenario in SCENARIOS.items():
                if args.only in (None, name):
                    messages = args.messages // 2 if scenario["per_session"] else args.messages
                    results[name] = compare(
                        scenario["title"],
                        servers,
                        lambda s, m=messages, c=scenario: measure(s, sink, m, c),
                        args.pairs,
                    )
            if args.only in (None, "low"):
                results["low"] = compare(
                    "low load: 50 messages a second over 5 connections",
                    servers,
                    lambda s: measure(s, sink, 500, SCENARIOS["submission"], 50, 5),
                    min(args.pairs, 3),
                )
        finally:
            for server in servers:
                server.stop()
            sink.close()
    if args.json:
        args.json.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
