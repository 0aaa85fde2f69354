"""The receiving end of a benchmark: takes every message, keeps none, tells when it saw them.

    python -m bench.sink --port 0

Prints `{"port": N}` first. On each line read from standard input it prints
`{"messages": total, "last": time.monotonic(), "p50_ms":…, "p99_ms":…}` (time from `X-Bench` to here) and forgets
the latencies. Cheap on purpose: one find for the end of data, no parsing.
"""

import argparse
import asyncio
import json
import sys
import time

import uvloop

from bench.load import quantile


class Counters:
    messages = 0
    last = 0.0
    latencies: list[float] = []  # noqa: RUF012  one process, one instance


class Sink(asyncio.Protocol):
    def connection_made(self, transport) -> None:
        self.transport = transport
        self.buffer = bytearray()
        self.data = False
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        out = []
        while buffer:
            if self.data:
                end = buffer.find(b"\r\n.\r\n")
                if end < 0:
                    break
                self.note(buffer)
                del buffer[: end + 5]
                self.data = False
                out.append(b"250 2.0.0 taken\r\n")
                continue
            end = buffer.find(b"\r\n")
            if end < 0:
                break
            verb = bytes(buffer[:4]).upper()
            del buffer[: end + 2]
            if verb == b"EHLO":
                out.append(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 52428800\r\n")
            elif verb == b"DATA":
                self.data = True
                out.append(b"354 go on\r\n")
            elif verb == b"QUIT":
                out.append(b"221 bye\r\n")
                self.transport.write(b"".join(out))
                self.transport.close()
                return
            else:
                out.append(b"250 ok\r\n")
        if out:
            self.transport.write(b"".join(out))

    def note(self, buffer: bytearray) -> None:
        Counters.messages += 1
        Counters.last = time.monotonic()
        at = buffer.find(b"X-Bench: ")
        if at >= 0:
            stamp = int(buffer[at + 9 : buffer.find(b"\r\n", at)].split()[1])
            Counters.latencies.append((time.monotonic_ns() - stamp) / 1e6)


async def run(args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, args.host, args.port)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    closed = asyncio.Event()

    def on_line() -> None:
        if not sys.stdin.readline():
            closed.set()
            return
        latencies, Counters.latencies = Counters.latencies, []
        figures = {"messages": Counters.messages, "last": Counters.last}
        if latencies:
            figures |= {"p50_ms": round(quantile(latencies, 0.5), 2), "p99_ms": round(quantile(latencies, 0.99), 2)}
        print(json.dumps(figures), flush=True)

    loop.add_reader(sys.stdin, on_line)
    await closed.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
