"""What the corpus is built from: cases, random but repeatable names, and the frames that reports share."""

import base64
import random
from dataclasses import dataclass, field

Label = tuple[str, str]
NO_EMAIL: Label = ("Permanent", "NoEmail")
HARD: Label = ("Permanent", "General")
SOFT: Label = ("Transient", "General")
FULL: Label = ("Transient", "MailboxFull")
LARGE: Label = ("Transient", "MessageTooLarge")
CONTENT: Label = ("Transient", "ContentRejected")
ATTACHED: Label = ("Transient", "AttachmentRejected")
UNKNOWN: Label = ("Undetermined", "Undetermined")

RECIPIENT_FAULT, OTHER_FAULT = True, False
Said = tuple[str, Label]  # a reply, and what it means

PATH = "g4ydgnbsgiydcmrtgq2tmnzygi3tmnzygeydsobzhaydcmrr@bounce.relay.example"
MESSAGE_ID = "00010193a5c4e2d1-5a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9-000000"
_NAMES = (
    "anna.bloch ben ceyda d.okafor erik42 fumiko gil_vaz h.lund ines ivo j.kim kofi lea mia nils.o oksana".split()
)
_WORDS = "alder birch cedar delta ember fjord grove haven inlet juniper kestrel lagoon".split()


@dataclass(frozen=True, slots=True)
class Case:
    """A message and what it is. `group`: standard, free, complaint, auto, ordinary. `label` None: type not judged."""

    name: str
    group: str
    content: bytes = field(repr=False)
    kind: str
    recipients: tuple[str, ...] = ()
    label: Label | None = None
    feedback_type: str = ""
    captured: bool = False


class Names:
    """Random names of people, hosts and parts, the same for the same seed."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def domain(self, suffix: str = "example") -> str:
        return f"{self.random.choice(_WORDS)}-{self.random.randrange(100, 999)}.{suffix}"

    def address(self, domain: str = "") -> str:
        return f"{self.random.choice(_NAMES)}{self.random.randrange(10, 99)}@{domain or self.domain()}"

    def token(self, length: int = 10) -> str:
        return "".join(self.random.choice("ABCDEFGHJKMNPQRSTUVWXYZ23456789") for _ in range(length))

    def date(self) -> str:
        return f"Tue, {self.random.randrange(10, 28)} Nov 2026 {self.random.randrange(10, 23)}:17:05 +0000"


def fill(template: str, names: Names, **values: str) -> str:
    """Put values and random names where a template has `{name}`; other braces stay."""
    made = {
        "date": names.date(), "token": names.token(), "path": PATH, "id": MESSAGE_ID,
        "host": "mx1." + names.domain(), **values,
    }  # fmt: skip
    for _ in range(2):  # a reply has names in it
        for key, value in made.items():
            template = template.replace("{" + key + "}", value)
    return template


def original(names: Names, recipient: str, *, body: bool = True) -> str:
    """Return the message that comes back, or its header section."""
    head = (
        f"Return-Path: <{PATH}>\nReceived: by relay.example (Relay) with ESMTPSA\n\tid {MESSAGE_ID};"
        f" {names.date()}\nFrom: Shop <news@shop.example>\nTo: {recipient}\nSubject: Your order 4711\n"
        f"Date: {names.date()}\nMessage-ID: <order.{names.token()}@shop.example>\nMIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\n"
    )
    return head + ("\nThank you for your order.\nWrite to help@shop.example.\n" if body else "")


def message(head: str, body: str, charset: str = "utf-8") -> bytes:
    """Return a message of lines that end with LF, as octets."""
    whole = head.strip("\n") + "\n\n" + body
    return whole.replace("\r\n", "\n").replace("\n", "\r\n").encode(charset)


def free(
    product: str, template: str, said: Said, number: int, *, kind: str = "bounce", charset: str = "utf-8",
    count: int = 1, group: str = "free",
) -> Case:  # fmt: skip
    """Return a report of one template: head, empty line, body; `{original}` and `{head}` are the message."""
    names = Names(f"{product}/{number}/{said[0][:40]}")
    recipients = tuple(names.address() for _ in range(count))
    first = recipients[0]
    local, _, domain = first.partition("@")
    values = {
        "reply": said[0], "rcpt": first, "local": local, "domain": domain,
        "original": original(names, first), "head": original(names, first, body=False),
        "rcpt2": recipients[-1],
    }  # fmt: skip
    text = fill(template.lstrip("\n"), names, **values)
    head, _, body = text.partition("\n\n")
    label = said[1] if kind == "bounce" else None
    return Case(f"{product}/{number}", group, message(head, body, charset), kind, recipients, label)


@dataclass(frozen=True, slots=True)
class Form:
    """How a product writes standard reports. `head` and `text` are templates; field templates have the rest."""

    product: str
    head: str
    text: str
    about: str = "Reporting-MTA: dns; {host}\nArrival-Date: {date}\n"
    recipient: str = (
        "Final-Recipient: rfc822; {rcpt}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: smtp; {reply}\n"
    )
    top: str = 'Content-Type: multipart/report; report-type=delivery-status;\n\tboundary="{boundary}"'
    text_type: str = "text/plain; charset=us-ascii"
    status_type: str = "message/delivery-status"
    returned: str = "message/rfc822"  # or text/rfc822-headers, or nothing
    coded: bool = False  # the status part is in base64
    preamble: str = "This is a MIME-encapsulated message.\n"


def standard(
    form: Form, said: Said, status: str, number: int, *, action: str = "failed", kind: str = "bounce", count: int = 1
) -> Case:
    """Return a report of RFC 3464 in the form of a product."""
    names = Names(f"{form.product}/{number}/{said[0][:40]}")
    domain = names.domain()
    recipients = tuple(dict.fromkeys(names.address(domain) for _ in range(count)))
    boundary = f"=_{names.token(16)}/{names.domain()}"
    values = {"boundary": boundary, "action": action, "status": status, "reply": said[0], "rcpt": recipients[0]}
    values["domain"] = domain
    host = "mx1." + names.domain()
    about = fill(form.about, names, host=host, **values)
    blocks = [about, *(fill(form.recipient, names, host=host, **values | {"rcpt": each}) for each in recipients)]
    block = "\n".join(blocks)
    coding = ""
    if form.coded:
        block, coding = (
            base64.encodebytes(block.replace("\n", "\r\n").encode()).decode(),
            "\nContent-Transfer-Encoding: base64",
        )
    parts = [
        f"Content-Type: {form.text_type}\n\n" + fill(form.text, names, host=host, **values),
        f"Content-Type: {form.status_type}{coding}\n\n{block}",
    ]
    if form.returned:
        whole = form.returned in {"message/rfc822", "message/global"}
        parts.append(f"Content-Type: {form.returned}\n\n" + original(names, recipients[0], body=whole))
    body = form.preamble + "".join(f"\n--{boundary}\n{part}" for part in parts) + f"\n--{boundary}--\n"
    head = fill(form.head.strip("\n") + "\nMIME-Version: 1.0\n" + form.top, names, host=host, **values)
    label = said[1] if kind == "bounce" else None
    return Case(f"{form.product}/{number}", "standard", message(head, body), kind, recipients, label)
