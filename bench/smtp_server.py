"""CPU a message costs in the SMTP server: the engine alone, and the door over loopback with nothing behind it.

Run: python -m bench.smtp_server [--messages N] [--size BYTES]

The engine figure is the best of several rounds, because rates on shared machines swing. The door runs in a child
process of its own, whose CPU time is what counts; its clients keep their sessions.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from relay.model.message import Submission
from relay.model.refusal import Accepted, Refusal
from relay.ports import AuthGate
from relay.smtp.server.content import BodySink
from relay.smtp.server.dialect import Dialect
from relay.smtp.server.door import AuthAnswer
from relay.smtp.server.policy import SessionPolicy, TlsMode
from relay.smtp.server.reply import Reply
from relay.smtp.server.session import Session
from relay.smtpd.door import SmtpDoor
from relay.smtpd.gate import LocalGate
from relay.smtpd.services import Services
from relay.smtpd.tls import ContextHolder

POLICY = SessionPolicy(
    "relay.example", tls=TlsMode.NONE, trusted_networks=("127.0.0.0/8",), trusted_account="000000000001"
)
ENVELOPE = b"MAIL FROM:<a@b.example> SIZE=10240 BODY=8BITMIME\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"
ACCEPTED = Accepted("0001019ab1c3d5e7-8d3f1f6a-3c1e-4d0b-9d0a-1f2e3d4c5b6a-000000")


class Nothing:
    """Takes every message and keeps none; also every other port of the door."""

    def may_start(self, _size_bytes: int) -> Refusal | None:
        return None

    def account_of(self, _principal: str) -> str | None:
        return None

    def may_receive(self, _recipient: str) -> Refusal | None:
        return None

    def submit(self, _submission: Submission, done: Callable[[Accepted | Refusal], None]) -> None:
        done(ACCEPTED)

    receive = submit

    def check(self, _username: str, _password: str) -> str | Refusal:
        return "000000000001"

    def auth_gate(self, _address: str, _username: str) -> AuthGate:
        return AuthGate(refused=False, delay_seconds=0.0)

    def recognises(self, _address: str) -> bool:
        return False

    def auth_result(self, address: str, username: str, *, succeeded: bool) -> None:
        pass

    def authenticate(self, _username: str, _password: str, done: Callable[[AuthAnswer], None]) -> None:
        done("000000000001")

    def open_sink(self) -> BodySink:
        raise AssertionError("messages of this benchmark stay in memory")

    def client_named(self, _address: str | None) -> bool | Reply:
        return False

    def refused(self, label: str) -> None:
        pass

    def failed(self, error: Exception) -> None:
        raise error

    def resumed(self) -> None:
        pass

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        pass

    observe = gauge = debug = info = warning = error = count

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


def message(size_bytes: int) -> bytes:
    head = b"From: a@b.example\r\nTo: c@d.example\r\nSubject: bench\r\n\r\n"
    line = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod.\r\n"
    return head + line * max((size_bytes - len(head)) // len(line), 1) + b".\r\n"


def engine_microseconds(text: bytes, rounds: int = 30, per_round: int = 200) -> float:
    nothing = Nothing()
    session = Session(Dialect(POLICY), nothing, nothing, "127.0.0.1", trusted=True)
    session.receive(b"EHLO x\r\n")
    session.take_output()
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(per_round):
            session.receive(ENVELOPE)
            session.take_output()
            session.receive(text)
            out = session.take_output()
        best = min(best, (time.process_time() - started) / per_round)
    assert out.startswith(b"250 Ok ")
    return best * 1e6


def _door(sock: socket.socket, pipe: Connection) -> None:
    async def main() -> None:
        nothing = Nothing()
        services = Services(
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            LocalGate(5000),
            ContextHolder(),
            Path(tempfile.gettempdir()),
        )
        door = SmtpDoor(services, asyncio.get_running_loop())
        await door.serve(sock, POLICY)
        pipe.send(time.process_time())
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send(usage.ru_utime + usage.ru_stime)
        door.close()

    uvloop.run(main())


def _client(port: int, text: bytes, count: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def until(end: bytes) -> None:
            data = b""
            while end not in data:
                data += client.recv(65536)

        client.sendall(b"EHLO x\r\n")
        until(b"250 Ok\r\n")
        for _ in range(count):
            client.sendall(ENVELOPE)
            until(b"354 ")
            client.sendall(text)
            until(b"250 Ok 0")


def door_microseconds(text: bytes, messages: int, clients: int = 10) -> tuple[float, float]:
    """Return CPU of the door's process a message, in microseconds, and messages a second."""
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_door, args=(sock, theirs))
    process.start()
    sock.close()
    before = ours.recv()
    started = time.monotonic()
    threads = [threading.Thread(target=_client, args=(port, text, messages // clients)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - started
    ours.send("stop")
    spent = ours.recv() - before
    process.join()
    done = messages // clients * clients
    return spent / done * 1e6, done / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--size", type=int, default=10240)
    given = parser.parse_args()
    text = message(given.size)
    engine = engine_microseconds(text)
    door, rate = door_microseconds(text, given.messages)
    print(
        json.dumps(
            {
                "message_bytes": len(text),
                "engine_us": round(engine, 1),
                "engine_dialogue_us": round(engine_microseconds(message(100)), 1),
                "door_us": round(door, 1),
                "messages_per_second": round(rate),
                "cores": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    main()
