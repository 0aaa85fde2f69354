"""Which address each delivery leaves from: retries, blocks, warm-up, and what a catalog that changes does to them."""

from dataclasses import replace

import pytest

from relay.errors import StorageError
from relay.model.message import Delivery, Message, SendOptions
from relay.model.outcome import Outcome, Stage, Verdict
from relay.model.pool import (
    AccountSending,
    Pool,
    PoolSnapshot,
    Reverse,
    ReverseDns,
    ScalingMode,
    SourceAddress,
    WarmUp,
)
from relay.pipeline import departure
from relay.pipeline.departure import Deferral, PlainGate
from relay.pipeline.pools import (
    GONE_SECONDS,
    LOOK_SECONDS,
    RETRY_PATIENCE_MS,
    RETRY_WAITS_MS,
    WAIT_MS,
    PoolSources,
)
from relay.runtime.observe.metrics import ProcessMetrics
from relay.schedule.effects import EffectKind, Standing
from relay.testing.directory import MemoryDirectory
from tests.unit.pipeline.outbound_harness import ListLog

A, B = "000000000001", "000000000002"
BOTH, V4 = frozenset({4, 6}), frozenset({4})
NOW_MS = 1_000_000


class Clock:
    seconds = 0.0

    def now_ms(self):
        return NOW_MS

    def monotonic(self):
        return self.seconds


class Blocks(PlainGate):
    """Passes addresses over at destinations."""

    def __init__(self):
        super().__init__()
        self.standings = {}

    def standing(self, lane, delivery):
        return self.standings.get((lane.source, lane.destination))


class Room:
    """Room for so many messages of each address."""

    def __init__(self, **room):
        self.room = {key.replace("_", "."): count for key, count in room.items()}
        self.asked = []
        self.late, self.after_ms = False, 5000

    def take(self, source, provider, done, *, engaged=False):
        self.asked.append((source, provider))
        self.engaged = engaged
        left = self.room.get(source[-1], 0)
        self.room[source[-1]] = max(0, left - 1)
        done(departure.GRANTED if left > 0 else departure.Room(NOW_MS + self.after_ms, late=self.late))

    def room_a_day(self, source):
        return 0

    def give_back(self, source, provider):
        self.asked.append((source, provider, "back"))
        self.room[source[-1]] += 1


class Bench:
    def __init__(self, *addresses, pools=(), accounts=(), room=None):
        self.directory = MemoryDirectory(snapshot=PoolSnapshot(tuple(addresses), tuple(pools), (), tuple(accounts)))
        self.clock, self.gate, self.room, self.log = Clock(), Blocks(), room or Room(), ListLog()
        self.metrics = ProcessMetrics("test")
        self.sources = PoolSources(
            directory=self.directory,
            gate=self.gate,
            volumes=self.room,
            clock=self.clock,
            log=self.log,
            metrics=self.metrics,
        )

    def choose(self, account=A, pool="", source="", families=BOTH, site="mx.example", provider=""):
        found = []
        self.last = delivery(account, pool, source)
        self.sources.choose(self.last, site, provider, families, found.append)
        (one,) = found
        return one

    def from_(self, **more):
        return self.choose(**more).address


def delivery(account=A, pool="", source=""):
    message = Message(1, "m1", account, "s@x.example", 0, 1 << 50, 10, False, False, b"{}", SendOptions(pool=pool))
    return Delivery(message, 0, "u@r.example", source=source)


def address(text, account="", pool="", **more):
    return SourceAddress(text, account, pool, **more)


def outcome(stage=Stage.FINAL_DOT, verdict=Verdict.DELIVERED):
    return Outcome(verdict, stage, 250, "", "ok")


def test_a_retry_keeps_its_address_and_survives_edits_of_the_pool():
    bench = Bench(address("192.0.2.1", A, "p"), address("192.0.2.2", A, "p", weight=0), pools=[Pool(A, "p")])
    assert bench.from_(pool="p", source="192.0.2.2") == "192.0.2.2"  # it rests now
    bench.directory.snapshot = replace(
        bench.directory.snapshot, addresses=(address("192.0.2.1", A, "p"), address("192.0.2.2", A))
    )
    assert bench.from_(pool="p", source="192.0.2.2") == "192.0.2.2"  # it was moved out of the pool


