"""The index of a file that is searched: which keys are filed under which terms (`relay.model.search`).

A B-tree over hashes is written all over: a thousand messages touch as many pages. So keys are filed unsorted, and as
soon as there are enough they are sorted into a *segment*, which is written from one end to the other. A search looks
into each segment once, and at the few rows that wait. All terms of a key are in one place: filed in one transaction,
sorted in one transaction. Every function belongs to the caller's transaction, and the file may be an attached one.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Final

import orjson

from relay.store.sql import queries, repeated

SEGMENT_ROWS: Final = 20_000
COUNTED_MAX: Final = 2000
_SQL: Final = queries("postings.sql")
# Each statement gives up the interpreter lock and waits for it again; that costs more than a row does.
_ADD: Final = tuple((rows, repeated(_SQL["add"], rows)) for rows in (256, 32, 4, 1))


def file_keys(connection: sqlite3.Connection, rows: Sequence[tuple[int, int]]) -> None:
    """File (term, key) pairs; a pair that is there already changes nothing. Raise sqlite3.Error."""
    start = 0
    for count, statement in _ADD:
        while len(rows) - start >= count:
            connection.execute(statement, [value for row in rows[start : start + count] for value in row])
            start += count
    if connection.execute(_SQL["fresh_rows"]).fetchone()[0] >= SEGMENT_ROWS:
        sort(connection)


def sort(connection: sqlite3.Connection) -> None:
    """Sort what waits into a segment."""
    for name in ("begin_segment", "sort", "empty"):
        connection.execute(_SQL[name])


def keys_of(connection: sqlite3.Connection, terms: Iterable[int], least: int, below: int) -> Iterator[int]:
    """Yield keys from `least` to below `below` that are filed under all terms (at least one), greatest first."""
    wanted = sorted(set(terms), key=lambda term: _common(connection, term))
    listed = orjson.dumps(wanted).decode()
    fresh = connection.execute(_SQL["fresh_keys"], (below, listed, len(wanted)))
    others = orjson.dumps(wanted[1:]).decode()

    def of_segment(segment: int) -> Iterator[int]:
        return (key for (key,) in connection.execute(_SQL["keys"], (segment, below, wanted[0], others)))

    segments = deque(connection.execute(_SQL["segments"], (least, below)).fetchall())
    last = None
    for key in _merged((key for (key,) in fresh), segments, of_segment):
        if key < least:
            return
        if key != last:
            yield key
        last = key


def forget(connection: sqlite3.Connection, terms: Iterable[int], key: int) -> None:
    """Take a key out of the index."""
    connection.executemany(_SQL["forget"], [(term, key) for term in terms])
    connection.execute(_SQL["forget_fresh"], (key,))


def _common(connection: sqlite3.Connection, term: int) -> int:
    return int(connection.execute(_SQL["common"], (term, COUNTED_MAX)).fetchone()[0])


def _merged(
    fresh: Iterator[int], segments: "deque[tuple[int, int]]", open_segment: Callable[[int], Iterator[int]]
) -> Iterator[int]:
    """Yield keys of all sources, greatest first; a segment is opened when its greatest key may be the next."""
    heap: list[tuple[int, int, Iterator[int]]] = []

    def push(number: int, source: Iterator[int]) -> None:
        key = next(source, None)
        if key is not None:
            heappush(heap, (-key, number, source))

    push(0, fresh)
    while heap or segments:
        while segments and (not heap or segments[0][1] >= -heap[0][0]):
            segment, _ = segments.popleft()
            push(segment, open_segment(segment))
        if heap:
            negative, number, source = heappop(heap)
            yield -negative
            push(number, source)
