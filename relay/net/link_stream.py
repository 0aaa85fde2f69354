"""A message whose body is a file, as SMTP data, block by block and never whole in memory."""

from pathlib import Path
from typing import BinaryIO

from relay.model.content import BodyFile
from relay.smtp.client.body import DotStuffer

_BLOCK_BYTES = 64 * 1024


class BodyStream:
    """`left_bytes` of the file are still to come. Raises OSError where it cannot be opened or read whole."""

    __slots__ = ("_file", "_stuffer", "ended", "left_bytes")

    def __init__(self, body: BodyFile, stuffer: DotStuffer) -> None:
        self._file: BinaryIO = Path(body.path).open("rb")  # noqa: SIM115 - closed at the end of the stream
        try:
            self._file.seek(body.offset_bytes)
        except OSError:
            self._file.close()
            raise
        self._stuffer = stuffer
        self.left_bytes = body.size_bytes
        self.ended = False

    def block(self) -> bytes:
        """Return the next block as it leaves; the last one is the final dot."""
        if self.left_bytes == 0:
            self.ended = True
            return self._stuffer.end()
        block = self._file.read(min(_BLOCK_BYTES, self.left_bytes))
        if not block:
            raise OSError("the file is shorter than it was")
        self.left_bytes -= len(block)
        return self._stuffer.block(block)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
