"""Alarms in the catalog: bounds, what a change does in one transaction, and what it leaves alone."""

from dataclasses import replace

import pytest

from relay.errors import ConflictError, UsageError
from relay.model.account import AccountState
from relay.model.alarm import Alarm, AlarmAction, AlarmMetric, AlarmState, Told
from relay.reputation.alarms import Look
from relay.store import catalog_alarms
from relay.store.catalog import open_catalog
from relay.testing.clock import ManualClock

ACCOUNT = "000000000001"
OK, ALARM = AlarmState.OK, AlarmState.ALARM
ONE = Alarm(ACCOUNT, "bounces", AlarmMetric.BOUNCE_RATE, 0.05, topic="arn:aws:sns:local-1:000000000001:t",
            actions=(AlarmAction.PAUSE_ACCOUNT,))  # fmt: skip


def write(reason, account, contact):
    return f"Subject: {account.account_id} for {contact}\r\n\r\n".encode(), reason.encode()


@pytest.fixture
def catalog(tmp_path):
    with open_catalog(tmp_path, b"k" * 32, now_ms=ManualClock().now_ms) as made:
        made.accounts.create(ACCOUNT, sandbox=False, contact="owner@t.example")
        yield made


def follow(catalog, name, state, reason="because"):
    return catalog.alarms.follow(catalog.alarms.require(ACCOUNT, name), Look(state, reason), write)


def test_a_change_pauses_tells_the_contact_and_waits_to_be_told(catalog):
    catalog.alarms.create(ONE)
    changed = follow(catalog, "bounces", ALARM)
    assert changed.done == (AlarmAction.PAUSE_ACCOUNT,)
    assert catalog.accounts.require(ACCOUNT).state is AccountState.PAUSED
    (notice,) = catalog.notices.waiting()
    assert catalog.notices.get(notice).content.body == b"Alarm bounces: because"
    (change,) = catalog.alarms.waiting()
    assert (change.alarm, change.old_state) == (changed.alarm, AlarmState.INSUFFICIENT_DATA)
    catalog.alarms.note_told(change.change_id, Told.PUBLISHED)
    assert catalog.alarms.waiting() == []
    assert catalog.alarms.history(ACCOUNT, "bounces")[0].told is Told.PUBLISHED


@pytest.mark.req("PAUSE-005")
def test_what_is_paused_or_closed_already_stays_so(catalog):
    catalog.alarms.create(ONE)
    for state in (AccountState.PAUSED, AccountState.CLOSED):
        catalog.accounts.set_state(ACCOUNT, state)
        assert follow(catalog, "bounces", ALARM).done == ()
        assert follow(catalog, "bounces", OK).done == ()
        assert catalog.accounts.require(ACCOUNT).state is state
    assert catalog.notices.waiting() == []


def test_a_look_at_an_alarm_that_a_command_changed_meanwhile_does_nothing(catalog):
    seen = catalog.alarms.create(ONE)
    catalog.alarms.update(replace(seen, threshold=0.5))
    assert catalog.alarms.follow(seen, Look(ALARM, "because"), write) is None
    catalog.alarms.delete(ACCOUNT, "bounces")
    assert catalog.alarms.follow(seen, Look(ALARM, "because"), write) is None
    assert catalog.accounts.require(ACCOUNT).state is AccountState.ENABLED


def test_a_test_that_comes_true_is_measured_and_not_told_again(catalog):
    catalog.alarms.create(replace(ONE, actions=()))
    follow(catalog, "bounces", OK)
    catalog.alarms.set_state(ACCOUNT, "bounces", ALARM, "a drill", write)
    assert catalog.alarms.require(ACCOUNT, "bounces").measured is OK
    assert follow(catalog, "bounces", ALARM) is None
    assert catalog.alarms.require(ACCOUNT, "bounces").measured is ALARM
    assert len(catalog.alarms.history(ACCOUNT, "bounces")) == 2
    with pytest.raises(ConflictError):
        catalog.alarms.set_state(ACCOUNT, "bounces", ALARM, "again", write)


def test_history_is_bounded_and_what_is_still_to_be_told_too(catalog, monkeypatch):
    monkeypatch.setattr(catalog_alarms, "HISTORY_KEPT", 3)
    monkeypatch.setattr(catalog_alarms, "WAITING_MAX", 5)
    catalog.alarms.create(replace(ONE, actions=()))
    for number in range(10):
        follow(catalog, "bounces", (ALARM, OK)[number % 2])
    waiting = catalog.alarms.waiting()
    assert len(waiting) == 5
    for change in waiting:
        catalog.alarms.note_told(change.change_id, Told.PUBLISHED)
    follow(catalog, "bounces", ALARM)
    assert len(catalog.alarms.history(ACCOUNT, "bounces")) == 3
    assert len(catalog.alarms.waiting()) == 1


def test_a_deleted_alarm_still_tells_its_last_change(catalog):
    catalog.alarms.create(ONE)
    follow(catalog, "bounces", ALARM)
    assert catalog.alarms.delete(ACCOUNT, "bounces")
    assert not catalog.alarms.delete(ACCOUNT, "bounces")
    assert [change.alarm.name for change in catalog.alarms.waiting()] == ["bounces"]


def test_an_account_has_so_many_alarms(catalog, monkeypatch):
    monkeypatch.setattr(catalog_alarms, "ALARMS_MAX", 2)
    for name in ("a", "b"):
        catalog.alarms.create(replace(ONE, name=name))
    with pytest.raises(UsageError, match="at most 2"):
        catalog.alarms.create(replace(ONE, name="c"))
    assert [one.name for one in catalog.alarms.list(limit=1)] == ["a"]
    assert [one.name for one in catalog.alarms.list(after=(ACCOUNT, "a"))] == ["b"]
