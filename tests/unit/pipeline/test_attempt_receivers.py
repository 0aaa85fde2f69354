"""What a misbehaving receiver can do to a delivery: adversarial cases H, played on real sockets."""

import asyncio
import ssl
from dataclasses import replace

import pytest

from relay.errors import StorageError
from relay.model.content import BodyFile, Content
from relay.model.outcome import Stage, Verdict
from relay.net.connection import TcpConnector
from relay.pipeline.downgrade import Downgrader
from relay.pipeline.promise import AcceptRules
from relay.schedule.route import Route, TlsMode
from relay.smtp.client.options import Timeouts
from relay.testing.directory import MemoryDirectory
from relay.testing.internet import write_certificate
from tests.unit.pipeline.outbound_harness import CONTENT, SystemClock, bench, until

QUICK = Timeouts(
    greeting=0.3,
    ehlo=0.3,
    tls=0.3,
    auth=0.3,
    mail=0.3,
    rcpt=0.3,
    data=0.3,
    block=0.3,
    final_dot=0.3,
    reset=0.3,
    gate=0.3,
)

# script of the only host, verdict, stage, code, enhanced ("" = any), messages taken, connections made
FAULTS = [
    ("", Verdict.DELIVERED, Stage.FINAL_DOT, 250, "2.0.0", 1, 1),
    ("no-pipelining", Verdict.DELIVERED, Stage.FINAL_DOT, 250, "", 1, 1),
    ("ehlo-502", Verdict.DELIVERED, Stage.FINAL_DOT, 250, "", 1, 1),
    ("ehlo-nothing", Verdict.DELIVERED, Stage.FINAL_DOT, 250, "", 1, 1),
    ("ehlo-drop", Verdict.DELIVERED, Stage.FINAL_DOT, 250, "", 1, 2),
    ("ehlo-502 helo-550", Verdict.PERMANENT, Stage.EHLO, 550, "", 0, 1),
    ("ehlo-us", Verdict.PERMANENT, Stage.EHLO, 0, "5.4.6", 0, 1),
    ("greet-us", Verdict.PERMANENT, Stage.EHLO, 0, "5.4.6", 0, 1),
    ("pipeline-lie", Verdict.DELIVERED, Stage.FINAL_DOT, 250, "", 1, 2),
    ("drip", Verdict.DELIVERED, Stage.FINAL_DOT, 250, "", 1, 1),
    ("greet-http", Verdict.TEMPORARY, Stage.GREETING, 0, "4.5.0", 0, 1),
    ("greet-250", Verdict.TEMPORARY, Stage.GREETING, 0, "4.5.0", 0, 1),
    ("greet-garbage", Verdict.TEMPORARY, Stage.GREETING, 0, "4.5.0", 0, 1),
    ("greet-barelf", Verdict.TEMPORARY, Stage.GREETING, 0, "4.5.0", 0, 1),
    ("greet-endless", Verdict.TEMPORARY, Stage.GREETING, 0, "4.5.0", 0, 1),
    ("greet-drop", Verdict.TEMPORARY, Stage.GREETING, 0, "4.4.2", 0, 1),
    ("greet-hang", Verdict.TEMPORARY, Stage.GREETING, 0, "4.4.2", 0, 1),
    ("greet-421", Verdict.TEMPORARY, Stage.GREETING, 421, "", 0, 1),
    ("greet-554", Verdict.PERMANENT, Stage.GREETING, 554, "", 0, 1),
    ("mail-451", Verdict.TEMPORARY, Stage.MAIL, 451, "4.1.1", 0, 1),
    ("mail-550", Verdict.PERMANENT, Stage.MAIL, 550, "5.1.1", 0, 1),
    ("mail-421", Verdict.TEMPORARY, Stage.MAIL, 421, "", 0, 2),
    ("mail-354", Verdict.TEMPORARY, Stage.MAIL, 0, "4.5.0", 0, 2),
    ("rcpt-450", Verdict.TEMPORARY, Stage.RCPT, 450, "", 0, 1),
    ("rcpt-550", Verdict.PERMANENT, Stage.RCPT, 550, "", 0, 1),
    ("rcpt-421", Verdict.TEMPORARY, Stage.RCPT, 421, "", 0, 2),
    ("rcpt-552", Verdict.PERMANENT, Stage.RCPT, 552, "", 0, 1),
    ("data-451", Verdict.TEMPORARY, Stage.DATA, 451, "", 0, 1),
    ("data-554", Verdict.PERMANENT, Stage.DATA, 554, "", 0, 1),
    ("data-250", Verdict.TEMPORARY, Stage.DATA, 0, "4.5.0", 0, 2),
    ("dot-452", Verdict.TEMPORARY, Stage.FINAL_DOT, 452, "", 0, 1),
    ("dot-554", Verdict.PERMANENT, Stage.FINAL_DOT, 554, "", 0, 1),
    ("dot-421", Verdict.TEMPORARY, Stage.FINAL_DOT, 421, "", 0, 2),
    ("dot-354", Verdict.UNKNOWN, Stage.FINAL_DOT, 0, "4.5.0", 0, 1),
    ("dot-early", Verdict.TEMPORARY, Stage.DATA, 0, "4.5.0", 0, 2),
    ("drop-mail", Verdict.TEMPORARY, Stage.MAIL, 0, "4.4.2", 0, 2),
    ("drop-rcpt", Verdict.TEMPORARY, Stage.RCPT, 0, "4.4.2", 0, 2),
    ("drop-dot", Verdict.UNKNOWN, Stage.FINAL_DOT, 0, "4.4.2", 0, 1),
    ("hang-dot", Verdict.UNKNOWN, Stage.FINAL_DOT, 0, "4.4.2", 0, 1),
    ("slow-dot.0.1", Verdict.DELIVERED, Stage.FINAL_DOT, 250, "", 1, 1),
]


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case[0] or "none")
@pytest.mark.req("FLOW-008")
def test_fault(case):
    script, verdict, stage, code, enhanced, taken, connections = case

    async def run():
        async with bench({"a.test": [script]}, timeouts=QUICK) as b:
            outcome = await b.one("x@a.test")
            host = b.net.hosts["mx1.a.test"]
            assert (outcome.verdict, outcome.stage, outcome.code) == (verdict, stage, code), outcome
            assert outcome.enhanced == enhanced or not enhanced
            assert outcome.text.isprintable()
            assert len(outcome.text) <= 1000
            assert (len(host.received), host.connections) == (taken, connections)
            assert all(received.content == CONTENT.head + CONTENT.body for received in host.received)

    asyncio.run(run())


