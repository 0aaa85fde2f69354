"""The screen before delivery: one scan a message, nothing passes that is bad or unknown, nothing is stranded."""

import asyncio

import pytest

from relay.model.delivery import DeliveryState
from relay.model.scan import Scan, ScanVerdict
from relay.pipeline.screen import SCANS_MAX, Scanning, Screen
from relay.testing.scanner import ScriptedScanner
from tests.unit.pipeline.stages import Stage, idle

CLEAN = Scan(ScanVerdict.CLEAN)
BAD = Scan(ScanVerdict.INFECTED, detail="Virus-1")
DOWN = Scan(ScanVerdict.FAILED, detail="connection refused")
SCORE = Scan(ScanVerdict.CLEAN, spam_score=12.0)


def screen(stage, *scanners):
    return Screen(
        scanners=[each if isinstance(each, Scanning) else Scanning(each, defers=True) for each in scanners],
        on_outcome=lambda job, outcome, release: stage.outcomes.append((job, outcome)),
        **stage.common,
    )


def run(case):
    asyncio.run(case(Stage()))


def test_without_scanners_a_job_passes_at_once():
    async def case(stage):
        jobs = await stage.accept("a@x.example")
        screen(stage).enqueue(jobs[0])
        assert stage.onward.jobs == jobs

    run(case)


@pytest.mark.req("FLOW-006")
def test_one_scan_for_all_recipients_now_later_and_after_a_restart():
    async def case(stage):
        scanner = ScriptedScanner()
        jobs = await stage.accept(*(f"r{number}@x.example" for number in range(100)))
        first = screen(stage, scanner)
        for job in jobs[:50]:
            first.enqueue(job)
        assert stage.onward.jobs == []
        await idle()
        for job in jobs[50:70]:
            first.enqueue(job)
        again = screen(stage, scanner)
        for job in jobs[70:]:
            again.enqueue(job)
        await idle()
        assert stage.onward.jobs == jobs
        assert len(scanner.asked) == 1

    run(case)


@pytest.mark.req("FLOW-006")
def test_a_bad_message_is_rejected_whole():
    async def case(stage):
        jobs = await stage.accept("a@x.example", "b@y.example", "c@z.example")
        stage.spool.fail_next = 1
        stopped = screen(stage, ScriptedScanner(BAD))
        stopped.enqueue(jobs[0])
        stopped.enqueue(jobs[1])  # the third one is not in the window
        await idle()
        assert stage.states() == [DeliveryState.REJECTED] * 3
        assert [event.kind for event in stage.spool.events] == ["Reject"]
        assert stage.finished == [job.delivery.key for job in jobs[:2]]
        assert stage.onward.jobs == []
        assert 1.0 in stage.waits  # the first write failed and was done again

    run(case)


def test_what_is_known_to_be_bad_is_not_asked_again():
    async def case(stage):
        jobs = await stage.accept("a@x.example")
        stage.spool.keep_scan(jobs[0].delivery.message.key, BAD)
        scanner = ScriptedScanner()
        screen(stage, scanner).enqueue(jobs[0])
        await idle()
        assert stage.states() == [DeliveryState.REJECTED]
        assert scanner.asked == []

    run(case)


@pytest.mark.parametrize("failure", [DOWN, RuntimeError("a fault of ours")])
def test_a_failure_defers_and_is_scanned_again(failure):
    async def case(stage):
        jobs = await stage.accept("a@x.example", "b@x.example")
        scanner = ScriptedScanner(failure, CLEAN)
        held = screen(stage, scanner)
        for job in jobs:
            held.enqueue(job)
        await idle()
        assert [job for job, _ in stage.outcomes] == jobs
        assert all("could not be scanned: scripted" in outcome.text for _, outcome in stage.outcomes)
        assert stage.onward.jobs == []
        held.enqueue(jobs[0])
        await idle()
        assert stage.onward.jobs == jobs[:1]

    run(case)


def test_a_failure_that_is_accepted_passes_and_the_next_attempt_is_scanned():
    async def case(stage):
        (job,) = await stage.accept("a@x.example")
        scanner = ScriptedScanner(DOWN, BAD)
        lenient = screen(stage, Scanning(scanner, defers=False))
        lenient.enqueue(job)
        await idle()
        assert stage.onward.jobs == [job]
        lenient.enqueue(job)
        await idle()
        assert stage.onward.jobs == [job]
        assert stage.states() == [DeliveryState.REJECTED]

    run(case)


