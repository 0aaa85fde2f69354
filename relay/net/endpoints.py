"""Posts to endpoints that strangers name, over connections that are kept (port `Poster`; TOPIC-131, 139, 140).

Promises, for each post: the host is looked up here, every address is judged, and the connection goes to the very
address that was judged; a certificate must be trusted and for the host's name, which is in the handshake; redirects
are not followed; no cookie, proxy or environment variable counts; the whole takes at most `SECONDS_MAX`, however
the other side drips; of an answer only the status is taken, also when the rest of it never comes. User and password
leave only after a challenge of that endpoint, and are in no error.

Connections are kept for one scheme, host, port and address; never for another host at the same address, since the
certificate was checked for one name. A host is looked up and judged again every `PIN_SECONDS`.
"""

import asyncio
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from relay.net import client_tls
from relay.net.kept_connection import Answer, BrokenError, KeptConnection
from relay.net.web import ADDRESSES_TRIED_MAX, digest_answer
from relay.policy.endpoint import WebEndpoint, parse_web_endpoint
from relay.ports import Resolver, ResolverError
from relay.ports.topics import Posted

SECONDS_MAX: Final = 15.0  # TOPIC-131
PIN_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 30.0
REQUESTS_MAX: Final = 1000  # over one connection
PLACES_MAX: Final = 1000
KEPT_MAX: Final = 16  # idle connections to one place
KEPT_ALL_MAX: Final = 256
UNAUTHORIZED: Final = 401
LOOPBACK_NAMES: Final = ("localhost", ".localhost")

_Key = tuple[str, str, int]


@dataclass(slots=True)
class _Place:
    """One scheme, host and port: the addresses that were judged, good until `until`, and idle connections."""

    addresses: Sequence[str]
    until: float
    used: float
    idle: list[tuple[str, KeptConnection]] = field(default_factory=list)
    challenges: dict[str, str] = field(default_factory=dict)  # by path and login


class _RefusedError(Exception):
    """Why an endpoint is not connected to; never leaves this module."""

    def __init__(self, text: str, *, forbidden: bool = False) -> None:
        super().__init__(text)
        self.forbidden = forbidden


