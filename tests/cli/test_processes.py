"""What commands know about the processes of a relay."""

import os
import subprocess
from types import SimpleNamespace

from relay.runtime.cli import processes


def test_workers_are_counted_by_the_cores_that_the_relay_may_use(tmp_path):
    """A service may be denied cores that whoever asks has; a worker that was never wanted gives no answer."""
    site = SimpleNamespace(data_dir=tmp_path)
    own = os.sched_getaffinity(0)
    assert processes.cores(site) == len(own)  # never started
    (tmp_path / "run").mkdir()
    with subprocess.Popen(["sleep", "60"]) as process:
        os.sched_setaffinity(process.pid, {min(own)})
        (tmp_path / "run" / "supervisor.pid").write_text(f"{process.pid}\n")
        assert processes.cores(site) == 1
        process.kill()
    for text in ("", "x", f"{process.pid}\n", "9" * 30):  # stopped, damaged, gone
        (tmp_path / "run" / "supervisor.pid").write_text(text)
        assert processes.cores(site) == len(own)
