"""Header sections: bytes kept, faults named, long lines folded."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.headers import HEAD_MAX_BYTES, SINGLE_FIELDS, Field, join_head, parse_head, refuse_duplicates
from relay.model.refusal import Reason, Refusal

FIELD_TEXT = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.from_regex(r"[!-9;-~]{1,20}", fullmatch=True), st.lists(FIELD_TEXT, min_size=1, max_size=3)),
        max_size=20,
    )
)
@pytest.mark.req("HDR-001", "HDR-017")
def test_round_trip_is_exact(entries):
    head = "".join(f"{name}:" + "\r\n\t".join(lines) + "\r\n" for name, lines in entries).encode() + b"\r\n"
    fields = parse_head(head)
    assert join_head(fields) == head
    assert [field.key for field in fields] == [name.lower().encode() for name, _ in entries]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_give_fields_or_a_refusal(data, smtputf8):
    fields = parse_head(data + b"\r\n\r\n", smtputf8=smtputf8)
    assert isinstance(fields, Refusal) or join_head(fields) in (data + b"\r\n\r\n", data + b"\r\n")


def test_values_are_unfolded():
    assert parse_head(b"Subject: a\r\n b\r\n\tc \r\nX:\r\n\r\n") == [
        Field(b"subject", b"Subject: a\r\n b\r\n\tc \r\n"),
        Field(b"x", b"X:\r\n"),
    ]
    first, second = parse_head(b"Subject: a\r\n b\r\n\tc \r\nX:\r\n\r\n")
    assert (first.name, first.value) == (b"Subject", b"a b\tc")
    assert (second.name, second.value) == (b"X", b"")
    assert parse_head(b"\r\n") == []


@pytest.mark.req("HDR-010")
@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b": x\r\n\r\n", "Empty header names are illegal."),
        (b"A: x\r\n : y\r\n:z\r\n\r\n", "Empty header names are illegal."),
        (b" : x\r\n\r\n", "Empty header names are illegal."),
        (b"A b: x\r\n\r\n", "Header name contains an illegal character."),
        (b"A : x\r\n\r\n", "Header name contains an illegal character."),
        (b"A\x01: x\r\n\r\n", "Header name contains an illegal character."),
        (b"\x7f: x\r\n\r\n", "Header name contains an illegal character."),
        (b"A\xc3\xbc: x\r\n\r\n", "Header name contains an illegal character."),
        (b" leading: x\r\n\r\n", "Header name contains an illegal character."),
        (b"no colon\r\n\r\n", "Header line has no colon."),
        (b"A: x\r\n\r\nB: y\r\n\r\n", "Header line has no colon."),
        (b"A: x\x00\r\n\r\n", "Header field contains NUL."),
        (b"A: x\nB: y\r\n\r\n", "Header field contains a bare CR or LF."),
        (b"A: x\rB: y\r\n\r\n", "Header field contains a bare CR or LF."),
        (b"A: x\r\r\n\r\n", "Header field contains a bare CR or LF."),
        (b"A: x", "Header section has no end."),
        (b"", "Header section has no end."),
    ],
)
def test_faults(head, text):
    refusal = parse_head(head, smtputf8=True)
    assert isinstance(refusal, Refusal)
    assert refusal.detail == text
    assert refusal.text == f"Transaction failed: {text}"


@pytest.mark.req("HDR-022")
def test_raw_eight_bit_is_refused_unless_smtputf8():
    head = "Subject: Grüße\r\n\r\n".encode()
    refusal = parse_head(head)
    assert refusal.reason is Reason.BAD_HEADER
    assert "8-bit" in refusal.text
    assert join_head(parse_head(head, smtputf8=True)) == head
    assert isinstance(parse_head(b"Subject: \xfc\r\n\r\n", smtputf8=True), Refusal)


@pytest.mark.req("HDR-022")
def test_long_lines_are_folded_at_white_space():
    assert join_head(parse_head(b"X: " + b"a" * 995 + b"\r\n\r\n")) == b"X: " + b"a" * 995 + b"\r\n\r\n"
    assert parse_head(b"X:" + b"a" * 998 + b"\r\n\r\n").reason is Reason.LINE_TOO_LONG
    long = b"X: " + b" ".join([b"word"] * 20_000) + b"\r\n\r\n"
    fields = parse_head(long)
    lines = fields[0].raw.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert fields[0].raw.replace(b"\r\n ", b" ") == long[:-2]
    assert all(line.strip() for line in lines[:-1])


@pytest.mark.parametrize(
    "value", [b"x" * 999, b"x " * 3 + b"y" * 999, b"y" * 500 + b" " * 999, b"y" * 990 + b" " * 30]
)
def test_lines_that_cannot_be_folded(value):
    refusal = parse_head(b"X: " + value + b"\r\n\r\n")
    assert refusal.reason is Reason.LINE_TOO_LONG
    assert "'X'" in refusal.text


def test_size_and_count_are_bounded():
    assert isinstance(parse_head(b"X: y\r\n" * 2001 + b"\r\n"), Refusal)
    assert isinstance(parse_head((b"X: " + b"y" * 900 + b"\r\n") * 300 + b"\r\n"), Refusal)


@pytest.mark.parametrize(
    "head",
    [b"a" * (HEAD_MAX_BYTES - 4), b"a:\r\n" * 60_000, b"a:" + b"\r\n " * 80_000, b"\r" * 200_000, b"a\r\n" * 80_000],
    ids=range(5),
)
def test_hostile_sections_cost_little(head):
    begun = time.process_time()
    assert isinstance(parse_head(head + b"\r\n\r\n"), Refusal | list)
    assert time.process_time() - begun < 10  # linear; what is not takes minutes


@pytest.mark.req("HDR-002")
def test_there_are_58_single_fields():
    assert len(SINGLE_FIELDS) == 58
    assert {b"to", b"cc", b"bcc", b"received"}.isdisjoint(SINGLE_FIELDS)


@pytest.mark.req("HDR-002", "HDR-003")
@pytest.mark.parametrize("name", sorted(SINGLE_FIELDS.values()))
def test_a_second_one_is_refused(name):
    refusal = refuse_duplicates([name.lower().encode(), b"x", name.lower().encode()])
    assert refusal.text == f"Transaction failed: Duplicate header '{name}'."


def test_other_fields_may_repeat():
    assert refuse_duplicates([b"to", b"to", b"received", b"received", b"x-a", b"x-a", b"resent-from"] * 2) is None
