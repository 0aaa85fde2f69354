"""An address is erased from everything that a relay keeps, while it runs and while it is stopped; others stay."""

import base64
import contextlib
import gzip
import json
import os
import signal
import smtplib
import sqlite3
import subprocess
import threading
import zlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.store.event_blocks import decoded
from tests.product import RELAY, Product, Receiver, eventually

pytestmark = pytest.mark.timeout(180)

KEY = bytes(range(32))
ANN, BOB = "ann.personal@remote.example", "bob@remote.example"


def refuse(verb, line):
    """Refuse Ann for ever, naming her."""
    return f"550 5.1.1 <{ANN}> is unknown here" if verb == "RCPT" and ANN in line.lower() else None


@pytest.fixture
def relay(tmp_path):
    (tmp_path / "key").write_text(base64.b64encode(KEY).decode() + "\n")
    (tmp_path / "key").chmod(0o600)
    settings = {
        "streams": [
            {"name": "lines", "batch_age": "200ms"},
            {"name": "packed", "gzip": True, "batch_age": "200ms"},
            {"name": "slow", "batch_age": "1h"},
            {"name": "sealed", "gzip": True, "batch_age": "200ms", "encryption_key_file": str(tmp_path / "key")},
        ],
        "delivery": {"trace": "all"},
        "topics": {"private_networks": ["127.0.0.0/8"]},
    }
    with Receiver(answer=refuse) as receiver, Product(receiver.port, suppression=True, **settings) as product:
        yield product


def places_with(directory, address):
    """Return every file with an address in its octets, or in what is compressed in it."""
    wanted = address.lower().encode()
    found = []
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # an index of a log, gone since
            continue
        texts = [data, *(_unpacked(path, data))]
        found += [str(path.relative_to(directory))] if any(wanted in text.lower() for text in texts) else []
    return found


def _unpacked(path, data):
    if path.suffix == ".enc":
        yield gzip.decompress(AESGCM(KEY).decrypt(data[8:20], data[20:], data[:8]))
    if path.suffix == ".gz":
        yield gzip.decompress(data)
    if path.suffix != ".db":
        return
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "dialogue" in tables:
            yield from (zlib.decompress(record) for (record,) in connection.execute("SELECT record FROM dialogue"))
        if "block" in tables:
            for (block,) in connection.execute("SELECT data FROM block"):
                events = [one.event.event for one in decoded(block) if one is not None]
                yield from (part for event in events for part in (event.payload, event.notes))


def fill(relay):
    """Let the address come into every place that a product can bring it to; return the message shared with Bob."""
    relay.run("configuration-set", "create", "told")
    for stream in ("lines", "packed", "slow", "sealed"):
        relay.run("event-destination", "create", "told", stream, "--types", "all", "--stream", stream)
    arn = relay.json("topic", "create", "told")["topicArn"]
    relay.run("topic", "subscribe", arn, "email", ANN)
    relay.run(
        "event-destination", "create", "told", "counted", "--types", "all", "--dimension", "EMAIL_HEADER:X-Who=-"
    )
    header = "X-SES-CONFIGURATION-SET: told\r\n"
    relay.send(ANN, headers=f"{header}X-Who: {ANN}\r\nX-SES-MESSAGE-TAGS: who={ANN}\r\n")
    shared = relay.send([ANN, BOB], headers=header)
    relay.send(BOB, headers=f"{header}Cc: Ann <{ANN}>\r\n")
    eventually(lambda: len(relay.events("Bounce")) >= 1 and len(relay.events("Delivery")) >= 2)
    relay.run("suppression", "add", ANN)
    relay.run("suppression", "add", BOB)
    rows = f"{ANN},BOUNCE\n{ANN},NONSENSE\n"
    relay.run("suppression", "import", "-", input_text=rows, check=False)  # one row is refused, and kept
    queue = relay.data_dir / "queues" / relay.account / "kept.jsonl"
    queue.parent.mkdir(parents=True, exist_ok=True)
    queue.write_text(json.dumps({"Message": f"about {ANN}"}) + "\n" + json.dumps({"Message": f"about {BOB}"}) + "\n")
    for pattern in (
        "streams/lines/**/*.jsonl",
        "streams/packed/**/*.gz",
        "streams/sealed/**/*.enc",
        "events/archive/*.db",
        "history/0001/*.db",
    ):
        eventually(lambda pattern=pattern: any(relay.data_dir.glob(pattern)), what=pattern)
    return shared


