"""An Exim of a test's own, unpacked and not installed: needs root, and listens where it is told."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

SERVERS = Path(os.environ.get("RELAY_TEST_MAIL_SERVERS", "/opt/relay-mail-servers"))
EXIM = SERVERS / "usr/sbin/exim4"
USER = "Debian-exim"


@contextlib.contextmanager
def exim(directory, addresses, port, relay_port, main):
    """Run an Exim that takes all mail on a port of `addresses` and hands it on to `relay_port` of 127.0.0.1.

    `main` are further lines of the main section. `directory` is there, and its user may read it.
    """
    shutil.chown(directory, USER, USER)
    config = directory / "exim.conf"
    config.write_text(
        f"""primary_hostname = host.example.com
exim_path = {EXIM}
keep_environment =
spool_directory = {directory}/spool
log_file_path = {directory}/%slog
pid_file_path = {directory}/pid
local_interfaces = <; {" ; ".join(addresses)}
daemon_smtp_ports = {port}
deliver_drop_privilege = true
never_users =
host_lookup =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = take
{main}

begin acl
take:
  accept

begin routers
on:
  driver = manualroute
  transport = on
  route_list = * 127.0.0.1
  self = send

begin transports
on:
  driver = smtp
  port = {relay_port}
  hosts_avoid_tls = *

begin retry
*  *  F,1h,1s
"""
    )
    with (directory / "output").open("wb") as output:
        daemon = subprocess.Popen([EXIM, "-C", config, "-bdf", "-q1s"], stdout=output, stderr=output)
    try:
        yield
    finally:
        daemon.terminate()
        daemon.wait(10)
