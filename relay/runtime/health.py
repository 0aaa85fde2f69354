"""`python -m relay.runtime.health`: ask the running relay's metrics listener whether it is well.

For container health checks: exit code 0 when /healthz says so, 1 otherwise, with a sentence on standard error.
"""

import http.client
import os
import sys
from collections.abc import Mapping
from urllib.parse import quote

from relay.errors import RelayError
from relay.runtime.config.incoming import Listener
from relay.runtime.config.load import find_file, load_config

TIMEOUT_SECONDS = 4.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  where to reach a listener on every address


def ask(environment: Mapping[str, str], path: str = "/healthz") -> str:
    """Return "" when the relay is well, else what is wrong."""
    try:
        listeners = load_config(find_file(None, environment)).listeners
    except RelayError as error:
        return str(error)
    for listener in listeners:
        if listener.kind == "metrics" and listener.tls == "none":
            return _answer(listener, path)
    return "The configuration has no metrics listener without TLS to ask."


def _answer(listener: Listener, path: str) -> str:
    host = _ANYWHERE.get(listener.address, listener.address)
    connection = http.client.HTTPConnection(host, listener.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", quote(path))
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"No answer from {host}:{listener.port}: {error}."
    finally:
        connection.close()
    return "" if status == http.client.OK else f"{host}:{listener.port} answered {status}."


def main() -> int:
    """Run as a command."""
    wrong = ask(os.environ)
    if wrong:
        sys.stderr.write(f"{wrong}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