@pytest.mark.parametrize("script", ["drop-mid-data", "reset-mid-data"])
def test_link_lost_in_the_middle_of_a_large_message_is_temporary(tmp_path, script):
    """H18."""
    path = tmp_path / "body"
    path.write_bytes(b"0123456789abcdef\r\n" * 1_000_000)
    content = Content(CONTENT.head, BodyFile(str(path), 0, path.stat().st_size))

    async def run():
        async with bench({"a.test": [script]}) as b:
            outcome = await b.one("x@a.test", content)
            assert outcome.verdict is Verdict.TEMPORARY
            host = b.net.hosts["mx1.a.test"]
            host.faults = ()
            again = await b.one("x@a.test", content)
            assert again.verdict is Verdict.DELIVERED
            assert host.received[0].content == CONTENT.head + path.read_bytes()

    asyncio.run(run())


def test_truncated_body_file_never_ends_in_a_dot(tmp_path):
    path = tmp_path / "body"
    path.write_bytes(b"x\r\n" * 1000)
    content = Content(CONTENT.head, BodyFile(str(path), 0, 5000))

    async def run():
        async with bench({"a.test": [""]}) as b:
            outcome = await b.one("x@a.test", content)
            assert (outcome.verdict, outcome.stage) == (Verdict.TEMPORARY, Stage.LOCAL)
            assert b.net.received == []

    asyncio.run(run())


def test_size_tiny_is_refused_here_without_data():
    """H15."""

    async def run():
        async with bench({"a.test": ["size.20", "size.20"]}) as b:
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.enhanced, outcome.local) == (Verdict.PERMANENT, "5.3.4", True)
            assert not any(host.commands(b"DATA") for host in b.net.hosts.values())

    asyncio.run(run())


