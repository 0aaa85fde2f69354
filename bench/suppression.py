"""Suppression lists of millions: import, and what a look costs a message. `python -m bench.suppression --rows N`.

A file of random addresses is imported into an empty list, then a tenth as many more into the full one, while another
process adds single addresses to another list: how long that waits is a figure too. Then random addresses, half of
them listed, are looked up as acceptance does it: the comparison of versions, the caches, and SQLite behind them.
"""

import argparse
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from bench.figures import Figure, arguments, at_least, at_most, finish, show_reference
from relay.model.import_job import ImportAction
from relay.signing.secrets import new_master_key
from relay.store.catalog import SUPPRESSION_FILE, Catalog, open_catalog
from relay.store.directory import CatalogDirectory
from relay.store.suppression import Form, SuppressionLists
from relay.store.suppression_import import read_lines

ACCOUNT, OTHER, WITHOUT = "000000000001", "000000000002", "000000000003"
ROWS_A_SECOND = 50_000
P99_US, TYPICAL_US = 100.0, 20.0
WAIT_P99_MS = 1000.0
LOOKS = 200_000
ADD_EVERY_SECONDS = 0.02
NUMBERS = 10**9
DOMAINS = 5000


def address(number: int) -> str:
    """Return the address of a number, below 2**31, that says nothing about its place in the order of a list."""
    return f"user{number * 2_654_435_761 % NUMBERS}@example{number % DOMAINS}.com"


def written(path: Path, numbers: range) -> Path:
    """Write a file to import."""
    with path.open("w", encoding="ascii") as file:
        file.writelines(f"{address(number)},{'COMPLAINT' if number % 10 == 0 else 'BOUNCE'}\n" for number in numbers)
    return path


def imported(catalog: Catalog, path: Path, rows: int) -> tuple[float, float]:
    """Import a file; return rows a second, and CPU time a row in us."""
    begin, cpu = time.monotonic(), time.process_time()
    job = catalog.import_jobs.create(ACCOUNT, ImportAction.PUT, Form.CSV, str(path))
    with path.open("rb") as stream:
        catalog.import_jobs.run(job, read_lines(stream))
    took, cpu = time.monotonic() - begin, time.process_time() - cpu
    ended = catalog.import_jobs.get(job.job_id)
    assert (ended.processed, ended.failed) == (rows, 0), ended
    path.unlink()
    return rows / took, cpu / rows * 1e6


def add_on_and_on(path: Path, stop: Connection) -> None:
    """Add one address after the other until told to stop; send how long each took, in ms."""
    lists, waits = SuppressionLists.open(path, lambda: 0), []
    while not stop.poll(ADD_EVERY_SECONDS):
        begin = time.perf_counter()
        lists.add(OTHER, f"u{len(waits)}@other.example")
        waits.append((time.perf_counter() - begin) * 1000)
    stop.send(waits)


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def looked(call: Callable[[str], object], targets: list[str]) -> tuple[float, float, float]:
    """Return p50, p99 and mean of a call, in us of wall time."""
    clock, took = time.perf_counter_ns, []
    for target in targets:
        begin = clock()
        call(target)
        took.append(clock() - begin)
    return percentile(took, 0.5) / 1000, percentile(took, 0.99) / 1000, sum(took) / len(took) / 1000


