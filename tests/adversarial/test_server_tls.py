"""Section B: STARTTLS and TLS as a server, on the whole product."""

import contextlib
import re
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from tests.adversarial.wire import Wire, message, open_listener, settled, trusting, with_mark
from tests.product import eventually


def lenient(version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    if version:
        context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.req("SMTP-006")
@pytest.mark.parametrize("kind", ["submission", "mx"])
def test_what_is_glued_behind_starttls_is_dropped(kind, product, receiver):
    """B02: a whole transaction in clear behind STARTTLS has no effect inside TLS, and is never delivered."""
    port = product.port if kind == "submission" else product.mx_port
    client = Wire(port, context=trusting(product))
    client.say("EHLO x")
    client.send(
        b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<app@example.com>\r\nRCPT TO:<postmaster>\r\nDATA\r\n"
        + message("glued")
        + b".\r\n"
    )
    assert client.reply() == "220 Ready to start TLS"
    assert client.buffer == b""
    client.socket = client.context.wrap_socket(client.socket, server_hostname="localhost")
    assert client.silent()
    assert client.say("RCPT TO:<postmaster>") == "503 Bad sequence of commands"
    assert client.say("DATA") == "503 Bad sequence of commands"
    settled(product)
    assert with_mark(receiver.messages, "glued") == []


@pytest.mark.req("SMTP-006")
def test_tls_forgets_the_transaction_before_it(product):
    """B03, on the listener that takes MAIL in clear."""
    client = Wire(product.mx_port, context=trusting(product))
    client.say("EHLO x")
    assert client.say("MAIL FROM:<a@remote.example>") == "250 Ok"
    assert client.say("RCPT TO:<postmaster>") == "250 Ok"
    client.starttls()
    assert client.say("DATA") == "503 Bad sequence of commands"
    client.say("EHLO x")
    assert client.say("RCPT TO:<postmaster>") == "503 Bad sequence of commands"


@pytest.mark.parametrize("kind", ["submission", "implicit", "mx"])
def test_tls_inside_tls_is_refused_and_not_offered(kind, product):
    """B04, B05."""
    client = open_listener(product, kind)
    if kind == "mx":
        assert client.say("STARTTLS now")[:3] == "501"
        client.starttls()
    client.send(b"EHLO x\r\n")
    lines = [client.line()]
    while lines[-1][3] == "-":
        lines.append(client.line())
    assert not [line for line in lines if "STARTTLS" in line]
    assert client.say("STARTTLS")[:3] == "503"
    assert client.say("STARTTLS now")[:3] == "501"


@pytest.mark.req("TLS-002")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused_on_every_listener(version, product):
    """B07."""
    with pytest.warns(DeprecationWarning, match="is deprecated"):
        context = lenient(version)
    for kind in ("submission", "implicit", "mx"):
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(product, kind)), 10))
            if kind != "implicit":
                raw.sendall(b"EHLO x\r\nSTARTTLS\r\n")
                data = b""
                while not data.endswith(b"220 Ready to start TLS\r\n"):
                    data += raw.recv(4096)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                context.wrap_socket(raw)


def port_of(product, kind):
    return {"submission": product.port, "implicit": product.implicit_port, "mx": product.mx_port}[kind]


@pytest.mark.req("TLS-002")
def test_every_suite_it_takes_gives_forward_secrecy(product):
    """B16: each suite that OpenSSL knows below TLS 1.3 is tried alone."""
    names = [c["name"] for c in lenient().get_ciphers() if c["protocol"] != "TLSv1.3"]
    taken = []
    for name in names:
        context = lenient(ssl.TLSVersion.TLSv1_2)
        try:
            context.set_ciphers(f"{name}:@SECLEVEL=0")
        except ssl.SSLError:
            continue
        raw = socket.create_connection(("127.0.0.1", product.implicit_port), 10)
        with raw, contextlib.suppress(ssl.SSLError, ConnectionError), context.wrap_socket(raw) as secure:
            taken.append(secure.cipher()[0])
    assert len(names) > 50
    assert taken
    assert all(name.startswith(("ECDHE-", "DHE-")) and ("GCM" in name or "CHACHA20" in name) for name in taken)


def test_plain_text_instead_of_a_hello_gets_no_plain_reply(product):
    """B08."""
    for kind in ("submission", "implicit"):
        client = Wire(port_of(product, kind), greeted=False)
        if kind == "submission":
            client.reply()
            client.say("EHLO x")
            assert client.say("STARTTLS")[:3] == "220"
        client.send(b"EHLO again\r\nMAIL FROM:<app@example.com>\r\nQUIT\r\n")
        answer = client.rest()
        assert b"250" not in answer
        assert b"ESMTP" not in answer


