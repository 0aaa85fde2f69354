"""SQL over events, with DuckDB, which no other module imports: streams of JSON lines, plain or gzip, as tables.

A query can read the given files and nothing else: no other file, no network, no extension, and it cannot change a
setting or write. Memory, threads and time are limited; what does not fit memory goes to a directory that is removed.
"""

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

from relay.errors import ConfigurationError, TemporaryError, UsageError
from relay.store.sql import queries

TABLES: Final = (
    "ses",
    "events",
    "of_kind",
    "send",
    "delivery",
    "bounce",
    "complaint",
    "delivery_delay",
    "reject",
    "open",
    "click",
    "rendering_failure",
    "subscription",
)
SHOWN: Final = tuple(name for name in TABLES if name != "of_kind")
ROWS_AT_ONCE: Final = 1000
_EXPLAIN: Final = re.compile(r"\s*EXPLAIN\s+(?:ANALYZE\s+)?", re.IGNORECASE)
_SPILL_BYTES: Final = "20GB"
_VIEWS: Final = queries("analysis.sql")


class Analysis:
    """One database over some files. Close it, or use it as a context manager.

    `scratch` is an empty directory of ours. Raise ConfigurationError when DuckDB is not installed.
    """

    def __init__(
        self, files: Sequence[Path], scratch: Path, *, memory_bytes: int, threads: int, seconds_max: float
    ) -> None:
        try:
            import duckdb  # noqa: PLC0415 - an optional part of the installation
        except ImportError as error:
            raise ConfigurationError(
                "Analysis with SQL needs DuckDB, which is not installed: pip install 'relay-mta[analysis]'."
            ) from error
        self._errors = duckdb.Error
        self._seconds_max = seconds_max
        names = [str(file.resolve()) for file in files]
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{memory_bytes}B",
                "threads": threads,
                "temp_directory": str(scratch),
                "max_temp_directory_size": _SPILL_BYTES,
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
            },
        )
        execute = self._connection.execute
        execute("SET VARIABLE sources = ?", [names])
        execute("SET TimeZone = 'UTC'")
        execute("SET allowed_paths = ?", [names])
        execute("SET enable_external_access = false")
        execute(_VIEWS["raw" if names else "nothing"])
        for name in TABLES:
            execute(_VIEWS[name])
        execute("SET lock_configuration = true")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def query(self, sql: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        """Return names of columns, and the rows, read as they are taken.

        Raise UsageError for SQL that is wrong or more than one reading statement, TemporaryError when time or memory
        is up.
        """
        with self._guarded():
            statements = self._connection.extract_statements(sql)
            if len(statements) != 1 or not self._reads(statements[0]):
                raise UsageError(
                    "A query is one statement that reads: SELECT, WITH, FROM, DESCRIBE, SUMMARIZE, EXPLAIN."
                )
            cursor = self._connection.execute(statements[0])
            names = [str(column[0]) for column in cursor.description or ()]
        return names, self._rows(cursor)

    def _reads(self, statement: Any) -> bool:
        """Say whether a statement reads only. EXPLAIN ANALYZE runs what it explains, whatever that is."""
        if statement.type.name != "EXPLAIN":
            return bool(statement.type.name == "SELECT")
        begin = _EXPLAIN.match(statement.query)
        explained = self._connection.extract_statements(statement.query[begin.end() :]) if begin else ()
        return [one.type.name for one in explained] == ["SELECT"]

    def _rows(self, cursor: Any) -> Iterator[Sequence[Any]]:
        while True:
            with self._guarded():
                rows = cursor.fetchmany(ROWS_AT_ONCE)
            if not rows:
                return
            yield from rows

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Interrupt what takes too long, and give errors as ours."""
        late = threading.Event()

        def interrupt() -> None:
            late.set()
            self._connection.interrupt()

        timer = threading.Timer(self._seconds_max, interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        except self._errors as error:
            sentence = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            if late.is_set():
                raise TemporaryError(f"The query took longer than {self._seconds_max:g} s.") from error
            if type(error).__name__ == "OutOfMemoryException":
                raise TemporaryError(f"The query needs more memory: {sentence}") from error
            raise UsageError(f"The query failed: {sentence}") from error
        finally:
            timer.cancel()