def test_a_long_queue_that_is_refused_here_leaves_others_their_turns():
    turns, loads = 0, []

    async def run():
        nonlocal turns

        def load():
            loads.append(turns)
            return CONTENT

        async with bench({"a.test": ["size.20"]}, connections_per_site=1) as b:
            for number in range(100):
                b.send(f"x{number}@a.test", load=load)
            while len(b.outcomes) < 100:
                turns += 1
                await asyncio.sleep(0)
            assert len(loads) == 100
            assert max(map(loads.count, loads)) <= 20

    asyncio.run(run())


def test_eight_bit_and_utf8():
    eight = Content(CONTENT.head, "Grüße\r\n".encode())
    international = Content("Subject: Grüße\r\n\r\n".encode(), b"x\r\n")

    async def run():
        async with bench({"a.test": [""], "old.test": ["no-8bit no-utf8"]}) as b:
            assert (await b.one("x@a.test", eight, eight_bit=True)).verdict is Verdict.DELIVERED
            assert "BODY=8BITMIME" in b.net.received[-1].parameters
            assert (await b.one("x@old.test", eight, eight_bit=True)).enhanced == "5.6.3"
            assert (await b.one("x@a.test", international, smtputf8=True)).verdict is Verdict.DELIVERED
            assert "SMTPUTF8" in b.net.received[-1].parameters
            refused = await b.one("x@old.test", international, smtputf8=True)
            assert (refused.verdict, refused.enhanced) == (Verdict.PERMANENT, "5.6.7")
            plain = await b.one("x@old.test", smtputf8=True)
            assert plain.verdict is Verdict.DELIVERED
            assert "SMTPUTF8" not in b.net.received[-1].parameters

    asyncio.run(run())


def test_a_host_that_broke_off_at_ehlo_bounces_nothing_for_want_of_an_extension():
    """It is spoken to by HELO for an hour, and may have the extension all the same."""
    eight = Content(CONTENT.head, "Grüße\r\n".encode())

    async def run():
        async with bench({"a.test": ["ehlo-drop"]}) as b:
            refused = await b.one("x@a.test", eight, eight_bit=True)
            assert (refused.verdict, refused.enhanced) == (Verdict.TEMPORARY, "4.6.3")
            assert (await b.one("x@a.test")).verdict is Verdict.DELIVERED  # by HELO

    asyncio.run(run())


def test_a_host_that_broke_off_at_ehlo_is_asked_again_where_mail_leaves_over_tls_only():
    async def run():
        async with bench({"hub.test": ["tls"]}, timeouts=QUICK) as b:
            host = b.net.hosts["mx1.hub.test"]
            host.faults = ("tls", "ehlo-drop")
            route = Route("*", "mx1.hub.test", b.net.port, TlsMode.REQUIRE)
            b.outbound.apply(replace(b.outbound.settings, routes=(route,)))
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.stage) == (Verdict.TEMPORARY, Stage.EHLO)
            assert not host.commands(b"HELO")
            host.faults = ("tls",)
            assert (await b.one("x@a.test")).verdict is Verdict.DELIVERED

    asyncio.run(run())


def test_eight_bit_is_converted_by_the_hook():
    eight = Content(CONTENT.head, "Grüße\r\n".encode())
    seven = Content(CONTENT.head, b"Gr=C3=BC=C3=9Fe\r\n")

    async def run():
        async with bench({"old.test": ["no-8bit"]}, downgrade=lambda content, tag: seven) as b:
            assert (await b.one("x@old.test", eight, eight_bit=True)).verdict is Verdict.DELIVERED
            assert b.net.received[0].content == seven.head + seven.body
            assert "8BITMIME" not in b.net.received[0].parameters

    asyncio.run(run())


