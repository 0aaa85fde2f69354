"""Counts TLS sessions for the reports of RFC 8460, in memory; somebody takes the counts away from time to time.

A session counts once for each recipient domain that used it. Bounded: what is too much for a while is not counted.
"""

from relay.model.tls import StsPolicy
from relay.policy.tls_policy import HostTls, SiteTls
from relay.policy.tls_report import DAY_SECONDS, TEXT_MAX, Count
from relay.ports import Clock

COUNTS_MAX = 20_000


class TlsTally:
    """The counts of one process since they were last taken away. Off: nothing is counted."""

    def __init__(self, clock: Clock, *, on: bool = False) -> None:
        self.on = on
        self._clock = clock
        self._counts: dict[Count, int] = {}

    def worked(self, domain: str, site: SiteTls, host: HostTls) -> None:
        """Count a session that a domain used."""
        self._add(domain, site, host)

    def failed(  # noqa: PLR0917 - the parts of a failure
        self, domain: str, site: SiteTls, host: HostTls, result: str, name: str, address: str, source: str, why: str
    ) -> None:
        """Count a session with a host of a domain that failed for its TLS."""
        self._add(domain, site, host, result, source, name, address, why[:TEXT_MAX])

    def no_policy(self, domain: str, result: str, why: str) -> None:
        """Count that a policy was announced and could not be had."""
        self.add(Count(self._day(), domain, "sts", result=result, reason=why[:TEXT_MAX]))

    def _add(  # noqa: PLR0917 - the parts of a count
        self, domain: str, site: SiteTls, host: HostTls, result: str = "", source: str = "", name: str = "",
        address: str = "", why: str = "",
    ) -> None:  # fmt: skip
        if not self.on or site.quiet:
            return
        kind, strings, mx = _policy_of(site, host)
        self.add(Count(self._day(), domain, kind, strings, mx, result, source, name, address, why))

    def add(self, count: Count, sessions: int = 1) -> None:
        """Add to a count."""
        if self.on and (count in self._counts or len(self._counts) < COUNTS_MAX):
            self._counts[count] = self._counts.get(count, 0) + sessions

    def take(self) -> dict[Count, int]:
        """Return the counts and forget them."""
        counts, self._counts = self._counts, {}
        return counts

    def _day(self) -> int:
        return self._clock.now_ms() // (1000 * DAY_SECONDS)


def _policy_of(site: SiteTls, host: HostTls) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return policy-type, policy-string and mx-host (RFC 8460 section 4.4)."""
    if host.policy == "dane":
        return "tlsa", tuple(map(str, host.tlsa)), ()
    if host.policy == "sts" and site.sts is not None:
        return "sts", policy_lines(site.sts), site.sts.mx
    return "no-policy-found", (), ()


def policy_lines(policy: StsPolicy) -> tuple[str, ...]:
    """Return an MTA-STS policy as the lines of its file."""
    hosts = (f"mx: {pattern}" for pattern in policy.mx)
    return ("version: STSv1", f"mode: {policy.mode}", *hosts, f"max_age: {policy.max_age_seconds}")
