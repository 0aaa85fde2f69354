"""Header and MIME rules as a client and a receiver see them: what is refused and in which words, what arrives."""

import base64
import email
import email.message
import email.policy
import re
import time

import dkim
import pytest

from relay.mail.attachments import REFUSED_EXTENSIONS
from relay.mail.headers import SINGLE_FIELDS
from tests.adversarial.wire import open_listener, settled, with_mark, zone
from tests.product import Product, Receiver, eventually

ADDRESS = "127.0.0.1"


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def product(receiver):
    settings = {
        "limits": {"message_size_max": 8_000_000, "disk_free_min": "1MB"},
        "region": "eu-test-1",
        "delivery": {
            "port": receiver.port,
            "source_addresses": [ADDRESS],
            "allow_private_destinations": True,
        },
    }
    with Product(receiver.port, **settings) as made:
        yield made


@pytest.fixture
def client(product):
    with open_listener(product, "submission") as made:
        yield made


def text_of(headers, body=b"x\r\n", author=b"From: app@example.com\r\n"):
    return author + headers + b"\r\n" + body


def multipart(*inner, kind=b"mixed", boundary=b"b"):
    """Return (header field, body) of a multipart."""
    body = b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" for one in inner)
    return (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/" + kind + b"; boundary=" + boundary + b"\r\n",
        body + b"--" + boundary + b"--\r\n",
    )


class Passing:
    """Submits a message and finds it at the receiver."""

    count = 0

    def __init__(self, product, receiver, client, lookup):
        self.product, self.receiver, self.client, self.lookup = product, receiver, client, lookup

    def __call__(self, headers=b"", body=b"x\r\n", **options):
        Passing.count += 1
        mark = b"X-Mark: passing-%d.\r\n" % Passing.count
        answer = self.client.transaction(text_of(mark + headers, body), **options)
        assert answer[:3] == "250", answer
        settled(self.product)
        found = with_mark(self.receiver.messages, mark.decode())
        assert len(found) == 1
        data = found[0][2]
        assert dkim.verify(data, dnsfunc=self.lookup)
        return data


@pytest.fixture(scope="module")
def lookup(product):
    return zone(product)


@pytest.fixture
def passing(product, receiver, client, lookup):
    return Passing(product, receiver, client, lookup)


def head_of(data):
    return data.partition(b"\r\n\r\n")[0] + b"\r\n"


def fields_of(data, name):
    return re.findall(rb"(?im)^%s:[ \t]*((?:[^\r\n]|\r\n[ \t])*)\r\n" % name, head_of(data))


# --- header fields -----------------------------------------------------------------------------------------------


@pytest.mark.req("HDR-001", "HDR-017")
def test_other_fields_pass_in_order_with_their_folding(passing):
    headers = b"X-B: 1\r\nResent-To: a@b.example\r\nx-a:2 \r\nX-B:  two\r\n\tlines  of\r\n it\r\nOdd!Name: y\r\n"
    assert headers in passing(headers)


@pytest.mark.req("HDR-002", "HDR-003")
@pytest.mark.parametrize("name", SINGLE_FIELDS.values())
def test_each_of_the_58_fields_may_occur_once(name, client):
    value = {
        "Date": "Mon, 1 Jan 2026 00:00:00 +0000",
        "Content-Type": "text/plain",
        "From": "app@example.com",
        "Sender": "app@example.com",
        "Return-Path": "<app@example.com>",
    }.get(name, "<a@example.com>")
    twice = f"{name}: {value}\r\nX-Between: x\r\n{name.upper()}: {value}\r\n".encode()
    author = b"" if name == "From" else b"From: app@example.com\r\n"
    answer = client.transaction(text_of(twice, author=author))
    assert answer == f"554 Transaction failed: Duplicate header '{name}'."


@pytest.mark.req("HDR-002", "HDR-003")
def test_fields_of_inner_parts_are_not_counted(passing):
    field, body = multipart(
        b"Subject: x\r\nSubject: y\r\n\r\ninner", b"Content-ID: <a@b>\r\nContent-ID: <a@b>\r\n\r\nx"
    )
    assert passing(b"Subject: once\r\n" + field, body).endswith(body)


