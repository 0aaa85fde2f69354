"""The bandwidth that large messages of one account share (QUOTA-008): they are slowed down, not refused.

Each large message reserves the line for as long as it would take at the account's rate; the next one waits for its
turn. A wait that would outlast a patient client is a refusal, and reserves nothing.
"""

from typing import Final

LARGE_BYTES: Final = 10 * 1024 * 1024
BYTES_PER_SECOND: Final = 40 * 1024 * 1024
WAIT_MAX_SECONDS: Final = 60.0
ACCOUNTS_MAX: Final = 1000


class LargeMail:
    """Turns of large messages, by account. `share` is this worker's part of the bandwidth."""

    def __init__(self, share: float = 1.0) -> None:
        self._rate = BYTES_PER_SECOND * share
        self._free_at: dict[str, float] = {}

    def wait_seconds(self, account: str, size_bytes: int, now: float) -> float | None:
        """Reserve a turn; return how long to wait for it (0.0 for small messages), None when that is too long."""
        if size_bytes <= LARGE_BYTES:
            return 0.0
        wait_seconds = max(0.0, self._free_at.get(account, now) - now)
        if wait_seconds > WAIT_MAX_SECONDS:
            return None
        if len(self._free_at) >= ACCOUNTS_MAX:
            self._free_at = {name: at for name, at in self._free_at.items() if at > now}
        self._free_at[account] = now + wait_seconds + size_bytes / self._rate
        return wait_seconds
