"""Block lists: questions, answers, beginnings and ends (RFC 5782, DNSBL-001)."""

import pytest

from relay.policy.records import Answer
from relay.reputation.blocklist import Change, Listing, Verdict, changes, domain_question, judge, nobody, question


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.99", "99.2.0.192.list.example"),
        ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.list.example"),
    ],
)
def test_an_address_is_asked_for_backwards(address, name):
    assert question(address, "list.example") == name


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.99", "1.0.0.127.list.example"),
        ("2001:db8::1", "1.0.0.0.0.0.f.7.f.f.f.f." + "0." * 20 + "list.example"),
    ],
)
def test_there_is_an_address_of_each_family_that_no_list_may_have(address, name):
    """RFC 5782 section 5."""
    assert question(nobody(address), "list.example") == name


def test_a_domain_is_asked_for_as_it_is():
    assert domain_question("Shop.Example.", "list.example") == "shop.example.list.example"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer(), Verdict()),
        (Answer(exists=False), Verdict()),
        (Answer(("127.0.0.2",)), Verdict(listed=True, codes=("127.0.0.2",))),
        (Answer(("127.0.0.2", "127.0.0.4")), Verdict(listed=True, codes=("127.0.0.2", "127.0.0.4"))),
        (Answer(failure="no answer for A in 5 s"), Verdict(unknown="no answer for A in 5 s")),
    ],
)
def test_what_an_answer_means(answer, verdict):
    assert judge(answer) == verdict


@pytest.mark.parametrize(
    "values", [("127.255.255.254",), ("127.0.0.2", "127.255.255.252"), ("203.0.113.7",), ("::1",)]
)
def test_a_refusal_or_a_closed_list_is_no_listing(values):
    verdict = judge(Answer(values))
    assert not verdict.listed
    assert verdict.unknown


KEY = ("192.0.2.1", "Some List")
LASTING = Listing(*KEY, began_ms=1000, detail="spam")


@pytest.mark.parametrize(
    ("current", "looks", "expected"),
    [
        ((), {KEY: Verdict(listed=True)}, [Change(Listing(*KEY, began_ms=5000, detail="seen"), began=True)]),
        ((LASTING,), {KEY: Verdict(listed=True)}, []),
        ((LASTING,), {KEY: Verdict(unknown="no answer")}, []),
        ((LASTING,), {KEY: Verdict()}, [Change(Listing(*KEY, 1000, 5000, "spam"), began=False)]),
        ((LASTING,), {}, [Change(Listing(*KEY, 1000, 5000, "spam"), began=False)]),
        ((), {KEY: Verdict(unknown="no answer")}, []),
    ],
)
def test_listings_begin_and_end(current, looks, expected):
    assert changes(current, looks, {KEY: "seen"}, 5000) == expected
