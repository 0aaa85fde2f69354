"""A Postfix instance of its own with OpenDKIM and Cyrus SASL, for comparison: own directories, own ports."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

USER = "bench"
PASSWORD = "bench-password"
REALM = "bench.example"


def missing() -> str | None:
    """Say what is missing to run Postfix here, None when nothing is."""
    if os.geteuid() != 0:
        return "it must be started as root"
    for program in ("postfix", "opendkim", "opendkim-genkey", "saslpasswd2"):
        if shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
            return f"{program} is not installed"
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postfix:
    """A running instance."""

    name = "postfix"
    user = f"{USER}@{REALM}"
    password = PASSWORD

    def __init__(self, directory: Path, port: int, plain_port: int, opendkim: subprocess.Popen) -> None:
        self.directory, self.port, self.plain_port, self.opendkim = directory, port, plain_port, opendkim
        self.master = int((directory / "queue" / "pid" / "master.pid").read_text().strip())

    def pids(self) -> list[int]:
        return [self.master, self.opendkim.pid]

    def stop(self) -> None:
        subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.directory / "etc"), "stop"], check=False, capture_output=True
        )
        self.opendkim.send_signal(signal.SIGTERM)
        self.opendkim.wait(10)


def start(directory: Path, sink_port: int) -> Postfix:
    """Start OpenDKIM and Postfix: submission with STARTTLS + AUTH + signing, and a plain trusted port."""
    etc, queue, data = directory / "etc", directory / "queue", directory / "data"
    for path in (etc, queue, data):
        path.mkdir(parents=True)
    directory.chmod(0o755)
    directory.parent.chmod(0o755)
    shutil.chown(data, "postfix")
    port, plain_port, milter_port = free_port(), free_port(), free_port()
    opendkim = _opendkim(directory, milter_port)
    _certificate(etc)
    _sasl(directory, etc)
    (etc / "main.cf").write_text(
        f"""compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink_port}
smtpd_tls_cert_file = {etc}/cert.pem
smtpd_tls_key_file = {etc}/key.pem
smtpd_tls_security_level = may
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {etc}/sasl
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = permit_sasl_authenticated, reject
default_destination_concurrency_limit = 20
smtpd_client_connection_count_limit = 0
smtp_tls_security_level = none
maillog_file = {directory}/mail.log
maillog_file_prefixes = {directory}
""",
        encoding="utf-8",
    )
    lines = (Path("/etc/postfix/master.cf")).read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line and not line.startswith(("#", " ", "\t", "smtp      inet"))]
    kept = [line.replace(" y ", " n ") if line.split()[4] == "y" else line for line in kept]
    milter = f"inet:127.0.0.1:{milter_port}"
    kept += [
        (
            f"127.0.0.1:{port} inet n - n - - smtpd -o smtpd_milters={milter} -o smtpd_tls_security_level=encrypt"
            " -o smtpd_sasl_auth_enable=yes -o milter_default_action=tempfail"
        ),
        f"127.0.0.1:{plain_port} inet n - n - - smtpd -o smtpd_relay_restrictions=permit_mynetworks,reject",
        "postlog unix-dgram n - n - 1 postlogd",
    ]
    (etc / "master.cf").write_text("\n".join(_unique(kept)) + "\n", encoding="utf-8")
    subprocess.run(["/usr/sbin/postfix", "-c", str(etc), "start"], check=True, capture_output=True)
    deadline = time.monotonic() + 10
    while not (queue / "pid" / "master.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return Postfix(directory, port, plain_port, opendkim)


def _unique(lines: list[str]) -> list[str]:
    seen: dict[str, str] = {}
    for line in lines:
        seen[" ".join(line.split()[:2])] = line
    return list(seen.values())


def _opendkim(directory: Path, port: int) -> subprocess.Popen:
    keys = directory / "dkim"
    keys.mkdir()
    subprocess.run(["opendkim-genkey", "-b", "2048", "-d", "example.com", "-s", "bench", "-D", str(keys)], check=True)
    configuration = keys / "opendkim.conf"
    configuration.write_text(
        f"Syslog no\nCanonicalization relaxed/relaxed\nDomain example.com\nSelector bench\n"
        f"KeyFile {keys}/bench.private\nSocket inet:{port}@127.0.0.1\nMode s\nOversignHeaders From\n"
        f"InternalHosts 127.0.0.1\nRequireSafeKeys no\nUserID root\n",
        encoding="utf-8",
    )
    return subprocess.Popen(["/usr/sbin/opendkim", "-f", "-x", str(configuration)])


def _certificate(etc: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", str(etc / "key.pem"), "-out", str(etc / "cert.pem"), "-days", "2", "-subj", "/CN=bench.example"],
        check=True, capture_output=True,
    )  # fmt: skip


def _sasl(directory: Path, etc: Path) -> None:
    database = directory / "sasldb2"
    (etc / "sasl").mkdir()
    (etc / "sasl" / "smtpd.conf").write_text(
        f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\nsasldb_path: {database}\n",
        encoding="utf-8",
    )
    subprocess.run(
        ["/usr/sbin/saslpasswd2", "-p", "-c", "-f", str(database), "-u", REALM, USER],
        input=PASSWORD, text=True, check=True,
    )  # fmt: skip
    shutil.chown(database, "postfix")
