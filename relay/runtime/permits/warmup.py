"""Warm-up in the permits process: room for messages from addresses that warm up, counted over all workers.

What is decided is `relay.schedule.warmup_book`; here it meets notes and the file. Room is given out once it is on
disk. What an address is at (mode, start, percentage) comes with each request, from the catalog that the worker reads;
schedules and shares are those of the configuration.
"""

from collections.abc import Callable

from relay.ports import Clock, Json, Log, Metrics
from relay.runtime.permits import values
from relay.runtime.permits.keeper import Keeper
from relay.runtime.permits.lanes import Peer
from relay.runtime.permits.protocol import Note
from relay.schedule.warmup import Mode, Rules, WarmUpState, day_of
from relay.schedule.warmup_book import Answer, WarmUpBook
from relay.store.permits_file import Write

RETRY_MS = 10_000


class WarmUpDesk:
    """Answers workers, keeps the counts, judges the health of addresses."""

    def __init__(self, rules: Rules, clock: Clock, keeper: Keeper, log: Log, metrics: Metrics) -> None:
        self.book = WarmUpBook(rules)
        self._clock = clock
        self._keeper = keeper
        self._log = log
        self._metrics = metrics
        self._dirty: set[tuple[int, str, str]] = set()
        self._forgotten_day = 0

    def use(self, rules: Rules) -> None:
        """Go by other rules from now on."""
        self.book.rules = rules

    def take(self, peer: Peer, note: Note) -> None:
        """Answer a request for room, once it is kept."""
        _, number, address, provider, mode, started_ms, percent, engaged = note
        number, address, provider = values.count(number), values.name(address), values.name(provider)
        state = WarmUpState(Mode(values.name(mode)), values.count(started_ms), values.count(percent))
        now_ms = self._clock.now_ms()
        answer = self.book.take(address, state, provider, now_ms, engaged=bool(values.count(engaged)))
        if answer.not_before_ms:
            self._metrics.count("relay_warmup_total", "full")
            peer.tell(["full", number, answer.not_before_ms, answer.late])
        elif not answer.reserve:
            self._metrics.count("relay_warmup_total", "room")
            peer.tell(["room", number, answer.day])
        else:
            row = (answer.day, address, answer.group, answer.reserve)
            self._keeper.write(
                [("reserve_volume", row)], lambda kept: self._kept(peer, number, address, answer, kept=kept)
            )

    def _kept(self, peer: Peer, number: int, address: str, answer: Answer, *, kept: bool) -> None:
        count = self.book.count(answer.day, address, answer.group)
        if kept:
            count.kept = max(count.kept, answer.reserve)
            self._metrics.count("relay_warmup_total", "room")
            peer.tell(["room", number, answer.day])
        else:
            self.book.refuse(answer.day, address, answer.group)
            peer.tell(["full", number, self._clock.now_ms() + RETRY_MS, False])

    def back(self, note: Note) -> None:
        """Take room back."""
        _, day, address, provider = note
        self.book.give_back(values.count(day), values.name(address), values.name(provider))

    def answers(self, note: Note) -> None:
        """Count how receivers took mail."""
        _, address, provider, *numbers = note
        attempts, bounces, blocks, complaints = map(values.count, numbers)
        day, address, provider = day_of(self._clock.now_ms()), values.name(address), values.name(provider)
        self.book.note(
            day, address, provider, attempts=attempts, bounces=bounces, blocks=blocks, complaints=complaints
        )
        self._dirty.add((day, address, self.book.rules.group(provider)))

    def tick(self) -> None:
        """Keep the answers, judge them, forget old days; called every few seconds."""
        now_ms = self._clock.now_ms()
        writes: list[Write] = []
        for day, address, group in self._dirty:
            count = self.book.count(day, address, group)
            row = (day, address, group, count.attempts, count.bounces, count.blocks, count.complaints)
            writes.append(("note_answers", row))
        self._dirty.clear()
        for address, hold in self.book.judge(now_ms):
            writes.append(("put_hold", (address, hold.days, hold.judged_day, hold.why)))
            self._metrics.count("relay_warmup_holds_total")
            self._log.warning(
                "the warm-up of an address was set back", address=address, days=hold.days, reason=hold.why
            )
        if day_of(now_ms) != self._forgotten_day:
            self._forgotten_day = day_of(now_ms)
            self.book.levels.move(day_of(now_ms))
            writes.append(("forget_volumes", (self.book.forget_old(now_ms),)))
        for address, group, level in self.book.levels.changed():
            writes.append(("put_level", (address, group, level.at, level.day, level.started_ms)))
        for address, group, level in self.book.levels.all():
            self._metrics.gauge("relay_managed_warmup_level", level.at, address, group)
        if writes:
            self._keeper.write(writes)

    def close(self) -> None:
        """Give back what was written ahead."""
        self.tick()
        rows = [(*key, count.used) for key, count in self.book.unwritten()]
        if rows:
            self._keeper.write([("reserve_volume", row) for row in rows])

    # --- for commands --------------------------------------------------------------------------------------------

    def listing(self, _request: Json) -> Json:
        """Answer `warmup.today`: what left today by address and group, holds, levels of managed addresses."""
        now_ms = self._clock.now_ms()
        rows = [
            {
                "address": address,
                "provider": group,
                "used": count.used,
                "attempts": count.attempts,
                "bounces": count.bounces,
                "blocks": count.blocks,
                "complaints": count.complaints,
            }
            for address, group, count in self.book.today(now_ms)
        ]
        holds = [{"address": address, "days": hold.days, "reason": hold.why} for address, hold in self.book.holds()]
        levels = [
            {"address": address, "provider": group, "level": level.at, "startedMs": level.started_ms}
            for address, group, level in self.book.levels.all()
        ]
        return {"day": day_of(now_ms), "volumes": rows, "holds": holds, "levels": levels}

    def release(self, request: Json) -> Json:
        """Answer `warmup.release`: an operator set the warm-up of an address anew, so it is held no more."""
        address = str(request.get("address", ""))
        released = self.book.release(address)
        self._keeper.write(release_writes(address))
        return {"released": released}


def release_writes(address: str) -> list[Write]:
    """Return what forgets in the file what receivers answered, and the hold that came of it."""
    return [("forget_answers", (address,)), ("remove_hold", (address,))]


def _take(peer: Peer, desk: WarmUpDesk, note: Note) -> None:
    desk.take(peer, note)


def _back(_peer: Peer, desk: WarmUpDesk, note: Note) -> None:
    desk.back(note)


def _answers(_peer: Peer, desk: WarmUpDesk, note: Note) -> None:
    desk.answers(note)


ACTIONS: dict[str, Callable[[Peer, WarmUpDesk, Note], None]] = {
    "volume": _take,
    "volume back": _back,
    "answers": _answers,
}
