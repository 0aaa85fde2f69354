"""An address is found as a whole and without regard to case, and JSON stays JSON without it."""

import orjson
import pytest

from relay.model.erasure import ERASED, Erasure

FOUND = [
    b"ann@example.org",
    b"<Ann@Example.ORG>",
    b'"ann@example.org"',
    b"RCPT TO:<ann@example.org> 250 ok",
    b"the user ann@example.org.",
    b"rfc822;ann@example.org,",
    b"550 'ann@example.org' is unknown.",
    b"who=ann@example.org",
    b"mailto:ann@example.org?subject=x",
]
OTHER = [
    b"joann@example.org",
    b"jo.ann@example.org",
    b"ann@example.org.uk",
    b"ann@example.organic",
    b"ann@example-org",
    b"x+ann@example.org",
    b"ann",
    b"",
]


@pytest.mark.parametrize("data", FOUND)
def test_mentions(data):
    erasure = Erasure("ann@example.org")
    assert erasure.mentioned(data)
    assert not erasure.mentioned(erasure.erased(data))
    assert ERASED in erasure.erased(data)


@pytest.mark.parametrize("data", OTHER)
def test_other_addresses_stay(data):
    erasure = Erasure("ann@example.org")
    assert not erasure.mentioned(data)
    assert erasure.erased(data) == data


@pytest.mark.parametrize("address", ['"a\\"b"@example.org', "jürgen@example.org", "a+b*c@example.org"])
def test_forms_in_json(address):
    record = orjson.dumps({"to": [f"X <{address}>", "bob@example.org"], "n": 1})
    erased = Erasure(address).erased(record)
    assert orjson.loads(erased) == {"to": ["X <erased@erased.invalid>", "bob@example.org"], "n": 1}


@pytest.mark.parametrize("address", ["", "@", "a@", "@b", "ann"])
def test_what_is_no_address(address):
    with pytest.raises(ValueError, match="no address"):
        Erasure(address)


@pytest.mark.parametrize(
    ("value", "is_it"), [("Ann@example.org", True), ("o'ann@example.org", False), ("about ann@example.org", True)]
)
def test_a_value_that_is_an_address_is_it_or_another(value, is_it):
    assert Erasure("ann@example.org").is_value(value) is is_it
