"""A server in the form of S3, for as long as a block runs."""

import contextlib


@contextlib.contextmanager
def bucket_server():
    """Run a server on a port of its own; give its URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
