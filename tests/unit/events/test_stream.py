"""Streams: lines in files, whole or not at all; objects of a bucket; records of Kafka."""

import asyncio
import gzip
import os
from pathlib import Path
from urllib.parse import urlsplit

import aiokafka.errors
import pytest

from relay.errors import ConfigurationError, TemporaryError
from relay.events import bucket, kafka
from relay.events.bucket import BucketSettings, BucketStore
from relay.events.kafka import KafkaSink
from relay.events.stream import DirectoryStore, FileSink, Stream, StreamCourier, file_name, lines_of
from relay.ports.events import DONE, Gathering, Item, Post, Sent, Verdict
from tests.bucket_server import bucket_server

CREATED_MS = 1_795_658_461_007  # 2026-11-26T02:01:01.007Z


def posts(count, created_ms=CREATED_MS):
    return [
        Post(Item(n, f"id/{n}", "Send", "000000000001", created_ms + n, "", "{}", b'{"n":%d}' % n), "stream:s", 0)
        for n in range(1, count + 1)
    ]


def took(sink, batch):
    return asyncio.run(sink.take(batch))


def test_records_are_lines():
    assert lines_of(posts(2)) == b'{"n":1}\n{"n":2}\n'


@pytest.mark.req("DEST-009")
def test_names_have_the_hour_in_utc_and_are_the_same_for_the_same_batch():
    name = file_name("s", "mail/", posts(3))
    assert name == "mail/2026/11/26/02/s-20261126T020101008Z-1-3-id1.jsonl"
    assert name == file_name("s", "mail/", posts(3)) != file_name("s", "mail/", posts(2))


@pytest.mark.req("DEST-008")
def test_a_batch_is_one_file_and_nothing_else_is_left(tmp_path):
    sink = FileSink("s", DirectoryStore(tmp_path / "deep" / "er", "s"), prefix="p/")
    assert took(sink, posts(3)) == [DONE] * 3
    (file,) = (path for path in (tmp_path / "deep" / "er" / "p").rglob("*") if path.is_file())
    assert file.read_bytes() == lines_of(posts(3))
    assert file.stat().st_mode & 0o777 == 0o640
    assert list((tmp_path / "deep" / "er" / ".incoming").iterdir()) == []
    assert took(sink, posts(3)) == [DONE] * 3  # again after a crash: the same file
    assert len([path for path in (tmp_path / "deep" / "er" / "p").rglob("*") if path.is_file()]) == 1


def test_a_batch_may_be_compressed(tmp_path):
    took(FileSink("s", DirectoryStore(tmp_path, "s"), compressed=True), posts(3))
    (file,) = tmp_path.rglob("*.jsonl.gz")
    assert gzip.decompress(file.read_bytes()) == lines_of(posts(3))


def test_everything_is_synced_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("sync") or sync(descriptor))
    monkeypatch.setattr(Path, "replace", lambda self, to: done.append("rename") or replace(self, to))
    took(FileSink("s", DirectoryStore(tmp_path, "s")), posts(1))
    renamed = done.index("rename")
    assert "sync" in done[:renamed]
    assert done[renamed:] == ["rename", "sync"]


def test_a_disk_that_refuses_keeps_the_batch_waiting(tmp_path):
    (tmp_path / "file").write_text("in the way")
    sent = took(FileSink("s", DirectoryStore(tmp_path / "file", "s")), posts(2))
    assert [one.verdict for one in sent] == [Verdict.AGAIN] * 2
    assert "cannot be written" in sent[0].detail


def test_a_stream_that_is_not_configured_any_more_keeps_its_events(tmp_path):
    sink = FileSink("s", DirectoryStore(tmp_path, "s"))
    courier = StreamCourier({"s": Stream(Gathering(1, 2.0, 3), sink)})
    assert courier.gathering("stream:s") == Gathering(1, 2.0, 3)
    assert asyncio.run(courier.send_batch("stream:s", posts(1))) == [DONE]
    assert asyncio.run(courier.send_batch("stream:gone", posts(1)))[0].verdict is Verdict.AGAIN
    assert courier.gathering("stream:gone").age_seconds == 0


