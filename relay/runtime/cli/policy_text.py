"""Policy texts on the command line: read from a file or standard input, and told back with all their faults."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from relay.errors import InvalidPolicyError, UsageError
from relay.runtime.cli.output import write_json

TEXT_MAX_BYTES = 1 << 20
DocumentArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The policy as JSON; -: standard input.")]


def read_policy(file: Path) -> str:
    """Return the text of a file, or of standard input for "-". UsageError for what is no UTF-8 or far too long."""
    if str(file) == "-":
        data = sys.stdin.buffer.read(TEXT_MAX_BYTES + 1)
    else:
        with file.open("rb") as stream:
            data = stream.read(TEXT_MAX_BYTES + 1)
    if len(data) > TEXT_MAX_BYTES:
        raise UsageError(f"{file} is longer than {TEXT_MAX_BYTES} bytes; a policy has a few thousand at most.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text in UTF-8.") from None


@contextmanager
def telling_faults(*, as_json: bool) -> Iterator[None]:
    """Write the faults of a refused policy as JSON, one a line, when JSON is wanted; the error goes on."""
    try:
        yield
    except InvalidPolicyError as error:
        if as_json:
            for fault in faults_of(error):
                write_json(fault)
        raise


def faults_of(error: InvalidPolicyError) -> list[dict[str, Any]]:
    """Return the faults for programs."""
    from relay.policy.document import Faults  # noqa: PLC0415

    faults = error.faults
    assert isinstance(faults, Faults)
    return [{"element": one.element, "reason": one.reason, "example": one.example} for one in faults.faults]
