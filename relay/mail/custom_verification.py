"""Custom verification mails: what their HTML may hold, and the mail made of it (IDENT-024 to IDENT-026).

The parser is strict: whatever is not clearly text or one of the allowed tags with allowed attributes is refused with
a sentence, so that a browser cannot read the content in another way than we do. Cost is linear in the size; nesting
is bounded. The link and a fixed disclaimer follow the account's content, outside of every element it left open;
`data:` images become inline attachments; a plain-text form of all of it comes along.
"""

import base64
import binascii
import hashlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from relay.errors import RequestRefusedError
from relay.mail.letter import VERBATIM, Letter, Letterhead, finished, opening, text_part, text_type, wrapped
from relay.model.verification import VerificationTemplate
from relay.policy.weburl import parse_web_url

CONTENT_MAX_BYTES = 10 * 1024 * 1024  # IDENT-024
NESTING_MAX = 200
TAGS_MAX = 50_000
IMAGES_MAX = 100
BASE64_LINE_BYTES = 57  # 76 characters

_COMMON = frozenset({"class", "id", "style", "title"})
_FURTHER = {
    "blockquote": "cite",
    "q": "cite",
    "col": "span width",
    "colgroup": "span width",
    "img": "align alt height src width",
    "ol": "start type",
    "ul": "type",
    "table": "summary width",
    "td": "abbr axis colspan rowspan width",
    "th": "abbr axis colspan rowspan scope width",
}
_PLAIN_TAGS = (
    "abbr acronym address area b bdo big body br button caption center cite code dd del dfn dir div dl dt em fieldset"
    " font form h1 h2 h3 h4 h5 h6 head hr html i input ins kbd label legend li map menu optgroup option p pre s samp"
    " select small span strike strong sub sup tbody textarea tfoot thead tr tt u var"
)
TAGS: dict[str, frozenset[str]] = {
    **dict.fromkeys(_PLAIN_TAGS.split(), _COMMON),
    **{tag: _COMMON.union(more.split()) for tag, more in _FURTHER.items()},
}
"""The allowed tags, each with its attributes (IDENT-025)."""

_VOID = frozenset({"area", "br", "col", "hr", "img", "input"})
_BREAKS = frozenset(
    "address blockquote br caption center dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre table tr ul".split()  # noqa: SIM905
)
# Possessive throughout: each octet is looked at a bounded number of times.
_ATTRIBUTE = r"""\s++(%s[A-Za-z][A-Za-z0-9-]*+)(?:\s*+=\s*+(%s"[^"]*+"|'[^']*+'|[^\s"'=<>`]++))?+"""
_ATTRIBUTES = re.compile(_ATTRIBUTE % ("", ""))
_TAG = re.compile(rf"<(/?)([A-Za-z][A-Za-z0-9]*+)((?:{_ATTRIBUTE % ('?:', '?:')})*+)\s*+(/?)>")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_DATA = re.compile(r"data:image/(png|jpe?g|gif|bmp|webp);base64,([A-Za-z0-9+/]++={0,2}+)\Z")
_BLANKS = re.compile(r"[ \t\r\n]+")
_SHOWN_MAX = 40

_BREAK = "\0"  # in no content

_REQUEST = "To confirm your address, open this page:"


class InvalidContentError(RequestRefusedError):
    """Why content is refused, in one sentence that names the place and the fix."""

    def __init__(self, text: str) -> None:
        super().__init__("CustomVerificationEmailInvalidContent", text)


@dataclass(frozen=True, slots=True)
class _Tag:
    start: int
    end: int
    name: str
    closes: bool
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Image:
    kind: str
    data: bytes
    content_id: str


def check_content(content: str) -> None:
    """Raise InvalidContentError unless content may be the body of a custom verification mail (IDENT-024, 025)."""
    if len(content.encode("utf-8", "replace")) > CONTENT_MAX_BYTES:
        raise InvalidContentError(f"The content is larger than {CONTENT_MAX_BYTES} octets.")
    if not content.strip():
        raise InvalidContentError("The content is empty.")
    _assemble(content, "", "relay.invalid")


def disclaimer(contact: str) -> str:
    """Return the fixed words at the end, with whom to tell about abuse (IDENT-026)."""
    return (
        "If you did not ask for your address to be verified, ignore this mail: nothing happens without you. If you "
        f"have concerns, forward it with your questions to {contact}."
    )


