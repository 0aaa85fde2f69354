"""Attachments: every way to hide a name, every kind of content that is recognised, and what must never be refused."""

import base64
import binascii

import pytest

from relay.mail.attachments import REFUSED_EXTENSIONS, ContentRules, disguised, names_of, refused_name, shown
from relay.mail.parameters import read_parameters

RULES = ContentRules()
PE = b"MZ" + bytes(58) + (128).to_bytes(4, "little") + bytes(64) + b"PE\0\0" + bytes(100)
DOS = b"MZ" + bytes([80, 0, 3, 0, 1, 0, 4, 0]) + bytes(118)
LNK = bytes.fromhex("4c0000000114020000000000c000000000000046") + bytes(56)


def words(text, charset="utf-8", way="B"):
    return f"=?{charset}?{way}?{base64.b64encode(text.encode(charset)).decode()}?="


@pytest.mark.req("MIME-001")
def test_the_list_has_the_90_extensions():
    assert len(REFUSED_EXTENSIONS) == 90


@pytest.mark.req("MIME-002")
@pytest.mark.parametrize(
    "parameters",
    [
        'filename="evil.exe"', 'name="EVIL.Exe"', "filename=evil.exe", 'filename="evil.exe. . "', "filename=.exe",
        "filename*=utf-8''evil%2Eexe", "filename*0=evil.e; filename*1=xe", 'filename="a.txt"; filename="evil.exe"',
        f'filename="{words("evil.exe")}"', f'filename="{words("evil.e")} {words("xe")}"',
        f'filename="{words("evil.exe", "utf-16")}"', 'filename="=?utf-7?Q?evil+AC4-exe?="',
        'filename="=?no-such?Q?evil.exe?="', f'filename="{words("evil")}{words(".exe")}"',
        'filename="C:\\\\dir\\\\evil.exe"', "filename*=utf-8''evil.exe%00.txt", "filename*=utf-8''evil.exe%E2%80%8B",
        'filename="evil.exe\t"', "filename=a b.exe", f'filename="evil.exe{"." * 3000}"', 'filename="a/evil.exe/"',
    ],
)  # fmt: skip
def test_names_cannot_hide_an_extension(parameters):
    assert refused_name(names_of(read_parameters("attachment; " + parameters)), RULES)


@pytest.mark.req("MIME-003")
@pytest.mark.parametrize(
    "name",
    ["report.pdf", "exe", "archive.exe.zip", "exe.txt", "a.tar.gz", "www.example.com/report.pdf", "x.elf", "", "...",
     "photo.jpeg", "script.sh", "page.html", "a.docm", "message.eml"],
)  # fmt: skip
def test_other_names_are_taken(name):
    assert refused_name([name], RULES) == ""


def test_the_list_can_be_changed():
    rules = ContentRules(frozenset(("pdf",)))
    assert refused_name(["a.exe"], rules) == ""
    assert refused_name(["a.PDF"], rules) == "a.PDF"
    assert disguised(PE, "binary", rules) == ""


def test_names_are_shown_in_printable_ascii():
    assert shown("a\r\n\x1b'\u202eb" + "c" * 200) == "a?????b" + "c" * 73


def encodings(data):
    yield data, "binary"
    yield base64.encodebytes(data), "base64"
    yield b"* =\r\n" + base64.encodebytes(data), "base64"
    yield binascii.b2a_qp(data, istext=False), "quoted-printable"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PE, "program (.exe)"),
        (DOS, "program (.exe)"),
        (LNK, "Windows shortcut (.lnk)"),
        (b"ITSF\x03\0\0\0" + bytes(80), "compiled help file (.chm)"),
        (b"?_\x03\0" + bytes(80), "Windows help file (.hlp)"),
        (b"\xef\xbb\xbf <html><head><HTA:Application id=x>" + b"x" * 80, "HTML application (.hta)"),
    ],
)
def test_content_is_recognised_in_every_encoding(data, kind):
    for raw, encoding in encodings(data):
        assert disguised(raw, encoding, RULES) == kind, encoding


@pytest.mark.parametrize(
    "data",
    [b"MZ", b"MZ is how this text begins, and it goes on for quite a while so that a header would fit into it.",
     b"\x7fELF\x02\x01\x01" + bytes(100), b"PK\x03\x04" + bytes(100), b"%PDF-1.7" + bytes(100), b"", b"\0" * 4096,
     b"<html>about hta:application tags</html>" + b" " * 80, b"L\0" + bytes(100), b"\xd0\xcf\x11\xe0" + bytes(4000),
     b"MZ" + b"\xff" * 200],
)  # fmt: skip
def test_other_content_is_taken(data):
    for raw, encoding in encodings(data):
        assert disguised(raw, encoding, RULES) == ""
