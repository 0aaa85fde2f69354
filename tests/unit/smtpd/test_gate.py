"""Counting sessions."""

from relay.smtpd.gate import LocalGate


def test_limits_are_exact_and_entries_go() -> None:
    gate = LocalGate(3, per_address_max=2, per_account_max=1)
    assert [gate.enter(address) for address in ("a", "a", "a", "b", "c")] == [True, True, False, True, False]
    assert gate.total == 3
    assert gate.stressed()
    gate.leave("a")
    gate.leave("b")
    assert not gate.stressed()
    assert gate.enter("a")
    assert [gate.enter_account("1"), gate.enter_account("1"), gate.enter_account("2")] == [True, False, True]
    gate.leave_account("1")
    assert gate.enter_account("1")
    for _ in range(2):
        gate.leave("a")
    assert gate.total == 0
    assert not gate._addresses


def test_without_limits() -> None:
    gate = LocalGate(0)
    assert all(gate.arrive("a") and gate.enter("a") for _ in range(1000))
    assert not gate.stressed()
