"""Whatever strangers publish is a value or a sentence, never an exception."""

from hypothesis import given
from hypothesis import strategies as st

from relay.model.tls import StsPolicy, Tlsa
from relay.policy.dane import mismatch, usable
from relay.policy.mta_sts import names_host, parse_policy, record_id
from relay.policy.tls_report import report_addresses
from tests.authority import Certificate

LEAF = Certificate(["mx.test"]).der
WORDS = st.sampled_from(
    [b"version: STSv1", b"mode: enforce", b"mx: *.a.test", b"max_age: 60", b"mx:", b":", b"\r", b""]
)
LINES = st.lists(st.one_of(WORDS, st.binary(max_size=40)), max_size=12).map(b"\r\n".join)
RECORDS = st.lists(st.one_of(st.binary(max_size=80), st.binary(max_size=60).map(b"v=STSv1; ".__add__)), max_size=3)
TLSA = st.builds(
    Tlsa, st.integers(0, 255), st.integers(0, 3), st.integers(0, 3), st.one_of(st.binary(max_size=70), st.just(LEAF))
)


@given(LINES)
def test_policies(data):
    found = parse_policy(data)
    assert isinstance(found, StsPolicy | str)
    if isinstance(found, StsPolicy):
        names_host(found, "mx.a.test")


@given(RECORDS)
def test_records(texts):
    given_id = record_id(texts)
    assert given_id == "" or (given_id.isalnum() and len(given_id) <= 32)


@given(st.lists(st.binary(max_size=90).map(b"v=TLSRPTv1; rua=".__add__), max_size=2))
def test_report_addresses(texts):
    for one in report_addresses(texts):
        assert one.startswith(("mailto:", "https:"))
        assert not set(one) & {"\r", "\n", "\0"}


@given(st.lists(TLSA, max_size=5), st.lists(st.one_of(st.binary(max_size=60), st.just(LEAF)), max_size=4))
def test_certificates(records, chain):
    assert isinstance(mismatch(usable(records), chain, ["mx.test"], 1_800_000_000.0), str)


@given(st.integers(0, len(LEAF) - 1), st.integers(0, 255))
def test_damaged_certificates(place, octet):
    damaged = bytearray(LEAF)
    damaged[place] = octet
    records = [Tlsa(2, 1, 1, b"x" * 32), Tlsa(3, 1, 1, b"x" * 32)]
    if bytes(damaged) != LEAF:
        assert mismatch(records, [bytes(damaged), LEAF], ["mx.test"], 1_800_000_000.0)
