"""What carries the octets of a connection: its transport, and TLS in between once it was begun."""

import asyncio
import ssl

from relay.smtpd.tls import TlsChannel


class Wire:
    """One a connection. Inside TLS everything may raise ssl.SSLError; then only `send_pending` and `end` are left."""

    __slots__ = ("_transport", "tls")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.tls: TlsChannel | None = None

    def begin_tls(self, context: ssl.SSLContext) -> None:
        """Take everything that follows as TLS."""
        self.tls = TlsChannel(context)

    def shakes_hands(self, tls: TlsChannel, data: bytes) -> bool:
        """Go on with the handshake; True once it is done."""
        tls.feed(data)
        self._transport.write(tls.take())
        return tls.established

    def decrypted(self, tls: TlsChannel, data: bytes) -> bytes:
        """Return the text that is complete."""
        tls.feed(data)
        text = tls.read()
        if tls.has_output:  # an alert to a renegotiation, the answer to a key update
            self._transport.write(tls.take())
        return text

    def write(self, out: bytes) -> None:
        """Send text to the client."""
        if self._transport.is_closing():
            return
        if self.tls is None:
            self._transport.write(out)
            return
        self.tls.write(out)
        self._transport.write(self.tls.take())

    def send_pending(self) -> None:
        """Send what OpenSSL has to say: an alert."""
        if self.tls is not None:
            self._transport.write(self.tls.take())

    def end(self, *, at_once: bool) -> None:
        """Say good-bye on all layers: the client is heard no more (`at_once`), or may still send for a while."""
        if self.tls is not None and self.tls.established:
            self.tls.close()
            self.send_pending()
        if at_once:
            self._transport.close()
        else:
            self._transport.write_eof()
