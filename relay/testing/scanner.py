"""A scanner in memory: answers what a test says, when it says so."""

import asyncio
from collections.abc import Sequence

from relay.model.content import Content
from relay.model.scan import Scan, ScanVerdict

CLEAN = Scan(ScanVerdict.CLEAN)


class ScriptedScanner:
    """Gives `answers` in turn, the last one again and again; an exception is raised.

    `asked` are the messages it was given, `most` how many scans ran at a time at most. While `gate` is cleared,
    scans wait.
    """

    def __init__(self, *answers: Scan | Exception, name: str = "scripted", label: str = "clamav") -> None:
        self.name = name
        self.label = label
        self.asked: list[Content] = []
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._answers: Sequence[Scan | Exception] = answers or (CLEAN,)
        self._running = 0

    async def scan(self, content: Content) -> Scan:
        """Wait for the gate, then answer."""
        answer = self._answers[min(len(self.asked), len(self._answers) - 1)]
        self.asked.append(content)
        self._running += 1
        self.most = max(self.most, self._running)
        try:
            await self.gate.wait()
        finally:
            self._running -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer
