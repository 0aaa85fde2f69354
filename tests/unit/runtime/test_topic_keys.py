"""Keys and certificates of topics in files: made once, rotated, served for 30 days more (TOPIC-112, TOPIC-113)."""

import pytest
from cryptography import x509

from relay.errors import ConfigurationError, StorageError
from relay.ports.topics import UNSIGNED
from relay.runtime.config.load import parse
from relay.runtime.topic_keys import KeptSigner, TopicKeys
from relay.signing.notification import verify
from relay.signing.topic_certificate import key_pem
from tests.topics import signers

DAY_MS = 86_400_000
NOW_MS = 1_790_000_000_000
FIELDS = {
    "Type": "Notification",
    "MessageId": "m",
    "TopicArn": "arn:aws:sns:local-1:000000000001:t",
    "Message": "hello",
    "Timestamp": "2026-11-26T09:00:00.000Z",
}


def config_of(tmp_path, topics=""):
    return parse(f"hostname: relay.example\ndata_dir: {tmp_path}\n{topics}", tmp_path / "relay.yaml").config


def keys_of(tmp_path):
    return TopicKeys(tmp_path, "relay.example")


@pytest.mark.req("TOPIC-112", "TOPIC-113")
def test_a_certificate_of_the_relays_authority_is_made_once(tmp_path):
    keys, config = keys_of(tmp_path), config_of(tmp_path)
    assert keys.certificate("0" * 32) is None
    first = keys.signer(config, NOW_MS)
    again = keys_of(tmp_path).signer(config, NOW_MS + DAY_MS)
    assert (again.name, again.certificate) == (first.name, first.certificate)
    assert keys.certificate(first.name) == first.certificate
    authority = x509.load_pem_x509_certificate(keys.authority())
    x509.load_pem_x509_certificate(first.certificate).verify_directly_issued_by(authority)
    assert {path.name: path.stat().st_mode & 0o777 for path in keys.directory.glob("*.key")} == {
        "authority.key": 0o600,
        "current.key": 0o600,
    }


@pytest.mark.req("TOPIC-112")
def test_an_old_certificate_is_replaced_and_served_for_thirty_days(tmp_path):
    keys, config = keys_of(tmp_path), config_of(tmp_path)
    first = keys.signer(config, NOW_MS)
    later_ms = NOW_MS + 366 * DAY_MS
    second = keys.signer(config, later_ms)
    assert second.name != first.name
    assert keys.certificate(first.name) == first.certificate
    keys.signer(config, later_ms + 29 * DAY_MS)
    assert keys.certificate(first.name) == first.certificate
    keys.signer(config, later_ms + 31 * DAY_MS)
    assert keys.certificate(first.name) is None
    assert keys.certificate(second.name) == second.certificate
    assert keys.state().retired == {}


@pytest.mark.req("TOPIC-113")
def test_a_certificate_of_the_operator_signs_instead(tmp_path):
    own, other = signers()
    (tmp_path / "cert.pem").write_bytes(own.certificate)
    (tmp_path / "key.pem").write_bytes(key_pem(own.key))
    keys = keys_of(tmp_path)
    made = keys.signer(config_of(tmp_path), NOW_MS)
    config = config_of(tmp_path, f"topics: {{certificate: {tmp_path}/cert.pem, key: {tmp_path}/key.pem}}\n")
    assert keys.signer(config, NOW_MS).name == own.name
    assert not (keys.directory / "current.key").exists()
    assert keys.certificate(made.name) == made.certificate
    with pytest.raises(ConfigurationError, match=r"topics\.certificate"):
        keys.rotate(NOW_MS)
    (tmp_path / "key.pem").write_bytes(key_pem(other.key))
    with pytest.raises(ConfigurationError, match="does not belong"):
        keys.signer(config, NOW_MS)
    assert keys.signer(config_of(tmp_path), NOW_MS).name not in {own.name, made.name}


def test_a_crash_between_key_and_state_makes_a_new_pair(tmp_path):
    keys, config = keys_of(tmp_path), config_of(tmp_path)
    first = keys.signer(config, NOW_MS)
    (keys.directory / "current.key").write_bytes(key_pem(signers()[0].key))
    second = keys.signer(config, NOW_MS)
    assert second.name != first.name
    assert keys.certificate(first.name) == first.certificate


def test_a_damaged_state_says_so(tmp_path):
    keys = keys_of(tmp_path)
    keys.signer(config_of(tmp_path), NOW_MS)
    (keys.directory / "state.json").write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        keys.state()


def test_a_signer_signs_once_it_has_a_key():
    kept = KeptSigner()
    assert kept.sign("1", FIELDS) == UNSIGNED
    kept.replace(signers()[0], "https://relay.example")
    signature = kept.sign("2", FIELDS)
    assert signature.cert_url == f"https://relay.example/SimpleNotificationService-{signers()[0].name}.pem"
    body = {**FIELDS, "Signature": signature.text, "SignatureVersion": "2"}
    assert verify(body, signers()[0].certificate) == ""
