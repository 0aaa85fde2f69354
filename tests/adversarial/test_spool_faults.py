"""Section F: the disk is full or read-only, somebody put things into the spool, a second relay starts."""

import asyncio
import shutil
import signal
import smtplib
import socket
import sqlite3
import subprocess
import threading
import time
from dataclasses import replace

import pytest
import yaml

from relay.runtime.clock import SteadyClock
from tests.adversarial.disk import root_only, small_disk
from tests.adversarial.wire import Wire, message, settled, waiting, with_mark
from tests.commands import run_command
from tests.product import Product, Receiver, eventually, free_ports
from tests.unit.store.shard import new_message, shard, written

DISK_BYTES = 48 * 1024 * 1024
FREE_MIN_BYTES = 8 * 1024 * 1024


def serve_once(product, config=None):
    """Run `relay serve` that is expected to end by itself; return (exit code, what it said)."""
    done = run_command(["serve", "-c", str(config or product.config)])
    said = done.stdout + done.stderr
    return done.returncode, said


@pytest.fixture(scope="module")
def idle():
    """A relay that is set up and not running; tests start it as they need and put back what they change."""
    with Receiver() as receiver:
        product = Product(receiver.port)
        product.receiver = receiver
        yield product
        product.stop()
        shutil.rmtree(product.directory, ignore_errors=True)


# --- disk full ---------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", DISK_BYTES) as made:
        yield made


def submit(product, numbers):
    with smtplib.SMTP("127.0.0.1", product.trusted_port, timeout=30) as client:
        for number in numbers:
            text = f"From: app@example.com\r\nX-Number: {number}\r\n\r\nx\r\n"
            client.sendmail("app@example.com", ["user@remote.example"], text)


def mail_reply(product, port):
    with Wire(port) as client:
        client.say("EHLO x")
        begin = time.monotonic()
        reply = client.say("MAIL FROM:<app@example.com>")
        return reply, time.monotonic() - begin


def fill_until_a_settlement_fails(product, receiver, disk, later):
    """Deliver on a disk without any room until a settlement finds none; return how many messages were sent.

    The log of a spool that was just begun again has room for some.
    """
    for sent in range(20, 200, 20):
        disk.empty()
        eventually(lambda: mail_reply(product, product.trusted_port)[0] == "250 Ok", 10, "room again")
        deferred = product.log_text().count('"deferred"')
        later.set()
        submit(product, range(sent, sent + 20))
        eventually(lambda: product.log_text().count('"deferred"') >= deferred + 20)  # noqa: B023
        disk.fill(0)
        later.clear()
        eventually(lambda: len(receiver.seen) > sent, 60, "a delivery without room to note it")  # noqa: B023
        failed = eventually(
            lambda: "settlement not written" in product.log_text() or (waiting(product) == 0 and "no"), 60
        )
        if failed is True:
            return sent + 20
    pytest.fail("no settlement failed")


