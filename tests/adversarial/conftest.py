"""One relay for all cases that leave it as they found it; sections that need other settings start their own."""

import pytest

from tests.product import Product, Receiver


def answer(verb, line):
    """Refuse with replies that try to break out of a log line."""
    if verb == "RCPT" and "hostile@" in line:
        return '550 5.1.1 no "user" {"event":"forged"} \x1b[31mred\x1b[0m \\n \xff'
    if verb == "RCPT" and "nobody@" in line:
        return "550 5.1.1 no such user"
    return None


@pytest.fixture(scope="session")
def receiver():
    with Receiver(answer=answer) as made:
        yield made


@pytest.fixture(scope="session")
def product(receiver):
    limits = {"disk_free_min": "1MB", "message_size_max": 8_000_000}
    with Product(receiver.port, limits=limits, dkim={"ed25519": True}) as made:
        yield made
