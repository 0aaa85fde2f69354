"""Posts to endpoints of strangers: what an endpoint can do, and where a post never goes (TOPIC-131, 139, 140)."""

import asyncio
import base64
import hashlib
import re
import time

import pytest

from relay.net import endpoints as module
from relay.net.endpoints import Endpoints
from relay.ports import ResolverError
from tests.authority import Certificate, authority, server_context
from tests.consumer import Answer, Webhook

BODY = b'{"Type":"Notification"}'


class Names:
    """A resolver: addresses by name, or an error; it keeps what it was asked."""

    def __init__(self, **found):
        self.found = found
        self.asked = []

    async def addresses(self, host):
        self.asked.append(host)
        found = self.found.get(host.replace(".", "_"), ["127.0.0.1"])
        if isinstance(found, Exception):
            raise found
        return found.pop(0) if found and isinstance(found[0], list) else found


def poster(names=None, judge=lambda address: "", *, ca_file="", seconds=10.0, ports=(), trusted=lambda address: True):
    return Endpoints(names or Names(), judge, ports=ports, trusted=trusted, ca_file=ca_file, seconds_max=seconds)


def post(server, *, made=None, times=1, host="hook.example", login="", scheme="http", path="/x"):
    """Post a few times, one after the other; return what became of each."""

    async def run():
        own = made or poster()
        try:
            url = f"{scheme}://{host}:{server if isinstance(server, int) else server.port}{path}"
            return [await own.post(url, login, {"Content-Type": "text/plain"}, BODY) for _ in range(times)]
        finally:
            own.close()

    return asyncio.run(run())


def always(**fields):
    return lambda request: Answer(**fields)


def test_a_post_arrives_whole_and_connections_are_kept():
    with Webhook() as hook:
        posted = post(hook, times=3)
        assert [one.status for one in posted] == [200] * 3
        assert hook.connections == 1
        first = hook.requests[0]
        assert (first.method, first.target, first.body) == ("POST", "/x", BODY)
        assert first.headers["host"] == f"hook.example:{hook.port}"
        assert first.headers["content-type"] == "text/plain"
        assert set(first.headers) == {"host", "content-type", "content-length"}


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced():
    with Webhook(always(close=True)) as hook:
        assert [one.status for one in post(hook, times=3)] == [200] * 3
        assert len(hook.requests) == 3


def test_chunked_answers_are_read_to_their_end():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    with Webhook(always(raw=chunked)) as hook:
        assert [one.status for one in post(hook, times=3)] == [200] * 3
        assert hook.connections == 1


@pytest.mark.req("TOPIC-131")
@pytest.mark.parametrize("status", [201, 204, 301, 400, 404, 429, 500, 503])
def test_the_status_is_told(status):
    with Webhook(always(status=status)) as hook:
        assert post(hook)[0].status == status


@pytest.mark.req("TOPIC-131")
def test_redirects_are_not_followed():
    with (
        Webhook() as inner,
        Webhook(always(status=302, headers={"Location": f"http://127.0.0.1:{inner.port}/"})) as hook,
    ):
        assert post(hook)[0].status == 302
        assert inner.connections == 0