def test_a_retry_gets_a_new_address_when_its_own_will_not_do():
    addresses = [
        address("192.0.2.1", A),
        address("192.0.2.2", A, absent_ms=1),
        address("192.0.2.3", A, suspended="listed"),
        address("192.0.2.4", B),
        address("192.0.2.5", reserve=True),
        address("2001:db8::1", A, weight=0),
        address("192.0.2.9"),
    ]
    bench = Bench(*addresses, accounts=[AccountSending(A, shared_barred=True)])
    for gone in ("192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.9", "192.0.2.77", "127.0.0.1"):
        assert bench.from_(source=gone) == "192.0.2.1"
    assert bench.from_(source="2001:db8::1") == "2001:db8::1"
    assert bench.from_(source="2001:db8::1", families=V4) == "192.0.2.1"


def test_a_blocked_address_is_passed_over_at_that_provider_only():
    bench = Bench(address("192.0.2.1"), address("192.0.2.2"))
    bench.gate.standings["192.0.2.1", "big"] = Standing(EffectKind.SWITCH, NOW_MS + 60_000, "r1", "blocked")
    assert {bench.from_(provider="big") for _ in range(20)} == {"192.0.2.2"}
    assert bench.from_(provider="big", source="192.0.2.1") == "192.0.2.2"
    assert {bench.from_(provider="other") for _ in range(20)} == {"192.0.2.1", "192.0.2.2"}
    bench.gate.standings["192.0.2.2", "big"] = Standing(EffectKind.SWITCH, NOW_MS + 30_000, "r1", "blocked")
    waits = bench.choose(provider="big")
    assert isinstance(waits, Deferral)
    assert waits.not_before_ms == NOW_MS + 30_000
    assert "passed over at big" in waits.text


def test_an_address_that_cannot_be_bound_is_passed_over_for_a_while():
    bench = Bench(address("192.0.2.1"), address("192.0.2.2"))
    assert bench.sources.gone("192.0.2.1")
    assert {bench.from_(source=kept) for kept in ("", "192.0.2.1", "192.0.2.2")} == {"192.0.2.2"}
    bench.sources.gone("192.0.2.2")
    assert "is not an address of this host" in bench.choose().text
    bench.clock.seconds = GONE_SECONDS
    assert bench.from_(source="192.0.2.1") == "192.0.2.1"


def test_a_pause_is_the_lanes_business():
    bench = Bench(address("192.0.2.1"))
    bench.gate.standings["192.0.2.1", "mx.example"] = Standing(EffectKind.PAUSE, NOW_MS + 60_000, "r1", "slow")
    assert bench.from_() == "192.0.2.1"


def test_warm_up_first_then_warm_then_overflow_then_wait():
    warm = WarmUp.AUTO
    pools = [Pool(A, "p", overflow="q"), Pool(A, "q")]
    addresses = [address("192.0.2.1", A, "p", warmup=warm), address("192.0.2.2", A, "q", warmup=warm)]
    bench = Bench(*addresses, pools=pools, room=Room(**{"1": 2, "2": 1}))
    found = [bench.choose(pool="p") for _ in range(4)]
    assert [one.address for one in found[:3]] == ["192.0.2.1", "192.0.2.1", "192.0.2.2"]
    assert [one.pool for one in found[:3]] == ["p", "p", "q"]
    assert isinstance(found[3], Deferral)
    assert found[3].not_before_ms == NOW_MS + 5000
    assert bench.room.asked[0] == ("192.0.2.1", "mx.example")


@pytest.mark.parametrize(
    ("after_ms", "age_ms", "waits"),
    [
        (5000, 0, True),
        (RETRY_WAITS_MS, RETRY_PATIENCE_MS - 1, True),
        (RETRY_WAITS_MS + 1, 0, False),  # no room today, or nearly so
        (5000, RETRY_PATIENCE_MS, False),  # it waited long enough
    ],
)
def test_a_retry_waits_for_room_at_its_address_but_not_for_tomorrow(after_ms, age_ms, waits):
    bench = Bench(address("192.0.2.1", A, warmup=WarmUp.AUTO), address("192.0.2.2", A))
    bench.room.after_ms = after_ms
    found = []
    one = delivery(A, "", "192.0.2.1")
    one = replace(one, message=replace(one.message, accepted_ms=NOW_MS - age_ms))
    bench.sources.choose(one, "mx.example", "", BOTH, found.append)
    if waits:
        assert isinstance(found[0], Deferral)
        assert found[0].not_before_ms == NOW_MS + after_ms
    else:
        assert found[0].address == "192.0.2.2"
    assert bench.from_() == "192.0.2.2"  # new mail does not wait


