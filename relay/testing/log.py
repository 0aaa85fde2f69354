"""A log that remembers, for tests and benchmarks."""

LINES_MAX = 10_000


class MemoryLog:
    """Log: keeps the last lines as (level, event, fields) in `lines`."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def debug(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self._keep("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self._keep("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self._keep("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Keep a line."""
        self._keep("error", event, fields)

    def events(self, level: str) -> list[str]:
        """Return the events of a level, in order."""
        return [event for kept, event, _ in self.lines if kept == level]

    def _keep(self, level: str, event: str, fields: dict[str, object]) -> None:
        if len(self.lines) < LINES_MAX:
            self.lines.append((level, event, fields))
