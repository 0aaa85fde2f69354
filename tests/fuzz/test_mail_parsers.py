"""Whatever comes in, a parser of mail gives a value or our own error, never an exception, and what it gives holds."""

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.address import Address, BadAddress, normal_domain, parse_mailbox
from relay.mail.addresslist import Mailbox, _innocent, _parse, _read_elements, parse_from
from relay.mail.attachments import ContentRules
from relay.mail.dsn import untyped
from relay.mail.eicar import TEST_FILE, blocks_contain_eicar, contains_eicar
from relay.mail.encode import Plan
from relay.mail.headers import Field
from relay.mail.mime import MediaType, parse_media_type, read_part, split_parts
from relay.mail.parameters import media_type_fault, read_parameters
from relay.mail.replies import judge_reply
from relay.mail.structure import inspect
from relay.mail.trace import is_date, is_message_id
from relay.mail.words import decode_words
from relay.model.scan import ScanVerdict
from relay.net.clamd import judge
from relay.net.rspamd import score_of

TRICKY = st.text(
    alphabet=st.sampled_from('abA1.-_@"\\<>()[]:;, =?\x00\r\n\t\xad\u200b\u202e\u3002\uff0eüİßK\ud800'), max_size=80
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(TRICKY, st.text(max_size=40)), st.booleans())
def test_mailboxes(text, smtputf8):
    parsed = parse_mailbox(text, smtputf8=smtputf8)
    if isinstance(parsed, BadAddress):
        return
    # One form: parsing the result gives the result; nothing of the local part was changed.
    assert parse_mailbox(str(parsed), smtputf8=smtputf8) == parsed
    assert text.startswith(parsed.local + "@")
    assert parsed.domain == parsed.domain.lower()
    assert parsed.domain.isascii()
    assert not set("\x00\r\n<>") & set(parsed.domain)
    assert not set("\x00\r\n") & set(parsed.local)
    assert isinstance(parse_mailbox(parsed.canonical, smtputf8=True), Address)
    if not smtputf8:
        assert text.isascii()


@settings(max_examples=300, deadline=None)
@given(st.one_of(TRICKY, st.text(max_size=40)))
def test_domains_are_stable(text):
    domain = normal_domain(text)
    if isinstance(domain, str):
        assert normal_domain(domain) == domain
        assert normal_domain(domain.upper()) == domain


NAMES = st.text(alphabet=st.sampled_from('ab .@<>"\\(),=?:;'), max_size=25)


@settings(max_examples=500, deadline=None)
@given(NAMES, st.sampled_from(["a@b.example", '"x y"@b.example', "root", "a@b", "=?x@b.example", "a@b.example."]))
def test_the_short_way_agrees_with_the_grammar(name, address):
    value = f"{name}<{address}>"
    short, full = (
        _parse(value, smtputf8=False, author=True),
        _read_elements(value.strip(), smtputf8=False, author=True),
    )
    if isinstance(short, BadAddress):
        assert isinstance(full, BadAddress)
    else:
        assert isinstance(full, tuple)
        assert [each.address for each in short] == [each.address for each in full]
        assert ["".join(each.name.split()) for each in short] == ["".join(each.name.split()) for each in full]


@settings(max_examples=300, deadline=None)
@given(TRICKY)
def test_authors_are_few_and_bounded(value):
    found = parse_from(value, smtputf8=True)
    if not isinstance(found, BadAddress):
        assert all(isinstance(each, Mailbox) for each in found)
        assert value.count("@") >= len(found)
        assert all(_innocent([], [], each.address) for each in found)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from(["=?", "?=", "utf-8", "?q?", "?b?", "=C3", "w7w=", " ", "_"])).map("".join),
    )
)
def test_words(text):
    assert isinstance(decode_words(text), str)


@pytest.mark.parametrize(
    "text", ["=?utf-8?q?" + "=" * 100_000, "=?" * 100_000, "=?utf-8?b?A?= " * 40_000, "=?x?q?" * 50_000]
)
def test_words_cost_little(text):
    begun = time.process_time()
    decode_words(text)
    assert time.process_time() - begun < 10  # linear; what is not takes minutes


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_media_types_and_parts(data):
    assert isinstance(parse_media_type(data), MediaType)
    part = read_part(data, 0, len(data))
    assert 0 <= part.start <= part.body <= part.end == len(data)
    is_date(data)
    is_message_id(data)


