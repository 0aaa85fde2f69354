"""Root runs a command of a relay that has a user of its own: nothing root owns is left among the data."""

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from relay.runtime.cli.app import run

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user"),
]

RELAY = [sys.executable, "-m", "relay.runtime.cli"]


def readable_by_others(path):
    """Say whether every directory on the way lets other users pass."""
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in Path(path).resolve().parents)


def call(*arguments):
    done = subprocess.run([*RELAY, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(
    not all(map(readable_by_others, (os.__file__, run.__code__.co_filename))),
    reason="the program lies where other users may not read it",
)
def test_commands_become_run_as_before_they_open_anything():
    nobody = pwd.getpwnam("nobody").pw_uid
    # pytest's own directories are closed to other users on the way down.
    with tempfile.TemporaryDirectory(prefix="relay-run-as-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        config = str(directory / "r" / "relay.yaml")
        call("init", str(directory / "r"), "--run-as", "nobody")
        call("identity", "create", "example.test", "-c", config)
        call("suppression", "add", "a@example.test", "-c", config)
        call("queue", "list", "-c", config)
        call("reset", "--data", "--yes", "-c", config)
        data = directory / "r" / "data"
        owners = {str(path): path.stat().st_uid for path in (data, *data.rglob("*"))}
        assert len(owners) >= 5
        assert set(owners.values()) == {nobody}, owners


@pytest.mark.skipif(
    all(map(readable_by_others, (os.__file__, run.__code__.co_filename))),
    reason="the program lies where every user may read it",
)
def test_a_program_that_run_as_may_not_read_is_a_sentence():
    with tempfile.TemporaryDirectory(prefix="relay-run-as-") as name:
        Path(name).chmod(0o755)
        call("init", f"{name}/r", "--run-as", "nobody")
        done = subprocess.run(
            [*RELAY, "reset", "--data", "--yes", "-c", f"{name}/r/relay.yaml"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 78
        assert done.stderr.startswith("relay: run_as names nobody, who may not read the program itself")
        assert Path(f"{name}/r/data/catalog.db").exists()
