"""Reports that mail servers wrote (`captured/README.md`); they belong to the half that rules are not written for."""

import json
from pathlib import Path

from tests.corpus import parts
from tests.corpus.parts import Case

DIRECTORY = Path(__file__).parent / "captured"


def cases() -> list[Case]:
    """Return every captured report with what it means."""
    made = []
    for name, (kind, recipients, label) in json.loads((DIRECTORY / "index.json").read_text()).items():
        content = (DIRECTORY / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n")
        standard = b"multipart/report" in content.partition(b"\r\n\r\n")[0].lower()
        meant = getattr(parts, label) if label else None
        group = "standard" if standard else "free"
        named = tuple(recipients.split())
        made.append(Case(f"captured-{name}", group, content, kind, named, meant, captured=True))
    return made
