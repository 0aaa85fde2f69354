"""The log: one line an event, whatever values hold (P04)."""

import json
import os
import threading
from enum import Enum

import pytest

from relay.runtime.observe.log import LINE_MAX_BYTES, LineWriter, adopt_libraries, open_log

HOSTILE = [
    "a\r\nb",
    "\x1b[2J\x1b[31mred",
    "\x9b31m",
    "\u2028\u2029\u202e\u2066",
    "\udcff\ud800",
    "\0",
    "\x7f",
    "x" * 1_000_000,
    "ü\n" * 100_000,
    b"\xff\xfe\r\n",
    b"\xff" * 1_000_000,
    ["a\n", b"\xff", {"k": "\x1b"}],
    {"k\n": "\x1b[2J"},
    ValueError("a\r\n{}"),
]


@pytest.fixture(params=["json", "console"])
def lines(request, tmp_path):
    """A log of each style, and what it wrote."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = open_log(request.param, "debug", descriptor)
    yield request.param, log, lambda: path.read_bytes().splitlines(keepends=True)
    os.close(descriptor)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: type(value).__name__)
def test_hostile_values_stay_in_one_escaped_line(lines, value):
    style, log, written = lines
    log.info("an event", value=value, **{"odd\nname\x1b": 1})
    log.error(str(value), value=1)
    found = written()
    assert len(found) == 2
    for line in found:
        assert line.endswith(b"\n")
        assert len(line) <= LINE_MAX_BYTES
        text = line.decode()[:-1]
        if style == "json":
            assert text.isprintable()
            assert all(part.isprintable() for part in map(str, json.loads(text).values()))
        else:
            for code in ("0", "2", "31", "32", "36"):  # our own colours
                text = text.replace(f"\x1b[{code}m", "")
            assert text.isprintable()


def test_many_long_fields_still_fit_into_one_atomic_write(lines):
    style, log, written = lines
    log.info("x" * 5000, message_id="the id", **{f"field_{n}": "ü" * 5000 for n in range(200)})
    (line,) = written()
    assert len(line) <= LINE_MAX_BYTES
    if style == "json":
        assert json.loads(line)["message_id"] == "the id"
        assert json.loads(line)["cut"] is True


def test_secrets_are_not_written(lines):
    _style, log, written = lines
    log.info("x", password="hunter2", secret="hunter2", token="hunter2", authorization="hunter2")
    assert b"hunter2" not in written()[0]


def test_a_line_is_complete(tmp_path):
    class Colour(Enum):
        RED = "red"

    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    log = open_log("json", "info", descriptor).bind(process="worker-0001")
    log.info("message accepted", message_id="id", size=3, share=0.5, ok=True, nothing=None, colour=Colour.RED)
    log.debug("not written")
    os.close(descriptor)
    line = json.loads((tmp_path / "log").read_bytes())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "message accepted",
        "process": "worker-0001",
        "message_id": "id",
        "size": 3,
        "share": 0.5,
        "ok": True,
        "nothing": None,
        "colour": "red",
    }


def test_an_error_has_its_traceback(lines):
    _style, log, written = lines
    with pytest.raises(ZeroDivisionError) as caught:
        _fail()
    log.error("it failed", error=caught.value)
    assert b"test_log.py" in written()[0]
    assert b"ZeroDivisionError: why" in written()[0]


def _fail():
    raise ZeroDivisionError("why")


def test_a_reader_that_stalls_costs_lines_not_time():
    reading, writing = os.pipe()
    log = open_log("json", "info", writing)
    for n in range(2000):
        log.info("x" * 500, n=n)  # far more than a pipe holds
    received = []
    thread = threading.Thread(target=_read_all, args=(reading, received))
    thread.start()
    while b"dropped" not in b"".join(received):
        log.info("again")
    os.close(writing)
    thread.join()
    os.close(reading)
    rows = [json.loads(line) for line in b"".join(received).splitlines()]
    lost = sum(row["lines"] for row in rows if row["event"] == "log lines were dropped")
    assert lost + sum("n" in row for row in rows) >= 2000


def _read_all(descriptor, into):
    while data := os.read(descriptor, 65536):
        into.append(data)


def test_a_closed_reader_is_survived():
    reading, writing = os.pipe()
    os.close(reading)
    LineWriter(writing).write(b"x\n")
    os.close(writing)


def test_libraries_speak_through_our_log(tmp_path):
    import logging

    root = logging.getLogger()
    before = root.handlers[:], root.level
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    try:
        adopt_libraries(open_log("json", "info", descriptor))
        logging.getLogger("uvicorn.error").warning("bad\nrequest %s", "\x1b")
        logging.getLogger("asyncio").info("not written")
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
        os.close(descriptor)
    line = json.loads((tmp_path / "log").read_bytes())
    assert line["event"] == "uvicorn.error says"
    assert line["text"] == "bad\\nrequest \\x1b"