@pytest.fixture(scope="module")
def s3():
    with bucket_server() as url:
        yield url


@pytest.fixture
def settings(s3, monkeypatch):
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    made = BucketSettings("events", "us-east-1", s3, "key", "secret")
    client = BucketStore(made)._connected()
    if "events" not in [one["Name"] for one in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket="events")
    return made


@pytest.mark.req("DEST-008", "DEST-009")
@pytest.mark.timeout(60)
def test_a_batch_is_an_object_of_a_bucket(settings):
    store = BucketStore(settings)
    assert took(FileSink("s", store, prefix="b/", compressed=True), posts(3)) == [DONE] * 3
    client = store._connected()
    (found,) = client.list_objects_v2(Bucket="events", Prefix="b/")["Contents"]
    assert found["Key"] == file_name("s", "b/", posts(3)) + ".gz"
    body = client.get_object(Bucket="events", Key=found["Key"])["Body"].read()
    assert gzip.decompress(body) == lines_of(posts(3))


@pytest.mark.timeout(60)
def test_a_bucket_that_is_not_there_or_away_is_tried_again(settings, s3):
    missing = BucketStore(BucketSettings("nothing", "us-east-1", s3, "key", "secret"))
    with pytest.raises(TemporaryError, match="bucket nothing: NoSuchBucket"):
        missing.keep("name", b"data")
    port = urlsplit(s3).port
    away = BucketStore(BucketSettings("events", "us-east-1", f"http://127.0.0.2:{port}", "key", "secret"))
    sent = took(FileSink("s", away), posts(1))
    assert sent[0].verdict is Verdict.AGAIN
    assert "secret" not in sent[0].detail
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(("module", "make"), [
    (bucket, lambda: BucketStore(BucketSettings("b", "r"))),
    (kafka, lambda: KafkaSink(["h:1"], "t")),
])  # fmt: skip
def test_an_extra_that_is_not_installed_is_named(monkeypatch, module, make):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"install `relay-mta\["):
        make()


class Producer:
    """What the sink needs of a producer; `fails` may raise for a record."""

    def __init__(self, fails=lambda key: None, refuses=None):
        self.fails = fails
        self.refuses = refuses
        self.records = []
        self.state = "new"

    async def start(self):
        if self.refuses:
            raise self.refuses
        self.state = "started"

    async def stop(self):
        self.state = "stopped"

    async def send_and_wait(self, topic, *, value, key):
        await asyncio.sleep(0)
        self.fails(key)
        self.records.append((topic, key, value))


def kafka_took(batches, *producers):
    made = list(producers)
    sink = KafkaSink(["kafka.example:9092"], "mail", lambda _brokers: made.pop(0))

    async def play():
        sent = [await sink.take(batch) for batch in batches]
        await sink.close()
        return sent

    return asyncio.run(play())


def test_each_event_is_a_record_with_its_id_as_key():
    producer = Producer()
    assert kafka_took([posts(2)], producer) == [[DONE, DONE]]
    assert producer.records == [("mail", b"id/1", b'{"n":1}'), ("mail", b"id/2", b'{"n":2}')]
    assert producer.state == "stopped"


def test_a_broker_that_is_away_is_tried_with_a_new_producer():
    broken, good = Producer(refuses=aiokafka.errors.KafkaConnectionError("away")), Producer()
    first, second = kafka_took([posts(1), posts(1)], broken, good)
    assert first == [Sent(Verdict.AGAIN, "KafkaConnectionError")]
    assert second == [DONE]
    assert broken.state == "stopped"


def test_only_what_failed_is_sent_again_and_what_is_too_large_never():
    def fails(key):
        if key == b"id/1":
            raise aiokafka.errors.MessageSizeTooLargeError
        if key == b"id/2":
            raise aiokafka.errors.RequestTimedOutError

    (sent,) = kafka_took([posts(3)], Producer(fails))
    assert [one.verdict for one in sent] == [Verdict.REFUSED, Verdict.AGAIN, Verdict.DONE]


def test_a_fault_of_ours_is_no_answer_of_kafka():
    def fails(key):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        kafka_took([posts(1)], Producer(fails))