def custom_request(
    letterhead: Letterhead, template: VerificationTemplate, address: str, url: str, *, now_ms: int
) -> Letter:
    """Return the mail made of a template whose content was checked: multipart/alternative, images beside the HTML."""
    note = disclaimer(letterhead.contact)
    link = html.escape(url)
    footer = f'<hr><p>{_REQUEST}<br><a href="{link}">{link}</a></p><p>{html.escape(note)}</p>'
    made = _assemble(template.content, footer, letterhead.hostname)
    plain = wrapped([*_plain_paragraphs(template.content), _REQUEST, VERBATIM + url, note])
    kind, body = _body(plain, made.text, made.images)
    head = opening("", template.from_address, address, template.subject, now_ms)
    return finished([*head, f"Content-Type: {kind}"]), body


# --- the walk through the content ------------------------------------------------------------------------------


def _tags(content: str) -> Iterator[_Tag]:
    """Yield the tags of a content in order. Raise InvalidContentError for what is neither text nor allowed."""
    found = _CONTROL.search(content)
    if found:
        raise InvalidContentError(f"There is a control character at character {found.start() + 1}; remove it.")
    position = content.find("<")
    for _ in range(TAGS_MAX):
        if position < 0:
            return
        match = _TAG.match(content, position)
        if match is None:
            raise InvalidContentError(_no_tag(content, position))
        name = match[2].lower()
        if name not in TAGS:
            raise InvalidContentError(f"The tag <{_short(name)}> at character {position + 1} is not allowed.")
        yield _Tag(position, match.end(), name, bool(match[1]), _attributes(name, match[3], position, bool(match[1])))
        position = content.find("<", match.end())
    if position >= 0:
        raise InvalidContentError(f"There are more than {TAGS_MAX} tags; make the mail simpler.")


def _no_tag(content: str, position: int) -> str:
    place = f"at character {position + 1}"
    if content.startswith("<!--", position):
        return f"There is a comment {place}; comments are not allowed."
    if content.startswith(("<!", "<?"), position):
        return f"There is a declaration {place} (such as <!DOCTYPE>); only tags are allowed, leave it out."
    shown = _short(content[position : position + _SHOWN_MAX + 1])
    return f"{shown!r} {place} is no whole tag; write &lt; for a plain <, and put attribute values into quotes."


def _attributes(name: str, text: str, position: int, closes: bool) -> dict[str, str]:  # noqa: FBT001 (of the tag)
    attributes: dict[str, str] = {}
    for match in _ATTRIBUTES.finditer(text):
        key = match[1].lower()
        where = f"of <{name}> at character {position + 1}"
        if closes:
            raise InvalidContentError(
                f"The closing tag </{name}> at character {position + 1} has attributes; remove them."
            )
        if key not in TAGS[name]:
            raise InvalidContentError(f"The attribute {_short(key)!r} {where} is not allowed.")
        if key in attributes:
            raise InvalidContentError(f"The attribute {key!r} {where} is given twice.")
        value = match[2] or ""
        attributes[key] = value[1:-1] if value[:1] in ('"', "'") else value
    return attributes


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."


@dataclass(frozen=True, slots=True)
class _Assembled:
    text: str
    images: tuple[_Image, ...]


def _assemble(content: str, footer: str, hostname: str) -> _Assembled:
    """Return the HTML with the footer in its place and images by reference. Raise InvalidContentError."""
    pieces: list[str] = []
    images: list[_Image] = []
    open_tags: list[str] = []
    taken, ended, placed = 0, 0, False
    for tag in _tags(content):
        closes_page = tag.closes and tag.name in ("body", "html")
        if placed and (not closes_page or content[ended : tag.start].strip()):
            raise InvalidContentError(
                f"Something follows the end of the body, at character {tag.start + 1}; move it before </body>."
            )
        if closes_page and not placed:
            pieces += [content[taken : tag.start], _closing(open_tags), footer]
            taken, placed = tag.start, True
        ended = tag.end
        _nest(open_tags, tag)
        source = tag.attributes.get("src")
        if source is not None:
            pieces += [content[taken : tag.start], _image_tag(tag, _source(source, images, tag.start, hostname))]
            taken = tag.end
    if placed and content[ended:].strip():
        raise InvalidContentError("Text follows the end of the body; move it before </body>.")
    rest = [content[taken:]] if placed else [content[taken:], _closing(open_tags), footer]
    return _Assembled("".join([*pieces, *rest]), tuple(images))


