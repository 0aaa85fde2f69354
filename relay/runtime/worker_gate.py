"""Connection limits of a worker, counted over all workers (the door's `ConnectionGate`)."""

from relay.runtime.board import ConnectionGate

STRESS_SHARE = 0.8  # decision 2


class WorkerGate(ConnectionGate):
    """The shared counts, with what else the door asks."""

    def enter_account(self, account: str) -> bool:  # noqa: ARG002 (accounts have no limit of their own)
        """Count a session that authenticated for an account."""
        return True

    def leave_account(self, account: str) -> None:
        """Take it away again."""

    def stressed(self) -> bool:
        """Say whether more than 80 % of all sessions are in use."""
        return self.load() > STRESS_SHARE
