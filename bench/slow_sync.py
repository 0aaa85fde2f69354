"""Group commit: what is left of the rate when every sync takes 5 ms longer, and whether a lone message waits.

    python -m bench.slow_sync [--quick] [--delay-ms 5] [--slices 15] [--seconds 1.5]

The slow disk is a small library, compiled here with gcc and preloaded into the relay, whose fsync and fdatasync sleep
and count. The product knows nothing of it. Length of the sleep and counter are in a shared page, so that one load on
one running relay is measured by turns with and without delay, in slices of time too short for the machine to change.

A lone message: one every 100 ms over one connection. It should be acknowledged after one sync, so that a delay shows
once in its time; half a delay of room is left for a commit of its own settlement that is still running.
"""

import mmap
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import relaymta
from bench.figures import ROOT, Figure, Receiver, arguments, at_least, at_most, finish, show_reference, submit

SETTLE_SECONDS = 0.3  # after a change of the delay

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
static uint64_t *page;  /* [0]: microseconds to sleep, [1]: syncs */
static int (*real_fsync)(int), (*real_fdatasync)(int);
__attribute__((constructor)) static void start(void) {
    const char *path = getenv("SLOW_SYNC_PAGE");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *map = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (map != MAP_FAILED) page = map;
}
static void slow(void) {
    if (!page) return;
    __atomic_add_fetch(&page[1], 1, __ATOMIC_RELAXED);
    uint64_t delay = __atomic_load_n(&page[0], __ATOMIC_RELAXED);
    if (delay) usleep(delay);
}
int fsync(int file) { slow(); return real_fsync(file); }
int fdatasync(int file) { slow(); return real_fdatasync(file); }
"""


class SlowDisk:
    """The preloaded library and its page."""

    def __init__(self, directory: Path) -> None:
        source, self.library, self.page = directory / "slow.c", directory / "slow.so", directory / "slow.page"
        source.write_text(SHIM, encoding="ascii")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", self.library, source, "-ldl"], check=True)
        self.page.write_bytes(bytes(4096))
        with self.page.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), 4096)
        self.environment = {"LD_PRELOAD": str(self.library), "SLOW_SYNC_PAGE": str(self.page)}

    def delay(self, milliseconds: float) -> None:
        self.map[:8] = struct.pack("=Q", int(milliseconds * 1000))

    def syncs(self) -> int:
        return struct.unpack("=Q", self.map[8:16])[0]


def share(server, receiver: Receiver, disk: SlowDisk, args, connections: int) -> float:
    """Return the rate with slow syncs as a share of that without: one load, slices of time by turns."""
    taken: dict[float, list[float]] = {0.0: [], args.delay_ms: []}
    syncs: dict[float, list[float]] = {0.0: [], args.delay_ms: []}
    generator = endless(server, connections)
    try:
        time.sleep(2)
        for _ in range(args.slices):
            for delay_ms, rates in taken.items():
                disk.delay(delay_ms)
                time.sleep(SETTLE_SECONDS)
                begin, messages, count = time.monotonic(), receiver.ask()["messages"], disk.syncs()
                time.sleep(args.seconds)
                messages, seconds = receiver.ask()["messages"] - messages, time.monotonic() - begin
                rates.append(messages / seconds)
                syncs[delay_ms].append(messages / max(1, disk.syncs() - count))
        if generator.poll() is not None:
            raise SystemExit("the generator ended early")
    finally:
        disk.delay(0)
        generator.terminate()
        generator.wait(10)
    for delay_ms, rates in taken.items():
        print(
            f"  {connections:3} connections, sync +{delay_ms:g} ms: {statistics.median(rates):5.0f}/s "
            f"({min(rates):.0f} to {max(rates):.0f}), {statistics.median(syncs[delay_ms]):.1f} messages a sync",
            flush=True,
        )
    # Neighbours in time are compared with each other: what else the machine does changes slowly beside a slice.
    return statistics.median(slow / normal for normal, slow in zip(*taken.values(), strict=True))


def endless(server, connections: int) -> subprocess.Popen:
    """Start a load that lasts until it is terminated."""
    command = [sys.executable, "-m", "bench.load", "--messages", "10000000", "--connections", str(connections)]
    command += ["--port", str(server.port), "--user", server.user, "--password", server.password]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def lone(server, disk: SlowDisk, args) -> tuple[float, float]:
    """Return how much later a lone message is acknowledged with slow syncs: median and 99th percentile, in ms."""
    p50: dict[float, list[float]] = {0.0: [], args.delay_ms: []}
    p99: dict[float, list[float]] = {0.0: [], args.delay_ms: []}
    for _ in range(args.rounds):
        for delay_ms in (0.0, args.delay_ms):
            disk.delay(delay_ms)
            figures = submit(server, args.lone, connections=1, rate=10)
            p50[delay_ms].append(figures["ack_p50_ms"])
            p99[delay_ms].append(figures["ack_p99_ms"])
            print(
                f"  lone message, sync +{delay_ms:g} ms: ack p50 {figures['ack_p50_ms']:6.2f} "
                f"p99 {figures['ack_p99_ms']:6.2f} ms",
                flush=True,
            )
    later = [statistics.median(times[args.delay_ms]) - statistics.median(times[0.0]) for times in (p50, p99)]
    return later[0], later[1]


def works(disk: SlowDisk) -> bool:
    """Say whether a sync of a preloaded process sleeps."""
    script = (
        "import os, sys, time; f = os.open(sys.argv[1], os.O_RDWR); t = time.monotonic(); os.fsync(f); "
        "os.fdatasync(f); print(time.monotonic() - t)"
    )
    disk.delay(100)
    done = subprocess.run(
        [sys.executable, "-c", script, str(disk.page)],
        env=disk.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    disk.delay(0)
    return float(done.stdout) > 0.2


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--delay-ms", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a slice")
    parser.add_argument("--lone", type=int, default=50)
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.slices, args.lone = 1, 5, 20
    show_reference()
    if shutil.which("gcc") is None:
        finish([Figure("rate with slow syncs", ">= 0.7", "not measured: gcc is missing")], args.json)
        return
    receiver = Receiver()
    with tempfile.TemporaryDirectory(prefix="relay-bench-", dir="/tmp") as name:
        directory = Path(name)
        disk = SlowDisk(directory)
        if not works(disk):
            raise SystemExit("the preloaded library does not slow a sync down")
        server = relaymta.start(directory / "relay", receiver.port, disk.environment)
        try:
            submit(server, 500)  # warm up
            few = share(server, receiver, disk, args, 20)
            many = share(server, receiver, disk, args, 100)
            receiver.quiet()
            time.sleep(1)
            p50, p99 = lone(server, disk, args)
        finally:
            server.stop()
            receiver.close()
    finish(
        [
            at_least(f"rate with syncs +{args.delay_ms:g} ms, 20 connections", few, 0.7, "of the normal rate"),
            at_least(f"rate with syncs +{args.delay_ms:g} ms, 100 connections", many, 0.7, "of the normal rate"),
            at_most("a lone message is acknowledged later by (p50)", p50, 1.5 * args.delay_ms, "ms"),
            Figure("a lone message is acknowledged later by (p99)", "", f"{p99:.1f} ms"),
        ],
        args.json,
    )


if __name__ == "__main__":
    main()
