"""Listening sockets: opened by the supervisor before it gives up root, and held while children come and go.

Each worker has its own SO_REUSEPORT socket for every address (one shared socket gave one worker nearly all
connections); the office has one. A connection that arrives while its worker is being restarted waits in that
worker's queue. Because SO_REUSEPORT would let a second relay of the same user share a port in silence, every
address is first bound alone.
"""

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.errors import ConfigurationError, RelayError, TemporaryError

BACKLOG = 1024
LISTENERS_MAX = 100
_LOW_PORT_END = 1024
_FREE_PORT_TRIES = 5
OFFICE_KINDS = frozenset({"metrics", "console"})
SERVED_KINDS = frozenset(
    {"submission", "mx", "http", "metrics"}
)  # a port of another kind would take connections for nobody


@dataclass(frozen=True, slots=True)
class Place:
    """Where one listener listens, and whether the office serves it; `port` 0 lets the kernel choose."""

    office: bool
    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


def place_of(kind: str, address: str, port: int) -> Place:
    """Return the place of a configured listener."""
    return Place(kind in OFFICE_KINDS, address, port)


class Wanted(Protocol):
    """What a configured listener says about its place."""

    @property
    def kind(self) -> str:
        """What is served there."""
        ...

    @property
    def address(self) -> str:
        """The address to listen on."""
        ...

    @property
    def port(self) -> int:
        """The port."""
        ...


def places_of(listeners: Iterable[Wanted]) -> list[Place]:
    """Return the places of the configured listeners that this release serves."""
    return [place_of(entry.kind, entry.address, entry.port) for entry in listeners if entry.kind in SERVED_KINDS]


class Listening:
    """Every open listening socket, by place: one for each worker, or one for the office."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._sockets: dict[Place, list[socket.socket]] = {}

    def open(self, wanted: Iterable[Place]) -> list[Place]:
        """Bind what is not bound yet, all or nothing; return what is new. Raise one error that names every fault."""
        places = list(dict.fromkeys(wanted))
        if len(places) > LISTENERS_MAX:
            raise ConfigurationError(f"there are {len(places)} listeners; at most {LISTENERS_MAX} are possible")
        opened: list[Place] = []
        faults: list[RelayError] = []
        for place in places:
            if place in self._sockets:
                continue
            try:
                self._sockets[place] = _bind(place, 1 if place.office else self.workers)
            except OSError as error:
                faults.append(self._explained(place, error))
                continue
            opened.append(place)
        if faults:
            self.close(opened)
            raise _as_one(faults)
        return opened

    def _explained(self, place: Place, error: OSError) -> RelayError:
        for held in self._sockets:
            if error.errno == errno.EADDRINUSE and place.port and _overlap(place, held):
                return ConfigurationError(
                    f"{place} overlaps {held}, which this relay has open; restart it, or reload once without {held}"
                )
        return explain(place, error)

    def places(self) -> set[Place]:
        """Return what is bound."""
        return set(self._sockets)

    def of_worker(self, index: int) -> dict[Place, socket.socket]:
        """Return the sockets of worker `index` (from 1)."""
        return {place: found[index - 1] for place, found in self._sockets.items() if not place.office}

    def of_office(self) -> dict[Place, socket.socket]:
        """Return the sockets of the office."""
        return {place: found[0] for place, found in self._sockets.items() if place.office}

    def bound(self) -> dict[Place, int]:
        """Return the real port of every place."""
        return {place: found[0].getsockname()[1] for place, found in self._sockets.items()}

    def close(self, places: Iterable[Place]) -> None:
        """Close the supervisor's copies of some sockets."""
        for place in list(places):
            for listener in self._sockets.pop(place, []):
                listener.close()

    def close_all_except(self, kept: Iterable[socket.socket]) -> None:
        """Close what a child does not serve (in the child, after the fork)."""
        keep = set(map(id, kept))
        for sockets in self._sockets.values():
            for listener in sockets:
                if id(listener) not in keep:
                    listener.close()
        self._sockets.clear()


def addresses_overlap(one: str, other: str) -> bool:
    """Return whether who listens at one address is in the way of who would at the other, on the same port."""
    a, b = ipaddress.ip_address(one), ipaddress.ip_address(other)
    return a == b or (a.version == b.version and (a.is_unspecified or b.is_unspecified))


def _overlap(one: Place, other: Place) -> bool:
    return one.port == other.port and addresses_overlap(one.address, other.address)


def explain(place: Place, error: OSError) -> RelayError:
    """Return a sentence with cause and next step for a failed bind."""
    if error.errno == errno.EADDRINUSE:
        return TemporaryError(
            f"{place} is already in use by another program; find it with 'ss -ltnp sport = :{place.port}', "
            "stop it or choose another port under 'listeners'"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        low = place.port < _LOW_PORT_END
        why = f"ports below {_LOW_PORT_END} need root or the capability CAP_NET_BIND_SERVICE" if low else "denied"
        return ConfigurationError(
            f"{place} may not be bound ({why}); start the relay with that right, or choose another port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return TemporaryError(
            f"{place.address} is not an address of this machine now; see 'ip address', correct 'listeners' or bring "
            "the interface up"
        )
    text = os.strerror(error.errno) if error.errno else str(error)
    return ConfigurationError(f"{place} cannot be bound: {text}; correct 'listeners'")


def _bind(place: Place, count: int) -> list[socket.socket]:
    """Bind one place; a port that the kernel chose may be lost to another program before it is bound again."""
    for _ in range(_FREE_PORT_TRIES - 1 if place.port == 0 else 0):
        with contextlib.suppress(OSError):
            return _bind_all(place, count)
    return _bind_all(place, count)


def _bind_all(place: Place, count: int) -> list[socket.socket]:
    """Return `count` listening sockets at one place, on the same port."""
    with contextlib.ExitStack() as undo:
        first_port = _port_that_is_free(place)
        sockets: list[socket.socket] = []
        for _ in range(count):
            listener = undo.enter_context(_socket_for(place))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind((place.address, first_port))
            sockets.append(listener)
        for listener in sockets:
            listener.listen(BACKLOG)
            listener.setblocking(False)
        undo.pop_all()
        return sockets


def _port_that_is_free(place: Place) -> int:
    """Bind alone, without SO_REUSEPORT, to be refused when anybody listens there; return the port."""
    with _socket_for(place) as probe:
        probe.bind((place.address, place.port))
        probe.listen(1)
        return int(probe.getsockname()[1])


def _socket_for(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return listener


def _as_one(faults: Sequence[RelayError]) -> RelayError:
    """Return one error for all: temporary only when every fault is."""
    text = "\n".join(str(fault) for fault in faults)
    if all(isinstance(fault, TemporaryError) for fault in faults):
        return TemporaryError(text)
    return ConfigurationError(text)