@pytest.mark.req("HDR-004", "HDR-008")
def test_recipient_fields_may_repeat_and_bcc_never_arrives(passing):
    data = passing(
        b"To: a@remote.example\r\nCc: c@remote.example\r\nTo: b@remote.example\r\nCC: d@remote.example\r\n"
        b"Bcc: one@remote.example\r\nBcc: two@remote.example\r\nBounces-to: x@example.com\r\n"
        b"Errors-To: e@remote.example\r\n",
        recipients=("a@remote.example",),
    )
    assert [value.split(b",\r\n\t") for value in fields_of(data, b"To")] == [
        [b"a@remote.example", b"b@remote.example"]
    ]
    assert [value.split(b",\r\n\t") for value in fields_of(data, b"Cc")] == [
        [b"c@remote.example", b"d@remote.example"]
    ]
    assert fields_of(data, b"Errors-To") == [b"e@remote.example"]
    assert not fields_of(data, b"Bcc")
    assert not fields_of(data, b"Bounces-To")


@pytest.mark.req("HDR-007")
def test_a_return_path_must_be_verified_and_never_arrives(client, passing):
    answer = client.transaction(text_of(b"Return-Path: <x@foreign.example>\r\n"))
    assert answer.startswith("554 Message rejected: Email address is not verified.")
    assert not fields_of(passing(b"Return-Path: <other@example.com>\r\n"), b"Return-Path")


@pytest.mark.req("HDR-009")
@pytest.mark.parametrize(
    ("author", "headers", "text"),
    [
        (b"", b"Subject: x\r\n", "Missing required header 'From'."),
        (b"From: \r\n", b"", "Empty required header 'From'."),
        (b"From: app@example.com\r\n", b"To:\r\n", "Empty required header 'To'."),
        (b"From: app@example.com\r\n", b"Cc: \t\r\n", "Empty required header 'Cc'."),
        (b"", b"Subject: x\r\n\r\nFrom: app@example.com\r\n", "Missing required header 'From'."),
    ],
)
def test_required_fields(author, headers, text, client):
    assert client.transaction(text_of(headers, author=author)) == "554 Transaction failed: " + text


@pytest.mark.req("HDR-009")
def test_a_message_without_to_is_accepted(passing):
    assert not fields_of(passing(), b"To")


@pytest.mark.req("HDR-010")
@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (b"To: someone\r\n", "Missing final '@domain'"),
        (b"To: a@b@c.example\r\n", "Illegal address"),
        (b"To: <a b@c.example>\r\n", "Local address contains control or whitespace"),
        (b"Cc: a(x)b@c.example\r\n", "Local address contains illegal character"),
        (b"To: <a,b@c.example>\r\n", "Local address contains illegal character"),
        (b"To: <a@c d.example>\r\n", "Domain contains control or whitespace"),
        (b": no name\r\n", "Empty header names are illegal."),
    ],
)
def test_address_faults_are_told_word_for_word(headers, text, client):
    assert client.transaction(text_of(headers)) == "554 Transaction failed: " + text


@pytest.mark.req("HDR-011")
def test_several_authors_need_a_sender_and_all_are_checked(passing, client):
    two = b"From: App <app@example.com>, other@example.com\r\n"
    answer = client.transaction(text_of(b"", author=two))
    assert answer == "554 Transaction failed: From has several addresses and there is no Sender."
    sender = b"Sender: app@example.com\r\nReply-To: a@elsewhere.example, b@elsewhere.example\r\n"
    assert client.transaction(text_of(sender, author=two))[:3] == "250"
    for author, headers in (
        (b"From: app@example.com, x@foreign.example\r\n", sender),
        (two, b"Sender: x@foreign.example\r\n"),
    ):
        answer = client.transaction(text_of(headers, author=author))
        assert answer.startswith("554 Message rejected: Email address is not verified.")
        assert "x@foreign.example" in answer


@pytest.mark.req("HDR-013", "HDR-016")
def test_control_fields_are_read_once_and_never_arrive(passing, product):
    data = passing(
        b"X-SES-MESSAGE-TAGS:  one = 1 ,two=2, na=\t=?utf-8?Q?=C3=A9?=\r\n"
        b"x-ses-message-tags: three=3\r\nX-Ses-Odd: y\r\n"
    )
    assert b"x-ses-" not in head_of(data).lower().replace(b"x-ses-outgoing", b"")
    mark = re.search(rb"X-Mark: (\S+)", data)[1].decode()

    def sent():
        return [
            event for event in product.events("Send") if {"name": "X-Mark", "value": mark} in event["mail"]["headers"]
        ]

    tags = eventually(sent)[0]["mail"]["tags"]
    assert (tags["one"], tags["two"]) == (["1"], ["2"])
    assert "three" not in tags
    assert "na" not in tags


