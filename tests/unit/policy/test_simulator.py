"""Which addresses are the simulator's, and what they play."""

import pytest

from relay.policy.simulator import Scenario, is_simulator_address, scenario_of, simulated_recipients

HOST = "Relay.Example"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("success@simulator.amazonses.com", True),
        ("success@SIMULATOR.AmazonSES.com", True),
        ("success@simulator.relay.example", True),
        ("success@simulator.relay.example.", True),
        ("simulator.relay.example", True),
        ("success@relay.example", False),
        ("success@simulator.other.example", False),
        ("success@x.simulator.relay.example", False),
        ("success@notsimulator.amazonses.com", False),
        ("simulator.amazonses.com@other.example", False),
        ("", False),
    ],
)
@pytest.mark.req("SIM-001")
def test_its_two_domains_and_no_others(address, expected):
    assert is_simulator_address(address, HOST) is expected


@pytest.mark.parametrize(
    ("local", "scenario"),
    [
        ("success", Scenario.SUCCESS),
        ("bounce", Scenario.BOUNCE),
        ("ooto", Scenario.OOTO),
        ("complaint", Scenario.COMPLAINT),
        ("suppressionlist", Scenario.SUPPRESSION_LIST),
        ("SuccesS", Scenario.SUCCESS),
        ("ooto+label", Scenario.OOTO),
        ("complaint+a+b", Scenario.COMPLAINT),
        ("complaint+", Scenario.COMPLAINT),
        ('"success"', Scenario.SUCCESS),
        ("+success", Scenario.BOUNCE),
        ("successor", Scenario.BOUNCE),
        ("anything", Scenario.BOUNCE),
    ],
)
@pytest.mark.req("SIM-007")
def test_what_a_local_part_plays(local, scenario):
    assert scenario_of(f"{local}@simulator.amazonses.com") is scenario


def test_positions_among_recipients():
    recipients = ["a@x.example", "bounce@simulator.relay.example", "b@simulator.x", "success@simulator.amazonses.com"]
    assert simulated_recipients(recipients, HOST) == (1, 3)
