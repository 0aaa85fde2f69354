"""The voices on TLS joined: the operator, the sender, the recipient's domain and its hosts."""

import itertools

import pytest

from relay.model.tls import NO_TLSA, StsMode, StsPolicy, Tlsa, TlsaFound
from relay.policy.tls_policy import (
    NOTHING_ASKED,
    PLAIN,
    Asked,
    DomainRule,
    HostTls,
    TlsNeed,
    TlsRules,
    Vouched,
    after_testing,
    in_words,
    of_host,
    of_site,
    result_of,
)

ENFORCE = StsPolicy(StsMode.ENFORCE, ("mx.test",), 1)
TESTING = StsPolicy(StsMode.TESTING, ("mx.test",), 1)
RECORDS = TlsaFound((Tlsa(3, 1, 1, b"x" * 32),), "base.test")
UNUSABLE = TlsaFound((Tlsa(1, 1, 1, b"x" * 32),), "base.test")
LOST = TlsaFound(failure="no answer")
REQUIRE, REQUIRETLS, RELAXED = Asked(require=True), Asked(requiretls=True), Asked(relaxed=True)
OPPORTUNISTIC = TlsNeed.OPPORTUNISTIC


def site(asked=NOTHING_ASKED, need=OPPORTUNISTIC, rules=TlsRules(), **given):  # noqa: B008 - frozen
    return of_site(asked, need, rules, **given)


def host(asked=NOTHING_ASKED, need=OPPORTUNISTIC, found=NO_TLSA, name="mx.test", rules=TlsRules(), **given):  # noqa: B008
    return of_host(site(asked, need, rules, **given), name, found)


def test_nothing_asked_is_plain():
    assert site() == PLAIN
    assert PLAIN.key == ""
    plain = host()
    assert (plain.need, plain.verified, plain.minimum, plain.policy) == (OPPORTUNISTIC, False, "1.0", "none")
    assert not plain.bound


@pytest.mark.req("TLS-003", "TLS-005", "CFG-005")
@pytest.mark.parametrize(
    ("given", "need", "policy", "verified", "minimum"),
    [
        ({"asked": REQUIRE}, TlsNeed.REQUIRE, "none", False, "1.2"),
        ({"need": TlsNeed.REQUIRE}, TlsNeed.REQUIRE, "none", False, "1.2"),
        ({"need": TlsNeed.NONE}, TlsNeed.NONE, "none", False, "1.0"),
        ({"need": TlsNeed.NONE, "asked": REQUIRE}, TlsNeed.REQUIRE, "none", False, "1.2"),
        ({"need": TlsNeed.NONE, "sts": ENFORCE}, TlsNeed.VERIFY, "sts", True, "1.2"),
        ({"asked": REQUIRETLS}, TlsNeed.VERIFY, "none", True, "1.2"),
        ({"sts": ENFORCE}, TlsNeed.VERIFY, "sts", True, "1.2"),
        ({"sts": StsPolicy(StsMode.NONE, (), 1)}, OPPORTUNISTIC, "none", False, "1.0"),
        ({"found": RECORDS, "secure_mx": True}, TlsNeed.VERIFY, "dane", False, "1.2"),
        ({"found": UNUSABLE, "secure_mx": True}, TlsNeed.REQUIRE, "dane", False, "1.2"),
        ({"found": UNUSABLE, "secure_mx": True, "asked": REQUIRETLS}, TlsNeed.VERIFY, "dane", True, "1.2"),
        ({"sts": ENFORCE, "asked": RELAXED}, OPPORTUNISTIC, "none", False, "1.0"),
        ({"asked": Asked(require=True, relaxed=True), "sts": ENFORCE}, TlsNeed.REQUIRE, "none", False, "1.2"),
        ({"asked": Asked(requiretls=True, relaxed=True), "sts": ENFORCE}, TlsNeed.VERIFY, "sts", True, "1.2"),
    ],
)
def test_the_stricter_voice_wins(given, need, policy, verified, minimum):
    found = host(**given)
    assert (found.need, found.policy, found.verified, found.minimum) == (need, policy, verified, minimum)
    assert not found.refusal


def test_dane_beats_mta_sts():
    """RFC 8461 section 2: also where the policy does not name the host."""
    found = host(sts=StsPolicy(StsMode.ENFORCE, ("elsewhere.test",), 1), secure_mx=True, found=RECORDS)
    assert (found.policy, found.tlsa, found.server_name) == ("dane", RECORDS.records, "base.test")
    assert found.names == ("base.test", "mx.test")
    assert not found.refusal


def test_no_answer_about_records_refuses_the_host():
    """RFC 7672 section 2.1.2, with a policy of MTA-STS or without."""
    for sts in (None, ENFORCE):
        found = host(sts=sts, secure_mx=True, found=LOST)
        assert "no answer" in found.refusal
        assert found.result == "dnssec-invalid"


def test_enforce_refuses_hosts_that_it_does_not_name():
    """RFC 8461 section 4.2."""
    found = host(sts=ENFORCE, name="other.test")
    assert found.refusal == "the MTA-STS policy of the domain does not name other.test"
    assert not found.permanent


def test_testing_asks_softly_and_then_lets_go():
    found = host(sts=TESTING)
    assert found.soft
    assert found.verified
    assert after_testing(site(sts=TESTING), "mx.test").need is OPPORTUNISTIC
    assert after_testing(site(REQUIRE, sts=TESTING), "mx.test").need is TlsNeed.REQUIRE
    unnamed = host(sts=TESTING, name="other.test")
    assert not unnamed.refusal
    assert unnamed.result == "validation-failure"
    assert unnamed.need is OPPORTUNISTIC
    assert not host(REQUIRETLS, sts=TESTING).soft


