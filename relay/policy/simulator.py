"""The mailbox simulator's addresses and what each of them plays (SIM-001 to SIM-007).

The addresses are `success@`, `bounce@`, `ooto@`, `complaint@` and `suppressionlist@`, with or without a label
(`bounce+label@`), at `simulator.` before the relay's host name and at `simulator.amazonses.com`, in any case. Mail
for them never leaves the relay.
"""

from collections.abc import Sequence
from enum import StrEnum

LABEL = "simulator."
SES_DOMAIN = "simulator.amazonses.com"
_MARK = f"@{LABEL}"


class Scenario(StrEnum):
    """What an address plays, named by its local part."""

    SUCCESS = "success"
    BOUNCE = "bounce"
    OOTO = "ooto"
    COMPLAINT = "complaint"
    SUPPRESSION_LIST = "suppressionlist"


_SCENARIOS = {scenario.value: scenario for scenario in Scenario}


def is_simulator_domain(domain: str, hostname: str) -> bool:
    """Say whether a domain is one of the simulator's at a relay named `hostname`."""
    name = domain.rstrip(".").lower()
    return name.startswith(LABEL) and (name == SES_DOMAIN or name == LABEL + hostname.lower())


def is_simulator_address(address: str, hostname: str) -> bool:
    """Say whether an address (or a domain, which has no `@`) is one of the simulator's."""
    return is_simulator_domain(address.rpartition("@")[2], hostname)


def scenario_of(address: str) -> Scenario:
    """Return what a simulator address plays; a local part that is none of its names bounces (SIM-003)."""
    name = address.rpartition("@")[0].partition("+")[0].strip('"').lower()
    return _SCENARIOS.get(name, Scenario.BOUNCE)


def simulated_recipients(recipients: Sequence[str], hostname: str) -> tuple[int, ...]:
    """Return the positions of simulator addresses among recipients whose domains are in lower case."""
    return tuple(
        index
        for index, recipient in enumerate(recipients)
        if _MARK in recipient and is_simulator_address(recipient, hostname)
    )
