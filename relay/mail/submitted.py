"""Header fields of a message as they were submitted, read back from the `mail` object of its events.

Fields that shaping removed, such as Return-Path, are known from there alone. The object holds the first 10 KB of
the header section (EVT-007).
"""

import orjson


def submitted_value(mail_json: bytes, name: str) -> str:
    """Return the value of the first submitted field `name` (lower case) on one line, "" without one."""
    if not mail_json:
        return ""
    for field in orjson.loads(mail_json).get("headers", ()):
        if field["name"].lower() == name:
            return " ".join(str(field["value"]).split())
    return ""