def filling(catalog: Catalog, directory: Path, rows: int) -> Iterator[Figure]:
    """Measure imports, and what they cost others."""
    more = max(1, rows // 10)
    first = written(directory / "first.csv", range(rows))
    second = written(directory / "second.csv", range(rows, rows + more))
    mine, theirs = multiprocessing.Pipe()
    writer = multiprocessing.Process(target=add_on_and_on, args=(directory / SUPPRESSION_FILE, theirs))
    writer.start()
    for name, path, count in (("into an empty list", first, rows), ("into that list", second, more)):
        speed, cpu = imported(catalog, path, count)
        note = f"({cpu:.1f} us of CPU a row)"
        yield at_least(f"import of {count:,} rows {name}", speed, ROWS_A_SECOND, "rows/s", note)
    mine.send(True)
    waits = mine.recv()
    writer.join()
    note = f"({len(waits)} writes, longest {max(waits):.0f} ms)"
    yield Figure("another writer waits, p50", "", f"{percentile(waits, 0.5):.1f} ms")
    yield at_most("another writer waits, p99", percentile(waits, 0.99), WAIT_P99_MS, "ms", note)
    size = (directory / SUPPRESSION_FILE).stat().st_size
    yield Figure("size of the file", "", f"{size / 1e6:.0f} MB, {size / (rows + more):.0f} bytes a row")


def looking(catalog: Catalog, reader: CatalogDirectory, rows: int, looks: int) -> Iterator[Figure]:
    """Measure look-ups."""
    pick = random.Random(1)
    targets = [address(pick.randrange(2 * rows)) for _ in range(looks)]
    reader.refresh()
    listed = sum(reader.suppressed(ACCOUNT, target) is not None for target in targets[:1000])
    assert 300 < listed < 800, listed

    def as_accepted(target: str) -> object:
        reader.refresh()
        return reader.suppressed(ACCOUNT, target)

    p50, p99, mean = looked(as_accepted, targets)
    yield at_most("look as acceptance does it, any address: p50", p50, TYPICAL_US, "us", f"(mean {mean:.1f} us)")
    yield at_most("look as acceptance does it, any address: p99", p99, P99_US, "us")
    same = targets[:1000] * (looks // 1000)
    p50, p99, _ = looked(as_accepted, same)
    yield at_most("  an address seen before: p50", p50, TYPICAL_US, "us")
    yield at_most("  an address seen before: p99", p99, P99_US, "us")
    rows_of, values = reader._suppression.rows, {"account": ACCOUNT}  # noqa: SLF001 a bench may look inside
    p50, p99, _ = looked(lambda target: rows_of("get", {**values, "folded": target}), targets)
    yield at_most("  SQLite alone: p50", p50, TYPICAL_US, "us")
    yield at_most("  SQLite alone: p99", p99, P99_US, "us")

    def on_both(target: str) -> object:
        reader.refresh()
        return reader.listed(target, 0)

    fill_relay_list(catalog, rows // 10)
    p50, p99, _ = looked(on_both, targets)
    yield at_most(f"the relay's list, {rows // 10:,} rows: p50", p50, TYPICAL_US, "us")
    yield at_most(f"the relay's list, {rows // 10:,} rows: p99", p99, P99_US, "us")
    begin = time.monotonic()
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        nowhere.writelines(catalog.suppression.export_lines(ACCOUNT, Form.CSV))
    yield Figure("export", "", f"{(rows + rows // 10) / (time.monotonic() - begin):.0f} rows/s")


def fill_relay_list(catalog: Catalog, rows: int) -> None:
    """Put random digests on the relay's list."""
    file = catalog.relay_list._file  # noqa: SLF001 a bench may look inside
    values = [
        {"digest": digest, "step": 0, "bounced_ms": 0, "until_ms": 1}
        for digest in sorted(os.urandom(16) for _ in range(rows))
    ]
    with file.writing("*"):
        file.connection.executemany(file.queries["put_stay"], values)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="addresses on the list")
    parser.add_argument("--directory", default="/tmp", help="where to make the files")
    args: argparse.Namespace = parser.parse_args()
    rows, looks = (50_000, LOOKS // 10) if args.quick else (args.rows, LOOKS)
    show_reference()
    master = new_master_key()
    with tempfile.TemporaryDirectory(prefix="relay-bench-", dir=args.directory) as name:
        directory = Path(name)
        with open_catalog(directory, master) as catalog:
            for account in (ACCOUNT, OTHER, WITHOUT):
                catalog.accounts.create(account)
            found = list(filling(catalog, directory, rows))
            reader = CatalogDirectory(directory, master)
            found += looking(catalog, reader, rows, looks)
            reader.close()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found.append(Figure("memory of the process", "", f"{peak:.0f} MiB at most"))
    finish(found, args.json)
    return int(any(figure.passed is False for figure in found))


if __name__ == "__main__":
    sys.exit(main())
