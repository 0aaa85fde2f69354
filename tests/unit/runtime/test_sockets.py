"""Listening sockets: one a worker on one port, all or nothing, and sentences for what the kernel refuses."""

import errno
import socket

import pytest

from relay.errors import ConfigurationError, TemporaryError
from relay.runtime.sockets import LISTENERS_MAX, Listening, Place, explain, place_of


def test_each_worker_has_its_own_socket_on_the_same_port():
    listening = Listening(3)
    place = place_of("mx", "127.0.0.1", 0)
    metrics = place_of("metrics", "127.0.0.1", 0)
    assert listening.open([place, metrics]) == [place, metrics]
    sockets = [listening.of_worker(index)[place] for index in (1, 2, 3)]
    assert len({found.fileno() for found in sockets}) == 3
    assert {found.getsockname()[1] for found in sockets} == {listening.bound()[place]}
    assert not any(found.get_inheritable() or found.getblocking() for found in sockets)
    assert set(listening.of_office()) == {metrics}
    assert listening.open([place, metrics]) == []  # kept as they are
    listening.close(listening.places())
    assert all(found.fileno() == -1 for found in sockets)


def test_all_faults_at_once_and_nothing_stays_open():
    listening = Listening(2)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [found.getsockname()[1] for found in (one, two)]
        free = Place(office=False, address="127.0.0.1", port=0)
        with pytest.raises(TemporaryError) as caught:
            listening.open([free, *(Place(office=False, address="127.0.0.1", port=port) for port in ports)])
    assert [f"127.0.0.1:{port} is already in use" in str(caught.value) for port in ports] == [True, True]
    assert listening.places() == set()


def test_a_port_that_we_have_ourselves_is_nobody_elses():
    """Such as a listener that a reload moves from one address to all of them."""
    listening = Listening(1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    held = place_of("mx", "127.0.0.1", port)
    listening.open([held])
    with pytest.raises(ConfigurationError, match=f"reload once without {held}"):
        listening.open([place_of("mx", "0.0.0.0", port)])
    assert listening.places() == {held}
    listening.close([held])


def test_an_address_of_another_machine_and_a_temporary_fault_are_told_apart():
    with pytest.raises(TemporaryError, match=r"192\.0\.2\.1 is not an address of this machine"):
        Listening(1).open([place_of("mx", "192.0.2.1", 0)])


@pytest.mark.parametrize(
    ("number", "port", "kind", "words"),
    [
        (errno.EADDRINUSE, 25, TemporaryError, "ss -ltnp"),
        (errno.EACCES, 25, ConfigurationError, "CAP_NET_BIND_SERVICE"),
        (errno.EPERM, 2525, ConfigurationError, "denied"),
        (errno.EADDRNOTAVAIL, 25, TemporaryError, "ip address"),
        (errno.EAFNOSUPPORT, 25, ConfigurationError, "Address family not supported"),
    ],
)
def test_every_refusal_names_cause_and_next_step(number, port, kind, words):
    error = explain(place_of("mx", "::1", port), OSError(number, "x"))
    assert isinstance(error, kind)
    assert words in str(error)
    assert "::1" in str(error)


def test_listeners_are_bounded():
    places = [place_of("mx", "127.0.0.1", port) for port in range(1, LISTENERS_MAX + 2)]
    with pytest.raises(ConfigurationError, match="at most"):
        Listening(1).open(places)
