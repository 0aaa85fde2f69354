"""What answers of DNS mean for an identity's records (IDENT-013 to 016, DKIM-001, 002, 008, MFROM-005)."""

import pytest

from relay.model.check import Aspect
from relay.policy.checks import Result
from relay.policy.record_judgement import findings, follow_ups, judge, questions
from relay.policy.records import Answer, PublicKey, Published, Question, expected_records

KEY = "v=DKIM1; k=rsa; p=MIIBIjANBgkq+Ab/Cd=="
DOMAIN = "shop.example"
AT = f"s1._domainkey.{DOMAIN}"
NO_NAME = Answer(exists=False)
NO_TYPE = Answer()
SERVFAIL = Answer(failure="SERVFAIL")


def text(*values):
    return Answer(values)


def look(parts, zone):
    """Judge `parts` with the answers of `zone` ({(name, type): Answer}); what it does not hold does not exist."""
    records = expected_records(parts)
    answers = {}
    for asked in (questions, lambda given: follow_ups(given, answers)):
        for question in asked(records):
            answers[question] = zone.get((question.name, question.kind), NO_NAME)
    reports = judge(records, answers)
    return reports, findings(reports), answers


ONE_KEY = Published(DOMAIN, [PublicKey("s1", KEY)])
IN_ZONE = Published(DOMAIN, [PublicKey("s1", KEY, alias="s1.dkim.relay.example")])
KEYS = (
    # answers to: TXT at the name; others by (name, type); difference, error type, finding
    (text(KEY), {}, "published", "", "found"),
    (text("v=DKIM1;k=rsa;p=MIIBIjANBgkq+Ab/Cd=="), {}, "published", "", "found"),
    (text("p=MIIBIjAN Bgkq+Ab/Cd=="), {}, "published", "", "found"),
    (text("v=spf1 -all", KEY), {}, "published", "", "found"),
    (text(KEY.lower()), {}, "lower-cased", "INVALID_VALUE", "missing"),
    (text("v=DKIM1; k=rsa; p=other"), {}, "differs", "INVALID_VALUE", "missing"),
    (text("v=DKIM1; k=ed25519; p=MIIBIjANBgkq+Ab/Cd=="), {}, "differs", "INVALID_VALUE", "missing"),
    (text("v=DKIM1; p="), {}, "differs", "INVALID_VALUE", "missing"),
    (NO_NAME, {}, "absent", "HOST_NOT_FOUND", "missing"),
    (NO_TYPE, {}, "absent", "TYPE_NOT_FOUND", "missing"),
    (NO_NAME, {(f"{AT}.{DOMAIN}", "TXT"): text(KEY)}, "name appended twice", "HOST_NOT_FOUND", "missing"),
    (SERVFAIL, {}, "no answer", "DNS_SERVER_ERROR", "no answer"),
    (
        SERVFAIL,
        {(AT, "CNAME"): text("s1.dkim.relay.example")},
        "CNAME answers, TXT does not",
        "DNS_SERVER_ERROR",
        "no answer",
    ),
    (NO_NAME, {(AT, "CNAME"): text("elsewhere.example")}, "differs", "INVALID_VALUE", "missing"),
)


@pytest.mark.parametrize(("answer", "more", "difference", "error_type", "result"), KEYS)
@pytest.mark.req("IDENT-014", "IDENT-015", "DKIM-002", "DKIM-008")
def test_keys(answer, more, difference, error_type, result):
    for parts in (ONE_KEY, IN_ZONE):
        (report,), found, _ = look(parts, {(AT, "TXT"): answer, **more})
        assert (report.difference, report.error_type) == (difference, error_type)
        assert found[Aspect.DKIM].result == found[Aspect.VERIFICATION].result == result
        assert bool(report.text) is (difference != "published")
        assert found[Aspect.DKIM].text == report.text


@pytest.mark.req("DKIM-001")
def test_a_cname_into_the_zone_of_the_relay_is_right_before_the_zone_is():
    expected = expected_records(IN_ZONE)[0]
    assert (expected.kind, expected.value) == ("CNAME", "s1.dkim.relay.example")
    (report,), _, _ = look(IN_ZONE, {(AT, "CNAME"): text("S1.dkim.relay.EXAMPLE")})
    assert (report.difference, report.error_type) == ("absent", "TYPE_NOT_FOUND")
    assert "is right" in report.text


@pytest.mark.req("DKIM-001")
def test_all_three_keys_must_be_there():
    parts = Published(DOMAIN, [PublicKey(f"s{n}", f"v=DKIM1; k=rsa; p={n}") for n in (1, 2, 3)])
    zone = {(f"s{n}._domainkey.{DOMAIN}", "TXT"): text(f"v=DKIM1; k=rsa; p={n}") for n in (1, 2, 3)}
    assert look(parts, zone)[1][Aspect.DKIM].result is Result.FOUND
    for gap in list(zone):
        assert look(parts, {**zone, gap: NO_NAME})[1][Aspect.DKIM].result is Result.MISSING
        assert look(parts, {**zone, gap: SERVFAIL})[1][Aspect.DKIM].result is Result.NO_ANSWER
    unsure = {**zone, ("s1._domainkey.shop.example", "TXT"): SERVFAIL, ("s2._domainkey.shop.example", "TXT"): NO_TYPE}
    assert look(parts, unsure)[1][Aspect.DKIM].result is Result.MISSING


