"""Making outgoing connections (relay.ports.Connector); what one is once it is made is `link`'s.

Promises: each is told of once, as opened or as failed, whatever goes wrong; no task for a connection but while it is
being made.
"""

import asyncio
import errno
import ssl
from collections.abc import Callable

from relay.net import client_tls
from relay.net.link import TcpLink
from relay.net.reason import reason
from relay.ports import SOURCE_GONE, LinkOptions, LinkUser


class TcpConnector:
    """Implements relay.ports.Connector."""

    def __init__(self, *, ca_file: str = "") -> None:
        self._ca_file = ca_file
        self._verified: dict[str, ssl.SSLContext] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._context(LinkOptions(0, tls_verified=True, tls_minimum="1.2"))  # a bad file is told at the start

    def connect(self, address: str, port: int, options: LinkOptions, user: LinkUser) -> Callable[[], None]:
        """Begin to connect to an IP address."""
        link = TcpLink(user, self._context(options), options.server_name, options.judge_chain, options.on_gone)
        task = asyncio.get_running_loop().create_task(_connect(link, address, port, options, user))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def cancel() -> None:
            link.silence()
            task.cancel()

        return cancel

    def trust(self, ca_file: str) -> None:
        """Trust another list of authorities from now on; "" for the system's."""
        verified = {"1.2": client_tls.verified(ca_file)}
        self._ca_file, self._verified = ca_file, verified

    def _context(self, options: LinkOptions) -> ssl.SSLContext:
        if not options.tls_verified:
            return client_tls.opportunistic(options.tls_minimum)
        context = self._verified.get(options.tls_minimum)
        if context is None:
            context = client_tls.verified(self._ca_file, options.tls_minimum)
            self._verified[options.tls_minimum] = context
        return context


async def _connect(link: TcpLink, address: str, port: int, options: LinkOptions, user: LinkUser) -> None:
    local = (options.source_address, 0) if options.source_address else None
    try:
        async with asyncio.timeout(options.connect_timeout_seconds):
            await asyncio.get_running_loop().create_connection(lambda: link, address, port, local_addr=local)
    except TimeoutError:
        link.silence()
        user.link_failed(f"no answer in {options.connect_timeout_seconds:g} s")
    except OSError as error:
        link.silence()
        gone = options.source_address and error.errno == errno.EADDRNOTAVAIL
        user.link_failed(SOURCE_GONE if gone else reason(error))
    except Exception as error:  # noqa: BLE001 - whoever waits for a connection has no time-out of its own
        link.silence()
        user.link_failed(reason(error))
