"""Alarms of the catalog: what they are set to, where they stand, how they changed, whom that is still to be told.

A change of state, the line of its history, what the alarm does (a pause, with the mail to the contacts) are one
transaction: nothing pauses without a reason in the history, and no change is told that did not happen (ALARM-003,
PAUSE-005). Who publishes takes the changes from `waiting` and says afterwards what became of them; after a crash it
publishes again, under the same id.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from relay.errors import ConflictError, UsageError
from relay.mail.letter import Letter
from relay.model.account import Account
from relay.model.alarm import Alarm, AlarmAction, AlarmChange, AlarmMetric, AlarmState, Told
from relay.reputation.alarms import REASON_MAX_CHARACTERS, Look, fault
from relay.store.catalog_accounts import Accounts
from relay.store.catalog_notices import Notices
from relay.store.catalog_tables import Row, Tables

ALARMS_MAX = 500  # of one account
HISTORY_KEPT = 200  # changes of one alarm
WAITING_MAX = 1000  # changes of one alarm that nobody could be told; the oldest are lost
PAGE_SIZE_MAX = 1000
NEWEST = 1 << 62

Write = Callable[[str, Account, str], Letter]
"""Writes to a contact (the last value) that sending of an account is paused, for a reason (the first one)."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A change that was kept, and what the alarm did that was not done already."""

    alarm: Alarm
    old_state: AlarmState
    done: tuple[AlarmAction, ...]


