"""The resolver against a real name server on loopback, and what it makes of MX records."""

import asyncio
import contextlib

import pytest

from relay.model.tls import NO_TLSA, Tlsa, TlsaFound
from relay.net.resolver import DnsResolver, ResolverSettings, judge_mx
from relay.net.resolver_cache import AnswerCache
from relay.policy.records import Answer
from relay.ports import MailHost, MailHosts, ResolverError
from relay.testing.clock import ManualClock
from relay.testing.internet_dns import FakeDns


@contextlib.asynccontextmanager
async def serving(zones, **settings):
    server = FakeDns(dict(zones))
    await server.start()
    clock = ManualClock()
    base = {"nameservers": (server.nameserver,), "timeout_seconds": 1.0, **settings}
    try:
        yield DnsResolver(ResolverSettings(**base), clock), server, clock
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(10, "b.example"), (5, "a.example")], MailHosts((MailHost(5, "a.example"), MailHost(10, "b.example")))),
        ([(10, "a.example"), (5, "a.example")], MailHosts((MailHost(5, "a.example"),))),
        ([(0, "")], MailHosts(null_mx=True)),
        ([(0, ""), (5, "a.example")], MailHosts((MailHost(5, "a.example"),))),
        ([(0, ""), (5, "")], MailHosts(mx_unusable=True)),
        ([(5, "127.0.0.1")], MailHosts(mx_unusable=True)),
        ([(5, "localhost")], MailHosts(mx_unusable=True)),
        ([(5, "a.localhost")], MailHosts(mx_unusable=True)),
        ([(5, "mail")], MailHosts(mx_unusable=True)),
        ([(5, "a\\032b.example")], MailHosts(mx_unusable=True)),
        ([(5, "\\195\\188.example")], MailHosts(mx_unusable=True)),
        ([(5, "a" * 64 + ".example")], MailHosts(mx_unusable=True)),
        ([(5, ".".join(["a" * 60] * 5))], MailHosts(mx_unusable=True)),
    ],
)
@pytest.mark.req("FLOW-019")
def test_judge_mx(pairs, expected):
    assert judge_mx(pairs) == expected


def test_answers_are_cached_by_their_ttl():
    async def run():
        zones = {"a.test": {"MX": ["5 mx.a.test."], "TTL": 100}, "mx.a.test": {"A": ["8.8.8.8"], "TTL": 100}}
        async with serving(zones) as (resolver, server, clock):
            assert resolver.known_mail_hosts("a.test") is None
            first = await resolver.mail_hosts("a.test")
            assert resolver.known_mail_hosts("a.test") is first
            assert list(await resolver.addresses("mx.a.test")) == ["8.8.8.8"]
            assert resolver.known_addresses("mx.a.test") == ("8.8.8.8",)
            clock.advance(99)
            assert resolver.known_mail_hosts("a.test") is first
            clock.advance(2)
            assert resolver.known_mail_hosts("a.test") is None
            await resolver.mail_hosts("a.test")
            await resolver.mail_hosts("a.test")
            assert [query[1] for query in server.queries].count("MX") == 2
            await resolver.mail_hosts("a.test", refresh=True)
            assert [query[1] for query in server.queries].count("MX") == 3

    asyncio.run(run())


def test_ttls_are_clamped():
    async def run():
        zones = {"a.test": {"MX": ["5 mx.a.test."], "TTL": 2**31 - 1}, "b.test": {"MX": ["5 mx.b.test."], "TTL": 0}}
        async with serving(zones, ttl_max_seconds=50.0, ttl_min_seconds=5.0, negative_ttl_max_seconds=9.0) as found:
            resolver, _, clock = found
            for domain in ("a.test", "b.test", "none.test"):
                await resolver.mail_hosts(domain)
            clock.advance(4)
            assert resolver.known_mail_hosts("b.test")
            assert resolver.known_mail_hosts("none.test").nxdomain
            clock.advance(6)
            assert resolver.known_mail_hosts("b.test") is None
            assert resolver.known_mail_hosts("none.test") is None
            clock.advance(41)
            assert resolver.known_mail_hosts("a.test") is None

    asyncio.run(run())


@pytest.mark.parametrize(
    "fault", ["servfail", "timeout", "garbage", "wrong-id", "wrong-question", "refused", "pointer-loop"]
)
def test_faults_never_mean_that_a_name_does_not_exist(fault):
    """J15, J16: and nothing of it is cached."""

    async def run():
        async with serving({"a.test": {"FAULT": fault}}) as (resolver, server, _):
            for ask in (resolver.mail_hosts, resolver.addresses, resolver.text):
                with pytest.raises(ResolverError):
                    await ask("a.test")
            server.zones["a.test"] = {"MX": ["5 mx.a.test."], "A": ["8.8.8.8"], "TXT": ['"x"']}
            assert (await resolver.mail_hosts("a.test")).hosts
            assert await resolver.addresses("a.test")
            assert await resolver.text("a.test")

    asyncio.run(run())


