"""A standing hold: mail that arrives later is held as well, until the hold ends or is removed. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relay.errors import UsageError
from relay.model.message import Delivery
from relay.model.queue_entry import entry_of
from relay.schedule.selection import STANDING, Predicate, Selection, selection_of

STANDING_MAX: Final = 1000
LASTING_MAX_MS: Final = 10 * 366 * 86_400_000
_NUMBERS: Final = ("number", "until_ms", "created_ms")


@dataclass(frozen=True, slots=True)
class StandingHold:
    """What is held from now on, by whom and why; `until_ms` is 0 where it has no end."""

    number: int
    selection: Selection
    until_ms: int = 0
    created_ms: int = 0
    caller: str = ""
    reason: str = ""

    def over(self, now_ms: int) -> bool:
        """Say whether it has ended."""
        return 0 < self.until_ms <= now_ms

    def as_json(self) -> dict[str, Any]:
        """Return it for a file."""
        return {
            "number": self.number,
            "selection": self.selection.as_json(),
            "until_ms": self.until_ms,
            "created_ms": self.created_ms,
            "caller": self.caller,
            "reason": self.reason,
        }


def standing_hold_of(values: Mapping[str, Any]) -> StandingHold:
    """Return the hold that `as_json` made the values of. Raise UsageError."""
    numbers = {name: values.get(name) for name in _NUMBERS}
    texts = {name: values.get(name) for name in ("caller", "reason")}
    selection = values.get("selection")
    if (
        not all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in numbers.values())
        or not all(isinstance(value, str) for value in texts.values())
        or not isinstance(selection, dict)
    ):
        raise UsageError("this is no standing hold")
    return StandingHold(selection=selection_of(selection), **numbers, **texts)  # type: ignore[arg-type]


def require_standing(selection: Selection) -> None:
    """Raise UsageError for criteria that nothing can be said about before mail is accepted, or for none at all."""
    given = selection.given() - {"states"}
    if not given:
        raise UsageError("Say which mail to hold from now on; all of it is held by stopping the relay.")
    if given - STANDING:
        raise UsageError(
            "Mail to come can be told by account, configuration set, domain, recipient, sender and pool only, not by "
            + ", ".join(sorted(given - STANDING))
            + "."
        )


class StandingHolds:
    """The standing holds in force, ready to be asked; true while there are any."""

    __slots__ = ("_tests",)

    def __init__(self, holds: Sequence[StandingHold] = ()) -> None:
        self._tests: list[tuple[StandingHold, Predicate]] = [(hold, hold.selection.matcher(0)) for hold in holds]

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self._tests)

    def of(self, delivery: Delivery, now_ms: int) -> StandingHold | None:
        """Return the hold that a queued delivery falls under; of several the one that lasts longest."""
        if any(hold.over(now_ms) for hold, _ in self._tests):
            self._tests = [(hold, test) for hold, test in self._tests if not hold.over(now_ms)]
        entry = entry_of(delivery)
        found = [hold for hold, test in self._tests if test(entry)]
        return max(found, key=lambda hold: hold.until_ms or LASTING_MAX_MS * 1000, default=None)
