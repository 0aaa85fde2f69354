"""The right to one source address: for one account, one address, a few minutes."""

import pytest

from relay.policy import pin

KEY, ACCOUNT = bytes(32), "000000000001"


def test_what_was_made_is_read():
    text = pin.make(KEY, "2001:db8::1", ACCOUNT, 1000)
    assert pin.read(KEY, text, ACCOUNT, 1000) == "2001:db8::1"
    assert pin.read(KEY, text, ACCOUNT, 1000 + pin.SECONDS) == "2001:db8::1"


@pytest.mark.parametrize(
    ("key", "change", "account", "now_s"),
    [
        (KEY, str, "000000000002", 1000),
        (b"x" * 32, str, ACCOUNT, 1000),
        (b"", str, ACCOUNT, 1000),
        (KEY, str, ACCOUNT, 1001 + pin.SECONDS),
        (KEY, lambda text: text.replace("192.0.2.1", "192.0.2.2"), ACCOUNT, 1000),
        (KEY, lambda text: text.replace("1300", "1400"), ACCOUNT, 1000),
        (KEY, lambda text: "192.0.2.1", ACCOUNT, 1000),
        (KEY, lambda text: text + "é", ACCOUNT, 1000),
    ],
)
def test_nothing_else_is(key, change, account, now_s):
    text = change(pin.make(KEY, "192.0.2.1", ACCOUNT, 1000))
    assert pin.read(key, text, account, now_s) is None