@pytest.mark.req("HDR-019")
def test_control_fields_end_with_the_first_empty_line(passing):
    body = b"X-SES-MESSAGE-TAGS: late=1\r\nFrom: nobody@foreign.example\r\n"
    assert passing(b"", body).endswith(b"\r\n\r\n" + body)


@pytest.mark.req("HDR-020", "DKIM-017")
def test_outgoing_and_feedback_id_are_added_and_the_latter_signed(passing, lookup):
    days = {time.strftime("%Y.%m.%d", time.gmtime()).encode()}
    first, second = passing(b"X-SES-Outgoing: forged\r\n"), passing()
    days.add(time.strftime("%Y.%m.%d", time.gmtime()).encode())  # midnight may have passed
    (outgoing,) = fields_of(first, b"X-SES-Outgoing")
    assert outgoing in {day + b"-127.0.0.1" for day in days}
    (value,) = fields_of(first, b"Feedback-ID")
    assert re.fullmatch(rb"1\.eu-test-1\.[A-Za-z0-9+/]{43}=:Relay", value)
    assert fields_of(second, b"Feedback-ID") == [value]
    assert b"000000000001" not in base64.b64decode(value[len(b"1.eu-test-1.") : -len(b":Relay")])
    assert b"feedback-id" in re.search(rb"h=([^;]*)", head_of(first))[1]
    changed = first.replace(b":Relay\r\n", b":Other\r\n")
    assert not dkim.verify(changed, dnsfunc=lookup)
    own = passing(b"Feedback-ID: a:b:c:mine\r\n")
    assert fields_of(own, b"Feedback-ID") == [b"a:b:c:mine"]


@pytest.mark.req("HDR-022")
def test_eight_bit_header_fields_and_lines_that_cannot_be_folded(client, passing):
    answer = client.transaction(text_of("Subject: Grüße\r\n".encode()))
    assert answer == "554 Transaction failed: Header field contains raw 8-bit characters; encoded words are required."
    answer = client.transaction(text_of(b"X-Long: " + b"x" * 1000 + b"\r\n"))
    assert answer == "554 Transaction failed: Header line of 'X-Long' is too long and cannot be folded."
    data = passing(b"X-Long: " + b"word " * 500 + b"end\r\n")
    assert max(map(len, head_of(data).split(b"\r\n"))) <= 998
    assert fields_of(data, b"X-Long")[0].replace(b"\r\n", b"") == b"word " * 500 + b"end"


# --- parts -------------------------------------------------------------------------------------------------------


def attachment(name, kind="application/octet-stream"):
    made = email.message.EmailMessage(policy=email.policy.SMTP)
    made["From"] = "app@example.com"
    made.set_content("see the file\n")
    made.add_attachment(b"data", maintype=kind.split("/")[0], subtype=kind.split("/")[1], filename=name)
    return made.as_bytes()


@pytest.mark.req("MIME-001")
@pytest.mark.parametrize("extension", sorted(REFUSED_EXTENSIONS))
def test_each_of_the_90_extensions_is_refused(extension, client):
    answer = client.transaction(attachment(f"file.{extension.upper()}"))
    assert answer == f"554 Transaction failed: Illegal filename 'file.{extension.upper()}'."


@pytest.mark.req("MIME-002")
@pytest.mark.parametrize("name", ["Rechnung für März.exe", "a" * 300 + ".vbs", "name.scr . ."])
def test_encoded_names_are_read(name, client):
    assert client.transaction(attachment(name)).startswith("554 Transaction failed: Illegal filename '")
    encoded = b"=?utf-8?B?" + base64.b64encode(name.encode()[-40:]) + b"?="
    field, body = multipart(b'Content-Type: a/b;\r\n name="' + encoded + b'"\r\n\r\nx')
    assert client.transaction(text_of(field, body)).startswith("554 Transaction failed: Illegal filename '")


@pytest.mark.req("MIME-002")
def test_nested_parts_and_attached_messages_are_read(client):
    exe = b"Content-Disposition: attachment; filename=a.exe\r\n\r\nx"
    field, body = multipart(exe, boundary=b"inner")
    inner = b"Content-Type: message/rfc822\r\n\r\nFrom: x@y.example\r\n" + field + b"\r\n" + body
    for part in (field + b"\r\n" + body, inner):
        headers, whole = multipart(b"\r\ntext", part)
        assert client.transaction(text_of(headers, whole)) == "554 Transaction failed: Illegal filename 'a.exe'."


