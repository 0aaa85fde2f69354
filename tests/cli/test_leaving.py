"""How commands leave: quick help, quiet pipes, Ctrl-C, sentences instead of tracebacks."""

import signal
import socket
import subprocess
import sys

from relay.runtime.cli import reference
from relay.runtime.cli.app import run

RELAY = [sys.executable, "-m", "relay.runtime.cli"]
HEAVY = (
    "rich",
    "asyncio",
    "ssl",
    "sqlite3",
    "dns",
    "cryptography",
    "pydantic",
    "yaml",
    "aiosmtplib",
    "aiosmtpd",
    "dkim",
)


def test_help_loads_nothing_heavy():
    code = f"""
import sys
from relay.runtime.cli.app import run
run(["--help"])
loaded = [name for name in {HEAVY!r} if name in sys.modules]
sys.exit(f"loaded: {{loaded}}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: relay" in done.stdout


def test_every_command_has_help(capsys):
    for name in reference.typer.main.get_command(reference.app).commands:
        assert run([name, "--help"]) == 0
        assert "Usage:" in capsys.readouterr().out


def test_reference_page_is_current(request):
    kept = (request.config.rootpath / "docs" / "reference" / "cli.md").read_text()
    assert kept == reference.page(), "run: python -m relay.runtime.cli.reference > docs/reference/cli.md"


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("relay ")


def test_lists_of_commands_cut_no_sentence(capsys):
    for group in ([], ["identity"], ["dkim"], ["queue"], ["identity", "policy"], ["account", "review"]):
        assert run([*group, "--help"]) == 0
        listed = capsys.readouterr().out.partition("Commands:")[2]
        assert listed
        assert ".." not in listed, group


def test_files_that_do_not_exist_are_usage_errors(tmp_path, capsys):
    assert run(["init", str(tmp_path / "relay")]) == 0
    config = str(tmp_path / "relay" / "relay.yaml")
    assert run(["suppression", "import", str(tmp_path / "none.csv"), "-c", config]) == 64
    assert run(["analyse", "--file", str(tmp_path), "-c", config]) == 64
    assert str(tmp_path / "none.csv") in capsys.readouterr().err


def test_unknown_commands_and_options_are_usage_errors(capsys):
    assert run(["nonsense"]) == 64
    assert run(["queue", "list", "--nonsense"]) == 64
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(site):
    process = site.spawn("credentials", "list", "--json")
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(30), error) == (141, "")


def test_missing_file_is_a_sentence(site):
    """Trying again changes nothing, so the exit code does not ask for it."""
    _, error = site.call("suppression", "import", "/nonexistent/file", code=64)
    assert error == "relay: /nonexistent/file: No such file or directory\n"


def test_ctrl_c_leaves_with_130_and_without_a_traceback():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = str(mute.getsockname()[1])
        arguments = ["--host", "127.0.0.1", "--port", port, "--tls", "none", "--from", "a@x.test", "--to", "b@x.test"]
        process = subprocess.Popen([*RELAY, "send", *arguments], stderr=subprocess.PIPE, text=True)
        connection, _ = mute.accept()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
        connection.close()
    assert (process.returncode, error) == (130, "")


def test_damaged_catalog_is_a_sentence(site):
    (site.made.config.parent / "data" / "catalog.db").write_bytes(b"not a database" * 1000)
    _, error = site.call("account", "list", code=65)
    assert "damaged" in error
