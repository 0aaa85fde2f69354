"""`relay sink` as a process: its ports, its DNS from a catalog, one line a mail, its end."""

import json
import signal
import smtplib
import socket
import subprocess
import sys
import time

import dns.message
import dns.query
import dns.rcode

RELAY = [sys.executable, "-m", "relay.runtime.cli"]


class Sink:
    """A running sink; `first` is the line that names its ports."""

    def __init__(self, *arguments):
        command = [*RELAY, "sink", "--listen", "127.0.0.1:0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.first = json.loads(self.process.stdout.readline()) if "--json" in arguments else None

    def port(self, kind):
        return int(self.first[kind].rpartition(":")[2])

    def ask(self, name, kind):
        query = dns.message.make_query(name, kind)
        return dns.query.udp(query, "127.0.0.1", port=self.port("dns"), timeout=10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def test_dns_follows_the_catalog(site, tmp_path):
    site.call("identity", "create", "dev.test")
    with Sink("--dns", "127.0.0.1:0", "-c", site.config, "--maildir", str(tmp_path / "m"), "--json") as sink:
        records = site.json("dkim", "list", "dev.test")
        assert len(records) == 3
        for record in records:
            (rrset,) = sink.ask(record["name"], "TXT").answer
            assert b"".join(next(iter(rrset)).strings).decode() == record["value"]
        assert sink.ask("dev.test", "MX").answer
        assert sink.ask("relay.example.test", "A").answer
        assert sink.ask("example.test", "A").rcode() == dns.rcode.NXDOMAIN
        assert sink.ask("later.test", "MX").rcode() == dns.rcode.NXDOMAIN
        site.call("identity", "create", "later.test")
        deadline = time.monotonic() + 20
        while not sink.ask("later.test", "MX").answer:  # the catalog is read again after a second
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_one_line_a_mail_then_the_end(tmp_path):
    maildir = tmp_path / "m"
    with Sink("--maildir", str(maildir), "--count", "2", "--json") as sink:
        with smtplib.SMTP("127.0.0.1", sink.port("smtp"), timeout=20) as client:
            client.sendmail("a@x.test", ["b@x.test"], "Subject: one\x1b[2J\n\nx\n")
            client.sendmail("", ["c@x.test"], "Subject: =?utf-8?q?zwei_=C3=BC?=\n\nx\n")
        mails = [json.loads(sink.process.stdout.readline()) for _ in range(2)]
        assert sink.process.wait(20) == 0
    assert [mail["sender"] for mail in mails] == ["a@x.test", ""]
    assert [mail["recipients"] for mail in mails] == [["b@x.test"], ["c@x.test"]]
    assert mails[1]["subject"] == "zwei ü"
    assert len(list((maildir / "new").iterdir())) == 2


def test_lines_for_people_show_no_control_characters(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [*RELAY, "sink", "--listen", f"127.0.0.1:{port}", "--maildir", str(tmp_path / "m"), "--count", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert f"SMTP on 127.0.0.1:{port}" in process.stderr.readline()
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("a@x.test", ["b@x.test"], "Subject: one\x1b[2J\n\nx\n")
    out, _ = process.communicate(timeout=20)
    assert "a@x.test -> b@x.test" in out
    assert "\x1b" not in out
    assert "one\\x1b[2J" in out


def test_ctrl_c_is_its_normal_end(tmp_path):
    with Sink("--maildir", str(tmp_path / "m"), "--json") as sink:
        sink.process.send_signal(signal.SIGINT)
        assert sink.process.wait(20) == 0
        assert sink.process.stderr.read() == ""


def test_port_in_use_is_a_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [*RELAY, "sink", "--listen", at, "--maildir", str(tmp_path / "m")],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 78
    assert done.stderr.startswith(f"relay: Cannot listen on {at}")
    assert "--listen" in done.stderr
