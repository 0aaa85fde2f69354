"""Which attachments are refused: by the extension of any name they may have, by the leading octets of a few types.

`refused_name` looks at every reading of a name (MIME-002): continuations and charsets of RFC 2231, encoded words,
what stands after a NUL or a path separator, trailing dots, blanks and invisible characters. `disguised` looks at the
first octets after transfer decoding, for types whose name hides them: programs (MZ with a PE, NE, LE or DOS header),
Windows shortcuts, compiled help, Windows help, HTML applications. Each answers to an extension, so one list rules
both checks. Everything else is accepted; archives are not opened (MIME-003).
"""

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from relay.mail.parameters import Parameters
from relay.mail.words import decode_loosely

# MIME-001.
REFUSED_EXTENSIONS = frozenset(
    (  # noqa: SIM905 - lines of words are easier to read
        "ade adp app asp bas bat cer chm cmd com cpl crt csh der exe fxp gadget hlp hta inf ins isp its js jse ksh"
        " lib lnk mad maf mag mam maq mar mas mat mau mav maw mda mdb mde mdt mdw mdz msc msh msh1 msh2 mshxml"
        " msh1xml msh2xml msi msp mst ops pcd pif plg prf prg reg scf scr sct shb shs sys ps1 ps1xml ps2 ps2xml psc1"
        " psc2 tmp url vb vbe vbs vps vsmacros vss vst vsw vxd ws wsc wsf wsh xnk"
    ).split()
)
SHOWN_MAX_CHARS = 80
LEADING_BYTES = 4096
_FIRST_BYTES = 64

_NAMES = ("filename", "name")
_END = " .\t\r\n\"'"
_UNSEEN_END = re.compile(r"[\W_]+\Z")  # dots, blanks, quotes, controls, and what is not seen at all
_PRINTABLE = re.compile(r"[^ -&(-~]")
_NOT_BASE64 = bytes(
    sorted(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
)
_SHORTCUT = bytes.fromhex("4c0000000114020000000000c000000000000046")
_MAGIC = ((_SHORTCUT, "lnk"), (b"ITSF\x03\0\0\0", "chm"), (b"?_\x03\0", "hlp"))
_STARTS = (b"MZ", b"L\0", b"ITSF", b"?_", b"<", b"\xef\xbb\xbf", b" ", b"\r", b"\n", b"\t")
_KINDS = {
    "exe": "program",
    "lnk": "Windows shortcut",
    "chm": "compiled help file",
    "hlp": "Windows help file",
    "hta": "HTML application",
}


@dataclass(frozen=True, slots=True)
class ContentRules:
    """What configuration says about content: refused file name extensions, in lower case, without dots."""

    refused_extensions: frozenset[str] = REFUSED_EXTENSIONS


def names_of(parameters: Parameters) -> list[str]:
    """Return every name that the parameters of Content-Disposition or Content-Type give."""
    return [decode_loosely(value) for key in _NAMES for value in parameters.get(key, ())]


def refused_name(names: Sequence[str], rules: ContentRules) -> str:
    """Return the first name with a refused extension, as it may be shown, "" when there is none."""
    for name in names:
        for piece in name.split("\0"):
            trimmed = _UNSEEN_END.sub("", piece.rstrip(_END)[-1000:])
            extension = trimmed[max(trimmed.rfind("/"), trimmed.rfind("\\")) + 1 :].rpartition(".")
            if extension[1] and extension[2].strip().lower() in rules.refused_extensions:
                return shown(name)
    return ""


def shown(name: str) -> str:
    """Return a name that cannot break a reply line or a log line."""
    return _PRINTABLE.sub("?", name[:SHOWN_MAX_CHARS])


def disguised(raw: bytes, encoding: str, rules: ContentRules) -> str:
    """Return what a part is by its leading octets when that is refused, in words, "" otherwise.

    `raw` are the first octets of its body as they are transferred, `encoding` its transfer encoding.
    """
    first = _decoded(raw[: 4 * _FIRST_BYTES], encoding)
    if not first.startswith(_STARTS) and len(first) >= _FIRST_BYTES:
        return ""
    extension = _recognise(_decoded(raw, encoding)[:LEADING_BYTES])
    return f"{_KINDS[extension]} (.{extension})" if extension in rules.refused_extensions else ""


def _decoded(raw: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        clean = raw.translate(None, _NOT_BASE64).lstrip(b"=").partition(b"=")[0]
        return binascii.a2b_base64(clean[: len(clean) // 4 * 4])
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw)
    return raw


def _recognise(data: bytes) -> str:
    if data.startswith(b"MZ") and _is_program(data):
        return "exe"
    for magic, extension in _MAGIC:
        if data.startswith(magic):
            return extension
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    return "hta" if text.startswith(b"<") and b"<hta:application" in text.lower() else ""


def _is_program(data: bytes) -> bool:
    """Say whether what starts with MZ has the header of a program: "MZ" begins ordinary words as well."""
    if len(data) < _FIRST_BYTES:
        return False
    new = int.from_bytes(data[60:64], "little")
    if data[new : new + 4] == b"PE\0\0" or data[new : new + 2] in (b"NE", b"LE", b"LX"):
        return True
    last, pages, paragraphs = (int.from_bytes(data[at : at + 2], "little") for at in (2, 4, 8))
    # A header without a new one, or with one out of reach: its sizes must fit, and text has no zero octets.
    return b"\0" in data[:32] and last < 512 and pages > 0 and 2 <= paragraphs <= pages * 32  # noqa: PLR2004 - DOS
