"""The CI script: tells a failure of any part, and goes on without what cannot be installed."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "run"


def program(directory: Path, name: str, body: str) -> None:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)


def run(tmp_path: Path, *, fails: str = "nothing", user: int = 1000, apt: str = "exit 0"):
    """Run the script with programs that only write down how they were called."""
    calls = tmp_path / "calls"
    tools = tmp_path / "bin"
    tools.mkdir()
    program(tools, "id", f"echo {user}")
    program(tools, "apt-get", f'echo "apt-get $*" >> {calls}\n{apt}')
    program(tools, "debconf-set-selections", "cat > /dev/null")
    program(tools, "make", f'echo "make $*" >> {calls}\ncase "$*" in {fails}*) exit 2;; esac')
    program(tools, "useradd", "exit 0")
    script = tmp_path / "project" / ".ci" / "run"
    script.parent.mkdir(parents=True)
    text = SCRIPT.read_text().replace("/usr/sbin/policy-rc.d", str(tmp_path / "policy-rc.d"))
    script.write_text(text.replace("/opt/relay-mail-servers", str(tmp_path / "servers")))
    unpack = tmp_path / "project" / "tools" / "unpack-mail-servers.sh"
    unpack.parent.mkdir()
    program(unpack.parent, unpack.name, f'echo "unpack" >> {calls}')
    environment = os.environ | {"PATH": f"{tools}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", str(script)], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return done, calls.read_text().splitlines()


def test_both_parts_run_and_pass(tmp_path):
    done, calls = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert calls == ["make test", "make crash KILLS=200"]
    assert "not root" in done.stderr


@pytest.mark.parametrize("part", ["test", "crash"])
def test_a_part_that_fails_fails_the_run(tmp_path, part):
    done, calls = run(tmp_path, fails=part)
    assert done.returncode == 1
    assert "FAILED" in done.stderr
    assert len(calls) == 2


def test_root_installs_without_starting_services(tmp_path):
    done, calls = run(
        tmp_path, user=0, apt=f"[ -x {tmp_path}/policy-rc.d ] || exit 9; {tmp_path}/policy-rc.d && exit 9; exit 0"
    )
    assert done.returncode == 0, done.stderr
    assert [call.split()[-1] for call in calls[:1]] == ["update"]
    assert "postfix" in calls[1]
    assert calls[2:] == ["unpack", "make test", "make crash KILLS=200"]
    assert not (tmp_path / "policy-rc.d").exists()


def test_a_package_that_is_missing_is_told_and_the_rest_installed(tmp_path):
    done, calls = run(tmp_path, user=0, apt='case "$*" in *swaks*) exit 100;; esac')
    assert done.returncode == 0, done.stderr
    assert "swaks could not be installed: its tests are skipped" in done.stderr
    assert done.stderr.count("could not be installed: its") == 1
    assert any(call.endswith(" nsd") for call in calls)