def test_a_message_that_cannot_be_signed_anew_just_now_waits():
    """Its keys are in a catalog that cannot be read for a moment: no bounce, and nobody else waits for it."""
    head = (
        b"DKIM-Signature: v=1; d=example.com; s=x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    )
    eight = Content(head + CONTENT.head, "Grüße\r\n".encode())

    class Unreadable(MemoryDirectory):
        def signing_keys(self, account, domain):
            raise StorageError("the catalog cannot be read")

    rules = AcceptRules("relay", None, 0, 0, "auto", ed25519=True)
    convert = Downgrader(Unreadable(), SystemClock(), rules).convert

    async def run():
        async with bench(
            {"old.test": ["no-8bit"]}, downgrade=lambda content, _: convert(content, "000000000001")
        ) as b:
            outcome = await b.one("x@old.test", eight, eight_bit=True)
            assert (outcome.verdict, outcome.stage, outcome.enhanced) == (Verdict.TEMPORARY, Stage.LOCAL, "4.3.0")
            assert (await b.one("x@old.test")).verdict is Verdict.DELIVERED
            assert b.net.hosts["mx1.old.test"].connections == 1

    asyncio.run(run())


def test_messages_of_one_domain_reuse_few_connections():
    """H22."""

    async def run():
        async with bench({"a.test": [""]}, connections_per_site=4, messages_per_connection=1000) as b:
            for number in range(300):
                b.send(f"x{number}@a.test")
            outcomes = await b.wait(300)
            host = b.net.hosts["mx1.a.test"]
            assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
            assert host.connections <= 4
            assert len({received.recipients[0] for received in host.received}) == 300
            assert b.metrics.value("relay_delivery_tls_total", "none") == 300

    asyncio.run(run())


@pytest.mark.parametrize("script", ["limit-msgs.3", "limit-conns.2"])
def test_a_host_with_limits_gets_everything_and_nothing_bounces(script):
    """H11, H12."""

    async def run():
        async with bench({"a.test": [script]}) as b:
            for number in range(50):
                b.send(f"x{number}@a.test")
            outcomes = await b.wait(50)
            assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
            assert len(b.net.received) == 50

    asyncio.run(run())


def test_greylisting_passes_on_the_second_attempt():
    """H13."""

    async def run():
        async with bench({"a.test": ["grey.1"]}) as b:
            assert (await b.one("x@a.test")).code == 451
            assert (await b.one("x@a.test", attempts=1)).verdict is Verdict.DELIVERED
            assert b.net.hosts["mx1.a.test"].connections == 1

    asyncio.run(run())


def test_an_idle_connection_that_the_host_closed_is_replaced_in_silence():
    """H23."""

    async def run():
        async with bench({"a.test": [""]}) as b:
            await b.one("x@a.test")
            host = b.net.hosts["mx1.a.test"]
            host.faults = ("limit-msgs.1",)  # 421 to the next MAIL of this connection
            assert (await b.one("y@a.test")).verdict is Verdict.DELIVERED
            assert host.connections == 2
            host.faults = ("drop-reused",)
            assert (await b.one("z@a.test")).verdict is Verdict.DELIVERED
            assert host.connections == 3

    asyncio.run(run())


def test_idle_connections_are_closed_with_quit():
    async def run():
        async with bench({"a.test": [""]}, connection_idle_seconds=0.05) as b:
            await b.one("x@a.test")
            host = b.net.hosts["mx1.a.test"]
            await until(lambda: not host.open_connections)
            assert len(host.commands(b"QUIT")) == 1

    asyncio.run(run())


def test_falls_through_to_the_next_host():
    async def run():
        async with bench({"a.test": ["greet-421", "greet-554", "greet-drop", ""]}) as b:
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.remote_host) == (Verdict.DELIVERED, "mx4.a.test")

    asyncio.run(run())


def test_a_backup_host_that_is_ourselves_bounces_nothing_while_a_better_one_is_down():
    """RFC 5321 section 5.1: we and all behind us are no way, but the better host may be back soon."""

    async def run():
        async with bench({"a.test": ["greet-421", "greet-us", ""]}) as b:
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.code) == (Verdict.TEMPORARY, 421), outcome
            assert b.net.hosts["mx3.a.test"].connections == 0
            b.net.hosts["mx1.a.test"].faults = ("greet-554",)
            refused = await b.one("x@a.test")
            assert (refused.verdict, refused.enhanced) == (Verdict.PERMANENT, "5.4.6")

    asyncio.run(run())


def test_a_broken_session_leads_to_another_host():
    async def run():
        async with bench({"a.test": ["drop-rcpt no-pipelining", ""]}) as b:
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.remote_host) == (Verdict.DELIVERED, "mx2.a.test")

    asyncio.run(run())


