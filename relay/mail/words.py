"""Encoded words (RFC 2047) as text for people: event fields and checks, never for output on the wire.

Linear and bounded by the value given; what cannot be decoded stays as it is.
"""

import binascii
import re

_WORD = re.compile(r"=\?([A-Za-z0-9_.:*-]{1,64})\?([bBqQ])\?([!->@-~]*+)\?=")
_LOOSE = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?([^?]*+)\?=(?:\s++(?==\?))?+")
_RUN = re.compile(rf"{_WORD.pattern}(?:[ \t]+{_WORD.pattern})*+")
# What a header may name; codecs such as "idna" or "punycode" are not character sets and can be slow.
CHARSETS = frozenset(
    (  # noqa: SIM905 - lines of words are easier to read
        "utf-8 utf8 us-ascii ascii latin1 latin-1 cp1252 koi8-r koi8-u iso-2022-jp shift_jis euc-jp euc-kr"
        " ks_c_5601-1987 gb2312 gbk gb18030 big5 tis-620 macintosh cp874"
    ).split()
    + [f"iso-8859-{number}" for number in range(1, 17) if number != 12]  # noqa: PLR2004 - there is no part 12
    + [f"windows-{number}" for number in range(1250, 1259)]
)

# Charsets in which ASCII text is not made of ASCII octets.
_WIDE = frozenset("utf-7 utf-16 utf-16le utf-16be utf-32 utf-32le utf-32be".split())  # noqa: SIM905 - words


def decode_words(value: str) -> str:
    """Return `value` with its encoded words decoded; white space between two of them vanishes (section 6.2)."""
    if "=?" not in value:
        return value
    return _RUN.sub(lambda run: _decode_run(run.group()), value)


def _decode_run(run: str) -> str:
    """Decode adjacent words; bytes of equal charsets are joined first, as some writers split characters."""
    text: list[str] = []
    charset = ""
    pending: list[bytes] = []
    for match in _WORD.finditer(run):
        name = match.group(1).partition("*")[0].lower()
        data = _decode_bytes(match.group(2), match.group(3))
        if data is None or name not in CHARSETS:
            return run
        if name != charset and pending:
            text.append(b"".join(pending).decode(charset, "replace"))
            pending = []
        charset = name
        pending.append(data)
    text.append(b"".join(pending).decode(charset, "replace"))
    return "".join(text)


def decode_loosely(value: str) -> str:
    """Return `value` with all that a careless reader takes for encoded words decoded: for checks, never for people.

    Any text, any charset; white space before another word goes, whatever comes between.
    """
    if "=?" not in value:
        return value
    return _LOOSE.sub(_decode_loose_word, value)


def _decode_loose_word(word: re.Match[str]) -> str:
    data = _decode_bytes(word.group(2), word.group(3).encode("ascii", "replace").decode("ascii"))
    return word.group() if data is None else decode_bytes(data, word.group(1).partition("*")[0])


def decode_bytes(data: bytes, charset: str) -> str:
    """Return bytes as text: by their charset where it is a known one, else by what ASCII they hold."""
    name = charset.lower()
    if name in CHARSETS or name in _WIDE:
        return data.decode(name, "replace")
    return data.decode("latin-1")


def _decode_bytes(encoding: str, text: str) -> bytes | None:
    if encoding in "qQ":
        return binascii.a2b_qp(text.encode(), header=True)
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
