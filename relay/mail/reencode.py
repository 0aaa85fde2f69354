"""Helper process: look at and change large bodies, from file to file, with bounded memory.

    python -m relay.mail.reencode serve
    python -m relay.mail.reencode short-lines|seven-bit PATH OFFSET SIZE RESULT < head

`serve` answers one JSON object a line with another one until its input ends: `Request` in, and out

- `{}`: the message stays as it is;
- `{"head": text, "body": null}`: only the head changes;
- `{"head": text, "body": {"size_bytes", "eight_bit", "longest_line_bytes", "sha256_relaxed"}}`: the new body is in
  the file `result`, synced;
- `{"refused": reason, "text": detail}`.

The other form converts one body. On success RESULT (which must not exist) holds the new body, synced, and standard
output one JSON object: `head`, and the values of `body` above. Exit code 65 with `{"error": sentence}`: the message
cannot be converted.

Octets in texts are latin-1, digests hex. A process of its own, because this takes CPU time that would stall an event
loop; it stays, because starting Python costs more than most of the work.
"""

import json
import mmap
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from relay.errors import EX_DATAERR, EX_USAGE
from relay.mail.attachments import ContentRules
from relay.mail.compose import may_relabel
from relay.mail.encode import Edit, Goal, Unconvertible, plan, write
from relay.mail.headers import HEAD_MAX_BYTES, LINE_MAX_BYTES, join_head, parse_head
from relay.mail.scan import BodyScanner
from relay.mail.structure import inspect
from relay.model.content import BodyFile
from relay.model.refusal import Reason, Refusal

ARGUMENTS = 5


@dataclass(frozen=True, slots=True)
class Request:
    """A message with a large body: `size_bytes` octets from `offset_bytes` of `path`. A new body goes to `result`."""

    head: str
    smtputf8: bool
    path: str
    offset_bytes: int
    size_bytes: int
    eight_bit: bool
    longest_line_bytes: int
    refused_extensions: tuple[str, ...]
    result: str

    def line(self) -> bytes:
        """Return the request as it is sent."""
        return json.dumps(asdict(self)).encode() + b"\n"


def examine(request: Request) -> dict[str, object]:
    """Apply content rules and line lengths to a large body; return what the module's docstring describes.

    Raise OSError when a file cannot be read or written; then nothing of `result` remains.
    """
    fields = parse_head(request.head.encode("latin-1"), smtputf8=request.smtputf8)
    if isinstance(fields, Refusal):
        return _refused(fields)
    index = {field.key: field for field in reversed(fields)}
    rules = ContentRules(frozenset(request.refused_extensions))
    body = BodyFile(request.path, request.offset_bytes, request.size_bytes)
    with _Mapped(body) as (buffer, start, end):
        walked = inspect(
            fields, index, buffer, start, end, rules, eight_bit=request.eight_bit, relabel=may_relabel(index)
        )
        if isinstance(walked, Refusal):
            return _refused(walked)
        made = None
        if walked.edits:
            made = _rewrite(walked.edits, buffer, start, end, request.result)
    longest = request.longest_line_bytes if made is None else made["longest_line_bytes"]
    if isinstance(longest, int) and longest > LINE_MAX_BYTES:
        head = join_head(walked.fields)
        return _shorten(
            request, head, body if made is None else BodyFile(request.result, 0, int(str(made["size_bytes"])))
        )
    if made is None and walked.fields is fields:
        return {}
    return {"head": join_head(walked.fields).decode("latin-1"), "body": made}


def _refused(refusal: Refusal) -> dict[str, object]:
    return {"refused": refusal.reason.name, "text": refusal.detail}


def _shorten(request: Request, head: bytes, body: BodyFile) -> dict[str, object]:
    """Re-encode long lines; the body may already be in `result` and is replaced there."""
    result = Path(request.result)
    short = result.with_suffix(".short")
    try:
        made = reencode_file(Goal.SHORT_LINES, head, body.path, body.offset_bytes, body.size_bytes, str(short))
        if isinstance(made, Unconvertible):
            result.unlink(missing_ok=True)
            text = f"Line is longer than 998 octets, and {made.text}."
            return _refused(Refusal(Reason.LINE_TOO_LONG, text))
        short.replace(result)
    except BaseException:
        short.unlink(missing_ok=True)
        raise
    return {"head": made.pop("head"), "body": made}


class _Mapped:
    """A body in a file as (memory map, start, end)."""

    def __init__(self, body: BodyFile) -> None:
        self._body = body

    def __enter__(self) -> tuple[mmap.mmap, int, int]:
        with open(self._body.path, "rb") as file:  # noqa: PTH123 - a plain path for a plain file
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return (
            self._map,
            self._body.offset_bytes,
            min(len(self._map), self._body.offset_bytes + self._body.size_bytes),
        )

    def __exit__(self, *_: object) -> None:
        self._map.close()


def _rewrite(edits: list[Edit], buffer: mmap.mmap, start: int, end: int, result: str) -> dict[str, object]:
    """Write a body with its edits to a new file, synced; return its size and facts."""
    scanner = BodyScanner()
    size = 0
    try:
        with open(result, "xb") as out:  # noqa: PTH123 - a plain path for a plain file

            def emit(chunk: bytes) -> None:
                nonlocal size
                size += len(chunk)
                scanner.feed(chunk)
                out.write(chunk)

            write(edits, buffer, start, end, emit)
            out.flush()
            os.fsync(out.fileno())
    except OSError:
        with suppress(OSError):
            Path(result).unlink(missing_ok=True)
        raise
    facts = scanner.finish()
    return {
        "size_bytes": size,
        "eight_bit": facts.eight_bit,
        "longest_line_bytes": facts.longest_line_bytes,
        "sha256_relaxed": facts.sha256_relaxed.hex(),
    }


def reencode_file(  # noqa: PLR0917 - a body region, its head and where it goes
    goal: Goal, head: bytes, source: str, offset_bytes: int, size_bytes: int, result: str
) -> dict[str, object] | Unconvertible:
    """Write the converted body to `result` and return what the module's docstring describes. Raises OSError."""
    fields = parse_head(head, smtputf8=goal is Goal.SHORT_LINES)
    if isinstance(fields, Refusal):
        return Unconvertible(fields.text)
    with _Mapped(BodyFile(source, offset_bytes, size_bytes)) as (buffer, start, end):
        planned = plan(fields, buffer, start, end, goal)
        if isinstance(planned, Unconvertible):
            return planned
        made = _rewrite(planned.edits, buffer, start, end, result)
    return {"head": join_head(planned.fields).decode("latin-1"), **made}


def serve() -> int:
    """Answer requests until the input ends; a fault of one is told and does not end the process."""
    for line in sys.stdin.buffer:
        said = json.loads(line)
        said["refused_extensions"] = tuple(said["refused_extensions"])
        try:
            answer = examine(Request(**said))
        except OSError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


def main(arguments: list[str]) -> int:
    """Run the helper process; return its exit code."""
    if arguments == ["serve"]:
        return serve()
    if len(arguments) != ARGUMENTS:
        sys.stderr.write(
            "usage: python -m relay.mail.reencode serve\n"
            "       python -m relay.mail.reencode short-lines|seven-bit PATH OFFSET SIZE RESULT < head\n"
        )
        return EX_USAGE
    goal, source, offset, size, result = arguments
    head = sys.stdin.buffer.read(HEAD_MAX_BYTES + 1)
    answer = reencode_file(Goal(goal), head, source, int(offset), int(size), result)
    if isinstance(answer, Unconvertible):
        sys.stdout.write(json.dumps({"error": answer.text}) + "\n")
        return EX_DATAERR
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
