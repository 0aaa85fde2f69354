"""The mailbox parser: what is taken, what is refused and with which words."""

import pytest

from relay.mail.address import Address, BadAddress, normal_domain, parse_mailbox

GOOD = [
    ("a@b.example", "a@b.example"),
    ("A.b+c@B.Example", "A.b+c@b.example"),
    ("!#$%&'*+/=?^_`{|}~-@b.example", "!#$%&'*+/=?^_`{|}~-@b.example"),
    ('"a@b"@c.example', '"a@b"@c.example'),
    ('"a b\\"c"@c.example', '"a b\\"c"@c.example'),
    ('"very.long quoted"@c.example', '"very.long quoted"@c.example'),
    ("x" * 64 + "@b.example", "x" * 64 + "@b.example"),
    ("a@localhost", "a@localhost"),
    ("a@1a.2b", "a@1a.2b"),
    ("a@XN--BCHER-KVA.example", "a@xn--bcher-kva.example"),
]

BAD = [
    ("", "Missing final '@domain'"),
    ("a", "Missing final '@domain'"),
    ("a@", "Missing final '@domain'"),
    ('"a"', "Missing final '@domain'"),
    ("@b.example", "Illegal address"),
    ("a b@c.example", "Local address contains control or whitespace"),
    ("a\tb@c.example", "Local address contains control or whitespace"),
    ("a\x00@c.example", "Local address contains control or whitespace"),
    ("a\r\nRCPT TO:<x@y>@c.example", "Local address contains control or whitespace"),
    ("a,b@c.example", "Local address contains illegal character"),
    ("a(b)@c.example", "Local address contains illegal character"),
    ("a..b@c.example", "Local address contains illegal character"),
    (".a@c.example", "Local address contains illegal character"),
    ("a.@c.example", "Local address contains illegal character"),
    ('"a@c.example', "Local address contains illegal character"),
    ('"a\nb"@c.example', "Local address contains illegal character"),
    ('"a"b@c.example', "Illegal address"),
    ("a@b c.example", "Domain contains control or whitespace"),
    ("a@b.example\n", "Domain contains control or whitespace"),
    ("a@b.example\x00", "Domain contains control or whitespace"),
    ("a@b.example.", "Illegal address"),
    ("a@.b.example", "Illegal address"),
    ("a@b..example", "Illegal address"),
    ("a@b.example:25", "Illegal address"),
    ("a@b.example,c@d.example", "Illegal address"),
    ("a@b@c.example", "Illegal address"),
    ("@a.example,@b.example:c@d.example", "Illegal address"),
    ("a@[192.0.2.1]", "Illegal address"),
    ("a@[IPv6:2001:db8::1]", "Illegal address"),
    ("a@192.0.2.1", "Illegal address"),
    ("a@12345", "Illegal address"),
    ("a@b_c.example", "Illegal address"),
    ("a@-b.example", "Illegal address"),
    ("a@b-.example", "Illegal address"),
    ("a@b.example(comment)", "Illegal address"),
    ("a@" + "x" * 64 + ".example", "Illegal address"),
    ("a@xn--.example", "Illegal address"),
    ("a@xn--a.example", "Illegal address"),
    ("x" * 65 + "@b.example", "Illegal address"),
    ("x" * 5000 + "@b.example", "Illegal address"),
    ("a@" + ".".join(["x" * 60] * 5) + ".example", "Illegal address"),
    ("ü@b.example", "Address contains non-ASCII characters"),
    ("a@bücher.example", "Address contains non-ASCII characters"),
]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_good_mailboxes(text, expected):
    parsed = parse_mailbox(text)
    assert isinstance(parsed, Address)
    assert str(parsed) == expected


@pytest.mark.req("SMTP-016", "HDR-010")
@pytest.mark.parametrize(("text", "reason"), BAD)
def test_bad_mailboxes(text, reason):
    assert parse_mailbox(text) == BadAddress(reason)


@pytest.mark.parametrize("text", ["ü@b.example", "用户@b.example", '"ü b"@b.example', "ไทยำ@b.example"])
def test_smtputf8_local_parts(text):
    assert str(parse_mailbox(text, smtputf8=True)) == text


@pytest.mark.parametrize(
    "local",
    [
        "u\u0308",  # NFD
        "a\u00adb",  # soft hyphen
        "a\u200bb",  # zero width space
        "a\u200db",  # zero width joiner
        "a\u202eb",  # right-to-left override
        "\uff41",  # full-width a
        "\uff71",  # half-width katakana
        "a\u00a0b",  # no-break space
        "a\u0085b",  # next line
        "a\ue000",  # private use
        "a\ud800",  # lone surrogate
        "\u00fc" * 33,  # 66 octets
    ],
)
def test_unicode_tricks_in_local_parts(local):
    assert isinstance(parse_mailbox(f"{local}@b.example", smtputf8=True), BadAddress)


@pytest.mark.parametrize("domain", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.EXAMPLE", "Bücher.Example"])
def test_one_form_for_a_domain(domain):
    assert str(parse_mailbox(f"a@{domain}", smtputf8=True)) == "a@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "domain",
    [
        "b\u3002example",  # ideographic full stop
        "b\uff0eexample",
        "b\uff61example",
        "bu\u0308cher.example",
        "b\u00aducher.example",
        "b\u200bc.example",
        "b\u200dc.example",
        "b\u202ec.example",
        "\uff42.example",
        "\u212aelvin.example",  # KELVIN SIGN folds to k
        "\u2126.example",
        "a\u05d0.example",  # bidi rule
        "\U0001f4a9.example",
        "☃.example",
        "bücher.example.",
        "bücher..example",
        "bücher_x.example",
        "ü" * 70 + ".example",
    ],
)
def test_unicode_tricks_in_domains(domain):
    assert isinstance(parse_mailbox(f"a@{domain}", smtputf8=True), BadAddress)
    assert isinstance(normal_domain(domain), BadAddress)


def test_length_counts_octets_of_what_travels():
    domain = ".".join(["ü" * 40] * 4) + ".example"
    assert isinstance(parse_mailbox(f"{'ü' * 30}@{domain}", smtputf8=True), BadAddress)


@pytest.mark.req("API-020")
def test_domains_compare_without_case_local_parts_with_case():
    assert parse_mailbox("a@B.example") == parse_mailbox("a@b.EXAMPLE")
    assert parse_mailbox("A@b.example") != parse_mailbox("a@b.example")


def test_canonical_drops_needless_quotes_only():
    assert parse_mailbox('"joe"@b.example').canonical == "joe@b.example"
    assert parse_mailbox('"j\\oe"@b.example').canonical == "joe@b.example"
    assert parse_mailbox('"a@b"@c.example').canonical == '"a@b"@c.example'
    assert parse_mailbox('""@c.example').canonical == '""@c.example'
    assert parse_mailbox("joe@b.example").canonical == "joe@b.example"
