"""Connections: old TLS, large files against slow readers, failures in words."""

import asyncio
import hashlib
import ssl
import warnings

import pytest

from relay.model.content import BodyFile, Content
from relay.net import client_tls
from relay.net.connection import TcpConnector
from relay.ports import LinkOptions
from relay.testing.internet import write_certificate
from tests.authority import Certificate, authority
from tests.authority import server_context as authority_context


class User:
    """Remembers what it is told; futures for what a test waits for."""

    def __init__(self):
        self.link = None
        self.data = b""
        self.ends = []
        self.progress = 0
        self.opened = asyncio.get_running_loop().create_future()
        self.tls = asyncio.get_running_loop().create_future()
        self.ended = asyncio.get_running_loop().create_future()
        self.written = asyncio.get_running_loop().create_future()

    def link_opened(self, link):
        self.link = link
        self.opened.set_result(link)

    def link_data(self, data):
        self.data += data

    def link_tls_started(self, version):
        self.tls.set_result(version)

    def link_progress(self):
        self.progress += 1

    def link_content_written(self):
        self.written.set_result(True)

    def link_content_failed(self, text):
        self.written.set_exception(OSError(text))

    def link_failed(self, text):
        self.ends.append(text)
        self.ended.set_result(text)

    link_tls_failed = link_lost = link_failed


async def serve(handler, context=None):
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


def server_context(tmp_path, names=("sink.test",)):
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    write_certificate(*files, names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
)
@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.req("TLS-003")
def test_versions(tmp_path, version, verified):
    """1.0 to 1.3 where any encryption is welcome, 1.2 and 1.3 where it is required."""

    async def run():
        context = server_context(tmp_path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        context.set_ciphers("DEFAULT:@SECLEVEL=0")

        async def echo(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server, port = await serve(echo, context)
        user = User()
        options = LinkOptions(5.0, server_name="sink.test", tls_verified=verified)
        TcpConnector(ca_file=str(tmp_path / "cert.pem")).connect("127.0.0.1", port, options, user)
        link = await user.opened
        link.start_tls()
        if verified and version < ssl.TLSVersion.TLSv1_2:
            assert await user.ended
            assert not user.tls.done()
        else:
            assert (await user.tls).replace(".", "_") == {"TLSv1": "TLSv1"}.get(version.name, version.name)
            link.write(b"hello\r\n")
            await user.ended
            assert user.data == b"hello\r\n"
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize(("minimum", "works"), [("1.1", True), ("1.2", True), ("1.3", False)])
@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.req("TLS-003")
def test_the_oldest_version_is_the_callers(tmp_path, minimum, works, verified):
    async def run():
        context = server_context(tmp_path)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        server, port = await serve(lambda _reader, writer: writer.close(), context)
        user = User()
        options = LinkOptions(5.0, server_name="sink.test", tls_verified=verified, tls_minimum=minimum)
        TcpConnector(ca_file=str(tmp_path / "cert.pem")).connect("127.0.0.1", port, options, user)
        link = await user.opened
        link.start_tls()
        if works:
            assert await user.tls == "TLSv1.2"
        else:
            assert await user.ended
            assert not user.tls.done()
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize("refusal", ["", "certificate: not this one"])
def test_whoever_connects_may_judge_the_certificates(tmp_path, refusal):
    """All that the host sent, its own first; nothing is spoken before the verdict."""
    root = authority()
    middle = Certificate([], root, authority=True, common_name="Middle")
    leaf = Certificate(["sink.test"], middle)
    seen = []

    def judge(chain):
        seen.append(chain)
        return refusal

    async def run():
        server, port = await serve(lambda _reader, writer: writer.close(), authority_context(leaf, tmp_path))
        user = User()
        options = LinkOptions(5.0, server_name="sink.test", judge_chain=judge)
        TcpConnector().connect("127.0.0.1", port, options, user)
        link = await user.opened
        link.start_tls()
        if refusal:
            assert await user.ended == refusal
            assert not user.tls.done()
        else:
            assert (await user.tls).startswith("TLSv1")
        server.close()

    asyncio.run(run())
    assert seen == [[leaf.der, middle.der, root.der]]


def test_without_the_librarys_chain_the_hosts_own_certificate_is_known():
    """Then DANE-TA finds no issuer, and the mail waits."""

    class Bare:
        def getpeercert(self, *, binary_form):
            return b"leaf" if binary_form else {}

    class Newer(Bare):
        def get_unverified_chain(self):
            return [b"leaf", b"issuer"]

    assert client_tls.chain(Bare()) == [b"leaf"]
    assert client_tls.chain(Newer()) == [b"leaf", b"issuer"]


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_large_file_waits_for_a_slow_reader(tmp_path, encrypted):
    async def run():
        body = b".line that begins with a dot\r\n" * 400_000
        path = tmp_path / "body"
        path.write_bytes(b"skip" + body)
        got = asyncio.get_running_loop().create_future()
        go_on = asyncio.Event()

        async def read(reader, writer):
            await go_on.wait()
            digest = hashlib.sha256()
            size = 0
            while size < len(body) + 400_000 + 3 + 6:
                block = await reader.read(65536)
                size += len(block)
                digest.update(block)
            got.set_result(digest.hexdigest())
            writer.close()

        server, port = await serve(read, server_context(tmp_path) if encrypted else None)
        user = User()
        TcpConnector().connect("127.0.0.1", port, LinkOptions(5.0, server_name="sink.test"), user)
        link = await user.opened
        if encrypted:
            link.start_tls()
            await user.tls
        link.write_content(Content(b"A: b\r\n", BodyFile(str(path), 4, len(body))))
        done, _ = await asyncio.wait({user.written}, timeout=0.3)
        assert not done  # most of it still waits in the file
        assert link._stream.left_bytes > 4_000_000
        go_on.set()
        assert await user.written
        wire = b"A: b\r\n" + body.replace(b"\r\n.", b"\r\n..").replace(b".", b"..", 1) + b".\r\n"
        assert await got == hashlib.sha256(wire).hexdigest()
        assert user.progress > 10
        link.abort()
        server.close()

    asyncio.run(run())


def test_failures_in_words():
    async def run():
        server, port = await serve(lambda reader, writer: None)
        server.close()
        await server.wait_closed()
        refused = User()
        TcpConnector().connect("127.0.0.1", port, LinkOptions(5.0), refused)
        assert "refused" in (await refused.ended).lower()
        odd = User()
        TcpConnector().connect("127.0.0.1", port, LinkOptions(5.0, source_address="192.0.2.1"), odd)
        assert await odd.ended
        assert (await odd.ended).isprintable()
        never = User()
        TcpConnector().connect("127.0.0.1", 70_000, LinkOptions(5.0), never)
        assert (await asyncio.wait_for(never.ended, 5)).isprintable()  # whatever it is, it is told

    asyncio.run(run())


def test_a_cancelled_connection_calls_nobody():
    async def run():
        server, port = await serve(lambda reader, writer: writer.close())
        user = User()
        cancel = TcpConnector().connect("127.0.0.1", port, LinkOptions(5.0), user)
        cancel()
        await asyncio.sleep(0.05)
        assert not user.opened.done()
        assert user.ends == []
        server.close()

    asyncio.run(run())


def test_contexts():
    weak, strong = client_tls.opportunistic(), client_tls.verified()
    assert (weak.verify_mode, weak.minimum_version) == (ssl.CERT_NONE, ssl.TLSVersion.TLSv1)
    assert (strong.verify_mode, strong.minimum_version) == (ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_2)
    assert strong.check_hostname
