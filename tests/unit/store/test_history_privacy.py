"""What is erased is nowhere in the files any more, others stay, and search and applier go on."""

import sqlite3
import zlib

import orjson
import pytest

from relay.model.search import EventQuery, MessageQuery
from relay.store.database import open_writer
from relay.store.event_search import EventSearch
from relay.store.history_privacy import erase_in_archive, erase_in_history, export_archive, export_history
from relay.store.retention import days_of
from tests.unit.store.test_event_archive import event, opened
from tests.unit.store.test_search import KEY, START_MS, Shards

ANN, BOB = "ann@example.org", "bob@example.org"


@pytest.fixture
def shards(tmp_path):
    return Shards(tmp_path)


def anywhere(directory, text):
    """Say whether any file has a text, as it is or in one of its compressed blobs."""
    wanted = text.encode()
    for path in directory.rglob("*"):
        if path.is_file() and wanted in path.read_bytes().lower():
            return True
    for file in days_of(directory):
        connection = open_writer(file.path, "archive" if "block" in _tables(file.path) else "history")
        for table, column, bits in (("block", "data", -15), ("dialogue", "record", 15)):
            if table in _tables(file.path):
                for (data,) in connection.execute(f"SELECT {column} FROM {table}"):
                    if wanted in zlib.decompressobj(bits).decompress(data).lower():
                        return True
        connection.close()
    return False


def _tables(path):
    connection = sqlite3.connect(path)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    finally:
        connection.close()


def test_messages_for_an_address_alone_go_and_others_lose_it(shards):
    alone = shards.add(1, START_MS, recipients=[ANN])
    shared = shards.add(
        1, START_MS + 1, recipients=[BOB, "Ann@Example.org"], subject=f"for {ANN}", tags={"to": [ANN]}
    )
    other = shards.add(1, START_MS + 2, recipients=[BOB])
    _, history = shards.places[1]
    said = zlib.compress(orjson.dumps({"tries": [{"lines": [{"text": f"RCPT TO:<{ANN}>"}]}], "skipped": []}))
    for message, index in ((shared, 0), (alone, 0), (other, 0)):
        shards.spools[1].execute("INSERT INTO dialogue VALUES (?, 1, ?)", (message.key << 16 | index, said))
    shards.spools[1].execute("UPDATE delivery SET attempts_log = ?", (f',{{"reply":"450 {ANN} busy"}}',))
    shards.move(1, [alone.key, shared.key, other.key])
    assert anywhere(history, ANN)
    exported = list(export_history(history, "ANN@example.org"))
    assert {one["messageId"] for one in exported} == {alone.message_id, shared.message_id, other.message_id}
    assert erase_in_history(history, "ANN@example.org", KEY) == 3
    assert not anywhere(history, ANN)
    assert list(export_history(history, ANN)) == []
    assert shards.ids(MessageQuery(recipient=ANN)) == []
    assert shards.ids(MessageQuery(tags=(("to", ANN),))) == []
    assert shards.ids(MessageQuery(recipient=BOB)) == [other.message_id, shared.message_id]
    assert shards.ids(MessageQuery(tags=(("to", "erased@erased.invalid"),), recipient=BOB)) == [shared.message_id]
    assert erase_in_history(history, ANN, KEY) == 0
    left = shards.find(MessageQuery(recipient=BOB)).found
    assert [[each.recipient for each in one.deliveries] for one in left] == [[BOB], [BOB]]


def test_a_sender_is_erased_too(shards):
    shards.add(1, START_MS, recipients=[BOB])
    _, history = shards.places[1]
    shards.move(1, [1])
    assert erase_in_history(history, "app@example.com", KEY) == 1
    assert not anywhere(history, "app@example.com")
    assert len(shards.ids(MessageQuery(recipient=BOB))) == 1
    assert shards.ids(MessageQuery(sender="app@example.com")) == []


def test_events_about_an_address_alone_go_and_others_lose_it(tmp_path):
    archive = opened(tmp_path)
    archive.apply(1, [event(1, 1, recipient=ANN), event(1, 2, "Bounce", message=1, recipient="Ann@example.org")])
    archive.apply(1, [event(1, 3, recipient=BOB, filler=f"to {ANN}"), event(1, 4, recipient=BOB)])
    assert [one["eventId"] for one in export_archive(tmp_path, ANN)] == ["event-1-1", "event-1-2", "event-1-3"]
    assert erase_in_archive(tmp_path, ANN) == 3
    archive.apply(1, [event(1, 5, recipient=BOB, message=4)])  # the block that was open has another content now
    archive.close()
    assert not anywhere(tmp_path, ANN)
    search = EventSearch(tmp_path, {}, EventQuery())
    assert [one.event.event_id for one in search.page(10).found] == ["event-1-5", "event-1-4", "event-1-3"]
    of_ann = EventSearch(tmp_path, {}, EventQuery(recipient=ANN))
    assert of_ann.page(10).found == []
    of_bob = EventSearch(tmp_path, {}, EventQuery(recipient=BOB, kind="Send"))
    assert [one.event.seq for one in of_bob.page(10).found] == [5, 4, 3]
    assert b"erased@erased.invalid" in of_bob.page(10).found[-1].event.payload
    assert erase_in_archive(tmp_path, ANN) == 0
    assert opened(tmp_path).place(1) == 5
