"""A real name server (nsd) on loopback with zones a test writes; UDP and TCP on a port of its own."""

import shutil
import signal
import subprocess

import dns.message
import dns.query
import pytest

from tests.product import eventually, free_ports

NSD = shutil.which("nsd", path="/usr/sbin:/sbin:/usr/local/sbin")
SOA = "@ 1 IN SOA ns hostmaster {serial} 3600 600 86400 1\n@ 1 IN NS ns\nns 1 IN A 127.0.0.1\n"


class NameServer:
    """A running nsd. `zones` are names and the records below them, as lines of a zone file."""

    def __init__(self, directory, zones):
        if NSD is None:
            pytest.skip("nsd is not installed")
        self.directory = directory
        self.serial = 1
        (self.port,) = free_ports(1)
        lines = [
            "server:", f"  port: {self.port}", "  ip-address: 127.0.0.1", f'  zonesdir: "{directory}"',
            '  username: ""', f'  pidfile: "{directory}/pid"', '  database: ""', f'  xfrdfile: "{directory}/xfrd"',
            f'  zonelistfile: "{directory}/list"', f'  xfrdir: "{directory}"', "remote-control:",
            "  control-enable: no",
        ]  # fmt: skip
        for name, text in zones.items():
            self._write(name, text)
            lines += ["zone:", f"  name: {name}", f"  zonefile: {name}"]
        (directory / "nsd.conf").write_text("\n".join(lines) + "\n")

    def __enter__(self):
        command = [NSD, "-d", "-c", str(self.directory / "nsd.conf")]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        eventually(self.answers, what="the name server")
        return self

    def __exit__(self, *exc):
        self.process.terminate()
        self.process.wait(10)

    @property
    def address(self):
        """The server as `dns.nameservers` wants it."""
        return f"127.0.0.1:{self.port}"

    def answers(self):
        assert self.process.poll() is None
        try:
            dns.query.udp(dns.message.make_query("example.", "SOA"), "127.0.0.1", timeout=0.5, port=self.port)
        except (OSError, dns.exception.DNSException):
            return False
        return True

    def publish(self, zone, text):
        """Put other records into a zone, and wait until they are served."""
        self.serial += 1
        self._write(zone, text)
        self.process.send_signal(signal.SIGHUP)
        eventually(lambda: self._serial(zone) == self.serial, what=f"the new {zone}")

    def _serial(self, zone):
        answer = dns.query.udp(dns.message.make_query(zone, "SOA"), "127.0.0.1", timeout=5, port=self.port)
        return answer.answer[0][0].serial if answer.answer else 0

    def _write(self, zone, text):
        (self.directory / zone).write_text(f"$ORIGIN {zone}.\n{SOA.format(serial=self.serial)}{text}\n")
