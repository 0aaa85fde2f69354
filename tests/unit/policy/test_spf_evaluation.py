"""What an SPF record says of an address (RFC 7208), by table."""

import pytest

from relay.policy.records import Answer
from relay.policy.spf_evaluation import SpfResult, evaluate


def judged(zone, domain="a.example", address="192.0.2.1"):
    """Return the verdict over a zone, {(name, type): values}, and how many questions it took."""
    evaluation, asked = evaluate(domain, address), 0
    try:
        wanted = next(evaluation)
        while True:
            asked += 1
            found = zone.get((wanted.name, wanted.kind), ())
            wanted = evaluation.send(found if isinstance(found, Answer) else Answer(tuple(found)))
    except StopIteration as end:
        return end.value, asked


def txt(record, name="a.example"):
    return {(name, "TXT"): (record,)}


@pytest.mark.parametrize(
    ("zone", "result"),
    [
        (txt("v=spf1 ip4:192.0.2.0/24 -all"), SpfResult.PASS),
        (txt("v=spf1 ip4:192.0.2.1 ~all"), SpfResult.PASS),
        (txt("v=spf1 ip4:198.51.100.0/24 -all"), SpfResult.FAIL),
        (txt("v=spf1 ip4:198.51.100.0/24 ~all"), SpfResult.SOFTFAIL),
        (txt("v=spf1 ?all"), SpfResult.NEUTRAL),
        (txt("v=spf1 ip6:2001:db8::/32"), SpfResult.NEUTRAL),
        (txt("v=spf1 -ip4:192.0.2.1 +all"), SpfResult.FAIL),
        (txt("V=SPF1 IP4:192.0.2.1 -ALL"), SpfResult.PASS),
        (txt("v=spf1 ip4:192.0.2.300 -all"), SpfResult.PERMERROR),
        (txt("v=spf1 ipv4:192.0.2.1 -all"), SpfResult.PERMERROR),
        (txt("v=spf1 exists:%{i}.list.example -all"), SpfResult.NONE),
        (txt("hello"), SpfResult.NONE),
        ({("a.example", "TXT"): ("v=spf1 -all", "v=spf1 +all")}, SpfResult.PERMERROR),
        ({("a.example", "TXT"): Answer(failure="no answer")}, SpfResult.TEMPERROR),
        (txt("v=spf1 a -all") | {("a.example", "A"): ("192.0.2.1",)}, SpfResult.PASS),
        (txt("v=spf1 a/24 -all") | {("a.example", "A"): ("192.0.2.77",)}, SpfResult.PASS),
        (txt("v=spf1 a:h.example/30 -all") | {("h.example", "A"): ("192.0.2.77",)}, SpfResult.FAIL),
        (txt("v=spf1 mx -all") | {("a.example", "MX"): ("10 m.example",), ("m.example", "A"): ("192.0.2.1",)},
         SpfResult.PASS),
        (txt("v=spf1 exists:e.example -all") | {("e.example", "A"): ("127.0.0.2",)}, SpfResult.PASS),
        (txt("v=spf1 ptr -all"), SpfResult.FAIL),
        (txt("v=spf1 include:b.example -all") | txt("v=spf1 ip4:192.0.2.1 -all", "b.example"), SpfResult.PASS),
        (txt("v=spf1 include:b.example ~all") | txt("v=spf1 -all", "b.example"), SpfResult.SOFTFAIL),
        (txt("v=spf1 include:b.example -all"), SpfResult.PERMERROR),
        (txt("v=spf1 redirect=b.example") | txt("v=spf1 ip4:192.0.2.1 -all", "b.example"), SpfResult.PASS),
        (txt("v=spf1 redirect=b.example"), SpfResult.PERMERROR),
        (txt("v=spf1 exp=why.example -all"), SpfResult.FAIL),
    ],
)  # fmt: skip
def test_results(zone, result):
    assert judged(zone)[0].result is result


def test_a_record_of_the_other_family():
    assert judged(txt("v=spf1 ip6:2001:db8::/32 -all"), address="2001:db8::7")[0].result is SpfResult.PASS
    zone = txt("v=spf1 a//64 -all") | {("a.example", "AAAA"): ("2001:db8::1",)}
    assert judged(zone, address="2001:db8::7")[0].result is SpfResult.PASS


def test_lookups_are_bounded():
    """RFC 7208 section 4.6.4: ten, then it is an error; records that lead to themselves end, too."""
    circle = txt("v=spf1 include:a.example -all")
    verdict, asked = judged(circle)
    assert verdict.result is SpfResult.PERMERROR
    assert asked <= 12
    wide = txt("v=spf1 " + " ".join(f"include:i{n}.example" for n in range(50)) + " -all")
    for number in range(50):
        wide |= txt("v=spf1 ?all", f"i{number}.example")
    verdict, asked = judged(wide)
    assert verdict.result is SpfResult.PERMERROR
    assert asked <= 12


def test_names_without_addresses_are_bounded():
    verdict, asked = judged(txt("v=spf1 a:x1.example a:x2.example a:x3.example a:x4.example -all"))
    assert verdict.result is SpfResult.PERMERROR
    assert asked <= 5
