"""A spool file is damaged where it keeps the number of its event log: what was applied is not applied again."""

import sqlite3
from contextlib import closing

from tests.crash.ledger import checked
from tests.product import Product, Receiver, eventually


def refuse(verb, line):
    return "550 5.1.1 no such user" if verb == "RCPT" else None


def test_a_salvage_that_loses_the_number_of_the_log_applies_no_event_twice():
    with Receiver(answer=refuse) as receiver, Product(receiver.port, suppression=True) as product:
        spool, bounced = product.data_dir / "spool" / "0001" / "spool.db", []
        for _ in range(5):
            bounce(product, bounced)
            product.stop()
            if rows(spool, "SELECT count(*) FROM event") > 0:  # some of a log that was not pruned meanwhile
                break
            product.start()
        number = rows(spool, "SELECT value FROM meta WHERE name = 'event_log'")
        lose_meta(spool)
        product.start()
        assert "spool salvaged" in product.log_text()
        bounce(product, bounced)
        product.stop()
        assert rows(spool, "SELECT value FROM meta WHERE name = 'event_log'") == number
        found = checked(product, bounced=dict.fromkeys(bounced, 1))
        assert found == {"Send": len(bounced), "Bounce": len(bounced)}


def bounce(product, bounced):
    bounced.append(f"gone{len(bounced)}@remote.example")
    message_id = product.send(bounced[-1])
    eventually(lambda: any(e["mail"]["messageId"] == message_id for e in product.events("Bounce")), 30, "a bounce")


def lose_meta(spool):
    """Overwrite the page of the table `meta`."""
    with closing(sqlite3.connect(spool)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'meta'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    for companion in ("-wal", "-shm"):
        spool.with_name(spool.name + companion).unlink(missing_ok=True)
    with spool.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def rows(path, query):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchone()[0]
