"""Our SMTP engines beside aiosmtpd and aiosmtplib: CPU a 10-KB message, under the same conditions.

    python -m bench.engines [--quick] [--rounds 5] [--messages 4000] [--size 10240]

Server: both listen on loopback in a process of their own, in clear, on uvloop, with nothing behind them; the same ten
clients keep their sessions. Each command waits for its reply ("step by step"), because aiosmtpd does not offer
PIPELINING; ours is also measured with pipelined envelopes, which is what clients do with it.
Client: both send the same message again and again over one reused connection on uvloop to the same receiver, in
clear; the receiver offers PIPELINING, which ours uses.
Only the process of the engine counts. Rounds alternate, the median counts; the ratio is of one run.
"""

import argparse
import asyncio
import multiprocessing
import resource
import socket
import statistics
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import aiosmtplib
import uvloop
from aiosmtpd.smtp import SMTP

from bench import smtp_client
from bench.figures import Figure, Receiver, arguments, at_most, finish, show_reference
from bench.smtp_server import ENVELOPE, POLICY, Nothing, message
from relay.smtpd.door import SmtpDoor
from relay.smtpd.gate import LocalGate
from relay.smtpd.services import Services
from relay.smtpd.tls import ContextHolder

CLIENTS = 10
SIZE_MAX = 41_943_040
Serve = Callable[[socket.socket], object]


class Discard:
    """A handler of aiosmtpd that takes every message and keeps none."""

    async def handle_DATA(self, _server: object, _session: object, _envelope: object) -> str:  # noqa: N802
        return "250 Ok"


async def serve_ours(sock: socket.socket) -> object:
    nothing = Nothing()
    services = Services(
        nothing, nothing, nothing, nothing, nothing, nothing, LocalGate(5000), ContextHolder(), Path("/tmp")
    )
    door = SmtpDoor(services, asyncio.get_running_loop())
    await door.serve(sock, POLICY)
    return door


async def serve_aiosmtpd(sock: socket.socket) -> object:
    def connection() -> SMTP:
        return SMTP(Discard(), hostname="relay.example", enable_SMTPUTF8=True, data_size_limit=SIZE_MAX)

    return await asyncio.get_running_loop().create_server(connection, sock=sock)


def in_process(sock: socket.socket, pipe: Connection, serve: Serve) -> None:
    """Serve until told to stop; send the CPU time spent before and after."""

    async def main() -> None:
        kept = await serve(sock)
        pipe.send(cpu())
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        pipe.send(cpu())
        del kept

    uvloop.run(main())


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def read_reply(client: socket.socket, count: int = 1) -> bytes:
    """Read whole replies; each ends with the line that has a blank after its code."""
    data = b""
    while sum(line[3:4] == b" " for line in data.split(b"\r\n")[:-1]) < count:
        chunk = client.recv(65536)
        if not chunk:
            raise SystemExit(f"the server closed after {data!r}")
        data += chunk
    return data


def client(port: int, text: bytes, count: int, *, pipelined: bool) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_reply(connection)
        connection.sendall(b"EHLO x\r\n")
        read_reply(connection)
        for _ in range(count):
            if pipelined:
                connection.sendall(ENVELOPE)
                read_reply(connection, 3)
            else:
                for command in ENVELOPE.splitlines(keepends=True):
                    connection.sendall(command)
                    read_reply(connection)
            connection.sendall(text)
            reply = read_reply(connection)
            if not reply.startswith(b"250"):
                raise SystemExit(f"the message was refused: {reply!r}")


def server_microseconds(serve: Serve, text: bytes, messages: int, *, pipelined: bool) -> float:
    """Return the CPU of a serving process a message, in microseconds."""
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=in_process, args=(sock, theirs, serve), daemon=True)
    process.start()
    sock.close()
    try:
        before = ours.recv()
        each = messages // CLIENTS
        threads = [
            threading.Thread(target=client, args=(port, text, each), kwargs={"pipelined": pipelined})
            for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ours.send("stop")
        spent = ours.recv() - before
    finally:
        process.join(10)
    return spent / (each * CLIENTS) * 1e6


def ours_client(port: int, messages: int) -> float:
    seconds, _ = uvloop.run(smtp_client.measure(port, messages))
    return seconds / messages * 1e6


def aiosmtplib_client(port: int, messages: int) -> float:
    content = smtp_client.CONTENT.head + smtp_client.CONTENT.body

    async def run() -> float:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, use_tls=False) as connection:
            await connection.ehlo()
            begin = cpu()
            for _ in range(messages):
                await connection.sendmail("bounce-token@bounce.relay.example", ["b@example.net"], content)
            return cpu() - begin

    return uvloop.run(run()) / messages * 1e6


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--size", type=int, default=10_240)
    args: argparse.Namespace = parser.parse_args()
    if args.quick:
        args.rounds, args.messages = 3, 1000
    show_reference()
    text = message(args.size)
    receiver = Receiver()
    runs: dict[str, Callable[[], float]] = {
        "server, aiosmtpd, step by step": lambda: server_microseconds(
            serve_aiosmtpd, text, args.messages, pipelined=False
        ),
        "server, ours, step by step": lambda: server_microseconds(serve_ours, text, args.messages, pipelined=False),
        "server, ours, pipelined": lambda: server_microseconds(serve_ours, text, args.messages, pipelined=True),
        "client, aiosmtplib": lambda: aiosmtplib_client(receiver.port, args.messages),
        "client, ours": lambda: ours_client(receiver.port, args.messages),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    try:
        for _ in range(args.rounds):
            for name, run in runs.items():
                times[name].append(run())
    finally:
        receiver.close()
    for name, values in times.items():
        print(f"  {name:32} {statistics.median(values):7.0f} us CPU a message  ({spread(values)})", flush=True)
    finish(verdicts({name: statistics.median(values) for name, values in times.items()}), args.json)


def spread(values: list[float]) -> str:
    return " ".join(f"{value:.0f}" for value in values)


def verdicts(times: dict[str, float]) -> list[Figure]:
    """Return the figures; ours is kept only while it costs at most half."""
    theirs = times["server, aiosmtpd, step by step"]
    steps, pipelined = times["server, ours, step by step"], times["server, ours, pipelined"]
    sending, reference = times["client, ours"], times["client, aiosmtplib"]
    return [
        at_most("our server beside aiosmtpd, step by step", steps / theirs, 0.5, "of its CPU"),
        Figure("our server beside aiosmtpd, pipelined", "", f"{pipelined / theirs:.3g} of its CPU"),
        at_most("our client beside aiosmtplib", sending / reference, 0.5, "of its CPU"),
    ]


if __name__ == "__main__":
    main()
