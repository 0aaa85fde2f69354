"""When a destination, or the whole network, comes back: nobody is met by everything at once."""

import asyncio
import itertools
from collections import Counter

from relay.model.outcome import Verdict
from relay.pipeline.dispatch import SCAN_PAUSE_SECONDS, SCAN_ROWS
from relay.pipeline.ready_window import WindowLimits
from tests.unit.pipeline.outbound_harness import bench, until
from tests.unit.pipeline.test_dispatch import Place

RETRIES = 120


def test_a_destination_that_comes_back_is_tried_by_one_connection_and_then_by_more():
    async def run():
        async with bench({"a.test": [""]}, connections_per_site=20, connections_per_site_start=5) as b:
            host = b.net.hosts["mx1.a.test"]
            await host.stop()
            await host.server.wait_closed()
            for number in range(10):
                b.send(f"down{number}@a.test")
            assert {outcome.verdict for outcome in await b.wait(10)} == {Verdict.TEMPORARY}
            await host.start(b.net.port)
            for number in range(RETRIES):
                b.send(f"u{number}@a.test", attempts=1)
            outcomes = await b.wait(10 + RETRIES)
            assert {outcome.verdict for outcome in outcomes[10:]} == {Verdict.DELIVERED}
            await until(lambda: len(host.received) == RETRIES)
            taken = opened = 0
            for connection, line in host.log:  # every connection but the first follows a delivery
                taken += line.upper() == b"DATA"
                if connection > opened:
                    opened = connection
                    assert opened <= 1 + taken, f"connection {opened} after {taken} messages"
            assert 1 < host.open_most <= 20

    asyncio.run(run())


def test_a_queue_that_is_due_at_one_moment_enters_the_window_step_by_step():
    place = Place(WindowLimits(window_max=600, domain_max=100))
    for number in range(1200):
        place.message(f"d{number % 40}.example", attempts=1)
    handed = []
    place.dispatch.start()
    seen = 0
    for _ in range(100):
        handed.append(len(place.outbound.jobs) + seen)
        seen += len(place.deliver(30))
        place.run(SCAN_PAUSE_SECONDS)
    steps = [after - before for before, after in itertools.pairwise(handed)]
    assert handed[0] <= SCAN_ROWS
    assert max(steps) <= 2 * SCAN_ROWS  # a step, and one that was due beside it
    assert all(count <= 450 for count in (total - 30 * number for number, total in enumerate(handed)))
    assert handed[-1] == 1200


def test_new_mail_is_not_behind_what_an_outage_left():
    place = Place(WindowLimits(window_max=600, domain_max=100))
    for number in range(1500):
        place.message(f"d{number % 40}.example", attempts=1)
    place.dispatch.start()
    place.run(1)
    for number in range(50):
        place.dispatch.accepted(place.message(f"d{number % 40}.example"))
    assert Counter(place.outbound.kinds())["f"] == 50
