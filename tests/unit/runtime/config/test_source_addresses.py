"""`delivery.source_addresses`: addresses alone or with settings, and what they become."""

import textwrap

import pytest

from relay.model.pool import WarmUp
from relay.runtime.config.faults import InvalidConfigurationError
from relay.runtime.config.load import parse
from relay.runtime.settings import declared_addresses
from relay.store.catalog_address_values import Declared
from tests.unit.runtime.config.test_load import FILE


def read(value):
    text = f"hostname: relay.example\ndelivery: {{source_addresses: {value}}}\n"
    return declared_addresses(parse(textwrap.dedent(text), FILE).config)


def test_addresses_alone_and_with_settings():
    assert read("[192.0.2.1, '2001:DB8::1']") == (Declared("192.0.2.1"), Declared("2001:db8::1"))
    assert read("[{address: 192.0.2.1, ehlo_name: MX.relay.example, weight: 0, warmup: auto}]") == (
        Declared("192.0.2.1", "mx.relay.example", 0, WarmUp.AUTO),
    )


@pytest.mark.parametrize(
    ("word", "mode", "percent"),
    [
        ("off", WarmUp.OFF, None),
        ("'off'", WarmUp.OFF, None),
        ("auto", WarmUp.AUTO, None),
        ("40%", WarmUp.PERCENT, 40),
    ],
)
def test_warm_up(word, mode, percent):
    (one,) = read(f"[{{address: 192.0.2.1, warmup: {word}}}]")
    assert (one.warmup, one.warmup_percent) == (mode, percent)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("[host]", "must be an IPv4 or IPv6 address"),
        ("[192.0.2.1, 192.0.2.1]", "192.0.2.1 is listed twice"),
        ("[{address: 192.0.2.1, weight: 1001}]", "source_addresses[0].weight"),
        ("[{address: 192.0.2.1, warmup: 101%}]", "must be off, auto or a percentage"),
        ("[{address: 192.0.2.1, warmup: on}]", "must be off, auto or a percentage"),
        ("[{address: 192.0.2.1, warmup: 40}]", "must be off, auto or a percentage"),
        ("[{address: 192.0.2.1, ehlo_name: a_b.example}]", "must not contain an underscore"),
        ("[{address: 192.0.2.1, name: a.example}]", "name"),
        ("[{weight: 1}]", "address"),
        ("[7]", "source_addresses[0]"),
    ],
)
def test_what_is_refused(value, fault):
    with pytest.raises(InvalidConfigurationError, match=r"(?s).*") as caught:
        read(value)
    assert fault in str(caught.value)
