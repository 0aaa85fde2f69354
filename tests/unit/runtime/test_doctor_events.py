"""What `relay doctor` makes of destinations of events: late ones, those that are configured no more, dead letters."""

import pytest

from relay.runtime.cli.doctor_events import faults_of

ARN = "arn:aws:sns:local-1:000000000001:bounces:67a66f48-1e3d-4fcd-a91a-b49dcad63ffa"


def target(name, waiting=0, lag=0.0, dead=0):
    return {"target": name, "waiting": waiting, "waitingBytes": 0, "deadLetters": dead, "lagSeconds": lag}


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (target("bus:a"), []),
        (target("bus:a", 5, 899.0), []),
        (target("bus:a", 5, 900.0), ["bus:a: 5 wait, the oldest for 15 minutes"]),
        (target("bus:b"), []),
        (target("bus:b", 5), ["bus:b: 5 wait, and it is not in the configuration"]),
        (target(f"subscription:{ARN}", 5), []),
        (
            target("stream:a", 1, 9000.0, 2),
            ["stream:a: 1 wait, the oldest for 150 minutes", "stream:a: 2 dead letters"],
        ),
    ],
)
def test_what_is_told(one, words):
    found = list(faults_of(one, {"bus:a", "stream:a"}))
    assert [(check.result, check.detail) for check in found] == [("warning", word) for word in words]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("bus:a", "relay event-destination dead-letters list bus:a"),
        (f"subscription:{ARN}", f"relay topic dead-letters list {ARN}"),
    ],
)
def test_the_next_step_is_a_command(name, command):
    (check,) = faults_of(target(name, dead=1), {"bus:a"})
    assert check.next_step == command
