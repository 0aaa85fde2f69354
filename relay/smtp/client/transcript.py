"""What is said on a connection, noted as it passes and made readable only when somebody wants to read it.

Noting costs one append. Secrets never come here: the client hides the AUTH exchange before it notes it, and what a
remote repeats of it is hidden when it is written down. Of a message only its size is noted. Each part is bounded: the
beginning and the end are kept.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from relay.model.dialogue import Line
from relay.smtp.client.reply import Reply, printable

HEAD_ENTRIES: Final = 200
TAIL_ENTRIES: Final = 100
PART_MAX_CHARACTERS: Final = 8 * 1024  # of the beginning, and of the end
HIDDEN: Final = "(hidden)"
SENT, RECEIVED, NOTE, CONTENT = "C", "S", "-", "="

_Entry = tuple[float, str, bytes | Reply | str | int]


class Transcript:
    """The notes of one connection: how it was set up, and its transaction now. Times are monotonic seconds."""

    __slots__ = ("_began", "_left_out", "_lines", "_secrets", "_setup", "_tail", "messages")

    def __init__(self, began: float) -> None:
        self._began = began
        self._setup: list[_Entry] = []
        self._lines: list[_Entry] = []
        self._tail: deque[_Entry] = deque(maxlen=TAIL_ENTRIES)
        self._left_out = 0
        self._secrets: tuple[str, ...] = ()
        self.messages = 0

    def sent(self, now: float, data: bytes) -> None:
        """Note commands."""
        self._note((now, SENT, data))

    def received(self, now: float, reply: Reply) -> None:
        """Note a reply."""
        self._note((now, RECEIVED, reply))

    def content(self, now: float, size_bytes: int) -> None:
        """Note that a message of a size left."""
        self._note((now, CONTENT, size_bytes))

    def note(self, now: float, text: str) -> None:
        """Note what happened."""
        self._note((now, NOTE, text))

    def hide(self, *secrets: str) -> None:
        """Never write these texts down, whoever says them."""
        self._secrets = (*self._secrets, *(secret for secret in secrets if secret))

    def begin(self) -> None:
        """Note that a transaction begins: what was said in the last one is forgotten, the set-up stays."""
        if self.messages == 0:
            self._setup = self._lines
        self.messages += 1
        self._lines = []
        if self._tail:
            self._tail.clear()
            self._left_out = 0

    def lines(self) -> tuple[Line, ...]:
        """Return the set-up of the connection and its transaction now, bounded, without secrets."""
        head, tail = [*self._setup, *self._lines], self._tail
        written = [line for entry in head for line in self._written(entry)]
        if not tail:
            return _bounded(written, ())
        gap = max(0, self._left_out - len(tail))
        note = [Line(written[-1].at_ms, NOTE, f"({gap} more)")] if gap else []
        return _bounded([*written, *note], [line for entry in tail for line in self._written(entry)])

    def _note(self, entry: _Entry) -> None:
        if len(self._lines) < HEAD_ENTRIES:
            self._lines.append(entry)
            return
        self._tail.append(entry)
        self._left_out += 1

    def _written(self, entry: _Entry) -> list[Line]:
        now, who, what = entry
        at_ms = max(0, int((now - self._began) * 1000))
        if isinstance(what, Reply):
            last = len(what.lines) - 1
            texts = [f"{what.code}{' ' if n == last else '-'}{printable(text)}" for n, text in enumerate(what.lines)]
        elif isinstance(what, bytes):
            texts = [printable(line) for line in what.split(b"\r\n") if line]
        elif isinstance(what, int):
            who, texts = SENT, [f"({what} octets of message)"]
        else:
            texts = [what]
        return [Line(at_ms, who, self._without_secrets(text)) for text in texts]

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


def _bounded(head: Sequence[Line], tail: Sequence[Line]) -> tuple[Line, ...]:
    """Return the beginning and the end of a dialogue, with a note of what is left out between them."""
    lines = [*head, *tail]
    if sum(len(line.text) for line in lines) <= 2 * PART_MAX_CHARACTERS:
        return tuple(lines)
    begin, end = _fitting(lines), _fitting(lines[::-1])
    gap = len(lines) - begin - end
    note = Line(lines[begin - 1].at_ms if begin else 0, NOTE, f"({gap} lines left out)")
    return (*lines[:begin], note, *lines[len(lines) - end :])


def _fitting(lines: Sequence[Line]) -> int:
    size = 0
    for number, line in enumerate(lines):
        size += len(line.text)
        if size > PART_MAX_CHARACTERS:
            return number
    return len(lines)
