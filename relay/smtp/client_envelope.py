"""One transaction: its envelope as commands, and whether a host with given extensions can take it at all."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from relay.model.content import Content
from relay.smtp.client_extensions import Extensions

Downgrade = Callable[[Content, object], Content | None]
"""Returns a message in 7-bit form, or None where that is not possible; takes the transaction's `tag` too."""

# Nothing that matches can end a path or a command line early: either a dot-string without specials or a quoted
# string (RFC 5321 section 4.1.2), UTF-8 where RFC 6531 allows it.
_PATH = re.compile(
    r"(?:[^\x00-\x20\x7f-\x9f\"(),:;<>@\[\\\]]+|\"(?:[^\x00-\x1f\x7f-\x9f\"\\]|\\[\x20-\x7e])*\")"
    r"@(?:[^\x00-\x20\x7f-\x9f\"(),:;<>@\[\\\]]+|\[[0-9A-Za-z.:-]+\])\Z",
)
_PATH_MAX_BYTES = 254 * 4


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message for one or more recipients; `sender` is "" for the null sender. `tag` is the caller's own."""

    sender: str
    recipients: tuple[str, ...]
    content: Content
    eight_bit: bool = False
    smtputf8: bool = False
    tag: object = None


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a host cannot take a transaction: an enhanced code of class 5 and a sentence."""

    enhanced: str
    text: str


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
            return Unfit("5.6.3", "Message has 8-bit content, the host takes none, and it cannot be converted")
        transaction = replace(transaction, content=content, eight_bit=False)
    if host.size_max_bytes and transaction.content.size_bytes > host.size_max_bytes:  # RFC 1870 section 6.1
        size = transaction.content.size_bytes
        return Unfit("5.3.4", f"Message of {size} bytes is over the host's limit of {host.size_max_bytes}")
    return transaction


def _international(transaction: Transaction, addresses: tuple[str, ...], host: Extensions) -> Transaction | Unfit:
    if transaction.content.head.isascii() and all(map(str.isascii, addresses)):
        return replace(transaction, smtputf8=False)
    if not host.smtputf8:  # RFC 6531 section 3.2
        return Unfit("5.6.7", "Addresses or headers need SMTPUTF8, which the host does not offer")
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
    return f"{line}\r\n".encode()


def rcpt_command(recipient: str) -> bytes:
    """Return the RCPT command."""
    return f"RCPT TO:<{recipient}>\r\n".encode()