def test_texts():
    async def run():
        async with serving({"a.test": {"TXT": ['"one " "string"', '"two"']}}) as (resolver, _, _clock):
            assert sorted(await resolver.text("a.test")) == [b"one string", b"two"]
            assert list(await resolver.text("none.test")) == []

    asyncio.run(run())


def test_one_family_is_enough():
    async def run():
        zones = {"six.test": {"AAAA": ["2001:db8::1"]}, "both.test": {"A": ["8.8.8.8"], "AAAA": ["2001:db8::1"]}}
        async with serving(zones) as (resolver, server, _):
            assert list(await resolver.addresses("six.test")) == ["2001:db8::1"]
            assert list(await resolver.addresses("both.test")) == ["8.8.8.8", "2001:db8::1"]
            assert list(await resolver.addresses("none.test")) == []
            server.queries.clear()
            await asyncio.gather(*(resolver.addresses("other.test") for _ in range(50)))
            assert len(server.queries) == 2

    asyncio.run(run())


@pytest.mark.parametrize("name", ["a..test", "x" * 64 + ".test", ".".join(["abcdef"] * 50), ""])
def test_names_that_cannot_be_do_not_exist(name):
    async def run():
        async with serving({}) as (resolver, server, _):
            assert (await resolver.mail_hosts(name)).nxdomain or not name
            assert server.queries == [] or not name

    asyncio.run(run())


def test_cache_is_bounded():
    cache = AnswerCache(3)
    for number in range(10):
        cache.put(number, str(number), 100.0)
    assert len(cache) == 3
    assert cache.get(9, 0.0) == "9"
    assert cache.get(9, 100.0) is None
    assert cache.get(0, 0.0) is None
    for number in range(10):
        cache.put(number, str(number), 100.0, 5)
    assert len(cache) == 2  # three answers of four records each, or what weighs as much
    cache.put("x", "x", 100.0, 13)
    assert (cache.get("x", 0.0), cache.get(9, 0.0)) == (None, "9")
    nothing = AnswerCache(0)
    nothing.put(1, "x", 100.0)
    assert nothing.get(1, 0.0) is None


def test_records_are_asked_past_the_cache_and_failures_are_values():
    async def run():
        zones = {
            "t.test": {"TXT": ['"one " "string"', '"Two"'], "TTL": 1000},
            "a.test": {"CNAME": "t.test"},
            "m.test": {"MX": ["10 MX.m.test.", "0 ."]},
            "bad.test": {"FAULT": "servfail"},
            "dead.test": {"FAULT": "timeout"},
        }
        async with serving(zones) as (resolver, server, _):
            assert set((await resolver.records("t.test", "TXT")).values) == {"one string", "Two"}
            assert set((await resolver.records("a.test", "TXT")).values) == {"one string", "Two"}
            assert (await resolver.records("a.test", "CNAME")).values == ("t.test",)
            assert set((await resolver.records("m.test", "MX")).values) == {"10 mx.m.test", "0 ."}
            assert await resolver.records("t.test", "MX") == Answer()
            assert await resolver.records("never.test", "TXT") == Answer(exists=False)
            assert await resolver.records("a" * 64 + ".test", "TXT") == Answer(exists=False)
            for name in ("bad.test", "dead.test"):
                answer = await resolver.records(name, "TXT")
                assert answer.failure
                assert not answer.values
            server.zones["t.test"] = {"TXT": ['"new"']}
            assert (await resolver.records("t.test", "TXT")).values == ("new",)

    asyncio.run(run())


def test_missing_domains_cost_one_question_each_and_leave_little_behind():
    async def run():
        names = [f"d{number}.test" for number in range(600)]
        async with serving({}, cache_entries_max=50, timeout_seconds=20.0) as (resolver, server, _):
            found = await asyncio.gather(*(resolver.mail_hosts(name) for name in names))
            assert all(hosts.nxdomain for hosts in found)
            assert len({name for name, *_ in server.queries}) == len(names)
            assert {kind for _, kind, _ in server.queries} == {"MX"}
            assert sum(resolver.known_mail_hosts(name) is not None for name in names) == 50

    asyncio.run(run())


