"""Finds the EICAR test file in a message, without any scanner: the harmless string that stands for a virus (SIM-011).

It counts wherever it stands once the transfer encoding is undone: in a body or an attachment, as it is, in base64 or
in quoted-printable, however the lines are cut. Archives and encrypted parts are not opened.

A message whose header section names neither parts nor an encoding costs one search. The others cost one copy
without line ends, and five searches: base64 has three forms of a text, by where it starts in a group of three
octets, and each has a core that its neighbours do not change.
"""

import base64
import quopri
from collections.abc import Iterable

TEST_FILE = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

# No encoder of quoted-printable changes letters and hyphens, so this stands in every form that is no base64.
_MARK = b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE"
_HEXADECIMAL = TEST_FILE.hex().upper().encode()  # quoted-printable with every octet encoded
_OVERLAP_BYTES = 4096  # encoded octet by octet the test file has 204, and line ends
_LINE_ENDS = b"\r\n="  # the last one is a soft line end of quoted-printable, and the padding of base64


def _core(offset: int) -> bytes:
    """Return the base64 of the test file at `offset` in a group, without the digits that hold a neighbour's bits."""
    coded = base64.b64encode(bytes(offset) + TEST_FILE)
    start = (0, 2, 3)[offset]
    whole_bits = 8 * (offset + len(TEST_FILE))
    return coded[start : whole_bits // 6]


_CORES = tuple(_core(offset) for offset in range(3))


def contains_eicar(head: bytes, body: bytes) -> bool:
    """Say whether a message with its body in memory has the test file in it."""
    if _MARK in body and (TEST_FILE in body or _in_quoted_printable(body)):
        return True
    return is_encoded(head) and _in_encoded(body)


def blocks_contain_eicar(blocks: Iterable[bytes]) -> bool:
    """Say the same of a body that comes in blocks, cut anywhere; only a few KiB are kept between them."""
    rest = b""
    for block in blocks:
        window = rest + block
        if _MARK in window and (TEST_FILE in window or _in_quoted_printable(window)):
            return True
        if _in_encoded(window):
            return True
        rest = window[-_OVERLAP_BYTES:]
    return False


def is_encoded(head: bytes) -> bool:
    """Say whether a header section names parts or a transfer encoding, in which a text may be hidden."""
    low = head.lower()
    return b"multipart/" in low or b"base64" in low or b"quoted-printable" in low or b"message/" in low


def _in_encoded(body: bytes) -> bool:
    joined = body.translate(None, _LINE_ENDS)
    if any(core in joined for core in _CORES) or _HEXADECIMAL in joined:
        return True
    return _MARK in joined and _in_quoted_printable(body)


def _in_quoted_printable(body: bytes) -> bool:
    return TEST_FILE in quopri.decodestring(body)
