"""What a scripted host may do at any stage in place of its reply.

A word of a script is `at-STAGE-FAULT`; with `.N` behind it the fault strikes the first N times only. Stages: greet,
ehlo, ehlos (inside TLS), starttls, handshake, mail, rcpt, data, body (a little of the message was read), dot, rset.
The host goes on as if it had said what it should have; `code550` at MAIL therefore takes the recipients all the same.

hang: no reply, reads on. stall: no reply, reads no more. drop: closes. rst: resets. half: closes its own direction
and reads on. 421: says so and closes. codeN: another code. zero, nines, ones: a code that does not exist. bare: the
reply ends with LF alone. empty: an empty line. noise: octets that are no reply. garbage: the right code with octets
that are no text. mixed: a reply that changes its mind. twice: the reply, and again. long: one line of 10 MB. endless:
lines without end. drip: the reply octet by octet, more slowly than anybody waits. tarpit: a line now and then, never
the last. flood: 150 more lines in front. deluge: 5,000. inject: the reply, and behind it those that the next commands
would get.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

_LONG_BYTES = 10 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_DRIP_SECONDS = 0.05
_TARPIT_SECONDS = 0.2
_ENDLESS_BLOCKS = 1_000  # 18 MB
_STALL_SECONDS = 60.0
_FLOOD_LINES = 150
_DELUGE_LINES = 5_000


class Gone(Exception):  # noqa: N818 - not an error, the end of a dialogue
    """The script ends the connection."""


class Speaker(Protocol):
    """The dialogue of a scripted host, as far as faults use it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def raw(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def reset(self) -> None:
        """Send a reset."""
        ...


Fault = Callable[[Speaker, int, Sequence[str]], Awaitable[None]]


def reply(code: int | str, lines: Sequence[str], end: bytes = b"\r\n") -> bytes:
    """Return a reply as bytes."""
    last = len(lines) - 1
    return b"".join(f"{code}{' ' if n == last else '-'}{line}".encode() + end for n, line in enumerate(lines))


async def play(word: str, speaker: Speaker, code: int, lines: Sequence[str]) -> None:
    """Do what a fault says in place of a reply. Raise `Gone` when the connection ends with it."""
    if word.startswith("code"):
        await speaker.raw(reply(word[4:], ["the script says so"]))
        return
    await FAULTS[word](speaker, code, lines)


async def until_closed(speaker: Speaker) -> None:
    """Throw away what comes until the other end closes."""
    while await speaker.reader.read(_CHUNK_BYTES):
        pass
    raise Gone


async def _hang(speaker: Speaker, _code: int, _lines: Sequence[str]) -> None:
    await until_closed(speaker)


async def _stall(_speaker: Speaker, _code: int, _lines: Sequence[str]) -> None:
    await asyncio.sleep(_STALL_SECONDS)
    raise Gone


async def _drop(_speaker: Speaker, _code: int, _lines: Sequence[str]) -> None:
    raise Gone


async def _reset(speaker: Speaker, _code: int, _lines: Sequence[str]) -> None:
    speaker.reset()
    raise Gone


async def _half(speaker: Speaker, _code: int, _lines: Sequence[str]) -> None:
    if not speaker.writer.can_write_eof():
        raise Gone
    speaker.writer.write_eof()
    await until_closed(speaker)


async def _closing(speaker: Speaker, _code: int, _lines: Sequence[str]) -> None:
    await speaker.raw(b"421 4.3.2 closing\r\n")
    raise Gone


async def _bare(speaker: Speaker, code: int, lines: Sequence[str]) -> None:
    await speaker.raw(reply(code, lines, b"\n"))


async def _garbage(speaker: Speaker, code: int, lines: Sequence[str]) -> None:
    await speaker.raw(reply(code, lines)[:-2] + b" \x00\xff\xfe\x1b[31m\x85 x\r\n")


async def _mixed(speaker: Speaker, code: int, _lines: Sequence[str]) -> None:
    await speaker.raw(f"{code}-yes\r\n{800 - code} no\r\n".encode())


async def _twice(speaker: Speaker, code: int, lines: Sequence[str]) -> None:
    await speaker.raw(2 * reply(code, lines))


async def _inject(speaker: Speaker, code: int, lines: Sequence[str]) -> None:
    await speaker.raw(reply(code, lines) + b"250 ok\r\n354 go\r\n250 taken\r\n")


async def _long(speaker: Speaker, code: int, _lines: Sequence[str]) -> None:
    await speaker.raw(f"{code} ".encode())
    for _ in range(_LONG_BYTES // _CHUNK_BYTES):
        await speaker.raw(b"x" * _CHUNK_BYTES)
    await speaker.raw(b"\r\n")


async def _endless(speaker: Speaker, code: int, _lines: Sequence[str]) -> None:
    for _ in range(_ENDLESS_BLOCKS):
        await speaker.raw(f"{code}-more to come\r\n".encode() * 1000)
    raise Gone


async def _drip(speaker: Speaker, code: int, lines: Sequence[str]) -> None:
    for octet in reply(code, [*lines, "slowly" * 100]):
        await speaker.raw(bytes((octet,)))
        await asyncio.sleep(_DRIP_SECONDS)


async def _tarpit(speaker: Speaker, code: int, _lines: Sequence[str]) -> None:
    while True:
        await speaker.raw(f"{code}-wait\r\n".encode())
        await asyncio.sleep(_TARPIT_SECONDS)


def _lines_in_front(count: int) -> Fault:
    async def flood(speaker: Speaker, code: int, lines: Sequence[str]) -> None:
        await speaker.raw(reply(code, [lines[0], *(f"X-KEYWORD-{n} {n}" for n in range(count)), *lines[1:]]))

    return flood


def _always(data: bytes) -> Fault:
    async def say(speaker: Speaker, _code: int, _lines: Sequence[str]) -> None:
        await speaker.raw(data)

    return say


FAULTS: Final[dict[str, Fault]] = {
    "hang": _hang,
    "stall": _stall,
    "drop": _drop,
    "rst": _reset,
    "half": _half,
    "421": _closing,
    "zero": _always(b"000 nothing\r\n"),
    "nines": _always(b"999 everything\r\n"),
    "ones": _always(b"150 soon\r\n"),
    "bare": _bare,
    "empty": _always(b"\r\n"),
    "noise": _always(b"\x16\x03\x01\x00\xff\xfe\r\n"),
    "garbage": _garbage,
    "mixed": _mixed,
    "twice": _twice,
    "inject": _inject,
    "long": _long,
    "endless": _endless,
    "drip": _drip,
    "tarpit": _tarpit,
    "flood": _lines_in_front(_FLOOD_LINES),
    "deluge": _lines_in_front(_DELUGE_LINES),
}
