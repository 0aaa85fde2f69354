"""TLS of a link over memory buffers: bytes in, bytes out, no sockets.

asyncio's own upgrade loses bytes that arrive around it; here every byte passes in order, and what came in clear
before the handshake is dropped by whoever asked for it.
"""

import contextlib
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from relay.model.dialogue import TlsFacts
from relay.net import client_tls
from relay.net.reason import reason
from relay.signing.certificate import names_of

_READ_BYTES = 64 * 1024
_RECORD_BYTES = 16 * 1024
_HANDSHAKE_BYTES_MAX = 256 * 1024
JudgeChain = Callable[[Sequence[bytes]], str]
CLOSED: Final = "closed by the remote"


class TlsLayer:
    """One client side of TLS. Raises ssl.SSLError or ValueError where a name cannot be used.

    `shaking` until the handshake is over; then `version`, and `failure` says why it is of no use, "" when it is.
    """

    __slots__ = (
        "_cipher",
        "_context",
        "_judge_chain",
        "_tls",
        "agreed",
        "certificate",
        "failure",
        "incoming",
        "outgoing",
        "shaking",
        "version",
    )

    def __init__(self, context: ssl.SSLContext, server_name: str, judge_chain: JudgeChain | None) -> None:
        name = server_name if _is_name(server_name) or context.check_hostname else None
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self._context = context
        self._judge_chain = judge_chain
        self._cipher = ""
        self.agreed = False
        self.certificate = b""
        self.failure = ""
        self.shaking = True
        self.version = ""

    def shake(self) -> None:
        """Go on with the handshake."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            if self.incoming.pending > _HANDSHAKE_BYTES_MAX:
                self._fail("handshake too long")
            return
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._fail(reason(error))
            return
        self.shaking = False
        self.agreed = True
        cipher = self._tls.cipher()  # kept: a connection that was closed does not know any more
        self._cipher = cipher[0] if cipher else ""
        self.certificate = self._tls.getpeercert(binary_form=True) or b""
        self.version = self._tls.version() or "TLS"
        if self._judge_chain is not None:
            self.failure = self._judge_chain(client_tls.chain(self._tls))

    def _fail(self, text: str) -> None:
        self.shaking = False
        self.failure = text

    def encrypted(self, data: bytes) -> bytes:
        """Return what leaves for some bytes. Raise ssl.SSLError."""
        self._tls.write(data)
        return self.outgoing.read()

    def read(self) -> bytes:
        """Return some of what came, b"" at the end. Raise ssl.SSLWantReadError when there is no more, or SSLError."""
        return self._tls.read(_READ_BYTES)

    def more_after(self, data: bytes) -> bool:
        """Say whether there can be more to read behind what was just read."""
        return bool(self.incoming.pending or len(data) >= _RECORD_BYTES or self._tls.pending())

    def closing(self) -> bytes:
        """Return what says that this was all; the remote's own close_notify is not waited for."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self.outgoing.read()

    def facts(self) -> TlsFacts:
        """Return what was agreed on."""
        subject, issuer = names_of(self.certificate)
        return TlsFacts(self.version, self._cipher, subject, issuer, self._context.verify_mode is ssl.CERT_REQUIRED)


def _is_name(host: str) -> bool:
    """Say whether a host may stand in the server name extension: names only (RFC 6066 section 3)."""
    return bool(host) and ":" not in host and not host.replace(".", "").isdigit()