@pytest.mark.parametrize(
    ("vouched", "given", "refused", "permanent"),
    [
        (Vouched.YES, {}, False, False),
        (Vouched.NO, {}, True, True),
        (Vouched.UNKNOWN, {}, True, False),
        (Vouched.NO, {"sts": ENFORCE}, False, False),
        (Vouched.NO, {"sts": TESTING}, False, False),
        (Vouched.NO, {"sts": ENFORCE, "name": "other.test"}, True, True),
    ],
)
def test_requiretls_needs_somebody_who_vouches_for_the_name(vouched, given, refused, permanent):
    """RFC 8689 section 4.2.1."""
    found = host(REQUIRETLS, vouched=vouched, **given)
    assert (bool(found.refusal), found.permanent) == (refused, permanent)
    assert not host(vouched=vouched, need=TlsNeed.VERIFY).refusal


RULES = TlsRules(
    domains=(
        DomainRule("*.test", TlsNeed.REQUIRE),
        DomainRule("none.test", TlsNeed.NONE),
        DomainRule("*.new.test", TlsNeed.VERIFY, "1.3"),
        DomainRule("old.test", TlsNeed.OPPORTUNISTIC, "1.1"),
    )
)


@pytest.mark.parametrize(
    ("domain", "need", "minimum"),
    [
        ("a.test", TlsNeed.REQUIRE, "1.2"),
        ("b.a.test", TlsNeed.REQUIRE, "1.2"),
        ("test", OPPORTUNISTIC, "1.0"),
        ("none.test", TlsNeed.NONE, "1.0"),
        ("x.new.test", TlsNeed.VERIFY, "1.3"),
        ("old.test", OPPORTUNISTIC, "1.1"),
        ("elsewhere.example", OPPORTUNISTIC, "1.0"),
    ],
)
def test_the_closest_rule_of_the_operator_counts(domain, need, minimum):
    found = host(rules=RULES, domain=domain)
    assert (found.need, found.minimum) == (need, minimum)


def test_a_star_is_for_all_others():
    rules = TlsRules(domains=(DomainRule("*", TlsNeed.VERIFY), DomainRule("a.test", TlsNeed.NONE)))
    assert host(rules=rules, domain="a.test").need is TlsNeed.NONE
    assert host(rules=rules, domain="b.a.test").need is TlsNeed.VERIFY
    assert host(rules=rules, domain="test").need is TlsNeed.VERIFY


def test_rules_and_what_was_published():
    assert host(rules=RULES, domain="none.test", sts=ENFORCE, secure_mx=True).policy == "none"
    assert host(rules=RULES, domain="old.test", sts=ENFORCE).need is OPPORTUNISTIC
    assert host(rules=RULES, domain="a.test", sts=ENFORCE).policy == "sts"
    assert host(rules=RULES, domain="x.new.test", sts=ENFORCE).minimum == "1.3"
    assert host(REQUIRE, rules=RULES, domain="none.test").need is TlsNeed.REQUIRE


@pytest.mark.req("TLS-003")
def test_versions_are_the_operators():
    rules = TlsRules("1.1", "1.3")
    assert host(rules=rules).minimum == "1.1"
    assert host(REQUIRE, rules=rules).minimum == "1.3"
    assert host(rules=rules, sts=ENFORCE).minimum == "1.3"
    assert host(rules=rules, secure_mx=True, found=RECORDS).minimum == "1.3"


def test_different_needs_have_different_keys():
    """Deliveries share a connection only where these are the same."""
    different = [
        site(),
        site(REQUIRE),
        site(REQUIRETLS),
        site(REQUIRETLS, vouched=Vouched.NO),
        site(RELAXED),
        site(sts=ENFORCE),
        site(sts=TESTING),
        site(sts=StsPolicy(StsMode.ENFORCE, ("other.test",), 1)),
        site(secure_mx=True),
        site(secure_mx=True, sts=ENFORCE),
        site(need=TlsNeed.VERIFY),
        site(need=TlsNeed.NONE),
        site(rules=TlsRules("1.2")),
    ]
    for one, other in itertools.combinations(different, 2):
        assert one.key != other.key
    assert site(sts=ENFORCE).key == site(sts=StsPolicy(StsMode.ENFORCE, ("mx.test",), 99)).key


@pytest.mark.parametrize(
    ("text", "offered", "expected"),
    [
        ("TLS is required and the host does not offer it", False, "starttls-not-supported"),
        ("TLS failed: certificate: certificate has expired", True, "certificate-expired"),
        ("TLS failed: certificate: Hostname mismatch, certificate is not valid for 'x'", True,
         "certificate-host-mismatch"),
        ("TLS failed: certificate: self-signed certificate", True, "certificate-not-trusted"),
        ("TLS failed: certificate: the certificate fits none of the TLSA records", True, "validation-failure"),
        ("TLS failed: wrong version number", True, "validation-failure"),
        ("STARTTLS refused: 454 no", True, "validation-failure"),
    ],
)  # fmt: skip
def test_failures_have_the_names_of_reports(text, offered, expected):
    """RFC 8460 section 4.3."""
    assert result_of(text, host(sts=ENFORCE), offered=offered) == expected


def test_in_words():
    def words(found: HostTls) -> str:
        return "; ".join(in_words(found))

    assert "clear text" in words(host())
    assert "no TLS" in words(host(need=TlsNeed.NONE))
    assert "trusted and for mx.test" in words(host(sts=ENFORCE))
    assert "3 1 1 7878" in words(host(secure_mx=True, found=RECORDS))
    assert "REQUIRETLS" in words(host(REQUIRETLS))
    assert "reported" in words(host(sts=TESTING))
    assert "not used" in words(host(sts=ENFORCE, name="other.test"))
