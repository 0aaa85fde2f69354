"""Memory and a deep queue: 100 connections, 1,000,000 queued deliveries, 50,000 that are being retried.

    python -m bench.memory [--quick] [--only connections|backlog|retrying] [--queued 1000000] [--spread 50000]
                           [--due] [--retrying 50000] [--wait 300]

Memory is PSS, the share of each page that a process accounts for, summed over all processes of the relay, so that
what they share counts once. The queue is written straight into the shard files, with the relay's own rows, before
the start; its files are pushed out of the page cache as far as the system allows.

Retrying: the same load runs against a relay with an empty queue and one whose queue holds deliveries to a destination
that answers 451 to every recipient. `--wait` is the time between two attempts of one delivery: 5 minutes is the
second step of the default schedule, in which 50,000 deliveries are attempted 167 times a second without an end.
"""

import argparse
import base64
import contextlib
import os
import socket
import sqlite3
import ssl
import statistics
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from bench import relaymta
from bench.figures import Figure, Receiver, arguments, at_most, end_to_end, finish, show_reference, submit
from bench.proc import cpu_seconds, pss_mb, tree
from relay.model.ids import new_message_id
from relay.model.message import RECIPIENT_INDEX_BITS, Delivery, Message, SendOptions
from relay.runtime.clock import SteadyClock
from relay.store.adoption import adopt
from relay.store.database import open_writer
from relay.store.records import delivery_row, message_row
from relay.store.sql import queries
from relay.testing.log import MemoryLog

SHARDS = (1, 2)
GROUP = 20_000
HOUR_MS = 3_600_000
MAIL = b'{"messageId":"x","destination":["rcpt@example.org"]}' + b" " * 600
HEAD = b"Received: by relay.example\r\nFrom: <bench@example.com>\r\nSubject: queued\r\n\r\n"
BODY = b"The quick brown fox jumps over the lazy dog.\r\n" * 8
INSERTS = queries("write.sql")