def settled(relay):
    """Wait until all is in history and has reached the files of effects."""
    eventually(lambda: relay.rows("queue", "list", "--state", "queued") == [])


def erased(relay):
    """Erase an address, again while something is under way, and assert that it is nowhere."""
    done = eventually(
        lambda: (
            (done := relay.run("privacy", "erase", ANN, "--yes", "--json", check=False)).returncode == 0
            and json.loads(done.stdout)
        )
    )
    assert done["left"] == []
    assert places_with(relay.data_dir, ANN) == []


@pytest.mark.req("PRIV-004", "PRIV-005", "PRIV-006", "PRIV-007")
def test_an_address_is_erased_everywhere_while_the_relay_runs(relay):
    shared = fill(relay)
    settled(relay)
    before = places_with(relay.data_dir, ANN)
    assert {"catalog.db", "suppression.db", "audit.jsonl", "events.jsonl"} <= {
        one.removesuffix("-wal") for one in before
    }
    exported = relay.rows("privacy", "export", ANN)
    assert {"events/archive", "history/0001", "event files", "stream files", "audit log", "local queues"} <= {
        one["place"] for one in exported
    }
    done = json.loads(relay.run("privacy", "erase", ANN, "--yes", "--json", check=False).stdout)
    if done["left"]:  # mail about the address was on its way
        settled(relay)
        done = relay.json("privacy", "erase", ANN, "--yes")
    assert done["left"] == []
    assert places_with(relay.data_dir, ANN) == []
    assert relay.rows("privacy", "export", ANN) == []
    assert relay.json("suppression", "list", "--limit", "10")["emailAddress"] == BOB
    trace = relay.json("trace", shared)
    assert [each["recipient"] for each in trace["deliveries"]] == [BOB]
    assert any(BOB in line for line in (relay.data_dir / "events.jsonl").read_text().splitlines())
    relay.send(BOB)  # and the relay goes on
    (record,) = [json.loads(line) for line in (relay.data_dir / "audit.jsonl").read_text().splitlines()[-1:]]
    assert record["operation"] == "privacy.erase"
    assert ANN not in json.dumps(record)


@pytest.mark.req("PRIV-004", "PRIV-007")
def test_a_stopped_relay_forgets_an_address_too_and_configuration_when_told(relay):
    fill(relay)
    settled(relay)
    relay.run("identity", "create", ANN)
    relay.run("account", "contact", relay.account, ANN)
    relay.stop()
    told = relay.run("privacy", "erase", ANN, "--yes", "--json", check=False)
    assert told.returncode == 75
    left = json.loads(told.stdout)["left"]
    assert {one["place"] for one in left} >= {"catalog.db identity", "catalog.db account"}
    assert all("relay" in one["advice"] for one in left if one["place"].startswith("catalog.db"))
    again = relay.run(
        "privacy", "erase", ANN, "--yes", "--queued", "delete", "--configuration", "--json", check=False
    )
    assert json.loads(again.stdout)["left"] == [], again.stdout
    assert places_with(relay.data_dir, ANN) == []
    relay.start()
    relay.send(BOB)


@pytest.mark.req("PRIV-007")
def test_mail_that_waits_for_the_address_is_never_lost_silently(relay):
    relay.run("queue", "holds", "add", "--domain", "remote.example", check=False)
    relay.stop()
    relay.values["routes"] = [{"domain": "*", "smarthost": "127.0.0.1:1"}]
    relay.save()
    relay.start()
    relay.send(ANN)
    refused = relay.run("privacy", "erase", ANN, "--yes", check=False)
    assert refused.returncode == 75
    assert "--queued delete" in refused.stderr
    assert len(relay.rows("queue", "list", "--recipient", ANN)) == 1

    def erased():
        done = relay.run("privacy", "erase", ANN, "--yes", "--queued", "delete", "--json", check=False)
        return done.returncode == 0 and json.loads(done.stdout)

    done = eventually(erased, what="an attempt's end")
    assert done["total"] > 0
    assert relay.rows("queue", "list", "--recipient", ANN) == []
    assert places_with(relay.data_dir, ANN) == []


