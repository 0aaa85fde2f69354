"""`relay classify`: what a bounce, complaint or automatic answer says, as JSON."""

import sys
from typing import Annotated

import typer

from relay.errors import UsageError
from relay.runtime.cli.output import write_json

INPUT_MAX_BYTES = 50 * 1024 * 1024


def classify(
    *,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say also whose fault it is, and which rule decided on each recipient.")
    ] = False,
) -> None:
    """Read one raw message from standard input and print what kind of report it is, as JSON."""
    from relay.mail.classify import classify as read_report  # noqa: PLC0415

    raw = sys.stdin.buffer.read(INPUT_MAX_BYTES + 1)
    if len(raw) > INPUT_MAX_BYTES:
        raise UsageError(f"The message is larger than {INPUT_MAX_BYTES // 1024 // 1024} MB.")
    found = read_report(raw)
    write_json(found.explained() if explain else found.as_json())
