"""What processes cost: CPU seconds of a whole tree and memory (PSS), read from /proc."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return text[text.rindex(")") + 2 :].split()


def tree(root: int) -> list[int]:
    """Return the pids of a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(_stat(int(entry))[1]), []).append(int(entry))
            except (OSError, ValueError):
                continue
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children.get(pid, []))
    return found


def cpu_seconds(*roots: int) -> float:
    """Return user and system time of the trees, reaped children included."""
    total = 0
    for root in roots:
        for pid in tree(root):
            try:
                total += sum(int(value) for value in _stat(pid)[11:15])
            except (OSError, ValueError):
                continue
    return total / TICKS


def pss_mb(*roots: int) -> float:
    """Return proportional memory of the trees in MB."""
    total = 0
    for root in roots:
        for pid in tree(root):
            try:
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
            except OSError:
                continue
    return total / 1024