def test_at_most_five_addresses_and_two_sessions():
    """H29."""

    async def run():
        async with bench({"a.test": ["greet-421"] * 8, "b.test": ["mail-421"] * 8}) as b:
            assert (await b.one("x@a.test")).verdict is Verdict.TEMPORARY
            assert sum(host.connections for name, host in b.net.hosts.items() if "a.test" in name) == 5
            assert (await b.one("x@b.test")).verdict is Verdict.TEMPORARY
            assert sum(host.connections for name, host in b.net.hosts.items() if "b.test" in name) == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    "recipient",
    [
        "a>\r\nRSET@a.test",
        "a b@a.test",
        "a>@a.test",
        '"a\r\nb"@a.test',
        "a\x00@a.test",
        '"a"b"@a.test',
        "a\u0085b@a.test",
        "<a@a.test",
        "",
    ],
)
def test_no_second_command_can_be_formed(recipient):
    """H27."""

    async def run():
        async with bench({"a.test": [""]}) as b:
            outcome = await b.one("ok@a.test")
            assert outcome.verdict is Verdict.DELIVERED
            outcome = await b.one(recipient)
            assert outcome.verdict is Verdict.PERMANENT
            assert outcome.enhanced in ("5.1.3", "5.1.2")
            assert len(b.net.hosts["mx1.a.test"].commands(b"RCPT")) == 1

    asyncio.run(run())


@pytest.mark.parametrize("recipient", ['"a b"@a.test', '"a>b\\"c"@a.test', "o'neill+tag@a.test", "päul@a.test"])
def test_odd_local_parts_arrive_as_they_are(recipient):
    async def run():
        async with bench({"a.test": [""]}) as b:
            assert (await b.one(recipient)).verdict is Verdict.DELIVERED
            assert b.net.received[0].recipients == [recipient]

    asyncio.run(run())


def test_slow_site_does_not_delay_others():
    async def run():
        domains = {"tar.test": ["greet-hang"], **{f"d{n}.test": [""] for n in range(20)}}
        async with bench(domains, resolver={"timeout_seconds": 10}) as b:
            for number in range(500):
                b.send(f"x{number}@tar.test")
            for number in range(20):
                b.send(f"x@d{number}.test")
            outcomes = await b.wait(20, 10)
            assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
            assert b.net.hosts["mx1.tar.test"].connections <= 5

    asyncio.run(run())


def test_new_mail_does_not_queue_behind_the_retries_of_its_site():
    """Three to one, in the order of arrival; several domains at one site share its queue."""

    async def run():
        async with bench({"a.test": ["slow-greet.0.2"]}, connections_per_site=1) as b:
            for number in range(40):
                b.send(f"r{number}@a.test", attempts=1)
            for number in range(6):
                b.send(f"f{number}@a.test")
            await b.wait(46)
            order = [job.delivery.recipient.partition("@")[0] for job, _ in b.outcomes]
            assert order[:9] == ["f0", "f1", "f2", "r0", "f3", "f4", "f5", "r1", "r2"]
            assert order[9:] == [f"r{number}" for number in range(3, 40)]

    asyncio.run(run())


def test_the_final_dot_waits_for_the_release():
    async def run():
        async with bench({"a.test": [""]}, connections_per_site=1) as b:
            b.keep_releases = True
            b.send("x@a.test")
            b.send("y@a.test")
            await b.wait(1)
            host = b.net.hosts["mx1.a.test"]
            await until(lambda: len(host.commands(b"DATA")) == 2)
            await asyncio.sleep(0.05)
            assert len(host.received) == 1
            b.releases.pop()()
            await b.wait(2)
            assert len(host.received) == 2
            assert host.connections == 1

    asyncio.run(run())


def test_connections_in_all_are_bounded_and_sites_take_turns():
    async def run():
        async with bench({f"d{n}.test": ["no-pipelining"] for n in range(12)}, connections_max=3) as b:
            for number in range(60):
                b.send(f"x{number}@d{number % 12}.test")
            outcomes = await b.wait(60)
            assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
            assert b.outbound._connections.open <= 3

    asyncio.run(run())


