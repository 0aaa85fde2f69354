"""What notifications over HTTPS cost the process of events: `python -m bench.topics`.

Records of 2 KB are published to a topic with one https subscription, kept in the synced queue, and delivered by the
real dispatcher, courier and poster to a TLS server in another process, with signature and settlement. The figure is
notifications for each second of CPU of the delivering process: what one core does. Beside it: the rate as it was, on
a machine that others use too, and how many connections that took.
"""

import asyncio
import json
import multiprocessing
import ssl
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import uvloop

from bench.figures import Figure, arguments, at_least, finish, show_reference
from relay.events.dispatcher import Dispatcher
from relay.events.publisher import PublishRules, TopicPublisher
from relay.events.queue_files import LocalQueues
from relay.events.topic_courier import TopicCourier
from relay.mail.letter import Letterhead
from relay.model.topic import Protocol, Publication, Subscription, SubscriptionState, Topic
from relay.net.endpoints import Endpoints
from relay.policy.arn import TopicArn
from relay.policy.topic_access import Publisher
from relay.runtime.clock import SteadyClock
from relay.runtime.setup_certificate import self_signed
from relay.runtime.topic_keys import KeptSigner
from relay.signing.secrets import new_master_key
from relay.signing.topic_certificate import new_authority, new_certificate
from relay.signing.topic_token import Tokens
from relay.store.catalog import CATALOG_FILE, open_catalog
from relay.store.event_queue import EventQueue
from relay.store.topic_directory import CatalogTopics
from relay.testing.log import MemoryLog

RATE_MIN = 300.0  # a second and core
ACCOUNT, REGION, URL = "000000000001", "local-1", "https://relay.example"
RECORD = json.dumps({"eventType": "Delivery", "mail": {"tags": {"filler": ["x" * 1900]}}})
BATCH = 200
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Consumer(asyncio.Protocol):
    """Takes posts and counts them; a few microseconds each."""

    posts = 0
    connections = 0

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Consumer.connections += 1
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(self.buffer) < end + 4 + size:
                return
            self.buffer = self.buffer[end + 4 + size :]
            Consumer.posts += 1
            self.transport.write(ANSWER)


def consume(directory: Path, pipe) -> None:
    """Serve TLS until asked for the counts."""

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
        server = await asyncio.get_running_loop().create_server(Consumer, "127.0.0.1", 0, ssl=context)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)
        pipe.send((Consumer.posts, Consumer.connections))

    uvloop.run(main())


class Names:
    """Every name is this machine."""

    async def addresses(self, _host: str) -> list[str]:
        return ["127.0.0.1"]


class Nothing:
    """Metrics and mail that nobody looks at."""

    def count(self, *_: object, **__: object) -> None:
        pass

    gauge = observe = __call__ = count

    async def mail(self, *_: object) -> bool:
        return True


async def deliver(directory: Path, port: int, count: int) -> tuple[float, float, float]:
    """Publish and deliver; return the CPU time of both and the wall time of delivering, in seconds."""
    master, clock, log = new_master_key(), SteadyClock(), MemoryLog()
    topic = TopicArn(REGION, ACCOUNT, "events")
    with open_catalog(directory, master) as catalog:
        catalog.accounts.create(ACCOUNT, sandbox=False)
        catalog.topics.create(Topic(ACCOUNT, "events"))
        made = Subscription(
            "", ACCOUNT, "events", ACCOUNT, Protocol.HTTPS, f"https://localhost:{port}/sns",
            SubscriptionState.CONFIRMED, 0, 0,
        )  # fmt: skip
        catalog.subscriptions.create(made)
    signer, tokens, nothing = KeptSigner(), Tokens(master), Nothing()
    authority = new_authority("relay.example", clock.now_ms())
    signer.replace(new_certificate("relay.example", *authority, clock.now_ms()), URL)
    directories = [CatalogTopics(directory / CATALOG_FILE, master) for _ in range(2)]
    publisher = TopicPublisher(PublishRules(REGION, URL), directories[0], signer, tokens, nothing)
    queue = EventQueue(directory / "events" / "queue.db", log, bytes_max=1 << 32, age_seconds_max=10**6)
    poster = Endpoints(Names(), lambda _: "", ports=(), trusted=lambda _: True, ca_file=str(directory / "cert.pem"))
    courier = TopicCourier(
        directory=directories[1],
        poster=poster,
        mailer=nothing,
        queues=LocalQueues(directory, rotate_bytes=1 << 30, keep=1),
        tokens=tokens,
        signer=signer,
        mail_head=Letterhead("Relay", REGION, "relay.example", "a@relay.example", "b@relay.example"),
        clock=clock,
        log=log,
        count=nothing,
    )
    begin = time.process_time()
    for _ in range(0, count, BATCH):
        publisher.refresh()
        now = clock.now_ms()
        found = [publisher.publish(topic, Publication(RECORD), Publisher(ACCOUNT), now) for _ in range(BATCH)]
        queue.put([item for one in found for item in one.items], now)
    published = time.process_time() - begin
    dispatcher = Dispatcher(queue, {courier.kind: courier}, clock, log, nothing)
    begin, wall = time.process_time(), time.monotonic()
    await dispatcher.run_once()
    delivered, wall = time.process_time() - begin, time.monotonic() - wall
    poster.close()
    await dispatcher.end(1.0)
    assert not log.lines, Counter(line[1] for line in log.lines)
    return published, delivered, wall


def main() -> None:
    args = arguments(__doc__).parse_args()
    count = 1000 if args.quick else 10_000
    show_reference()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="relay-bench-", dir="/tmp") as name:
        directory = Path(name)
        certificate, key = self_signed("localhost")
        (directory / "cert.pem").write_bytes(certificate)
        (directory / "key.pem").write_bytes(key)
        ours, theirs = spawn.Pipe()
        consumer = spawn.Process(target=consume, args=(directory, theirs), daemon=True)
        consumer.start()
        published, delivered, wall = uvloop.run(deliver(directory, ours.recv(), count))
        ours.send("how many")
        posts, connections = ours.recv()
        consumer.join(10)
    if posts != count:
        sys.exit(f"{posts} of {count} notifications arrived")
    each_us = 1e6 / count
    finish(
        [
            at_least("HTTPS notifications a second and core", count / (published + delivered), RATE_MIN, "/s"),
            Figure("CPU to publish, sign and keep one", "", f"{published * each_us:.0f} us"),
            Figure("CPU to deliver and settle one", "", f"{delivered * each_us:.0f} us"),
            Figure("rate of delivering as it was", "", f"{count / wall:.0f}/s over {connections} connections"),
        ],
        args.json,
    )


if __name__ == "__main__":
    main()