@pytest.mark.req("TOPIC-131")
@pytest.mark.parametrize(
    "answer",
    [
        {"hang": True},
        {"drip_seconds": 0.05, "headers": {"X-Long": "y" * 1000}},
        {"raw": b"HTTP/1.1 100 Continue\r\n\r\n", "drip_seconds": 0.05},
        {"raw": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx", "drip_seconds": 0.01},
    ],
)
def test_nothing_takes_longer_than_its_time(answer):
    with Webhook(always(**answer)) as hook:
        begun = time.monotonic()
        posted = post(hook, made=poster(seconds=0.5))[0]
        assert time.monotonic() - begun < 5
        assert (posted.status, posted.fault) == (0, "took longer than 0.5 s")


@pytest.mark.req("TOPIC-131")
def test_an_endless_answer_is_not_read():
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n"
    with Webhook(always(raw=endless, endless=True)) as hook:
        assert [one.status for one in post(hook, times=2)] == [200, 200]
        assert hook.connections == 2  # such a connection is not used again
        assert hook.written < 50 << 20


@pytest.mark.req("TOPIC-131")
def test_a_status_counts_whose_answer_never_ends():
    with Webhook(always(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")) as hook:
        assert [one.status for one in post(hook, times=2)] == [200, 200]
        assert hook.connections == 2


@pytest.mark.req("TOPIC-131")
@pytest.mark.parametrize(
    "raw",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
    ],
)
def test_what_is_no_answer_is_a_fault_and_is_not_repeated_in_it(raw):
    with Webhook(always(raw=raw, close=True)) as hook:
        posted = post(hook)[0]
        assert posted.status == 0
        assert posted.fault in {"no HTTP answer came", "the connection ended before the answer"}
        assert not posted.forbidden


def test_nobody_listens():
    with Webhook() as hook:
        port = hook.port
    posted = post(port)[0]
    assert posted.status == 0
    assert posted.fault.startswith("it cannot be connected to")


# --- where a post never goes -------------------------------------------------------------------------------------


def no_loopback(address):
    return "own" if address.startswith("127.") else ""


@pytest.mark.req("TOPIC-140")
@pytest.mark.parametrize("host", ["hook.example", "127.0.0.1", "localhost", "deep.localhost"])
def test_judged_addresses_are_not_connected_to(host):
    with Webhook() as hook:
        posted = post(hook, made=poster(judge=no_loopback), host=host)[0]
        assert posted.forbidden
        assert posted.fault == "its address must not be connected to"
        assert hook.connections == 0


@pytest.mark.req("TOPIC-140")
def test_of_several_addresses_only_good_ones_are_tried():
    with Webhook() as hook:
        names = Names(hook_example=["10.0.0.1", "127.0.0.1"])
        posted = post(hook, made=poster(names, lambda address: "private" if address == "10.0.0.1" else ""))[0]
        assert posted.status == 200


@pytest.mark.req("TOPIC-140")
def test_a_name_that_changes_its_address_is_judged_again(monkeypatch):
    monkeypatch.setattr(module, "PIN_SECONDS", -1.0)
    with Webhook() as hook:
        names = Names(hook_example=[["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"]])
        judge = lambda address: "private" if address == "127.0.0.2" else ""  # noqa: E731
        posted = post(hook, made=poster(names, judge), times=3)
        assert [(one.status, one.forbidden) for one in posted] == [(200, False), (0, True), (200, False)]
        assert len(hook.requests) == 2


def test_a_name_is_not_looked_up_for_each_post():
    with Webhook() as hook:
        names = Names()
        post(hook, made=poster(names), times=5)
        assert names.asked == ["hook.example"]


def test_names_that_cannot_be_looked_up_are_tried_again_later():
    names = Names(hook_example=ResolverError("no answer"), none_example=[])
    failed = post(9, made=poster(names))[0]
    assert (failed.status, failed.forbidden) == (0, False)
    assert not post(9, made=poster(names), host="none.example")[0].forbidden


@pytest.mark.req("TOPIC-140")
@pytest.mark.parametrize("url", ["ftp://hook.example/", "file:///etc/passwd", "http://0x7f.1/", "nothing"])
def test_what_is_no_endpoint_is_not_posted_to(url):
    assert asyncio.run(poster().post(url, "", {}, BODY)).forbidden


def test_other_ports_are_for_trusted_addresses():
    with Webhook() as hook:
        made = poster(ports={80, 443}, trusted=lambda address: False)
        posted = post(hook, made=made)[0]
        assert posted.forbidden
        assert "port" in posted.fault
        assert hook.connections == 0
        assert post(hook, made=poster(ports={hook.port}, trusted=lambda address: False))[0].status == 200


# --- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    made = authority()
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_bytes(made.pem())
    return made, str(path)


@pytest.mark.req("TOPIC-139")
def test_names_are_shown_in_the_handshake_and_never_share_connections(trusted, tmp_path):
    issuer, ca_file = trusted
    leaf = Certificate(["one.example", "two.example"], issuer)
    with Webhook(context=server_context(leaf, tmp_path)) as hook:

        async def run():
            made = poster(ca_file=ca_file)
            for host in ("one.example", "two.example", "one.example"):
                posted = await made.post(f"https://{host}:{hook.port}/", "", {}, BODY)
                assert posted.status == 200, posted
            made.close()

        asyncio.run(run())
        assert [(one.sni, one.connection) for one in hook.requests] == [
            ("one.example", 1),
            ("two.example", 2),
            ("one.example", 1),
        ]


@pytest.mark.req("TOPIC-139")
def test_certificates_must_be_trusted_in_date_and_for_the_host(trusted, tmp_path):
    issuer, ca_file = trusted
    for leaf in (
        Certificate(["hook.example"]),
        Certificate(["other.example"], issuer),
        Certificate(["hook.example"], issuer, expired=True),
    ):
        with Webhook(context=server_context(leaf, tmp_path)) as hook:
            posted = post(hook, made=poster(ca_file=ca_file), scheme="https")[0]
            assert posted.status == 0
            assert posted.fault.startswith("its certificate is not trusted")
            assert hook.requests == []


def test_a_host_that_speaks_no_tls(trusted):
    with Webhook() as hook:
        posted = post(hook, made=poster(ca_file=trusted[1], seconds=0.5), scheme="https")[0]
        assert posted.status == 0


# --- logins --------------------------------------------------------------------------------------------------------


def wants_basic(request):
    good = "Basic " + base64.b64encode(b"user:s3cret").decode()
    if request.headers.get("authorization") == good:
        return Answer()
    return Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})


