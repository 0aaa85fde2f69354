"""JSON lines over unix sockets: how the command line and our own processes ask each other (docs/internals.md).

A request is one object with `id` and `op`; everything else in it are the arguments. It is answered by one object
with the same `id`: `{"ok": true, "result": ...}`, or `{"ok": false, "error": sentence, "code": exit code}`. Only the
relay's own user and root get an answer (SO_PEERCRED). Lines, connections and waits are bounded; what is longer than
a line is asked for in pages: a result with `items` and, while there is more, `next`, which the following request
repeats as `after`.
"""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import orjson

from relay.errors import EX_UNAVAILABLE, RelayError, TemporaryError, UsageError
from relay.ports import Json, Log

LINE_MAX_BYTES = 1024 * 1024
CONNECTIONS_MAX = 64
IDLE_SECONDS = 300.0
ANSWER_SECONDS = 60.0
PAGES_MAX = 1_000_000
_PEERCRED = struct.Struct("3i")
_RECEIVE_BYTES = 65536

Handler = Callable[[Json], "Json | list[Any] | Awaitable[Json | list[Any] | None] | None"]


class NotRunningError(TemporaryError):
    """Nobody answers at the socket: the relay, or this part of it, is not running."""

    exit_code = EX_UNAVAILABLE


class RemoteError(RelayError):
    """The other side refused a request or failed at it; the text is its sentence."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Ops:
    """The operations a process answers, by name."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def add(self, name: str, handler: Handler) -> None:
        """Answer `name` with a function or coroutine function of the request; a name is given out once."""
        if name in self._handlers:
            raise ValueError(f"the operation {name} exists already")
        self._handlers[name] = handler

    def find(self, name: object) -> Handler | None:
        """Return the handler of a name."""
        return self._handlers.get(name) if isinstance(name, str) else None


def text(request: Json, name: str, default: str | None = None) -> str:
    """Return a text argument. UsageError when it is missing or of another type."""
    value = request.get(name, default)
    if not isinstance(value, str):
        raise UsageError(f"the argument {name!r} must be a text")
    return value


def number(request: Json, name: str, default: int | None = None, *, least: int = 0, most: int = 1 << 62) -> int:
    """Return an integer argument within bounds. UsageError when it is missing, of another type, or outside."""
    value = request.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UsageError(f"the argument {name!r} must be a whole number from {least} to {most}")
    return value


@contextlib.contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Give an address for a unix socket that fits the kernel's 107 bytes however long the path is."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


# --- the side that answers -------------------------------------------------------------------------------------


