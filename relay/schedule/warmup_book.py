"""What left on which day from addresses that warm up, and how receivers took it: exact counts. Pure.

Counts are by day, address and group of providers. A message may leave once a count that includes it is on disk
(`kept`); more is written ahead, in blocks, so a crash can lose a two-hundredth of a day's room, never give it twice.

Addresses of managed pools have a level with each group of providers (`warmup_level`) in place of a day of the
schedule, and no limit over all groups.

Mail to engaged recipients goes first: where some of it found no room, the next room is kept for it until it has had
time to come again. Other mail is told to come after that. A restart forgets this, no count.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from relay.schedule.warmup import DAY_MS, Mode, Pace, Rules, WarmUpState, day_of, held_after, schedule_day
from relay.schedule.warmup_level import Level, Levels, late

DAYS_KEPT = 8
ENGAGED_GRACE_MS = 300_000
BLOCK_PARTS = 200

Key = tuple[int, str, str]
"""Day, address, group."""


@dataclass(slots=True)
class Count:
    """What left, what is on disk, and how receivers took it: attempts, bounces, blocks, complaints."""

    used: int = 0
    kept: int = 0
    attempts: int = 0
    bounces: int = 0
    blocks: int = 0
    complaints: int = 0


@dataclass(slots=True)
class Hold:
    """Days taken off the schedule of an address, and the last day that was judged, with the reason."""

    days: int = 0
    judged_day: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Room or not. `not_before_ms` 0: granted, once a count of `reserve` is on disk when that is above 0.

    `late`: the address is managed and past its early phase, so what has no room should wait (POOL-015).
    """

    not_before_ms: int
    day: int = 0
    group: str = ""
    reserve: int = 0
    late: bool = False


_FREE = Answer(0)
_ANSWERS = ("attempts", "bounces", "blocks", "complaints")


