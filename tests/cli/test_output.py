"""Nothing from outside may command a terminal; pipes get unwrapped, uncoloured text."""

import io

import pytest

from relay.runtime.cli import output


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Müller ✓", "Müller ✓"),
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\u202eevil", "\\u202eevil"),
        ("\x9b31m", "\\x9b31m"),
        (17, "17"),
    ],
)
def test_printable(text, shown):
    assert output.printable(text) == shown


def test_piped_table_never_wraps(capsys):
    long = "x" * 500
    output.write_table(("Message", "Reply"), [(long, "[bold]not markup[/] \x1b[31m")], empty="none")
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["Message", "Reply"]
    assert row.split("  ")[0] == long
    assert "[bold]not markup[/] \\x1b[31m" in row


def test_empty_table_says_so_on_stderr(capsys):
    output.write_table(("A",), [], empty="Nothing here.")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Nothing here.\n")


def test_json_is_one_object_a_line(capsys):
    output.write_json_lines([{"a": "é\n"}, {"b": None}])
    assert capsys.readouterr().out == '{"a": "é\\n"}\n{"b": null}\n'


def test_progress_is_silent_without_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with output.working("long"), output.counting("many", 100) as advance:
        advance()
    import sys

    assert sys.stderr.getvalue() == ""


@pytest.mark.parametrize(("value", "shown"), [(0, "0 B"), (1023, "1023 B"), (10240, "10.0 KB"), (5 << 40, "5.0 TB")])
def test_size(value, shown):
    assert output.size(value) == shown


def test_iso():
    assert output.iso(1_700_000_000_123) == "2023-11-14T22:13:20.123Z"
    assert output.iso(0) is None
