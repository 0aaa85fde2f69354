"""`relay queue watch`: the queue as it changes, on a terminal as a page that is drawn anew, elsewhere as lines."""

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import write_json

if TYPE_CHECKING:
    from relay.runtime.cli.queue_view import View

INTERVAL_SECONDS = 2.0
INTERVAL_MAX_SECONDS = 3600.0


def watch(
    *,
    interval: Annotated[
        float, typer.Option(min=0.2, max=INTERVAL_MAX_SECONDS, help="Seconds between looks.")
    ] = INTERVAL_SECONDS,
    count: Annotated[int, typer.Option(min=0, help="End after this many looks [never].", show_default=False)] = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch the queue: states, rates, what is under way, and where most of it is stuck. Ctrl-C ends it.

    On a terminal it is a page; piped it is one line each time, with --json one object.
    """
    from relay.runtime.cli.queue_view import QueueView  # noqa: PLC0415
    from relay.runtime.cli.shards import open_shards  # noqa: PLC0415

    with (
        open_shards(config) as (site, shards),
        contextlib.closing(QueueView(site, shards)) as queue,
        contextlib.suppress(KeyboardInterrupt),
        _shown(as_json=as_json) as show,
    ):
        looks = 0
        while True:
            show(queue.look())
            looks += 1
            if looks == count:
                return
            time.sleep(interval)


@contextlib.contextmanager
def _shown(*, as_json: bool) -> Any:
    """Give what shows one look after the other."""
    if as_json:
        yield _write_object
    elif not sys.stdout.isatty():
        yield _write_line
    else:
        from rich.live import Live  # noqa: PLC0415

        from relay.runtime.cli.output import console  # noqa: PLC0415
        from relay.runtime.cli.queue_page import page  # noqa: PLC0415

        screen = console()
        with Live(console=screen, screen=True, auto_refresh=False) as live:
            yield lambda view: live.update(page(view, screen.width, screen.height), refresh=True)


def _write_object(view: "View") -> None:
    write_json(view.as_json())
    sys.stdout.flush()


def _write_line(view: "View") -> None:
    sys.stdout.write(view.line() + "\n")
    sys.stdout.flush()