def _nest(open_tags: list[str], tag: _Tag) -> None:
    """Follow the nesting. A closing tag also ends what was left open inside its element, as in HTML."""
    if tag.closes:
        if tag.name in _VOID or tag.name not in open_tags:
            raise InvalidContentError(f"</{tag.name}> at character {tag.start + 1} closes nothing; remove it.")
        while open_tags.pop() != tag.name:
            pass
    elif tag.name not in _VOID:
        if len(open_tags) >= NESTING_MAX:
            raise InvalidContentError(
                f"More than {NESTING_MAX} elements are open at character {tag.start + 1}; close some."
            )
        open_tags.append(tag.name)


def _closing(open_tags: list[str]) -> str:
    """Return the closing tags that are missing before the footer: nothing left open may swallow it."""
    return "".join(f"</{name}>" for name in reversed(open_tags) if name not in ("html", "body"))


def _source(source: str, images: list[_Image], position: int, hostname: str) -> str:
    place = f"The image at character {position + 1}"
    if not source.startswith("data:"):
        try:
            return parse_web_url(html.unescape(source))
        except ValueError as error:
            raise InvalidContentError(f"{place} has a source that {error}, or be a data: image.") from None
    match = _DATA.match(source)
    if match is None:
        raise InvalidContentError(
            f"{place} is no data:image/png;base64,... (or jpeg, gif, bmp, webp) without blanks."
        )
    if len(images) >= IMAGES_MAX:
        raise InvalidContentError(f"There are more than {IMAGES_MAX} embedded images.")
    try:
        data = base64.b64decode(match[2], validate=True)
    except binascii.Error:
        raise InvalidContentError(f"{place} is not valid base64.") from None
    kind = "jpeg" if match[1] == "jpg" else match[1]
    content_id = f"image{len(images) + 1}.{hashlib.sha256(data).hexdigest()[:16]}@{hostname}"
    images.append(_Image(kind, data, content_id))
    return f"cid:{content_id}"


def _image_tag(tag: _Tag, source: str) -> str:
    values = {**tag.attributes, "src": html.escape(source)}
    return f"<{tag.name}" + "".join(f' {key}="{_quoted(value)}"' for key, value in values.items()) + ">"


def _quoted(value: str) -> str:
    """Return a value, with its entities as they were written, for double quotes."""
    return value.replace('"', "&quot;")


def _plain_paragraphs(content: str) -> list[str]:
    """Return the text of a content as paragraphs for readers without HTML."""
    pieces: list[str] = []
    taken = 0
    for tag in _tags(content):
        pieces.append(_BLANKS.sub(" ", content[taken : tag.start]))
        if tag.name in _BREAKS:
            pieces.append(_BREAK)
        taken = tag.end
    pieces.append(_BLANKS.sub(" ", content[taken:]))
    return [html.unescape(part).strip() for part in "".join(pieces).split(_BREAK) if part.strip()]


# --- the parts of the mail -------------------------------------------------------------------------------------

# "=_" occurs in no part: they are base64, or quoted-printable, or plain text that is checked for it.
_ALTERNATIVE, _RELATED = "=_relay_alternative", "=_relay_related"


def _body(plain: str, page: str, images: tuple[_Image, ...]) -> tuple[str, bytes]:
    """Return Content-Type and body. The plain text comes first, as RFC 2046 section 5.1.4 wants it."""
    encoding, text = text_part(plain)
    if b"=_" in text:
        encoding, text = "base64", _base64(plain.encode("utf-8", "replace"))
    shown = _part("text/html; charset=utf-8", "base64", _base64(page.encode("utf-8", "replace")))
    if images:
        parts = [shown, *(_image_part(image) for image in images)]
        shown = f'Content-Type: multipart/related; boundary="{_RELATED}"\r\n\r\n'.encode() + _joined(_RELATED, parts)
    body = _joined(_ALTERNATIVE, [_part(text_type(encoding), encoding, text), shown])
    return f'multipart/alternative;\r\n boundary="{_ALTERNATIVE}"', body


def _part(kind: str, encoding: str, data: bytes, *further: str) -> bytes:
    fields = [f"Content-Type: {kind}", f"Content-Transfer-Encoding: {encoding}", *further]
    return "\r\n".join([*fields, "", ""]).encode() + data


def _image_part(image: _Image) -> bytes:
    name = image.content_id.partition(".")[0]
    return _part(
        f"image/{image.kind}",
        "base64",
        _base64(image.data),
        f"Content-ID: <{image.content_id}>",
        f'Content-Disposition: inline; filename="{name}.{image.kind}"',
    )


def _joined(boundary: str, parts: list[bytes]) -> bytes:
    mark = boundary.encode()
    return b"".join(b"--" + mark + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + mark + b"--\r\n"


def _base64(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")
