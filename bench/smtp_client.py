"""CPU that our client spends on a 10-KB message over one reused connection, without and with TLS.

The sink runs in a process of its own and does the least that SMTP allows; only this process is measured.
Usage: python bench/smtp_client.py [messages]
"""

import asyncio
import multiprocessing
import resource
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from relay.model.content import Content
from relay.net.connection import TcpConnector
from relay.ports import LinkOptions
from relay.smtp.client.envelope import Transaction
from relay.smtp.client.options import ClientOptions
from relay.smtp.client.session import Client
from relay.testing.internet import write_certificate

BODY = (b"0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n" * 160)[:10_000] + b"\r\n"
CONTENT = Content(b"From: a@example.com\r\nTo: b@example.net\r\nSubject: bench\r\n\r\n", BODY)
TRANSACTION = Transaction("bounce-token@bounce.relay.example", ("b@example.net",), CONTENT)


def sink(listener: socket.socket, tls_files) -> None:
    listener.settimeout(30)
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"220 sink\r\n")
        serve(connection, tls_files)


def serve(connection, tls_files) -> None:
    buffer = b""
    in_data = False
    while True:
        data = connection.recv(65536)
        if not data:
            return
        buffer += data
        if in_data:
            if not buffer.endswith(b"\r\n.\r\n"):
                continue
            buffer, in_data = b"", False
            connection.sendall(b"250 2.0.0 queued as 4242\r\n")
            continue
        if buffer.endswith(b"DATA\r\n"):
            buffer, in_data = b"", True
            connection.sendall(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n")
        elif buffer.startswith(b"EHLO"):
            buffer = b""
            offer = b"250-STARTTLS\r\n" if tls_files and not isinstance(connection, ssl.SSLSocket) else b""
            connection.sendall(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n" + offer + b"250 SIZE 50000000\r\n")
        elif buffer.startswith(b"STARTTLS"):
            buffer = b""
            connection.sendall(b"220 go\r\n")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls_files)
            connection = context.wrap_socket(connection, server_side=True)
        elif buffer.startswith(b"QUIT"):
            return


class User:
    """Sends the same message again and again."""

    def __init__(self, count, done):
        self.left = count
        self.done = done

    def link_opened(self, link):
        self.client = Client(link, self, ClientOptions("relay.example"), time.monotonic())

    def link_data(self, data):
        self.client.receive(data, time.monotonic())

    def link_tls_started(self, _version):
        self.client.tls_started(time.monotonic())

    def link_failed(self, text):
        self.done.set_exception(RuntimeError(text))

    link_tls_failed = link_lost = link_failed

    def session_ready(self):
        self.started = cpu(), time.perf_counter()
        self.client.send(TRANSACTION, time.monotonic())

    def session_failed(self, answer):
        self.done.set_exception(RuntimeError(answer))

    def session_over(self):
        pass

    def transaction_done(self, _transaction, answers):
        assert answers[0].code == 250
        self.left -= 1
        if self.left:
            self.client.send(TRANSACTION, time.monotonic())
            return
        self.done.set_result((cpu() - self.started[0], time.perf_counter() - self.started[1]))
        self.client.quit()


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(port, count):
    done = asyncio.get_running_loop().create_future()
    TcpConnector().connect("127.0.0.1", port, LinkOptions(10.0, server_name="sink.test"), User(count, done))
    return await done


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as directory:
        files = (Path(directory) / "cert.pem", Path(directory) / "key.pem")
        write_certificate(*files, ["sink.test"])
        for name, tls_files in (("clear", None), ("TLS", files)):
            listener = socket.create_server(("127.0.0.1", 0))
            process = multiprocessing.Process(target=sink, args=(listener, tls_files), daemon=True)
            process.start()
            seconds, wall = uvloop.run(measure(listener.getsockname()[1], count))
            each = f"{seconds / count * 1e6:6.1f} us CPU a message"
            print(f"{name:6} {each}, {count / wall:8.0f} messages/s")
            process.terminate()


if __name__ == "__main__":
    main()
