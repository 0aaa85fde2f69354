"""Percentages of the configuration."""

import pytest

from relay.runtime.config.values import parse_share


@pytest.mark.parametrize(("text", "share"), [("0%", 0.0), ("5%", 0.05), ("0.1%", 0.001), ("100 %", 1.0)])
def test_a_percentage_is_a_share(text, share):
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("value", ["", "%", "5", 5, 0.05, "-1%", "101%", "nan%", "inf%", "x%", None, True, [], "1%%"])
def test_what_is_no_percentage_is_named(value):
    with pytest.raises(ValueError, match=r"such as 5% or 0\.1%"):
        parse_share(value)
