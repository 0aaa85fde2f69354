"""The search finds every message that is meant, newest first and once, wherever it is and while it moves."""

import random

import orjson
import pytest

from relay.errors import UsageError
from relay.model.delivery import DeliveryState
from relay.model.ids import new_message_id
from relay.model.message import Delivery, Message, SendOptions
from relay.model.search import MessageQuery, subject_hash
from relay.store import postings, search
from relay.store.database import open_writer
from relay.store.history import HistoryCopy
from relay.store.records import CODES, delivery_row, message_row
from relay.store.retention import DAY_MS
from relay.store.search import MessageSearch
from relay.store.sql import queries

KEY = b"k" * 32
START_MS = 20_000 * DAY_MS
WRITE = queries("write.sql")


class Shards:
    """Shards of finished and waiting messages; `move` takes some to history as the housekeeper does."""

    def __init__(self, directory, numbers=(1, 2)):
        self.places = {number: (directory / f"{number}.db", directory / f"history-{number}") for number in numbers}
        self.spools = {number: open_writer(spool, "spool") for number, (spool, _) in self.places.items()}
        self.keys = dict.fromkeys(numbers, 0)
        self.all = []

    def add(self, shard, accepted_ms, *, recipients=("one@example.org",), state=DeliveryState.DELIVERED, **facts):
        self.keys[shard] += 1
        subject, tags = facts.pop("subject", "Hello"), facts.pop("tags", {})
        mail = {
            "source": "app@example.com",
            "sourceArn": "arn:relay:ses:x:1:identity/example.com",
            "commonHeaders": {"subject": subject},
            "tags": tags,
        }
        message = Message(
            key=self.keys[shard],
            message_id=new_message_id(shard, accepted_ms),
            account=facts.pop("account", "000000000001"),
            sender="app@example.com",
            accepted_ms=accepted_ms,
            expires_ms=accepted_ms + 1000,
            size_bytes=10,
            smtputf8=False,
            eight_bit=False,
            mail_json=orjson.dumps(mail),
            options=SendOptions(**facts),
        )
        spool = self.spools[shard]
        spool.execute(WRITE["insert_message"], message_row(message))
        for index, recipient in enumerate(recipients):
            spool.execute(WRITE["insert_delivery"], delivery_row(Delivery(message, index, recipient, state)))
        self.all.append((accepted_ms, shard, message))
        return message

    def move(self, shard, keys):
        spool, history = self.places[shard]
        copy = HistoryCopy(spool, history, KEY)
        copy.copy(keys)
        copy.close()
        wanted = orjson.dumps(keys).decode()
        self.spools[shard].execute(WRITE["remove_deliveries"], (wanted,))
        self.spools[shard].execute(WRITE["remove_messages"], (wanted,))

    def find(self, query, limit=1000, cursor=""):
        return MessageSearch(self.places, query, KEY).page(limit, cursor)

    def ids(self, query):
        return [one.message.message_id for one in self.find(query).found]


@pytest.fixture
def shards(tmp_path, monkeypatch):
    monkeypatch.setattr(postings, "SEGMENT_ROWS", 60)  # several segments in small files
    monkeypatch.setattr(search, "LOOK_MESSAGES", 7)
    monkeypatch.setattr(search, "FOUND_MAX", 5)
    return Shards(tmp_path)


def fill(shards, count=120):
    """Make messages over three days and two shards; most have left the spool, in the order in which they ended."""
    chance = random.Random(4)
    now = START_MS
    moved = {1: [], 2: []}
    for number in range(count):
        now += 3 * DAY_MS // count
        shard = chance.choice((1, 2))
        message = shards.add(
            shard,
            now,
            recipients=[f"user{number % 9}@d{number % 4}.example"],
            state=chance.choice((DeliveryState.DELIVERED, DeliveryState.BOUNCED, DeliveryState.SUPPRESSED)),
            account=f"{number % 3:012d}",
            configuration_set=chance.choice(("", "news", "alerts")),
            subject=f"Subject {number % 5}",
            tags={"campaign": [chance.choice(("book", "clothing"))]},
        )
        if chance.random() < 0.8:
            moved[shard].append(message.key)
    for shard, keys in moved.items():
        chance.shuffle(keys)
        for start in range(0, len(keys), 10):
            shards.move(shard, keys[start : start + 10])


