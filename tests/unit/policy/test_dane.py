"""TLSA records: which of them count, and which certificates fit (RFC 7672, RFC 7671)."""

import time

import pytest

from relay.model.tls import Tlsa
from relay.policy.dane import mismatch, names_match, usable
from tests.authority import Certificate, authority

ROOT = authority()
MIDDLE = Certificate([], ROOT, authority=True, common_name="Middle")
LEAF = Certificate(["mx.test"], MIDDLE)
CHAIN = [LEAF.der, MIDDLE.der, ROOT.der]
OTHER = Certificate(["mx.test"])
NOW = time.time()


def tlsa(text):
    usage, selector, matching, data = text.split()
    return Tlsa(int(usage), int(selector), int(matching), bytes.fromhex(data))


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize(("usage", "certificate"), [(3, LEAF), (2, MIDDLE), (2, ROOT)])
def test_every_kind_of_record_fits_its_certificate(usage, certificate, selector, matching):
    record = tlsa(certificate.tlsa(usage, selector, matching))
    assert usable([record]) == (record,)
    assert mismatch([record], CHAIN, ["mx.test"], NOW) == ""
    wrong = tlsa(OTHER.tlsa(usage, selector, matching))
    assert mismatch([wrong], CHAIN, ["mx.test"], NOW) != ""


@pytest.mark.parametrize("usage", [0, 1, 4, 255])
def test_usages_of_the_web_cannot_be_used(usage):
    """RFC 7672 section 3.1.3."""
    assert usable([tlsa(LEAF.tlsa(usage))]) == ()


@pytest.mark.parametrize(
    "record",
    [
        Tlsa(3, 2, 1, b"x" * 32),
        Tlsa(3, 1, 3, b"x" * 32),
        Tlsa(3, 1, 1, b"x" * 31),
        Tlsa(3, 1, 2, b"x" * 32),
        Tlsa(3, 1, 0, b"no key"),
        Tlsa(2, 0, 0, b"no certificate"),
        Tlsa(3, 1, 1, b""),
        Tlsa(
            2, 0, 0, ROOT.der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09", 1)
        ),  # a version that is none
    ],
)
def test_malformed_records_cannot_be_used(record):
    assert usable([record]) == ()


def test_the_strongest_digest_of_a_kind_counts():
    """RFC 7671 section 9."""
    weak, strong, exact = (tlsa(LEAF.tlsa(3, 1, matching)) for matching in (1, 2, 0))
    other = tlsa(LEAF.tlsa(3, 0, 1))
    assert usable([weak, strong, exact, other, strong]) == (strong, exact, other)


def test_one_of_several_is_enough():
    records = [tlsa(OTHER.tlsa()), tlsa(LEAF.tlsa())]
    assert mismatch(records, CHAIN, [], NOW) == ""


def test_ends_need_neither_name_nor_date():
    """RFC 7672 section 3.1.1."""
    old = Certificate(["elsewhere.test"], expired=True)
    assert mismatch([tlsa(old.tlsa())], [old.der], ["mx.test"], NOW) == ""


def test_anchors_need_name_and_date():
    """RFC 7672 section 3.1.2."""
    anchor = [tlsa(ROOT.tlsa(2))]
    elsewhere = Certificate(["elsewhere.test"], ROOT)
    assert "hostname mismatch" in mismatch(anchor, [elsewhere.der, ROOT.der], ["mx.test"], NOW)
    assert mismatch(anchor, [elsewhere.der, ROOT.der], ["mx.test", "elsewhere.test"], NOW) == ""
    old = Certificate(["mx.test"], ROOT, expired=True)
    assert "expired" in mismatch(anchor, [old.der, ROOT.der], ["mx.test"], NOW)
    ancient = Certificate([], authority=True, common_name="Ancient", expired=True)
    young = Certificate(["mx.test"], ancient)
    assert "expired" in mismatch([tlsa(ancient.tlsa(2))], [young.der, ancient.der], ["mx.test"], NOW)


def test_an_anchor_must_be_sent_and_must_have_signed():
    anchor = [tlsa(ROOT.tlsa(2))]
    assert "no issuer" in mismatch(anchor, [LEAF.der, MIDDLE.der], ["mx.test"], NOW)
    assert "no issuer" in mismatch(anchor, [OTHER.der, ROOT.der], ["mx.test"], NOW)
    forger = Certificate([], authority=True, common_name="Test Authority")  # the same name, another key
    forged = Certificate(["mx.test"], forger)
    assert "no issuer" in mismatch(anchor, [forged.der, ROOT.der], ["mx.test"], NOW)
    no_authority = Certificate(["ca.test"], ROOT)
    below = Certificate(["mx.test"], no_authority)
    assert "no issuer" in mismatch([tlsa(no_authority.tlsa(2))], [below.der, no_authority.der], ["mx.test"], NOW)


def test_the_leaf_is_no_anchor_of_itself():
    assert "no issuer" in mismatch([tlsa(OTHER.tlsa(2))], [OTHER.der], ["mx.test"], NOW)


def test_what_is_no_certificate_fits_nothing():
    assert mismatch([tlsa(ROOT.tlsa(2))], [b"junk"], ["mx.test"], NOW) == "a certificate of the host cannot be read"
    assert mismatch([tlsa(ROOT.tlsa())], [], ["mx.test"], NOW) == "the host showed no certificate"
    assert mismatch([tlsa(ROOT.tlsa(2))], [LEAF.der, b"junk"], ["mx.test"], NOW) != ""


def test_a_long_chain_ends():
    chain = [authority("0")]
    for number in range(1, 30):
        chain.append(Certificate([], chain[-1], authority=True, common_name=str(number)))
    leaf = Certificate(["mx.test"], chain[-1])
    sent = [leaf.der, *(one.der for one in reversed(chain))]
    assert "no issuer" in mismatch([tlsa(chain[0].tlsa(2))], sent, ["mx.test"], NOW)


@pytest.mark.parametrize(
    ("presented", "wanted", "expected"),
    [
        (["mx.test"], "MX.test.", True),
        (["*.a.test"], "mx.a.test", True),
        (["*.a.test"], "x.mx.a.test", False),
        (["*.a.test"], "a.test", False),
        (["*.test"], "mx.test", False),
        (["m*.a.test"], "mx.a.test", False),
        (["*"], "test", False),
    ],
)
def test_names_match(presented, wanted, expected):
    """RFC 7672 section 3.2.3."""
    assert names_match(Certificate(presented).certificate, [wanted]) is expected


def test_the_common_name_counts_without_others_only():
    assert names_match(Certificate([], common_name="mx.test").certificate, ["mx.test"])
    assert not names_match(Certificate(["other.test"], common_name="mx.test").certificate, ["mx.test"])
