"""Whom an account in the sandbox may write to (SBX-002). Nothing here looks anything up."""

from collections.abc import Callable, Iterable

from relay.policy.identity import failed_identities


def unverified_recipients(
    recipients: Iterable[str], verified: Callable[[str], bool], simulated: Callable[[str], bool]
) -> tuple[str, ...]:
    """Return the recipients that are neither verified nor the mailbox simulator's, each once, in order.

    `verified` says whether a verified identity of the account covers an address, `simulated` whether an address is
    the simulator's, which takes mail of everybody.
    """
    return failed_identities(recipients, lambda address: simulated(address) or verified(address))
