"""MTA-STS policies and counts of TLS sessions: `office/tls.db`, written by the office alone, read by workers.

A policy outlives restarts, because forgetting one would let an attacker who holds back its record undo it (RFC 8461
section 10.2). Counts are added in batches; a batch that comes again adds nothing. Bounded: `POLICIES_MAX` policies,
of which those go that were used longest ago; `domains_max` domains a day and `KINDS_MAX` kinds of each are counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from relay.errors import StorageError
from relay.model.tls import KnownPolicy, StsMode, StsPolicy
from relay.policy.tls_report import Count
from relay.ports import Log
from relay.store.small_file import KeptReader, OwnedFile
from relay.store.sql import queries

FILE: Final = Path("office", "tls.db")
POLICIES_MAX: Final = 50_000
KINDS_MAX: Final = 1_000
_QUERIES: Final = queries("tls.sql")


@dataclass(frozen=True, slots=True)
class DueReport:
    """A report to one address; `tries` counts those that failed."""

    day: int
    domain: str
    rua: str
    tries: int


class TlsBook:
    """The writer; used by one thread at a time."""

    def __init__(self, data_dir: Path, log: Log) -> None:
        """Open or create the file. A damaged one is set aside: policies are fetched anew, counts are lost.

        Raise ConfigurationError when the place cannot be used, NewerVersionError.
        """
        self._file = OwnedFile(data_dir / FILE, "tls", log, "TLS policies", checkpoint_pages=500)
        self._file.open()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # --- policies ------------------------------------------------------------------------------------------------

    def policy(self, domain: str) -> KnownPolicy | None:
        """Return the policy of a domain, expired ones too."""
        rows = self._run("get_policy", (domain,))
        return _policy_of(rows[0]) if rows else None

    def put(self, known: KnownPolicy) -> None:
        """Keep a policy that was fetched just now; synced on return."""
        with self._file.whole():
            if self._run("get_policy", (known.domain,)) == []:
                extra = self._run("count_policies", ())[0][0] + 1 - POLICIES_MAX
                if extra > 0:
                    self._run("drop_least_used", (extra,))
            policy = known.policy
            self._run(
                "put_policy",
                {
                    "domain": known.domain,
                    "record_id": known.record_id,
                    "mode": policy.mode.value,
                    "mx": orjson.dumps(policy.mx).decode(),
                    "max_age": policy.max_age_seconds,
                    "fetched_ms": known.fetched_ms,
                    "expires_ms": known.expires_ms,
                },
            )

    def looked(self, domain: str, now_ms: int, failure: str = "") -> None:
        """Note that a policy was compared with its domain's record, and why it could not be fetched anew."""
        self._run("looked", {"domain": domain, "now_ms": now_ms, "failure": failure[:500]})

    def due(self, now_ms: int, compare_ms: int, used_since_ms: int, limit: int) -> list[KnownPolicy]:
        """Return policies that were not compared for `compare_ms`, or for half of their time where that is less."""
        values = {"now_ms": now_ms, "compare_ms": compare_ms, "used_ms": used_since_ms, "limit": limit}
        return [_policy_of(row) for row in self._run("due_policies", values)]

    def drop_expired(self, now_ms: int) -> None:
        """Forget policies whose time is over."""
        self._run("drop_expired", (now_ms,))

    # --- counts --------------------------------------------------------------------------------------------------

    def add(
        self,
        process: str,
        batch: str,
        counts: Mapping[Count, int],
        used: Sequence[str],
        *,
        now_ms: int,
        domains_max: int,
    ) -> bool:
        """Add a batch of a process, all or nothing; False when it was added before."""
        with self._file.whole():
            if self._run("last_batch", (process,)) == [(batch,)]:
                return False
            self._run("put_batch", (process, batch))
            for domain in used:
                self._run("used", {"domain": domain, "now_ms": now_ms})
            for count, sessions in counts.items():
                if self._has_room(count, domains_max):
                    what = _what_text(count)
                    self._run(
                        "add_count",
                        {"day": count.day, "domain": count.domain, "what": what, "sessions": sessions},
                    )
        return True

    def _has_room(self, count: Count, domains_max: int) -> bool:
        if self._run("has_counts", (count.day, count.domain)):
            return bool(self._run("kinds", (count.day, count.domain))[0][0] < KINDS_MAX)
        return bool(self._run("counted_domains", (count.day,))[0][0] < domains_max)

    def counted(self, until_day: int, after: tuple[int, str], limit: int) -> list[tuple[int, str]]:
        """Return days and domains with counts, up to a day and beyond `after`, that have no report to be sent yet."""
        return [(row[0], row[1]) for row in self._run("domains", (until_day, *after, limit))]

    def counts(self, day: int, domain: str) -> dict[Count, int]:
        """Return what was counted of a domain on a day."""
        rows = self._run("counts", (day, domain))
        return {_count_of(day, domain, what): sessions for what, sessions in rows}

    def drop_counts(self, day: int, domain: str) -> None:
        """Forget what was counted of a domain on a day."""
        self._run("drop_counts", (day, domain))

    # --- reports -------------------------------------------------------------------------------------------------

    def plan(self, day: int, domain: str, addresses: Sequence[str], now_ms: int) -> None:
        """Note that a report is to be sent to some addresses; to none: nobody wants it, and the counts go."""
        with self._file.whole():
            for rua in addresses:
                self._run("put_report", (day, domain, rua, now_ms))
            if not addresses:
                self._run("drop_counts", (day, domain))

    def due_reports(self, now_ms: int, limit: int) -> list[DueReport]:
        """Return reports to send now."""
        return [DueReport(*row) for row in self._run("due_reports", (now_ms, limit))]

    def later(self, report: DueReport, next_ms: int) -> None:
        """Try a report again at a time."""
        self._run("later", (next_ms, report.day, report.domain, report.rua))

    def done(self, report: DueReport) -> None:
        """Forget a report that was sent or given up, and with the last one of a domain its counts."""
        with self._file.whole():
            self._run("drop_report", (report.day, report.domain, report.rua))
            if not self._run("has_reports", (report.day, report.domain)):
                self._run("drop_counts", (report.day, report.domain))

    def drop_old(self, day: int) -> None:
        """Forget counts and reports of days before one."""
        with self._file.whole():
            self._run("drop_old_counts", (day,))
            self._run("drop_old_reports", (day,))

    def _run(self, name: str, values: tuple[Any, ...] | dict[str, Any]) -> list[Any]:
        return self._file.run(_QUERIES[name], values)


