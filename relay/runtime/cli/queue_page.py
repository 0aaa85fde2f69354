"""The page of `relay queue watch`: what a terminal of some width and height can show of one look."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from relay.runtime.cli.output import printable
from relay.runtime.cli.queue_view import span

if TYPE_CHECKING:
    from rich.console import RenderableType

    from relay.runtime.cli.queue_view import Stuck, View
    from relay.schedule.summary import Group

NAME_MAX = 34
HEAD_LINES = 5  # with one left free at the end
TABLE_LINES = 2  # blank and head
NARROW = 100
TITLES = {
    "domain": "Domains",
    "site": "Sites (mail exchangers)",
    "account": "Accounts",
    "reason": "Last replies",
}
STATE_STYLES = {"queued": "cyan", "held": "yellow", "quarantined": "red"}
OLD_SECONDS = 60.0


def page(view: "View", width: int, height: int) -> "RenderableType":
    """Return the page; tables are cut so that all of it fits."""
    under_way = _under_way(view)
    tables = [one for one in view.stuck if one.groups]
    rows = _rows([len(one.groups) for one in tables], height - HEAD_LINES - len(under_way))
    parts: list[RenderableType] = [_title(view, width), Text(""), _states(view), _rates(view)]
    for stuck, number in zip(tables, rows, strict=True):
        if number:
            parts += [Text(""), _table(stuck, stuck.groups[:number], view, width)]
    if not tables:
        parts += [Text(""), Text("Nothing is waiting.", style="green")]
    if under_way:
        parts += [Text(""), *under_way]
    return Stack(*parts)


def _rows(wanted: list[int], lines: int) -> list[int]:
    """Return how many rows each table gets, so that with their heads they fill at most some lines: in turns."""
    given = [0] * len(wanted)
    while True:
        before = lines
        for table, most in enumerate(wanted):
            cost = 1 if given[table] else 1 + TABLE_LINES
            if given[table] < most and cost <= lines:
                given[table] += 1
                lines -= cost
        if lines == before:
            return given


def _title(view: "View", width: int) -> Text:
    clock = time.strftime("%H:%M:%S", time.localtime(view.now_ms / 1000))
    state = f"{view.workers} worker{'s' if view.workers != 1 else ''}" if view.workers else "stopped"
    read = f"tables {view.read_seconds_ago:.0f} s old, " if view.read_seconds_ago > OLD_SECONDS else ""
    read = f"first {view.read_deliveries:,} read, " if view.read_deliveries else read
    left = Text.assemble(("Queue of ", ""), (printable(view.hostname), "bold"), f"  {clock}  ")
    left.no_wrap, left.overflow = True, "ellipsis"
    left.append(state, style="green" if view.workers else "red bold")
    right = f"{read}Ctrl-C ends"
    left.append(" " * max(2, width - left.cell_len - len(right)))
    return left.append(right, style="dim")


def _states(view: "View") -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for name, number in view.states.items():
        line.append(f"{name} ", style="dim").append(f"{number:,}", style=STATE_STYLES[name] if number else "dim")
        line.append("  ")
    line.append("in flight ", style="dim").append(f"{view.in_flight:,}  ")
    if view.oldest_ms:
        line.append("oldest ", style="dim").append(f"{span(view.now_ms - view.oldest_ms)}  ")
    if view.next_due_ms:
        due = _due(view.next_due_ms, view)
        line.append("next due ", style="dim").append(due if due == "now" else f"in {due}")
    return line


def _rates(view: "View") -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for name, rate in view.rates.items():
        style = "red" if name == "bounced" and rate else "bold" if rate else "dim"
        line.append(f"{name} ", style="dim").append(f"{rate:,.1f}/s", style=style).append("  ")
    return line if view.rates else Text("rates from the next look on" if view.workers else "", style="dim")


def _table(stuck: "Stuck", groups: "Sequence[Group]", view: "View", width: int) -> Table:
    reasons, wide = stuck.kind != "reason", width >= NARROW
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2 if wide else 1, 0, 0), width=width)
    name_max = min(NAME_MAX, width // (3 if wide else 4)) if reasons else None
    ratio = None if reasons else 1
    table.add_column(TITLES[stuck.kind], no_wrap=True, overflow="ellipsis", width=name_max, ratio=ratio)
    sizes = (("waiting", 9 if wide else 7), ("oldest", 11 if wide else 9), ("next due", 11 if wide else 9))
    for title, size in sizes:
        table.add_column(title, justify="right", no_wrap=True, width=size, header_style="dim")
    if reasons:
        table.add_column("most common last reply", no_wrap=True, overflow="ellipsis", ratio=1, header_style="dim")
    for group in groups:
        oldest = span(view.now_ms - group.oldest_ms) if group.oldest_ms else "-"
        cells = [printable(group.name), f"{group.deliveries:,}", oldest, _due(group.next_ms, view)]
        cells += [printable(stuck.reasons.get(group.name) or "-")] if reasons else []
        table.add_row(*map(Text, cells))
    return table


def _due(at_ms: int, view: "View") -> str:
    if not at_ms:
        return "-"
    return "now" if at_ms <= view.now_ms else span(at_ms - view.now_ms)


def _under_way(view: "View") -> list[Text]:
    if not view.under_way:
        return []
    lines = [Text(f"Under way ({len(view.under_way)} of {view.in_flight})", style="bold")]
    for recipient, reply, attempts in view.under_way:
        line = Text(printable(recipient), no_wrap=True, overflow="ellipsis")
        if attempts:
            line.append(f"  attempt {attempts + 1}, last: {printable(reply)}", style="dim")
        lines.append(line)
    return lines
