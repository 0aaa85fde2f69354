"""All benchmarks in order, one table at the end: `python -m bench [--quick] [--only NAME ...] [--json FILE]`.

Each runs as a process of its own, with a time limit; when it fails the others still run. Exit code: 1 when a target
was missed or a benchmark failed, 0 otherwise, 143 after TERM. bench/README.md tells what each prints.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.figures import ROOT, Figure, at_least, at_most, show, show_reference

SUBMISSION, SESSION, PLAIN, LOW = "submission", "session", "plain", "low"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A module to run, its arguments, those that make it quick, its time limit, and how to read its JSON."""

    module: str
    arguments: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    seconds: int = 900
    read: Callable[[object], list[Figure]] | None = None


def own_figures(values: list[dict]) -> list[Figure]:
    """Read what bench.figures wrote."""
    return [Figure(**value) for value in values]


def compared(values: dict[str, dict]) -> list[Figure]:
    """Read the medians of bench.compare beside the targets."""
    figures = []
    for name, rate_min, cpu_max in ((SUBMISSION, 3.0, 1 / 3), (SESSION, 2.0, None), (PLAIN, 2.5, None)):
        row = values.get(name, {})
        if "relay" not in row:
            continue
        ours, theirs = row["relay"], row.get("postfix")
        figures.append(Figure(f"{name}: rate and CPU", "", f"{ours['rate']:.0f}/s, {ours['cpu_ms']:.2f} ms"))
        if theirs is None:
            figures.append(Figure(f"{name}: beside Postfix", f">= {rate_min:g} times its rate", "not measured"))
            continue
        figures.append(at_least(f"{name}: rate", ours["rate"] / theirs["rate"], rate_min, "times Postfix"))
        if cpu_max:
            figures.append(
                at_most(f"{name}: CPU a message", ours["cpu_ms"] / theirs["cpu_ms"], cpu_max, "of Postfix")
            )
    row = values.get(LOW, {})
    if "postfix" in row:
        for key in ("ack_p50_ms", "ack_p99_ms", "sink_p50_ms", "sink_p99_ms"):
            where, quantile, _ = key.split("_")
            limit = row["postfix"][key]
            figures.append(
                at_most(f"low load: time to {where}, {quantile}", row["relay"][key], limit, "ms (Postfix)")
            )
    return figures


BENCHMARKS = {
    "compare": Benchmark("compare", quick=("--pairs", "1", "--messages", "1500"), seconds=2400, read=compared),
    "slow_sync": Benchmark("slow_sync", quick=("--quick",), read=own_figures),
    "memory": Benchmark("memory", quick=("--quick",), seconds=1800, read=own_figures),
    "queue": Benchmark("queue", quick=("--quick",), read=own_figures),
    "history": Benchmark("history", quick=("--quick",), read=own_figures),
    "large": Benchmark("large", quick=("--quick",), read=own_figures),
    "engines": Benchmark("engines", quick=("--quick",), read=own_figures),
    "content": Benchmark("content", quick=("--quick",), read=own_figures),
    "compose": Benchmark("compose", ("2000",), ("300",)),
    "senders": Benchmark("senders", quick=("--quick",), read=own_figures),
    "suppression": Benchmark("suppression", quick=("--quick",), read=own_figures),
    "events": Benchmark("events", quick=("--quick",), read=own_figures),
    "permits": Benchmark("permits"),
    "policy": Benchmark("policy", quick=("--quick",), read=own_figures),
    "classify": Benchmark("classify", quick=("--quick",), read=own_figures),
    "pools": Benchmark("pools", quick=("--quick",), read=own_figures),
    "topics": Benchmark("topics", quick=("--quick",), read=own_figures),
    "smtp_server": Benchmark("smtp_server", quick=("--messages", "1000")),
    "smtp_client": Benchmark("smtp_client", ("20000",), ("3000",)),
    "spool": Benchmark("spool", quick=("--messages", "2000")),
}


def run(name: str, quick: bool, directory: Path) -> list[Figure]:  # noqa: FBT001
    """Run one benchmark, let it print, return its figures."""
    one = BENCHMARKS[name]
    result = directory / f"{name}.json"
    command = [sys.executable, "-m", f"bench.{one.module}", *one.arguments[: 0 if quick and one.quick else None]]
    command += one.quick if quick else ()
    command += ("--json", str(result)) if one.read else ()
    print(f"\n== {name}: {' '.join(command[1:])}", flush=True)
    begin = time.monotonic()
    code = bounded(command, one.seconds)
    print(f"   ({time.monotonic() - begin:.0f} s)", flush=True)
    if code:
        return [Figure(name, "runs to its end", f"exit code {code}", passed=False)]
    return one.read(json.loads(result.read_text(encoding="utf-8"))) if one.read else []


def bounded(command: list[str], seconds: int) -> int:
    """Run a command in a process group of its own; end the group when it takes too long or we are ended."""
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        print(f"   ended after {seconds} s", flush=True)
        return 124
    finally:
        if process.poll() is None:
            process.terminate()  # it stops what it started
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(90)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller counts and one round: a look in some minutes")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, help="only these")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures: list[Figure] = []
    factor = show_reference()
    with tempfile.TemporaryDirectory(prefix="relay-bench-", dir="/tmp") as directory:
        for name in args.only or BENCHMARKS:
            figures += run(name, args.quick, Path(directory))
    print(f"\nAll figures; the machine was x {factor:.2f} of the reference at the start:")
    show(figures)
    if args.json:
        args.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2), encoding="utf-8")
    return int(any(figure.passed is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
