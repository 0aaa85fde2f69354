"""One door for a test, certificates made once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wire.door import Client, Door, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def door(tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[Door]:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    running = Door(incoming, certificate)
    yield running
    running.close()
    assert running.product.faults == []


@pytest.fixture
def connect(door: Door) -> Iterator[Callable[..., Client]]:
    """Connect to a listener, read the greeting, say EHLO unless told otherwise, and go as far as asked."""
    clients: list[Client] = []

    def make(kind: object, upto: str = "hello", *, implicit: bool = False) -> Client:
        client = Client(door.port(kind), implicit=implicit or kind == "implicit")
        clients.append(client)
        if upto == "connected":
            return client
        assert client.line().startswith(b"220 relay.example ESMTP Relay-")
        if upto == "greeted":
            return client
        assert client.say("EHLO client.example") == "250 Ok"
        if upto in ("tls", "login") and kind != "implicit":
            client.starttls()
            assert client.say("EHLO client.example") == "250 Ok"
        if upto == "login":
            client.login()
        return client

    yield make
    for client in clients:
        client.close()
