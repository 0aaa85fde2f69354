"""Killed at named points, with failing syncs, watched by strace: what was answered for is there (F08, F11, F23)."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relay.model.content import BodyFile
from relay.model.delivery import DeliveryState
from relay.store.reader import ShardEvents
from tests.commands import run_command
from tests.unit.store.shard import NOW_MS, shard, until

ROOT = Path(__file__).parents[3]


def child(*arguments, before=()):
    if not before:
        return run_command(map(str, arguments), module="tests.unit.store.spool_child")
    command = [*before, sys.executable, "-m", "tests.unit.store.spool_child", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False, text=True)


def keys(output, word):
    return {int(key) for key in re.findall(rf"^{word} (\d+)$", output, re.MULTILINE)}


@pytest.mark.req("FLOW-005")
@pytest.mark.parametrize(
    ("point", "count", "size"),
    [
        ("before commit", 1, "small"),
        ("before commit", 6, "small"),
        ("after commit", 1, "small"),
        ("after commit", 7, "small"),
        ("history copied", 1, "small"),
        ("body synced", 3, "large"),
        ("before commit", 4, "large"),
        ("after commit", 5, "large"),
    ],
)
def test_killed_at_a_point_loses_nothing_that_was_answered_for(tmp_path, point, count, size):
    ended = child(tmp_path, point, count, size)
    assert ended.returncode == -9, ended.stderr
    accepted, settled = keys(ended.stdout, "accepted"), keys(ended.stdout, "settled")

    async def look():
        async with shard(tmp_path) as spool:
            await until(lambda: set(spool.counts()) <= {DeliveryState.QUEUED})
            due = {delivery.message.key: delivery for delivery in spool.due(NOW_MS, 100_000)}
            assert len(accepted - settled - set(due)) <= 4  # settled, and killed before that was printed
            assert not settled & set(due)
            for key in due:
                body = spool.content(key).body
                assert body == b"x" * 5000 or (spool.paths.bodies / body.path).read_bytes() == b"y" * 300_000
            files = {path.name for path in spool.paths.bodies.iterdir()}
            assert files == {f"{key:012x}" for key in due if isinstance(spool.content(key).body, BodyFile)}
            assert list(spool.paths.incoming.iterdir()) == []
            logged = [event for _, event in ShardEvents(1, spool.paths.database).read(0, 100_000)]
            sent = {event.message_id for event in logged if event.kind == "Send"}
            delivered = {event.message_id for event in logged if event.kind == "Delivery"}
            assert {delivery.message.message_id for delivery in due.values()} <= sent
            assert len(delivered) >= len(settled)
            assert accepted <= {spool.trace(message_id).message.key for message_id in sent}

    asyncio.run(look())


def traceable():
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.req("FLOW-005")
@pytest.mark.skipif(not traceable(), reason="needs strace and the right to use it")
def test_every_answer_follows_a_sync_of_the_log(tmp_path):
    trace = tmp_path / "trace"
    watch = ["strace", "-f", "-y", "-e", "trace=fdatasync,fsync,write,pwrite64", "-o", str(trace)]
    ended = child(tmp_path / "data", "before commit", 12, "alone", before=watch)
    assert keys(ended.stdout, "accepted")
    unsynced, answers = False, 0
    for line in trace.read_text().splitlines():
        if "pwrite64(" in line and "spool.db-wal" in line:
            unsynced = True
        elif "sync(" in line and "spool.db-wal" in line:
            unsynced = False
        elif "write(1<" in line and "accepted" in line:
            answers += 1
            assert not unsynced, "answered while the log was not synced"
    assert answers >= 4


@pytest.mark.skipif(not traceable(), reason="needs strace and the right to use it")
def test_a_body_file_and_its_directory_are_synced_before_the_row(tmp_path):
    trace = tmp_path / "trace"
    watch = ["strace", "-f", "-y", "-e", "trace=fdatasync,fsync,write,rename", "-o", str(trace)]
    ended = child(tmp_path / "data", "after commit", 9, "large", before=watch)  # in the second round of four
    first = min(keys(ended.stdout, "accepted"))
    lines = trace.read_text().splitlines()
    accepted = next(n for n, line in enumerate(lines) if "write(1<" in line and "accepted" in line)
    renamed = next(n for n, line in enumerate(lines) if "rename(" in line and f"bodies/{first:012x}" in line)
    synced = [n for n, line in enumerate(lines) if "fsync(" in line and "/incoming/" in line]
    assert synced
    assert synced[0] < renamed
    in_bodies = [n for n, line in enumerate(lines) if re.search(r"fsync\(\d+<[^>]*/bodies>", line)]
    assert [n for n in in_bodies if renamed < n and ended_at(lines, n) < accepted]


def ended_at(lines, begun):
    """Return the line where a call returned, which is a later one when another thread's call came in between."""
    if "<unfinished" not in lines[begun]:
        return begun
    thread = lines[begun].split()[0]
    return next(
        n for n in range(begun + 1, len(lines)) if lines[n].startswith(f"{thread} ") and "resumed>" in lines[n]
    )


@pytest.mark.skipif(not traceable(), reason="needs strace and the right to use it")
def test_a_failed_sync_is_answered_as_a_failure_and_its_group_never_comes_back(tmp_path):
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.store.shard import *\n"
        "async def main():\n"
        "    spool = ShardSpool.open(Path(sys.argv[1]), 1, ManualClock(), MemoryLog())\n"
        "    spool.start(asyncio.get_running_loop())\n"
        "    for number in range(30):\n"
        "        new = new_message(spool)\n"
        "        error = await written(spool.append, new)\n"
        "        print('refused' if error else 'accepted', new.message.key, flush=True)\n"
        "    print('end', flush=True)\n"
        "    import os, signal\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    watch = ["strace", "-f", "-o", os.devnull, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=8+7"]
    ended = subprocess.run(
        [*watch, sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    accepted, refused = keys(ended.stdout, "accepted"), keys(ended.stdout, "refused")
    assert "end" in ended.stdout, ended.stderr
    assert accepted
    assert refused

    async def look():
        async with shard(tmp_path) as spool:
            assert {delivery.message.key for delivery in spool.due(NOW_MS, 1000)} == accepted

    asyncio.run(look())