class Endpoints:
    """Posts. `judge` says why an address must not be connected to, "" when it may be."""

    def __init__(
        self,
        resolver: Resolver,
        judge: Callable[[str], str],
        *,
        ports: Collection[int],
        trusted: Callable[[str], bool],
        ca_file: str = "",
        seconds_max: float = SECONDS_MAX,
    ) -> None:
        """Prepare. `ports` are those that strangers may name; an address that is `trusted` has no such limit."""
        self._resolver = resolver
        self._judge = judge
        self._ports = frozenset(ports)
        self._trusted = trusted
        self._ca_file = ca_file
        self._seconds_max = seconds_max
        self._context: ssl.SSLContext | None = None
        self._places: dict[_Key, _Place] = {}
        self._idle = 0

    async def post(self, endpoint: str, login: str, headers: Mapping[str, str], body: bytes) -> Posted:
        """Post a body once."""
        target = parse_web_endpoint(endpoint, endpoint.partition(":")[0])
        if isinstance(target, str):
            return Posted(0, target, forbidden=True)
        try:
            async with asyncio.timeout(self._seconds_max):
                return Posted((await self._post(target, login, headers, body)).status)
        except TimeoutError:
            return Posted(0, f"took longer than {self._seconds_max:g} s")
        except _RefusedError as refusal:
            return Posted(0, str(refusal), forbidden=refusal.forbidden)
        except BrokenError as error:
            return Posted(0, str(error))
        except OSError as error:
            return Posted(0, _fault(error))

    def close(self) -> None:
        """Close all idle connections."""
        for place in self._places.values():
            self._close_idle(place)
        self._places.clear()

    # --- one post ----------------------------------------------------------------------------------------------

    async def _post(self, target: WebEndpoint, login: str, headers: Mapping[str, str], body: bytes) -> Answer:
        place = await self._place(target)
        sent = {"Host": target.authority, **headers}
        key = f"{target.target}\0{login}"
        known = place.challenges.get(key, "") if login else ""
        answer = await self._exchange(place, target, _authorized(sent, known, login, target), body)
        if answer.status != UNAUTHORIZED or not login:
            return answer
        challenge = next((one for one in answer.challenges if _scheme(one) in {"basic", "digest"}), "")
        if not challenge or (known and _scheme(challenge) == "basic"):
            return answer
        place.challenges[key] = challenge  # a digest is good for one nonce, and asked for anew with the next
        return await self._exchange(place, target, _authorized(sent, challenge, login, target), body)

    async def _exchange(self, place: _Place, target: WebEndpoint, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post over a kept connection or a new one; what a kept one did not answer at all is posted again."""
        while True:
            address, connection = await self._connection(place, target)
            reused = connection.requests > 0
            try:
                answer = await connection.post(target.target, headers, body)
            except BrokenError as error:
                connection.close()
                if reused and error.silent:
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            self._keep(place, address, connection)
            return answer

    async def _connection(self, place: _Place, target: WebEndpoint) -> tuple[str, KeptConnection]:
        now = time.monotonic()
        while place.idle:
            address, connection = place.idle.pop()
            self._idle -= 1
            if connection.fit and connection.used + IDLE_SECONDS > now and address in place.addresses:
                return address, connection
            connection.close()
        context = await self._tls() if target.scheme == "https" else None
        for address in place.addresses[:-1]:
            try:
                async with asyncio.timeout(self._seconds_max / (2 * len(place.addresses))):
                    return address, await KeptConnection.open(address, target.port, target.host, context)
            except ssl.SSLError:
                raise
            except (OSError, TimeoutError):
                continue
        address = place.addresses[-1]
        return address, await KeptConnection.open(address, target.port, target.host, context)

    def _keep(self, place: _Place, address: str, connection: KeptConnection) -> None:
        place.used = connection.used = time.monotonic()
        room = len(place.idle) < KEPT_MAX and self._idle < KEPT_ALL_MAX
        if room and connection.fit and connection.requests < REQUESTS_MAX and place in self._places.values():
            place.idle.append((address, connection))
            self._idle += 1
        else:
            connection.close()

    async def _tls(self) -> ssl.SSLContext:
        if self._context is None:  # reads the list of authorities
            self._context = await asyncio.to_thread(client_tls.trusting_also, self._ca_file)
        return self._context

    # --- places ------------------------------------------------------------------------------------------------

    async def _place(self, target: WebEndpoint) -> _Place:
        """Return a place whose addresses were judged lately."""
        now = time.monotonic()
        key = (target.scheme, target.host, target.port)
        found = self._places.get(key)
        if found is not None and found.until > now:
            return found
        addresses = await self._addresses(target)
        found = self._places.get(key)  # somebody else may have looked meanwhile
        if found is None:
            self._make_room(now)
            found = self._places[key] = _Place(addresses, 0.0, now)
        found.addresses, found.until = addresses, now + PIN_SECONDS
        return found

    async def _addresses(self, target: WebEndpoint) -> Sequence[str]:
        """Return the addresses of a host that may be connected to."""
        if target.address:
            found = [target.address]
        elif target.host == LOOPBACK_NAMES[0] or target.host.endswith(LOOPBACK_NAMES[1]):
            found = ["127.0.0.1"]  # RFC 6761 section 6.3
        else:
            found = await self._looked_up(target.host)
        allowed = [address for address in found if not self._judge(address)]
        if not allowed:
            raise _RefusedError("its address must not be connected to", forbidden=True)
        if target.port not in self._ports:
            allowed = [address for address in allowed if self._trusted(address)]
            if not allowed:
                raise _RefusedError(f"port {target.port} must not be connected to", forbidden=True)
        return allowed[:ADDRESSES_TRIED_MAX]

    async def _looked_up(self, host: str) -> list[str]:
        try:
            found = await self._resolver.addresses(host)
        except ResolverError as error:
            found = error.found  # of one family, where the other was not answered
            if not found:
                raise _RefusedError("its host cannot be looked up") from None
        if not found:
            raise _RefusedError("its host has no address")
        return list(found)

    def _make_room(self, now: float) -> None:
        """Drop places that were not used for a while, then the one that was not used for longest."""
        for key in [key for key, place in self._places.items() if place.used + 2 * PIN_SECONDS < now]:
            self._close_idle(self._places.pop(key))
        while len(self._places) >= PLACES_MAX:
            longest = min(self._places, key=lambda key: self._places[key].used)
            self._close_idle(self._places.pop(longest))

    def _close_idle(self, place: _Place) -> None:
        self._idle -= len(place.idle)
        for _, connection in place.idle:
            connection.close()
        place.idle.clear()


def _scheme(challenge: str) -> str:
    return challenge.partition(" ")[0].lower()


def _authorized(headers: Mapping[str, str], challenge: str, login: str, target: WebEndpoint) -> Mapping[str, str]:
    """Return headers that answer a challenge, "" for none (RFC 7617, RFC 7616)."""
    if not challenge:
        return headers
    if _scheme(challenge) == "basic":
        return {**headers, "Authorization": "Basic " + b64encode(login.encode()).decode()}
    answer = digest_answer(str(target), challenge, login)
    return {**headers, "Authorization": answer} if answer else headers


def _fault(error: OSError) -> str:
    """Return what went wrong, without anything that the other side wrote."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "its TLS failed"
    return f"it cannot be connected to ({error.strerror or type(error).__name__})"
