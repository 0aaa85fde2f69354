"""Other mail servers that hand their mail to the relay, set up as the guide's pages say: Exim and Sendmail.

Debian's mail servers cannot be installed beside each other, so these are unpacked below a directory
(`tools/unpack-mail-servers.sh`), which RELAY_TEST_MAIL_SERVERS names.
"""

import os
import shutil
import subprocess

import dkim
import pytest

from tests.exim import EXIM, SERVERS
from tests.flow.test_first_message import zone
from tests.product import Product, Receiver, eventually

SENDMAIL = SERVERS / "usr/libexec/sendmail/sendmail"

pytestmark = [
    pytest.mark.peer,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a mail server of its own needs root"),
]
MESSAGE = "From: app@example.com\nTo: {to}\nSubject: through {name}\nX-SES-MESSAGE-TAGS: a=b\n\nhello\n"


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Product(receiver.port) as made:
        made.directory.chmod(0o755)
        yield made


def arrived(receiver, recipient):
    return eventually(lambda: [m for m in receiver.messages if m[1] == [recipient]], what=recipient)[0][2]


def submit(command, name):
    recipient = f"{name}@remote.example"
    done = subprocess.run(
        [*command, recipient],
        input=MESSAGE.format(to=recipient, name=name),
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return recipient, done.stdout + done.stderr


@pytest.mark.skipif(not EXIM.exists(), reason="Exim is not unpacked")
@pytest.mark.req("INTEG-004", "SMTP-009")
def test_exim_as_a_smart_host(product, receiver):
    """A manualroute router, a transport that insists on AUTH and TLS, a LOGIN client."""
    directory = product.directory / "exim"
    directory.mkdir()
    shutil.chown(directory, "Debian-exim", "Debian-exim")
    config = directory / "exim.conf"
    config.write_text(
        f"""primary_hostname = host.example.com
exim_path = {EXIM}
keep_environment =
spool_directory = {directory}/spool
log_file_path = {directory}/%slog
domainlist local_domains = host.example.com
never_users =
tls_advertise_hosts =
trusted_users = root

begin routers
send_via_ses:
  driver = manualroute
  domains = ! +local_domains
  transport = ses_smtp
  route_list = * 127.0.0.1
  self = send

begin transports
ses_smtp:
  driver = smtp
  port = {product.port}
  hosts_require_auth = *
  hosts_require_tls = *
  tls_verify_certificates =

begin retry
*  *  F,1h,1m

begin authenticators
ses_login:
  driver = plaintext
  public_name = LOGIN
  client_send = : {product.user} : {product.password}
"""
    )
    command = [str(EXIM), "-C", str(config), "-odf", "-f", "app@example.com"]
    recipient, said = submit(command, "exim")
    log = directory / "mainlog"
    assert log.exists(), said
    (line,) = [line for line in log.read_text().splitlines() if " => exim@remote.example" in line]
    assert " K " in line  # it sent the message by BDAT, since the relay offers CHUNKING
    data = arrived(receiver, recipient)
    assert dkim.verify(data, dnsfunc=zone(product))
    assert b"x-ses-" not in data.lower()


@pytest.mark.skipif(not SENDMAIL.exists() or not shutil.which("m4"), reason="Sendmail is not unpacked")
@pytest.mark.req("INTEG-003", "SMTP-008")
def test_sendmail_as_a_smart_host(product, receiver):
    """SMART_HOST, RELAY_MAILER_ARGS, mechanisms LOGIN PLAIN and an authinfo map with M:PLAIN."""
    directory = product.directory / "sendmail"
    queue = directory / "queue"
    queue.mkdir(parents=True, mode=0o700)
    (directory / "service.switch").write_text("hosts files\naliases files\n")  # no name server is asked
    macros = directory / "sendmail.mc"
    macros.write_text(
        f"""include(`{SERVERS}/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`debian')dnl
define(`confDOMAIN_NAME', `host.example.com')dnl
define(`QUEUE_DIR', `{queue}')dnl
define(`ALIAS_FILE', `')dnl
define(`STATUS_FILE', `{directory}/statistics')dnl
define(`confPID_FILE', `{directory}/sendmail.pid')dnl
define(`confCONTROL_SOCKET_NAME', `')dnl
define(`confDONT_BLAME_SENDMAIL', `mapinunsafedirpath')dnl
define(`confTO_IDENT', `0')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`confHOST_STATUS_DIRECTORY', `')dnl
define(`confSERVICE_SWITCH_FILE', `{directory}/service.switch')dnl
define(`confCACERT', `{product.certificate}')dnl
define(`SMART_HOST', `[127.0.0.1]')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {product.port}')dnl
define(`confAUTH_MECHANISMS', `LOGIN PLAIN')dnl
FEATURE(`authinfo', `hash -o {directory}/authinfo.db')dnl
FEATURE(`nocanonify')dnl
MASQUERADE_AS(`example.com')dnl
FEATURE(masquerade_envelope)dnl
FEATURE(masquerade_entire_domain)dnl
MAILER(`smtp')dnl
"""
    )
    made = subprocess.run(
        ["m4", f"-D_CF_DIR_={SERVERS}/usr/share/sendmail/cf/", str(macros)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    config = directory / "sendmail.cf"
    config.write_text(made.stdout)
    authinfo = f'AuthInfo:127.0.0.1 "U:root" "I:{product.user}" "P:{product.password}" "M:PLAIN"\n'
    subprocess.run(
        [str(SERVERS / "usr/sbin/makemap"), "-C", str(config), "hash", str(directory / "authinfo.db")],
        input=authinfo, text=True, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    # It waits a minute where the machine's name has no dot, so it gets a name of its own.
    named = ["unshare", "--uts", "sh", "-c", 'hostname host.example.com && exec "$@"', "sh"]
    command = [*named, str(SENDMAIL), "-C", str(config), "-odi", "-v", "-f", "app@example.com"]
    recipient, said = submit(command, "sendmail")
    assert "STARTTLS" in said
    data = arrived(receiver, recipient)
    assert dkim.verify(data, dnsfunc=zone(product))
    assert b"x-ses-" not in data.lower()
