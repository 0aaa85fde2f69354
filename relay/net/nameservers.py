"""The name servers that are asked: which, in which order, and what of them is no answer.

Servers are asked in the order of the configuration; one that has not answered three questions in a row, or cannot be
reached, comes last for half a minute, then one question tries it again. Without any in the configuration they are
those of resolv.conf(5), which is read again within ten seconds of a change; while it cannot be read or names none,
the last ones stay.

An answer that is lame (a referral instead of an answer) or about other names is none: the next server is asked, and
when there is no other, nothing is known. It never means that a name has no records.
"""

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.nameserver
import dns.rcode
import dns.rdatatype

from relay.net.resolver_wire import trimmed
from relay.ports import Clock

SERVERS_MAX = 16
UNANSWERED_MAX = 3
LAST_SECONDS = 30.0
CONF_SECONDS = 10.0
CONF_BYTES_MAX = 64 * 1024
PORT = 53
_LOCAL = ("127.0.0.1",)  # resolv.conf(5): without a name server, this machine
_BESIDE_ANSWERS = frozenset({dns.rdatatype.CNAME, dns.rdatatype.DNAME, dns.rdatatype.RRSIG})


class NoAnswerError(dns.exception.FormError):
    """A server sent something that does not answer the question; dnspython asks the next one then."""


class NameServers:
    """Keeps the order of name servers. Lives on one event loop."""

    def __init__(self, configured: Sequence[str], resolv_conf: str, clock: Clock) -> None:
        self._clock = clock
        self._conf = None if configured else Path(resolv_conf)
        self._conf_seen: tuple[int, int, int] | None = None
        self._look_at = 0.0
        self._servers = [self._server(text) for text in configured or _LOCAL]

    @property
    def addresses(self) -> Sequence[str]:
        """The addresses of the servers, as they are now."""
        return [server.address for server in self._servers]

    def in_order(self) -> list["Server"]:
        """Return the servers in the order in which they are to be asked now."""
        now = self._clock.monotonic()
        if self._conf is not None and now >= self._look_at:
            self._look_at = now + CONF_SECONDS
            self._read(self._conf)
        if len(self._servers) > 1:
            return sorted(self._servers, key=lambda server: server.comes_last(now))
        return self._servers

    def _read(self, conf: Path) -> None:
        try:
            status = conf.stat()
            seen = status.st_mtime_ns, status.st_ino, status.st_size
            if seen == self._conf_seen:
                return
            with conf.open("rb") as file:
                text = file.read(CONF_BYTES_MAX).decode("utf-8", "replace")
        except OSError:
            return
        self._conf_seen = seen
        found = named_in(text)
        if found and found != self.addresses:
            self._servers = [self._server(address) for address in found]

    def _server(self, text: str) -> "Server":
        host, _, port = text.rpartition(":") if text.startswith("[") or text.count(":") == 1 else (text, "", "")
        return Server(host.strip("[]"), int(port or PORT), self._clock)


def named_in(resolv_conf: str) -> list[str]:
    """Return the addresses of the name servers that a resolv.conf(5) names."""
    found: list[str] = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            with contextlib.suppress(ValueError):
                ipaddress.ip_address(words[1])
                found.append(words[1])
    return found[:SERVERS_MAX]


class Server(dns.nameserver.Do53Nameserver):
    """One name server, asked over UDP, and over TCP for what is longer."""

    def __init__(self, address: str, port: int, clock: Clock) -> None:
        super().__init__(address, port)
        self._clock = clock
        self._unanswered = 0
        self._last_until = 0.0

    def comes_last(self, now: float) -> bool:
        """Say whether others are to be asked first. When its time is over, one caller gets it as before."""
        if self._unanswered < UNANSWERED_MAX:
            return False
        if now < self._last_until:
            return True
        self._last_until = now + LAST_SECONDS
        return False

    async def async_query(  # noqa: PLR0917 - as dnspython calls it
        self,
        request: dns.message.QueryMessage,
        timeout: float,  # noqa: ASYNC109 - as dnspython calls it
        source: str | None,
        source_port: int,
        max_size: bool,  # noqa: FBT001 - as dnspython calls it
        backend: Any,
        one_rr_per_rrset: bool = False,  # noqa: FBT001, FBT002
        ignore_trailing: bool = False,  # noqa: FBT001, FBT002
    ) -> dns.message.Message:
        """Ask once. Raise what dnspython expects: Timeout, Truncated, FormError, OSError, EOFError."""
        del source, source_port, one_rr_per_rrset, ignore_trailing
        try:
            if max_size:
                answer = await self._by_tcp(request, timeout)
            else:
                answer = await self._by_udp(request, timeout, backend)
        except dns.message.Truncated:
            self._unanswered = 0
            raise
        except dns.exception.Timeout:
            self._failed(1)
            raise
        except (OSError, EOFError):
            self._failed(UNANSWERED_MAX)
            raise
        self._unanswered = 0
        check(answer)
        return answer

    def _failed(self, weight: int) -> None:
        self._unanswered += weight
        if self._unanswered >= UNANSWERED_MAX:
            self._last_until = self._clock.monotonic() + LAST_SECONDS

    async def _by_udp(
        self, request: dns.message.QueryMessage, timeout_seconds: float, backend: Any
    ) -> dns.message.Message:
        family = dns.inet.af_for_address(self.address)
        async with await backend.make_socket(family, socket.SOCK_DGRAM, 0) as own:
            return await dns.asyncquery.udp(
                request,
                self.address,
                timeout=timeout_seconds,
                port=self.port,
                raise_on_truncation=True,
                sock=cast("Any", _Trimming(own)),
                ignore_errors=True,
                ignore_unexpected=True,
            )

    async def _by_tcp(self, request: dns.message.QueryMessage, timeout_seconds: float) -> dns.message.Message:
        try:
            async with asyncio.timeout(timeout_seconds):
                wire = await self._exchange(request.to_wire())
        except TimeoutError:
            raise dns.exception.Timeout from None
        answer = dns.message.from_wire(trimmed(wire))
        if not request.is_response(answer):
            raise NoAnswerError
        return answer

    async def _exchange(self, wire: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self.address, self.port)
        try:
            writer.write(struct.pack("!H", len(wire)) + wire)
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(size)
        finally:
            writer.close()


class _Trimming:
    """A socket of dnspython's whose datagrams are trimmed before they are parsed."""

    def __init__(self, inner: Any) -> None:
        self.family = inner.family
        self._inner = inner

    async def sendto(self, what: bytes, destination: Any, timeout: float | None) -> Any:  # noqa: ASYNC109
        return await self._inner.sendto(what, destination, timeout)

    async def recvfrom(self, size: int, timeout: float | None) -> tuple[bytes, Any]:  # noqa: ASYNC109
        wire, sender = await self._inner.recvfrom(size, timeout)
        return trimmed(wire), sender


def check(answer: dns.message.Message) -> None:
    """Raise NoAnswerError for what claims to be an answer and is none."""
    if answer.rcode() != dns.rcode.NOERROR:
        return
    if not answer.answer:
        kinds = {rrset.rdtype for rrset in answer.authority}
        if dns.rdatatype.NS in kinds and dns.rdatatype.SOA not in kinds:  # RFC 2308 section 2.2
            raise NoAnswerError
        return
    assert isinstance(answer, dns.message.QueryMessage)
    if answer.resolve_chaining().answer is None and any(
        rrset.rdtype not in _BESIDE_ANSWERS for rrset in answer.answer
    ):
        raise NoAnswerError
