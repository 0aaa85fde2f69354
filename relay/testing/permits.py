"""Permits without limits: grants everything at once and remembers what was reported."""

from collections.abc import Callable

from relay.model.account import Account
from relay.model.refusal import Refusal
from relay.ports import AuthGate, Lease


class OpenPermits:
    """Permits for tests. Set `refusal` to refuse every request, `gate` to limit authentication.

    `open_leases` are granted and not reported, `spent_recipients` what was committed by account and minute, and
    `auth_results` the reported (address, user name, succeeded), in order.
    """

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self.gate = AuthGate(refused=False, delay_seconds=0.0)
        self.open_leases: dict[int, Lease] = {}
        self.spent_recipients: dict[tuple[str, int], int] = {}
        self.auth_results: list[tuple[str, str, bool]] = []
        self._last_id = 0

    def take(
        self,
        account: Account,
        recipients: int,  # noqa: ARG002 there is no rate
        done: Callable[[Lease | Refusal], None],
        *,
        counted: int,
    ) -> None:
        """Grant or refuse at once, from inside the call."""
        if self.refusal is not None and account.limited:
            done(self.refusal)
            return
        self._last_id += 1
        lease = self.open_leases[self._last_id] = Lease(self._last_id, account.account_id, counted)
        done(lease)

    def spent(self, lease: Lease, minute: int) -> None:
        """Remember what was committed."""
        if self.open_leases.pop(lease.lease_id, None) is not None:
            key = (lease.account, minute)
            self.spent_recipients[key] = self.spent_recipients.get(key, 0) + lease.recipients

    def unused(self, lease: Lease) -> None:
        """Take a lease back."""
        self.open_leases.pop(lease.lease_id, None)

    def auth_gate(self, address: str, username: str) -> AuthGate:  # noqa: ARG002 the same for everybody
        """Return `gate`."""
        return self.gate

    def recognises(self, address: str) -> bool:
        """Say whether a success of the address was reported."""
        return any(succeeded and known == address for known, _, succeeded in self.auth_results)

    def auth_result(self, address: str, username: str, *, succeeded: bool) -> None:
        """Remember the result."""
        self.auth_results.append((address, username, succeeded))
