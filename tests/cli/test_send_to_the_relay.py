"""`relay send` without a server: it finds the configured relay, believes its certificate, logs in as its own user."""

import json
import ssl

import pytest
from aiosmtpd.smtp import AuthResult

from relay.store.catalog_credentials import CredentialKind
from tests.cli.test_send import Keeper, OnAnyPort


@pytest.fixture
def listening(site):
    """A server at the first submission listener of the site's configuration, with the site's certificate."""
    logins = []

    def authenticate(_server, _session, _envelope, _mechanism, data):
        logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=True)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.made.certificate, site.made.certificate.parent / "key.pem")
    keeper = Keeper()
    controller = OnAnyPort(
        keeper, hostname="127.0.0.1", port=0, tls_context=context, authenticator=authenticate, auth_required=True
    )
    controller.start()
    text = site.made.config.read_text().replace(
        "port: 0, tls: starttls", f"port: {controller.port}, tls: starttls", 1
    )
    site.made.config.write_text(text)
    keeper.logins = logins
    yield keeper
    controller.stop(no_assert=True)


def send(site, code=0):
    return site.call("send", "--from", "a@example.test", "--to", "b@example.test", code=code)


def test_own_login_is_made_once_and_again_after_it_was_revoked(site, listening):
    send(site)
    send(site)
    assert len(listening.mails) == 2
    first, second = listening.logins
    assert first == second
    (own,) = [one for one in site.json("credentials", "list") if one["name"] == "relay send"]
    assert (own["username"], own["kind"]) == (first[0], CredentialKind.SMTP_USER)
    file = site.made.config.parent / "data" / "keys" / "send.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["username"] == first[0]
    site.call("credentials", "revoke", first[0])
    send(site)
    assert listening.logins[2] != first


def test_another_certificate_is_not_believed(site, listening):
    other = site.made.certificate.parent / "other.pem"
    other.write_bytes(__import__("relay.runtime.setup_certificate", fromlist=["x"]).self_signed("x.test")[0])
    site.made.config.write_text(site.made.config.read_text().replace("tls/cert.pem", "tls/other.pem"))
    out, _ = send(site, code=75)
    assert "certificate" in out.lower()
    assert listening.mails == []
    assert listening.logins == []


def test_a_relay_that_is_not_running_is_named_with_the_next_step(site):
    out, _ = site.call("send", "--from", "a@x.test", "--to", "b@x.test", code=75)
    assert "is the relay running? `relay doctor` tells" in out
    assert "Errno" not in out


def test_no_such_listener(site):
    _, error = site.call("send", "--from", "a@x.test", "--to", "b@x.test", "--port", "7", code=78)
    assert "--host" in error