class TlsReader:
    """What workers and commands read."""

    def __init__(self, data_dir: Path) -> None:
        self._file = KeptReader(data_dir / FILE, "tls", "TLS policies")

    def policy(self, domain: str) -> KnownPolicy | None:
        """Return the policy of a domain, expired ones too. Raise StorageError when the file cannot be read."""
        rows = self._run("get_policy", (domain,))
        return _policy_of(rows[0]) if rows else None

    def failure(self, domain: str) -> str:
        """Return why the last fetch of a domain's policy gave none, "" when it did."""
        rows = self._run("get_policy", (domain,))
        return str(rows[0][-1]) if rows else ""

    def counts(self, day: int, domain: str) -> dict[Count, int]:
        """Return what was counted of a domain on a day."""
        return {_count_of(day, domain, what): sessions for what, sessions in self._run("counts", (day, domain))}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _run(self, name: str, values: tuple[Any, ...]) -> list[Any]:
        return self._file.run(_QUERIES[name], values)


def _policy_of(row: Sequence[Any]) -> KnownPolicy:
    domain, record_id, mode, mx, max_age, fetched_ms, expires_ms, _ = row
    try:
        policy = StsPolicy(StsMode(mode), tuple(orjson.loads(mx)), max_age)
    except ValueError as error:
        raise StorageError(f"the policy of {domain} cannot be read: {error}") from error
    return KnownPolicy(domain, record_id, policy, fetched_ms, expires_ms)


def _what_text(count: Count) -> str:
    parts = [
        count.policy, count.strings, count.mx, count.result, count.source_address, count.host, count.address,
        count.reason,
    ]  # fmt: skip
    return orjson.dumps(parts).decode()


def _count_of(day: int, domain: str, what: str) -> Count:
    policy, strings, mx, *rest = orjson.loads(what)
    return Count(day, domain, policy, tuple(strings), tuple(mx), *rest)
