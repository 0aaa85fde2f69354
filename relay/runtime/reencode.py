"""The helper processes that look at large bodies beside the event loop (`relay.mail.reencode`).

Started when first needed, kept for the next message, ended after a minute without work; never more than
`HELPERS_MAX`. One that does not answer in time is killed, and the client is told to try again.
"""

import asyncio
import json
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from relay.mail.attachments import ContentRules
from relay.mail.reencode import Request
from relay.model.content import BodyFacts, BodyFile, Content
from relay.model.message import Submission
from relay.model.refusal import Reason, Refusal
from relay.ports import Log

HELPERS_MAX = 2
TIMEOUT_SECONDS = 120.0
IDLE_SECONDS = 60.0
ANSWER_MAX_BYTES = 4 << 20  # a head of 256 KiB, escaped

Answer = Callable[[Submission | Refusal, Callable[[], None]], None]
_Process = asyncio.subprocess.Process


class Reencoder:
    """Has large bodies looked at and changed; new ones lie in `directory`."""

    def __init__(self, directory: Path, log: Log) -> None:
        self._directory = directory
        self._log = log
        self._room = asyncio.Semaphore(HELPERS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: list[_Process] = []
        self._idle_timer: asyncio.TimerHandle | None = None

    def start(self, submission: Submission, rules: ContentRules, answer: Answer) -> None:
        """Look at a submission whose body is a file; where it is replaced, the old file is removed.

        `answer` also gets what removes the new one, for a message that is refused in the end.
        """
        task = asyncio.get_running_loop().create_task(self._run(submission, rules, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """End the helpers that wait; those at work end with their input, when this process does."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        while self._idle:
            _end(self._idle.pop())

    async def _run(self, submission: Submission, rules: ContentRules, answer: Answer) -> None:
        body = submission.content.body
        assert isinstance(body, BodyFile)
        result = self._directory / f"{uuid.uuid4().hex}.body"
        request = _request(submission, body, rules, str(result))
        try:
            async with self._room:
                said = await self._ask(request)
            made = _read(submission, said, result)
        except (OSError, TimeoutError, ValueError) as error:
            self._log.error("large body not examined", error=str(error) or type(error).__name__)
            result.unlink(missing_ok=True)
            made = Refusal(Reason.TEMPORARY)
        if isinstance(made, Submission) and made.content.body is not body:
            Path(body.path).unlink(missing_ok=True)  # noqa: ASYNC240 (one unlink)
        answer(made, partial(result.unlink, missing_ok=True))

    async def _ask(self, request: Request) -> dict[str, object]:
        """Send one request to a helper of its own; return the answer. Raise OSError, TimeoutError or ValueError."""
        process = self._idle.pop() if self._idle else await _begin()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                process.stdin.write(request.line())
                await process.stdin.drain()
                line = await process.stdout.readline()
            said: dict[str, object] = json.loads(line) if line else {"error": "the helper ended"}
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if "error" in said:
            _end(process)
            raise OSError(said["error"])
        self._keep(process)
        return said

    def _keep(self, process: _Process) -> None:
        self._idle.append(process)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.close)


async def _begin() -> _Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "relay.mail.reencode",
        "serve",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=ANSWER_MAX_BYTES,
    )


def _end(process: _Process) -> None:
    if process.stdin is not None:
        process.stdin.close()  # it ends with its input; the loop reaps it


def _request(submission: Submission, body: BodyFile, rules: ContentRules, result: str) -> Request:
    return Request(
        head=submission.content.head.decode("latin-1"),
        smtputf8=submission.smtputf8,
        path=body.path,
        offset_bytes=body.offset_bytes,
        size_bytes=body.size_bytes,
        eight_bit=submission.facts.eight_bit,
        longest_line_bytes=submission.facts.longest_line_bytes,
        refused_extensions=tuple(rules.refused_extensions),
        result=result,
    )


def _read(submission: Submission, said: dict[str, object], result: Path) -> Submission | Refusal:
    """Return what an answer of the helper makes of a submission."""
    if "refused" in said:
        return Refusal(Reason[str(said["refused"])], str(said["text"]))
    if not said:
        return submission
    head, body = str(said["head"]).encode("latin-1"), said["body"]
    if body is None:
        return replace(submission, content=Content(head, submission.content.body))
    assert isinstance(body, dict)
    facts = BodyFacts(body["eight_bit"], body["longest_line_bytes"], bytes.fromhex(body["sha256_relaxed"]))
    return replace(submission, content=Content(head, BodyFile(str(result), 0, body["size_bytes"])), facts=facts)