@pytest.mark.root
@pytest.mark.slow
@root_only
def test_a_full_disk_refuses_new_mail_and_loses_none(disk):
    """F06, F07: 452 at once, deliveries go on, recovery without a restart, at most one more copy each."""
    later = threading.Event()
    later.set()

    def answer(verb, line):
        return "451 4.3.0 later" if verb == "RCPT" and later.is_set() else None

    with Receiver(answer=answer) as receiver:
        delivery = {"retry": ["1s"], "retry_jitter_percent": 0}
        product = Product(receiver.port, delivery=delivery, limits={"disk_free_min": FREE_MIN_BYTES})
        shutil.copytree(product.data_dir, disk.path / "data")
        product.values["data_dir"] = str(disk.path / "data")
        product.data_dir = disk.path / "data"
        product.save()
        with product:
            worker = product.children()["worker-0001"]
            submit(product, range(20))
            disk.fill(FREE_MIN_BYTES // 2)
            for port in (product.trusted_port, product.mx_port):
                eventually(lambda port=port: mail_reply(product, port)[0].startswith("452"), 5, "452")
                assert mail_reply(product, port)[1] < 1
            later.clear()
            eventually(lambda: len(receiver.seen) == 20, 60, "deliveries on a full disk")
            settled(product)
            assert set(receiver.seen.values()) == {1}

            sent = fill_until_a_settlement_fails(product, receiver, disk, later)
            assert mail_reply(product, product.trusted_port)[0].startswith("452")
            product.process.send_signal(signal.SIGHUP)  # what a reload writes down is not worth an end
            eventually(lambda: '"reloaded"' in product.log_text(), what="a reload on a full disk")
            disk.empty()
            eventually(lambda: len(receiver.seen) == sent, 90, "all messages")
            settled(product, 40)
            assert all(1 <= copies <= 2 for copies in receiver.seen.values())
            assert waiting(product) == 0
            assert product.children()["worker-0001"] == worker
            submit(product, [5000])
            eventually(lambda: receiver.seen["5000"] == 1)
            assert product.is_ready()
            product.stop()
            disk.fill(0)
            code, said = serve_once(product)
            last = said.splitlines()[-1]
            assert (code, "No space left on device" in last, "free space" in last) == (75, True, True), said
            assert str(product.data_dir) in last
            disk.empty()


@pytest.mark.root
@root_only
def test_a_read_only_data_directory_stops_the_start(idle):
    """F21: one sentence and an exit code, also for root."""
    place = str(idle.data_dir)
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        code, said = serve_once(idle)
    finally:
        subprocess.run(["umount", "-l", place], check=True)
    assert code in {73, 74, 75, 77, 78}
    assert "cannot be" in said
    assert place in said


# --- what does not start -------------------------------------------------------------------------------------------


def test_missing_and_wrong_certificates_stop_the_start(idle):
    key = idle.directory / "tls" / "key.pem"
    for path, damage in ((idle.certificate, None), (key, b"-----BEGIN PRIVATE KEY-----\nnonsense\n")):
        kept = path.read_bytes()
        try:
            path.unlink()
            if damage:
                path.write_bytes(damage)
                path.chmod(0o600)
            code, said = serve_once(idle)
            assert code == 78
            assert path.name in said
        finally:
            path.write_bytes(kept)
            path.chmod(0o600)


def test_a_key_that_others_can_read_is_told(idle):
    """L11: a warning or a refusal, never silence."""
    key = idle.directory / "tls" / "key.pem"
    key.chmod(0o644)
    try:
        done = idle.run("check", check=False)
        assert "key.pem" in done.stdout + done.stderr
    finally:
        key.chmod(0o600)


def test_a_port_that_is_taken_stops_the_start(idle):
    with socket.socket() as other:
        other.bind(("127.0.0.1", idle.port))
        other.listen()
        code, said = serve_once(idle)
    assert code != 0
    assert str(idle.port) in said
    assert "use" in said


@pytest.mark.parametrize("name", ["catalog.db", "spool/0001/spool.db", "suppression.db"])
def test_state_of_a_newer_version_is_refused_untouched(idle, name):
    """F17: one sentence, an exit code, and not a byte of it changed."""
    if not (idle.data_dir / name).exists():
        idle.start()
        idle.stop()
    path = idle.data_dir / name
    kept = path.read_bytes()
    try:
        database = sqlite3.connect(path)
        version, application = (
            database.execute(f"PRAGMA {n}").fetchone()[0] for n in ("user_version", "application_id")
        )
        database.execute("PRAGMA user_version = 9999")
        if application:  # a shard says its format twice, so that damage is not taken for a newer release
            database.execute(f"PRAGMA application_id = {application - version + 9999}")
        database.close()
        newer = path.read_bytes()
        code, said = serve_once(idle)
        assert code == 78
        assert "written by a newer release" in said
        assert path.read_bytes() == newer
    finally:
        for extra in ("-wal", "-shm"):
            path.with_name(path.name + extra).unlink(missing_ok=True)
        path.write_bytes(kept)


# --- things that do not belong there -------------------------------------------------------------------------------


def test_strange_things_in_the_spool_do_no_harm(idle, tmp_path):
    """F15: odd names and links are left alone or dropped as links; nothing outside is read, written or removed."""
    idle.start()
    idle.stop()
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = outside / "secret"
    secret.write_text("mine")
    shard = idle.data_dir / "spool" / "0001"
    made = []
    for directory in (shard / "bodies", shard / "incoming", shard / "quarantine"):
        directory.mkdir(exist_ok=True)
        (directory / "link").symlink_to(secret)
        (directory / "dirlink").symlink_to(outside)
        (directory / "line\nbreak \x1b[31m").write_text("x")
        (directory / "a directory").mkdir()
        made.append(directory)
    for name in ("not a shard", "99999", "-1", "0001x", "..strange"):
        (idle.data_dir / "spool" / name).mkdir()
        made.append(idle.data_dir / "spool" / name)
    (idle.data_dir / "spool" / "0002").symlink_to(outside)
    (idle.data_dir / "history" / "strange").parent.mkdir(exist_ok=True)
    (idle.data_dir / "history" / "strange").symlink_to(outside)
    log_before = len(idle.log_text())
    try:
        idle.start()
        idle.send(body="strange\r\n")
        eventually(lambda: [m for m in idle.receiver.messages if b"strange" in m[2]])
        settled(idle)
    finally:
        idle.stop()
        (idle.data_dir / "spool" / "0002").unlink(missing_ok=True)
        for place in made:
            if place.parent.name == "spool":
                shutil.rmtree(place, ignore_errors=True)
    assert secret.read_text() == "mine"
    assert [path.name for path in outside.iterdir()] == ["secret"]
    import json

    for line in idle.log_text()[log_before:].splitlines():
        json.loads(line)


def test_a_second_relay_on_the_same_data_is_refused(idle):
    """F12: also when its ports are free; the first one goes on."""
    other = idle.directory / "other.yaml"
    values = dict(idle.values)
    ports = free_ports(len(values["listeners"]))
    values["listeners"] = [entry | {"port": port} for entry, port in zip(values["listeners"], ports, strict=True)]
    other.write_text(yaml.safe_dump(values))
    idle.start()
    try:
        before = idle.children()
        code, said = serve_once(idle, other)
        assert code == 75
        assert "already running" in said
        assert str(idle.process.pid) in said
        assert idle.children() == before
        with Wire(idle.trusted_port) as client:
            client.say("EHLO x")
            assert client.transaction(message("first-goes-on"))[:3] == "250"
        eventually(lambda: with_mark(idle.receiver.messages, "first-goes-on"))
    finally:
        idle.stop()


def test_configuration_faults_stop_the_start_with_their_line(idle):
    """P05: unknown key, wrong type, missing value: all told at once, as file:line."""
    kept = idle.config.read_text()
    try:
        idle.config.write_text(kept + "limitz: {}\nworkers: many\n")
        code, said = serve_once(idle)
    finally:
        idle.config.write_text(kept)
    assert code == 78
    assert "limitz" in said
    assert "workers" in said
    assert f"{idle.config}:" in said


# --- an old copy of the queue ------------------------------------------------------------------------------------


async def put_back(data_dir, ages):
    """Write one message for each {domain: hours since it was accepted}; a lifetime is 14 hours."""
    async with shard(data_dir, clock=SteadyClock()) as spool:
        now_ms = time.time_ns() // 1_000_000
        news = [
            replace(new_message(spool, now_ms=now_ms - hours * 3_600_000, domain=domain, mail_json=b""), events=())
            for domain, hours in ages.items()
        ]
        assert await asyncio.gather(*(written(spool.append, new) for new in news)) == [None] * len(news)
        return {new.deliveries[0].domain: new.message.message_id for new in news}


def test_an_old_queue_is_held_and_sent_only_when_released():
    """F24, F13: over a day too late is held, in words; one that is less late gets its last attempt."""
    with Receiver() as receiver:
        product = Product(receiver.port)
        ages = {"young.example": 1, "late.example": 15, "old.example": 40, "older.example": 900}
        ids = asyncio.run(put_back(product.data_dir, ages))
        with product:
            assert {to for _, (to,), _ in receiver.wait(2)} == {"r0@young.example", "r0@late.example"}
            held = product.rows("queue", "list", "--state", "held")
            assert sorted(row["messageId"] for row in held) == sorted([ids["old.example"], ids["older.example"]])
            assert product.log_text().count("deliveries held: they should have been given up") == 1
            eventually(lambda: "relay_held_late_total 2.0" in product.metrics(), 15, "the metric")
            assert "2 held at a start" in product.run("doctor", check=False).stdout

            product.stop()
            product.run("queue", "release", ids["old.example"])  # on a stopped relay: the next start must not undo it
            product.start()
            assert receiver.wait(3)[2][1] == ["r0@old.example"]
            product.stop()
            product.start()
            assert [row["messageId"] for row in product.rows("queue", "list")] == [ids["older.example"]]
            product.run("queue", "delete", "--state", "held", "--yes")
            assert "held at a start" not in product.run("doctor", check=False).stdout
        assert len(receiver.messages) == 3
