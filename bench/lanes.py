"""Limits of lanes at the receivers: whether one is ever exceeded, and how much of what is permitted is used.

    python -m bench.lanes [--sites 200] [--sources 4] [--workers 3] [--seconds 40]

Permits is a process, each worker is one with a delivery engine of its own, and the receivers are one more. A site is
an address of 127.0.0.0/8, a source another; limits are 2 to 20 connections. Every worker has work for every lane all
the time. The receivers count the open connections of each lane at every arrival and every end.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import time
from collections import Counter

import uvloop

from relay.model.content import Content
from relay.model.lane import Source
from relay.model.message import Delivery, Message
from relay.net.connection import TcpConnector
from relay.pipeline.attempt import OutboundDelivery
from relay.pipeline.attempt_settings import OutboundSettings
from relay.pipeline.departure import PlainShapes
from relay.ports import Job
from relay.runtime.clock import SteadyClock
from relay.runtime.observe.metrics import ProcessMetrics
from relay.runtime.permits.client import PermitsClient
from relay.runtime.permits.gate import LaneGate
from relay.runtime.permits.server import PermitsSettings, listen, serve_permits
from relay.schedule.shaping import Shape

FORK = multiprocessing.get_context("fork")
CONTENT = Content(b"From: a@example.com\r\nSubject: hello\r\n\r\n", b"Hello\r\n" * 20)
QUEUED = 3  # deliveries that wait for each connection a lane may have


def site(number: int) -> str:
    return f"127.1.{number // 200}.{number % 200 + 1}"


def source(number: int) -> str:
    return f"127.2.0.{number + 1}"


def limit(number: int) -> int:
    return 2 + number * 7 % 19


class Receivers:
    """All sites; a connection says which one it was made to."""

    def __init__(self, delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self.open: Counter[tuple[str, str]] = Counter()
        self.most: Counter[tuple[str, str]] = Counter()
        self.messages = 0
        self.connections = 0


class _Receiving(asyncio.Protocol):
    def __init__(self, owner: Receivers) -> None:
        self.owner = owner
        self.data = False
        self.rest = b""
        self.lane = ("", "")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.lane = (transport.get_extra_info("peername")[0], transport.get_extra_info("sockname")[0])
        owner = self.owner
        owner.open[self.lane] += 1
        owner.connections += 1
        owner.most[self.lane] = max(owner.most[self.lane], owner.open[self.lane])
        transport.write(b"220 site ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.owner.open[self.lane] -= 1

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while True:
            line, mark, rest = self.rest.partition(b"\r\n.\r\n" if self.data else b"\r\n")
            if not mark:
                return
            self.rest = rest
            if self.data:
                self.data = False
                delay = self.owner.delay_seconds * random.uniform(0.5, 1.5)
                asyncio.get_running_loop().call_later(delay, self.taken)
            else:
                self.transport.write(self.answer(line[:4].upper()))

    def answer(self, verb: bytes) -> bytes:
        if verb == b"EHLO":
            return b"250-site\r\n250 PIPELINING\r\n"
        if verb == b"DATA":
            self.data = True
            return b"354 go on\r\n"
        if verb == b"QUIT":
            asyncio.get_running_loop().call_soon(self.transport.close)
            return b"221 bye\r\n"
        return b"250 ok\r\n"

    def taken(self) -> None:
        self.owner.messages += 1
        if not self.transport.is_closing():
            self.transport.write(b"250 taken\r\n")


def run_receivers(listeners: list[socket.socket], report: int, sites: int, sources: int, delay: float) -> None:
    """Write a line of figures a second, and the most of each lane at the end (SIGTERM)."""

    async def body() -> None:
        owner, stop, loop = Receivers(delay), asyncio.Event(), asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        servers = [await loop.create_server(lambda: _Receiving(owner), sock=one, backlog=4096) for one in listeners]
        permitted = sources * sum(map(limit, range(sites)))
        samples = []
        while not stop.is_set():
            await asyncio.sleep(0.25)
            samples.append(sum(owner.open.values()) / permitted)
        over = {
            f"{source(s)} {site(n)}": most
            for n in range(sites)
            for s in range(sources)
            if (most := owner.most[source(s), site(n)]) > limit(n)
        }
        full = sum(owner.most[source(s), site(n)] == limit(n) for n in range(sites) for s in range(sources))
        figures = {"samples": samples, "over": over, "full": full, "messages": owner.messages}
        os.write(report, json.dumps({**figures, "connections": owner.connections}).encode() + b"\n")
        for server in servers:
            server.close()

    uvloop.run(body())


class _Quiet:
    def debug(self, event: str, **fields: object) -> None:
        """Nobody reads it."""

    info = warning = error = debug


class _Sources:
    """The source that the delivery names in its index."""

    def choose(self, delivery, site, provider, families, then):
        then(Source(source(delivery.index)))

    def settled(self, delivery, provider, source, outcome):
        """Nothing was taken."""


class _Shapes(PlainShapes):
    def __init__(self, limits: dict[str, int], per_minute: int) -> None:
        super().__init__(Shape())
        self._limits = limits
        self._per_minute = per_minute

    def shape(self, site, hosts, *, domain="", routed=False):
        most = self._limits[hosts[0].host]
        return Shape(
            connections=most,
            connections_start=most,
            messages_per_connection=20,
            messages_per_minute=self._per_minute * most,
        )


class _NoResolver:
    def known_mail_hosts(self, domain):
        return None


def run_worker(number: int, path: str, port: int, args: argparse.Namespace) -> None:
    """Keep deliveries waiting for every lane until SIGTERM."""

    async def body() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        clock = SteadyClock()
        permits = PermitsClient(path, number, lambda _: {}, clock)
        gate = LaneGate(permits, clock)
        outbound = OutboundDelivery(
            settings=OutboundSettings(helo_name="bench.example", port=port, connections_max=100_000),
            resolver=_NoResolver(),
            connector=TcpConnector(),
            judge=lambda _address: "",
            clock=clock,
            log=_Quiet(),
            metrics=ProcessMetrics("bench"),
            sources=_Sources(),
            shapes=_Shapes({site(n): limit(n) for n in range(args.sites)}, args.per_minute),
            gate=gate,
        )
        key = 0

        def send(place: int, origin: int) -> None:
            nonlocal key
            key += 1
            message = Message(key, f"m{key}", "000000000001", "a@example.com", 0, 1 << 50, 500, False, False, b"{}")
            delivery = Delivery(message, origin, f"u@[{site(place)}]")
            outbound.enqueue(Job(delivery, "a@example.com", lambda: CONTENT))

        places = {site(n): n for n in range(args.sites)}

        def again(job, _outcome, release):
            release()
            if not stop.is_set():
                send(places[job.delivery.domain.strip("[]")], job.delivery.index)

        outbound.on_outcome = again
        await permits.start()
        for place in range(args.sites):
            for origin in range(args.sources):
                for _ in range(limit(place) + QUEUED):
                    send(place, origin)
        await stop.wait()
        await permits.close()
        os._exit(0)

    uvloop.run(body())


def run_permits(listener: socket.socket, workers: tuple[int, ...]) -> None:
    async def body() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        settings = PermitsSettings(workers, lambda *_: {})
        await serve_permits(listener, settings, SteadyClock(), stop)

    uvloop.run(body())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(f"permits used {usage.ru_utime + usage.ru_stime:.1f} s of CPU", flush=True)


def receiving(address: str, port: int) -> socket.socket:
    """Return a listening socket of a site: each has its own, so that none overflows."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(4096)
    return listener


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Run everything for a while; return what the receivers saw."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    port = free_port()
    mail = [receiving(site(number), port) for number in range(args.sites)]
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/p.sock"
        leases = listen(path)
        numbers = tuple(range(1, args.workers + 1))
        receivers = FORK.Process(target=run_receivers, args=(mail, writing, args.sites, args.sources, args.delay))
        permits = FORK.Process(target=run_permits, args=(leases, numbers))
        workers = [FORK.Process(target=run_worker, args=(number, path, port, args)) for number in numbers]
        everybody = [receivers, permits, *workers]
        for process in everybody:
            process.start()
        os.close(writing)
        try:
            time.sleep(args.seconds)
            if args.kill:
                workers[0].kill()
                permits_again = FORK.Process(target=run_permits, args=(leases, numbers[1:]))
                permits.kill()
                permits.join()
                workers[0].join()
                everybody.append(permits_again)
                permits_again.start()
                time.sleep(args.seconds)
            receivers.terminate()
            with os.fdopen(reading, "rb") as pipe:
                return json.loads(pipe.readline())
        finally:
            for process in reversed(everybody):
                process.terminate()
            for process in everybody:
                process.join(10)


def arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=200)
    parser.add_argument("--sources", type=int, default=4)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--delay", type=float, default=10.0, help="seconds until a site takes a message")
    parser.add_argument(
        "--per-minute", type=int, default=0, help="messages a minute for each connection, 0: no limit"
    )
    parser.add_argument("--kill", action="store_true", help="kill permits and a worker in the middle")
    return parser.parse_args(given)


def main() -> None:
    args = arguments(sys.argv[1:])
    figures = measure(args)
    samples = figures["samples"]
    settled = sorted(samples[-len(samples) // 4 :])
    lanes = args.sites * args.sources
    print(f"{args.sites} sites x {args.sources} sources, {args.workers} workers:")
    print(f"{len(figures['over'])} limits exceeded, {figures['full']} of {lanes} lanes were full at some time")
    print(f"{100 * sum(settled) / len(settled):.1f} % of what is permitted used in the last quarter of the time")
    print(f"{figures['messages']} messages, {figures['connections']} connections")
    raise SystemExit(bool(figures["over"]))


if __name__ == "__main__":
    main()
