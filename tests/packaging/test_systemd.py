"""The service unit: systemd understands it, finds it well locked, and the relay can live behind its locks."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relay.runtime.config.model import Config

UNITS = Path(__file__).parents[2] / "systemd"
UNIT = (UNITS / "relay.service").read_text()
EXPOSURE_MAX = 2.0
PR_SET_MDWE = 65
PR_MDWE_REFUSE_EXEC_GAIN = 1

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def setting(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


def analyze(*arguments: str) -> str:
    environment = os.environ | {"LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "cat", "SYSTEMD_COLORS": "0"}
    command = ["systemd-analyze", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_analyze
def test_systemd_understands_the_unit(tmp_path):
    program = tmp_path / "relay"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "relay.service"
    unit.write_text(UNIT.replace("/usr/bin/relay", str(program)))
    assert "relay.service" not in analyze("verify", "--man=no", str(unit))


@needs_analyze
def test_the_unit_is_locked_well():
    output = analyze("security", "--offline=true", "--no-pager", str(UNITS / "relay.service"))
    exposure = re.search(r"Overall exposure level for relay\.service: ([\d.]+)", output)
    assert exposure is not None
    assert float(exposure[1]) <= EXPOSURE_MAX


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Type", "notify"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("PrivateTmp", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("AmbientCapabilities", "CAP_NET_BIND_SERVICE"),
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("KillMode", "mixed"),
        ("UMask", "0077"),
        ("StateDirectoryMode", "0700"),
        ("User", "relay"),
    ],
)
def test_the_locks_that_matter_are_set_once(name, value):
    assert setting(name) == [value]


def test_a_drain_ends_before_systemd_loses_patience():
    drain = Config.model_validate({"hostname": "relay.example"}).limits.drain_timeout
    assert float(setting("TimeoutStopSec")[0]) > drain + 10
    assert int(setting("WatchdogSec")[0]) > 0


def test_the_relay_may_write_its_data_directory_and_nothing_else():
    assert setting("ReadWritePaths") == [str(Config.model_validate({"hostname": "relay.example"}).data_dir)]


def test_python_lives_without_memory_that_is_writable_and_executable():
    """What MemoryDenyWriteExecute forbids, forbidden to a fresh interpreter that loads every compiled library."""
    libc = ctypes.CDLL(None, use_errno=True)

    def deny() -> None:
        if libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
            os._exit(77)

    program = (
        "import mmap\n"
        "try:\n"
        "    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "except OSError:\n"
        "    print('denied')\n"
        "import ctypes, sqlite3, ssl, dns.resolver, orjson, prometheus_client, pydantic, structlog, uvloop, yaml\n"
        "from cryptography.hazmat.primitives.asymmetric import ec, rsa\n"
        "import relay.runtime.privileges, relay.runtime.config.load, relay.signing.secrets\n"
        "ec.generate_private_key(ec.SECP256R1())\n"
        "async def nothing(): return 'lives'\n"
        "print(uvloop.run(nothing()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], preexec_fn=deny, capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode == 77 or "denied" not in done.stdout:
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["denied", "lives"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make users, even in a directory")
@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_the_user_and_its_directories_are_made(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "var" / "lib").mkdir(parents=True)
    for program, arguments, file in (
        ("systemd-sysusers", [], "relay.sysusers.conf"),
        ("systemd-tmpfiles", ["--create"], "relay.tmpfiles.conf"),
    ):
        command = [program, f"--root={tmp_path}", *arguments, str(UNITS / file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
    name, _, uid, gid, _, home, shell = (tmp_path / "etc/passwd").read_text().strip().splitlines()[-1].split(":")
    assert (name, home, shell) == ("relay", "/var/lib/relay", "/usr/sbin/nologin")
    data, config = (tmp_path / "var/lib/relay").stat(), (tmp_path / "etc/relay").stat()
    assert (data.st_uid, data.st_mode & 0o777) == (int(uid), 0o700)
    assert (config.st_uid, config.st_gid, config.st_mode & 0o777) == (0, int(gid), 0o750)
