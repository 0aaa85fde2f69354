"""Clients nobody here wrote: swaks, msmtp, curl, openssl, smtplib, and Postfix as a smart host."""

import os
import shutil
import smtplib
import subprocess
from pathlib import Path

import dkim
import pytest

from tests.flow.test_first_message import zone
from tests.postfix import postfix
from tests.product import Product, Receiver, eventually, free_ports


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    with Product(receiver.port) as made:
        yield made


def needs(program):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    return pytest.mark.skipif(path is None, reason=f"{program} is not installed")


def arrived(receiver, recipient):
    return eventually(lambda: [m for m in receiver.messages if m[1] == [recipient]], what=recipient)[0]


@pytest.mark.peer
@needs("swaks")
@pytest.mark.parametrize("options", [["--tls", "--auth", "PLAIN"], ["--tls", "--auth", "LOGIN"], ["--tlsc"]])
def test_swaks(product, receiver, options):
    recipient = f"swaks{len(receiver.messages)}@remote.example"
    port = product.implicit_port if "--tlsc" in options else product.port
    done = subprocess.run(
        ["swaks", "--server", f"127.0.0.1:{port}", *options, "--auth-user", product.user, "--auth-password",
         product.password, "--from", "app@example.com", "--to", recipient],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert dkim.verify(arrived(receiver, recipient)[2], dnsfunc=zone(product))


@pytest.mark.peer
@needs("msmtp")
@pytest.mark.parametrize("starttls", ["on", "off"])
def test_msmtp(product, receiver, tmp_path, starttls):
    recipient = f"msmtp-{starttls}@remote.example"
    port = product.port if starttls == "on" else product.implicit_port
    config = tmp_path / "msmtprc"
    config.write_text(
        f"account default\nhost localhost\nport {port}\ntls on\ntls_starttls {starttls}\n"
        f"tls_trust_file {product.certificate}\nauth on\nuser {product.user}\npassword {product.password}\n"
        "from app@example.com\n"
    )
    config.chmod(0o600)
    text = "From: app@example.com\nSubject: hi\n\nfrom msmtp\n"
    subprocess.run(["msmtp", "-C", str(config), recipient], input=text, text=True, check=True, timeout=60)
    arrived(receiver, recipient)


@pytest.mark.peer
@needs("curl")
def test_curl(product, receiver, tmp_path):
    message = tmp_path / "message"
    message.write_text("From: app@example.com\nTo: curl@remote.example\nSubject: hi\n\nfrom curl\n")
    subprocess.run(
        ["curl", "-sS", "--crlf", "--ssl-reqd", "--cacert", str(product.certificate), "--url",
         f"smtp://localhost:{product.port}", "--user", f"{product.user}:{product.password}", "--mail-from",
         "app@example.com", "--mail-rcpt", "curl@remote.example", "--upload-file", str(message)],
        check=True, timeout=60,
    )  # fmt: skip
    arrived(receiver, "curl@remote.example")


@pytest.mark.peer
@needs("openssl")
@pytest.mark.req("SMTP-005", "INTEG-007")
def test_openssl_s_client_ends_the_greeting_with_250_ok(product):
    done = subprocess.run(
        ["openssl", "s_client", "-crlf", "-quiet", "-starttls", "smtp", "-connect", f"127.0.0.1:{product.port}"],
        input="QUIT\n", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1].strip() == "250 Ok"


@pytest.mark.peer
@pytest.mark.root
@pytest.mark.slow
@needs("postfix")
@pytest.mark.skipif(os.geteuid() != 0, reason="a Postfix instance of its own needs root")
@pytest.mark.req("INTEG-001", "SMTP-008")
def test_postfix_as_a_smart_host(product, receiver):
    """The guide's main.cf lines; Postfix takes mail on a port and relays it through us, signed."""
    directory = product.directory / "postfix"
    product.directory.chmod(0o755)
    (port,) = free_ports(1)
    directory.mkdir()
    (directory / "sasl_passwd").write_text(f"[localhost]:{product.port} {product.user}:{product.password}\n")
    (directory / "ca.pem").write_bytes(Path(product.certificate).read_bytes())
    settings = f"""
relayhost = [localhost]:{product.port}
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_password_maps = texthash:{directory}/sasl_passwd
smtp_tls_security_level = encrypt
smtp_tls_CAfile = {directory}/ca.pem
"""
    with postfix(directory, port, settings):
        product.run("configuration-set", "create", "x")
        text = (
            "From: app@example.com\r\nTo: postfix@remote.example\r\nX-SES-CONFIGURATION-SET: x\r\n"
            "Subject: through Postfix\r\n\r\nhello\r\n"
        )

        def submit():
            try:
                with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
                    client.sendmail("app@example.com", ["postfix@remote.example"], text)
                return True
            except OSError:
                return False

        eventually(submit)
        data = arrived(receiver, "postfix@remote.example")[2]
        assert dkim.verify(data, dnsfunc=zone(product))
        assert b"x-ses-" not in data.lower()
        assert data.count(b"Received:") == 2