class Alarms:
    """Makes, changes and deletes alarms. Unknown accounts and names raise UsageError."""

    __slots__ = ("_accounts", "_notices", "_tables")

    def __init__(self, tables: Tables, accounts: Accounts, notices: Notices) -> None:
        self._tables = tables
        self._accounts = accounts
        self._notices = notices

    # --- what they are set to ------------------------------------------------------------------------------------

    def create(self, wanted: Alarm) -> Alarm:
        """Add an alarm. Raise ConflictError when there is one of this name."""
        now_ms = self._tables.now_ms()
        wanted = replace(wanted, created_ms=now_ms, changed_ms=now_ms)
        with self._tables.writing(wanted.account):
            self._check(wanted)
            row = self._tables.row("count_alarms", {"account": wanted.account})
            if row is not None and row[0] >= ALARMS_MAX:
                raise UsageError(f"An account has at most {ALARMS_MAX} alarms.")
            if not self._tables.run("create_alarm", _values(wanted)):
                raise ConflictError(f"Account {wanted.account} has an alarm {wanted.name} already.")
        return self.require(wanted.account, wanted.name)

    def update(self, changed: Alarm) -> Alarm:
        """Replace what an alarm is set to; where it stands stays, and follows with the next look."""
        with self._tables.writing(changed.account):
            self._check(changed)
            now = self.require(changed.account, changed.name)
            stands = replace(
                changed, state=now.state, measured=now.measured, reason=now.reason, changed_ms=now.changed_ms
            )
            self._tables.run("update_alarm", _values(stands))
        return self.require(changed.account, changed.name)

    def delete(self, account: str, name: str) -> bool:
        """Remove an alarm with its history; say whether there was one. What is still to be told is told."""
        of = {"account": account, "name": name}
        with self._tables.writing(account):
            self._tables.run("delete_alarm_changes", of)
            return bool(self._tables.run("delete_alarm", of))

    def get(self, account: str, name: str) -> Alarm | None:
        """Return an alarm, None when there is none of this name."""
        row = self._tables.row("get_alarm", {"account": account, "name": name})
        return _alarm_of(row) if row else None

    def require(self, account: str, name: str) -> Alarm:
        """Return an alarm that must exist."""
        found = self.get(account, name)
        if found is None:
            raise UsageError(f"Account {account} has no alarm {name}.")
        return found

    def list(
        self, account: str | None = None, *, after: tuple[str, str] = ("", ""), limit: int = PAGE_SIZE_MAX
    ) -> list[Alarm]:
        """Return up to `limit` alarms (at most 1,000) of an account, or of all, that follow (account, name)."""
        if account is not None:
            self._tables.require_account(account)
        values = {
            "account": account,
            "after_account": after[0],
            "after_name": after[1],
            "limit": max(1, min(limit, PAGE_SIZE_MAX)),
        }
        return [_alarm_of(row) for row in self._tables.rows("list_alarms", values)]

    # --- where they stand ----------------------------------------------------------------------------------------

    def follow(self, alarm: Alarm, found: Look, write: Write) -> Changed | None:
        """Let an alarm come to what a look at it found; None where nothing changed, or the alarm is gone."""
        measured = replace(alarm, measured=found.state)
        if found.state is alarm.state:
            if alarm.measured is not found.state:
                of = {"account": alarm.account, "name": alarm.name, "measured": str(found.state)}
                with self._tables.keeping_notes():
                    self._tables.run("measure_alarm", of)
            return None
        with self._tables.writing(alarm.account):
            if self.get(alarm.account, alarm.name) != alarm:
                return None  # a command changed it since it was read; the next look sees to it
            return self._change(measured, found.state, found.reason, write)

    def set_state(self, account: str, name: str, state: AlarmState, reason: str, write: Write) -> Changed:
        """Put an alarm into a state until the next look, and let it do what it does then (ALARM-004)."""
        if not 1 <= len(reason.strip()) <= REASON_MAX_CHARACTERS:
            raise UsageError(f"A reason has 1 to {REASON_MAX_CHARACTERS} characters.")
        with self._tables.writing(account):
            alarm = self.require(account, name)
            if alarm.state is state:
                raise ConflictError(f"Alarm {name} is {state} already.")
            return self._change(alarm, state, reason.strip(), write)

    def history(
        self, account: str, name: str, *, before: int = NEWEST, limit: int = HISTORY_KEPT
    ) -> Sequence[AlarmChange]:
        """Return the newest changes of an alarm below a number, newest first."""
        self.require(account, name)
        values = {"account": account, "name": name, "before": before, "limit": limit}
        return [_change_of(row) for row in self._tables.rows("alarm_changes", values)]

    # --- who is told ---------------------------------------------------------------------------------------------

    def waiting(self, after: int = 0, limit: int = 100) -> Sequence[AlarmChange]:
        """Return changes that are to be told, oldest first."""
        rows = self._tables.rows("alarm_changes_waiting", {"after": after, "limit": limit})
        return [_change_of(row) for row in rows]

    def note_told(self, change_id: int, told: Told) -> None:
        """Keep what became of the message about a change."""
        with self._tables.keeping_notes():
            self._tables.run("note_alarm_told", {"id": change_id, "told": str(told)})

    # --- parts of transactions -----------------------------------------------------------------------------------

    def _check(self, wanted: Alarm) -> None:
        why = fault(wanted)
        if why:
            raise UsageError(why)
        self._accounts.require(wanted.account)
        if wanted.configuration_set:
            of = {"account": wanted.account, "name": wanted.configuration_set}
            if self._tables.row("get_configuration_set", of) is None:
                raise UsageError(f"Account {wanted.account} has no configuration set {wanted.configuration_set}.")

    def _change(self, alarm: Alarm, state: AlarmState, reason: str, write: Write) -> Changed:
        old_state = alarm.state
        changed = replace(alarm, state=state, reason=reason, changed_ms=self._tables.now_ms())
        self._tables.run("update_alarm", _values(changed))
        of = {"account": alarm.account, "name": alarm.name}
        line = {
            **of,
            "old_state": str(old_state),
            "told": str(Told.WAITING if alarm.topic else Told.NOBODY),
            "alarm": json.dumps(asdict(changed)),
        }
        self._tables.run("add_alarm_change", line)
        self._tables.run("drop_alarm_changes", {**of, "keep": HISTORY_KEPT})
        self._tables.run("drop_alarm_changes_waiting", {**of, "keep": WAITING_MAX})
        done = self._act(changed, write) if state is AlarmState.ALARM else ()
        return Changed(changed, old_state, done)

    def _act(self, alarm: Alarm, write: Write) -> tuple[AlarmAction, ...]:
        """Pause what is not paused yet. An account that is closed stays so."""
        done: list[AlarmAction] = []
        for action in alarm.actions:
            if action is AlarmAction.PAUSE_SET:
                of = {"account": alarm.account, "name": alarm.configuration_set}
                if self._tables.run("pause_set", of):
                    done.append(action)
            elif self._tables.run("pause_account", {"account": alarm.account}):
                account = self._accounts.require(alarm.account)
                reason = f"Alarm {alarm.name}: {alarm.reason}"
                self._notices.tell_contacts(alarm.account, partial(write, reason, account))
                done.append(action)
        return tuple(done)


def _alarm_of(row: Row) -> Alarm:
    """Return the alarm of a row of `get_alarm`."""
    account, name, metric, threshold, description, configuration_set, topic, actions, volume_min, *stands = row
    state, measured, reason, changed_ms, created_ms = stands
    return Alarm(
        account,
        name,
        AlarmMetric(metric),
        threshold,
        description,
        configuration_set,
        topic,
        tuple(AlarmAction(one) for one in json.loads(actions)),
        volume_min,
        AlarmState(state),
        AlarmState(measured),
        reason,
        changed_ms,
        created_ms,
    )


def _change_of(row: Row) -> AlarmChange:
    change_id, old_state, told, alarm = row
    kept = json.loads(alarm)
    typed = {
        "metric": AlarmMetric(kept["metric"]),
        "actions": tuple(AlarmAction(one) for one in kept["actions"]),
        "state": AlarmState(kept["state"]),
        "measured": AlarmState(kept["measured"]),
    }
    return AlarmChange(change_id, Alarm(**{**kept, **typed}), AlarmState(old_state), Told(told))


def _values(one: Alarm) -> dict[str, object]:
    return {
        **asdict(one),
        "metric": str(one.metric),
        "actions": json.dumps([str(action) for action in one.actions]),
        "state": str(one.state),
        "measured": str(one.measured),
    }
