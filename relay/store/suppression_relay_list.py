"""The suppression list of the whole relay: digests of addresses, each with the end of its stay (SUPP-002, SUPP-003).

It belongs to no account, and none can read it. Keyed digests are kept instead of addresses: who has a copy of the
file and not the master key can neither read an address out of it nor try one.
"""

import hashlib

from relay.policy.stays import REMEMBERED_MS, Stay, stay_after
from relay.policy.suppression import fold
from relay.signing.secrets import derive
from relay.store.suppression import checked_address
from relay.store.suppression_file import RELAY_LIST, SuppressionFile

PURPOSE = "relay suppression list v1"
DIGEST_BYTES = 16
FORGOTTEN_TOGETHER = 5000


class Digester:
    """Makes digests of folded addresses with a key of its own."""

    __slots__ = ("_key",)

    def __init__(self, master_key: bytes) -> None:
        self._key = derive(master_key, PURPOSE)

    def digest(self, folded: str) -> bytes:
        """Return the digest of a folded address."""
        return hashlib.blake2b(
            folded.encode("utf-8", "surrogatepass"), key=self._key, digest_size=DIGEST_BYTES
        ).digest()


class RelayList:
    """The relay's list, open for writing."""

    __slots__ = ("_digester", "_file")

    def __init__(self, file: SuppressionFile, digester: Digester) -> None:
        self._file = file
        self._digester = digester

    def bounced(self, address: str, bounced_ms: int) -> Stay:
        """Put an address on the list inside a transaction of the file, or lengthen its stay; return that."""
        digest = self._digester.digest(fold(address))
        row = self._file.row("get_stay", {"digest": digest})
        stay = stay_after(Stay(*row) if row else None, bounced_ms)
        values = {"step": stay.step, "bounced_ms": stay.bounced_ms, "until_ms": stay.until_ms}
        self._file.run("put_stay", {"digest": digest, **values})
        return stay

    def check(self, address: str) -> Stay | None:
        """Return the stay of an address, which may have ended, None when none is known. Raise UsageError."""
        row = self._file.row("get_stay", {"digest": self._digest(address)})
        return Stay(*row) if row else None

    def remove(self, address: str) -> bool:
        """Take an address off the list and forget its stays; say whether one was known. Raise UsageError."""
        with self._file.writing(RELAY_LIST):
            return self._file.run("remove_stay", {"digest": self._digest(address)}) > 0

    def erase(self, address: str) -> int:
        """Forget an address; return how many entries there were, 0 or 1."""
        return int(self.remove(address))

    def count(self) -> int:
        """Return how many addresses are on the list now."""
        return int(self._file.rows("count_stays", {"now_ms": self._file.now_ms()})[0][0])

    def forget_ended(self) -> int:
        """Forget stays that ended too long ago to count for the next; return how many."""
        before_ms, forgotten = self._file.now_ms() - REMEMBERED_MS, 0
        while True:
            with self._file.writing():
                some = self._file.run("forget_stays", {"before_ms": before_ms, "limit": FORGOTTEN_TOGETHER})
            forgotten += some
            if some < FORGOTTEN_TOGETHER:
                return forgotten

    def _digest(self, address: str) -> bytes:
        return self._digester.digest(fold(checked_address(address)))
