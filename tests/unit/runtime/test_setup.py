"""`init`: a relay that can start, or nothing."""

import json
import os
import ssl
import stat
import time

import pytest

from relay.errors import ConfigurationError, UsageError
from relay.runtime.config.environment import check
from relay.runtime.config.load import load
from relay.runtime.setup import Ports, init
from relay.signing.secrets import decode_master_key
from relay.store.catalog import open_catalog

FREE = Ports(0, 0, 0, 0)


def tree(path):
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


def test_init_makes_a_relay_that_passes_its_own_check(tmp_path):
    made = init(tmp_path / "etc" / "relay", hostname="relay.example", ports=FREE)
    errors = [one for one in check(load(made.config), now_ms=time.time_ns() // 1_000_000) if one.severity == "error"]
    assert errors == []
    config = load(made.config).config
    assert config.hostname == "relay.example"
    assert [entry.kind for entry in config.listeners] == ["submission", "submission", "mx", "metrics"]
    assert all(entry.loopback and entry.trust is None for entry in config.listeners)
    assert config.event_file(config.events[0]) == config.data_dir / "events.jsonl"


def test_the_ports_are_those_of_the_documents(tmp_path):
    config = load(init(tmp_path, hostname="relay.example").config).config
    assert [entry.port for entry in config.listeners] == [2587, 2465, 2525, 9090]


def test_what_is_private_is_private(tmp_path):
    made = init(tmp_path / "relay", hostname="relay.example")
    modes = {
        name: stat.S_IMODE((tmp_path / "relay" / name).stat().st_mode)
        for name in ("data", "data/keys", "data/keys/master.key", "data/catalog.db", "tls/key.pem", "relay.yaml")
    }
    assert modes == {
        "data": 0o700,
        "data/keys": 0o700,
        "data/keys/master.key": 0o600,
        "data/catalog.db": 0o600,
        "tls/key.pem": 0o600,
        "relay.yaml": 0o640,
    }
    secrets = (made.credentials.smtp_password, made.credentials.access_key_secret)
    assert not any(secret in made.config.read_text() for secret in secrets)


def test_the_printed_object_names_everything_once(tmp_path):
    made = init(tmp_path, hostname="relay.example").as_json()
    assert set(made) == {"config", "account", "smtp", "access_key", "certificate"}
    assert made["account"] == "000000000001"
    assert set(made["smtp"]) == {"username", "password"}
    assert set(made["access_key"]) == {"id", "secret"}
    assert made == json.loads(json.dumps(made))
    assert load(tmp_path / "relay.yaml").file == tmp_path / "relay.yaml"


@pytest.mark.parametrize("sandbox", [False, True])
def test_the_first_account_and_its_credentials_are_in_the_catalog(tmp_path, sandbox):
    made = init(tmp_path, hostname="relay.example", sandbox=sandbox)
    master_key = decode_master_key((tmp_path / "data" / "keys" / "master.key").read_bytes())
    with open_catalog(tmp_path / "data", master_key) as catalog:
        account = catalog.accounts.require("000000000001")
        users = {credential.username for credential in catalog.credentials.list("000000000001")}
    assert account.sandbox == sandbox
    assert account.limited == sandbox
    assert users == {made.credentials.smtp_username, made.credentials.access_key_id}


def test_clients_can_verify_the_certificate(tmp_path):
    made = init(tmp_path, hostname="relay.example")
    config = load(made.config).config
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(config.tls.certificate, config.tls.key)
    for name in ("relay.example", "localhost", "127.0.0.1"):
        client = ssl.create_default_context(cafile=str(made.certificate))
        client.verify_flags |= ssl.VERIFY_X509_STRICT
        inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = server.wrap_bio(inward, outward, server_side=True)
        theirs = client.wrap_bio(outward, inward, server_hostname=name)
        for side in (theirs, ours, theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
        assert theirs.version() == "TLSv1.3"


def test_an_existing_relay_is_never_overwritten(tmp_path):
    made = init(tmp_path, hostname="relay.example")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"relay\.yaml exists already, and init never overwrites"):
        init(tmp_path, hostname="other.example")
    made.config.unlink()
    with pytest.raises(UsageError, match=r"catalog\.db exists already"):
        init(tmp_path, hostname="other.example")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == {
        path: content for path, content in before.items() if path != made.config
    }


def test_a_dangling_link_is_not_written_through(tmp_path):
    (tmp_path / "relay.yaml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="exists already"):
        init(tmp_path, hostname="relay.example")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("hostname", ["relay_1.example", "bücher.example", "10.0.0.1", "a b", "-"])
def test_a_bad_host_name_makes_nothing(tmp_path, hostname):
    with pytest.raises(UsageError, match="The host name must"):
        init(tmp_path / "relay", hostname=hostname)
    assert tree(tmp_path) == []


def test_settings_that_would_not_work_make_nothing(tmp_path):
    with pytest.raises(UsageError, match=r"(?s)Nothing was made.*no_such: there is no such setting"):
        init(tmp_path / "relay", hostname="relay.example", settings={"no_such": 1})
    assert tree(tmp_path) == []


def test_further_settings_are_written(tmp_path):
    settings = {
        "routes": [{"domain": "*", "smarthost": "127.0.0.1:2526"}],
        "dns": {"nameservers": ["127.0.0.1:5353"]},
    }
    config = load(init(tmp_path, hostname="relay.example", settings=settings).config).config
    assert config.routes[0].smarthost.port == 2526
    assert config.dns.nameservers[0].port == 5353


@pytest.mark.parametrize("failing", ["first_credentials", "self_signed", "load_nothing"])
def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch, failing):
    (tmp_path / "mine").write_text("kept")

    def fail(*_arguments, **_named):
        raise OSError(28, "No space left on device", "relay.yaml")

    if failing == "load_nothing":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(f"relay.runtime.setup.{failing}", fail)
    with pytest.raises(ConfigurationError, match=r"Nothing was made: relay\.yaml: No space left on device"):
        init(tmp_path, hostname="relay.example")
    assert tree(tmp_path) == ["mine"]


def test_an_interrupted_init_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(_name):
        raise KeyboardInterrupt

    monkeypatch.setattr("relay.runtime.setup.self_signed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        init(tmp_path / "a" / "b", hostname="relay.example")
    assert tree(tmp_path) == []


def test_without_a_name_the_machine_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "mail.example.org")
    assert init(tmp_path / "a").hostname == "mail.example.org"
    monkeypatch.setattr("socket.gethostname", lambda: "my_machine")
    assert init(tmp_path / "b").hostname == "relay.localhost"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_the_data_to_the_run_user(tmp_path):
    init(tmp_path / "relay", hostname="relay.example", run_as="nobody")
    nobody = __import__("pwd").getpwnam("nobody")
    owners = {name: (tmp_path / "relay" / name).stat().st_uid for name in ("data", "data/catalog.db", "tls/key.pem")}
    assert set(owners.values()) == {nobody.pw_uid}
    file = (tmp_path / "relay" / "relay.yaml").stat()
    assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (0, nobody.pw_gid, 0o640)
    assert load(tmp_path / "relay" / "relay.yaml").config.run_as.user == "nobody"
