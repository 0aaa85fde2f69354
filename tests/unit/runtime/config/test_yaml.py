"""A document read in C says what one read in Python says: the values, their lines, and what is wrong."""

from pathlib import Path

import pytest
import yaml

from relay.runtime.config.document import read

EXAMPLE = Path(__file__).parents[4] / "config" / "relay.yaml"
TEXTS = (
    "",
    "- a",
    "a: 1\na: 2",
    "a: yes\nb: no\nc: true\nd: ~\ne: 1e3\nf: 007\ng: 7\nh: 2.5\ni: 2026-11-26\nj: ''\n",
    "a: |\n  x\n y\n",
    "a: {b:c}",
    "a: b: c",
    "a: 'x",
    "\tb: 1",
    "a: 'sträng'\nb: [1, {c: \U0001f4a5}]",
    "a:\u2028b: 1",
    "a: \x01",
    "é: 1\nb: \x01",
    "\ufeffa: 1",
    "\ud800: 1",
    "a: !!python/object:os.system x",
    "a: &x 1\nb: *x\nc: *y",
    "a: &x [*x]",
    "? [a]\n: b",
    "--- a\n--- b",
    "%YAML 1.1\n---\na: 1",
    "[" * 100_000,
    "{a: " * 100_000,
    "- " * 100_000,
    "? " * 100_000,
    "a:\n" + "".join(" " * depth + "- \n" for depth in range(1, 2000)),
    "a: " + "[" * 900 + "]" * 900,
)


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="needs PyYAML with libyaml")
@pytest.mark.parametrize("text", [EXAMPLE.read_text(), *TEXTS], ids=lambda text: ascii(text[:20]))
def test_both_readers_agree(text, monkeypatch):
    quick, faults = read(text)
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    plain, plain_faults = read(text)
    assert (repr(quick), quick.lines, faults) == (repr(plain), plain.lines, plain_faults)
