"""Helper process: re-encode a large body from file to file, with bounded memory.

    python -m relay.mail.reencode short-lines|seven-bit PATH OFFSET SIZE RESULT < head

The body is the SIZE octets from OFFSET of PATH. On success RESULT (which must not exist) holds the new body,
synced, and standard output one JSON object: `head` (text, octets as latin-1), `size_bytes`, and the facts of the
new body (`eight_bit`, `longest_line_bytes`, `sha256_relaxed` in hex). Exit code 65 with `{"error": sentence}`: the
message cannot be converted. A process of its own, because this takes CPU time that would stall an event loop.
"""

import json
import mmap
import os
import sys

from relay.errors import EX_DATAERR, EX_USAGE
from relay.mail.encode import Goal, Unconvertible, plan, write
from relay.mail.headers import HEAD_MAX_BYTES, join_head, parse_head
from relay.mail.scan import BodyScanner
from relay.model.refusal import Refusal

ARGUMENTS = 5


def reencode_file(  # noqa: PLR0917 - a body region, its head and where it goes
    goal: Goal, head: bytes, source: str, offset_bytes: int, size_bytes: int, result: str
) -> dict[str, object] | Unconvertible:
    """Write the converted body to `result` and return what the module's docstring describes. Raises OSError."""
    fields = parse_head(head, smtputf8=goal is Goal.SHORT_LINES)
    if isinstance(fields, Refusal):
        return Unconvertible(fields.text)
    with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:  # noqa: PTH123
        end = min(len(buffer), offset_bytes + size_bytes)
        planned = plan(fields, buffer, offset_bytes, end, goal)
        if isinstance(planned, Unconvertible):
            return planned
        scanner = BodyScanner()
        size = 0
        with open(result, "xb") as out:  # noqa: PTH123 - a plain path for a plain file

            def emit(chunk: bytes) -> None:
                nonlocal size
                size += len(chunk)
                scanner.feed(chunk)
                out.write(chunk)

            write(planned.edits, buffer, offset_bytes, end, emit)
            out.flush()
            os.fsync(out.fileno())
    facts = scanner.finish()
    return {
        "head": join_head(planned.fields).decode("latin-1"),
        "size_bytes": size,
        "eight_bit": facts.eight_bit,
        "longest_line_bytes": facts.longest_line_bytes,
        "sha256_relaxed": facts.sha256_relaxed.hex(),
    }


def main(arguments: list[str]) -> int:
    """Run the helper process; return its exit code."""
    if len(arguments) != ARGUMENTS:
        sys.stderr.write(
            "usage: python -m relay.mail.reencode short-lines|seven-bit PATH OFFSET SIZE RESULT < head\n"
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
