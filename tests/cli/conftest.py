"""A relay in a directory of its own, and ways to call commands on it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.runtime import setup
from relay.runtime.cli.app import run


@dataclass
class Site:
    """A relay made by init. `call` runs a command in this process, `spawn` in one of its own."""

    directory: Path
    made: setup.InitResult
    capsys: pytest.CaptureFixture

    @property
    def config(self):
        return str(self.made.config)

    def call(self, *arguments, code=0):
        """Return (standard output, standard error) of a command that leaves with `code`."""
        self.capsys.readouterr()
        left = run([*arguments, "-c", self.config])
        captured = self.capsys.readouterr()
        assert left == code, captured.err
        assert "Traceback" not in captured.err
        return captured.out, captured.err

    def json(self, *arguments, code=0):
        """Return the objects that a command prints."""
        out, _ = self.call(*arguments, "--json", code=code)
        return [json.loads(line) for line in out.splitlines()]

    def spawn(self, *arguments, **more):
        command = [sys.executable, "-m", "relay.runtime.cli", *arguments, "-c", self.config]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@pytest.fixture
def site(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("RELAY_CONFIG", raising=False)
    ports = setup.Ports(0, 0, 0, 0)
    return Site(tmp_path, setup.init(tmp_path / "relay", hostname="relay.example.test", ports=ports), capsys)
