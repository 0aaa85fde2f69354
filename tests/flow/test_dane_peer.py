"""OpenSSL judges the same certificates by the same TLSA records: a second opinion that nobody here wrote."""

import asyncio
import hashlib
import shutil
import subprocess
import time

import pytest

from relay.model.tls import Tlsa
from relay.policy.dane import mismatch, usable
from tests.authority import Certificate, authority, server_context

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]
ROOT = authority()
MIDDLE = Certificate([], ROOT, authority=True, common_name="Middle")
LEAVES = {
    "good": Certificate(["mx.test"], MIDDLE),
    "another name": Certificate(["other.test"], MIDDLE),
    "wildcard": Certificate(["*.mx.test"], MIDDLE),
    "expired": Certificate(["mx.test"], MIDDLE, expired=True),
    "self-signed": Certificate(["other.test"]),
}
OTHER = Certificate(["mx.test"])
RECORDS = [
    (owner, usage, selector, matching)
    for owner in ("leaf", "middle", "root", "other")
    for usage in (2, 3)
    for selector, matching in ((0, 1), (1, 1), (1, 2), (0, 0))
]


def their_verdict(port, record):
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "mx.test", "-dane_tlsa_domain",
         "mx.test", "-dane_tlsa_rrdata", record, "-dane_ee_no_namechecks", "-verify_return_error", "-brief"],
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode == 0


@pytest.mark.parametrize("name", LEAVES)
def test_both_come_to_the_same_verdict(tmp_path, name):
    leaf = LEAVES[name]
    chain, one = [], leaf
    while one is not None:
        chain, one = [*chain, one.der], one.issuer
    owners = {"leaf": leaf, "middle": MIDDLE, "root": ROOT, "other": OTHER}

    async def run():
        context = server_context(leaf, tmp_path)
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        for owner, usage, selector, matching in RECORDS:
            record = owners[owner].tlsa(usage, selector, matching)
            theirs = await asyncio.to_thread(their_verdict, port, record)
            value = Tlsa(usage, selector, matching, bytes.fromhex(record.split()[3]))
            ours = mismatch(usable([value]), chain, ["mx.test"], time.time()) == ""
            assert ours == theirs, (name, owner, usage, selector, matching)
        server.close()

    asyncio.run(run())


def test_the_record_that_the_guide_makes_fits(tmp_path):
    leaf = LEAVES["good"]
    path = tmp_path / "cert.pem"
    path.write_bytes(leaf.pem())
    key = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-pubkey"], capture_output=True, check=True)
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"], input=key.stdout, capture_output=True, check=True
    )
    assert leaf.tlsa() == f"3 1 1 {hashlib.sha256(der.stdout).hexdigest()}"
