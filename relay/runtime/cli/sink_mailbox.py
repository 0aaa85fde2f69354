"""The Maildir of `relay sink`: each mail is one file, octets as they came, with the envelope in fields above it.

Written to `tmp/` and renamed to `new/`, so that a reader never sees half a mail. The oldest mails are removed
when there are more than `keep`; nothing is synced, because a development mailbox promises nothing after a crash.
"""

import itertools
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.runtime.cli.output import printable


@dataclass(frozen=True, slots=True)
class Kept:
    """One mail as the sink got it. `tls` is a version or "none"; `dkim` a list of (result, domain, selector)."""

    sender: str
    recipients: Sequence[str]
    content: bytes
    peer: str
    helo: str
    tls: str
    dkim: Sequence[tuple[str, str, str]] = ()

    @property
    def dkim_summary(self) -> str:
        """The results as text: "pass example.com/sel"; "none" without a signature."""
        return ", ".join(f"{result} {domain}/{selector}" for result, domain, selector in self.dkim) or "none"


class Maildir:
    """A Maildir that holds at most `keep` mails in `new/`."""

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        self._keep = keep
        self._numbers = itertools.count(1)
        for part in ("tmp", "new", "cur"):
            (path / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._names = deque(sorted(entry.name for entry in (path / "new").iterdir()))

    def add(self, kept: Kept) -> Path:
        """Write one mail and return its path."""
        name = f"{time.time_ns():020d}.{os.getpid()}_{next(self._numbers)}.relay"
        temporary = self.path / "tmp" / name
        temporary.write_bytes(_envelope_fields(kept) + kept.content)
        final = self.path / "new" / name
        temporary.rename(final)
        self._names.append(name)
        while len(self._names) > self._keep:
            (self.path / "new" / self._names.popleft()).unlink(missing_ok=True)
        return final


def _envelope_fields(kept: Kept) -> bytes:
    fields = [
        ("X-Envelope-From", f"<{kept.sender}>"),
        *(("X-Envelope-To", f"<{recipient}>") for recipient in kept.recipients),
        ("X-Sink-Peer", f"{kept.peer} ({kept.helo})"),
        ("X-Sink-TLS", kept.tls),
        ("X-Sink-DKIM", kept.dkim_summary),
    ]
    return "".join(f"{name}: {printable(value)}\r\n" for name, value in fields).encode("utf-8", "backslashreplace")