@pytest.mark.req("PRIV-007")
def test_a_killed_erasure_is_finished_by_the_next(relay):
    fill(relay)
    settled(relay)
    for seconds in (0.4, 0.8, 1.2, 1.6):
        command = [*RELAY, "privacy", "erase", ANN, "--yes", "-c", str(relay.config)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
    erased(relay)
    assert relay.send(BOB)


@pytest.mark.req("PRIV-001")
def test_files_of_a_stream_are_encrypted_before_they_are_written(relay, tmp_path):
    fill(relay)
    settled(relay)
    files = eventually(lambda: list((relay.data_dir / "streams" / "sealed").rglob("*.jsonl.gz.enc")))
    assert all(file.read_bytes().startswith(b"RELAYGCM") for file in files)
    assert places_with(relay.data_dir / "streams" / "sealed", ANN)  # for who has the key
    done = relay.run("events", "decrypt", *map(str, files), "--key-file", str(tmp_path / "key"), config="none")
    assert {json.loads(line)["eventType"] for line in done.stdout.splitlines()} >= {"Send"}
    (tmp_path / "other").write_text(base64.b64encode(bytes(32)).decode())
    arguments = ("events", "decrypt", str(files[0]), "--key-file", str(tmp_path / "other"))
    wrong = relay.run(*arguments, config="none", check=False)
    assert wrong.returncode == 65
    assert "another key" in wrong.stderr
    assert not wrong.stdout
    relay.json("privacy", "delete-files", "--stream", "sealed", "--recipient", ANN, "--yes")
    assert places_with(relay.data_dir / "streams" / "sealed", ANN) == []
    relay.values["streams"][-1]["encryption_key_file"] = str(tmp_path / "absent")
    relay.save()
    assert relay.run("check", check=False).returncode != 0


@pytest.mark.req("PRIV-006")
def test_stored_files_of_a_stream_go_by_age_or_lose_an_address(relay):
    fill(relay)
    settled(relay)
    streams = relay.data_dir / "streams"
    assert places_with(streams / "packed", ANN)
    done = relay.json("privacy", "delete-files", "--stream", "packed", "--recipient", ANN, "--yes")
    assert done["count"] >= 1
    assert places_with(streams / "packed", ANN) == []
    files = list((streams / "packed").rglob("*.gz"))
    assert files
    assert relay.json("privacy", "delete-files", "--stream", "packed", "--older-than", "1h", "--yes") == {"count": 0}
    relay.run("event-destination", "delete", "told", "packed")
    for path in files:
        os.utime(path, (1, 1))
    done = relay.json("privacy", "delete-files", "--stream", "packed", "--older-than", "1h", "--yes")
    assert done["count"] == len(files)
    sent = relay.send(BOB, headers="X-SES-CONFIGURATION-SET: told\r\n")
    eventually(lambda: any(sent in path.read_text() for path in (streams / "lines").rglob("*.jsonl")))
    assert list((streams / "packed").rglob("*.gz")) == []


OTHER = "000000000002"


@pytest.mark.req("PRIV-008")
def test_a_closed_account_is_kept_for_ninety_days_and_then_deleted(relay):
    relay.run("account", "create", OTHER, "--production", "--contact", "owner@other.example")
    relay.run("identity", "create", "other.example", "--account", OTHER)
    relay.run("identity", "verify", "other.example", "--force", "--account", OTHER)
    login = relay.json("credentials", "create", "--account", OTHER)["smtp"]
    relay.run("suppression", "add", "trap@remote.example", "--account", OTHER)
    user, password = relay.user, relay.password
    relay.user, relay.password = login["username"], login["password"]
    relay.domain = "other.example"
    relay.send(BOB)
    eventually(lambda: relay.events("Delivery"))
    relay.run("account", "close", OTHER, "--yes")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        relay.send(BOB)
    relay.run("account", "resume", OTHER)
    relay.send(BOB)
    relay.run("account", "close", OTHER, "--yes")
    eventually(
        lambda: len(relay.events("Delivery")) >= 2 and len(relay.rows("messages", "search", "--account", OTHER)) == 2
    )
    assert relay.json("account", "show", OTHER)["contact"] == "owner@other.example"  # all is kept

    def closed(days):
        relay.stop()
        with contextlib.closing(sqlite3.connect(relay.data_dir / "catalog.db")) as catalog, catalog:
            catalog.execute("UPDATE account SET closed_ms = closed_ms - ? WHERE id = ?", (days * 86_400_000, OTHER))
        relay.start()

    closed(89)
    assert len(relay.rows("messages", "search", "--account", OTHER)) == 2
    closed(2)
    eventually(lambda: relay.run("account", "show", OTHER, check=False).returncode != 0, 60, "the deletion")
    assert relay.rows("messages", "search", "--account", OTHER) == []
    assert relay.rows("events", "search", "--account", OTHER) == []
    relay.stop()
    files = [
        one for one in places_with(relay.data_dir, "other.example") if one not in {"events.jsonl", "audit.jsonl"}
    ]
    assert files == []
    assert [one for one in places_with(relay.data_dir, "trap@remote.example") if one != "audit.jsonl"] == []
    relay.start()
    relay.user, relay.password, relay.domain = user, password, "example.com"
    relay.send(BOB)


@pytest.mark.req("PRIV-009")
def test_records_end_by_the_time_set_for_their_kind(relay):
    relay.stop()
    audit = relay.data_dir / "audit.jsonl"
    known = audit.read_text()
    old = json.dumps({"time": "2020-01-01T00:00:00.000Z", "operation": "old", "account": ""})
    audit.with_name("audit.jsonl.1").write_text(old + "\n")
    audit.write_text(old + "\n" + known)
    days = [relay.data_dir / "history" / "0001" / "2020-01-01.db", relay.data_dir / "events/archive/2020-01-01.db"]
    for path in days:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    kept = {"retention": "31d", "events_retention": "5d"}
    relay.values |= {"audit": {"retention": "30d"}, "history": kept, "statistics": {"hourly": "20d", "daily": "40d"}}
    relay.save()
    relay.start()
    relay.send(BOB)
    eventually(lambda: audit.read_text().startswith(known), 60)  # without the old line before it
    assert not audit.with_name("audit.jsonl.1").exists()
    eventually(lambda: not any(path.exists() for path in days), 90, "the end of old days")


@pytest.mark.req("PRIV-007")
def test_mail_to_others_on_its_way_is_left_whole_and_named():
    def later(verb, line):
        return "450 4.2.1 come back later" if verb == "RCPT" and BOB in line else None

    with Receiver(answer=later) as receiver, Product(receiver.port, delivery={"retry": ["1h"]}) as relay:
        relay.send([ANN, BOB], body=f"Ask {ANN}.\r\n")
        eventually(lambda: len(relay.rows("queue", "list")) == 1 and relay.events("Delivery"))
        done = relay.run("privacy", "erase", ANN, "--yes", "--json", check=False)
        assert done.returncode == 75
        left = json.loads(done.stdout)["left"]
        assert {one["place"].partition(" ")[0] for one in left} == {"spool/0001/spool.db"}
        assert all("delivered" in one["advice"] for one in left)
        receiver.answer = lambda verb, line: None
        relay.run("queue", "retry", "--all")
        receiver.wait(2)
        assert b"Ask " + ANN.encode() in receiver.messages[-1][2]  # what was signed is what arrived
        erased(relay)


@pytest.mark.req("PRIV-007", "SEC-003")
def test_no_mail_is_lost_while_an_address_is_erased(relay):
    fill(relay)
    sent = []

    def submit():
        client = relay.client()
        for _ in range(150):
            sent.append(relay.send("carol@remote.example", client=client))
        client.quit()

    sending = threading.Thread(target=submit)
    sending.start()
    for _ in range(3):
        relay.run("privacy", "erase", ANN, "--yes", check=False)
    sending.join()
    assert len(set(sent)) == 150

    def told(kind):
        return sorted(
            event["mail"]["messageId"] for event in relay.events(kind) if event["mail"]["messageId"] in sent
        )

    eventually(lambda: len(set(told("Delivery"))) == 150, 60)
    assert told("Send") == sorted(sent)  # each once: nothing was published twice, nothing is missing
    assert places_with(relay.data_dir, ANN) == []
