"""`relay demo`: its directory, its ports, and the whole of it with real processes."""

import json
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from relay.errors import ConfigurationError
from relay.runtime.cli import demo_site
from relay.runtime.cli.demo_text import snippets
from relay.runtime.cli.site import read_site


def free_base():
    """Return a base whose six ports are free now."""
    for base in range(20_000 + os.getpid() % 20_000, 60_000, 100):
        if all(demo_site._is_free(port) for port in demo_site.DemoPorts(base).all()):
            return base
    raise AssertionError("no free ports")


@pytest.fixture
def ready(tmp_path):
    return demo_site.prepare(tmp_path / "run", 0)


def test_it_is_made_once_and_kept(ready):
    again = demo_site.prepare(ready.directory, 0)
    assert ready.created
    assert not again.created
    assert (again.username, again.password, again.ports) == (ready.username, ready.password, ready.ports)
    assert (ready.directory / "demo.json").stat().st_mode & 0o777 == 0o600
    config = read_site(ready.config).config
    assert [str(one) for one in config.dns.nameservers] == ["127.0.0.1:2553"]
    assert [(route.domain, str(route.smarthost)) for route in config.routes] == [("*", "127.0.0.1:2526")]
    with read_site(ready.config).catalog() as catalog:
        assert catalog.identities.require("000000000001", "example.test").identity.verified


def test_other_ports_are_written_into_the_configuration_that_is_there(ready):
    ready.config.write_text(ready.config.read_text() + "limits: {connections_max: 2587}\nregion: local-2587\n")
    moved = demo_site.prepare(ready.directory, 3500)
    config = read_site(moved.config).config
    assert [one.port for one in config.listeners] == [3587, 3565, 3525, 3590]
    assert str(config.routes[0].smarthost) == "127.0.0.1:3526"
    assert demo_site.prepare(ready.directory, 0).ports.base == 3500


def test_a_revoked_login_is_replaced(ready):
    with read_site(ready.config).catalog() as catalog:
        catalog.credentials.revoke(ready.username)
    again = demo_site.prepare(ready.directory, 0)
    assert again.username != ready.username
    assert demo_site.prepare(ready.directory, 0).password == again.password


def test_a_forgotten_login_is_replaced(ready):
    (ready.directory / "demo.json").write_text("[1, 2")
    assert demo_site.prepare(ready.directory, 0).username


@pytest.mark.parametrize("base", [80, 1023, 65_500, -1])
def test_impossible_bases(tmp_path, base):
    with pytest.raises(ConfigurationError):
        demo_site.prepare(tmp_path / "run", base)


def test_a_port_in_use_is_named_with_the_way_out(tmp_path):
    ready = demo_site.prepare(tmp_path / "run", free_base())
    with socket.create_server(("127.0.0.1", ready.ports.sink)), pytest.raises(ConfigurationError) as error:
        demo_site.require_free(ready)
    assert f"127.0.0.1:{ready.ports.sink} is in use" in str(error.value)
    assert "make run PORT_BASE=" in str(error.value)
    demo_site.require_free(ready)


def test_lines_to_copy_are_whole(ready):
    texts = dict(snippets(ready))
    assert list(texts) == ["swaks", "curl", "Python", "Postfix, in main.cf", "Relay's own tools"]
    for name in ("swaks", "curl", "Python", "Postfix, in main.cf"):
        assert ready.password in texts[name]
        assert "2587" in texts[name]
    compile(texts["Python"].split("\n", 1)[1].removesuffix("END"), "snippet", "exec")
    for name in ("swaks", "curl"):
        subprocess.run(["sh", "-n", "-c", texts[name]], check=True)


def test_lines_to_copy_find_the_program(ready, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    tools = dict(snippets(ready))["Relay's own tools"].splitlines()
    found = subprocess.run(
        ["sh", "-c", f"{tools[0]}\n{tools[1]}\ncommand -v relay"], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(Path(sys.executable).parent / "relay")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    assert "PATH" not in dict(snippets(ready))["Relay's own tools"]


def test_demo_shows_a_message_all_the_way(tmp_path):
    """Accepted, signed, delivered; then a client of our own gets through, and Ctrl-C ends both processes."""
    pytest.importorskip("relay.runtime.worker")
    base = free_base()
    directory = tmp_path / "run"
    command = [sys.executable, "-m", "relay.runtime.cli", "demo", str(directory), "--port-base", str(base)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C ends it" in line:
                break
        text = "".join(lines)
        assert process.poll() is None, text
        for word in ("accepted", "signed", "delivered"):
            assert re.search(rf"✓ {word} ", text), text
        assert re.search(r"DKIM verified by dkimpy, key from DNS: \w+\._domainkey\.example\.test", text)
        kept = json.loads((directory / "demo.json").read_text())
        context = ssl.create_default_context(cafile=directory / "tls" / "cert.pem")
        with smtplib.SMTP("localhost", base + 87, timeout=30) as client:
            client.starttls(context=context)
            client.login(kept["username"], kept["password"])
            client.sendmail(
                "py@example.test", ["you@inbox.test"], "From: py@example.test\nSubject: second\n\nhello\n"
            )
        assert "second" in process.stdout.readline()
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 78
        assert f"PORT_BASE={base + 1000}" in second.stderr
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0, rest
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    demo_site.require_free(demo_site.prepare(directory, 0))
