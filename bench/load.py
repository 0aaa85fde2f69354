"""Load generator: submits messages over SMTP and prints one JSON line of figures.

    python -m bench.load --port 2587 --messages 5000 --connections 20 [--user U --password P] [--no-tls]
                         [--per-session N] [--rate PER_SECOND] [--size 10240]

One Protocol object a connection, the dialogue pipelined as far as RFC 2920 allows, so that the generator itself
costs little beside what it measures. Each message carries `X-Bench: <number> <time.monotonic_ns>`.
"""

import argparse
import asyncio
import base64
import json
import ssl
import statistics
import time

import uvloop

LINE = b"The quick brown fox jumps over the lazy dog, and the relay carries the news of it.\r\n"


def make_message(size: int, sender: str, recipient: str, number: int) -> bytes:
    head = (
        f"From: Bench <{sender}>\r\nTo: <{recipient}>\r\nSubject: Benchmark message {number}\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Message-ID: <{number}.{time.monotonic_ns()}@bench.example>\r\nX-Mailer: bench\r\n"
        f"X-Bench: {number} {time.monotonic_ns()}\r\n\r\n"
    ).encode()
    body = LINE * ((size - len(head)) // len(LINE) + 1)
    return head + body[: size - len(head) - 2].rstrip(b"\r\n") + b"\r\n"


class Load:
    """Counts what is left to send and what was answered."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.started = 0
        self.done = 0
        self.failed = 0
        self.latencies: list[float] = []
        self.finished = asyncio.Event()
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.begin = time.monotonic()

    def take(self) -> int | None:
        if self.started >= self.args.messages:
            return None
        self.started += 1
        return self.started

    def wait(self) -> float:
        """Seconds until the next message may start, at --rate."""
        if not self.args.rate:
            return 0.0
        return max(0.0, self.begin + self.started / self.args.rate - time.monotonic())

    def answered(self, reply: bytes, seconds: float) -> None:
        self.done += 1
        if reply.startswith(b"250"):
            self.latencies.append(seconds)
        else:
            self.failed += 1
            if self.failed < 5:
                print("refused:", reply.decode(errors="replace").strip(), flush=True)
        if self.done >= self.args.messages:
            self.finished.set()


class Client(asyncio.Protocol):
    """One connection: greeting, EHLO, STARTTLS, AUTH, then messages."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.args = load.args
        self.buffer = b""
        self.steps: list[bytes] = []
        self.sent = 0
        self.state = "greeting"
        self.number = 0
        self.began = 0.0
        self.replies_wanted = 1

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n")
            if end < 0:
                return
            line, self.buffer = self.buffer[:end], self.buffer[end + 2 :]
            if line[3:4] != b"-":
                self.on_reply(line)

    def on_reply(self, line: bytes) -> None:
        state = self.state
        if state == "greeting":
            self.state = "ehlo"
            self.transport.write(b"EHLO bench.example\r\n")
        elif state == "ehlo":
            if not self.args.no_tls and not self.transport.get_extra_info("ssl_object"):
                self.state = "starttls"
                self.transport.write(b"STARTTLS\r\n")
            elif self.args.user:
                self.state = "auth"
                token = base64.b64encode(f"\0{self.args.user}\0{self.args.password}".encode())
                self.transport.write(b"AUTH PLAIN " + token + b"\r\n")
            else:
                self.next_message()
        elif state == "starttls":
            self.state = "upgrading"
            self.task = asyncio.get_running_loop().create_task(self.upgrade())
        elif state == "auth":
            if not line.startswith(b"235"):
                raise SystemExit(line.decode())
            self.next_message()
        elif state == "envelope":
            self.replies_wanted -= 1
            if line[:1] not in (b"2", b"3"):
                self.load.answered(line, 0)
                self.transport.close()
            elif self.replies_wanted == 0:
                self.state = "data"
                self.transport.write(self.body + b".\r\n")
        elif state == "data":
            self.load.answered(line, time.monotonic() - self.began)
            self.sent += 1
            if self.args.per_session and self.sent >= self.args.per_session:
                self.state = "quit"
                self.transport.write(b"QUIT\r\n")
            else:
                self.next_message()
        elif state == "quit":
            self.transport.close()

    async def upgrade(self) -> None:
        loop = asyncio.get_running_loop()
        self.transport = await loop.start_tls(self.transport, self, self.load.context)
        self.state = "ehlo"
        self.transport.write(b"EHLO bench.example\r\n")

    def next_message(self) -> None:
        wait = self.load.wait()
        if wait > 0:
            self.state = "waiting"
            asyncio.get_running_loop().call_later(wait, self.next_message)
            return
        number = self.load.take()
        if number is None:
            self.state = "quit"
            self.transport.write(b"QUIT\r\n")
            return
        recipient = self.args.recipient.replace("%", str(number))
        self.body = make_message(self.args.size, self.args.sender, recipient, number)
        self.began = time.monotonic()
        self.state = "envelope"
        self.replies_wanted = 3
        envelope = f"MAIL FROM:<{self.args.sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
        self.transport.write(envelope.encode())

    def connection_lost(self, exc) -> None:
        if self.state not in {"quit", "greeting"} and not self.load.finished.is_set():
            self.load.failed += 1
        if self.load.started < self.args.messages:
            self.load.reconnect()


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))] if ordered else float("nan")


async def run(args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    load = Load(args)
    tasks: set[asyncio.Task] = set()

    def connected(task: asyncio.Task) -> None:
        tasks.discard(task)
        if not task.cancelled() and task.exception():
            print("cannot connect:", task.exception(), flush=True)
            load.finished.set()

    def connect() -> None:
        task = loop.create_task(loop.create_connection(lambda: Client(load), args.host, args.port))
        tasks.add(task)
        task.add_done_callback(connected)

    load.reconnect = connect
    load.begin = time.monotonic()
    for _ in range(args.connections):
        connect()
    await asyncio.wait_for(load.finished.wait(), args.timeout)
    seconds = time.monotonic() - load.begin
    print(
        json.dumps(
            {
                "messages": load.done,
                "failed": load.failed,
                "seconds": round(seconds, 3),
                "rate": round(load.done / seconds, 1),
                "ack_p50_ms": round(1000 * statistics.median(load.latencies), 2) if load.latencies else None,
                "ack_p99_ms": round(1000 * quantile(load.latencies, 0.99), 2),
            }
        ),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--per-session", type=int, default=0)
    parser.add_argument("--size", type=int, default=10240)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--no-tls", action="store_true")
    parser.add_argument("--sender", default="bench@example.com")
    parser.add_argument("--recipient", default="user@sink.example")
    parser.add_argument("--timeout", type=float, default=300)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
