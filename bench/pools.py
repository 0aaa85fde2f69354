"""What the choice of a source address costs a message: at acceptance and at delivery.

`python -m bench.pools`. CPU time of one choice on catalogs without pools, with a few, and with as many addresses as
there may be; shaping and pools together may cost 60 us a message.
"""

import sys
import time
from collections.abc import Callable

from bench.figures import Figure, arguments, at_most, finish, show_reference
from relay.model.message import Delivery, Message, SendOptions
from relay.model.outcome import Outcome, Stage, Verdict
from relay.model.pool import NO_POOLS, Pool, PoolRule, PoolSnapshot, SourceAddress, WarmUp
from relay.pipeline.departure import PlainGate, PlainVolumes
from relay.pipeline.pools import PoolSources
from relay.runtime.observe.metrics import ProcessMetrics
from relay.schedule.pools import PoolBook
from relay.testing.directory import MemoryDirectory

LIMIT_US = 20.0  # the rest of the 60 is for lanes and rules
ROUNDS = 100_000
ACCOUNTS = 64
BOTH = frozenset({4, 6})
DONE = Outcome(Verdict.DELIVERED, Stage.FINAL_DOT, 250, "", "ok")


class SystemClock:
    """The clock of this machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class Silent:
    """A log that nobody reads."""

    def debug(self, event: str, **fields: object) -> None:
        """Drop it."""

    info = warning = error = debug


def catalog(addresses: int, *, warmup: WarmUp = WarmUp.OFF) -> PoolSnapshot:
    """Return a catalog with a pool for each of 64 accounts, and addresses spread over them."""
    pools = tuple(Pool(f"{number:012d}", "p") for number in range(ACCOUNTS))
    made = tuple(
        SourceAddress(
            f"10.0.{n // 250}.{n % 250 + 1}", f"{n % ACCOUNTS:012d}", "p", weight=50 + n % 100, warmup=warmup
        )
        for n in range(addresses)
    )
    rules = tuple(PoolRule(n, "", "", f"r{n}.example", "p") for n in range(20))
    return PoolSnapshot(made, pools, rules)


def delivery(account: str, source: str = "") -> Delivery:
    message = Message(1, "m", account, "", 0, 1 << 50, 1, False, False, b"", SendOptions(pool="p"))
    return Delivery(message, 0, "u@r.example", source=source)


def choosing(snapshot: PoolSnapshot, one: Delivery) -> Callable[[int], object]:
    """Return a choice with its settlement, at sites in turn."""
    sources = PoolSources(
        directory=MemoryDirectory(snapshot=snapshot),
        gate=PlainGate(),
        volumes=PlainVolumes(),
        clock=SystemClock(),
        log=Silent(),
        metrics=ProcessMetrics("bench"),
    )
    sites = [f"mx{number}.example" for number in range(500)]
    found: list = []

    def choose(number: int) -> None:
        found.clear()
        sources.choose(one, sites[number % 500], "", BOTH, found.append)
        sources.settled(one, "", found[0], DONE)

    return choose


def measured(name: str, call: Callable[[int], object], rounds: int) -> Figure:
    call(0)
    begun = time.process_time()
    for number in range(rounds):
        call(number)
    return at_most(name, (time.process_time() - begun) / rounds * 1e6, LIMIT_US, "us")


def figures(rounds: int) -> list[Figure]:
    plain = Delivery(Message(1, "m", "0" * 12, "", 0, 1 << 50, 1, False, False, b""), 0, "u@r.example")
    few, many = catalog(256), catalog(4096)
    book = PoolBook(many)
    to = ("u@other.example",)
    return [
        measured("choice: no source address at all", choosing(NO_POOLS, plain), rounds),
        measured("choice: 4 addresses in the pool", choosing(few, delivery("0" * 12)), rounds),
        measured("choice: 64 addresses in the pool", choosing(many, delivery("0" * 12)), rounds),
        measured("choice: a retry", choosing(many, delivery("0" * 12, many.addresses[64].address)), rounds),
        measured("choice: warming addresses", choosing(catalog(256, warmup=WarmUp.AUTO), delivery("0" * 12)), rounds),
        measured("acceptance: 20 rules", lambda _: book.resolve("0" * 12, "", "", "x.example", to), rounds),
        measured("acceptance: is the address certain", lambda _: book.certain("0" * 12, "p"), rounds),
    ]


def main() -> int:
    args = arguments(__doc__).parse_args()
    show_reference()
    rounds = ROUNDS // 10 if args.quick else ROUNDS
    found = figures(rounds)
    begun = time.process_time()
    book = PoolBook(catalog(4096))
    for number in range(ACCOUNTS):
        book.plan(f"{number:012d}", "p")
    found.append(at_most("a new book of 4,096 addresses", (time.process_time() - begun) * 1e3, 100.0, "ms"))
    finish(found, args.json)
    return int(any(figure.passed is False for figure in found))


if __name__ == "__main__":
    sys.exit(main())
