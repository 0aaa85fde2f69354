"""`relay serve` with a catalog that no client could log in with: a sentence, exit code 78, nothing started."""

import base64
import re
import sqlite3

import pytest

from relay.signing.secrets import Sealer, decode_master_key
from relay.store.catalog import check_key
from relay.store.catalog_files import load_queries
from tests.product import Product


@pytest.fixture
def product():
    made = Product(domain=None)
    yield made
    made.__exit__()


def newer(data_dir):
    with sqlite3.connect(data_dir / "catalog.db") as catalog:
        catalog.execute("PRAGMA user_version = 99")
    catalog.close()


def damaged(data_dir):
    (data_dir / "catalog.db").write_bytes(b"\xd5 no database " * 500)
    for left in data_dir.glob("catalog.db-*"):
        left.unlink()


def missing(data_dir):
    (data_dir / "catalog.db").unlink()


def other_key(data_dir):
    (data_dir / "keys" / "master.key").write_bytes(base64.b64encode(bytes(range(32))) + b"\n")


def suppression_damaged(data_dir):
    (data_dir / "suppression.db").write_bytes(b"\xd5 no database " * 500)
    for left in data_dir.glob("suppression.db-*"):
        left.unlink()


def short_key(data_dir):
    (data_dir / "keys" / "master.key").write_text("c2hvcnQ=\n")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (newer, "nothing was changed: start the newer release again, or restore the backup made before it."),
        (short_key, "master.key does not hold 32 bytes in base64; restore it from your backup."),
        (damaged, "catalog.db is damaged (file is not a database); restore it from your backup."),
        (missing, "catalog.db is missing; restore it from your backup, or begin with an empty one"),
        (other_key, "catalog.db was written with another master key; restore keys/master.key"),
        (suppression_damaged, "suppression.db is damaged (file is not a database); restore it from your backup."),
    ],
)
def test_a_catalog_that_cannot_serve_keeps_the_relay_from_starting(product, harm, sentence):
    harm(product.data_dir)
    done = product.run("serve", check=False)
    assert done.returncode == 78
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (product.data_dir / "spool").exists()  # no worker was started


def test_a_catalog_of_an_earlier_release_is_brought_up_to_date_before_workers_read_it(product):
    path, queries = product.data_dir / "catalog.db", load_queries("catalog.sql")
    newest = sum(name.startswith("migration_") for name in queries)
    sealer = Sealer(decode_master_key((product.data_dir / "keys" / "master.key").read_bytes()))
    for file in product.data_dir.glob("catalog.db*"):
        file.unlink()
    first = sqlite3.connect(path)
    first.executescript(queries["migration_1"])
    first.execute("PRAGMA user_version = 1")
    check_key(first, path, queries, sealer)
    first.commit()
    first.close()
    product.start()
    catalog = sqlite3.connect(path)
    assert catalog.execute("PRAGMA user_version").fetchone()[0] == newest
    catalog.close()
    assert not re.search(r'"level":"error"', product.log_text())
