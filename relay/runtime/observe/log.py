r"""The log (relay.ports.Log): one line an event, JSON for machines and readable colour for a terminal.

What clients and remote servers say ends up here, so nothing they can send may forge or hide a line: in every value,
and in both formats, whatever is not printable is written as an escape that a viewer shows as text (`\r`, `\x1b`,
`\u202e`), values are cut, and a line fits into one atomic write to a pipe. Fields whose name says that they hold a
secret are never written. A reader that stalls loses lines, counted; the relay does not wait for it.
"""

import contextlib
import io
import logging
import os
import re
import select
import sys
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from enum import Enum
from typing import Any, Literal

import orjson
import structlog

Format = Literal["auto", "json", "console"]
Level = Literal["debug", "info", "warning", "error"]

LINE_MAX_BYTES = 4096  # PIPE_BUF: a write of this size is atomic
_VALUE_MAX = 1000
_SHORT_VALUE_MAX = 200
_TRACEBACK_MAX = 2500
_FIELDS_MAX = 30
_ITEMS_MAX = 20
_STALL_WAIT_MS = 50
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_SECRET_NAMES = frozenset(
    {"password", "secret", "passwd", "token", "authorization", "private_key", "access_key_secret", "credential"}
)
_HIDDEN = "[hidden]"
_UNPRINTABLE = re.compile(r"[^ -~]")
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_FIRST_FIELDS = ("time", "level", "event")
_KEPT_FIELDS = (*_FIRST_FIELDS, "process", "message_id")
_second: list[Any] = [0, ""]

_EventDict = MutableMapping[str, Any]


class LineWriter:
    """Writes whole lines to a descriptor, never waiting long: what a stalled reader leaves no room for is dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._stalled = False
        self._call_soon: Callable[[Callable[[], None]], object] | None = None
        self._lines: list[bytes] = []
        self.dropped = 0
        self.dropped_total = 0

    def attach(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """Write the lines of one turn of an event loop together, from now on."""
        self._call_soon = call_soon

    def detach(self) -> None:
        """Write what waits, and from now on each line at once."""
        self._call_soon = None
        self.flush()

    def write(self, line: bytes) -> None:
        """Write one line, or count it as dropped."""
        if self._call_soon is None:
            self._put(line, 1)
            return
        self._lines.append(line)
        if len(self._lines) == 1:
            self._call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits, in pieces that a pipe keeps whole beside those of other processes."""
        lines, self._lines = self._lines, []
        piece: list[bytes] = []
        size_bytes = 0
        for line in lines:
            if size_bytes + len(line) > LINE_MAX_BYTES and piece:
                self._put(b"".join(piece), len(piece))
                piece, size_bytes = [], 0
            piece.append(line)
            size_bytes += len(line)
        if piece:
            self._put(b"".join(piece), len(piece))

    def _put(self, line: bytes, lines: int) -> None:
        if not self._poll.poll(0 if self._stalled else _STALL_WAIT_MS):
            self._stalled = True
            self.dropped += lines
            self.dropped_total += lines
            return
        if self.dropped:
            line = b'{"level":"warning","event":"log lines were dropped","lines":%d}\n' % self.dropped + line
        self._stalled = False
        self.dropped = 0
        with contextlib.suppress(OSError):
            os.write(self._descriptor, line)


class StructuredLog:
    """The log of one process; `bind` returns one that adds fields to every line."""

    def __init__(self, bound: Any, writer: LineWriter) -> None:
        self._bound = bound
        self._writer = writer
        self.debug: Callable[..., None] = bound.debug
        self.info: Callable[..., None] = bound.info
        self.warning: Callable[..., None] = bound.warning
        self.error: Callable[..., None] = bound.error

    def bind(self, **fields: object) -> "StructuredLog":
        """Return a log that writes these fields too."""
        return StructuredLog(self._bound.bind(**fields), self._writer)

    @property
    def writer(self) -> LineWriter:
        """Where the lines go."""
        return self._writer

    @property
    def lines_dropped(self) -> int:
        """How many lines of this process found no room."""
        return self._writer.dropped_total


class JsonLog(StructuredLog):
    """The log in production: the same lines, made without a chain of processors (half the cost a line)."""

    def __init__(self, fields: Mapping[str, object], writer: LineWriter, level: Level) -> None:
        self._fields = dict(fields)
        self._level: Level = level
        self._writer = writer
        self.debug, self.info, self.warning, self.error = (self._method(name) for name in _LEVELS)

    def bind(self, **fields: object) -> StructuredLog:
        """Return a log that writes these fields too."""
        return JsonLog({**self._fields, **fields}, self._writer, self._level)

    def _method(self, level: str) -> Callable[..., None]:
        if _LEVELS[level] < _LEVELS[self._level]:
            return _silent
        bound, write = self._fields, self._writer.write

        def say(event: str, **fields: object) -> None:
            write(_render_json(None, level, _clean(None, level, {"event": event, **bound, **fields})))

        return say


def _silent(event: str, **fields: object) -> None:
    """Say nothing: the level is below what is wanted."""


class _Sink:
    """What structlog calls with the finished line."""

    def __init__(self, writer: LineWriter) -> None:
        self.debug = self.info = self.warning = self.error = self.msg = writer.write


