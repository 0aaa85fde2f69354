"""HTTPS to hosts that strangers name: what is never done, and what a policy host may do wrong."""

import asyncio
import contextlib
import threading
import time

import pytest

from relay.model.tls import StsMode, StsPolicy
from relay.net.guard import Guard
from relay.net.mta_sts import NoPolicy, fetch_policy
from relay.net.web import Web, WebError
from relay.ports import ResolverError
from tests.authority import Certificate, WebServer, authority, server_context

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.a.test\r\nmax_age: 60\r\n"
TEXT = {"Content-Type": "text/plain; charset=utf-8"}


class Names:
    def __init__(self, addresses, *, half=False):
        self.found = addresses
        self.half = half

    async def addresses(self, host):
        if self.found is None:
            raise ResolverError("no answer")
        if self.half:
            raise ResolverError("no answer for AAAA", self.found)
        return self.found


@contextlib.contextmanager
def serving(tmp_path, answer, *, names=("mta-sts.a.test",), expired=False, seconds=5.0, trusted=True):
    root = authority()
    (tmp_path / "ca.pem").write_bytes((root if trusted else authority()).pem())
    certificate = Certificate(list(names), root, expired=expired)
    with WebServer(server_context(certificate, tmp_path), {"mta-sts.a.test": answer}) as server:
        guard = Guard(allow_private=True)
        web = Web(
            Names(["127.0.0.1"]),
            guard.judge,
            timeout_seconds=seconds,
            ca_file=str(tmp_path / "ca.pem"),
            port=server.port,
        )
        yield web, server


def fetch(web):
    return asyncio.run(fetch_policy(web, "a.test"))


def test_a_policy_comes_over_https(tmp_path):
    """RFC 8461 section 3.3."""
    with serving(tmp_path, (200, TEXT, POLICY)) as (web, server):
        assert fetch(web) == StsPolicy(StsMode.ENFORCE, ("mx.a.test",), 60)
    (request,) = server.requests
    assert request[:3] == ("mta-sts.a.test", "GET", "/.well-known/mta-sts.txt")
    assert not {"Cookie", "Authorization", "Proxy-Authorization"} & set(request[3])


@pytest.mark.parametrize(
    ("answer", "result", "words"),
    [
        ((301, {"Location": "https://mta-sts.a.test/x"}, b""), "sts-policy-fetch-error", "redirects"),
        ((404, TEXT, POLICY), "sts-policy-fetch-error", "status 404"),
        ((500, TEXT, POLICY), "sts-policy-fetch-error", "status 500"),
        ((200, {"Content-Type": "text/html"}, POLICY), "sts-policy-fetch-error", "text/plain"),
        ((200, {}, POLICY), "sts-policy-fetch-error", "text/plain"),
        ((200, TEXT, POLICY + b"x: y\r\n" * 20_000), "sts-policy-fetch-error", "more than 65536 bytes"),
        ((200, TEXT, b"junk"), "sts-policy-invalid", "no field"),
    ],
)
def test_what_is_no_policy(tmp_path, answer, result, words):
    with serving(tmp_path, answer) as (web, server):
        found = fetch(web)
    assert isinstance(found, NoPolicy)
    assert found.result == result
    assert words in found.text
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"names": ["mta-sts.b.test"]}, "Hostname mismatch"),
        ({"expired": True}, "expired"),
        ({"trusted": False}, "certificate"),
    ],
)
def test_a_host_must_show_who_it_is(tmp_path, given, words):
    with serving(tmp_path, (200, TEXT, POLICY), **given) as (web, server):
        found = fetch(web)
    assert found.result == "sts-webpki-invalid"
    assert words in found.text
    assert not server.requests


def test_a_slow_host_is_given_up(tmp_path):
    """The limit is on the whole, however busy the host looks."""
    go_on = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/plain")
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not go_on.wait(0.05):
                handler.wfile.write(b"x")
                handler.wfile.flush()

    with serving(tmp_path, drip, seconds=0.5) as (web, _):
        begun = time.monotonic()
        found = fetch(web)
        go_on.set()
    assert "longer than 0.5 s" in found.text
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1", "fc00::1", "::ffff:127.0.0.1", "0.0.0.0"],
)
def test_inner_addresses_are_not_connected_to(tmp_path, address):
    with serving(tmp_path, (200, TEXT, POLICY)) as (_, server):
        web = Web(Names([address]), Guard().judge, timeout_seconds=5.0, port=server.port)
        found = fetch(web)
    assert found.refused
    assert found.result == "sts-policy-fetch-error"
    assert not server.requests


@pytest.mark.parametrize("addresses", [None, []])
def test_no_address_is_a_failure(addresses):
    found = fetch(Web(Names(addresses), Guard().judge, timeout_seconds=5.0))
    assert found.result == "sts-policy-fetch-error"
    assert not found.refused


def test_addresses_of_one_family_are_enough_and_are_judged(tmp_path):
    """The name servers of the other family's records may be broken; what was found is used, with the same guard."""
    with serving(tmp_path, (200, TEXT, POLICY)) as (_, server):
        ca_file = str(tmp_path / "ca.pem")
        names, allowing = Names(["127.0.0.1"], half=True), Guard(allow_private=True).judge
        web = Web(names, allowing, timeout_seconds=5.0, ca_file=ca_file, port=server.port)
        assert isinstance(fetch(web), StsPolicy)
        guarded = fetch(Web(names, Guard().judge, timeout_seconds=5.0, ca_file=ca_file, port=server.port))
        assert guarded.refused
        assert len(server.requests) == 1
    assert not fetch(Web(Names([], half=True), Guard().judge, timeout_seconds=5.0)).refused


def test_the_environment_has_no_say(tmp_path, monkeypatch):
    """No proxy of the environment is used."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with serving(tmp_path, (200, TEXT, POLICY)) as (web, _):
        assert isinstance(fetch(web), StsPolicy)


def test_a_post(tmp_path):
    with serving(tmp_path, (201, {}, b"ok")) as (web, server):
        answer = asyncio.run(web.post("mta-sts.a.test", "/r?x=1", "application/tlsrpt+gzip", b"data", 100))
        assert answer.status == 201
        with pytest.raises(WebError, match="more than 1 bytes"):
            asyncio.run(web.post("mta-sts.a.test", "/r", "application/tlsrpt+gzip", b"data", 1))
    host, method, path, headers, body = server.requests[0]
    assert (host, method, path, body) == ("mta-sts.a.test", "POST", "/r?x=1", b"data")
    assert headers["Content-Type"] == "application/tlsrpt+gzip"
