"""Which identities cover an address, and the text that names those that failed."""

import pytest

from relay.model.refusal import Reason
from relay.policy.identity import (
    covering_addresses,
    covering_domains,
    failed_identities,
    not_verified,
    split_address,
)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("a@b.example", ("a", "b.example")),
        ("A@B.Example", ("A", "b.example")),
        ('"a@b"@c.example', ('"a@b"', "c.example")),
        ("a@b.example.", None),
        ("a@.example", None),
        ("a@b..example", None),
        ("a@[192.0.2.1]", None),
        ("a@bücher.example", None),
        ("@b.example", None),
        ("a@", None),
        ("", None),
        ("no-at", None),
        ("a" * 64 + "@b.example", ("a" * 64, "b.example")),
        ("a" * 65 + "@b.example", None),
        ("a@" + "b" * 64 + ".example", None),
        ("a@b.example\n", None),
    ],
)
def test_split(address, parts):
    assert split_address(address) == parts


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("a@b.example", ("a@b.example",)),
        ("a+x@b.example", ("a+x@b.example", "a@b.example")),
        ("a+x+y@b.example", ("a+x+y@b.example", "a+x@b.example", "a@b.example")),
        ("+x@b.example", ("+x@b.example",)),
        ('"a+x"@b.example', ('"a+x"@b.example',)),
    ],
)
def test_labels_are_covered(address, names):
    assert covering_addresses(address) == names


def test_parents_are_covered_most_specific_first():
    assert covering_domains("a.b.example") == ("a.b.example", "b.example")
    assert covering_domains("example") == ()


def test_each_failed_identity_once_and_not_the_null_sender():
    assert failed_identities(["a@x", "", "b@x", "a@x"], lambda name: name == "b@x") == ("a@x",)


@pytest.mark.req("ERR-001")
def test_refusal_names_region_in_capitals_and_identities():
    refusal = not_verified(["a@x.example", "b@x.example"], "local-1")
    assert refusal.reason is Reason.NOT_VERIFIED
    assert refusal.text == (
        "Message rejected: Email address is not verified. The following identities failed the check in region "
        "LOCAL-1: a@x.example, b@x.example"
    )


@pytest.mark.req("ERR-002")
@pytest.mark.parametrize("count", [1, 9, 10, 11, 50])
@pytest.mark.parametrize("length", [3, 40, 300, 600])
def test_what_does_not_fit_ends_in_dots(count, length):
    names = [f"{n:02}".ljust(length, "x") for n in range(count)]
    text = not_verified(names, "local-1").text
    fits = count <= 10 and len(", ".join(names)) <= 512 - 12 - len(not_verified([""], "local-1").text)
    assert text.endswith("...") is not fits
    assert len(f"554 5.7.1 {text}\r\n".encode()) <= 512
    assert text.count(", ") <= 9
    assert names[0][:100] in text


def test_names_cannot_break_the_reply():
    text = not_verified(["a\r\n250 ok\x00@x", "b\u2028\ud800@x"], "r").text
    assert "\r" not in text
    assert "\n" not in text
    assert text.isprintable()
    text.encode()