QUERIES = [
    MessageQuery(),
    MessageQuery(recipient="USER3@d3.example"),
    MessageQuery(domain="d2.example"),
    MessageQuery(domain="2.example"),
    MessageQuery(sender="app@example.com", account=f"{1:012d}"),
    MessageQuery(account=f"{2:012d}", configuration_set="news"),
    MessageQuery(configuration_set="alerts", outcome=DeliveryState.BOUNCED),
    MessageQuery(outcome=DeliveryState.DELIVERED, tags=(("campaign", "book"),)),
    MessageQuery(subject_hash=subject_hash(KEY, "subject 2"), identity="example.com"),
    MessageQuery(recipient="user%@d3.example"),
    MessageQuery(since_ms=START_MS + DAY_MS + 3_600_000, until_ms=START_MS + 2 * DAY_MS),
    MessageQuery(domain="d1.example", since_ms=START_MS + DAY_MS * 3 // 2),
    MessageQuery(account="000000000009"),
]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_what_is_meant_is_found_newest_first(shards, query):
    fill(shards)
    expected = [
        message.message_id
        for _, shard, message in sorted(shards.all, key=lambda one: one[:2], reverse=True)
        if query.meant(facts(shards, shard, message), KEY)
    ]
    assert shards.ids(query) == expected


def facts(shards, shard, message):
    spool, history = shards.places[shard]
    for path in (spool, *history.glob("*.db")):
        connection = open_writer(path, "spool" if path == spool else "history")
        rows = connection.execute(
            "SELECT recipient, state FROM delivery WHERE key >> 16 = ?", (message.key,)
        ).fetchall()
        connection.close()
        if rows:
            codes = {code: state for state, code in CODES.items()}
            deliveries = [(recipient, codes[state]) for recipient, state in rows]
            options = message.options
            return search.MessageFacts(
                message.account,
                message.sender,
                options.configuration_set,
                message.accepted_ms,
                message.mail_json,
                deliveries,
            )
    raise AssertionError("the message is nowhere")


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_pages_continue_where_the_last_one_ended(shards, limit):
    fill(shards)
    query = MessageQuery(configuration_set="news")
    found, cursor = [], ""
    while True:
        page = shards.find(query, limit, cursor)
        found += [one.message.message_id for one in page.found]
        cursor = page.cursor
        if not cursor:
            break
    assert found == shards.ids(query)
    assert len(found) > 10


def test_a_page_that_is_out_of_time_says_where_to_go_on(shards):
    fill(shards)
    query = MessageQuery(outcome=DeliveryState.DELIVERED, tags=(("campaign", "book"),))
    found, cursor, pages = [], "", 0
    while pages == 0 or cursor:
        page = MessageSearch(shards.places, query, KEY).page(1000, cursor, seconds_max=0)
        found += [one.message.message_id for one in page.found]
        cursor, pages = page.cursor, pages + 1
        assert pages < 500
    assert sorted(found) == sorted(shards.ids(query))
    assert pages > 3


def test_messages_that_move_meanwhile_are_found_once(shards, monkeypatch):
    messages = [shards.add(1, START_MS + number) for number in range(30)]
    before = search._ShardSearch._waiting
    moving = list(messages)

    def waiting(self, below):
        found = before(self, below)
        if self.number == 1:  # between the look at the spool and the one at history
            shards.move(1, [message.key for message in moving[-4:]])
            del moving[-4:]
        return found

    monkeypatch.setattr(search._ShardSearch, "_waiting", waiting)
    expected = [message.message_id for message in reversed(messages)]
    assert shards.ids(MessageQuery()) == expected


def test_a_copy_that_is_repeated_after_a_crash_is_filed_once(shards):
    message = shards.add(1, START_MS)
    spool, history = shards.places[1]
    for _ in range(2):
        copy = HistoryCopy(spool, history, KEY)
        copy.copy([message.key])
        copy.close()
    connection = open_writer(next(history.glob("*.db")), "history")
    assert connection.execute("SELECT count(*) - count(DISTINCT term) FROM fresh").fetchone() == (0,)
    connection.close()
    assert shards.ids(MessageQuery(account="000000000001")) == [message.message_id]


@pytest.mark.parametrize("cursor", ["x", "1", "1.2.3", "g.1", "1.1_" * 20])
def test_a_cursor_that_is_none(shards, cursor):
    with pytest.raises(UsageError, match="no cursor"):
        shards.find(MessageQuery(), cursor=cursor)


def test_damaged_rows_are_passed_over(shards):
    good, bad = shards.add(1, START_MS), shards.add(1, START_MS + 1)
    shards.spools[1].execute("UPDATE message SET sender = 'x@example.com' WHERE key = ?", (bad.key,))
    assert shards.ids(MessageQuery()) == [good.message_id]
