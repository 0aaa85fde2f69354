"""A worker's side of permits (port `Permits`).

What the worker committed (the *tally*) and what it was granted and has not reported (the *open* leases) are kept
here, each recipient in exactly one of the two. On every connection both are announced, so that permits knows the
truth again whatever either side missed. Requests wait for two seconds at most, also while permits is away; then the
answer is TEMPORARY. All notes of one turn of the loop leave in one write. Authentication failures are decided from
a table of the worker's own, which permits keeps equal to those of the others.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relay.model.account import Account
from relay.model.refusal import Reason, Refusal
from relay.policy.leases import Usage
from relay.policy.quota import first_minute
from relay.ports import AuthGate, Clock, Lease
from relay.runtime.permits.link import Link, connect
from relay.runtime.permits.protocol import LANE_WORDS, Note, ProtocolError, clean
from relay.runtime.permits.tally import Tally
from relay.schedule.throttle import AuthFailures, FailureLimits

WAIT_SECONDS = 2.0
PENDING_MAX = 10_000
REPORT_SECONDS = 1.0

_REFUSALS = {"rate": Refusal(Reason.RATE_EXCEEDED), "quota": Refusal(Reason.QUOTA_EXCEEDED)}
_AWAY = Refusal(Reason.TEMPORARY)

Answer = Callable[[Lease | Refusal], None]


class Part(Protocol):
    """What else of a worker talks to permits over the same connection: lanes, warm-up."""

    def announcement(self) -> list[Note]:
        """Return what permits must know before it grants anything; earlier grants of it are void."""
        ...

    def joined(self) -> None:
        """The announcement has left: ask for what is wanted."""
        ...

    def left(self) -> None:
        """The connection is gone."""
        ...

    def handle(self, note: Note) -> bool:
        """Act on a note; False: it is not ours. Raise ProtocolError, ValueError, TypeError."""
        ...


@dataclass(slots=True)
class _Pending:
    """A request without an answer yet."""

    account: Account
    recipients: int
    counted: int
    done: Answer
    deadline: float


class PermitsClient:
    """Asks permits on behalf of one worker. `usage_since(first_minute)` reads the usage of its shard.

    Call `start` on the loop before the first message is accepted: the tally begins with what the shard has then.
    """

    def __init__(
        self,
        path: str,
        shard: int,
        usage_since: Callable[[int], Usage],
        clock: Clock,
        *,
        failures: FailureLimits | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._path = path
        self._shard = shard
        self._usage_since = usage_since
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._failures = AuthFailures(failures or FailureLimits())
        self._tally = Tally()
        self._open: dict[int, Lease] = {}
        self._pending: dict[int, _Pending] = {}
        self._unreported: dict[tuple[str, int], int] = {}
        self._queries: dict[int, asyncio.Future[int]] = {}
        self._last_id = 0
        self._out: list[Note] = []
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._report_timer: asyncio.TimerHandle | None = None
        self._connector: asyncio.Task[None] | None = None
        self._closed = False
        self.parts: list[Part] = []

    @property
    def connected(self) -> bool:
        """True while permits is there and knows what this worker announced."""
        return self._link is not None

    async def start(self) -> None:
        """Read the shard's usage and begin to connect; does not wait for permits."""
        self._tally.begin(self._usage_since(first_minute(self._clock.now_ms())), self._clock.monotonic())
        self._connector = asyncio.create_task(connect(self, self._path))

    async def close(self) -> None:
        """Send what is to be reported, refuse what waits, and disconnect."""
        self._closed = True
        self._report()
        self._flush()
        for timer in (self._timer, self._report_timer):
            if timer is not None:
                timer.cancel()
        if self._connector is not None:
            self._connector.cancel()
            await asyncio.gather(self._connector, return_exceptions=True)
        if self._link is not None:
            self._link.close()
        pending, self._pending = self._pending, {}
        for request in pending.values():
            request.done(_AWAY)

    def take(self, account: Account, recipients: int, done: Answer, *, counted: int) -> None:
        """Ask for a lease; an account without limits is granted at once, from inside the call."""
        if not account.limited:
            done(Lease(0, account.account_id, counted))
            return
        if len(self._pending) >= PENDING_MAX or self._closed:
            asyncio.get_running_loop().call_soon(done, _AWAY)
            return
        self._last_id += 1
        self._pending[self._last_id] = request = _Pending(
            account, recipients, counted, done, self._clock.monotonic() + self._wait_seconds
        )
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._wait_seconds, self._give_up)
        if self._link is not None:
            if self._unreported:
                self._report()  # what it sent without limits must count before what it asks for now
            self._send(_take_note(self._last_id, request))

    def spent(self, lease: Lease, minute: int) -> None:
        """Report that the lease's recipients were committed in `minute` (minutes since 1970)."""
        if lease.lease_id == 0:
            if lease.recipients:
                self._count(lease, minute)
                self._report_later(lease, minute)
        elif self._open.pop(lease.lease_id, None) is not None:
            if lease.recipients:
                self._count(lease, minute)
            self._send(["spent", lease.lease_id, minute])

    def unused(self, lease: Lease) -> None:
        """Give a lease back."""
        if self._open.pop(lease.lease_id, None) is not None:
            self._send(["unused", lease.lease_id])

    def auth_gate(self, address: str, username: str) -> AuthGate:
        """Return what the failure limits say about this address and user, from local knowledge, at once."""
        return self._failures.gate(address, username, self._clock.monotonic())

    def recognises(self, address: str) -> bool:
        """Say whether an address authenticated lately, from local knowledge, at once."""
        return self._failures.recognises(address, self._clock.monotonic())

    def auth_result(self, address: str, username: str, *, succeeded: bool) -> None:
        """Report the result of an authentication, to be known by all workers."""
        now = self._clock.monotonic()
        if not succeeded:
            self._failures.failed(address, username, now)
            self._send(["failed", clean(address), clean(username)])
        elif self._failures.succeeded(address, username, now):
            self._send(["succeeded", clean(address), clean(username)])

    async def used(self, account: str) -> int | None:
        """Return the recipients that count for an account now, all workers together; None while permits is away."""
        if self._link is None:
            return None
        self._report()
        self._last_id = query_id = self._last_id + 1
        future = self._queries[query_id] = asyncio.get_running_loop().create_future()
        self._send(["query", query_id, account])
        try:
            return await asyncio.wait_for(future, self._wait_seconds)
        except (TimeoutError, ConnectionError):
            return None
        finally:
            self._queries.pop(query_id, None)

    # --- the connection ----------------------------------------------------------------------------------------

    def joined(self, link: Link) -> None:
        """Announce everything on a new connection, then ask again for what waits."""
        self._link = link
        self._out = []
        link.write([["hello", self._shard]])
        for note in self._tally.notes(self._clock.monotonic()):
            link.write([note])
        link.write([["held", lease.lease_id, lease.account, lease.recipients] for lease in self._open.values()])
        for part in self.parts:
            link.write(part.announcement())
        link.write([["announced"]])
        self._unreported = {}
        link.write([_take_note(lease_id, request) for lease_id, request in self._pending.items()])
        for part in self.parts:
            part.joined()

    def left(self, link: Link) -> None:
        """Connect again."""
        if self._link is not link:
            return
        self._link = None
        self._out = []
        for part in self.parts:
            part.left()
        for future in self._queries.values():
            if not future.done():
                future.set_exception(ConnectionError())
        if not self._closed:
            self._connector = asyncio.create_task(connect(self, self._path))

    def handle(self, note: Note) -> None:
        """Act on a note of permits."""
        match note:
            case ["granted", int() as lease_id]:
                self._granted(lease_id)
            case ["refused", int() as lease_id, str() as limit]:
                request = self._pending.pop(lease_id, None)
                if request is not None:
                    request.done(_REFUSALS[limit])
            case ["failed", str() as address, str() as username]:
                self._failures.failed(address, username, self._clock.monotonic())
            case ["succeeded", str() as address, str() as username]:
                self._failures.succeeded(address, username, self._clock.monotonic())
            case ["recalled", str() as kind, str() as address, str() as username, int() | float() as age]:
                self._failures.restore(kind, address, username, age, self._clock.monotonic())
            case ["used", int() as query_id, int() as count]:
                if query_id in self._queries and not self._queries[query_id].done():
                    self._queries[query_id].set_result(count)
            case _:
                if not any(part.handle(note) for part in self.parts) and (self.parts or note[0] not in LANE_WORDS):
                    raise ProtocolError(str(note))

    def send(self, note: Note) -> None:
        """Send a note of a part with the others of this turn; dropped while permits is away."""
        self._send(note)

    def _granted(self, lease_id: int) -> None:
        request = self._pending.pop(lease_id, None)
        if request is None:
            self._send(["unused", lease_id])  # nobody waits any more
            return
        lease = self._open[lease_id] = Lease(lease_id, request.account.account_id, request.counted)
        request.done(lease)

    def _give_up(self) -> None:
        """Refuse what waited too long; requests wait equally long, so the first ones are the oldest."""
        self._timer = None
        now = self._clock.monotonic()
        while self._pending:
            lease_id, request = next(iter(self._pending.items()))
            if request.deadline > now:
                delay = request.deadline - now
                self._timer = asyncio.get_running_loop().call_later(delay, self._give_up)
                return
            del self._pending[lease_id]
            request.done(_AWAY)

    def _send(self, note: Note) -> None:
        if self._link is None:
            return  # the next announcement says it
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(note)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._link is not None and out:
            self._link.write(out)

    def _report_later(self, lease: Lease, minute: int) -> None:
        if self._link is None:
            return
        key = (lease.account, minute)
        self._unreported[key] = self._unreported.get(key, 0) + lease.recipients
        if self._report_timer is None:
            self._report_timer = asyncio.get_running_loop().call_later(REPORT_SECONDS, self._report)

    def _report(self) -> None:
        if self._report_timer is not None:
            self._report_timer.cancel()
            self._report_timer = None
        unreported, self._unreported = self._unreported, {}
        for (account, minute), recipients in unreported.items():
            self._send(["add", account, minute, recipients])

    def _count(self, lease: Lease, minute: int) -> None:
        self._tally.add(lease.account, minute, lease.recipients, self._clock.monotonic())


def _take_note(lease_id: int, request: _Pending) -> Note:
    account = request.account
    counted, quota, rate = request.counted, account.daily_quota, account.send_rate
    return ["take", lease_id, account.account_id, request.recipients, counted, quota, rate]
