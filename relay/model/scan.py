"""What scanners said of a message: once for the message, however many recipients it has (FLOW-006, FLOW-007)."""

from dataclasses import dataclass
from enum import StrEnum


class ScanVerdict(StrEnum):
    """What a scan came to."""

    CLEAN = "clean"
    INFECTED = "infected"
    SPAM = "spam"  # the spam score is at or over the threshold that an administrator set
    FAILED = "failed"  # a scanner could not be asked, or gave no answer that makes sense


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan. `scanner` is the one that decided, `detail` the name of the virus or why the scan failed.

    `spam_score` is None where no scanner gives one; `scanned_ms` are milliseconds since 1970.
    """

    verdict: ScanVerdict
    scanner: str = ""
    detail: str = ""
    spam_score: float | None = None
    scanned_ms: int = 0

    @property
    def bad(self) -> bool:
        """True when the message must be delivered to nobody."""
        return self.verdict in {ScanVerdict.INFECTED, ScanVerdict.SPAM}
