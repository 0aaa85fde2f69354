"""Runs the helper process that re-encodes a large body with lines that are too long (`relay.mail.reencode`)."""

import asyncio
import json
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from relay.errors import EX_DATAERR
from relay.model.content import BodyFacts, BodyFile, Content
from relay.model.message import Submission
from relay.model.refusal import Reason, Refusal
from relay.ports import Log

HELPERS_MAX = 2
TIMEOUT_SECONDS = 120.0

Answer = Callable[[Submission | Refusal], None]


class Reencoder:
    """Makes 7-bit quoted-printable bodies beside the event loop; results lie in `directory`."""

    def __init__(self, directory: Path, log: Log) -> None:
        self._directory = directory
        self._log = log
        self._room = asyncio.Semaphore(HELPERS_MAX)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, submission: Submission, answer: Answer) -> None:
        """Convert a submission whose body is a file; the old file is removed on success."""
        task = asyncio.get_running_loop().create_task(self._run(submission, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, submission: Submission, answer: Answer) -> None:
        body = submission.content.body
        assert isinstance(body, BodyFile)
        result = self._directory / f"{uuid.uuid4().hex}.body"
        try:
            async with self._room:
                made = await self._convert(submission.content.head, body, result)
        except (OSError, TimeoutError, ValueError) as error:
            self._log.error("body not re-encoded", error=str(error))
            made = Refusal(Reason.TEMPORARY)
        if isinstance(made, Refusal):
            result.unlink(missing_ok=True)
            answer(made)
            return
        content, facts = made
        Path(body.path).unlink(missing_ok=True)  # noqa: ASYNC240 (one unlink)
        answer(replace(submission, content=content, facts=facts))

    async def _convert(self, head: bytes, body: BodyFile, result: Path) -> tuple[Content, BodyFacts] | Refusal:
        arguments = ["short-lines", body.path, str(body.offset_bytes), str(body.size_bytes), str(result)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "relay.mail.reencode",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                printed, _ = await process.communicate(head)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        said = json.loads(printed or b"{}")
        if process.returncode == EX_DATAERR:
            return Refusal(Reason.LINE_TOO_LONG, f"Line is longer than 998 octets, and {said.get('error', '')}.")
        if process.returncode:
            raise OSError(f"the helper ended with {process.returncode}")
        facts = BodyFacts(said["eight_bit"], said["longest_line_bytes"], bytes.fromhex(said["sha256_relaxed"]))
        return Content(said["head"].encode("latin-1"), BodyFile(str(result), 0, said["size_bytes"])), facts
