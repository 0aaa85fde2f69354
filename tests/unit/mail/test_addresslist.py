"""Address lists: authors are read strictly, recipients leniently, both in linear time."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.address import Address, BadAddress, parse_mailbox
from relay.mail.addresslist import Mailbox, parse_from, parse_list

AUTHORS = [
    ("a@b.example", [("a@b.example", "")]),
    ("<a@b.example>", [("a@b.example", "")]),
    ("  <a@b.example>\t", [("a@b.example", "")]),
    ("Joe <a@b.example>", [("a@b.example", "Joe")]),
    ("Joe<a@b.example>", [("a@b.example", "Joe")]),
    ("Joe Q. Public <a@b.example>", [("a@b.example", "Joe Q. Public")]),
    ('"Public, Joe" <a@b.example>', [("a@b.example", "Public, Joe")]),
    ('"He said \\"hi\\"" <a@b.example>', [("a@b.example", 'He said "hi"')]),
    ('"c@d.example via list" <a@b.example>', [("a@b.example", "c@d.example via list")]),
    ("=?utf-8?q?J=C3=B6?= <a@b.example>", [("a@b.example", "Jö")]),
    ("=?utf-8?q?a=40b=2Eexample?= <a@b.example>", [("a@b.example", "a@b.example")]),
    ("root@b.example (Cron Daemon)", [("root@b.example", "")]),
    ("(x (nested) y) a@b.example", [("a@b.example", "")]),
    ("Joe\r\n <a@b.example>", [("a@b.example", "Joe")]),
    ('"a@b"@c.example', [('"a@b"@c.example', "")]),
    ('Joe <"a>b"@c.example>', [('"a>b"@c.example', "Joe")]),
    ("a@b.example, Joe <c@d.example>", [("a@b.example", ""), ("c@d.example", "Joe")]),
    ("Joe <A@B.Example>", [("A@b.example", "Joe")]),
]

FROM_TRICKS = [
    "",
    " ",
    "root",
    "a@b.example c@d.example",
    "a@b.example <c@d.example>",
    "<a@b.example> <c@d.example>",
    "<a@b.example> c@d.example",
    "<a@b.example>, ",
    ", a@b.example",
    "a@b.example,,c@d.example",
    "a@b.example (c@d.example)",
    "(c@d.example) a@b.example",
    "a@b.example (<c@d.example>)",
    "a@b.example (=?utf-8?q?c=40d=2Eexample?=)",
    "=?utf-8?q?c=40d=2Eexample?= <a@b.example>",
    "=?utf-8?b?PGNAZC5leGFtcGxlPg==?= <a@b.example>",
    "=?utf-8?q?a=40b=2Eexample=2C?= <c@d.example>",
    "=?utf-8?q?a=00b?= <c@d.example>",
    "=?utf-8?q?a?=@b.example",
    '"c@d.example <" <a@b.example>',
    '"<c@d.example>" <a@b.example>',
    '"c@d.example\\" <x" <a@b.example>',
    '"unbalanced <a@b.example>',
    'un"balanced <a@b.example>',
    "Joe <a@b.example",
    "Joe a@b.example>",
    "Joe <<a@b.example>>",
    "Joe < a@b.example>",
    "Joe <a@b.example >",
    "Joe <a @b.example>",
    "a@b.example.",
    "<a@b.example.>",
    "<@x.example:a@b.example>",
    "<@x.example,@y.example:a@b.example>",
    "group: a@b.example;",
    "group:;",
    "a@b.example;",
    "a@b.example; c@d.example",
    "a@(comment)b.example",
    "a(comment)@b.example",
    "(unclosed a@b.example",
    "a@b.example (unclosed",
    "a@b.example)",
    "a@b.example\x00",
    "a\x00@b.example",
    "a@b.example\x00<c@d.example>",
    "Joe \x00 <a@b.example>",
    "Joe\x1b <a@b.example>",
    "Joe\r\nX: <a@b.example>",
    "Joe <a@b.example>\r\n",
    "[a@b.example]",
    "a@[192.0.2.1]",
    "Joe [x] <a@b.example>",
    "\\a@b.example",
    "<>",
    "Joe <>",
    "@b.example",
    "a@b@c.example",
    "Jö <a@b.example>",
    "a@b.example:25",
]


@pytest.mark.req("HDR-011")
@pytest.mark.parametrize(("value", "expected"), AUTHORS)
def test_authors(value, expected):
    found = parse_from(value)
    assert [(str(each.address), each.name) for each in found] == expected


@pytest.mark.req("HDR-010")
@pytest.mark.parametrize("value", FROM_TRICKS)
def test_tricks_are_refused(value):
    assert isinstance(parse_from(value), BadAddress)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("root", "Missing final '@domain'"),
        ("Joe <root>", "Missing final '@domain'"),
        ("Joe <a..b@c.example>", "Local address contains illegal character"),
        ("a b@c.example", "Local address contains control or whitespace"),
        ("a@b c.example", "Domain contains control or whitespace"),
        ("<a@b>c>", "Illegal address"),
    ],
)
def test_texts(value, text):
    assert parse_from(value) == BadAddress(text)


def test_unicode_needs_smtputf8():
    assert isinstance(parse_from("Jö <ü@bücher.example>"), BadAddress)
    assert parse_from("Jö <ü@bücher.example>", smtputf8=True) == (
        Mailbox(Address("ü", "xn--bcher-kva.example"), "Jö"),
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("undisclosed-recipients:;", []),
        ("Friends: a@b.example, Joe <c@d.example>;", ["a@b.example", "c@d.example"]),
        ("Friends: a@b.example;, e@f.example", ["a@b.example", "e@f.example"]),
        ("a@b.example,, c@d.example,", ["a@b.example", "c@d.example"]),
        ("a@b.example (call me <now> @ home)", ["a@b.example"]),
        ("=?utf-8?q?x=40y?= <a@b.example>", ["a@b.example"]),
        ("a@b.example,\r\n\tc@d.example", ["a@b.example", "c@d.example"]),
    ],
)
def test_recipient_lists(value, expected):
    assert [str(each.address) for each in parse_list(value)] == expected


@pytest.mark.parametrize("value", ["root", "a@b.example <c@d.example>", "g: h: a@b.example;;", "g: a@b.example", ";"])
def test_bad_recipient_lists(value):
    assert isinstance(parse_list(value), BadAddress)


BOMBS = [
    "(" * 98_000 + ")" * 98_000 + "a@b.example",
    "a@b.example " + "(" * 98_000,
    "a@b.example " + "(\\(" * 30_000,
    '"' + "\\" * 98_000,
    '"' * 98_000,
    "<" * 98_000,
    "=?utf-8?q?a?= " * 40_000 + "<a@b.example>",
    "=?utf-8?q?" * 10_000,
    "=?" * 50_000,
    "()" * 49_000 + "a@b.example",
    "a@b.example," * 9_000,
    "a." * 50_000,
    "a@" * 50_000,
    ":" * 98_000,
    "x" * 98_000,
]


@pytest.mark.parametrize("value", BOMBS, ids=range(len(BOMBS)))
def test_bombs_cost_little(value):
    begun = time.process_time()
    parse_list(value)
    parse_from(value)
    assert time.process_time() - begun < 10  # linear; what is not takes minutes


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from('ab@.,;:<>()"\\ =?-\t\r\n\x00üé[]'), max_size=60), st.booleans())
def test_any_text_gives_mailboxes_or_our_error(value, smtputf8):
    for parse in (parse_from, parse_list):
        found = parse(value, smtputf8=smtputf8)
        if isinstance(found, BadAddress):
            assert found.text
            continue
        for each in found:
            # Whatever is found is a mailbox that stands in the text as it is.
            assert each.address.local in value
            assert parse_mailbox(str(each.address), smtputf8=smtputf8) == each.address


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(alphabet="abc xyz,.<>@()", max_size=12),
            st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
            st.from_regex(r"[a-z]{1,8}", fullmatch=True),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_quoted_names_never_move_the_address(entries):
    value = ", ".join(f'"{name}" <{local}@{domain}.example>' for name, local, domain in entries)
    found = parse_list(value)
    assert [str(each.address) for each in found] == [f"{local}@{domain}.example" for _, local, domain in entries]
    strict = parse_from(value)
    assert strict == found or isinstance(strict, BadAddress)
