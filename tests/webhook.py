"""A webhook receiver on a thread of its own: keeps what it is posted; `answer` decides what it says."""

import contextlib
import http.server
import threading


class Webhook:
    """Use as a context manager. `answer(request)` returns a status, or (status, headers, body); it may also sleep."""

    def __init__(self, answer=lambda request: 200, port=0):
        self.requests = []
        self.answer = answer
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.owner = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def bodies(self):
        return [body for _, _, body in self.requests]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def handle_error(self, request, client_address):
        """Say nothing: clients that go away are what tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = (self.path, dict(self.headers), body)
        owner.requests.append(request)
        answer = owner.answer(request)
        status, headers, text = answer if isinstance(answer, tuple) else (answer, {}, b"")
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, *_parts):
        pass