@pytest.mark.req("TOPIC-139")
def test_basic_authentication_after_a_challenge():
    with Webhook(wants_basic) as hook:
        assert [one.status for one in post(hook, login="user:s3cret", times=2)] == [200, 200]
        assert "authorization" not in hook.requests[0].headers
        assert len(hook.requests) == 3  # the second post knows what is asked for
        wrong = post(hook, login="user:wrong")[0]
        assert wrong.status == 401
        assert "wrong" not in repr(wrong)


def test_nothing_is_sent_where_nobody_asks():
    with Webhook() as hook:
        assert post(hook, login="user:s3cret")[0].status == 200
        assert "authorization" not in hook.requests[0].headers


@pytest.mark.req("TOPIC-139")
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_digest_authentication_after_a_challenge(algorithm):
    digest = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[algorithm]
    hexed = lambda text: digest(text.encode()).hexdigest()  # noqa: E731

    def answer(request):
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', request.headers.get("authorization", "")))
        if fields:
            first = hexed(f"user:{fields['realm']}:s3cret")
            second = hexed(f"POST:{fields['uri']}")
            middle = f"{fields['nonce']}:{fields['nc']}:{fields['cnonce']}:{fields['qop']}"
            if fields["uri"] == "/x?y=1" and fields["response"] == hexed(f"{first}:{middle}:{second}"):
                return Answer()
        challenge = f'Digest realm="here", nonce="n{len(hook.requests)}", qop="auth", algorithm={algorithm}'
        return Answer(status=401, headers={"WWW-Authenticate": challenge})

    with Webhook(answer) as hook:
        assert [one.status for one in post(hook, login="user:s3cret", times=2, path="/x?y=1")] == [200, 200]
        assert post(hook, login="user:wrong", path="/x?y=1")[0].status == 401


@pytest.mark.parametrize(
    "challenge",
    [
        "", "Bearer x", "Digest", "Digest nonce", 'Digest realm="a"', "Negotiate", "Digest é", 'Digest realm="é"',
        'Digest realm="é", nonce="1"', 'Digest realm="a", nonce="\xff", qop="auth"',
        'Digest realm="a", nonce="1", opaque="é"',
    ],
)  # fmt: skip
def test_other_challenges_are_a_refusal(challenge):
    with Webhook(always(status=401, headers={"WWW-Authenticate": challenge})) as hook:
        assert post(hook, login="user:s3cret")[0].status == 401
        assert all("s3cret" not in str(one.headers) for one in hook.requests)


# --- bounds --------------------------------------------------------------------------------------------------------


def test_places_and_connections_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "PLACES_MAX", 3)
    with Webhook() as hook:

        async def run():
            made = poster()
            for n in range(10):
                assert (await made.post(f"http://h{n}.example:{hook.port}/", "", {}, BODY)).status == 200
            posts = (made.post(f"http://h.example:{hook.port}/", "", {}, BODY) for _ in range(40))
            assert {one.status for one in await asyncio.gather(*posts)} == {200}
            assert len(made._places) <= 3
            assert made._idle <= module.KEPT_MAX + 3
            made.close()
            assert made._idle == 0

        asyncio.run(run())
