"""`relay demo`, which is `make run`."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where it lives; kept from run to run.")] = Path(
        "run"
    ),
    *,
    port_base: Annotated[
        int, typer.Option(metavar="N", help="Count the ports from here [2500, or as before].", show_default=False)
    ] = 0,
    once: Annotated[bool, typer.Option("--once", help="Leave after the first message.")] = False,
) -> None:
    """Run a relay and a mailbox on this machine, send a first message, show its way, print lines to copy.

    Nothing leaves the machine: all mail goes to the mailbox. Ctrl-C ends both.
    """
    from relay.runtime.cli.demo_run import run  # noqa: PLC0415

    run(directory, port_base, once=once)
