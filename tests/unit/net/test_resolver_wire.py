"""Huge answers are cut before they are parsed, and keep what counts."""

import random

import dns.message
import dns.rrset
import pytest

from relay.net.resolver_wire import RECORDS_MAX, trimmed


def answer(kind, *rrsets, authority=(), additional=()):
    message = dns.message.make_response(dns.message.make_query("a.test.", kind))
    for section, texts in (
        (message.answer, rrsets),
        (message.authority, authority),
        (message.additional, additional),
    ):
        section += [dns.rrset.from_text(owner, 60, "IN", each, *records) for owner, each, records in texts]
    return message.to_wire(max_size=65535)


def test_a_usual_answer_stays_as_it_is():
    wire = answer("MX", ("a.test.", "MX", [f"{n} mx{n}.a.test." for n in range(RECORDS_MAX)]))
    assert trimmed(wire) is wire


def test_of_thousands_of_mail_exchangers_the_most_preferred_stay():
    numbers = list(range(2000))
    random.Random(4).shuffle(numbers)
    wire = answer("MX", ("a.test.", "MX", [f"{n} mx{n}.a.test." for n in numbers]))
    (kept,) = dns.message.from_wire(trimmed(wire)).answer
    assert sorted(each.preference for each in kept) == list(range(RECORDS_MAX))
    assert {each.exchange.to_text() for each in kept} == {f"mx{n}.a.test." for n in range(RECORDS_MAX)}


def test_aliases_are_kept_in_front_of_what_they_lead_to():
    wire = answer(
        "MX", ("a.test.", "CNAME", ["b.test."]), ("b.test.", "MX", [f"10 mx{n}.b.test." for n in range(1000)])
    )
    chain = dns.message.from_wire(trimmed(wire)).resolve_chaining()
    assert len(chain.answer) == RECORDS_MAX - 1


def test_addresses_and_texts_are_cut_in_their_order():
    wire = answer("A", ("a.test.", "A", [f"10.0.{n // 250}.{n % 250}" for n in range(3000)]))
    assert len(dns.message.from_wire(trimmed(wire)).answer[0]) == RECORDS_MAX
    wire = answer("TXT", ("a.test.", "TXT", [f'"{n} {"x" * 100}"' for n in range(500)]))
    assert len(dns.message.from_wire(trimmed(wire)).answer[0]) == RECORDS_MAX


def test_what_is_beside_an_answer_is_cut_too():
    names = [f"ns{n}.test." for n in range(1000)]
    wire = answer("MX", ("a.test.", "MX", ["5 mx.a.test."]), authority=[("test.", "NS", names)])
    message = dns.message.from_wire(trimmed(wire))
    assert len(message.answer[0]) == 1
    assert len(message.authority[0]) == RECORDS_MAX
    wire = answer("MX", ("a.test.", "MX", ["5 mx.a.test."]), additional=[(name, "A", ["10.0.0.1"]) for name in names])
    assert len(dns.message.from_wire(trimmed(wire)).additional) == RECORDS_MAX


@pytest.mark.parametrize("seed", range(5))
def test_broken_bytes_never_hang_or_raise(seed):
    chance = random.Random(seed)
    wire = answer("MX", ("a.test.", "MX", [f"{n} mx{n}.a.test." for n in range(400)]))
    for _ in range(200):
        broken = bytearray(wire[: chance.randrange(13, len(wire))])
        for _ in range(chance.randrange(20)):
            broken[chance.randrange(12, len(broken))] = chance.choice([0, 0xC0, 0xC1, 0xFF, chance.randrange(256)])
        assert isinstance(trimmed(bytes(broken)), bytes)


def test_a_name_that_points_at_itself_is_broken():
    wire = answer("MX", ("a.test.", "MX", [f"{n} mx{n}.a.test." for n in range(400)]))
    loop = b"\xc0" + bytes([wire.index(b"\xc0\x0c")])
    assert trimmed(wire.replace(b"\xc0\x0c", loop)) == wire[:12]
