"""Advice about a message before it is sent: what receivers and readers will hold against it (DLV-001). Pure.

The message is parsed by the standard library, which is slow and forgiving; this is for one message at a time.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from email.utils import getaddresses
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urlsplit

from relay.policy.suffix import registrable_domain

LINKS_MAX: Final = 1000
PARTS_MAX: Final = 1000
DOMAINS_MAX: Final = 200

_LINK = re.compile(r"https?://[^\s<>\"')\]]{1,2000}", re.IGNORECASE)
_ADDRESS = re.compile(r"[0-9.]+|.*:.*")  # of IP, in a link
_NO_REPLY = re.compile(r"(?:no|do-?not|dont)[-_.]?reply", re.IGNORECASE)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ROLES: Final = _words(
    """
    abuse admin billing compliance devnull dns ftp help hostmaster info list list-request mailer-daemon
    marketing noc null phish phishing postmaster privacy registrar root sales security spam support sysadmin
    tech undisclosed-recipients unsubscribe usenet uucp webmaster www
    """
)
MAILBOX_PROVIDERS: Final = _words(
    """
    126.com 163.com aol.com att.net btinternet.com comcast.net cox.net fastmail.com free.fr gmail.com gmx.at
    gmx.ch gmx.de gmx.net googlemail.com hotmail.co.uk hotmail.com hotmail.fr icloud.com laposte.net libero.it
    live.com mac.com mail.com mail.ru me.com msn.com naver.com orange.fr outlook.com proton.me protonmail.com
    qq.com rediffmail.com sbcglobal.net sfr.fr t-online.de uol.com.br verizon.net wanadoo.fr web.de yahoo.co.jp
    yahoo.co.uk yahoo.com yahoo.fr yandex.com yandex.ru ymail.com zoho.com
    """
)
SHORTENERS: Final = _words(
    """
    bit.ly buff.ly cutt.ly goo.gl is.gd lnkd.in ow.ly rb.gy rebrand.ly shorturl.at t.co t.ly tiny.cc tinyurl.com
    v.gd
    """
)


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to mend: a rule's name, what it is about, what to do."""

    rule: str
    subject: str
    text: str


def lint(content: bytes) -> list[Advice]:
    """Return what can be told from the message alone."""
    message = message_from_bytes(content, policy=modern)
    found = [*_authors(message), *_recipients(message), *_text_part(message)]
    for host in sorted({host for link in links(content) if (host := host_of(link)) in SHORTENERS}):
        text = "Link to where it leads: filters distrust link shorteners, which hide the target."
        found.append(Advice("link-shortener", host, text))
    return found


def links(content: bytes) -> Sequence[str]:
    """Return the web links of a message's text parts, and the images of its HTML, each once, in order."""
    message = message_from_bytes(content, policy=modern)
    found: dict[str, None] = {}
    for text, html in _texts(message):
        for link in _hrefs(text) if html else _LINK.findall(text):
            if len(found) < LINKS_MAX:
                found.setdefault(link.rstrip(".,;:!?"), None)
    return list(found)


def linked_domains(content: bytes) -> Sequence[str]:
    """Return the registrable domains that a message's links and images point to, in order, at most `DOMAINS_MAX`."""
    hosts = {host for link in links(content) if (host := host_of(link)) and not _ADDRESS.fullmatch(host)}
    return sorted({registrable_domain(host) for host in hosts})[:DOMAINS_MAX]


def host_of(link: str) -> str:
    """Return the host of a link in lower case, "" when it has none."""
    try:
        return (urlsplit(link).hostname or "").lower()
    except ValueError:
        return ""


def _authors(message: EmailMessage) -> Iterable[Advice]:
    for name in ("From", "Reply-To"):
        for address in _addresses(message, name):
            local, _, domain = address.rpartition("@")
            if _NO_REPLY.match(local):
                yield Advice("no-reply", address, f"{name} should be an address whose mail somebody reads.")
            if name == "From" and domain.lower() in MAILBOX_PROVIDERS:
                text = (
                    f"Send from a domain of your own: {domain} tells receivers to refuse mail that it did not send."
                )
                yield Advice("provider-domain", address, text)


def _recipients(message: EmailMessage) -> Iterable[Advice]:
    for name in ("To", "Cc", "Bcc"):
        for address in _addresses(message, name):
            if address.partition("@")[0].partition("+")[0].lower() in ROLES:
                yield Advice("role-recipient", address, "Write to a person: several read a role, and one complains.")


def _text_part(message: EmailMessage) -> Iterable[Advice]:
    kinds = {part.get_content_type() for part in _leaves(message)}
    if "text/html" in kinds and "text/plain" not in kinds:
        yield Advice("no-text-part", "text/html", "Add a text/plain alternative: some readers show nothing else.")


def _addresses(message: EmailMessage, name: str) -> list[str]:
    return [address for _, address in getaddresses([str(value) for value in message.get_all(name, [])]) if address]


def _leaves(message: EmailMessage) -> Iterable[EmailMessage]:
    for number, part in enumerate(message.walk()):
        if number >= PARTS_MAX:
            return
        if not part.is_multipart() and part.get_content_disposition() != "attachment":
            yield part


def _texts(message: EmailMessage) -> Iterable[tuple[str, bool]]:
    for part in _leaves(message):
        if part.get_content_type() in ("text/plain", "text/html"):
            payload = part.get_payload(decode=True)
            data = payload if isinstance(payload, bytes) else b""
            yield data.decode("utf-8", "replace"), part.get_content_type() == "text/html"


_LINKING = frozenset({"href", "src", "background"})


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        self.found += [value for name, value in attrs if name in _LINKING and value and _LINK.match(value)]


def _hrefs(text: str) -> list[str]:
    parser = _Links()
    parser.feed(text)
    return parser.found
