"""`relay send` against an independent server (aiosmtpd): what goes on the wire, what it prints, how it leaves."""

import email
import email.policy
import json
import ssl

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from relay.errors import UsageError
from relay.runtime.cli import send_message
from relay.runtime.cli.app import run
from relay.runtime.cli.sink_tls import self_signed_context


class Keeper:
    """Keeps what it gets; refuses by the recipient's local part (`r550@` gets 550)."""

    def __init__(self):
        self.mails = []
        self.sessions = set()

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):  # noqa: N802
        local = address.partition("@")[0]
        if local.startswith("r") and local[1:].isdigit():
            return f"{local[1:]} no {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.mails.append(envelope)
        self.sessions.add(id(session))
        return f"250 Ok id-{len(self.mails)}"


class OnAnyPort(Controller):
    """A controller that may be given port 0."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def server():
    keeper = Keeper()
    controller = OnAnyPort(
        keeper,
        hostname="127.0.0.1",
        port=0,
        tls_context=self_signed_context("localhost"),
        authenticator=lambda *args: AuthResult(success=args[4].password == b"secret", handled=False),
        auth_require_tls=True,
    )
    controller.start()
    keeper.port = controller.port
    yield keeper
    controller.stop(no_assert=True)


def send(server, *arguments, tls="none"):
    at = ["--host", "127.0.0.1", "--port", str(server.port), "--tls", tls, "--from", "a@dev.test"]
    return run(["send", *at, *arguments])


def test_accepted_prints_the_reply(server, capsys):
    assert send(server, "--to", "Bob <b@dev.test>", "--to", "c@dev.test", "--subject", "Grüße") == 0
    assert capsys.readouterr().out == "accepted  Ok id-1\n"
    (mail,) = server.mails
    assert mail.rcpt_tos == ["b@dev.test", "c@dev.test"]
    message = email.message_from_bytes(mail.original_content, policy=email.policy.default)
    assert message["to"] == "Bob <b@dev.test>, c@dev.test"
    assert message["subject"] == "Grüße"
    assert message["date"]
    assert message["message-id"].endswith("@dev.test>")


def test_json_has_the_message_id(server, capsys):
    assert send(server, "--to", "b@dev.test", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["accepted"], result["messageId"], result["code"]) == (True, "id-1", 250)


@pytest.mark.parametrize(
    ("recipients", "code", "kept"),
    [
        (["r550@x.test"], 69, 0),
        (["r451@x.test"], 75, 0),
        (["b@x.test", "r550@x.test"], 69, 1),
        (["b@x.test", "r452@x.test"], 75, 1),
        (["r451@x.test", "r550@x.test"], 69, 0),
    ],
)
def test_exit_codes(server, capsys, recipients, code, kept):
    assert send(server, *(part for one in recipients for part in ("--to", one))) == code
    assert len(server.mails) == kept
    assert "no r" in capsys.readouterr().out


def test_starttls_and_auth(server, capsys, tmp_path):
    file = tmp_path / "password"
    file.write_text("secret\n")
    login = ["--to", "b@dev.test", "--user", "me", "--password-file", str(file), "--insecure"]
    assert send(server, *login, tls="starttls") == 0
    file.write_text("wrong\n")
    assert send(server, *login, tls="starttls") == 69
    assert "535" in capsys.readouterr().out


def test_unknown_certificate_is_not_believed(server, capsys):
    assert send(server, "--to", "b@dev.test", tls="starttls") == 75
    assert "certificate" in capsys.readouterr().out.lower()
    assert server.mails == []


def test_no_server_is_temporary(server, capsys):
    server.port = 1
    assert send(server, "--to", "b@dev.test") == 75
    assert "127.0.0.1:1" in capsys.readouterr().out


def test_many_over_few_connections(server, capsys):
    assert send(server, "--to", "b@dev.test", "--count", "12", "--connections", "3") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("12 accepted, 0 failed in ")
    assert len(server.mails) == 12
    assert len(server.sessions) <= 3
    ids = {email.message_from_bytes(mail.original_content)["message-id"] for mail in server.mails}
    assert len(ids) == 12


def test_file_goes_as_it_is(server, tmp_path):
    file = tmp_path / "mail.eml"
    file.write_bytes(b"From: x@y.test\nTo: b@dev.test, C <c@dev.test>\nX-Odd:   kept   \n\n.\n..two\nend")
    at = ["--host", "127.0.0.1", "--port", str(server.port), "--tls", "none"]
    assert run(["send", *at, "--file", str(file)]) == 0
    (mail,) = server.mails
    assert mail.mail_from == "x@y.test"
    assert mail.rcpt_tos == ["b@dev.test", "c@dev.test"]
    assert mail.original_content == file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n"


def test_html_and_attachment(server, tmp_path):
    html = tmp_path / "mail.html"
    html.write_text("<p>héllo</p>")
    data = tmp_path / "data.bin"
    data.write_bytes(bytes(range(256)))
    assert send(server, "--to", "b@dev.test", "--html", str(html), "--attach", str(data), "--header", "X-Tag: 1") == 0
    message = email.message_from_bytes(server.mails[0].original_content, policy=email.policy.default)
    assert message["x-tag"] == "1"
    assert message.get_body(("html",)).get_content().strip() == "<p>héllo</p>"
    (attachment,) = message.iter_attachments()
    assert attachment.get_content() == bytes(range(256))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--to", "b@dev.test", "--header", "no colon"],
        ["--to", "b@dev.test", "--header", "X-A: 1\r\nX-B: 2"],
        ["--to", "b@dev.test", "--subject", "two\nlines"],
        ["--to", "b@dev.test", "--count", "0"],
        [],
    ],
)
def test_arguments_that_cannot_work(server, capsys, arguments):
    assert send(server, *arguments) == 64
    assert server.mails == []
    assert "Traceback" not in capsys.readouterr().err


def test_line_ends():
    assert send_message.with_crlf(b"a\rb\nc\r\nd") == b"a\r\nb\r\nc\r\nd\r\n"


def test_header_option():
    assert send_message.parse_header("X-Name:  a: b ") == ("X-Name", "a: b")
    with pytest.raises(UsageError):
        send_message.parse_header("bad name: x")


def test_self_signed_context_needs_no_file():
    assert isinstance(self_signed_context("x"), ssl.SSLContext)
