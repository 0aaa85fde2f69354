"""Sealing, derivation and generated secrets."""

import base64
import re

import pytest

from relay.errors import ConfigurationError, CorruptionError
from relay.signing import secrets

MASTER = bytes(range(32))
EXAMPLE = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.mark.req("CRED-003", "CRED-004")
@pytest.mark.parametrize(
    ("region", "password"),
    [
        ("us-west-2", "BF2PynzbSCAjX08zhZZnP/kW+T9P5zs/1Er0pi5vTEmd"),
        ("us-east-1", "BLBM/9hSUELfq8Gw+rU1YcBjkOxGbhT2XG763xVLGWL9"),
        ("local-1", "BCG0RVZio+8BITDYOkvwpGUuEG0VIMfJPmFULW6+VG+S"),
    ],
)
def test_smtp_password_vectors(region, password):
    assert secrets.smtp_password(EXAMPLE, region) == password
    assert base64.b64decode(password)[0] == 0x04


def test_fourteen_regions_by_default():
    assert len(set(secrets.DEFAULT_REGIONS)) == 14


def test_sealed_secret_opens_only_where_it_belongs():
    sealer = secrets.Sealer(MASTER)
    sealed = sealer.seal(b"secret", "credential 1")
    assert b"secret" not in sealed
    assert sealed != sealer.seal(b"secret", "credential 1")
    assert sealer.open(sealed, "credential 1") == b"secret"
    with pytest.raises(CorruptionError, match="credential 2"):
        sealer.open(sealed, "credential 2")
    with pytest.raises(CorruptionError):
        secrets.Sealer(bytes(32)).open(sealed, "credential 1")


@pytest.mark.parametrize("position", [0, 1, 13, -1])
def test_a_changed_seal_does_not_open(position):
    sealer = secrets.Sealer(MASTER)
    sealed = bytearray(sealer.seal(b"secret", "x"))
    sealed[position] ^= 1
    with pytest.raises(CorruptionError):
        sealer.open(bytes(sealed), "x")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + bytes(27)])
def test_a_short_seal_does_not_open(sealed):
    with pytest.raises(CorruptionError):
        secrets.Sealer(MASTER).open(sealed, "x")


def test_each_purpose_has_its_own_key():
    keys = {secrets.derive(MASTER, purpose) for purpose in ("a", "b", "relay seal v1")}
    assert len(keys) == 3
    assert MASTER not in keys
    assert secrets.derive(MASTER, "a") == secrets.derive(MASTER, "a")
    assert len(secrets.derive(MASTER, "a", 16)) == 16


def test_master_key_file_round_trip():
    key = secrets.new_master_key()
    assert secrets.decode_master_key(secrets.encode_master_key(key)) == key


@pytest.mark.parametrize("text", [b"", b"short", base64.b64encode(bytes(31)), b"\xff" * 44])
def test_bad_master_key_file_is_refused(text):
    with pytest.raises(ConfigurationError, match="32 bytes"):
        secrets.decode_master_key(text)


@pytest.mark.req("CRED-002")
def test_generated_secrets_have_the_right_shapes():
    key_id = secrets.new_access_key_id()
    assert re.fullmatch(r"[A-Z0-9]{20}", key_id)
    assert secrets.is_access_key_id(key_id)
    secret = secrets.new_access_key_secret()
    assert secrets.is_access_key_secret(secret)
    assert len(secret) == 40
    assert not secrets.is_access_key_id(secrets.new_smtp_user())
    password = secrets.new_smtp_user_password()
    assert re.fullmatch(r"[A-Za-z0-9]{40}", password)
    assert len({secrets.new_smtp_user_password() for _ in range(50)}) == 50


@pytest.mark.parametrize("text", ["", "AKIA", "akiaaaaaaaaaaaaaaaaa", "A" * 21, "A" * 20 + "\n"])
def test_what_is_no_key_id(text):
    assert not secrets.is_access_key_id(text)


def test_an_smtp_password_is_no_secret():
    assert not secrets.is_access_key_secret(secrets.smtp_password(EXAMPLE, "us-east-1"))
