"""Lines to copy from `relay demo`, with the real ports and credentials in them."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from relay.runtime.cli.demo_site import DOMAIN, INBOX

if TYPE_CHECKING:
    from relay.runtime.cli.demo_site import Demo

_PYTHON = """\
import smtplib, ssl
from email.message import EmailMessage

message = EmailMessage()
message["From"], message["To"], message["Subject"] = "python@{domain}", "you@{inbox}", "From Python"
message.set_content("Hello")
with smtplib.SMTP("localhost", {port}) as smtp:
    smtp.starttls(context=ssl.create_default_context(cafile={certificate!r}))
    smtp.login({username!r}, {password!r})
    smtp.send_message(message)
"""

_POSTFIX = """\
relayhost = [127.0.0.1]:{port}
smtp_tls_security_level = encrypt
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_password_maps = inline:{{ [127.0.0.1]:{port}={username}:{password} }}"""


def snippets(demo: "Demo") -> list[tuple[str, str]]:
    """Return (title, text) of everything worth copying."""
    values = {
        "port": demo.ports.submission,
        "username": demo.username,
        "password": demo.password,
        "certificate": str(demo.directory / "tls" / "cert.pem"),
        "domain": DOMAIN,
        "inbox": INBOX,
    }
    return [
        ("swaks", _swaks(demo)),
        ("curl", _curl(demo)),
        ("Python", "python3 - <<'END'\n" + _PYTHON.format(**values) + "END"),
        ("Postfix, in main.cf", _POSTFIX.format(**values)),
        ("Relay's own tools", _tools(demo)),
    ]


def _swaks(demo: "Demo") -> str:
    login = f"--auth-user {shlex.quote(demo.username)} --auth-password {shlex.quote(demo.password)}"
    return (
        f"swaks --server 127.0.0.1:{demo.ports.submission} --tls --auth PLAIN {login} "
        f"--from swaks@{DOMAIN} --to you@{INBOX}"
    )


def _curl(demo: "Demo") -> str:
    certificate = shlex.quote(str(demo.directory / "tls" / "cert.pem"))
    login = shlex.quote(f"{demo.username}:{demo.password}")
    mail = f"From: curl@{DOMAIN}\\r\\nTo: you@{INBOX}\\r\\nSubject: From curl\\r\\n\\r\\nHello\\r\\n"
    return (
        f"printf '{mail}' | curl --ssl-reqd --cacert {certificate} --url smtp://localhost:{demo.ports.submission} "
        f"--user {login} --mail-from curl@{DOMAIN} --mail-rcpt you@{INBOX} --upload-file -"
    )


def _tools(demo: "Demo") -> str:
    config = shlex.quote(str(demo.config))
    return "\n".join(
        (
            *_path(),
            f"export RELAY_CONFIG={config}",
            f"relay send --from me@{DOMAIN} --to you@{INBOX}",
            "relay queue list",
            "relay doctor",
            f"curl http://127.0.0.1:{demo.ports.metrics}/metrics",
        )
    )


def _path() -> list[str]:
    """Return what puts `relay` on the path of a new shell, where it is not: `make run` needs no such thing."""
    if shutil.which("relay"):
        return []
    return [f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"']
