"""An address is erased in the objects of a stream, old objects are deleted; others of the bucket are not touched."""

import base64
import gzip
import os

import pytest

from relay.errors import TemporaryError
from relay.model.erasure import ERASED, Erasure
from relay.runtime.buckets import bucket_store
from relay.runtime.config.publishing import Stream
from relay.runtime.privacy_bucket import StoredObjects
from relay.signing.sealed_file import NONCE_BYTES, FileSealer, key_of
from tests.bucket_server import bucket_server

pytestmark = [pytest.mark.timeout(60), pytest.mark.req("PRIV-006")]

ANN = b'{"destination":["ann@x.example"]}\n'
BOB = b'{"destination":["bob@x.example"]}\n'
CHANGED = ANN.replace(b"ann@x.example", ERASED)
HOUR = "mail/2026/11/26/05/"
KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="module")
def s3():
    with bucket_server() as url:
        yield url


@pytest.fixture
def stream(s3, tmp_path, monkeypatch, request):
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    key = tmp_path / "stream.key"
    key.write_text(KEY)
    key.chmod(0o600)
    made = Stream(
        name="s",
        type="bucket",
        bucket=f"b-{abs(hash(request.node.name))}",
        prefix="mail/",
        endpoint=s3,
        access_key_id="key",
        secret_access_key="secret",
        encryption_key_file=key,
    )
    bucket_store(made)._connected().create_bucket(Bucket=made.bucket)
    return made


def read(stream, name):
    client = bucket_store(stream)._connected()
    return client.get_object(Bucket=stream.bucket, Key=name)["Body"].read()


def test_an_address_is_erased_in_every_form_of_object(stream, tmp_path):
    sealer = FileSealer(key_of(KEY, "the key"))
    plain, packed = f"{HOUR}s-20261126T050000000Z-1-2-a.jsonl", f"{HOUR}s-20261126T050100000Z-3-4-a.jsonl.gz"
    sealed, clean = f"{HOUR}s-20261126T050200000Z-5-6-a.jsonl.gz.enc", f"{HOUR}s-20261126T050300000Z-7-8-a.jsonl"
    store = bucket_store(stream)
    store.keep(plain, ANN + BOB)
    store.keep(packed, gzip.compress(ANN + ANN))
    store.keep(sealed, sealer.seal(gzip.compress(BOB + ANN), os.urandom(NONCE_BYTES)))
    store.keep(clean, BOB)
    others = [
        f"{HOUR}s-2-20261126T050000000Z-1-2-a.jsonl",
        f"{HOUR}s-notes.txt",
        "else/s-20261126T050000000Z-1.jsonl",
    ]
    for name in others:
        store.keep(name, ANN)
    objects = StoredObjects(stream, tmp_path)
    assert objects.erase(Erasure("ann@x.example")) == 4
    assert read(stream, plain) == CHANGED + BOB
    assert gzip.decompress(read(stream, packed)) == CHANGED * 2
    assert gzip.decompress(sealer.open(read(stream, sealed))) == BOB + CHANGED
    assert read(stream, clean) == BOB
    assert [read(stream, name) for name in others] == [ANN] * 3
    assert objects.erase(Erasure("ann@x.example")) == 0
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_objects_go_by_age(stream, tmp_path):
    store = bucket_store(stream)
    for number in range(3):
        store.keep(f"{HOUR}s-20261126T05000{number}000Z-1-2-a.jsonl", BOB)
    store.keep(f"{HOUR}other-20261126T050000000Z-1-2-a.jsonl", BOB)
    ((_, written_ms), *_) = store.names("mail/")
    objects = StoredObjects(stream, tmp_path)
    assert objects.delete(written_ms - 60_000) == 0
    assert objects.delete(written_ms + 600_000) == 3
    assert [name for name, _ in store.names("")] == [f"{HOUR}other-20261126T050000000Z-1-2-a.jsonl"]


def test_more_objects_than_a_page_are_found(stream):
    store = bucket_store(stream)
    for number in range(1005):
        store.keep(f"{HOUR}{number}", b"x")
    assert len(list(store.names("mail/"))) == 1005


def test_a_bucket_that_refuses_is_a_sentence(stream, tmp_path):
    gone = stream.model_copy(update={"bucket": "nothing-there"})
    with pytest.raises(TemporaryError, match="bucket nothing-there: NoSuchBucket"):
        StoredObjects(gone, tmp_path).erase(Erasure("ann@x.example"))
