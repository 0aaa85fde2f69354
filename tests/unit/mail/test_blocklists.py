"""Block lists that refusals name."""

import time

import pytest

from relay.mail.blocklists import advice, blocklist_of

LISTED = [
    ("Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://x", "zen.spamhaus.org"),
    ("Service unavailable, Client host [192.0.2.1] blocked using Spamhaus.", "spamhaus.org"),
    ("mail from 192.0.2.1 rejected, see https://www.spamhaus.org/query/bl?ip=192.0.2.1", "spamhaus.org"),
    ("Blocked - see https://www.spamcop.net/bl.shtml?192.0.2.1", "bl.spamcop.net"),
    ("Client host blocked using bl.spamcop.net; see: https://x", "bl.spamcop.net"),
    ("rejected because 192.0.2.1 is listed in b.barracudacentral.org", "b.barracudacentral.org"),
    ("blocked using ix.dnsbl.manitu.net", "ix.dnsbl.manitu.net"),
    ("Your host is blocked using bl.nobody-knows.example; See: https://x", "bl.nobody-knows.example"),
    ("listed by dnsbl-1.uceprotect.net", "dnsbl-1.uceprotect.net"),
    ("Found on the psbl.surriel.com list", "psbl.surriel.com"),
]


@pytest.mark.req("DNSBL-002")
@pytest.mark.parametrize(("text", "name"), LISTED)
def test_the_list_is_named(text, name):
    found = blocklist_of(text)
    assert found is not None
    assert (found.name, found.of_domains) == (name, False)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rejected due to a domain in the Spamhaus DBL -- see https://www.spamhaus.org/dbl/ dbl.spamhaus.org",
         "dbl.spamhaus.org"),
        ("message contains a URL listed by multi.surbl.org", "multi.surbl.org"),
        ("URL in black.uribl.com", "black.uribl.com"),
    ],
)  # fmt: skip
def test_lists_of_domains_are_told_apart(text, name):
    found = blocklist_of(text)
    assert found is not None
    assert (found.name, found.of_domains) == (name, True)


@pytest.mark.parametrize(
    "text",
    [
        "No such user here",
        "mailbox full",
        "The user is listed in our directory at directory.example.com",
        "refused by mx1.remote.example",
        "host is listed by dnswl.org",
        "",
    ],
)
def test_other_refusals_name_none(text):
    assert blocklist_of(text) is None


def test_advice_is_about_what_is_listed():
    assert "use another address" in advice("zen.spamhaus.org", of_domains=False)
    assert "domain in the message" in advice("dbl.spamhaus.org", of_domains=True)


@pytest.mark.parametrize(
    "text", ["listed in a" * 90, "blocked using " + "a." * 490, "a-" * 500, "a.b" * 333, "x" * 1000]
)
def test_hostile_texts_are_quick(text):
    started = time.process_time()
    for _ in range(20):
        blocklist_of(text)
    assert time.process_time() - started < 1
