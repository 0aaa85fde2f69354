"""What is bulk: as the configuration set says, else as the message does."""

import pytest

from relay.mail.headers import parse_head
from relay.model.configuration_set import Priority
from relay.policy.priority import is_bulk

AUTO, TRANSACTIONAL, BULK = Priority.AUTO, Priority.TRANSACTIONAL, Priority.BULK


@pytest.mark.parametrize(
    ("priority", "head", "recipients", "expected"),
    [
        (AUTO, b"Subject: your order\r\n", 1, False),
        (AUTO, b"Subject: your order\r\n", 10, False),
        (AUTO, b"Subject: to all\r\n", 11, True),
        (AUTO, b"Subject: news\r\nList-Unsubscribe: <https://example.com/u>\r\n", 1, True),
        (AUTO, b"list-id: <news.example.com>\r\n", 1, True),
        (AUTO, b"Precedence: bulk\r\n", 1, True),
        (AUTO, b"PRECEDENCE:\r\n  List\r\n", 1, True),
        (AUTO, b"Precedence: junk\r\n", 1, True),
        (AUTO, b"Precedence: first-class\r\n", 1, False),
        (AUTO, b"X-List-Unsubscribe: no\r\n", 1, False),
        (AUTO, b"", 1, False),
        (TRANSACTIONAL, b"List-Unsubscribe: <https://example.com/u>\r\n", 1000, False),
        (BULK, b"Subject: your order\r\n", 1, True),
    ],
)
def test_what_is_bulk(priority, head, recipients, expected):
    fields = parse_head(head + b"\r\n")
    assert is_bulk(priority, fields, recipients) is expected
