"""How many sessions there may be: in all, for one address, for one account (SMTP-027); how fast they may come.

`ConnectionGate` is the interface; the runtime may give one that counts over all workers. `LocalGate` counts in
this process.
"""

from typing import Protocol

STRESS_SHARE = 0.8


class ConnectionGate(Protocol):
    """Counts sessions. Every successful `enter` is followed by exactly one `leave` with the same arguments."""

    def arrive(self, address: str) -> bool:
        """Count a new connection of a peer address; False when it made too many in the last minute."""
        ...

    def enter(self, address: str) -> bool:
        """Count a new session of a peer address; False when a limit is reached, and then nothing was counted."""
        ...

    def leave(self, address: str) -> None:
        """Take a session away again."""
        ...

    def enter_account(self, account: str) -> bool:
        """Count a session that authenticated for an account; False when its limit is reached."""
        ...

    def leave_account(self, account: str) -> None:
        """Take a session of an account away again."""
        ...

    def stressed(self) -> bool:
        """Say whether more than 80 % of all sessions are in use (decision 2)."""
        ...


class LocalGate:
    """Counts within one process; a limit of 0 is none. Peers keep an entry only while they are connected.

    So it knows nothing of those that came and went: new connections have no limit here.
    """

    def __init__(self, connections_max: int, per_address_max: int = 0, per_account_max: int = 0) -> None:
        self.connections_max = connections_max
        self.per_address_max = per_address_max
        self.per_account_max = per_account_max
        self.total = 0
        self._addresses: dict[str, int] = {}
        self._accounts: dict[str, int] = {}

    def arrive(self, address: str) -> bool:  # noqa: ARG002 - nothing is kept of it
        """Let every connection come."""
        return True

    def enter(self, address: str) -> bool:
        """Count a new session of a peer address."""
        if self.connections_max and self.total >= self.connections_max:
            return False
        if not _enter(self._addresses, address, self.per_address_max):
            return False
        self.total += 1
        return True

    def leave(self, address: str) -> None:
        """Take a session away again."""
        self.total -= 1
        _leave(self._addresses, address)

    def enter_account(self, account: str) -> bool:
        """Count a session of an account."""
        return _enter(self._accounts, account, self.per_account_max)

    def leave_account(self, account: str) -> None:
        """Take a session of an account away again."""
        _leave(self._accounts, account)

    def stressed(self) -> bool:
        """Say whether more than 80 % are in use."""
        return bool(self.connections_max) and self.total > self.connections_max * STRESS_SHARE


def _enter(counts: dict[str, int], key: str, limit: int) -> bool:
    now = counts.get(key, 0)
    if limit and now >= limit:
        return False
    counts[key] = now + 1
    return True


def _leave(counts: dict[str, int], key: str) -> None:
    left = counts.get(key, 0) - 1
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)
