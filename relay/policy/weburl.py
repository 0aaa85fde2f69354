"""Addresses of web pages that mails and redirects may name: absolute, http or https, nothing hidden in them."""

import re
from urllib.parse import urlsplit

URL_MAX_CHARS = 2048
_ALLOWED = re.compile(r"[!#-;=?-\[\]_a-z~]+\Z")  # RFC 3986's characters: no blanks, quotes, angle brackets, backslash
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def parse_web_url(text: object) -> str:
    """Return an absolute http or https address as written; raise ValueError with the half sentence that says why not.

    A user name in it is refused: what stands before an `@` is read as the host by people.
    """
    if not isinstance(text, str) or len(text) > URL_MAX_CHARS or not _ALLOWED.match(text):
        raise ValueError(
            f"must be an address such as https://www.example.com/page, of at most {URL_MAX_CHARS} characters of ASCII"
        )
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("has a host or port that cannot be") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("must begin with https:// or http:// and a host")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password")
    return text


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address, as a content security policy names them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def parse_base_url(text: object) -> str:
    """Return the address that paths are put behind, without a final slash. https, or http on loopback (IDENT-019)."""
    url = parse_web_url(text).rstrip("/")
    parts = urlsplit(url)
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError("must not have a query (?) or fragment (#)")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("must begin with https://; http:// is for loopback, in tests")
    return url
