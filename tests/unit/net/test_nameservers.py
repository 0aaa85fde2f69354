"""Several name servers, a resolv.conf that changes, and answers that are none."""

import asyncio
import contextlib
import os

import dns.message
import dns.rrset
import pytest

from relay.net.nameservers import CONF_SECONDS, LAST_SECONDS, NameServers, NoAnswerError, check, named_in
from relay.net.resolver import DnsResolver, ResolverSettings
from relay.ports import ResolverError
from relay.testing.clock import ManualClock
from relay.testing.internet_dns import FakeDns

ZONES = {f"d{n}.test": {"MX": ["10 mx.d.test."]} for n in range(20)}


@contextlib.asynccontextmanager
async def two(**settings):
    servers = FakeDns(dict(ZONES)), FakeDns(dict(ZONES))
    clock = ManualClock()
    for server in servers:
        await server.start()
    try:
        base = {"nameservers": tuple(server.nameserver for server in servers), "timeout_seconds": 4.0, **settings}
        yield DnsResolver(ResolverSettings(**base), clock), *servers, clock
    finally:
        for server in servers:
            await server.stop()


def test_a_dead_name_server_costs_time_once():
    async def run():
        async with two() as (resolver, first, second, clock):
            first.dead = True
            for number in range(3):
                assert (await resolver.mail_hosts(f"d{number}.test")).hosts
            first.queries.clear()
            started = asyncio.get_running_loop().time()
            for number in range(3, 10):
                assert (await resolver.mail_hosts(f"d{number}.test")).hosts
            assert first.queries == []
            assert asyncio.get_running_loop().time() - started < 2.0  # half a second each, were the dead one asked
            first.dead = False
            clock.advance(LAST_SECONDS + 1)
            second.queries.clear()
            for number in range(10, 13):
                assert (await resolver.mail_hosts(f"d{number}.test")).hosts
            assert second.queries == []  # the first one answered, and is the first again

    asyncio.run(run())


def test_one_question_tries_a_dead_name_server_again():
    async def run():
        async with two() as (resolver, first, _, clock):
            first.dead = True
            for number in range(3):
                await resolver.mail_hosts(f"d{number}.test")
            clock.advance(LAST_SECONDS + 1)
            first.queries.clear()
            await asyncio.gather(*(resolver.mail_hosts(f"d{number}.test") for number in range(3, 13)))
            assert len(first.queries) == 1

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["servfail", "refused", "lame", "other-names", "tcp-drop"])
def test_the_next_name_server_is_asked_where_one_has_no_answer(fault):
    async def run():
        async with two() as (resolver, first, second, _):
            first.zones["d1.test"] = {"FAULT": fault}
            assert [host.host for host in (await resolver.mail_hosts("d1.test")).hosts] == ["mx.d.test"]
            second.zones["d2.test"] = first.zones["d2.test"] = {"FAULT": fault}
            with pytest.raises(ResolverError):
                await resolver.mail_hosts("d2.test")

    asyncio.run(run())


def test_a_port_where_nobody_listens_is_passed_over():
    async def run():
        async with two() as (resolver, first, second, _):
            await first.stop()
            for number in range(5):
                assert (await resolver.mail_hosts(f"d{number}.test")).hosts
            assert len(second.queries) == 5

    asyncio.run(run())


def test_resolv_conf_is_read_again_when_it_changes(tmp_path):
    conf, clock = tmp_path / "resolv.conf", ManualClock()
    servers = NameServers((), str(conf), clock)

    def now():
        return [server.address for server in servers.in_order()]

    assert now() == ["127.0.0.1"]  # resolv.conf(5): without a name server, this machine
    conf.write_text("# nothing\nsearch example\n")
    clock.advance(CONF_SECONDS)
    assert now() == ["127.0.0.1"]
    conf.write_text("nameserver 192.0.2.1\nnameserver\t2001:db8::1 # second\nnameserver what\n")
    assert now() == ["127.0.0.1"]
    clock.advance(CONF_SECONDS)
    assert now() == ["192.0.2.1", "2001:db8::1"]
    conf.unlink()
    clock.advance(CONF_SECONDS)
    assert now() == ["192.0.2.1", "2001:db8::1"]
    other = tmp_path / "new"
    other.write_text("nameserver 192.0.2.7\n")
    os.replace(other, conf)  # noqa: PTH105 - as a DHCP client does
    clock.advance(CONF_SECONDS)
    assert now() == ["192.0.2.7"] == list(servers.addresses)


def test_configured_servers_stay(tmp_path):
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 192.0.2.1\n")
    servers = NameServers(
        ("[2001:db8::1]:5353", "192.0.2.9", "192.0.2.8:54", "2001:db8::2"), str(conf), ManualClock()
    )
    assert [(one.address, one.port) for one in servers.in_order()] == [
        ("2001:db8::1", 5353),
        ("192.0.2.9", 53),
        ("192.0.2.8", 54),
        ("2001:db8::2", 53),
    ]


def test_at_most_sixteen_servers_are_taken_from_a_file():
    assert len(named_in("".join(f"nameserver 192.0.2.{n}\n" for n in range(100)))) == 16


def answer(answers=(), authority=()):
    message = dns.message.make_response(dns.message.make_query("a.test.", "MX"))
    for section, records in ((message.answer, answers), (message.authority, authority)):
        section += [dns.rrset.from_text(owner, 60, "IN", kind, text) for owner, kind, text in records]
    return dns.message.from_wire(message.to_wire())


SOA = ("test.", "SOA", "ns.test. hostmaster.test. 1 2 3 4 5")
NS = ("test.", "NS", "ns.test.")


@pytest.mark.parametrize(
    ("answers", "authority", "good"),
    [
        ([("a.test.", "MX", "5 b.test.")], [], True),
        ([("a.test.", "MX", "5 b.test.")], [NS], True),
        ([("A.Test.", "CNAME", "b.test."), ("b.test.", "MX", "5 b.test.")], [], True),
        ([("a.test.", "CNAME", "b.test.")], [SOA], True),
        ([], [], True),
        ([], [SOA], True),
        ([], [SOA, NS], True),
        ([], [NS], False),
        ([("b.test.", "MX", "5 b.test.")], [], False),
        ([("a.test.", "A", "192.0.2.1")], [], False),
        ([("a.test.", "CNAME", "b.test."), ("c.test.", "MX", "5 b.test.")], [], False),
    ],
)
def test_what_is_an_answer(answers, authority, good):
    """RFC 2308 section 2.2."""
    if good:
        check(answer(answers, authority))
        return
    with pytest.raises(NoAnswerError):
        check(answer(answers, authority))
