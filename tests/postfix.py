"""A Postfix of a test's own: needs root, and gets no port but the one it is told."""

import contextlib
import shutil
import subprocess

COMMAND = "/usr/sbin/postfix"


@contextlib.contextmanager
def postfix(directory, port, settings, listeners=()):
    """Run a Postfix that takes mail on a port of 127.0.0.1; `settings` are further lines of its main.cf.

    `listeners` are further lines of its master.cf.
    """
    etc, queue, data = directory / "etc", directory / "queue", directory / "data"
    for path in (etc, queue, data):
        path.mkdir(parents=True)
    shutil.chown(data, "postfix")
    (etc / "main.cf").write_text(
        f"""compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = host.example.com
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtp_host_lookup = native
maillog_file = {directory}/mail.log
maillog_file_prefixes = {directory}
{settings}"""
    )
    services = [
        f"127.0.0.1:{port} inet n - n - - smtpd",
        *listeners,
        "pickup unix n - n 60 1 pickup",
        "cleanup unix n - n - 0 cleanup",
        "qmgr unix n - n 300 1 qmgr",
        "tlsmgr unix - - n 1000? 1 tlsmgr",
        "rewrite unix - - n - - trivial-rewrite",
        "bounce unix - - n - 0 bounce",
        "defer unix - - n - 0 bounce",
        "trace unix - - n - 0 bounce",
        "smtp unix - - n - - smtp",
        "relay unix - - n - - smtp",
        "error unix - - n - - error",
        "retry unix - - n - - error",
        "proxymap unix - - n - - proxymap",
        "verify unix - - n - 1 verify",
        "flush unix n - n 1000? 0 flush",
        "anvil unix - - n - 1 anvil",
        "scache unix - - n - 1 scache",
        "discard unix - - n - - discard",
        "postlog unix-dgram n - n - 1 postlogd",
    ]
    (etc / "master.cf").write_text("\n".join(services) + "\n")
    subprocess.run([COMMAND, "-c", str(etc), "start"], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([COMMAND, "-c", str(etc), "stop"], check=False, capture_output=True)
