"""Load balancers and front ends before the whole product, played by programs nobody here wrote; and by a reload."""

import os
import signal
import smtplib
import socket
import subprocess

import pytest

from tests.flow.test_peers import needs
from tests.postfix import postfix
from tests.product import Product, Receiver, eventually, free_ports

LOOPBACK = ["127.0.0.0/8"]


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    proxied, implicit, named, listed = free_ports(4)
    own = {"kind": "submission", "address": "127.0.0.1"}
    listeners = [
        {**own, "port": proxied, "tls": "starttls", "proxy_protocol": {"networks": LOOPBACK}},
        {**own, "port": implicit, "tls": "implicit", "proxy_protocol": {"networks": LOOPBACK}},
        {**own, "port": named, "tls": "none", "xclient": {"networks": LOOPBACK, "login": True}},
        {**own, "port": listed, "tls": "starttls", "allow": LOOPBACK},
    ]
    limits = {"disk_free_min": "1MB", "connections_per_address_max": 3}
    with Product(receiver.port, listeners=listeners, smtp={"received_client": True}, limits=limits) as made:
        made.proxied, made.implicit, made.named, made.listed = proxied, implicit, named, listed
        yield made


def swaks(product, port, recipient, *options):
    return subprocess.run(
        ["swaks", "--server", f"127.0.0.1:{port}", "--auth-user", product.user, "--auth-password", product.password,
         "--from", "app@example.com", "--to", recipient, *options],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def arrived(receiver, recipient):
    return eventually(lambda: [m for m in receiver.messages if m[1] == [recipient]], what=recipient)[0][2]


def source_of(product, recipient):
    """Return the client's address in the Send event of a message."""
    found = eventually(lambda: [e for e in product.events("Send") if recipient in e["mail"]["destination"]])
    return found[0]["mail"]["tags"]["ses:source-ip"][0]


@pytest.mark.peer
@needs("swaks")
@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", ["proxied", "implicit"])
def test_swaks_behind_a_balancer(product, receiver, version, kind):
    recipient = f"{kind}-{version}@remote.example"
    address = f"192.0.2.{version}"
    header = [
        "--proxy-version", version, "--proxy-family", "TCP4" if version == "1" else "AF_INET",
        "--proxy-source", address,
        "--proxy-source-port", "4000", "--proxy-dest", "192.0.2.200", "--proxy-dest-port", "587",
    ]  # fmt: skip
    done = swaks(product, getattr(product, kind), recipient, "--tlsc" if kind == "implicit" else "--tls", *header)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"[" + address.encode() + b"]" in arrived(receiver, recipient)
    assert source_of(product, recipient) == address


@pytest.mark.peer
@needs("swaks")
def test_swaks_as_a_front_end_that_checked_the_password(product, receiver):
    named = ["--xclient-addr", "192.0.2.33", "--xclient-helo", "client.example", "--xclient-proto", "ESMTP"]
    done = swaks(product, product.named, "named@remote.example", *named, "--xclient-login", product.user)
    assert "220 relay.example" in done.stdout, done.stdout + done.stderr
    # swaks logs in again behind the login that it named.
    assert "503 Already authenticated" in done.stdout or done.returncode == 0
    done = swaks(product, product.named, "named@remote.example", *named)
    assert done.returncode == 0, done.stdout + done.stderr
    assert source_of(product, "named@remote.example") == "192.0.2.33"
    arrived(receiver, "named@remote.example")
    done = swaks(
        product, product.named, "x@remote.example", "--xclient-addr", "192.0.2.33", "--xclient-login", "nobody"
    )
    assert "535 Authentication Credentials Invalid" in done.stdout


def test_connection_limits_count_the_clients_and_not_the_balancer(product):
    """Many clients behind one balancer have each their own limit, over all that is open."""

    def session(address):
        client = socket.create_connection(("127.0.0.1", product.proxied), 30)
        client.sendall(f"PROXY TCP4 {address} 192.0.2.200 4000 587\r\n".encode())
        return client, client.recv(100)[:3]

    opened = [session(f"198.51.100.{number}") for number in range(1, 11)]
    assert {code for _, code in opened} == {b"220"}
    more = [session("198.51.100.1") for _ in range(3)]
    assert [code for _, code in more] == [b"220", b"220", b"421"]
    for client, _ in (*opened, *more):
        client.close()


@pytest.mark.req("SMTP-001")
def test_a_reload_changes_who_is_served(product):
    session = smtplib.SMTP("127.0.0.1", product.listed, timeout=30)
    listener = next(one for one in product.values["listeners"] if one["port"] == product.listed)

    def greets(code):
        def look():
            with socket.create_connection(("127.0.0.1", product.listed), 30) as client:
                return client.recv(100).startswith(code)

        eventually(look, what=f"a greeting with {code.decode()}")

    listener["deny"] = ["127.0.0.1/32"]
    product.save()
    product.process.send_signal(signal.SIGHUP)
    greets(b"554 Access denied")
    assert session.noop()[0] == 250
    eventually(lambda: 'relay_sessions_refused_total{reason="denied"}' in product.metrics())
    del listener["deny"]
    product.save()
    product.process.send_signal(signal.SIGHUP)
    greets(b"220 ")
    session.quit()


def test_settings_that_would_believe_everybody_are_refused(product):
    listener = next(one for one in product.values["listeners"] if one["port"] == product.named)
    for wrong, said in (
        ({"xclient": {"networks": ["0.0.0.0/0"]}}, "is everybody"),
        ({"proxy_protocol": {"networks": ["::/0"]}}, "is everybody"),
        ({"kind": "metrics", "allow": ["127.0.0.0/8"], "tls": "none"}, "belongs to a submission or mx listener"),
    ):
        kept = dict(listener)
        listener.pop("xclient")
        listener.update(wrong)
        product.save()
        listener.clear()
        listener.update(kept)
        done = product.run("check", check=False)
        assert done.returncode != 0
        assert said in done.stdout + done.stderr
    product.save()


@pytest.mark.peer
@pytest.mark.root
@pytest.mark.slow
@needs("postfix")
@pytest.mark.skipif(os.geteuid() != 0, reason="a Postfix instance of its own needs root")
def test_postfix_takes_over_the_reports(receiver):
    """RFC 3461 both ways with somebody else's server: it is told, reports to our return path, and we forward that."""
    (port,) = free_ports(1)
    routes = [
        {"domain": "post.example", "smarthost": f"127.0.0.1:{port}"},
        {"domain": "*", "smarthost": f"127.0.0.1:{receiver.port}"},
    ]
    with Product(routes=routes) as product:
        product.directory.chmod(0o755)
        directory = product.directory / "postfix"
        directory.mkdir()
        settings = f"relayhost = [127.0.0.1]:{product.mx_port}\ntransport_maps = inline:{{post.example=discard:}}\n"
        with postfix(directory, port, settings):
            with product.client() as client:
                client.ehlo()
                assert client.mail("app@example.com", ["RET=HDRS", "ENVID=to-postfix"])[0] == 250
                asked = ["NOTIFY=SUCCESS", "ORCPT=rfc822;first+2Bname@example.org"]
                assert client.rcpt("user@post.example", asked)[0] == 250
                assert client.data(b"From: app@example.com\r\nSubject: x\r\n\r\nhello\r\n")[0] == 250
            eventually(
                lambda: [
                    data
                    for sender, to, data in receiver.messages
                    if sender == "" and to == ["app@example.com"]
                    and b"Original-Envelope-Id: to-postfix" in data
                    and b"Original-Recipient: rfc822;first+name@example.org" in data
                ],
                60,
                "the report of Postfix",
            )  # fmt: skip