def test_programs_under_other_names_are_refused(client):
    program = base64.encodebytes(b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0" + bytes(99)).replace(b"\n", b"\r\n")
    head = b"Content-Type: image/png; name=photo.png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    field, body = multipart(b"\r\ntext", head + program)
    answer = client.transaction(text_of(field, body))
    assert answer == "554 Transaction failed: Illegal file content of 'photo.png': program (.exe)."


@pytest.mark.req("MIME-003")
@pytest.mark.parametrize("name", ["a.exe.zip", "a.pdf", "a.sh", "a.html", "noname", "a.elf"])
def test_every_other_attachment_arrives_as_it_was(name, passing):
    head, _, body = attachment(name).partition(b"\r\n\r\n")
    headers = head.partition(b"\r\n")[2] + b"\r\n"
    assert passing(headers, body).endswith(b"\r\n\r\n" + body)


SIGNED_PART = b"Content-Type: text/html\r\n\r\n<a ses:no-track href=x>  y  </a>{{ses:openTracker}}"


@pytest.mark.req("MIME-004", "MIME-011")
@pytest.mark.parametrize(
    "kind",
    ["application/pkcs7-mime", "application/pkcs7-signature", "application/x-pkcs7-mime",
     "application/x-pkcs7-signature", "application/pgp-encrypted", "application/pgp-keys",
     "application/pgp-signature"],
)  # fmt: skip
def test_signed_mail_passes_byte_for_byte(kind, passing):
    signature = b"Content-Type: " + kind.encode() + b"\r\n\r\n-----BEGIN  \r\n\r\n=tail  "
    field, body = multipart(SIGNED_PART, signature, kind=b"signed")
    assert passing(field, body).endswith(b"\r\n\r\n" + body)


@pytest.mark.req("MIME-005")
def test_twenty_levels_work_and_broken_boundaries_do_not(passing, client):
    inner = b"\r\ninnermost"
    for level in range(20):
        field, body = multipart(inner, boundary=b"level%d" % level)
        inner = field + b"\r\n" + body
    assert passing(field, body).endswith(b"\r\n\r\n" + body)
    cut = body.removesuffix(b"--level19--\r\n")
    assert client.transaction(text_of(field, cut)) == "554 Transaction failed: Missing end boundary"
    same, whole = multipart(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--")
    answer = client.transaction(text_of(same, whole))
    assert answer == "554 Transaction failed: Boundary of an inner multipart equals that of an outer one."


@pytest.mark.req("MIME-006")
def test_mime_fields_are_filled_in(passing):
    data = passing()
    assert fields_of(data, b"MIME-Version") == [b"1.0"]
    assert fields_of(data, b"Content-Type") == [b"text/plain; charset=us-ascii"]
    assert fields_of(data, b"Content-Transfer-Encoding") == [b"7bit"]


@pytest.mark.req("MIME-007")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text; charset=utf-8", "Expected '/', got ;"),
        ("text/plain charset=utf-8", "Expected ';', got charset"),
        ("/plain", "Expected MIME type, got /"),
        ('multipart/mixed; boundary="b', "Expected '\"', got end of field"),
    ],
)
def test_malformed_content_types(value, text, client):
    assert client.transaction(text_of(f"Content-Type: {value}\r\n".encode())) == "554 Transaction failed: " + text
    field, body = multipart(f"Content-Type: {value}\r\n\r\nx".encode())
    assert client.transaction(text_of(field, body)) == "554 Transaction failed: " + text


@pytest.mark.req("MIME-010")
def test_wrong_labels_are_mended(passing, client):
    line = "Grüße\r\n".encode()
    wrong = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n"
    data = passing(b"MIME-Version: 1.0\r\n" + wrong, line)
    assert fields_of(data, b"Content-Transfer-Encoding") == [b"8bit"]
    assert data.endswith(b"\r\n\r\n" + line)
    field, body = multipart(wrong + b"\r\n" + line.strip(), b"Content-Type: text/plain\r\n\r\nascii")
    data = passing(field, body)
    assert data.endswith(b"\r\n\r\n" + body.replace(b"7bit", b"8bit"))
    assert fields_of(data, b"Content-Transfer-Encoding") == [b"8bit"]


@pytest.mark.req("MIME-010")
def test_binarymime_is_not_offered(product):
    with open_listener(product, "submission") as client:
        client.send(b"EHLO client.example\r\n")
        offered = []
        while not (offered and offered[-1].startswith("250 ")):
            offered.append(client.line())
        assert "250-CHUNKING" in offered
        assert not [line for line in offered if "BINARYMIME" in line]
        assert client.say("MAIL FROM:<app@example.com> BODY=BINARYMIME")[:1] == "5"