def test_a_name_that_nobody_answered_for_waits_behind_new_ones():
    async def run():
        zones = {f"dead{n}.test": {"FAULT": "timeout"} for n in range(5)}
        zones["live.test"] = {"MX": ["5 mx.test."]}
        limits = {"quick_queries_max": 1, "slow_queries_max": 5, "timeout_seconds": 0.6}
        async with serving(zones, **limits) as (resolver, server, _):

            async def ask_dead():
                asked = (resolver.mail_hosts(name) for name in zones if name != "live.test")
                return await asyncio.gather(*asked, return_exceptions=True)

            first = await ask_dead()
            assert all(isinstance(each, ResolverError) for each in first)
            server.queries.clear()
            again = asyncio.create_task(ask_dead())
            await asyncio.sleep(0)
            assert (await resolver.mail_hosts("live.test")).hosts
            assert len({name for name, *_ in server.queries}) <= 2  # the one that had its turn, and the live one
            again.cancel()
            await asyncio.gather(again, return_exceptions=True)

    asyncio.run(run())


# --- what is signed -------------------------------------------------------------------------------------------------

RECORD = "3 1 1 " + "ab" * 32
EXPECTED = Tlsa(3, 1, 1, b"\xab" * 32)
SIGNED = {
    "a.test": {"MX": ["5 mx.a.test."], "AD": True},
    "mx.a.test": {"A": ["127.0.0.1"], "AD": True},
    "_25._tcp.mx.a.test": {"TLSA": [RECORD], "AD": True},
    "plain.test": {"MX": ["5 mx.a.test."]},
    "six.a.test": {"AAAA": ["::1"], "AD": True},
    "_25._tcp.six.a.test": {"TLSA": [RECORD], "AD": True},
    "unsigned.test": {"A": ["127.0.0.1"]},
    "_25._tcp.unsigned.test": {"TLSA": [RECORD], "AD": True},
    "half.test": {"A": ["127.0.0.1"], "AD": True},
    "_25._tcp.half.test": {"TLSA": [RECORD]},
    "alias.test": {"CNAME": "mx.a.test", "AD": True},
    "both.test": {"CNAME": "bare.test", "AD": True},
    "bare.test": {"A": ["127.0.0.1"], "AD": True},
    "_25._tcp.both.test": {"TLSA": [RECORD], "AD": True},
    "away.test": {"CNAME": "unsigned.test", "AD": True},
    "_25._tcp.away.test": {"TLSA": [RECORD], "AD": True},
    "lost.test": {"A": ["127.0.0.1"], "AD": True},
    "_25._tcp.lost.test": {"FAULT": "servfail"},
    "dead.test": {"FAULT": "servfail"},
}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("mx.a.test", TlsaFound((EXPECTED,), "mx.a.test")),
        ("six.a.test", TlsaFound((EXPECTED,), "six.a.test")),
        ("alias.test", TlsaFound((EXPECTED,), "mx.a.test")),
        ("both.test", TlsaFound((EXPECTED,), "both.test")),  # RFC 7672 section 2.2.2: the first name without records
        ("away.test", TlsaFound((EXPECTED,), "away.test")),  # only the alias itself is signed
        ("unsigned.test", NO_TLSA),
        ("half.test", NO_TLSA),
        ("absent.test", NO_TLSA),
    ],
)
def test_records_count_where_addresses_and_they_themselves_are_signed(host, expected):
    """RFC 7672 sections 2.1.1 and 2.2.2."""

    async def run():
        async with serving(SIGNED) as (resolver, server, _):
            assert await resolver.tlsa(host, 25) == expected
            asked = len(server.queries)
            assert resolver.known_tlsa(host, 25) == await resolver.tlsa(host, 25) == expected
            assert len(server.queries) == asked

    asyncio.run(run())


@pytest.mark.parametrize("host", ["lost.test", "dead.test"])
def test_no_answer_about_records_is_none(host):
    """RFC 7672 section 2.1.2: nothing is concluded from it, and nothing kept."""

    async def run():
        async with serving(SIGNED) as (resolver, _, _clock):
            found = await resolver.tlsa(host, 25)
            assert found.failure
            assert not found.records
            assert resolver.known_tlsa(host, 25) is None

    asyncio.run(run())


@pytest.mark.parametrize(("trust", "secure"), [(None, True), (True, True), (False, False)])
def test_whose_word_counts(trust, secure):
    """RFC 7672 section 2.1.1: only name servers on this machine are believed unless the operator says otherwise."""

    async def run():
        async with serving(SIGNED, trust_ad=trust) as (resolver, _, _clock):
            assert resolver.trusts_ad is secure
            assert (await resolver.mail_hosts("a.test")).secure is secure
            assert not (await resolver.mail_hosts("plain.test")).secure
            assert (await resolver.tlsa("mx.a.test", 25)).applies is secure

    asyncio.run(run())


@pytest.mark.parametrize(
    ("nameservers", "expected"),
    [
        (("127.0.0.1",), True),
        (("127.0.0.53:5353", "[::1]:53"), True),
        (("192.0.2.1",), False),
        (("127.0.0.1", "192.0.2.1"), False),
    ],
)
def test_name_servers_elsewhere_are_not_believed(nameservers, expected):
    assert DnsResolver(ResolverSettings(nameservers), ManualClock()).trusts_ad is expected
