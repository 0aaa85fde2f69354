"""Stand-ins for clamd and rspamd: they speak the protocols over real sockets, and play what a test asks for.

clamd is asked by INSTREAM; a message with `VIRUS` in it is infected. rspamd is asked by POST /checkv2; the score is
that of a line `X-Score: n` in the message, else 0.5. `mode` makes both misbehave: `normal`, `garbage`, `silent`
(never answers), `drip` (one octet at a time, never a whole answer), `close` (ends the connection), `reset` (breaks it
in the middle of the message), `error`, `flood`.
"""

import contextlib
import json
import re
import socket
import socketserver
import struct
import threading
from pathlib import Path


class _Server(socketserver.ThreadingMixIn):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False


class _TcpServer(_Server, socketserver.TCPServer):
    pass


class _UnixServer(_Server, socketserver.UnixStreamServer):
    pass


class StandIn:
    """A scanner on a thread; `seen` are the messages it was given whole, `begun` counts connections."""

    handler = None

    def __init__(self, path=None, mode="normal"):
        self.mode = mode
        self.seen = []
        self.begun = 0
        self.headers = {}
        self._path = path
        self._port = 0
        self._server = None
        self.stopped = threading.Event()

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *exc):
        self.down()

    def up(self):
        """Begin to listen, on the same port or path as before."""
        self.stopped.clear()
        kind, address = (_UnixServer, self._path) if self._path else (_TcpServer, ("127.0.0.1", self._port))
        self._server = kind(address, self.handler)
        self._server.owner = self
        if not self._path:
            self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self):
        """Refuse connections from now on."""
        self.stopped.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                Path(self._path).unlink()

    @property
    def address(self):
        return self._path or f"127.0.0.1:{self._port}"

    @property
    def url(self):
        return f"http://{self.address}"


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        owner = self.server.owner
        owner.begun += 1
        with contextlib.suppress(OSError):
            self.serve(owner)

    def misbehave(self, owner, garbage):
        """Play a mode that is not the normal one; say whether that was all."""
        if owner.mode == "silent":
            owner.stopped.wait(30)
        elif owner.mode == "drip":
            while not owner.stopped.wait(0.05):
                self.wfile.write(b"x")
        elif owner.mode == "garbage":
            self.wfile.write(garbage)
        elif owner.mode == "flood":
            while True:
                self.wfile.write(garbage * 1000)
        return owner.mode in ("silent", "drip", "garbage", "flood", "close")


class _Clamd(_Handler):
    def serve(self, owner):
        command = self.rfile.read(len(b"zINSTREAM\0"))
        assert command == b"zINSTREAM\0", command
        if owner.mode == "error":  # the answer comes before the stream has ended, as for a StreamMaxLength
            self.wfile.write(b"INSTREAM size limit exceeded. ERROR\0")
            self.connection.shutdown(socket.SHUT_WR)
            while self.connection.recv(65536):
                pass
            return
        if owner.mode == "reset":
            return
        parts = []
        while (head := self.rfile.read(4)) and (size := struct.unpack(">I", head)[0]):
            parts.append(self.rfile.read(size))
        message = b"".join(parts)
        owner.seen.append(message)
        if self.misbehave(owner, b"\x01\x02 what?\r\n"):
            return
        self.wfile.write(b"stream: Test.Virus-1 FOUND\0" if b"VIRUS" in message else b"stream: OK\0")


class _Rspamd(_Handler):
    def serve(self, owner):
        request = self.rfile.readline()
        assert request == b"POST /checkv2 HTTP/1.1\r\n", request
        owner.headers = {}
        while (line := self.rfile.readline().strip()) and b":" in line:
            name, _, value = line.decode().partition(":")
            owner.headers[name.lower()] = value.strip()
        if owner.mode == "reset":
            return
        message = self.rfile.read(int(owner.headers["content-length"]))
        owner.seen.append(message)
        if owner.mode == "error":
            self.wfile.write(b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n")
            return
        if owner.mode == "flood":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        if self.misbehave(owner, b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"score":'):
            return
        found = re.search(rb"^X-Score: (\S+)\r$", message, re.MULTILINE)
        said = {"is_skipped": False, "score": float(found.group(1)) if found else 0.5, "action": "reject"}
        body = json.dumps(said).encode()
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        self.wfile.write(body)


class Clamd(StandIn):
    """Speaks clamd's protocol."""

    handler = _Clamd


class Rspamd(StandIn):
    """Speaks rspamd's protocol."""

    handler = _Rspamd