@pytest.mark.parametrize("kind", ["submission", "implicit"])
def test_a_cut_connection_relays_nothing(kind, product, receiver):
    """B12: the end of TCP in the middle of data is no end of data, with the dot half there or no close_notify."""
    for tail in (b"half", b"half\r\n.", b"half\r\n.\r"):
        client = open_listener(product, kind)
        client.say("MAIL FROM:<app@example.com>")
        client.say("RCPT TO:<user@remote.example>")
        client.say("DATA")
        client.send(message("truncated", tail))
        raw = socket.socket(fileno=client.socket.detach())
        raw.shutdown(socket.SHUT_WR)
        raw.close()
    settled(product)
    assert open_listener(product, kind).transaction(message(f"after-cut-{kind}"))[:3] == "250"
    settled(product)
    assert with_mark(receiver.messages, "truncated") == []
    assert len(with_mark(receiver.messages, f"after-cut-{kind}")) == 1


def hello_with_name(name):
    """Return a ClientHello whose server name is these octets, legal or not."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wanted = "n" * min(len(name), 60)
    channel = lenient().wrap_bio(incoming, outgoing, server_hostname=wanted)
    with contextlib.suppress(ssl.SSLWantReadError):
        channel.do_handshake()
    return outgoing.read().replace(wanted.encode(), name[:60])


@pytest.mark.parametrize("name", [b"\0\0\0", b"..", b"a\r\nb", b"\xff\xfe\xfd", b"-", b"127.0.0.1", b"x" * 60])
def test_odd_server_names_never_break_the_listener(name, product):
    """B13."""
    with Wire(product.implicit_port, greeted=False) as client:
        client.send(hello_with_name(name))
        client.socket.settimeout(10)
        assert client.socket.recv(1) in {b"\x16", b"\x15"}  # handshake goes on, or an alert
    assert open_listener(product, "implicit").say("NOOP") == "250 Ok"


def test_a_name_of_255_octets_gets_the_default_certificate(product):
    name = ".".join(["n" * 63] * 3) + "." + "n" * 61
    raw = socket.create_connection(("127.0.0.1", product.implicit_port), 10)
    with raw, lenient().wrap_socket(raw, server_hostname=name) as secure:
        assert secure.recv(4) == b"220 "


def test_renegotiation_is_refused_at_once(product):
    """B10: the client gets its alert now, not with our next reply."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{product.implicit_port}", "-tls1_2"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    stop = threading.Timer(20, process.kill)
    stop.start()
    output = b""
    while b"220 relay.example" not in output:
        part = process.stdout.read1(4096)
        assert part, output
        output += part
    process.stdin.write(b"R\n")
    process.stdin.flush()
    rest = process.stdout.read()
    stop.cancel()
    process.stdin.close()
    process.stdout.close()
    assert process.wait(20) > 0
    assert b"no renegotiation" in rest
    assert not re.search(rb"^250[ -]", rest, re.MULTILINE)  # a reply, not a digit of an address that openssl prints


def test_a_new_certificate_drops_none_of_fifty_sessions(product, receiver):
    """B15: sessions at rest, in a transaction and within data all go on; new ones see the new certificate."""
    sessions = [open_listener(product, "implicit") for _ in range(50)]
    for client in sessions[:20]:
        assert client.say("MAIL FROM:<app@example.com>") == "250 Ok"
        assert client.say("RCPT TO:<user@remote.example>") == "250 Ok"
    for client in sessions[:10]:
        assert client.say("DATA")[:3] == "354"
        client.send(message("reload-50", b"first half\r\n"))
    before = sessions[0].socket.getpeercert(binary_form=True)
    key = product.directory / product.values.get("tls", {}).get("key", "tls/key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
        "3",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", f"{key}.new", "-out", f"{product.certificate}.new"],
        check=True, capture_output=True,
    )  # fmt: skip
    key.with_name(key.name + ".new").replace(key)
    product.certificate.with_name(product.certificate.name + ".new").replace(product.certificate)
    product.process.send_signal(signal.SIGHUP)

    def replaced():
        raw = socket.create_connection(("127.0.0.1", product.implicit_port), 10)
        with raw, lenient().wrap_socket(raw) as secure:
            return secure.getpeercert(binary_form=True) != before

    eventually(replaced)
    for client in sessions[:10]:
        client.send(b"second half\r\n.\r\n")
        assert client.reply()[:3] == "250"
    for client in sessions[10:20]:
        assert client.say("DATA")[:3] == "354"
        client.send(message("reload-50") + b".\r\n")
        assert client.reply()[:3] == "250"
    for client in sessions[20:]:
        assert client.transaction(message("reload-50"))[:3] == "250"
        assert client.socket.getpeercert(binary_form=True) == before
    settled(product)
    assert len(with_mark(receiver.messages, "reload-50")) == 50
