"""Every table and every file of the data directory is on the page about personal data."""

import re
from pathlib import Path

import pytest

from relay.runtime.privacy_places import CONFIGURED, FATES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "privacy.md").read_text()
STORE = ROOT / "relay" / "store"
FILES = {
    "catalog": ("catalog.db", STORE / "catalog.sql"),
    "suppression": ("suppression.db", STORE / "suppression.sql"),
    "spool": ("spool.db", None),
    "history": ("history/", None),
    "archive": ("events/archive/", None),
    "event_queue": ("events/queue.db", None),
    "event_counts": ("events/metrics.db", None),
    "statistics": ("events/statistics.db", None),
    "tls": ("office/tls.db", None),
    "own": ("office/own.db", None),
    "snds": ("office/snds.db", None),
    "outbox": ("office/outbox.db", None),
    "permits": ("permits/permits.db", None),
}
SCHEMAS = sorted({path.name for path in (STORE / "schema").iterdir() if path.is_dir()} | {"catalog", "suppression"})


def tables(schema):
    given = FILES[schema][1]
    paths = [given] if given else sorted((STORE / "schema" / schema).glob("*.sql"))
    return set(re.findall(r"^CREATE TABLE (\w+)", "\n".join(path.read_text() for path in paths), re.MULTILINE))


def told(section):
    text = PAGE.partition(f"### Tables of `{section}`\n")[2].partition("\n#")[0]
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


@pytest.mark.req("PRIV-003", "PRIV-004")
@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_table_is_told(schema):
    assert schema in FILES, f"{schema}: say in docs/reference/privacy.md what it keeps, and here where it is"
    assert told(FILES[schema][0]) == tables(schema)
    assert "Do not put personal data into names and tags" in PAGE


@pytest.mark.req("PRIV-004")
def test_every_file_is_told():
    layout = (
        (ROOT / "docs" / "internals.md").read_text().partition("## The data directory\n```\n")[2].partition("```")[0]
    )
    names = {line.split()[0].split("/")[0] for line in layout.splitlines()[1:] if re.match(r"  \S", line)}
    files = PAGE.partition("### Files\n")[2].partition("\n#")[0]
    assert not [name for name in sorted(names) if f"`{name}" not in files]


@pytest.mark.req("PRIV-004")
def test_what_becomes_of_rows_is_said_of_tables_that_there_are():
    assert set(CONFIGURED) <= tables("catalog")
    known = {name.rpartition("/")[2]: schema for schema, (name, _) in FILES.items()}
    for file, fates in FATES.items():
        assert set(fates) <= tables(known[file]), file