@pytest.mark.req("POOL-015")
def test_what_a_managed_pool_has_no_room_for_leaves_elsewhere_early_and_waits_late():
    managed = address("192.0.2.1", A, "m", warmup=WarmUp.AUTO, managed=True)
    bench = Bench(managed, address("192.0.2.9"), pools=[Pool(A, "m", ScalingMode.MANAGED)], room=Room(**{"1": 1}))
    assert bench.from_(pool="m") == "192.0.2.1"
    assert bench.from_(pool="m") == "192.0.2.9"
    bench.room.late = True
    waits = bench.choose(pool="m")
    assert isinstance(waits, Deferral)
    assert "have no room left" in waits.text


def test_a_warm_up_is_told_which_mail_goes_first():
    bench = Bench(address("192.0.2.1", A, warmup=WarmUp.AUTO), room=Room(**{"1": 9}))
    for engaged in (True, False):
        one = delivery()
        one = replace(one, message=replace(one.message, options=SendOptions(engaged=engaged)))
        bench.sources.choose(one, "mx.example", "", BOTH, lambda _: None)
        assert bench.room.engaged is engaged


def test_room_that_was_not_used_goes_back():
    bench = Bench(address("192.0.2.1", A, warmup=WarmUp.AUTO), room=Room(**{"1": 1}))
    for unused in (None, outcome(Stage.CONNECT, Verdict.TEMPORARY), outcome(Stage.SHAPING, Verdict.TEMPORARY)):
        chosen = bench.choose(provider="big")
        assert isinstance(bench.choose(provider="big"), Deferral)
        bench.last = delivery()
        bench.sources.settled(bench.last, "big", chosen, unused)
        assert bench.room.asked[-1] == ("192.0.2.1", "big", "back")
    chosen = bench.choose(provider="big")
    bench.sources.settled(bench.last, "big", chosen, outcome(Stage.RCPT, Verdict.PERMANENT))
    assert isinstance(bench.choose(provider="big"), Deferral)


def test_mail_waits_while_the_reverse_dns_of_a_range_fails():
    bad = address("192.0.2.1", A, registered=True)
    bench = Bench(bad)
    waits = bench.choose()
    assert (waits.enhanced, waits.not_before_ms) == ("4.7.25", NOW_MS + WAIT_MS)
    good = replace(bad, reverse=ReverseDns(Reverse.CONFIRMED, ("a.example",), helo=True))
    bench.directory.snapshot = PoolSnapshot((good,))
    bench.clock.seconds = LOOK_SECONDS
    assert bench.from_() == "192.0.2.1"


def test_one_address_for_a_test_is_never_another():
    bench = Bench(address("192.0.2.1"), address("192.0.2.2", warmup=WarmUp.AUTO))
    assert isinstance(bench.choose(pool="@192.0.2.2"), Deferral)
    assert bench.from_(pool="@192.0.2.1", source="192.0.2.2") == "192.0.2.1"
    assert isinstance(bench.choose(pool="@192.0.2.3"), Deferral)


def test_without_an_address_of_the_family_the_attempt_ends():
    answer = Bench(address("2001:db8::1")).choose(families=V4)
    assert (answer.stage, answer.verdict) == (Stage.CONNECT, Verdict.TEMPORARY)


def test_a_catalog_that_cannot_be_read_leaves_what_is_known():
    bench = Bench(address("192.0.2.1"))
    assert bench.from_() == "192.0.2.1"

    class Unreadable(MemoryDirectory):
        def refresh(self):
            raise StorageError("gone")

    bench.sources._directory = Unreadable()
    bench.clock.seconds = 60.0
    assert bench.from_() == "192.0.2.1"
    assert bench.log.lines


def test_figures_are_kept_by_address_and_pool():
    addresses = [address("192.0.2.1", A, "p"), address("192.0.2.2", B, "p"), address("192.0.2.9")]
    bench = Bench(*addresses, pools=[Pool(A, "p"), Pool(B, "p")])
    for account, verdict in ((A, Verdict.DELIVERED), (B, Verdict.PERMANENT)):
        chosen = bench.choose(account=account, pool="p")
        bench.sources.settled(bench.last, "", chosen, outcome(verdict=verdict))
    counted = bench.metrics.snapshot()
    text = str(counted)
    assert "192.0.2.1" in text
    assert f"{A}/p" in text
    assert f"{B}/p" in text


def test_whoever_has_connections_from_a_lost_address_is_told_once():
    bench = Bench(address("192.0.2.1"), address("192.0.2.2"))
    lost = []
    bench.sources._on_lost = lost.append
    bench.sources.look()
    assert not lost
    bench.directory.snapshot = PoolSnapshot((address("192.0.2.1", absent_ms=5), address("192.0.2.2")))
    bench.sources.look()
    bench.sources.look()
    assert lost == ["192.0.2.1"]