def fill(
    data_dir: Path,
    shard: int,
    count: int,
    *,
    account: str,
    domains: int,
    due_ms: range,
    accounts: int = 1,
    attempts=2,
) -> None:
    """Put `count` deliveries of one recipient each into a shard; their next attempts are spread over `due_ms`.

    With several `accounts` they are of made-up ones, by turns, and every second one is bulk.
    """
    adopted = adopt(data_dir, shard, SteadyClock(), MemoryLog())
    first = adopted.next_key
    adopted.in_flight.close()
    os.close(adopted.lock)
    now_ms = int(time.time() * 1000)
    checksum = zlib.crc32(BODY, zlib.crc32(HEAD))
    with contextlib.closing(open_writer(adopted.paths.database, "spool")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for start in range(0, count, GROUP):
            messages, contents, deliveries = [], [], []
            for number in range(start, min(start + GROUP, count)):
                key = first + number
                of_many = {"account": f"{number % accounts:012d}", "options": SendOptions(bulk=number % 2 == 1)}
                sender = {"account": account} if accounts == 1 else of_many
                message = Message(
                    key=key, message_id=new_message_id(shard, now_ms), **sender, sender="bench@example.com",
                    accepted_ms=now_ms, expires_ms=now_ms + 14 * HOUR_MS, size_bytes=len(HEAD) + len(BODY),
                    smtputf8=False, eight_bit=False, mail_json=MAIL,
                )  # fmt: skip
                recipient = f"user{number}@d{number % domains}.retry.example"
                next_ms = due_ms[number * len(due_ms) // count]
                delivery = Delivery(
                    message, 0, recipient, attempts=attempts, next_ms=next_ms, last_reply="451 not now"
                )
                messages.append(message_row(message))
                contents.append((key, checksum, len(BODY), None, HEAD, BODY))
                deliveries.append(delivery_row(delivery))
            write(connection, messages, contents, deliveries)
        last = (first + count) << RECIPIENT_INDEX_BITS
        connection.execute(INSERTS["set_meta"], ("key_ceiling", (last >> RECIPIENT_INDEX_BITS) + 1))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    forget_pages(adopted.paths.database)


def write(connection: sqlite3.Connection, messages: list, contents: list, deliveries: list) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for name, rows in (("insert_message", messages), ("insert_content", contents), ("insert_delivery", deliveries)):
        connection.executemany(INSERTS[name], rows)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def forget_pages(path: Path) -> None:
    """Push a file out of the page cache, as after a boot."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def data_dir(directory: Path, values: dict) -> Path:
    return (directory / values.get("data_dir", "data")).resolve()


@contextlib.contextmanager
def sessions(server, count: int) -> Iterator[list[ssl.SSLSocket]]:
    """Hold open authenticated TLS sessions, each of which has sent one message."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    token = relay_token(server)
    opened: list[ssl.SSLSocket] = []
    try:
        for number in range(count):
            plain = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            step(plain, b"", b"220 ")
            step(plain, b"EHLO memory.example\r\n", b"250 ")
            step(plain, b"STARTTLS\r\n", b"220 ")
            secure = context.wrap_socket(plain)
            opened.append(secure)
            step(secure, b"EHLO memory.example\r\n", b"250 ")
            step(secure, b"AUTH PLAIN " + token + b"\r\n", b"235 ")
            step(secure, b"MAIL FROM:<bench@example.com>\r\n", b"250 ")
            step(secure, b"RCPT TO:<user@sink.example>\r\n", b"250 ")
            step(secure, b"DATA\r\n", b"354 ")
            text = b"From: <bench@example.com>\r\nSubject: %d\r\n\r\n" % number
            step(secure, text + BODY * 28 + b".\r\n", b"250 ")
        yield opened
    finally:
        for secure in opened:
            secure.close()


def relay_token(server) -> bytes:
    """Return what AUTH PLAIN carries."""
    return base64.b64encode(f"\0{server.user}\0{server.password}".encode())


def step(connection: socket.socket, command: bytes, wanted: bytes) -> None:
    """Send a command and read its whole reply."""
    if command:
        connection.sendall(command)
    reply = b""
    while not (reply.endswith(b"\r\n") and reply.splitlines()[-1][3:4] == b" "):
        data = connection.recv(65536)
        if not data:
            raise SystemExit(f"the connection ended after {reply!r}")
        reply += data
    if not reply.splitlines()[-1].startswith(wanted):
        raise SystemExit(f"{command[:40]!r} got {reply!r}")


def show_memory(server, label: str) -> float:
    total = pss_mb(server.process.pid)
    each = " ".join(f"{own_pss_mb(pid):.0f}" for pid in tree(server.process.pid))
    print(f"  {label}: {total:.0f} MB PSS in all (each process: {each})", flush=True)
    return total


def own_pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def connections(directory: Path, receiver: Receiver, args: argparse.Namespace) -> list[Figure]:
    """Measure memory with open connections, idle at first, then after a load."""
    server = relaymta.start(directory / "connections", receiver.port)
    try:
        show_memory(server, "started")
        with sessions(server, args.connections):
            time.sleep(1)
            idle = show_memory(server, f"{args.connections} TLS sessions open")
            submit(server, args.messages)
            receiver.quiet()
            loaded = show_memory(server, f"and {args.messages} messages later")
    finally:
        server.stop()
    name = f"PSS with {args.connections} TLS connections"
    return [at_most(name, idle, 200, "MB"), at_most(f"{name}, after {args.messages} messages", loaded, 200, "MB")]


def backlog(directory: Path, receiver: Receiver, args: argparse.Namespace) -> list[Figure]:
    """Measure start, memory and new mail with a queue of deliveries that wait for a later attempt."""
    place = directory / "backlog"
    made, values = relaymta.prepare(place, receiver.port)
    begin = time.monotonic()
    now_ms = int(time.time() * 1000)
    for shard in SHARDS:
        later = range(now_ms - HOUR_MS, now_ms) if args.due else range(now_ms + HOUR_MS, now_ms + 2 * HOUR_MS)
        fill(
            data_dir(place, values),
            shard,
            args.queued // 2,
            account=made["account"],
            domains=args.spread,
            due_ms=later,
        )
    size = sum(file.stat().st_size for file in place.rglob("spool.db")) / 1e9
    print(f"  {args.queued} deliveries written in {time.monotonic() - begin:.0f} s, {size:.1f} GB", flush=True)
    begin = time.monotonic()
    server = relaymta.RelayMta(place, made, values)
    try:
        seconds = time.monotonic() - begin
        print(f"  ready after {seconds:.1f} s", flush=True)
        show_memory(server, "started")
        rate, _ = end_to_end(server, receiver, args.messages)
        print(f"  new mail: {rate:.0f}/s", flush=True)
        with sessions(server, args.connections):
            time.sleep(12)  # the queue was counted at least once
            memory = show_memory(server, f"{args.connections} TLS sessions, {args.messages} messages later")
    finally:
        server.stop()
    return [
        at_most(f"start with {args.queued} queued deliveries", seconds, 30, "s"),
        at_most(f"PSS with {args.queued} queued deliveries and {args.connections} connections", memory, 400, "MB"),
    ]


def retrying(directory: Path, receiver: Receiver, args: argparse.Namespace) -> list[Figure]:
    """Measure what deliveries that are refused again and again cost new mail."""
    settings = {"delivery": {"retry": [f"{args.wait}s"], "lifetime": "14h"}}
    free = relaymta.prepare(directory / "free", receiver.port, **settings)
    busy = relaymta.prepare(directory / "busy", receiver.port, **settings)
    now_ms = int(time.time() * 1000)
    for shard in SHARDS:
        due = range(now_ms + 5000, now_ms + 5000 + args.wait * 1000)
        place = data_dir(directory / "busy", busy[1])
        fill(place, shard, args.retrying // 2, account=busy[0]["account"], domains=args.domains, due_ms=due)
    rates: dict[str, list[float]] = {"free": [], "busy": []}
    memory = []
    for _ in range(args.rounds):
        for name, (made, values) in (("free", free), ("busy", busy)):
            server = relaymta.RelayMta(directory / name, made, values)
            try:
                submit(server, 300)
                time.sleep(8)  # past the first due deliveries
                refused, begin = receiver.ask()["refused"], time.monotonic()
                rate, figures = new_mail(server, receiver, args.messages)
                refused = (receiver.ask()["refused"] - refused) / (time.monotonic() - begin)
                rates[name].append(rate)
                print(
                    f"  {name}: new mail {rate:6.0f}/s, ack p50 {figures['ack_p50_ms']:6.1f} ms; "
                    f"retries {refused:6.0f}/s",
                    flush=True,
                )
                if name == "busy":
                    show_attempts(server, receiver)
                    memory.append(show_memory(server, "busy"))
            finally:
                server.stop()
    cost = 1 - statistics.median(rates["busy"]) / statistics.median(rates["free"])
    return [
        at_most(
            f"rate that new mail loses to {args.retrying} retrying, every {args.wait} s", 100 * cost, 20, "%",
        ),
        at_most(f"PSS with {args.retrying} retrying", max(memory), 400, "MB"),
    ]  # fmt: skip


def show_attempts(server, receiver: Receiver, seconds: float = 4) -> None:
    """Print what an attempt that is refused costs while there is nothing else to do."""
    receiver.quiet()
    cpu, refused = cpu_seconds(server.process.pid), receiver.ask()["refused"]
    time.sleep(seconds)
    cpu, refused = cpu_seconds(server.process.pid) - cpu, receiver.ask()["refused"] - refused
    share = f"{100 * cpu / seconds:.0f} % of a core for {refused / seconds:.0f} retries a second"
    print(f"  retries alone: {share}, {1000 * cpu / max(1, refused):.2f} ms of CPU each", flush=True)


def new_mail(server, receiver: Receiver, messages: int) -> tuple[float, dict]:
    before = receiver.ask()["messages"]
    begin = time.monotonic()
    figures = submit(server, messages)
    seen = receiver.wait(before + messages)
    return messages / (seen["last"] - begin), figures


PARTS = {"connections": connections, "backlog": backlog, "retrying": retrying}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--queued", type=int, default=1_000_000)
    parser.add_argument("--due", action="store_true", help="the million is due at the start, as after an outage")
    parser.add_argument("--spread", type=int, default=50_000, help="domains of the million")
    parser.add_argument("--retrying", type=int, default=50_000)
    parser.add_argument("--domains", type=int, default=500, help="domains of the retrying deliveries, each shard")
    parser.add_argument("--wait", type=int, default=300, help="seconds between two attempts")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.quick:
        args.messages, args.queued, args.rounds = 1500, min(args.queued, 200_000), 1
    show_reference()
    figures: list[Figure] = []
    receiver = Receiver()
    try:
        for name, part in PARTS.items():
            if args.only not in (None, name):
                continue
            print(name, flush=True)
            with tempfile.TemporaryDirectory(prefix="relay-bench-", dir="/tmp") as directory:
                figures += part(Path(directory), receiver, args)
    finally:
        receiver.close()
    finish(figures, args.json)


if __name__ == "__main__":
    main()
