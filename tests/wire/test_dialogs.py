"""Plays the dialogues of `dialogs/*.txt` against the real door.

Lines: `listener NAME` connects to a listener of `door.POLICIES`; `> text` sends a line, `>> text` sends it without
CRLF (both with Python escapes); `< text` expects exactly this line, `~ pattern` a line that matches wholly; `...`
skips lines of an EHLO answer until the next one expected; `tls` starts TLS; `closed` expects the end of the
connection; `messages N` the number of messages taken; `req ID ...` names what is proven.
"""

import re
from pathlib import Path

import pytest

from tests.wire.door import Client, Door, client_context

FILES = sorted((Path(__file__).parent / "dialogs").glob("*.txt"))


def _ids(path: Path) -> list[str]:
    return [word for line in path.read_text().splitlines() if line.startswith("req ") for word in line.split()[1:]]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8").decode("unicode_escape").encode("latin-1")


class Player:
    def __init__(self, door: Door) -> None:
        self.door = door
        self.client: Client | None = None
        self.skips = False

    def read(self, right):
        """Read the line that is expected, behind others of an EHLO answer where the dialogue skips them."""
        assert self.client is not None
        got = self.client.line().decode()
        while self.skips and got.startswith("250-") and not right(got):
            got = self.client.line().decode()
        self.skips = False
        assert right(got), got

    def play(self, line: str) -> None:
        word, _, text = line.partition(" ")
        if word == "listener":
            if self.client is not None:
                self.client.close()
            self.client = Client(self.door.port(text), implicit=text == "implicit")
            return
        if word == "messages":
            self.door.wait(lambda: len(self.door.product.bodies) >= int(text))
            assert len(self.door.product.bodies) == int(text)
            return
        client = self.client
        assert client is not None
        if word == ">":
            client.send(_bytes(text) + b"\r\n")
        elif word == ">>":
            client.send(_bytes(text))
        elif word == "<":
            self.read(lambda got: got == text)
        elif word == "~":
            self.read(lambda got: re.fullmatch(text, got))
        elif word == "...":
            self.skips = True
        elif word == "tls":
            client.socket = client_context().wrap_socket(client.socket, server_hostname="relay.example")
        elif word == "closed":
            assert client.rest_until_closed() == b""
        else:
            raise AssertionError(line)


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem, marks=pytest.mark.req(*_ids(path))) for path in FILES]
)
def test_dialog(path: Path, door: Door) -> None:
    player = Player(door)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith(("#", "req ")):
            continue
        try:
            player.play(line)
        except (AssertionError, OSError) as error:
            raise AssertionError(f"{path.name}:{number}: {line}: {error}") from error
    if player.client is not None:
        player.client.close()
