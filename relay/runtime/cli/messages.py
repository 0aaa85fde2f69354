"""`relay messages`: search for messages, waiting and finished, over all shards and days."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import UsageError
from relay.runtime.cli.history_options import (
    LIMIT_MAX,
    AccountFilter,
    CursorOption,
    RecipientOption,
    SetOption,
    SinceOption,
    UntilOption,
    spools,
    tag_of,
    times,
)
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, when, working, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.delivery import DeliveryState
    from relay.runtime.cli.site import Site
    from relay.store.search import Found, Page

app = typer.Typer(help="Messages, waiting and finished.", no_args_is_help=True)

LIMIT_DEFAULT = 20
RECIPIENTS_SHOWN = 3
SUBJECT_SHOWN = 40
HASH_DIGITS = 32


@app.command()
def search(
    messages: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these messages.")] = None,
    *,
    recipient: RecipientOption = "",
    domain: Annotated[str, typer.Option(help="For a recipient of this domain.")] = "",
    sender: Annotated[str, typer.Option(metavar="ADDRESS", help="From this sender: MAIL FROM or From.")] = "",
    identity: Annotated[str, typer.Option(help="Sent from this identity: an address or a domain.")] = "",
    subject: Annotated[str, typer.Option(help="With this subject, whole, without regard to case.")] = "",
    subject_hash: Annotated[
        str, typer.Option(metavar="HEX", help="With a subject of this keyed hash, as --json prints it.")
    ] = "",
    header_id: Annotated[
        str, typer.Option("--message-id", metavar="TEXT", help="With this Message-ID, as its sender gave it.")
    ] = "",
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="With this message tag.")] = None,
    configuration_set: SetOption = "",
    account: AccountFilter = "",
    outcome: Annotated[
        str, typer.Option(metavar="STATE", help="With a delivery in this state: delivered, bounced, queued ...")
    ] = "",
    since: SinceOption = "",
    until: UntilOption = "",
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most this many.")] = LIMIT_DEFAULT,
    cursor: CursorOption = "",
    seconds: Annotated[float, typer.Option(min=0.1, max=86400, help="End a page after this time.")] = 60.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find messages, the newest first: every criterion given must hold. `relay trace ID` shows one."""
    from relay.model.search import MessageQuery  # noqa: PLC0415
    from relay.model.search import subject_hash as hash_of  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.store.search import MessageSearch  # noqa: PLC0415

    site = open_site(config)
    key = search_key(site)
    query = MessageQuery(
        recipient=recipient,
        domain=domain.removeprefix("@"),
        sender=sender,
        identity=identity,
        subject_hash=hash_of(key, subject) if subject else _hash(subject_hash),
        header_id=header_id,
        tags=tuple(map(tag_of, tag or ())),
        configuration_set=configuration_set,
        account=account,
        outcome=_state(outcome),
        **times(since, until),
    )
    with working("searching"):
        search_ = MessageSearch(spools(site), query, key)
        page = search_.named(_ids(messages)) if messages else search_.page(limit, cursor, seconds)
    if as_json:
        write_json_lines(_object(one, key) for one in page.found)
    else:
        _write(page)
    if page.cursor:
        note(f"There may be more: add --cursor {page.cursor}")


def search_key(site: "Site") -> bytes:
    """Return the key of subject hashes of a relay."""
    from relay.runtime.settings import SEARCH_PURPOSE  # noqa: PLC0415
    from relay.signing.secrets import derive  # noqa: PLC0415

    return derive(site.master_key(), SEARCH_PURPOSE)


def latest_of(site: "Site", *, recipient: str = "", header_id: str = "") -> str:
    """Return the id of the newest message for a recipient, or with a Message-ID; "" when there is none."""
    from relay.model.search import MessageQuery  # noqa: PLC0415
    from relay.store.history import NO_KEY  # noqa: PLC0415
    from relay.store.search import MessageSearch  # noqa: PLC0415

    query: MessageQuery = MessageQuery(recipient=recipient, header_id=header_id)
    found = MessageSearch(spools(site), query, NO_KEY).page(1).found
    return found[0].message.message_id if found else ""


def _ids(messages: list[str]) -> list[str]:
    from relay.model.ids import is_message_id  # noqa: PLC0415

    for message in messages:
        if not is_message_id(message):
            raise UsageError(f"{message!r} is no message id.")
    return messages


def _hash(text: str) -> str:
    plain = text.lower()
    if plain and (len(plain) != HASH_DIGITS or not all(letter in "0123456789abcdef" for letter in plain)):
        raise UsageError(f"--subject-hash {text!r} is not {HASH_DIGITS} hexadecimal digits.")
    return plain


def _state(name: str) -> "DeliveryState | None":
    from relay.model.delivery import DeliveryState  # noqa: PLC0415

    if not name:
        return None
    if name not in set(DeliveryState):
        raise UsageError(f"There is no state {name!r}; there are {', '.join(DeliveryState)}.")
    return DeliveryState(name)


def _object(one: "Found", key: bytes) -> dict[str, Any]:
    from relay.model.search import mail_of, subject_hash, subject_of, tags_of  # noqa: PLC0415

    message, mail = one.message, mail_of(one.message.mail_json)
    subject = subject_of(mail)
    return {
        "messageId": message.message_id,
        "accepted": iso(message.accepted_ms),
        "account": message.account,
        "configurationSet": message.options.configuration_set or None,
        "sender": message.sender,
        "subject": subject or None,
        "subjectHash": subject_hash(key, subject) if subject else None,
        "tags": tags_of(mail),
        "size": message.size_bytes,
        "finished": one.finished,
        "deliveries": [
            {
                "recipient": delivery.recipient,
                "state": str(delivery.state),
                "attempts": delivery.attempts,
                "lastReply": delivery.last_reply or None,
            }
            for delivery in one.deliveries
        ],
    }


def _write(page: "Page") -> None:
    from relay.model.search import mail_of, subject_of  # noqa: PLC0415

    rows = [
        (
            when(one.message.accepted_ms),
            one.message.message_id,
            one.message.sender or "<>",
            _recipients(one),
            ", ".join(sorted({str(delivery.state) for delivery in one.deliveries})),
            subject_of(mail_of(one.message.mail_json))[:SUBJECT_SHOWN] or "-",
        )
        for one in page.found
    ]
    write_table(
        ("accepted", "message", "from", "recipients", "state", "subject"), rows, empty="No message was found."
    )


def _recipients(one: "Found") -> str:
    shown = ", ".join(delivery.recipient for delivery in one.deliveries[:RECIPIENTS_SHOWN])
    more = len(one.deliveries) - RECIPIENTS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
