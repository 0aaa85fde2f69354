"""Connections to other hosts, and what is called when something happens on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.model.content import Content
from relay.model.dialogue import TlsFacts


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How to connect. `server_name` goes into the TLS handshake, "" for none.

    `tls_verified` refuses a certificate that is not for `server_name` or not trusted. `tls_minimum` is the oldest
    version of TLS that is spoken ("1.0" to "1.3"). `judge_chain` is given the certificates of the handshake (DER, the
    host's own first) and says why they are refused, "" when they are not. `on_gone`
    is called once when a connection that was opened is closed on both sides, however it ended.
    """

    connect_timeout_seconds: float
    source_address: str = ""
    server_name: str = ""
    tls_verified: bool = False
    tls_minimum: str = "1.0"
    judge_chain: Callable[[Sequence[bytes]], str] | None = None
    on_gone: Callable[[], None] | None = None


SOURCE_GONE = "the source address is not of this host"


class LinkUser(Protocol):
    """Whoever asked for a connection. After `link_failed` or `link_lost` nothing more is called."""

    def link_opened(self, link: "Link") -> None:
        """The connection is made."""
        ...

    def link_failed(self, text: str) -> None:
        """It could not be made; the text is SOURCE_GONE when the host does not have the address to connect from."""
        ...

    def link_data(self, data: bytes) -> None:
        """Bytes came, decrypted where TLS is on."""
        ...

    def link_tls_started(self, version: str) -> None:
        """The handshake is done; bytes that came in clear before it were dropped."""
        ...

    def link_tls_failed(self, text: str) -> None:
        """The handshake failed; the link is of no more use."""
        ...

    def link_progress(self) -> None:
        """A part of a streamed message was taken by the network."""
        ...

    def link_content_written(self) -> None:
        """A streamed message was handed to the network whole, with its final dot."""
        ...

    def link_content_failed(self, text: str) -> None:
        """A streamed message could not be read whole; its final dot was not written."""
        ...

    def link_lost(self, text: str) -> None:
        """The connection is gone."""
        ...


class Link(Protocol):
    """An open connection. None of its methods call back before they return."""

    @property
    def source_address(self) -> str:
        """The address it was made from."""
        ...

    def tls_facts(self) -> TlsFacts | None:
        """Return how it is encrypted, None while it is not; costs what reading a certificate costs."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def write_content(self, content: Content) -> None:
        """Stream a message as SMTP data, dot-stuffed and with its final dot, never whole in memory."""
        ...

    def start_tls(self) -> None:
        """Begin a TLS handshake."""
        ...

    def close(self) -> None:
        """Send what was written, then close."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...

    def unsent(self) -> bool:
        """Say whether something that was written cannot have reached the remote yet."""
        ...


class Connector(Protocol):
    """Makes connections. Calls back from the event loop, never from inside `connect`."""

    def connect(self, address: str, port: int, options: LinkOptions, user: LinkUser) -> Callable[[], None]:
        """Begin to connect to an IP address; return what cancels it (after which nothing is called back)."""
        ...
