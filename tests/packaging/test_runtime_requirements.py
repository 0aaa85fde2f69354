"""What the image ships: everything the relay imports, nothing that only tests and checks need."""

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_the_runtime_lock_is_the_pinned_part_that_the_relay_needs():
    files = [str(PROJECT / name) for name in ("pyproject.toml", "requirements.lock")]
    command = [sys.executable, str(PROJECT / "tools" / "runtime_requirements.py"), *files]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    names = re.findall(r"^([a-z0-9-]+)==", output, re.MULTILINE)
    assert {"cryptography", "cffi", "pydantic-core", "dnspython", "uvloop", "h11"} <= set(names)
    assert not {"pytest", "mypy", "ruff", "hatchling", "hypothesis"} & set(names)
    entries = re.split(r"\n(?=[a-z])", output.strip())
    assert len(entries) == len(names)
    assert all("--hash=sha256:" in entry and not entry.endswith("\\") for entry in entries)
