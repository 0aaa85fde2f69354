"""Files that follow from events are damaged, or their disk is full: mail goes on, and nobody is left in doubt.

What a damaged file held is lost with it, but for a copy named `*.damaged`; what is still in the logs is applied anew.
"""

import contextlib
import re
import shutil
import smtplib
import sqlite3

import pytest

from tests.adversarial.disk import root_only, small_disk
from tests.crash.ledger import checked
from tests.product import Product, Receiver, eventually

FILES = ["events/statistics.db", "events/queue.db", "events/metrics.db", "office/outbox.db", "archive"]


def refuse(verb, line):
    return "550 5.1.1 no such user" if verb == "RCPT" and "gone" in line else None


@pytest.fixture(scope="module")
def idle():
    """A relay that has written every file, stopped."""
    with Receiver(answer=refuse) as receiver:
        product = Product(receiver.port, suppression=True)
        product.receiver = receiver
        product.start()
        product.send("gone@remote.example")
        product.send()
        product.wait_event("Bounce")
        product.wait_event("Delivery")
        product.stop()
        yield product
        product.stop()
        shutil.rmtree(product.directory, ignore_errors=True)


def noise(data):
    return b"noise" * (len(data) // 5 + 1)


def torn(data):
    """Leave the first page."""
    return data[:8192] + b"\xff" * (len(data) - 8192)


@pytest.fixture
def damaged(idle, request):
    """Damage a file of the stopped relay, and put it back; return its path."""
    name, damage = request.param
    path = next((idle.data_dir / "events" / "archive").glob("*.db")) if name == "archive" else idle.data_dir / name
    _joined(path)
    kept = path.read_bytes()
    assert damage(kept) != kept
    path.write_bytes(damage(kept))
    _without_companions(path)
    yield path
    idle.stop()
    path.write_bytes(kept)
    _without_companions(path)


def _joined(path):
    """Take what is still in the log of a file into it: a process that only reads and closes last leaves it there."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _without_companions(path):
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).unlink(missing_ok=True)


def told(product, since, path):
    return [
        line for line in product.log_text()[since:].splitlines() if str(path) in line and '"level":"error"' in line
    ]


@pytest.mark.parametrize(
    "damaged", [(name, damage) for name in FILES for damage in (noise, torn)], indirect=True, ids=lambda one: one[0]
)
def test_a_damaged_file_is_told_set_aside_and_made_anew(idle, damaged):
    since, sent = len(idle.log_text()), len(idle.receiver.messages)
    idle.start()
    message_id = idle.send()
    eventually(lambda: len(idle.receiver.messages) == sent + 1, 30, "mail")
    eventually(lambda: told(idle, since, damaged), 30, "a line in the log")
    eventually(lambda: damaged.exists() and damaged.with_name(damaged.name + ".damaged").exists(), 30, "a new file")
    eventually(lambda: any(e["mail"]["messageId"] == message_id for e in idle.events("Delivery")), 30, "its event")
    backlog = [f'relay_events_backlog{{destination="{name}"}}' for name in ("all",)]
    eventually(lambda: all(idle.metric(name) == 0 for name in backlog), 30)
    eventually(lambda: message_id in idle.run("events", "search", "--message", message_id, check=False).stdout, 30)
    damaged.with_name(damaged.name + ".damaged").unlink()


@pytest.fixture(scope="module")
def running():
    with Receiver() as receiver:
        streams = [{"name": "lines", "batch_age": "100ms"}]
        product = Product(receiver.port, streams=streams)
        product.run("configuration-set", "create", "all")
        product.run("event-destination", "create", "all", "lines", "--types", "all", "--stream", "lines")
        with product:
            yield product


@pytest.mark.parametrize("name", FILES)
def test_damage_that_shows_while_it_runs_is_met_without_a_restart(running, name):
    _done(running)
    path = (
        next((running.data_dir / "events" / "archive").glob("*.db")) if name == "archive" else running.data_dir / name
    )
    since, process = len(running.log_text()), running.children()["relay-events"]
    _joined(path)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    message_ids = [_done(running), _done(running)]
    assert len(told(running, since, path)) == 1
    assert path.with_name(path.name + ".damaged").exists()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    eventually(lambda: all(_streamed(running, one) for one in message_ids), 30, "the stream")
    assert running.children()["relay-events"] == process
    path.with_name(path.name + ".damaged").unlink()


def _done(product):
    """Send a message; return its id when everybody has all of its events."""
    message_id = product.send(headers="X-SES-CONFIGURATION-SET: all\r\n")
    eventually(lambda: _published(product, message_id) == {"Send", "Delivery"}, 30, "its events")
    found = ("events", "search", "--message", message_id)
    eventually(lambda: "Delivery" in product.run(*found, check=False).stdout, 30, "the archive")
    eventually(lambda: _streamed(product, message_id), 30, "the stream")
    for name in ("statistics", "metrics"):
        _counted(product, name)
    return message_id


def _published(product, message_id):
    return {event["eventType"] for event in product.events() if event["mail"]["messageId"] == message_id}


def _streamed(product, message_id):
    files = (product.data_dir / "streams").rglob("*.jsonl*")
    return any(message_id in line for file in files for line in file.read_text().splitlines())


def _counted(product, applier):
    """Wait until a file of counts has the places of all that is in the log."""

    def places():
        shard = product.data_dir / "spool" / "0001" / "spool.db"
        with contextlib.closing(sqlite3.connect(shard)) as log:
            last = log.execute("SELECT max(seq) FROM event").fetchone()[0]
        with contextlib.closing(sqlite3.connect(product.data_dir / "events" / f"{applier}.db")) as file:
            try:
                return last is None or file.execute("SELECT max(seq) FROM place").fetchone() == (last,)
            except sqlite3.Error:
                return False

    eventually(places, 30, f"{applier} with all events")


@pytest.mark.parametrize("damaged", [("suppression.db", noise)], indirect=True, ids=["noise"])
def test_damaged_suppression_lists_stop_the_start(idle, damaged):
    """Without them mail would go to everybody who complained: one sentence that says what to do."""
    done = idle.run("serve", check=False)
    assert done.returncode != 0
    assert f"{damaged} is damaged" in done.stdout + done.stderr
    assert "restore it from your backup" in done.stdout + done.stderr


@pytest.mark.parametrize("damaged", [("suppression.db", torn)], indirect=True, ids=["torn"])
def test_damage_in_the_suppression_lists_that_shows_later_refuses_for_now(idle, damaged):
    """Nobody is told a final word, nobody who is on the list gets mail, and the log says which file it is."""
    since, sent = len(idle.log_text()), len(idle.receiver.messages)
    idle.start()
    with smtplib.SMTP("127.0.0.1", idle.trusted_port, timeout=30) as client:
        client.ehlo()
        codes = [client.mail("app@example.com")[0], client.rcpt("gone@remote.example")[0]]
        codes.append(client.data("From: app@example.com\r\n\r\nx\r\n")[0])
    assert any(400 <= code < 500 for code in codes), codes
    eventually(lambda: str(damaged) in idle.log_text()[since:], 30, "a line in the log")
    assert len(idle.receiver.messages) == sent


@pytest.mark.root
@root_only
def test_a_full_disk_below_the_effects_holds_up_no_mail_and_loses_none():
    """What follows from events waits in the shards' logs, and goes on by itself when there is room; each once."""
    with Receiver(answer=refuse) as receiver:
        streams = [{"name": "lines", "batch_age": "100ms"}]
        product = Product(receiver.port, suppression=True, streams=streams)
        product.run("configuration-set", "create", "all")
        product.run("event-destination", "create", "all", "lines", "--types", "all", "--stream", "lines")
        with small_disk(product.data_dir / "events", 4 << 20) as disk, product:
            events = product.children()["relay-events"]
            gone = [f"gone{number}@remote.example" for number in range(30)]
            _send(product, gone[:10])
            product.wait_event("Bounce", 10)
            disk.fill(0)
            _send(product, gone[10:20] + ["user@remote.example"] * 40)
            eventually(lambda: _taken(receiver) == 40, 30, "mail beside a full disk")
            product.wait_event("Bounce", 20)
            waiting = {"statistics", "metrics", "queue", "archive"}
            eventually(lambda: all(_waits(product, name) for name in waiting), 30, "a word about all that waits")
            disk.empty()
            _send(product, gone[20:])
            product.wait_event("Bounce", 30)
            eventually(lambda: _applied(product) >= dict.fromkeys(waiting, 140).items(), 60, "all effects")
            assert product.children()["relay-events"] == events
            product.stop()
            counts = checked(product, dict.fromkeys(gone, 1), streams=["lines"])
            assert counts == {"Send": 70, "Bounce": 30, "Delivery": 40}


def _send(product, recipients):
    with product.client() as client:
        for recipient in recipients:
            product.send(recipient, headers="X-SES-CONFIGURATION-SET: all\r\n", client=client)


def _taken(receiver):
    """Return how many messages there are beside the reports of bounces."""
    return sum(recipients == ["user@remote.example"] for _, recipients, _ in receiver.messages)


def _waits(product, applier):
    return any('"effects wait"' in line and f'"{applier}"' in line for line in product.log_text().splitlines())


def _applied(product):
    """Return how many events each applier has taken, as pairs."""
    found = re.findall(r'^relay_events_applied_total\{applier="(\w+)"\} (\S+)$', product.metrics(), re.MULTILINE)
    return {(name, int(float(count))) for name, count in found}
