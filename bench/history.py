"""What it costs to keep and to search history and events: 1,000,000 messages in two shards over five days.

    python -m bench.history [--quick] [--messages 1000000] [--events 500000]

Messages are put into spools with the relay's own rows and moved to history as the housekeeper does it, 1,000 at a
time; measured is the CPU time of the thread, with and without the index, and the size of the files. Then messages are
searched for by each criterion: the first page of 20, newest first, over all files. Events are archived by the applier
in batches of 500, a Send and a Delivery for each message, and searched for as well.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from bench.figures import Figure, arguments, at_most, finish, show_reference
from relay.model.delivery import DeliveryState
from relay.model.event import LoggedEvent
from relay.model.ids import new_message_id
from relay.model.message import Delivery, Message, NewEvent, SendOptions
from relay.model.search import EventQuery, MessageQuery, subject_hash
from relay.store.database import open_writer
from relay.store.event_archive import EventArchive
from relay.store.event_search import EventSearch
from relay.store.history import HistoryCopy
from relay.store.records import delivery_row, message_row
from relay.store.retention import DAY_MS, days_of
from relay.store.search import MessageSearch
from relay.store.sql import queries
from relay.testing.clock import ManualClock
from relay.testing.log import MemoryLog

KEY = b"k" * 32
BATCH = 1000
DAYS = 5
SHARDS = (1, 2)
NOW_MS = 20_000 * DAY_MS + DAY_MS // 2
PAGE = 20
ROUNDS = 7
WRITE = queries("write.sql")
ATTEMPT = (
    ',{"attempt":1,"startedMs":1790000000000,"finishedMs":1790000000812,"sourceAddress":"192.0.2.9","remoteHost":'
    '"mx1.example","remoteAddress":"198.51.100.7","tls":"TLSv1.3","stage":"data","outcome":"delivered","reply":'
    '"250 2.0.0 OK queued as 8123"}'
)


def mail(chance: random.Random, number: int, message_id: str, recipient: str) -> dict:
    """Return a `mail` object of ordinary size."""
    subject = f"Your order {number} has been shipped"
    fields = {
        "From": "Shop <orders@shop.example.com>",
        "To": recipient,
        "Subject": subject,
        "Message-ID": f"<{chance.getrandbits(96):x}@shop.example.com>",
        "Date": "Thu, 26 Nov 2026 01:02:03 +0000",
        "Content-Type": f'multipart/alternative; boundary="=_b{chance.getrandbits(64):x}"',
        "List-Unsubscribe": f"<https://shop.example.com/u/{chance.getrandbits(128):x}>",
    }
    return {
        "timestamp": "2026-11-26T01:02:03.456Z",
        "messageId": message_id,
        "source": "orders@shop.example.com",
        "sourceArn": "arn:relay:ses:local-1:000000000001:identity/shop.example.com",
        "sendingAccountId": f"{number % 100:012d}",
        "destination": [recipient],
        "headersTruncated": False,
        "headers": [{"name": name, "value": value} for name, value in fields.items()],
        "commonHeaders": {"from": [fields["From"]], "to": [recipient], "subject": subject},
        "tags": {
            "campaign": [f"c{number % 500}"],
            "ses:configuration-set": [f"set{number % 7}"],
            "ses:source-ip": ["192.0.2.7"],
            "ses:from-domain": ["shop.example.com"],
            "ses:caller-identity": ["app"],
        },
    }


def messages(shard: int, count: int, every: int) -> Iterator[tuple[Message, Delivery]]:
    """Yield messages of one recipient each, in the order of acceptance over the days before now."""
    chance = random.Random(shard)
    for key in range(1, count + 1):
        number = key * every + shard
        accepted_ms = NOW_MS - DAYS * DAY_MS + key * DAYS * DAY_MS // count
        message_id = new_message_id(shard, accepted_ms)
        recipient = f"user{number}@d{number % 50_000}.example"
        message = Message(
            key=key,
            message_id=message_id,
            account=f"{number % 100:012d}",
            sender="bounces@shop.example.com",
            accepted_ms=accepted_ms,
            expires_ms=accepted_ms + DAY_MS,
            size_bytes=10_000,
            smtputf8=False,
            eight_bit=False,
            mail_json=orjson.dumps(mail(chance, number, message_id, recipient)),
            options=SendOptions(configuration_set=f"set{number % 7}"),
        )
        state = DeliveryState.BOUNCED if number % 50 == 0 else DeliveryState.DELIVERED
        yield message, Delivery(message, 0, recipient, state, attempts=1, last_reply="250 2.0.0 OK")


class Mover:
    """A spool whose messages go to history a batch at a time; adds up the CPU time of that."""

    def __init__(self, directory: Path, shard: int, copy: type[HistoryCopy]) -> None:
        self.place = (directory / f"{shard}.db", directory / f"history-{shard}")
        self._spool = open_writer(self.place[0], "spool")
        self._spool.execute("PRAGMA synchronous = OFF")
        self._copy = copy(*self.place, KEY)
        self.seconds = 0.0
        self.longest = 0.0

    def move(self, batch: list[tuple[Message, Delivery]]) -> None:
        self._spool.execute("BEGIN")
        self._spool.executemany(WRITE["insert_message"], [message_row(message) for message, _ in batch])
        rows = [(*delivery_row(delivery)[:-1], ATTEMPT) for _, delivery in batch]
        self._spool.executemany(WRITE["insert_delivery"], rows)
        self._spool.execute("COMMIT")
        keys = [message.key for message, _ in batch]
        begin = time.thread_time()
        self._copy.copy(keys)
        took = time.thread_time() - begin
        self.seconds += took
        self.longest = max(self.longest, took)
        wanted = orjson.dumps(keys).decode()
        self._spool.execute(WRITE["remove_deliveries"], (wanted,))
        self._spool.execute(WRITE["remove_messages"], (wanted,))
        self._spool.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def close(self) -> None:
        self._copy.close()
        self._spool.close()


def fill(
    directory: Path, count: int, shards: tuple[int, ...], copy: type[HistoryCopy] = HistoryCopy
) -> tuple[dict[int, tuple[Path, Path]], float, float, float]:
    """Move messages to history; return the places, CPU microseconds and octets a message, the longest batch in ms."""
    movers = {shard: Mover(directory, shard, copy) for shard in shards}
    for shard, mover in movers.items():
        batch: list[tuple[Message, Delivery]] = []
        for one in messages(shard, count // len(shards), len(shards)):
            batch.append(one)
            if len(batch) == BATCH:
                mover.move(batch)
                batch = []
        mover.close()
    places = {shard: mover.place for shard, mover in movers.items()}
    size = sum(file.size_bytes for _, days in places.values() for file in days_of(days))
    seconds = sum(mover.seconds for mover in movers.values())
    return places, 1e6 * seconds / count, size / count, 1000 * max(mover.longest for mover in movers.values())


def timed(what: str, ask: Callable[[], list]) -> float:
    """Print how long a search takes; return the median in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        found = ask()
        times.append(1000 * (time.perf_counter() - begin))
    middle = statistics.median(times)
    print(f"  {what:44s} {len(found):4d} found, median {middle:7.1f} ms, longest {max(times):7.1f} ms", flush=True)
    return middle


