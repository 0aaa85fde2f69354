"""TLS of the SMTP door, run over memory: the transport stays plain, so no byte is ever lost or misread at STARTTLS.

asyncio's own `start_tls` swaps protocols under a running transport and may drop what a fast client has already
sent. Here the same protocol object hands ciphertext to a `TlsChannel` from the moment 220 was written.
"""

import ssl
from pathlib import Path

from relay.errors import ConfigurationError

_READ_BYTES = 256 * 1024
# Forward secrecy and authenticated encryption only (TLS-002); TLS 1.3 suites all have both.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!eNULL"


def server_context(certificate: Path, key: Path, *, minimum_version: str = "1.2") -> ssl.SSLContext:
    """Return the context of a listener: TLS 1.2 (or 1.3) and up, no renegotiation. Raises ConfigurationError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if minimum_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"Cannot use the certificate {certificate} with the key {key}: {error}") from error
    return context


class ContextHolder:
    """The context that new handshakes use; reload puts another in its place and running sessions keep theirs."""

    __slots__ = ("context",)

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.context = context


class TlsChannel:
    """The server end of one TLS connection: ciphertext in and out through `feed` and `take`, text in between.

    Every method may raise ssl.SSLError: the peer is not speaking TLS, or not ours.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "established", "finished")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        self.finished = False  # the peer said close_notify

    def feed(self, data: bytes) -> None:
        """Take ciphertext from the wire; go on with the handshake while there is one."""
        self._incoming.write(data)
        if self.established:
            return
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.established = True

    def read(self) -> bytes:
        """Return all text that is complete."""
        parts: list[bytes] = []
        while not self.finished:
            try:
                part = self._object.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                part = b""
            if not part:
                self.finished = True
                break
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, text: bytes) -> None:
        """Encrypt text; the ciphertext waits for `take`."""
        self._object.write(text)

    def take(self) -> bytes:
        """Return the ciphertext to be put on the wire."""
        return self._outgoing.read()

    @property
    def has_output(self) -> bool:
        """True when OpenSSL has something to say that nobody asked it to write."""
        return self._outgoing.pending > 0

    def close(self) -> None:
        """Say close_notify; the peer's own is not waited for."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            return

    @property
    def version(self) -> str:
        """Protocol version, for example `TLSv1.3`."""
        return self._object.version() or ""