class WarmUpBook:
    """All counts. Times are milliseconds since 1970."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._counts: dict[Key, Count] = {}
        self._totals: Counter[tuple[int, str]] = Counter()
        self._paces: dict[tuple[str, str], Pace] = {}
        self._holds: dict[str, Hold] = {}
        self.levels = Levels(self._used_on, self._volume_at, self._top)
        self._engaged: dict[tuple[str, str], int] = {}  # until when the next room is for engaged recipients

    def restore(
        self,
        counts: Iterable[tuple[int, str, str, int, int, int, int, int]],
        holds: Iterable[tuple[str, int, int, str]],
        levels: Iterable[tuple[str, str, int, int, int]] = (),
    ) -> None:
        """Take over what is on disk.

        Counts are (day, address, group, used, attempts, bounces, blocks, complaints), holds (address, days, last day
        judged, why), levels (address, group, level, day, beginning).
        """
        for day, address, group, used, *answers in counts:
            self._counts[day, address, group] = Count(used, used, *answers)
            self._totals[day, address] += used
        for address, days, judged_day, why in holds:
            self._holds[address] = Hold(days, judged_day, why)
        for address, group, *level in levels:
            self.levels.restore(address, group, Level(*level))

    def take(self, address: str, state: WarmUpState, provider: str, now_ms: int, *, engaged: bool = False) -> Answer:
        """Take room for one message; `engaged`: its recipient is known to want it."""
        key = (address, self.rules.group(provider))
        until_ms = self._engaged.get(key, 0)
        if until_ms and until_ms <= now_ms:
            del self._engaged[key]
            until_ms = 0
        answer = self._take(address, state, provider, now_ms, until_ms=0 if engaged else until_ms)
        if engaged and answer.not_before_ms:
            self._engaged[key] = max(until_ms, answer.not_before_ms + ENGAGED_GRACE_MS)
        return answer

    def _take(self, address: str, state: WarmUpState, provider: str, now_ms: int, *, until_ms: int) -> Answer:
        """Take room that nobody goes before until `until_ms`, 0 where nobody does."""
        if state.mode is Mode.MANAGED:
            return self._take_managed(address, state, provider, now_ms, until_ms=until_ms)
        rules, day = self.rules, day_of(now_ms)
        schedule = rules.schedule(address)
        at = schedule_day(schedule, state, now_ms, self.held_days(address))
        if at > schedule.days:
            return _FREE
        if at == 0:
            return Answer((day + 1) * DAY_MS)
        if until_ms:
            return Answer(until_ms)
        volume, group = schedule.allowed(at), rules.group(provider)
        cap = rules.share(group, volume)
        if self.used(day, address) >= volume:
            return Answer((day + 1) * DAY_MS)
        not_before_ms = self._paced((address, group), cap, self.count(day, address, group).used, now_ms)
        return Answer(not_before_ms) if not_before_ms else self._counted(day, address, group, cap)

    def _take_managed(self, address: str, state: WarmUpState, provider: str, now_ms: int, *, until_ms: int) -> Answer:
        """Take room of an address that goes by its level with the provider."""
        schedule, group = self.rules.schedule(address), self.rules.group(provider)
        day, at = day_of(now_ms), self.level(address, group, state.started_ms, now_ms)
        cap = self.rules.share(group, schedule.allowed(at))
        if at > schedule.days:
            return self._counted(day, address, group, cap)
        not_before_ms = until_ms or self._paced((address, group), cap, self.count(day, address, group).used, now_ms)
        if not_before_ms:
            return Answer(not_before_ms, late=late(at, schedule.days))
        return self._counted(day, address, group, cap)

    def _paced(self, key: tuple[str, str], cap: int, used: int, now_ms: int) -> int:
        pace = self._paces.get(key)
        if pace is None:
            pace = self._paces[key] = Pace(now_ms)
        return pace.take(cap, used, now_ms)

    def _counted(self, day: int, address: str, group: str, cap: int) -> Answer:
        """Count one that may leave."""
        count = self.count(day, address, group)
        count.used += 1
        self._totals[day, address] += 1
        if count.used <= count.kept:
            return Answer(0, day, group)
        ahead = count.used + cap // BLOCK_PARTS
        return Answer(0, day, group, max(count.used, min(cap, ahead) if count.used <= cap else ahead))

    # --- managed addresses ---------------------------------------------------------------------------------------

    def level(self, address: str, group: str, started_ms: int, now_ms: int) -> int:
        """Return the level of an address with a group today, less the days that are taken off."""
        at = self.levels.at(address, group, started_ms, day_of(now_ms))
        return max(1, at - self.held_days(address))

    def _used_on(self, day: int, address: str, group: str) -> int:
        count = self._counts.get((day, address, group))
        return count.used if count is not None else 0

    def _volume_at(self, level: int, address: str, group: str) -> int:
        return self.rules.share(group, self.rules.schedule(address).allowed(level - self.held_days(address)))

    def _top(self, address: str) -> int:
        return self.rules.schedule(address).days + 1 + self.held_days(address)

    def give_back(self, day: int, address: str, provider: str) -> None:
        """Return room of a day that was not used."""
        group = self.rules.group(provider)
        count = self._counts.get((day, address, group))
        if count is not None and count.used > 0:
            count.used -= 1
            self._totals[day, address] -= 1
            if (address, group) in self._paces:
                self._paces[address, group].give_back()

    def refuse(self, day: int, address: str, group: str) -> None:
        """Take back what could not be kept on disk."""
        self.count(day, address, group).used -= 1
        self._totals[day, address] -= 1

    # --- health --------------------------------------------------------------------------------------------------

    def note(
        self, day: int, address: str, provider: str, *, attempts: int, bounces: int, blocks: int, complaints: int = 0
    ) -> Count:
        """Count how receivers took messages, at once or in what came back later."""
        count = self.count(day, address, self.rules.group(provider))
        count.attempts += attempts
        count.bounces += bounces
        count.blocks += blocks
        count.complaints += complaints
        return count

    def judge(self, now_ms: int) -> Iterator[tuple[str, Hold]]:
        """Judge today's answers once, as soon as they are over a line; yield the addresses that are set back."""
        day = day_of(now_ms)
        for address in {key[1] for key in self._counts if key[0] == day}:
            hold = self._holds.get(address) or Hold()
            if hold.judged_day >= day:
                continue
            today = [count for (d, a, _), count in self._counts.items() if d == day and a == address]
            sums = [sum(getattr(one, name) for one in today) for name in _ANSWERS]
            days, why = held_after(self.rules, *sums)
            if days:
                hold.days, hold.judged_day, hold.why = hold.days + days, day, why
                self._holds[address] = hold
                yield address, hold

    def release(self, address: str) -> bool:
        """Forget the hold of an address and who waits for it, because an operator set its warm-up anew.

        Its answers are counted anew too: else those of today would be held against it again at once.
        """
        for (_, known, _), count in self._counts.items():
            if known == address:
                count.attempts = count.bounces = count.blocks = count.complaints = 0
        for key in [key for key in self._engaged if key[0] == address]:
            del self._engaged[key]
        return self._holds.pop(address, None) is not None

    def forget_old(self, now_ms: int) -> int:
        """Forget days that are long over; return the first one that is kept."""
        first = day_of(now_ms) - DAYS_KEPT
        for key in [key for key in self._counts if key[0] < first]:
            del self._counts[key]
            self._totals.pop(key[:2], None)
        return first

    def held_days(self, address: str) -> int:
        """Return the days that are taken off the schedule of an address."""
        hold = self._holds.get(address)
        return hold.days if hold is not None else 0

    def hold(self, address: str) -> Hold:
        """Return the hold of an address."""
        return self._holds.get(address) or Hold()

    def holds(self) -> Iterator[tuple[str, Hold]]:
        """Yield the addresses whose schedule was set back."""
        yield from sorted(self._holds.items())

    def used(self, day: int, address: str) -> int:
        """Return what left from an address on a day, to all."""
        return self._totals[day, address]

    def count(self, day: int, address: str, group: str) -> Count:
        """Return the count of a day, an address and a group."""
        return self._counts.setdefault((day, address, group), Count())

    def unwritten(self) -> Iterator[tuple[Key, Count]]:
        """Yield counts of which more is on disk than was used: room that a clean end gives back."""
        for key, count in self._counts.items():
            if count.kept > count.used:
                yield key, count

    def today(self, now_ms: int) -> Iterator[tuple[str, str, Count]]:
        """Yield today's counts by address and group."""
        for (day, address, group), count in sorted(self._counts.items()):
            if day == day_of(now_ms):
                yield address, group, count