def open_log(style: Format = "auto", level: Level = "info", descriptor: int | None = None) -> StructuredLog:
    """Return the log on a descriptor, by default standard error; call it once a process."""
    target = _standard_error() if descriptor is None else descriptor
    people = style == "console" or (style == "auto" and os.isatty(target))
    writer = LineWriter(target)
    if not people:
        return JsonLog({}, writer, level)
    return StructuredLog(
        structlog.wrap_logger(
            _Sink(writer),
            processors=[_clean, _render_console],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
            cache_logger_on_first_use=True,
        ).bind(),
        writer,
    )


class LibraryLog(logging.Handler):
    """Carries what libraries say through `logging` into our log."""

    def __init__(self, log: StructuredLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record of a library."""
        say = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        error = record.exc_info[1] if record.exc_info else None
        say(f"{record.name} says", text=record.getMessage(), **({"error": error} if error else {}))


def adopt_libraries(log: StructuredLog) -> None:
    """Send warnings and errors of every library to our log."""
    root = logging.getLogger()
    root.handlers[:] = [LibraryLog(log)]
    root.setLevel(logging.WARNING)


def escape(text: str, most: int = _VALUE_MAX) -> str:
    """Return text with everything but printable ASCII and printable letters as a visible escape, cut to `most`."""
    if len(text) > most:
        text = f"{text[:most]}... ({len(text)} characters)"
    return text if text.isprintable() else _UNPRINTABLE.sub(_escape_one, text)


def _escape_one(match: re.Match[str]) -> str:
    character = match[0]
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _clean(_logger: Any, level: str, event: _EventDict) -> _EventDict:
    """Put time and level first and make every value safe to write."""
    clean: _EventDict = {"time": _now(), "level": level, "event": _value(event.pop("event"))}
    for name, value in event.items():
        if len(clean) >= _FIELDS_MAX:
            clean["cut"] = True
            break
        if name in _SECRET_NAMES:
            clean[name] = _HIDDEN
            continue
        kind = value.__class__
        if kind is str:
            clean[name] = value if len(value) <= _VALUE_MAX and value.isprintable() else escape(value)
            continue
        if kind is int or kind is float or value is None:
            clean[name] = value
            continue
        clean[name] = _value(value)
        if isinstance(value, BaseException) and value.__traceback__ is not None and level == "error":
            clean["traceback"] = escape(_traceback(value), _TRACEBACK_MAX)
    return clean


def _now() -> str:
    """Return the wall clock; the text of a second is made once."""
    second, fraction = divmod(time.time_ns(), 1_000_000_000)
    if second != _second[0]:
        _second[:] = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{_second[1]}.{fraction // 1_000_000:03d}Z"


def _value(value: object) -> object:
    if value.__class__ is str:
        return value if len(value) <= _VALUE_MAX and value.isprintable() else escape(value)
    if value is None or value.__class__ in (int, float, bool):
        return value
    if isinstance(value, bytes):
        return escape(value[: _VALUE_MAX * 2].decode("utf-8", "backslashreplace"))
    if isinstance(value, Enum):
        return _value(value.value)
    if isinstance(value, BaseException):
        return escape(f"{type(value).__name__}: {value}" if str(value) else type(value).__name__)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_scalar(item) for item, _ in zip(value, range(_ITEMS_MAX), strict=False)]
    return _scalar(value)


def _scalar(value: object) -> object:
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, bytes):
        return escape(value[:_SHORT_VALUE_MAX].decode("utf-8", "backslashreplace"), _SHORT_VALUE_MAX)
    return escape(str(value), _SHORT_VALUE_MAX)


def _traceback(error: BaseException) -> str:
    """Return the end of a traceback, which says most."""
    text = "".join(traceback.format_exception(error))
    return text[-_TRACEBACK_MAX:]


def _render_json(_logger: Any, _level: str, event: _EventDict) -> bytes:
    line = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS, default=str)
    if len(line) <= LINE_MAX_BYTES:
        return line
    line = orjson.dumps(_shorter(event, _SHORT_VALUE_MAX), option=orjson.OPT_APPEND_NEWLINE, default=str)
    if len(line) <= LINE_MAX_BYTES:
        return line
    return orjson.dumps(_shortest(event), option=orjson.OPT_APPEND_NEWLINE, default=str)


def _render_console(_logger: Any, level: str, event: _EventDict) -> bytes:
    line = _console_line(level, event)
    if len(line) > LINE_MAX_BYTES:
        line = _console_line(level, _shorter(event, _SHORT_VALUE_MAX))
    if len(line) > LINE_MAX_BYTES:
        line = _console_line(level, _shortest(event))
    return line


def _console_line(level: str, event: _EventDict) -> bytes:
    fields = " ".join(
        f"\x1b[36m{escape(str(name), _SHORT_VALUE_MAX)}\x1b[0m={value}"
        for name, value in event.items()
        if name not in _FIRST_FIELDS
    )
    head = f"\x1b[2m{event['time']}\x1b[0m {_COLOURS.get(level, '')}{level:7}\x1b[0m {event['event']}"
    return f"{head} {fields}".rstrip().encode("utf-8", "backslashreplace") + b"\n"


def _shorter(event: _EventDict, most: int) -> _EventDict:
    short = {
        escape(str(name), most): escape(value, most) if isinstance(value, str) else str(value)[:most]
        for name, value in event.items()
    }
    return {**short, "cut": True}


def _shortest(event: _EventDict) -> _EventDict:
    kept = {name: str(event[name])[:_SHORT_VALUE_MAX] for name in _KEPT_FIELDS if name in event}
    return {**kept, "cut": True}


def _standard_error() -> int:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, io.UnsupportedOperation):
        return 2
