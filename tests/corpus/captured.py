"""Reports that mail servers wrote (`captured/README.md`); they belong to the half that rules are not written for."""

import re
from pathlib import Path

from tests.corpus import parts
from tests.corpus.parts import Case

DIRECTORY = Path(__file__).parent / "captured"
# Before each report: its name, kind, recipients and label.
_TITLE = re.compile(r"^=====> (\S+) \| (\S+) \| ([^|\n]*) \| (\S*)\n", re.MULTILINE)


def cases() -> list[Case]:
    """Return every captured report with what it means."""
    made = []
    for path in sorted(DIRECTORY.glob("*.txt")):
        _, *rest = _TITLE.split(path.read_text())
        for name, kind, recipients, label, text in zip(*(rest[at::5] for at in range(5)), strict=True):
            content = text.replace("\n", "\r\n").encode()
            standard = "multipart/report" in text.partition("\n\n")[0].lower()
            meant = getattr(parts, label) if label else None
            group = "standard" if standard else "free"
            named = tuple(recipients.split())
            made.append(Case(f"captured-{name}", group, content, kind, named, meant, captured=True))
    return made
