"""Mail of the relay's own to senders and contacts, kept beside the change it tells about until a worker has it.

A notice is written in the transaction of the change, so that neither exists without the other. The office tells a
worker its number; the worker reads it here and commits it to its spool once, whatever happens in between; only then
it is forgotten here. Numbers are never given out twice.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from relay.mail.address import BadAddress, parse_mailbox
from relay.mail.letter import Letter
from relay.model.content import Content
from relay.model.notice import Notice
from relay.store.catalog_files import load_queries, open_for_reading, reading
from relay.store.catalog_tables import Row, Tables

WAITING_MAX = 1000  # notices of one account; what would come on top is dropped, and the change stands without it
WAITING_BYTES_MAX = 64 * 1024 * 1024
NOBODY = ""  # no account: handing a mail over changes nothing that is cached of one


class Notices:
    """Keeps mails until they are handed over."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def add(
        self,
        account: str,
        recipient: str,
        head: bytes,
        body: bytes,
        *,
        signed_by: str = "",
        created_ms: int | None = None,
    ) -> bool:
        """Keep a mail, inside the transaction of the change it tells about.

        False when too many wait, or `recipient` is no address: the contact of an account may be any text.
        """
        if isinstance(parse_mailbox(recipient, smtputf8=True), BadAddress):
            return False
        row = self._tables.row("count_notices", {"account": account})
        if row is not None and (row[0] >= WAITING_MAX or row[1] + len(body) > WAITING_BYTES_MAX):
            return False
        values = {
            "account": account,
            "recipient": recipient,
            "signed_by": signed_by,
            "head": head,
            "body": body,
            "created_ms": self._tables.now_ms() if created_ms is None else created_ms,
        }
        self._tables.run("add_notice", values)
        return True

    def keep(self, account: str, recipient: str, head: bytes, body: bytes) -> bool:
        """Keep a mail that tells about no change of the catalog; as `add`, in a transaction of its own."""
        with self._tables.writing(account):  # a change of nobody's would not be noticed by who hands mail over
            return self.add(account, recipient, head, body)

    def add_letter(self, account: str, recipient: str, letter: Letter) -> bool:
        """Keep a letter of the relay itself; as `add`."""
        return self.add(account, recipient, *letter)

    def tell(self, account: str, recipient: str, letter: Letter) -> bool:
        """Keep a letter about something outside the catalog; it counts as a change of the account, and so is seen."""
        with self._tables.writing(account):
            return self.add_letter(account, recipient, letter)

    def tell_contacts(self, account: str, write: Callable[[str], Letter]) -> None:
        """Keep a letter to each contact of an account, inside the transaction of the change."""
        row = self._tables.row("contacts_of_account", {"account": account})
        contacts = [row[0], *json.loads(row[1])] if row else []
        for contact in dict.fromkeys(filter(None, contacts)):
            self.add_letter(account, contact, write(contact))

    def waiting(self, limit: int = 100, after: int = 0) -> list[int]:
        """Return the numbers of the oldest mails beyond `after` that no worker has yet."""
        return [row[0] for row in self._tables.rows("list_notices", {"after": after, "limit": limit})]

    def get(self, notice_id: int) -> Notice | None:
        """Return a mail that waits, None when it was forgotten or voided."""
        row = self._tables.row("get_notice", {"id": notice_id})
        return _notice_of(row) if row else None

    def forget(self, notice_ids: Sequence[int]) -> None:
        """Drop mails that a worker has committed."""
        with self._tables.writing(NOBODY):
            self._tables.run("delete_notices", {"ids": json.dumps(list(notice_ids))})


def read_notice(catalog_file: Path, notice_id: int) -> Notice | None:
    """Return a mail that waits, over a connection of its own, for a process that only reads. Raise StorageError."""
    queries = load_queries("catalog.sql")
    connection = open_for_reading(catalog_file, queries)
    try:
        with reading(catalog_file):
            row = connection.execute(queries["get_notice"], {"id": notice_id}).fetchone()
    finally:
        connection.close()
    return _notice_of(row) if row else None


def _notice_of(row: Row) -> Notice:
    notice_id, account, recipient, signed_by, head, body, created_ms = row
    return Notice(notice_id, account, recipient, signed_by, Content(head, body), created_ms)