def test_a_key_that_does_not_decide_is_told_about_and_no_more():
    parts = Published(DOMAIN, [PublicKey("s1", KEY), PublicKey("e", "v=DKIM1; k=ed25519; p=x", decides=False)])
    reports, found, _ = look(parts, {(AT, "TXT"): text(KEY)})
    assert [report.difference for report in reports] == ["published", "absent"]
    assert found[Aspect.DKIM].result is Result.FOUND


@pytest.mark.parametrize(
    ("old", "new", "dkim", "verification"),
    [
        (text(KEY), NO_NAME, "missing", "found"),
        (NO_NAME, text("v=DKIM1; k=rsa; p=new"), "found", "found"),
        (SERVFAIL, NO_NAME, "missing", "no answer"),
        (NO_NAME, NO_NAME, "missing", "missing"),
    ],
)
def test_keys_in_use_prove_the_domain_while_others_are_waited_for(old, new, dkim, verification):
    keys = [PublicKey("s1", KEY, decides=False, in_use=True), PublicKey("s2", "v=DKIM1; k=rsa; p=new")]
    zone = {(AT, "TXT"): old, (f"s2._domainkey.{DOMAIN}", "TXT"): new}
    _, found, _ = look(Published(DOMAIN, keys), zone)
    assert (found[Aspect.DKIM].result, found[Aspect.VERIFICATION].result) == (dkim, verification)


TOKEN = "fmxqxT/icOYx4aA/bEUrDPMeax9/s3frblS+niixmqk="
WITH_TOKEN = Published(DOMAIN, [PublicKey("s1", KEY)], TOKEN)
TOKENS = (
    # at _amazonses., at the domain, at the key; findings of the verification and of DKIM
    (text(TOKEN), NO_TYPE, NO_NAME, "found", "missing"),
    (NO_NAME, text("v=spf1 -all", TOKEN), NO_NAME, "found", "missing"),
    (text("x", "y", TOKEN), NO_TYPE, SERVFAIL, "found", "no answer"),
    (text(TOKEN.lower()), NO_TYPE, NO_NAME, "missing", "missing"),
    (text(f'"{TOKEN}"'), NO_TYPE, NO_NAME, "missing", "missing"),
    (text("x"), text("y"), NO_NAME, "missing", "missing"),
    (NO_NAME, SERVFAIL, NO_NAME, "no answer", "missing"),
    (SERVFAIL, NO_TYPE, NO_NAME, "no answer", "missing"),
    (NO_NAME, NO_TYPE, SERVFAIL, "no answer", "no answer"),
    (SERVFAIL, SERVFAIL, text(KEY), "found", "found"),
)


@pytest.mark.parametrize(("label", "bare", "key", "verification", "dkim"), TOKENS)
@pytest.mark.req("IDENT-014", "IDENT-016")
def test_tokens(label, bare, key, verification, dkim):
    zone = {(f"_amazonses.{DOMAIN}", "TXT"): label, (DOMAIN, "TXT"): bare, (AT, "TXT"): key}
    _, found, _ = look(WITH_TOKEN, zone)
    assert (found[Aspect.VERIFICATION].result, found[Aspect.DKIM].result) == (verification, dkim)


MAIL_FROM = Published(
    DOMAIN, mail_from_domain="b.shop.example", mail_host="relay.example", spf_domain="bounce.relay.example"
)
SPF = "v=spf1 include:bounce.relay.example ~all"
MX = (
    (text("10 relay.example"), "published", "found"),
    (text("5 RELAY.example"), "published", "found"),
    (text("10 relay.example", "20 other.example"), "several", "missing"),
    (text("10 relay.example", "20 relay.example"), "several", "missing"),
    (text("10 other.example"), "differs", "missing"),
    (text("0 ."), "differs", "missing"),
    (NO_TYPE, "absent", "missing"),
    (NO_NAME, "absent", "missing"),
    (SERVFAIL, "no answer", "no answer"),
)


@pytest.mark.parametrize(("answer", "difference", "result"), MX)
@pytest.mark.req("MFROM-005")
def test_mail_from(answer, difference, result):
    for spf, spf_difference in ((text(SPF), "published"), (NO_TYPE, "absent"), (text("v=spf1 -all"), "differs")):
        zone = {("b.shop.example", "MX"): answer, ("b.shop.example", "TXT"): spf}
        (mx, txt), found, _ = look(MAIL_FROM, zone)
        assert (mx.difference, txt.difference) == (difference, spf_difference)
        assert found.keys() == {Aspect.MAIL_FROM}
        assert found[Aspect.MAIL_FROM].result == result


@pytest.mark.parametrize(
    ("values", "difference"),
    [
        (["v=spf1 ip4:192.0.2.1 include:bounce.relay.example -all"], "published"),
        (["V=SPF1 +include:BOUNCE.relay.example -all"], "published"),
        ([SPF, "v=spf1 -all"], "absent"),
        (["something"], "absent"),
    ],
)
def test_spf(values, difference):
    zone = {("b.shop.example", "MX"): text("10 relay.example"), ("b.shop.example", "TXT"): text(*values)}
    assert look(MAIL_FROM, zone)[0][1].difference == difference


def test_nothing_is_asked_further_about_what_is_published():
    zone = {(AT, "TXT"): text(KEY), (f"_amazonses.{DOMAIN}", "TXT"): text(TOKEN), (DOMAIN, "TXT"): NO_TYPE}
    assert set(look(WITH_TOKEN, zone)[2]) == {Question(name, kind) for name, kind in zone}


def test_further_questions_are_bounded():
    deep = Published("a.b.c.d.shop.example", [PublicKey(f"s{n}", KEY) for n in range(3)], TOKEN)
    assert len(look(deep, {})[2]) == 3 + 2 + 3 * 3
