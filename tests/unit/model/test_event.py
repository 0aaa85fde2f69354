"""An event's outline is its record without what is rarely asked for, whatever a message says."""

import orjson
import pytest

from relay.model.event import LoggedEvent
from relay.model.message import NewEvent

FIELDS = ("headersTruncated", "headers", "commonHeaders")
TRAP = ',"tags":{"a":["b"]},"headersTruncated":true,'


def record(value, tags):
    return {
        "eventType": "Send",
        "mail": {
            "timestamp": "2026-11-26T01:02:03.004Z",
            "source": value,
            "destination": [value, "b@example.net"],
            "headersTruncated": False,
            "headers": [{"name": "tags", "value": value}, {"name": "headers", "value": "]"}],
            "commonHeaders": {"from": [value], "subject": value},
            "tags": tags,
        },
        "send": {"tags": {"x": [value]}},
    }


def logged(payload):
    return LoggedEvent(1, 7, NewEvent("id", "Send", "m", payload))


@pytest.mark.parametrize("value", ["plain", TRAP, f'"{TRAP}', '\\"' + TRAP, "\u2028\n\\"])
@pytest.mark.parametrize("tags", [{}, {"headers": ["y"], "headersTruncated": ["z"], "commonHeaders": [TRAP]}])
def test_an_outline_lacks_header_fields_alone(value, tags):
    whole = record(value, tags)
    event = logged(orjson.dumps(whole))
    mail = {name: found for name, found in whole["mail"].items() if name not in FIELDS}
    assert event.outline == {**whole, "mail": mail}
    assert event.record == whole


@pytest.mark.parametrize(
    "whole",
    [
        {"mail": {"tags": {}, "headersTruncated": False, "headers": []}},
        {"mail": {"destination": ["a"]}},
        {"headersTruncated": [{"x": 1, "tags": {}}], "mail": {}},
        [],
    ],
)
def test_a_record_in_another_order_is_its_own_outline(whole):
    assert logged(orjson.dumps(whole)).outline == whole


def test_what_is_no_json_is_told_as_such():
    with pytest.raises(ValueError, match=r"."):
        logged(b'{"a":1,"headersTruncated":,"tags":{').outline  # noqa: B018 - asked for