def test_withdraw():
    async def run():
        async with bench({"a.test": ["slow-greet.0.2"]}, connections_per_site=1) as b:
            one = b.send("x@a.test")
            two = b.send("y@a.test")
            assert b.outbound.withdraw(two.delivery.key)
            assert not b.outbound.withdraw(two.delivery.key)
            await b.wait(1)
            assert b.outcomes[0][0] is one
            assert not b.outbound.withdraw(one.delivery.key)
            await asyncio.sleep(0.05)
            assert len(b.net.received) == 1

    asyncio.run(run())


def test_a_fault_of_the_reporter_does_not_stop_the_mail():
    async def run():
        async with bench({"a.test": [""]}, connections_per_site=1) as b:
            report, fell = b.outbound.on_outcome, []

            def fall_once(job, outcome, release):
                if not fell:
                    fell.append(job)
                    raise RuntimeError("the reporter is broken")
                report(job, outcome, release)

            b.outbound.on_outcome = fall_once
            b.send("x@a.test")
            b.send("y@a.test")
            await b.wait(1)
            assert len(b.net.received) == 2
            assert b.net.hosts["mx1.a.test"].connections == 1
            assert "the reporter is broken" in b.log.lines[0][1]["error"]

    asyncio.run(run())


def test_drain_finishes_what_is_in_flight():
    async def run():
        async with bench({"a.test": ["slow-dot.0.1"]}, connections_per_site=1) as b:
            for number in range(10):
                b.send(f"x{number}@a.test")
            host = b.net.hosts["mx1.a.test"]
            await until(lambda: host.commands(b"DATA"))
            await b.outbound.drain(5)
            assert [outcome.verdict for _, outcome in b.outcomes] == [Verdict.DELIVERED]
            await until(lambda: b.outbound._connections.open == 0)  # one counts until the host has closed it too

    asyncio.run(run())


def test_drain_that_runs_out_of_time_says_unknown():
    async def run():
        async with bench({"a.test": ["hang-dot"]}) as b:
            b.send("x@a.test")
            host = b.net.hosts["mx1.a.test"]
            await until(lambda: host.messages_seen)
            await b.outbound.drain(0.05)
            assert [outcome.verdict for _, outcome in b.outcomes] == [Verdict.UNKNOWN]

    asyncio.run(run())


def test_several_recipients_on_routes_that_keep_the_return_path():
    """H10, decision 17."""

    async def run():
        async with bench({"hub.test": ["rcpts-552.3"]}, connections_per_site=1) as b:
            host = b.net.hosts["mx1.hub.test"]
            route = Route("*.inside.test", host.address, b.net.port, several_recipients=True)
            b.outbound.apply(replace(b.outbound.settings, routes=(route,)))
            for index in range(7):
                b.send(f"x{index}@a.inside.test", key=77, index=index)
            outcomes = await b.wait(7)
            assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
            assert sorted(len(received.recipients) for received in host.received) == [1, 3, 3]

    asyncio.run(run())


def test_smart_host_with_authentication_over_verified_tls():
    async def run():
        async with bench({"hub.test": ["tls auth"], "old.test": ["tls auth auth-login"]}) as b:
            for name in ("mx1.hub.test", "mx1.old.test"):
                route = Route("*", name, b.net.port, TlsMode.REQUIRE, "user", "secret")
                b.outbound.apply(replace(b.outbound.settings, routes=(route,)))
                outcome = await b.one("x@anywhere.invalid")
                assert (outcome.verdict, outcome.tls) == (Verdict.DELIVERED, "TLSv1.3"), outcome
                assert b.net.hosts[name].received[0].username == "user"
            wrong = Route("*", "mx1.hub.test", b.net.port, TlsMode.REQUIRE, "user", "wrong")
            b.outbound.apply(replace(b.outbound.settings, routes=(wrong,)))
            outcome = await b.one("x@anywhere.invalid")
            assert (outcome.verdict, outcome.stage) == (Verdict.TEMPORARY, Stage.AUTH)
            assert "wrong" not in outcome.text
            clear = Route("*", "mx1.hub.test", b.net.port, TlsMode.OPPORTUNISTIC, "user", "secret")
            b.net.hosts["mx1.hub.test"].faults = ("auth",)
            b.outbound.apply(replace(b.outbound.settings, routes=(clear,)))
            assert (await b.one("x@anywhere.invalid")).verdict is Verdict.TEMPORARY
            assert b.net.hosts["mx1.hub.test"].commands(b"AUTH")[-1].startswith(b"AUTH PLAIN")

    asyncio.run(run())