def of_messages(count: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="relay-bench-", dir="/tmp") as directory:
        bare = Path(directory) / "bare"
        bare.mkdir()
        _, bare_us, bare_bytes, _ = fill(bare, min(count, 100_000), (1,), BareCopy)
        places, each_us, each_bytes, longest_ms = fill(Path(directory), count, SHARDS)
        print(
            f"{count} messages moved to history: {each_us:.1f} us of CPU and {each_bytes:.0f} octets each, without "
            f"the index {bare_us:.1f} us and {bare_bytes:.0f}; longest batch of {BATCH} {longest_ms:.0f} ms"
        )
        number = count // 2 + 1
        sought = {
            "recipient": MessageQuery(recipient=f"user{number}@d{number % 50_000}.example"),
            "recipient that never was": MessageQuery(recipient="nobody@nowhere.example"),
            "domain of recipients": MessageQuery(domain=f"d{number % 50_000}.example"),
            "subject": MessageQuery(subject_hash=subject_hash(KEY, f"Your order {number} has been shipped")),
            "tag": MessageQuery(tags=(("campaign", "c7"),)),
            "account": MessageQuery(account=f"{7:012d}"),
            "account and set": MessageQuery(account=f"{7:012d}", configuration_set="set3"),
            "sender, which all have": MessageQuery(sender="bounces@shop.example.com"),
            "bounced, account, tag": MessageQuery(
                account=f"{50:012d}", tags=(("campaign", "c50"),), outcome=DeliveryState.BOUNCED
            ),
            "an hour three days ago": MessageQuery(
                since_ms=NOW_MS - 3 * DAY_MS, until_ms=NOW_MS - 3 * DAY_MS + 3_600_000
            ),
            "nothing but the newest": MessageQuery(),
        }
        worst = max(
            timed(what, lambda query=query: MessageSearch(places, query, KEY).page(PAGE).found)
            for what, query in sought.items()
        )
    return [
        at_most(
            "history: CPU of filing a message for search", each_us - bare_us, 80, "us", f"(moving: {bare_us:.0f})"
        ),
        at_most(
            "history: octets of filing a message for search",
            each_bytes - bare_bytes,
            300,
            "",
            f"(a message: {bare_bytes:.0f})",
        ),
        at_most(f"history: slowest search over {count} messages", worst, 500, "ms"),
    ]


