"""What every Outbound promises: one answer a job, never from inside `enqueue`, also under a crossfire of faults."""

import asyncio
import collections

import pytest

from relay.errors import CorruptionError
from relay.model.outcome import Stage, Verdict
from tests.unit.pipeline.outbound_harness import bench

SCRIPTS = [
    "",
    "no-pipelining",
    "tls",
    "rcpt-550",
    "grey.3",
    "flaky.3",
    "limit-msgs.2",
    "limit-conns.1",
    "mail-421",
    "drop-rcpt",
    "drop-mail",
    "tls-garbage",
    "ehlo-502",
    "pipeline-lie",
    "dot-421",
    "greet-421",
    "size.10",
]


@pytest.mark.req("FLOW-008")
def test_every_job_is_answered_exactly_once():
    async def run():
        domains = {f"d{number}.test": [script] for number, script in enumerate(SCRIPTS)}
        zones = {"null.test": {"MX": ["0 ."]}, "sick.test": {"FAULT": "servfail"}}
        async with bench(domains, zones) as b:
            names = [*domains, "null.test", "sick.test", "gone.test", "localhost"]
            jobs = [b.send(f"x{turn}@{name}") for turn in range(8) for name in names]
            assert b.outcomes == []  # nothing was answered from inside
            await b.wait(len(jobs), 60)
            await asyncio.sleep(0.05)
            answered = collections.Counter(job.delivery.key for job, _ in b.outcomes)
            assert answered == {job.delivery.key: 1 for job in jobs}
            delivered = collections.Counter(
                job.delivery.recipient for job, outcome in b.outcomes if outcome.verdict is Verdict.DELIVERED
            )
            taken = collections.Counter(recipient for received in b.net.received for recipient in received.recipients)
            assert delivered == taken  # no false "delivered", no duplicate, nothing taken and forgotten
            assert all(outcome.finished_ms >= outcome.started_ms > 0 for _, outcome in b.outcomes)

    asyncio.run(run())


def test_a_message_that_cannot_be_read_does_not_stop_the_next():
    def broken():
        raise CorruptionError("message 7 fails its checksum")

    async def run():
        async with bench({"a.test": [""]}, connections_per_site=1) as b:
            b.send("x@a.test", load=broken)
            b.send("y@a.test")
            await b.wait(2)
            found = {job.delivery.recipient: outcome for job, outcome in b.outcomes}
            assert (found["x@a.test"].verdict, found["x@a.test"].stage) == (Verdict.TEMPORARY, Stage.LOCAL)
            assert found["y@a.test"].verdict is Verdict.DELIVERED

    asyncio.run(run())


def test_settings_are_replaced_while_mail_flows():
    async def run():
        async with bench({"a.test": [""]}) as b:
            for number in range(100):
                b.send(f"x{number}@a.test")
                if number % 10 == 0:
                    b.outbound.apply(b.outbound.settings)
                    await asyncio.sleep(0)
            outcomes = await b.wait(100)
            assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}

    asyncio.run(run())
