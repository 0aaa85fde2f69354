"""Imports as jobs: what each is about, and its states (SUPP-023, SUPP-026, SUPP-027)."""

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """Where an import is: it begins once, and ends in one of two ways."""

    CREATED = "CREATED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


OPEN_STATES = frozenset((JobState.CREATED, JobState.PROCESSING))


class ImportAction(StrEnum):
    """What happens to the addresses of a file."""

    PUT = "PUT"
    DELETE = "DELETE"


SUPPRESSION_LIST = "SUPPRESSION_LIST"  # of the destinations of imports the one there is


@dataclass(frozen=True, slots=True)
class ImportJob:
    """One import. `source` names the file for people; `rows_max` is how many rows it may have, 0: any number.

    `processed` rows were applied, `changed` of them made a difference, `failed` were no rows. `error` says why a job
    FAILED. A job that is `sorted` (1) needs its file no more; `place` is the last address that was applied.
    """

    job_id: str
    account: str
    destination: str
    action: ImportAction
    form: str
    source: str
    rows_max: int
    state: JobState
    created_ms: int
    completed_ms: int = 0
    processed: int = 0
    changed: int = 0
    failed: int = 0
    error: str = ""
    sorted: int = 0
    place: str = ""

    @property
    def deletes(self) -> bool:
        """True when addresses are taken off the list."""
        return self.action is ImportAction.DELETE
