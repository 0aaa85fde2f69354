"""What is wrong with a configuration, and how it is told: `file:line: key: what is wrong, what to do`."""

from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Literal

from relay.errors import ConfigurationError

Path = tuple[str | int, ...]
Severity = Literal["error", "warning"]
FAULTS_SHOWN_MAX = 100


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the setting at `path`; `text` continues a sentence that the key begins."""

    path: Path
    text: str
    line: int = 0

    def at(self, line: int) -> "Fault":
        """Return the fault with its line."""
        return replace(self, line=line)

    @property
    def key(self) -> str:
        """Return the path as people write it: `listeners[2].port`."""
        return dotted(self.path)


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check: an error keeps the relay from working, a warning does not. `line` 0: no line."""

    severity: Severity
    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"


class InvalidConfigurationError(ConfigurationError):
    """The file has faults; the text lists all of them, one a line, and `findings` has them as values."""

    def __init__(self, file: FilePath, faults: list[Fault]) -> None:
        ordered = sorted(faults, key=lambda fault: fault.line)
        self.findings = tuple(Finding("error", str(file), fault.line, fault.key, fault.text) for fault in ordered)
        lines = [str(finding) for finding in self.findings[:FAULTS_SHOWN_MAX]]
        if len(ordered) > FAULTS_SHOWN_MAX:
            lines.append(f"{file}: and {len(ordered) - FAULTS_SHOWN_MAX} more")
        super().__init__("\n".join(lines))


def dotted(path: Path) -> str:
    """Return a path as people write it."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return "".join(character if character.isprintable() else "?" for character in text)[:200]
