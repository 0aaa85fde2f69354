"""Certificates for tests: an authority, the leaves it issues, and servers that show them."""

import datetime as dt
import hashlib
import http.server
import ssl
import threading
import warnings

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM


class Certificate:
    """A certificate with its key; `issuer` None: it signs itself."""

    def __init__(self, names, issuer=None, *, expired=False, authority=False, common_name="", days=30):
        self.key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or (names or ["test"])[0])])
        end = now - dt.timedelta(days=1) if expired else now + dt.timedelta(days=days)
        key_id = x509.SubjectKeyIdentifier.from_public_key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=30))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(key_id(self.key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer or self).key.public_key()), critical=False
            )
            .add_extension(x509.KeyUsage(True, False, False, False, False, authority, authority, False, False), True)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
        self.issuer = issuer
        self.certificate = builder.sign((issuer or self).key, hashes.SHA256())

    @property
    def der(self):
        return self.certificate.public_bytes(DER)

    @property
    def spki(self):
        return self.key.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    def tlsa(self, usage=3, selector=1, matching=1):
        """Return the presentation form of a TLSA record that fits this certificate."""
        data = self.spki if selector else self.der
        digest = {0: bytes, 1: lambda d: hashlib.sha256(d).digest(), 2: lambda d: hashlib.sha512(d).digest()}[
            matching
        ]
        return f"{usage} {selector} {matching} {digest(data).hex()}"

    def pem(self):
        return self.certificate.public_bytes(PEM)

    def key_pem(self):
        return self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def save(self, path):
        """Write the certificate, its issuers and the key into one file; return its path."""
        chain, one = self.pem(), self.issuer
        while one is not None:
            chain, one = chain + one.pem(), one.issuer
        path.write_bytes(chain + self.key_pem())
        return path


def authority(name="Test Authority"):
    """Return an authority of its own."""
    return Certificate([], authority=True, common_name=name)


def server_context(certificate, directory, seen=None, maximum=None):
    """Return what a server shows a certificate with; names that clients ask for are put into `seen`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.save(directory / f"{certificate.certificate.serial_number:x}.pem"))
    if maximum is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = maximum
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if seen is not None:
        context.sni_callback = lambda _socket, name, _context: seen.append(name)
    return context


class WebServer:
    """An HTTPS server in a thread. `answers` maps a host name to (status, headers, body) or a function that answers.

    `requests` are (host, method, path, headers, body). `certificates` maps host names to contexts by SNI.
    """

    def __init__(self, context, answers, contexts=None):
        self.answers = answers
        self.requests = []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                host = self.headers["Host"]
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                owner.requests.append((host, self.command, self.path, dict(self.headers), body))
                answer = owner.answers.get(host)
                if callable(answer):
                    answer(self)
                    return
                status, headers, text = answer or (404, {}, b"")
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_GET  # noqa: N815 - the library's name

            def log_message(self, *_):
                pass

        def choose(connection, name, _context):
            if name in (contexts or {}):
                connection.context = contexts[name]

        context.sni_callback = choose
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)
