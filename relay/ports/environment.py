"""What every part asks of its surroundings: the time, a log, metrics; and JSON as it travels between processes."""

from typing import Any, Protocol

Json = dict[str, Any]


class Clock(Protocol):
    """The only source of time. Durations are measured with `monotonic`, never with `now_ms`."""

    def now_ms(self) -> int:
        """Return wall-clock time in milliseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps."""
        ...


class Log(Protocol):
    """Structured log: an event in plain words, and fields. Values are escaped by the adapter, one line each."""

    def debug(self, event: str, **fields: object) -> None:
        """Tell a developer."""
        ...

    def info(self, event: str, **fields: object) -> None:
        """Tell an operator what happened."""
        ...

    def warning(self, event: str, **fields: object) -> None:
        """Tell an operator what may need a look."""
        ...

    def error(self, event: str, **fields: object) -> None:
        """Tell an operator what needs a hand."""
        ...


class Metrics(Protocol):
    """Counters and histograms declared in one table; an unknown name is a KeyError in tests."""

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        ...

    def gauge(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge of this process; gauges of all processes are added up."""
        ...