class BareCopy(HistoryCopy):
    """Moves messages without filing them."""

    def _file(self, wanted: str, day: int) -> None:
        """File nothing."""


def of_events(count: int) -> list[Figure]:
    clock = ManualClock(NOW_MS)
    with tempfile.TemporaryDirectory(prefix="relay-bench-", dir="/tmp") as directory:
        archive = EventArchive(Path(directory), clock, MemoryLog())
        archive.open()
        seconds, longest, raw, seq, sample = 0.0, 0.0, 0, 0, ""
        batch: list[LoggedEvent] = []
        for message, delivery in messages(1, count // 2, 1):
            for event in (_sent(message), _delivered(message, delivery)):
                seq += 1
                raw += len(event.payload)
                batch.append(LoggedEvent(1, seq, event))
            if len(batch) >= 500:
                begin = time.thread_time()
                archive.apply(1, batch)
                took = time.thread_time() - begin
                seconds, longest = seconds + took, max(longest, took)
                batch = []
            if seq == count // 2:
                sample = message.message_id
                clock.advance(86_400)
        archive.close()
        size = sum(file.size_bytes for file in days_of(Path(directory)))
        print(
            f"{seq} events archived: {1e6 * seconds / seq:.1f} us of CPU and {size / seq:.0f} octets each "
            f"({raw / seq:.0f} before); longest batch of 500 {1000 * longest:.0f} ms"
        )
        sought = {
            "events of a message": EventQuery(message_id=sample),
            "events of a recipient": EventQuery(recipient=f"user{count // 4}@d{count // 4 % 50_000}.example"),
            "an event": EventQuery(event_id=f"{sample}:send"),
            "an event that never was": EventQuery(event_id="none"),
            "deliveries of an account": EventQuery(kind="Delivery", account=f"{7:012d}"),
            "bounces, of which there are none": EventQuery(kind="Bounce", account=f"{7:012d}"),
            "nothing but the newest": EventQuery(),
        }
        worst = max(
            timed(what, lambda query=query: EventSearch(Path(directory), {}, query).page(PAGE).found)
            for what, query in sought.items()
        )
    return [
        at_most("archive: CPU of an event", 1e6 * seconds / seq, 40, "us"),
        at_most("archive: octets of an event", size / seq, 500, "", f"(before: {raw / seq:.0f})"),
        at_most(f"archive: slowest search over {seq} events", worst, 500, "ms"),
    ]


def _sent(message: Message) -> NewEvent:
    record = b'{"eventType":"Send","mail":%b,"send":{}}' % message.mail_json
    return NewEvent(f"{message.message_id}:send", "Send", message.message_id, record)


def _delivered(message: Message, delivery: Delivery) -> NewEvent:
    body = {
        "timestamp": "2026-11-26T01:02:04.111Z",
        "processingTimeMillis": 812,
        "recipients": [delivery.recipient],
        "smtpResponse": "250 2.0.0 OK queued as 8123",
        "reportingMTA": "relay.example",
    }
    mail_json = message.mail_json[:-2] + b',"ses:outgoing-ip":["192.0.2.9"]}}'
    record = b'{"eventType":"Delivery","mail":%b,"delivery":%b}' % (mail_json, orjson.dumps(body))
    return NewEvent(f"{message.message_id}:0:delivery", "Delivery", message.message_id, record, b'{"provider":"x"}')


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=500_000)
    args = parser.parse_args()
    if args.quick:
        args.messages, args.events = min(args.messages, 100_000), min(args.events, 50_000)
    show_reference()
    finish([*of_messages(args.messages), *of_events(args.events)], args.json)


if __name__ == "__main__":
    main()
