"""Return-path tokens: opaque, signed, short, read without case, refused when forged or old."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.address import Address, parse_mailbox
from relay.mail.returnpath import PREFIX_CHARS, ReturnPath, make, read
from tests.unit.mail.messages import MESSAGE_ID

KEY = b"k" * 32


@pytest.mark.req("FLOW-017")
def test_token_names_message_and_recipient():
    local = make(MESSAGE_ID, 513, KEY)
    assert len(local) <= 64
    assert isinstance(parse_mailbox(f"{local}@bounce.relay.example"), Address)
    token = read(local, KEY)
    assert token == ReturnPath(MESSAGE_ID[:PREFIX_CHARS], 513)
    assert token.shard == 1
    assert token.accepted_ms == 0x0193ABCDEF01
    assert read(local.upper(), KEY) == token


@pytest.mark.req("FLOW-017")
def test_each_recipient_has_its_own():
    tokens = {make(MESSAGE_ID, index, KEY) for index in range(1000)}
    assert len(tokens) == 1000


@pytest.mark.req("FLOW-018")
def test_every_changed_character_is_refused():
    local = make(MESSAGE_ID, 7, KEY)
    for position, char in enumerate(local):
        other = "a" if char != "a" else "b"
        assert read(local[:position] + other + local[position + 1 :], KEY) is None
    assert read(local, b"x" * 32) is None


@pytest.mark.req("FLOW-018")
def test_age_is_told():
    token = read(make(MESSAGE_ID, 0, KEY), KEY)
    assert not token.expired(token.accepted_ms + 1000, 1000)
    assert token.expired(token.accepted_ms + 1001, 1000)


@given(st.text(max_size=70))
def test_any_text_is_refused(text):
    assert read(text, KEY) is None


@pytest.mark.parametrize("local", ["", "a" * 47, "a" * 49, "1" * 48, "ſ" * 48, "K" * 48, "a" * 48 + "\n"])
def test_near_misses_are_refused(local):
    assert read(local, KEY) is None
