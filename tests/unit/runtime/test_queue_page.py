"""The page of `relay queue watch` fits the terminal it is shown on."""

import io

import pytest
from rich.console import Console

from relay.runtime.cli.queue_page import page
from relay.runtime.cli.queue_view import Stuck, View, span
from relay.schedule.summary import Group

NOW = 1_800_000_000_000


def view(groups=30, **values):
    kinds = ("domain", "site", "account", "reason")
    made = [Group(f"name{n}.test \x1b[2J", 1000 - n, 1, 1, 0, NOW - 5_000_000, NOW + 9000) for n in range(groups)]
    facts = {
        "now_ms": NOW,
        "hostname": "relay.example",
        "workers": 2,
        "states": {"queued": 1_234_567, "held": 0, "quarantined": 1},
        "oldest_ms": NOW - 100_000_000,
        "next_due_ms": NOW - 1,
        "rates": {"accepted": 1.0, "delivered": 1234.5, "deferred": 0.0, "bounced": 0.1},
        "in_flight": 40,
        "under_way": [("user@x.test", "451 \x1b[2J", 2)] * 5,
        "stuck": [Stuck(kind, made, {made[0].name: "451 no"} if made else {}) for kind in kinds],
        "read_seconds_ago": 100.0,
    }
    return View(**(facts | values))


@pytest.mark.parametrize("width", [40, 80, 100, 250])
@pytest.mark.parametrize("height", [5, 10, 24, 60])
@pytest.mark.parametrize("groups", [0, 1, 30])
def test_it_fits(width, height, groups):
    out = io.StringIO()
    Console(file=out, width=width, height=height, force_terminal=False).print(page(view(groups), width, height))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "\x1b" not in out.getvalue()
    assert "1,234,567" in out.getvalue()
    if height >= 24:
        assert len(lines) <= height
        assert groups == 0 or "Domains" in out.getvalue()


def test_a_line_for_a_log():
    line = view().line()
    assert "queued 1234567" in line
    assert "\x1b" not in line
    assert "stopped" in view(workers=0, rates={}, stuck=[], oldest_ms=0).line()


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0 s"),
        (999, "0 s"),
        (59_999, "59 s"),
        (60_000, "1 min"),
        (11_520_000, "3 h 12 min"),
        (187_200_000, "2 d 4 h"),
    ],
)
def test_spans(ms, text):
    assert span(ms) == text