@pytest.mark.parametrize(
    ("answers", "verdict", "score", "passes"),
    [
        ((CLEAN, SCORE), ScanVerdict.CLEAN, 12.0, True),
        ((SCORE, CLEAN), ScanVerdict.CLEAN, 12.0, True),
        ((SCORE, BAD), ScanVerdict.INFECTED, 12.0, False),
        ((DOWN, SCORE), ScanVerdict.FAILED, 12.0, False),
        ((DOWN, BAD), ScanVerdict.INFECTED, None, False),
        ((CLEAN, DOWN), ScanVerdict.FAILED, None, False),
    ],
)
@pytest.mark.req("FLOW-007")
def test_several_scanners_are_one_result(answers, verdict, score, passes):
    async def case(stage):
        (job,) = await stage.accept("a@x.example")
        screen(stage, *(ScriptedScanner(answer) for answer in answers)).enqueue(job)
        await idle()
        kept = stage.spool.scan(job.delivery.message.key)
        assert (kept.verdict, kept.spam_score) == (verdict, score)
        assert bool(stage.onward.jobs) is passes

    run(case)


def test_a_lenient_failure_does_not_hide_a_strict_one():
    async def case(stage):
        (job,) = await stage.accept("a@x.example")
        lenient, strict = Scanning(ScriptedScanner(DOWN), defers=False), Scanning(ScriptedScanner(DOWN), defers=True)
        for order in ((lenient, strict), (strict, lenient)):
            screen(stage, *order).enqueue(job)
            await idle()
        assert len(stage.outcomes) == 2
        assert stage.onward.jobs == []

    run(case)


@pytest.mark.parametrize(("limit", "rejected"), [(None, False), (12.5, False), (12.0, True), (-1.0, True)])
@pytest.mark.req("FLOW-007")
def test_a_score_rejects_only_from_a_threshold_that_is_set(limit, rejected):
    async def case(stage):
        (job,) = await stage.accept("a@x.example")
        screen(stage, Scanning(ScriptedScanner(SCORE), defers=True, reject_score=limit)).enqueue(job)
        await idle()
        assert (stage.states() == [DeliveryState.REJECTED]) is rejected
        assert bool(stage.onward.jobs) is not rejected

    run(case)


def test_scans_at_a_time_are_bounded():
    async def case(stage):
        scanner = ScriptedScanner()
        scanner.gate.clear()
        busy = screen(stage, scanner)
        for _ in range(3 * SCANS_MAX):
            busy.enqueue((await stage.accept("a@x.example"))[0])
        await idle()
        assert scanner.most == SCANS_MAX
        scanner.gate.set()
        await idle()
        assert len(stage.onward.jobs) == 3 * SCANS_MAX

    run(case)


def test_a_withdrawn_job_goes_nowhere():
    async def case(stage):
        scanner = ScriptedScanner()
        scanner.gate.clear()
        jobs = await stage.accept("a@x.example", "b@x.example")
        held = screen(stage, scanner)
        for job in jobs:
            held.enqueue(job)
        await idle()
        assert held.withdraw(jobs[0].delivery.key)
        assert not held.withdraw(12345)
        scanner.gate.set()
        await idle()
        assert stage.onward.jobs == jobs[1:]

    run(case)


def test_a_stop_breaks_off_scans_and_leaves_the_queue_as_it_is():
    async def case(stage):
        scanner = ScriptedScanner()
        scanner.gate.clear()
        (job,) = await stage.accept("a@x.example")
        held = screen(stage, scanner)
        held.enqueue(job)
        await idle()
        await held.stop()
        held.enqueue((await stage.accept("b@x.example"))[0])
        await idle()
        assert stage.onward.jobs == []
        assert stage.outcomes == []
        assert stage.states() == [DeliveryState.QUEUED] * 2

    run(case)


def test_unreadable_content_is_an_attempt_that_failed():
    async def case(stage):
        (job,) = await stage.accept("a@x.example")
        stage.spool.contents.clear()
        screen(stage, ScriptedScanner()).enqueue(job)
        await idle()
        assert [one for one, _ in stage.outcomes] == [job]

    run(case)


def test_mail_of_the_relay_itself_is_not_scanned():
    async def case(stage):
        (job,) = await stage.accept("a@x.example", mail_json=b"")
        scanner = ScriptedScanner(BAD)
        screen(stage, scanner).enqueue(job)
        assert stage.onward.jobs == [job]
        assert scanner.asked == []

    run(case)
