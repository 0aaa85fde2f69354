"""HUP: validated whole before anything changes, and no session is dropped."""

import signal
import smtplib
import socket
import ssl
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.authority import Certificate
from tests.product import Product, Receiver, eventually, free_ports


@pytest.fixture(scope="module")
def receiver():
    with Receiver(keep_bytes=False) as made:
        yield made


@pytest.fixture
def product(receiver):
    with Product(receiver.port, workers=2) as made:
        yield made


def hup(product):
    product.process.send_signal(signal.SIGHUP)


def served_certificate(product):
    client = smtplib.SMTP("127.0.0.1", product.port, timeout=10)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client.starttls(context=context)
    der = client.sock.getpeercert(binary_form=True)
    client.close()
    return der


def test_a_replaced_certificate_is_shown_to_new_sessions_and_old_ones_go_on(product):
    sessions = [product.client() for _ in range(10)]
    before = served_certificate(product)
    directory = product.directory
    made = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "3",
        "-subj",
        "/CN=localhost",
    ]
    files = ["-keyout", str(directory / "new.key"), "-out", str(product.certificate)]
    subprocess.run(["openssl", "req", "-x509", *made, *files], check=True, capture_output=True)
    key = directory / product.values.get("tls", {}).get("key", "tls/key.pem")
    key.write_bytes((directory / "new.key").read_bytes())
    hup(product)
    eventually(lambda: served_certificate(product) != before)
    for session in sessions:
        product.send(client=session)
        session.quit()


def test_an_expired_certificate_is_told_and_keeps_nobody_from_work(product):
    """Clients that check it stay away; the others, the queue and new settings do not wait for a new one."""
    before = served_certificate(product)
    made = Certificate(["localhost"], expired=True)
    product.certificate.write_bytes(made.certificate.public_bytes(Encoding.PEM))
    key_file = product.directory / product.values.get("tls", {}).get("key", "tls/key.pem")
    key_file.write_bytes(made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    hup(product)
    eventually(lambda: served_certificate(product) != before)
    eventually(lambda: '"reloaded"' in product.log_text())
    assert "tls.certificate: expired on " in product.log_text()
    product.stop()
    product.start()
    with smtplib.SMTP("127.0.0.1", product.port, timeout=30) as client:
        client.starttls()
        client.login(product.user, product.password)
        client.sendmail("app@example.com", ["user@remote.example"], "From: app@example.com\r\n\r\nhi\r\n")
    assert product.log_text().count("tls.certificate: expired on ") >= 2


@pytest.mark.req("SMTP-001")
def test_listeners_limits_and_routes_change_without_a_restart(product):
    session = product.client()
    (port,) = free_ports(1)
    with Receiver(keep_bytes=False) as other:
        product.values["listeners"].append(
            {"kind": "submission", "address": "127.0.0.1", "port": port, "tls": "starttls"}
        )
        product.values["limits"]["message_size_max"] = 100_000
        product.values["routes"] = [{"domain": "*", "smarthost": f"127.0.0.1:{other.port}"}]
        product.save()
        hup(product)

        def reached():
            try:
                with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
                    client.ehlo()
                    return client.esmtp_features["size"] == "100000"
            except OSError:
                return False

        eventually(reached)
        product.send(client=session)
        other.wait(1)
        session.quit()
        product.values["listeners"].pop()
        product.save()
        hup(product)

        def closed():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) != 0

        eventually(closed)


def test_a_faulty_configuration_changes_nothing_and_every_fault_is_told(product):
    good = product.config.read_text()
    product.config.write_text(good + "\nlimitz: {}\nregion: 7\n")
    hup(product)
    eventually(lambda: "limitz" in product.log_text() and "region" in product.log_text())
    assert product.send()
    product.config.write_text(good)
    hup(product)
    assert product.send()


def test_reloads_leak_no_file_descriptor(product):
    import os

    def descriptors():
        pids = [product.process.pid, *product.children().values()]
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)

    def reload_and_wait():
        count = product.log_text().count("reloaded")
        hup(product)
        eventually(lambda: product.log_text().count("reloaded") > count)

    reload_and_wait()
    before = descriptors()
    for _ in range(20):
        reload_and_wait()
    # The office opens the catalog for a moment every few seconds, housekeeping a connection of its own once.
    eventually(lambda: descriptors() <= before + 10)  # twenty reloads that leaked one each would be twenty more