class Server:
    """Answers `ops` at a socket file until closed. Requests of one connection are answered in their order."""

    def __init__(self, path: Path, ops: Ops, log: Log) -> None:
        self._path = path
        self._ops = ops
        self._log = log
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket file left by a dead process is replaced (the run lock says that it is dead)."""
        listener = _listen(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=LINE_MAX_BYTES)

    async def close(self) -> None:
        """Stop listening, end open connections and remove the file."""
        if self._server is None:
            return
        self._server.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=1.0)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if len(self._open) <= CONNECTIONS_MAX and _allowed(writer):
                await self._answer_all(reader, writer)
        except asyncio.CancelledError:
            return
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    line = await reader.readline()
            except (ValueError, TimeoutError, OSError):
                return
            if not line.endswith(b"\n"):
                return
            writer.write(await self._answer(line))
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await writer.drain()
            except (TimeoutError, OSError):
                return

    async def _answer(self, line: bytes) -> bytes:
        request = _parse(line)
        if request is None:
            return _refusal(None, "the request is not a JSON object", UsageError.exit_code)
        identity = request.get("id")
        if not isinstance(identity, (int, str)):
            identity = None
        handler = self._ops.find(request.get("op"))
        if handler is None:
            return _refusal(identity, "there is no such operation", UsageError.exit_code)
        try:
            result = handler(request)
            if isinstance(result, Awaitable):
                result = await result
            answer = orjson.dumps({"id": identity, "ok": True, "result": result}, option=orjson.OPT_APPEND_NEWLINE)
        except RelayError as error:
            return _refusal(identity, str(error), error.exit_code)
        except Exception as error:  # noqa: BLE001 (a fault in one operation must not end the process)
            self._log.error("an operation failed", op=request.get("op"), error=error)
            return _refusal(identity, "the operation failed; the log of the relay says why", 1)
        if len(answer) > LINE_MAX_BYTES:
            return _refusal(identity, "the answer is too long; ask for a smaller page", UsageError.exit_code)
        return answer


def _listen(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        with short_address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(CONNECTIONS_MAX)
    except OSError:
        listener.close()
        raise
    return listener


def _allowed(writer: asyncio.StreamWriter) -> bool:
    peer = writer.get_extra_info("socket")
    _pid, uid, _gid = _PEERCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
    return uid in (0, os.geteuid())


def _parse(line: bytes) -> Json | None:
    try:
        value = orjson.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _refusal(identity: int | str | None, error: str, code: int) -> bytes:
    answer = {"id": identity, "ok": False, "error": error[:1000], "code": code}
    try:
        return orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # a lone surrogate in the sentence
        return orjson.dumps({**answer, "error": ascii(error)[:1000]}, option=orjson.OPT_APPEND_NEWLINE)


# --- the side that asks ----------------------------------------------------------------------------------------


class Client:
    """A blocking connection, for the command line. Use it in a `with` block."""

    def __init__(self, path: Path, timeout_seconds: float = ANSWER_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._buffer = bytearray()
        self._last_id = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout_seconds)
        try:
            with short_address(path) as address:
                self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise _not_running(path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def call(self, op: str, **arguments: object) -> Any:
        """Ask and return the result. RemoteError: refused; TemporaryError: no answer in time."""
        self._last_id += 1
        deadline = time.monotonic() + self._timeout_seconds
        try:
            self._socket.sendall(_request(self._last_id, op, arguments))
            return _result(self._line(deadline), self._last_id)
        except TimeoutError as error:
            raise TemporaryError(f"the relay gave no answer in {self._timeout_seconds:g} seconds") from error
        except OSError as error:
            raise TemporaryError("the relay closed the connection before it answered; try again") from error

    def pages(self, op: str, **arguments: object) -> Iterator[Any]:
        """Yield the items of all pages."""
        for _ in range(PAGES_MAX):
            page = self.call(op, **arguments)
            yield from page["items"]
            if page.get("next") is None:
                return
            arguments["after"] = page["next"]

    def _line(self, deadline: float) -> bytes:
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if start > LINE_MAX_BYTES:
                raise TemporaryError("the answer of the relay is longer than allowed")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line


async def ask(path: Path, op: str, timeout_seconds: float = ANSWER_SECONDS, **arguments: object) -> Any:
    """Ask once over a connection of its own, from an event loop; the same errors as `Client.call`."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await _connect(path)
            writer.write(_request(1, op, arguments))
            line = await reader.readline()
    except TimeoutError as error:
        raise TemporaryError(f"{path.name} gave no answer in {timeout_seconds:g} seconds") from error
    except (OSError, ValueError) as error:
        raise TemporaryError(f"{path.name} closed the connection before it answered") from error
    finally:
        if writer is not None:
            writer.transport.abort()
    if not line.endswith(b"\n"):
        raise TemporaryError(f"{path.name} closed the connection before it answered")
    return _result(line, 1)


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        with short_address(path) as address:
            return await asyncio.open_unix_connection(address, limit=LINE_MAX_BYTES)
    except OSError as error:
        raise _not_running(path) from error


def _not_running(path: Path) -> NotRunningError:
    return NotRunningError(
        f"the relay is not running (nothing answers at {path}); start it with 'relay serve', or give this "
        "command the rights of its user"
    )


def _request(identity: int, op: str, arguments: Json) -> bytes:
    line = orjson.dumps({**arguments, "id": identity, "op": op}, option=orjson.OPT_APPEND_NEWLINE)
    if len(line) > LINE_MAX_BYTES:
        raise UsageError("the request is longer than 1 MiB; ask for less at once")
    return line


def _result(line: bytes, identity: int) -> Any:
    answer = _parse(line)
    if answer is None or answer.get("id") != identity:
        raise TemporaryError("the relay gave an answer that is not one; are both of the same version?")
    if answer.get("ok") is True:
        return answer.get("result")
    code = answer.get("code")
    raise RemoteError(str(answer.get("error", "refused")), code if isinstance(code, int) else 1)
