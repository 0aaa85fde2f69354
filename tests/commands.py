"""Relay commands in processes of their own, forked from one that has imported them: no half second of imports each.

What is run is what `relay` runs, with standard streams, environment and exit code of its own.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_PRELOADED = (
    "relay.runtime.cli.app",
    "relay.runtime.cli.identity_dns",
    "relay.runtime.cli.site",
    "relay.runtime.config.load",
    "relay.runtime.identity_look",
    "relay.runtime.settings",
    "relay.runtime.setup",
    "relay.store.catalog",
    "relay.store.directory",
    "relay.store.reader",
    "rich.table",
    "tests.commands",
)
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(list(_PRELOADED))


def run_command(arguments, *, input_text=None, env=None, timeout_seconds=60):
    """Run a command to its end; as `subprocess.run` with captured text."""
    with tempfile.TemporaryDirectory(prefix="relay-command-") as directory:
        streams = [Path(directory) / name for name in ("in", "out", "err")]
        for stream in streams:
            stream.touch()
        streams[0].write_text(input_text or "")
        given = dict(os.environ) | (env or {})
        process = _SERVER.Process(target=_child, args=(list(arguments), given, str(Path.cwd()), streams))
        process.start()
        process.join(timeout_seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["relay", *arguments], timeout_seconds)
        _, out, error = (stream.read_text() for stream in streams)
        done = subprocess.CompletedProcess(["relay", *arguments], process.exitcode, out, error)
        process.close()
        return done


def _child(arguments, env, directory, streams):
    os.environ.clear()
    os.environ.update(env)
    os.chdir(directory)
    for number, (path, flags) in enumerate(zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
        descriptor = os.open(path, flags)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    sys.argv = ["relay", *arguments]

    from relay.runtime.cli import main

    main()
