"""Print the part of requirements.lock that the relay needs to run: its dependencies and theirs, with hashes.

The lock also has what tests and checks need. Run it with an interpreter that has the whole lock installed:
`python tools/runtime_requirements.py pyproject.toml requirements.lock > runtime.lock`.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed(direct: list[str]) -> set[str]:
    """Return the canonical names of everything that `direct` needs on this interpreter."""
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(text) for text in direct]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        found.add(name)
        waiting += inner(requirement)
    return found


def inner(requirement: Requirement) -> Iterator[Requirement]:
    """Yield what one requirement needs in turn, here and with its extras."""
    extras = ["", *requirement.extras]
    for text in metadata.requires(requirement.name) or []:
        dependency = Requirement(text)
        if dependency.marker is None or any(dependency.marker.evaluate({"extra": extra}) for extra in extras):
            yield dependency


def blocks(lock: str) -> dict[str, str]:
    """Return the pinned entries of a lock, with their hashes, by canonical name."""
    entries = re.findall(r"^([A-Za-z0-9._-]+)(==[^\n]*\n(?:[ \t]+--hash=[^\n]*\n)*)", lock, re.MULTILINE)
    return {str(canonicalize_name(name)): name + rest.rstrip().rstrip("\\").rstrip() + "\n" for name, rest in entries}


def main() -> None:
    """Read the two files named on the command line."""
    project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
    entries = blocks(Path(sys.argv[2]).read_text(encoding="utf-8"))
    names = sorted(needed(project["dependencies"]))
    missing = [name for name in names if name not in entries]
    if missing:
        sys.exit(f"Not in the lock: {', '.join(missing)}")
    sys.stdout.write("".join(entries[name] for name in names))


if __name__ == "__main__":
    main()
