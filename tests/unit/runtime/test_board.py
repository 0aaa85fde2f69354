"""Connection limits over all workers through shared memory: loose by a little, never stricter than configured."""

import os
import random

import pytest

from relay.runtime.board import Board, ConnectionGate, Phase

NAMES = ["permits", "office", "worker-0001", "worker-0002"]


def _gates(board, *, connections_max=100, per_address_max=10, **others):
    limits = {
        "connections_max": connections_max,
        "per_address_max": per_address_max,
        "seconds": lambda: 0.0,
        **others,
    }
    return [ConnectionGate(board, board.rows[name], **limits) for name in NAMES[2:]]


class _Time:
    """Seconds that a test sets."""

    def __init__(self, seconds=100_000.0):
        self.seconds = seconds

    def __call__(self):
        return self.seconds


def test_the_limit_in_all_counts_every_worker():
    first, second = _gates(Board(NAMES), connections_max=4)
    assert [gate.enter(f"192.0.2.{n}") for n, gate in enumerate((first, second, first, second))] == [True] * 4
    assert not first.enter("192.0.2.9")
    assert second.stressed()
    second.leave("192.0.2.1")
    assert not second.stressed()
    assert first.enter("192.0.2.9")


def test_the_limit_of_an_address_counts_every_worker():
    first, second = _gates(Board(NAMES), per_address_max=2)
    assert first.enter("192.0.2.1")
    assert second.enter("192.0.2.1")
    assert not first.enter("192.0.2.1")
    assert first.enter("192.0.2.2")
    second.leave("192.0.2.1")
    assert first.enter("192.0.2.1")


@pytest.mark.req("SMTP-027")
def test_the_limit_of_an_account_counts_every_worker_and_begins_with_those_there():
    first, second = _gates(Board(NAMES))
    assert first.enter_account("1")
    assert second.enter_account("1")
    first.per_account_max = second.per_account_max = 2
    assert not first.enter_account("1")
    assert first.enter_account("2")
    second.leave_account("1")
    assert first.enter_account("1")
    assert first.enter("192.0.2.1")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("not an address\udc80", "not an address\udc80", True),
    ],
)
def test_what_counts_as_one_client(one, other, same):
    board = Board(NAMES)
    assert (board.buckets(one) == board.buckets(other)) is same


def test_a_limit_is_never_stricter_than_configured():
    """2,000 addresses in one table of 16,384 collide a lot; in both tables together nearly never."""
    gate, _ = _gates(Board(NAMES), connections_max=100_000, per_address_max=2)
    addresses = [f"10.{n >> 8}.{n & 255}.1" for n in range(2000)]
    refused = sum(not gate.enter(address) for address in addresses * 2)
    assert refused <= 4000 * 0.01


def test_enter_and_leave_return_to_zero():
    board = Board(NAMES)
    gates = _gates(board, connections_max=50, per_address_max=5)
    chance = random.Random(1)
    inside = []
    for _ in range(5000):
        if inside and chance.random() < 0.5:
            gate, address = inside.pop(chance.randrange(len(inside)))
            gate.leave(address)
            continue
        gate, address = chance.choice(gates), f"192.0.2.{chance.randrange(20)}"
        if gate.enter(address):
            inside.append((gate, address))
    assert board.sessions() == len(inside) <= 50
    for gate, address in inside:
        gate.leave(address)
    assert board.sessions() == 0
    assert not any(any(row.counts) for row in board.rows.values())


def test_a_row_written_by_a_child_is_seen_and_cleared_after_its_death():
    board = Board(NAMES)
    row = board.rows["worker-0001"]
    row.begin()
    pid = os.fork()
    if pid == 0:
        row.own(os.getpid())
        row.enter(Phase.READY)
        gate = _gates(board, per_address_max=2)[0]
        os._exit(0 if gate.enter("192.0.2.1") and gate.enter("192.0.2.1") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    facts = row.facts()
    assert (facts.pid, facts.phase, facts.sessions, facts.starts) == (pid, Phase.READY, 2, 1)
    other = _gates(board, per_address_max=2)[1]
    assert not other.enter("192.0.2.1")
    row.clear()
    assert row.facts().phase is Phase.ABSENT
    assert row.facts().starts == 1
    assert other.enter("192.0.2.1")


def _flood(gates, time, seconds, a_second, address="192.0.2.1"):
    """Return when connections were let in."""
    admitted = []
    for number in range(int(seconds * a_second)):
        time.seconds += 1 / a_second
        if gates[number % len(gates)].arrive(address):
            admitted.append(time.seconds)
    return admitted


@pytest.mark.parametrize("start", [100_005.0, 100_012.3, 100_019.9])
@pytest.mark.parametrize("a_second", [167, 20, 6])
def test_new_connections_of_an_address_are_limited_over_all_workers(a_second, start):
    """E07: 10,000 a minute; in no 45 s more than the limit, and in the long run the limit a minute."""
    time = _Time(start)
    gates = _gates(Board(NAMES), per_minute_max=300, seconds=time)
    admitted = _flood(gates, time, 600, a_second)
    assert admitted[: min(300, a_second)] == pytest.approx([start + n / a_second for n in range(1, 301)][:a_second])
    assert all(later - earlier >= 45 for earlier, later in zip(admitted, admitted[300:], strict=False))
    assert 300 * 10 * 0.75 <= len(admitted) <= 300 * 10 * 1.25


@pytest.mark.parametrize("a_minute", [1, 60, 295])
def test_a_client_below_the_limit_is_never_refused(a_minute):
    time = _Time()
    gates = _gates(Board(NAMES), per_minute_max=300, seconds=time)
    assert len(_flood(gates, time, 900, a_minute / 60)) == 900 * a_minute // 60


def test_new_connections_are_counted_by_client_and_forgotten_after_a_minute():
    time = _Time()
    first, second = _gates(Board(NAMES), per_minute_max=2, seconds=time)
    assert [gate.arrive("2001:db8::1") for gate in (first, second, first, second)] == [True, True, False, False]
    assert not first.arrive("2001:db8::ffff:2")
    assert first.arrive("2001:db8:0:1::1")
    time.seconds += 75
    assert second.arrive("2001:db8::1")
    time.seconds += 10_000
    assert [gate.arrive("2001:db8::1") for gate in (first, second, first)] == [True, True, False]


def test_many_addresses_do_not_use_up_the_rate_of_one():
    """50,000 strangers in one minute: three in each place of both tables, far from anybody's limit."""
    time = _Time()
    first, second = _gates(Board(NAMES), per_minute_max=100, seconds=time)
    assert all(first.arrive(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(50_000))
    assert all(second.arrive("192.0.2.1") for _ in range(90))


def test_no_limit_counts_nothing():
    board = Board(NAMES)
    first, _ = _gates(board)
    assert all(first.arrive("192.0.2.1") for _ in range(1000))
    assert not any(any(row.arrivals) for row in board.rows.values())


def test_new_connections_of_a_dead_worker_are_forgotten():
    board, time = Board(NAMES), _Time()
    first, second = _gates(board, per_minute_max=1, seconds=time)
    assert first.arrive("192.0.2.1")
    assert not second.arrive("192.0.2.1")
    board.rows["worker-0001"].clear()
    assert second.arrive("192.0.2.1")
