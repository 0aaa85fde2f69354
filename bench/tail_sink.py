"""A receiving end for large messages and for refusals: looks at each octet once, keeps four of them.

    python -m bench.tail_sink

Prints `{"port": N}`, then, for each line read from standard input, what it saw: `messages` taken, `large` those over
a megabyte, `refused` recipients, `last` (time.monotonic). Recipients below `retry.example` are refused with 451.
Ends with its input.
"""

import asyncio
import json
import sys
import time

import uvloop

END = b"\r\n.\r\n"
LARGE_BYTES = 1_000_000


class Counters:
    messages = 0
    large = 0
    refused = 0
    last = 0.0


class TailSink(asyncio.Protocol):
    def connection_made(self, transport) -> None:
        self.transport = transport
        self.line = b""
        self.tail = b""
        self.in_data = False
        self.recipients = 0
        self.size = 0
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        out: list[bytes] = []
        while data:
            data = self.body(data, out) if self.in_data else self.commands(data, out)
        if out:
            self.transport.write(b"".join(out))
        if self.line is None:
            self.transport.close()

    def body(self, data: bytes, out: list[bytes]) -> bytes:
        """Take data up to the final dot, return what follows it."""
        joint = self.tail + data[:4]
        end = joint.find(END)
        start = end + 5 - len(self.tail) if end >= 0 else -1
        if start < 0 and (end := data.find(END)) >= 0:
            start = end + 5
        if start < 0:
            self.tail = (self.tail + data[-4:])[-4:]
            self.size += len(data)
            return b""
        Counters.messages += 1
        Counters.large += self.size > LARGE_BYTES
        Counters.last = time.monotonic()
        self.in_data = False
        out.append(b"250 2.0.0 taken\r\n")
        return data[start:]

    def commands(self, data: bytes, out: list[bytes]) -> bytes:
        """Answer whole lines until data begins, return what follows."""
        data = self.line + data
        while (end := data.find(b"\r\n")) >= 0:
            line, data = data[:end], data[end + 2 :]
            out.append(self.answer(line[:4].upper(), line))
            if self.in_data or self.line is None:
                break
        else:
            self.line = data
            return b""
        if self.line is not None:
            self.line = b""
        return data if self.in_data else b""

    def answer(self, verb: bytes, line: bytes) -> bytes:
        if verb == b"EHLO":
            return b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 52428800\r\n"
        if verb == b"MAIL":
            self.recipients = 0
        elif verb == b"RCPT":
            if b"retry.example" in line:
                Counters.refused += 1
                return b"451 4.7.1 not now\r\n"
            self.recipients += 1
        elif verb == b"DATA":
            if not self.recipients:
                return b"503 5.5.1 no recipients\r\n"
            self.in_data = True
            self.tail = b"\r\n"
            self.size = 0
            return b"354 go on\r\n"
        elif verb == b"QUIT":
            self.line = None
            return b"221 bye\r\n"
        return b"250 ok\r\n"


async def run() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(TailSink, "127.0.0.1", 0, backlog=1000)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    closed = asyncio.Event()

    def on_line() -> None:
        if not sys.stdin.readline():
            closed.set()
            return
        print(
            json.dumps(
                {
                    "messages": Counters.messages,
                    "large": Counters.large,
                    "refused": Counters.refused,
                    "last": Counters.last,
                }
            ),
            flush=True,
        )

    loop.add_reader(sys.stdin, on_line)
    await closed.wait()


if __name__ == "__main__":
    uvloop.run(run())
