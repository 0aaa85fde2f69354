"""Large bodies on their way to disk, and what is left of them when something goes wrong."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.model.content import BodyFile
from relay.model.refusal import Reason, Refusal
from relay.smtpd.incoming import BLOCK_BYTES, IncomingBodies, IncomingBody


def _run(directory: Path, work: Callable[[IncomingBody, asyncio.Future[BodyFile | Refusal]], None]) -> object:
    async def main() -> object:
        loop = asyncio.get_running_loop()
        bodies = IncomingBodies(directory, loop)
        answer: asyncio.Future[BodyFile | Refusal] = loop.create_future()
        body = bodies.open(lambda: None)
        work(body, answer)
        result = await asyncio.wait_for(answer, 10)
        if isinstance(result, BodyFile):
            _check(Path(result.path), result.size_bytes)
        body.abort()
        bodies.close()
        _gone(directory)
        return result

    return asyncio.run(main())


def _check(path: Path, size_bytes: int) -> None:
    assert path.read_bytes() == b"x" * size_bytes
    assert path.stat().st_mode & 0o777 == 0o600


def _gone(directory: Path) -> None:
    assert list(directory.iterdir()) == []


def _fill(body: IncomingBody, answer: asyncio.Future[BodyFile | Refusal]) -> None:
    for _ in range(50):
        body.write(b"x" * 100_000)
    assert body.overfull
    body.finish(answer.set_result)


def test_whole_body_and_removal_afterwards(tmp_path: Path) -> None:
    result = _run(tmp_path, _fill)
    assert isinstance(result, BodyFile)
    assert result.size_bytes == 5_000_000


def test_empty_body(tmp_path: Path) -> None:
    result = _run(tmp_path, lambda body, answer: body.finish(answer.set_result))
    assert isinstance(result, BodyFile)
    assert result.size_bytes == 0


@pytest.mark.req("SMTP-028")
@pytest.mark.parametrize(
    ("code", "reason"), [(errno.ENOSPC, Reason.DISK_FULL), (errno.EIO, Reason.RECEIVE_FAILED)], ids=["full", "broken"]
)
def test_disk_that_fails(code: int, reason: Reason, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    calls = 0

    def failing(descriptor: int, data: bytes) -> int:
        nonlocal calls
        if len(data) < BLOCK_BYTES // 2:
            return real(descriptor, data)
        calls += 1
        if calls > 1:
            raise OSError(code, "as asked")
        return real(descriptor, data[:1000])  # a short write goes on where it stopped

    monkeypatch.setattr("relay.smtpd.incoming.os.write", failing)
    assert _run(tmp_path, _fill) == Refusal(reason)


def test_abort_while_writing(tmp_path: Path) -> None:
    async def main() -> None:
        bodies = IncomingBodies(tmp_path, asyncio.get_running_loop())
        body = bodies.open(lambda: None)
        for _ in range(50):
            body.write(b"x" * 100_000)
        body.finish(lambda _result: pytest.fail("an aborted body answers nobody"))
        body.abort()
        body.write(b"more")
        for _ in range(2000):
            await asyncio.sleep(0.001)
            if body._removed and not body._busy:
                break
        bodies.close()
        _gone(tmp_path)

    asyncio.run(main())


@pytest.mark.req("SMTP-028")
@pytest.mark.filterwarnings("ignore")
def test_a_writer_that_has_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any fault is answered, and nothing is left; what is no fault of the disk is told to the loop's handler too."""

    def failing(_descriptor: int, _data: bytes) -> int:
        raise MemoryError

    monkeypatch.setattr("relay.smtpd.incoming.os.write", failing)
    assert _run(tmp_path, _fill) == Refusal(Reason.RECEIVE_FAILED)