TLS_MODES = ["tls-454", "tls-garbage", "tls-drop", "tls-hang", "tls-inject", ""]


@pytest.mark.parametrize("script", [*TLS_MODES, "tls"])
@pytest.mark.req("TLS-003")
def test_opportunistic_tls_delivers_in_any_case(script):
    """I04: any certificate; a failure leads to clear text on a new connection."""

    async def run():
        async with bench({"a.test": [script]}, timeouts=QUICK) as b:
            outcome = await b.one("x@a.test")
            assert outcome.verdict is Verdict.DELIVERED
            host = b.net.hosts["mx1.a.test"]
            works = script in ("tls", "tls-inject")
            assert outcome.tls == ("TLSv1.3" if works else "")
            assert host.connections == (1 if works or not script else 2)
            assert host.received[0].tls == outcome.tls
            if works:
                return
            await b.one("y@a.test")
            assert len(host.commands(b"STARTTLS")) <= 1  # remembered

    asyncio.run(run())


@pytest.mark.parametrize("script", ["tls at-ehlos-421", "tls dot-554"])
def test_a_certificate_that_cannot_be_read_is_no_way_to_keep_a_delivery(tmp_path, script):
    """TLS that anybody may speak takes it; a version that there is none of is not to break what is told of it."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    write_certificate(certificate, key, ["mx1.a.test"])
    version_three, version_ten = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09"
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text()).replace(version_three, version_ten, 1)
    certificate.write_text(ssl.DER_cert_to_PEM_cert(der))

    async def run():
        async with bench({"a.test": [script]}) as b:
            b.net.hosts["mx1.a.test"].context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            b.send("x@a.test")
            (outcome,) = await b.wait(1, timeout_seconds=5.0)
            assert outcome.code in (421, 554)
            tried = outcome.dialogue().tries[-1]
            assert (tried.tls.version, tried.tls.subject) == ("TLSv1.3", "")

    asyncio.run(run())


@pytest.mark.parametrize("script", TLS_MODES)
@pytest.mark.req("TLS-003")
def test_required_tls_never_falls_back(script):
    async def run():
        async with bench({"hub.test": [script]}, timeouts=QUICK) as b:
            b.net.hosts["mx1.hub.test"].context.load_default_certs()
            route = Route("*", "mx1.hub.test", b.net.port, TlsMode.REQUIRE)
            b.outbound.apply(replace(b.outbound.settings, routes=(route,)))
            outcome = await b.one("x@a.test")
            if script == "tls-inject":
                assert outcome.tls
                return
            assert (outcome.verdict, outcome.stage) == (Verdict.TEMPORARY, Stage.TLS), outcome
            assert b.net.received == []

    asyncio.run(run())


@pytest.mark.req("TLS-003")
def test_required_tls_checks_the_name():
    async def run():
        async with bench({"hub.test": ["tls"]}) as b:
            route = Route("*", b.net.hosts["mx1.hub.test"].address, b.net.port, TlsMode.REQUIRE)
            b.outbound.apply(replace(b.outbound.settings, routes=(route,)))
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.stage) == (Verdict.TEMPORARY, Stage.TLS)
            assert "certificate" in outcome.text

    asyncio.run(run())


def route_to(b, host, **values):
    """Send everything to one host over implicit TLS."""
    route = Route("*", host, b.net.port, TlsMode.IMPLICIT, **values)
    b.outbound.apply(replace(b.outbound.settings, routes=(route,)))


def test_implicit_tls_to_a_smart_host_with_a_login():
    """RFC 8314 section 3.3: TLS first, a login inside, the connection reused."""

    async def run():
        async with bench({"hub.test": ["implicit auth"], "plain.test": ["implicit"]}) as b:
            route_to(b, "mx1.hub.test", username="user", password="secret")
            outcomes = [await b.one(f"x{number}@anywhere.invalid") for number in range(3)]
            assert {(outcome.verdict, outcome.tls) for outcome in outcomes} == {(Verdict.DELIVERED, "TLSv1.3")}
            host = b.net.hosts["mx1.hub.test"]
            assert {(received.username, received.tls) for received in host.received} == {("user", "TLSv1.3")}
            assert host.connections == 1
            assert host.commands(b"STARTTLS") == []
            assert b.metrics.value("relay_delivery_tls_total", "TLSv1.3") == 3
            route_to(b, "mx1.plain.test")
            assert (await b.one("x@anywhere.invalid")).verdict is Verdict.DELIVERED

    asyncio.run(run())


@pytest.mark.parametrize("script", ["", "tls", "greet-hang", "greet-drop", "greet-garbage"])
def test_implicit_tls_never_falls_back(script):
    """The password and the mail wait where TLS does not come first."""

    async def run():
        async with bench({"hub.test": [script]}, timeouts=QUICK) as b:
            route_to(b, "mx1.hub.test", username="user", password="secret")
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.stage) == (Verdict.TEMPORARY, Stage.TLS), outcome
            assert b.net.received == []
            assert not any(b"EHLO" in line or b"AUTH" in line for _, line in b.net.hosts["mx1.hub.test"].log)

    asyncio.run(run())


@pytest.mark.parametrize("trusted", [True, False])
def test_implicit_tls_checks_name_and_trust(trusted):
    async def run():
        async with bench({"hub.test": ["implicit"]}, connector=None if trusted else TcpConnector()) as b:
            route_to(b, b.net.hosts["mx1.hub.test"].address if trusted else "mx1.hub.test")
            outcome = await b.one("x@a.test")
            assert (outcome.verdict, outcome.stage) == (Verdict.TEMPORARY, Stage.TLS)
            assert "certificate" in outcome.text
            assert b.net.received == []

    asyncio.run(run())


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("script", [*TLS_MODES, "tls"])
@pytest.mark.req("TLS-004", "CFG-005")
def test_a_message_that_requires_tls_never_leaves_in_clear(script, routed):
    """Beside others to the same host, which may; any certificate will do."""

    async def run():
        async with bench({"a.test": [script]}, timeouts=QUICK) as b:
            host = b.net.hosts["mx1.a.test"]
            if routed:
                route = Route("*", host.address, b.net.port, TlsMode.OPPORTUNISTIC)
                b.outbound.apply(replace(b.outbound.settings, routes=(route,)))
            assert (await b.one("before@a.test")).verdict is Verdict.DELIVERED
            b.send("strict@a.test", tls_required=True)
            b.send("beside@a.test")
            await b.wait(3)
            outcomes = {job.delivery.recipient: outcome for job, outcome in b.outcomes}
            assert outcomes["beside@a.test"].verdict is Verdict.DELIVERED
            arrived = {received.recipients[0]: received.tls for received in host.received}
            if script in ("tls", "tls-inject"):
                assert outcomes["strict@a.test"].tls == arrived["strict@a.test"] == "TLSv1.3"
            else:
                strict = outcomes["strict@a.test"]
                assert (strict.verdict, strict.stage) == (Verdict.TEMPORARY, Stage.TLS), strict
                assert sorted(arrived) == ["before@a.test", "beside@a.test"]

    asyncio.run(run())


@pytest.mark.req("TLS-004")
def test_a_route_without_tls_is_no_way_for_a_message_that_requires_it():
    async def run():
        async with bench({"a.test": ["tls"]}, timeouts=QUICK) as b:
            host = b.net.hosts["mx1.a.test"]
            route = Route("*", host.address, b.net.port, TlsMode.NONE)
            b.outbound.apply(replace(b.outbound.settings, routes=(route,)))
            b.send("strict@a.test", tls_required=True)
            b.send("other@a.test")
            await b.wait(2)
            arrived = {received.recipients[0]: received.tls for received in host.received}
            assert arrived == {"strict@a.test": "TLSv1.3", "other@a.test": ""}

    asyncio.run(run())


@pytest.mark.req("TLS-004")
def test_a_message_that_requires_tls_takes_a_route_with_implicit_tls_as_it_is():
    async def run():
        async with bench({"hub.test": ["implicit"]}) as b:
            route_to(b, "mx1.hub.test")
            b.send("strict@a.test", tls_required=True)
            (outcome,) = await b.wait(1)
            assert (outcome.verdict, outcome.tls) == (Verdict.DELIVERED, "TLSv1.3")

    asyncio.run(run())
