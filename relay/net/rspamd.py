"""Asks rspamd for the spam score of a message: `POST /checkv2` of its HTTP protocol.

What rspamd itself would do (its `action`) is not asked for: a threshold of ours decides (FLOW-007). Bounds: one
deadline for the whole scan, `REPLY_MAX_BYTES` of reply; an answer without a score is a failed scan.

The HTTP library is loaded when the first scanner is made: a relay without rspamd need not load it.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from typing import Any

from relay.model.content import Content
from relay.model.scan import Scan, ScanVerdict
from relay.net.blocks import blocks
from relay.net.web import client_failures, new_client

REPLY_MAX_BYTES = 1024 * 1024
HTTP_OK = 200
SCORE_MAX = 1e6


class RspamdScanner:
    """A normal worker of rspamd at `url` (without a final slash)."""

    label = "rspamd"

    def __init__(self, url: str, timeout_seconds: float, password: str = "") -> None:
        self.name = f"rspamd {url}"
        self._url = f"{url}/checkv2"
        self._timeout_seconds = timeout_seconds
        self._headers = {"Password": password} if password else {}
        # A connection for each scan: nothing stays open that a reload would have to close.
        self._client = new_client(timeout=timeout_seconds)
        self._failures: tuple[type[Exception], ...] = (OSError, ValueError, *client_failures())

    async def scan(self, content: Content) -> Scan:
        """Return CLEAN with the spam score, or FAILED with the reason."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status, reply = await self._ask(content)
        except TimeoutError:
            return self._failed(f"no answer within {self._timeout_seconds:g} s")
        except self._failures as error:
            return self._failed(str(error) or type(error).__name__)
        if status != HTTP_OK:
            return self._failed(f"answered with status {status}")
        score = score_of(reply)
        if score is None:
            return self._failed("answered without a score")
        return Scan(ScanVerdict.CLEAN, self.name, spam_score=score)

    async def _ask(self, content: Content) -> tuple[int, bytes]:
        headers = {**self._headers, "Content-Length": str(content.size_bytes)}
        body = _asynchronous(content)
        async with self._client.stream("POST", self._url, headers=headers, content=body) as answer:
            reply = bytearray()
            async for part in answer.aiter_raw():
                reply += part
                if len(reply) > REPLY_MAX_BYTES:
                    raise ValueError("the answer is too long")
            return answer.status_code, bytes(reply)

    def _failed(self, why: str) -> Scan:
        return Scan(ScanVerdict.FAILED, self.name, "".join(char if char.isprintable() else "?" for char in why))


def score_of(reply: bytes) -> float | None:
    """Return the score in a reply of rspamd, None when it is none that makes sense."""
    try:
        said: Any = json.loads(reply)
    except (ValueError, RecursionError):
        return None
    score = said.get("score") if isinstance(said, dict) else None
    if isinstance(score, bool) or not isinstance(score, int | float):
        return None
    return float(score) if math.isfinite(score) and abs(score) <= SCORE_MAX else None


async def _asynchronous(content: Content) -> AsyncIterator[bytes]:
    for block in blocks(content):
        yield block