@pytest.mark.parametrize(
    "value",
    [
        b"a/b" + b";x=1" * 50_000,
        b'a/b;x="' + b"\\" * 200_000,
        b"a" * 200_000,
        b"a/" + b" " * 200_000,
        b"a/b;" * 60_000,
    ],
    ids=range(5),
)
def test_media_types_cost_little(value):
    begun = time.process_time()
    assert len(parse_media_type(value).parameters) <= 100
    assert time.process_time() - begun < 10  # linear; what is not takes minutes


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([b"--b", b"\r\n", b"--", b" ", b"x", b"--b\r\n", b"--b--\r\n"]), max_size=40).map(
        b"".join
    )
)
def test_parts_lie_inside_and_in_order(data):
    span = split_parts(data, 0, len(data), b"b")
    if span is None:
        return
    position = span.preamble_end
    for part in span.parts:
        assert position <= part.start <= part.body <= part.end <= len(data)
        position = part.end
    assert position <= span.epilogue <= len(data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 999), st.text(max_size=10), st.text(max_size=60))
def test_replies(code, enhanced, text):
    assert judge_reply(code, enhanced, text).bounce_type in {"Permanent", "Transient", "Undetermined"}
    assert isinstance(untyped(text), str)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(1, 100), st.integers(1, 40), st.booleans())
def test_the_test_file_is_found_between_anything(before, after, width, size, in_base64):
    data = before + TEST_FILE + after
    coded = base64.b64encode(data) if in_base64 else data
    body = b"\r\n".join(coded[start : start + width] for start in range(0, len(coded), width)) if in_base64 else coded
    assert contains_eicar(b"Content-Transfer-Encoding: base64\r\n\r\n", body)
    assert blocks_contain_eicar(body[start : start + size] for start in range(0, len(body), size))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=200), st.lists(st.sampled_from([b"=", b"\r\n", b"EICAR", b"WDVP"])).map(b"".join))
)
def test_nothing_without_the_test_file_is_taken_for_it(body):
    assert not contains_eicar(b"Content-Type: multipart/mixed\r\n\r\n", body)
    assert not blocks_contain_eicar([body])


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("stream: OKFUNDERx\n\0"), max_size=40), st.binary(max_size=60))
def test_answers_of_scanners(reply, data):
    assert judge(reply, "clamav").verdict in ScanVerdict
    if judge(reply, "clamav").verdict is ScanVerdict.CLEAN:
        assert reply.endswith("OK")
    score = score_of(data)
    assert score is None or abs(score) <= 1e6


PIECES = st.lists(
    st.sampled_from(
        [
            b"--b\r\n",
            b"--b--\r\n",
            b"--c\r\n",
            b"--c--\r\n",
            b"\r\n",
            b"x",
            b"\xe9",
            b"=?utf-8?Q?a?=",
            b'"',
            b";",
            b"=",
            b"Content-Type: ",
            b"multipart/mixed; boundary=c\r\n",
            b"message/rfc822\r\n",
            b"text/html\r\n",
            b"name*0*=",
            b"Content-Transfer-Encoding: base64\r\n",
            b"TVqQAAMAAAAEAAAA",
            b"<a ses:no-track>",
            b"filename=a.exe",
        ]
    ),
    max_size=40,
)


@settings(max_examples=500, deadline=None)
@given(
    PIECES, st.sampled_from([b"multipart/mixed; boundary=b", b"multipart/digest", b"text/html", b"message/rfc822"])
)
def test_the_walk(pieces, kind):
    """A message is refused with a printable sentence, or comes out with edits that lie in order within it."""
    body = b"".join(pieces)
    field = Field(b"content-type", b"Content-Type: " + kind + b"\r\n")
    walked = inspect([field], {field.key: field}, body, 0, len(body), ContentRules(), eight_bit=not body.isascii())
    if not isinstance(walked, Plan):
        assert walked.text.isascii()
        assert walked.text.isprintable()
        return
    position = 0
    for edit in walked.edits:
        assert position <= edit.start <= edit.end <= len(body)
        position = edit.end


@settings(max_examples=500, deadline=None)
@given(st.one_of(TRICKY, st.text(alphabet=st.sampled_from("ab/;=*'\"\\ ()%\x00é0123"), max_size=60)))
def test_parameters(text):
    assert media_type_fault(text).isascii()
    for name, values in read_parameters(text).items():
        assert name == name.lower()
        assert values
