"""Mail of the relay's own to senders and contacts, kept beside the change it tells about until a worker has it.

A notice is written in the transaction of the change, so that neither exists without the other. The office hands it
to a worker, which commits it to its spool once, whatever happens in between; only then it is forgotten here.
"""

from dataclasses import dataclass

from relay.model.content import Content
from relay.store.catalog_tables import Row, Tables

WAITING_MAX = 1000  # notices of one account; what would come on top is dropped, and the change stands without it


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail to `recipient` with the null sender, signed with the keys of `signed_by` ("": the relay's own)."""

    notice_id: int
    account: str
    recipient: str
    signed_by: str
    content: Content
    created_ms: int


class Notices:
    """Keeps mails until they are handed over."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def add(self, account: str, recipient: str, head: bytes, body: bytes, *, signed_by: str = "") -> bool:
        """Keep a mail, inside the transaction of the change it tells about; False when too many wait."""
        row = self._tables.row("count_notices", {"account": account})
        if row is not None and row[0] >= WAITING_MAX:
            return False
        values = {
            "account": account,
            "recipient": recipient,
            "signed_by": signed_by,
            "head": head,
            "body": body,
            "created_ms": self._tables.now_ms(),
        }
        self._tables.run("add_notice", values)
        return True

    def waiting(self, limit: int = 100) -> list[Notice]:
        """Return the oldest mails that no worker has yet."""
        return [_notice_of(row) for row in self._tables.rows("list_notices", {"limit": limit})]

    def forget(self, notice: Notice) -> None:
        """Drop a mail that a worker has committed."""
        with self._tables.writing(notice.account):
            self._tables.run("delete_notice", {"id": notice.notice_id})


def _notice_of(row: Row) -> Notice:
    notice_id, account, recipient, signed_by, head, body, created_ms = row
    return Notice(notice_id, account, recipient, signed_by, Content(head, body), created_ms)
