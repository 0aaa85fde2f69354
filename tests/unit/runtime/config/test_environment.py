"""What a machine can have against a configuration: real files, real ports, real certificates."""

import datetime as dt
import errno
import importlib.util
import os
import socket
import time
from pathlib import Path

import pytest

from relay.errors import ConfigurationError
from relay.runtime.config.environment import check, port_sentence, refuse_errors
from relay.runtime.config.incoming import Listener
from relay.runtime.config.load import load
from relay.runtime.setup_certificate import self_signed

LISTENERS = "listeners: [{kind: submission, port: 0, tls: starttls}]\n"


@pytest.fixture
def site(tmp_path):
    """A directory with a certificate and a data directory that need no remark."""
    certificate, key = self_signed("relay.example")
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "cert.pem").write_bytes(certificate)
    (tmp_path / "tls" / "key.pem").write_bytes(key)
    (tmp_path / "tls" / "key.pem").chmod(0o600)
    return tmp_path


def findings(site: Path, more: str = "", *, now_ms: int = 0, ports: bool = True) -> list[str]:
    file = site / "relay.yaml"
    listeners = "" if "listeners:" in more else LISTENERS
    host = "" if "hostname:" in more else "hostname: relay.example\n"
    file.write_text(host + "data_dir: data\n" + listeners + more)
    found = check(load(file), now_ms=now_ms or time.time_ns() // 1_000_000, ports=ports)
    return [
        f"{finding.severity} {finding}".replace(str(site), "DIR")
        for finding in found
        if not (finding.key == "run_as" and os.geteuid() == 0 and "run_as" not in more)
    ]


def test_a_good_site_gets_no_remark(site):
    assert findings(site, "workers: 2\n") == []


def test_a_reserve_of_disk_that_the_logs_of_all_workers_could_use_up(site):
    assert findings(site, "workers: 3\nlimits: {disk_free_min: 48MB}\n") == []
    (warning,) = findings(site, "workers: 4\nlimits: {disk_free_min: 48MB}\n")
    assert warning.startswith("warning DIR/relay.yaml:5: limits.disk_free_min: is less than the 64 MB that the logs")


def test_a_missing_certificate_and_key(site):
    (site / "tls" / "cert.pem").unlink()
    (site / "tls" / "key.pem").unlink()
    assert findings(site, "tls: {certificate: tls/cert.pem,\n  key: tls/key.pem}\n") == [
        "error DIR/relay.yaml:4: tls.certificate: cannot be read: DIR/tls/cert.pem: No such file or directory",
        "error DIR/relay.yaml:5: tls.key: cannot be read: DIR/tls/key.pem: No such file or directory",
    ]


def test_no_certificate_is_needed_without_tls(site):
    (site / "tls" / "cert.pem").unlink()
    assert findings(site, "listeners: [{kind: submission, port: 0, tls: none}]\n") == []


@pytest.mark.parametrize(
    "content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_certificate_of_rubbish(site, content):
    (site / "tls" / "cert.pem").write_bytes(content)
    assert findings(site) == [
        "error DIR/relay.yaml: tls.certificate: is not a certificate in PEM form: DIR/tls/cert.pem"
    ]


def test_a_key_of_rubbish(site):
    (site / "tls" / "key.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert findings(site) == ["error DIR/relay.yaml: tls.key: is not a private key in PEM form: DIR/tls/key.pem"]


def test_a_directory_or_a_huge_file_in_place_of_a_key(site):
    (site / "tls" / "key.pem").unlink()
    (site / "tls" / "key.pem").mkdir()
    with (site / "tls" / "cert.pem").open("wb") as stream:
        stream.truncate(1 << 30)
    assert findings(site) == [
        "error DIR/relay.yaml: tls.certificate: cannot be read: DIR/tls/cert.pem: larger than 1 MiB",
        "error DIR/relay.yaml: tls.key: cannot be read: DIR/tls/key.pem: not a regular file",
    ]


def test_a_key_of_another_certificate(site):
    (site / "tls" / "key.pem").write_bytes(self_signed("relay.example")[1])
    assert "tls.key: does not belong to the certificate" in findings(site)[0]


@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_key_that_everybody_can_read(site, mode, refused):
    (site / "tls" / "key.pem").chmod(mode)
    found = findings(site)
    assert bool(found) == refused
    if refused:
        assert found[0].endswith("tls.key: can be read by everybody; `chmod 600 DIR/tls/key.pem`")


@pytest.mark.parametrize(
    ("days", "says"),
    [(3651, "warning expired on"), (3640, "warning expires on"), (3000, ""), (-1, "warning is valid from")],
)
def test_the_dates_of_a_certificate(site, days, says):
    now = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    found = findings(site, now_ms=int(now.timestamp() * 1000))
    told = [f"{one.split()[0]} {one.split('tls.certificate: ')[1]}" for one in found]
    assert [one[: len(says)] for one in told] == ([says] if says else [])


def test_a_certificate_for_another_name_is_a_warning(site):
    found = findings(site, "hostname: other.example\n")
    assert found == [
        "warning DIR/relay.yaml: tls.certificate: is not for other.example; clients that check names will refuse it"
    ]


def test_a_port_in_use_is_named_with_its_line(site):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = f"listeners:\n  - {{kind: mx, port: 0}}\n  - {{kind: metrics, port: {port}}}\n"
        found = findings(site, text)
        assert found == [
            (
                f"error DIR/relay.yaml:5: listeners[1].port: 127.0.0.1:{port} is in use by another program; "
                "stop that, or choose another port"
            )
        ]
        assert findings(site, text, ports=False) == []


def test_an_address_of_another_machine(site):
    found = findings(
        site,
        "listeners: [{kind: mx, address: 192.0.2.1, port: 2525}]\n"
        "delivery: {source_addresses: [127.0.0.1, 192.0.2.1]}\n",
    )
    missing = "192.0.2.1 is not an address of this machine"
    assert found == [
        f"warning DIR/relay.yaml:4: delivery.source_addresses[1]: {missing}; nothing leaves from it",
        f"error DIR/relay.yaml:3: listeners[0].address: {missing}",
    ]


def test_a_share_of_a_warm_up_that_nobody_would_use(site):
    shares = "{provider: gmial, share: 40%}, {provider: mx1.site.example, share: 10%}, {provider: other, share: 50%}"
    (found,) = findings(site, f"warmup: {{shares: [{shares}]}}\n")
    assert found.startswith("warning DIR/relay.yaml:")
    assert "warmup.shares[0].provider: no shaping rules are named gmial" in found
    assert found.endswith("nobody uses this share; did you mean `gmail`?")
    assert findings(site, f"warmup: {{shares: [{shares}]}}\nshaping: {{enabled: false}}\n") == []
    (found,) = findings(site, "warmup: {shares: [{provider: gmail, share: 100%}]}\n")
    assert "warmup.shares: have no `other`" in found


def test_what_is_said_of_a_port_that_may_not_be_opened():
    listener = Listener.model_validate({"kind": "mx", "address": "::1", "port": 25})
    assert port_sentence(listener, errno.EACCES).startswith(
        "[::1]:25 may only be opened by root or with CAP_NET_BIND"
    )
    assert port_sentence(listener, errno.EMFILE) == "[::1]:25 cannot be opened: Too many open files"


def test_a_master_key_that_others_may_read(site):
    """L11: it opens every signing key."""
    (site / "data" / "keys").mkdir()
    key = site / "data" / "keys" / "master.key"
    key.write_bytes(b"x")
    key.chmod(0o600)
    assert not any("master.key" in finding for finding in findings(site))
    key.chmod(0o644)
    said = next(finding for finding in findings(site) if "master.key" in finding)
    assert "can be read by other users" in said
    assert "chmod 600" in said


def test_a_data_directory_that_is_a_file_or_open_to_all(site):
    (site / "data").chmod(0o755)
    assert "data_dir: can be read by other users; `chmod 700 DIR/data`" in findings(site)[0]
    (site / "data").rmdir()
    (site / "data").write_text("")
    assert "data_dir: cannot be used: DIR/data is not a directory" in findings(site)[0]


def test_a_data_directory_that_cannot_be_written(site, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert "error DIR/relay.yaml:2: data_dir: cannot be written: DIR/data does not let this user write" in findings(
        site
    )


def test_too_little_room_is_a_warning(site):
    assert any("less than limits.disk_free_min" in one for one in findings(site, "limits: {disk_free_min: 1000TB}\n"))


def test_a_user_that_does_not_exist(site):
    found = findings(site, "run_as: {user: no-such-user-here}\n")
    assert "run_as.user: does not exist: 'no-such-user-here'; create it with" in found[0]


def test_a_password_file_that_is_missing_or_public(site):
    route = "routes: [{domain: a.example, smarthost: b.example, username: u, password_file: pw, tls: require}]\n"
    assert "routes[0].password_file: cannot be read: DIR/pw: No such file" in findings(site, route)[0]
    (site / "pw").write_text("secret\n")
    (site / "pw").chmod(0o644)
    assert "DIR/pw can be read by everybody" in findings(site, route)[0]
    (site / "pw").chmod(0o600)
    assert findings(site, route) == []


def test_a_name_without_a_dot_and_a_kind_that_nobody_serves(site):
    found = findings(site, "hostname: localhost\nlisteners: [{kind: console, port: 0}]\n")
    assert [one.split(": ", 2)[1] for one in found] == ["hostname", "listeners[0].kind"]
    assert all(one.startswith("warning") for one in found)


def test_errors_refuse_the_start_and_warnings_do_not(site):
    (site / "tls" / "key.pem").chmod(0o644)
    file = site / "relay.yaml"
    file.write_text("hostname: relay.example\ndata_dir: data\n" + LISTENERS)
    found = check(load(file), now_ms=time.time_ns() // 1_000_000)
    with pytest.raises(ConfigurationError, match=r"tls\.key: can be read by everybody"):
        refuse_errors(found)
    refuse_errors([finding for finding in found if finding.severity == "warning"])


def test_secrets_and_extras_of_streams_and_buses(site, monkeypatch):
    secret = site / "secret"
    secret.write_text("s")
    secret.chmod(0o644)
    more = "streams: [{name: a, type: bucket, bucket: b, access_key_id: k, secret_access_key_file: nothing}]\n"
    more += "buses: [{name: default, url: 'https://h.example/', secret_file: secret, ca_file: secret}]\n"
    first, second, third = findings(site, more)
    assert "streams[0].secret_access_key_file: cannot be read" in first
    assert "buses[0].secret_file: DIR/secret can be read by everybody" in second
    assert "buses[0].ca_file: cannot be used" in third
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    (missing,) = findings(site, "streams: [{name: a}, {name: b, type: kafka, brokers: [h], topic: t}]\n")
    assert "streams[1].type: `kafka` needs aiokafka; install `relay-mta[kafka]`" in missing
