"""One transaction: its envelope as commands, and whether a host with given extensions can take it at all."""

import re
from collections.abc import Callable
from dataclasses import replace

from relay.model.content import Content
from relay.model.value import dataclass
from relay.smtp.client.extensions import Extensions

Downgrade = Callable[[Content, object], Content | None]
"""Returns a message in 7-bit form, or None where that is not possible; takes the transaction's `tag` too.

Raises StorageError when that cannot be known now.
"""

# Nothing that matches can end a path or a command line early: either a dot-string without specials or a quoted
# string (RFC 5321 section 4.1.2), UTF-8 where RFC 6531 allows it.
_PATH = re.compile(
    r"(?:[^\x00-\x20\x7f-\x9f\"(),:;<>@\[\\\]]+|\"(?:[^\x00-\x1f\x7f-\x9f\"\\]|\\[\x20-\x7e])*\")"
    r"@(?:[^\x00-\x20\x7f-\x9f\"(),:;<>@\[\\\]]+|\[[0-9A-Za-z.:-]+\])\Z",
)
_PATH_MAX_BYTES = 254 * 4


@dataclass(frozen=True, slots=True)
class Parameters:
    """What MAIL and each RCPT say to hosts that offer DSN (RFC 3461), and MAIL to those that offer DELIVERBY.

    `mail` and `recipients` are complete parameters, "" for none; `deliver_by_seconds` are those left, with
    `deliver_by_mode` ("" for no limit).
    """

    mail: str = ""
    recipients: tuple[str, ...] = ()
    deliver_by_seconds: int = 0
    deliver_by_mode: str = ""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message for one or more recipients; `sender` is "" for the null sender. `tag` is the caller's own."""

    sender: str
    recipients: tuple[str, ...]
    content: Content
    eight_bit: bool = False
    smtputf8: bool = False
    tag: object = None
    parameters: Parameters | None = None
    requiretls: bool = False


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a host cannot take a transaction: an enhanced code of class 5 and a sentence.

    `of_offer`: it could, if it offered an extension.
    """

    enhanced: str
    text: str
    of_offer: bool = False


def sound_path(address: str) -> bool:
    """Say whether an address can stand between angle brackets without forming anything else."""
    return len(address) <= _PATH_MAX_BYTES and _PATH.match(address) is not None


def fit(transaction: Transaction, host: Extensions, downgrade: Downgrade | None) -> Transaction | Unfit:
    """Return the transaction in the form that this host can take, or why there is none."""
    addresses = (transaction.sender, *transaction.recipients) if transaction.sender else transaction.recipients
    if not all(map(sound_path, addresses)):
        return Unfit("5.1.3", "Address cannot be written in a command")
    if transaction.smtputf8 or not all(map(str.isascii, addresses)):
        fitted = _international(transaction, addresses, host)
        if isinstance(fitted, Unfit):
            return fitted
        transaction = fitted
    if transaction.eight_bit and not host.eight_bit_mime:
        content = downgrade(transaction.content, transaction.tag) if downgrade is not None else None
        if content is None:  # RFC 6152 section 3
            text = "Message has 8-bit content, the host takes none, and it cannot be converted"
            return Unfit("5.6.3", text, of_offer=True)
        transaction = replace(transaction, content=content, eight_bit=False)
    if host.size_max_bytes and transaction.content.size_bytes > host.size_max_bytes:  # RFC 1870 section 6.1
        size = transaction.content.size_bytes
        return Unfit("5.3.4", f"Message of {size} bytes is over the host's limit of {host.size_max_bytes}")
    return transaction


def _international(transaction: Transaction, addresses: tuple[str, ...], host: Extensions) -> Transaction | Unfit:
    if transaction.content.head.isascii() and all(map(str.isascii, addresses)):
        return replace(transaction, smtputf8=False)
    if not host.smtputf8:  # RFC 6531 section 3.2
        return Unfit("5.6.7", "Addresses or headers need SMTPUTF8, which the host does not offer", of_offer=True)
    return transaction if transaction.smtputf8 else replace(transaction, smtputf8=True)


def mail_command(transaction: Transaction, host: Extensions) -> bytes:
    """Return the MAIL command with the parameters that this host knows."""
    line = f"MAIL FROM:<{transaction.sender}>"
    if host.size:
        line += f" SIZE={transaction.content.size_bytes}"
    if transaction.eight_bit:
        line += " BODY=8BITMIME"
    if transaction.smtputf8:
        line += " SMTPUTF8"
    if transaction.parameters is not None:
        line += _mail_parameters(transaction.parameters, host)
    if transaction.requiretls:  # RFC 8689 section 2: the session is ready only where the host offers it
        line += " REQUIRETLS"
    return f"{line}\r\n".encode()


def _mail_parameters(given: Parameters, host: Extensions) -> str:
    text = f" {given.mail}" if given.mail and host.dsn else ""
    if not given.deliver_by_mode or host.deliver_by_min is None:
        return text
    returns = given.deliver_by_mode.startswith("R")
    if returns and given.deliver_by_seconds < max(1, host.deliver_by_min):  # we return it ourselves then
        return text
    return f"{text} BY={given.deliver_by_seconds};{given.deliver_by_mode}"


def rcpt_commands(transaction: Transaction, host: Extensions) -> list[bytes]:
    """Return the RCPT commands, in the order of the recipients."""
    given = transaction.parameters
    if given is None or not given.recipients or not host.dsn:
        return [f"RCPT TO:<{recipient}>\r\n".encode() for recipient in transaction.recipients]
    return [
        f"RCPT TO:<{recipient}>{' ' if asked else ''}{asked}\r\n".encode()
        for recipient, asked in zip(transaction.recipients, given.recipients, strict=True)
    ]