@pytest.mark.req("MIME-009", "MIME-011")
@pytest.mark.parametrize("encoding", ["quoted-printable", "base64", "8bit"])
def test_instructions_for_tracking_do_not_arrive(encoding, passing):
    html = "<p>Grüße</p>\r\n<a ses:tags='a:b;' \r\n href=\"http://x.example/\">ses:tags</a>{{ses:openTracker}}\r\n"
    coded = {
        "quoted-printable": html.replace("ü", "=FC").replace("ß", "=DF").replace('="', '=3D"').encode(),
        "base64": base64.encodebytes(html.encode("latin-1")).replace(b"\n", b"\r\n"),
        "8bit": html.encode("latin-1"),
    }[encoding]
    head = f"Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    plain = b"Content-Type: text/plain\r\n\r\nAbout ses:tags and {{ses:openTracker}}  "
    field, body = multipart(plain, head + coded, kind=b"alternative")
    data = passing(field, body)
    assert plain in data
    parsed = email.message_from_bytes(data, policy=email.policy.default)
    got = parsed.get_body(("html",)).get_content().replace("\r\n", "\n").rstrip("\n")
    assert got == '<p>Grüße</p>\n<a \n href="http://x.example/">ses:tags</a>'


@pytest.mark.req("MIME-009")
def test_bytes_that_do_not_fit_their_charset_are_never_replaced(passing):
    headers = b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    body = b"<a ses:no-track href=x>\xe9</a>\r\n"
    assert passing(headers, body).endswith(b"\r\n\r\n" + body)


# --- sizes, large bodies, settings -----------------------------------------------------------------------------


@pytest.mark.req("QUOTA-007")
def test_size_counts_after_encoding(product, client):
    limit = 8_000_000

    def encoded(size):
        lines = base64.encodebytes(b"a" * size).replace(b"\n", b"\r\n")
        field, body = multipart(b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + lines)
        return text_of(field, body)

    small, large = encoded(5_800_000), encoded(5_900_000)
    assert len(small) < limit < len(large)
    assert client.transaction(small)[:3] == "250"
    assert client.transaction(large) == "552 Message is too long."


LARGE = (b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
         + (b"eHh4" * 19 + b"\r\n") * 20_000)  # fmt: skip


@pytest.mark.req("MIME-002", "MIME-011")
def test_large_bodies_go_by_the_same_rules(passing, client, product):
    html = b"Content-Type: text/html; charset=utf-8\r\n\r\n<a ses:no-track href=x>y</a>"
    field, body = multipart(html, LARGE)
    expected = body.replace(b" ses:no-track", b"")
    assert passing(field, body).endswith(b"\r\n\r\n" + expected)
    field, body = multipart(LARGE, b"Content-Disposition: attachment; filename=a.exe\r\n\r\nx")
    assert client.transaction(text_of(field, body)) == "554 Transaction failed: Illegal filename 'a.exe'."
    assert client.transaction(text_of(field, LARGE)) == "554 Transaction failed: Missing start boundary"
    foreign = text_of(field, expected + b"z" * 2000 + b"\r\n", author=b"From: x@foreign.example\r\n")
    assert client.transaction(foreign).startswith("554 Message rejected: Email address is not verified.")
    product.run("account", "pause", product.account)
    paused = client.transaction(text_of(field, body))
    assert paused.startswith("554 Message rejected: Sending paused for this account.")
    product.run("account", "resume", product.account)
    spool = product.data_dir / "spool"
    eventually(lambda: not list(spool.glob("*/incoming/*")), what="an empty incoming directory")
    assert 'relay_messages_refused_total{reason="attachment"}' in product.metrics()


@pytest.mark.req("HDR-020", "MIME-003")
def test_fields_and_list_can_be_changed(receiver):
    headers = {"outgoing": "X-Out", "feedback_id": ""}
    content = {"refused_extensions": [".pdf"]}
    delivery = {"port": receiver.port, "source_addresses": [ADDRESS], "allow_private_destinations": True}
    with Product(receiver.port, headers=headers, content=content, delivery=delivery) as product:
        with open_listener(product, "submission") as client:
            answer = client.transaction(attachment("a.PDF"))
            assert answer == "554 Transaction failed: Illegal filename 'a.PDF'."
            exe = attachment("renamed.exe")
            assert client.transaction(exe)[:3] == "250"
        settled(product)
        (data,) = [data for _, _, data in with_mark(receiver.messages, "renamed.exe")]
        assert fields_of(data, b"X-Out")[0].endswith(b"-127.0.0.1")
        assert not fields_of(data, b"Feedback-ID")
        assert not fields_of(data, b"X-SES-Outgoing")
