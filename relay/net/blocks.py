"""A message as blocks of bytes, for what takes it in a stream; a large body is never whole in memory."""

from collections.abc import Iterator

from relay.model.content import Content

BLOCK_BYTES = 64 * 1024


def blocks(content: Content) -> Iterator[bytes]:
    """Return head and body in order, in blocks of at most `BLOCK_BYTES`. Raise OSError when the file is not whole."""
    yield from _slices(content.head)
    body = content.body
    if isinstance(body, bytes):
        yield from _slices(body)
        return
    left_bytes = body.size_bytes
    with open(body.path, "rb") as file:  # noqa: PTH123 (a path as text everywhere)
        file.seek(body.offset_bytes)
        while left_bytes:
            block = file.read(min(BLOCK_BYTES, left_bytes))
            if not block:
                raise OSError("the body is shorter than it was")
            left_bytes -= len(block)
            yield block


def _slices(data: bytes) -> Iterator[bytes]:
    return (data[start : start + BLOCK_BYTES] for start in range(0, len(data), BLOCK_BYTES))
