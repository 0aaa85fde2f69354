"""The EICAR test file is found in every transfer encoding, wherever it stands, and nowhere else."""

import base64
import quopri

import pytest

from relay.mail.eicar import TEST_FILE, blocks_contain_eicar, contains_eicar

PARTS = b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n'
PLAIN = b"Subject: hello\r\n\r\n"


def wrapped(data, width, soft=b""):
    return (soft + b"\r\n").join(data[start : start + width] for start in range(0, len(data), width))


def octet_by_octet(data):
    return b"".join(b"=%02X" % octet for octet in data)


BODIES = {
    "alone": TEST_FILE,
    "in a text": b"Look:\r\n" + TEST_FILE + b"\r\nbye\r\n",
    "quoted-printable": quopri.encodestring(b"some words before " + TEST_FILE + b" and after").replace(
        b"\n", b"\r\n"
    ),
    "quoted-printable, cut": wrapped(TEST_FILE, 11, b"="),
    "quoted-printable, specials": TEST_FILE.replace(b"$", b"=24").replace(b"@", b"=40").replace(b"!", b"=21"),
    "quoted-printable, every octet": wrapped(octet_by_octet(TEST_FILE), 75, b"="),
} | {
    f"base64 at {offset}, {width} wide": wrapped(base64.b64encode(b"x" * offset + TEST_FILE + b"yz"), width)
    for offset in (0, 1, 2, 3, 300)
    for width in (20, 57, 60, 64, 76, 900)
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.req("SIM-011")
def test_found_in_every_encoding_and_however_the_blocks_are_cut(name):
    body = b"--x\r\nContent-Type: text/plain\r\n\r\n" + BODIES[name] + b"\r\n--x--\r\n"
    assert contains_eicar(PARTS, body)
    for size in (1, 7, 64, 997, 65536):
        assert blocks_contain_eicar(body[start : start + size] for start in range(0, len(body), size))


def test_found_in_a_plain_message():
    assert contains_eicar(PLAIN, BODIES["in a text"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE! is a harmless string\r\n",
        TEST_FILE[:-1],
        TEST_FILE.lower(),
        base64.b64encode(TEST_FILE[:-3]),
        base64.encodebytes(bytes(range(256)) * 100).replace(b"\n", b"\r\n"),
    ],
)
def test_what_only_looks_like_it_is_left_alone(body):
    assert not contains_eicar(PARTS, body)
    assert not contains_eicar(PLAIN, body)
    assert not blocks_contain_eicar([body])
