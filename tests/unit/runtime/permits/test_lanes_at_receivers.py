"""Limits of lanes as receivers see them: the benchmark in small (the figure is `python -m bench.lanes`)."""

from bench.lanes import arguments, measure


def test_receivers_never_see_more_than_the_limit_and_nearly_all_of_it_also_with_kills():
    """Six sites, two sources, three workers, limits of 2 to 20; permits and a worker are killed in the middle."""
    size = ["--sites", "6", "--sources", "2", "--workers", "3", "--seconds", "3", "--delay", "0.3", "--kill"]
    figures = measure(arguments(size))
    assert figures["over"] == {}
    used = figures["samples"][-4:]
    assert sum(used) / len(used) >= 0.9
    assert figures["full"] == 12
    assert figures["messages"] > 100
