"""Who goes next at a site, and who gets the next connection, on real sockets."""

import asyncio

from relay.model.outcome import Verdict
from tests.unit.pipeline.outbound_harness import bench

A, B = "000000000001", "000000000002"
PATIENT = {"timeout_seconds": 10}


def places(outcomes, account):
    """Return after how many others each delivery of an account was answered."""
    return [place for place, (job, _) in enumerate(outcomes) if job.delivery.message.account == account]


def test_at_one_site_accounts_take_turns():
    async def run():
        async with bench({"a.test": [""]}, connections_per_site=1) as b:
            for number in range(200):
                b.send(f"u{number}@a.test", account=A)
            for number in range(10):
                b.send(f"v{number}@a.test", account=B)
            await b.wait(210)
            assert max(places(b.outcomes, B)) < 50

    asyncio.run(run())


def test_at_one_site_transactional_mail_goes_before_bulk_of_the_same_account():
    async def run():
        async with bench({"a.test": [""]}, connections_per_site=1) as b:
            for number in range(200):
                b.send(f"u{number}@a.test", options={"bulk": True})
            order = [b.send(f"t{number}@a.test") for number in range(8)]
            await b.wait(208)
            done = [job for job, _ in b.outcomes]
            assert max(done.index(job) for job in order) < 40
            assert any(job.delivery.message.options.bulk for job in done[:20])

    asyncio.run(run())


def test_a_weight_gives_an_account_more_turns():
    async def run():
        async with bench({"a.test": [""]}, connections_per_site=1) as b:
            for number in range(100):
                b.send(f"u{number}@a.test", account=A)
                b.send(f"v{number}@a.test", account=B, options={"weight": 40})
            await b.wait(200)
            assert sum(place < 100 for place in places(b.outcomes, B)) > 70

    asyncio.run(run())


def test_with_few_connections_an_account_with_many_sites_does_not_keep_another_waiting():
    async def run():
        domains = {f"d{number}.test": [""] for number in range(30)}
        async with bench({**domains, "other.test": [""]}, resolver=PATIENT, connections_max=2) as b:
            for number in range(600):
                b.send(f"u{number}@d{number % 30}.test", account=A)
            for number in range(5):
                b.send(f"v{number}@other.test", account=B)
            await b.wait(605, 60)
            assert {outcome.verdict for _, outcome in b.outcomes} == {Verdict.DELIVERED}
            assert max(places(b.outcomes, B)) < 200
            assert max(host.open_most for host in b.net.hosts.values()) <= 2

    asyncio.run(run())


def test_busy_sites_leave_connections_to_the_next_one():
    async def run():
        hang = {f"h{number}.test": ["greet-hang"] for number in range(4)}
        async with bench({**hang, "good.test": [""]}, resolver=PATIENT, connections_max=24) as b:
            for number in range(200):
                b.send(f"u{number}@h{number % 4}.test", account=A)
            b.send("v@good.test", account=A)
            await b.wait(1)
            assert b.outcomes[0][0].delivery.domain == "good.test"
            assert b.outcomes[0][1].verdict is Verdict.DELIVERED

    asyncio.run(run())
