"""What an account says about its mail: options, texts and objects (SBX-004)."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from relay.model.review import AccountDetails

MailTypeOption = Annotated[
    str | None,
    typer.Option(metavar="TYPE", help="What most of its mail is: MARKETING or TRANSACTIONAL.", show_default=False),
]
WebsiteOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Its website, at most 1,000 characters.", show_default=False)
]
UseCaseOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Where its list comes from, how it handles bounces, complaints and opt-outs; at most 5,000 characters.",
        show_default=False,
    ),
]
ContactsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--contact", metavar="ADDRESS", help="Where mail about it goes; up to four, repeated or with commas."
    ),
]
LanguageOption = Annotated[
    str | None, typer.Option(metavar="LANGUAGE", help="What its contacts read: EN or JA.", show_default=False)
]


def read_details(  # noqa: PLR0917 - what details are made of
    kept: "AccountDetails | None",
    mail_type: str | None,
    website_url: str | None,
    use_case: str | None,
    contacts: list[str] | None,
    language: str | None,
) -> "AccountDetails":
    """Return details with what is given in place of what was kept. Raise UsageError when something is missing."""
    from relay.errors import UsageError  # noqa: PLC0415
    from relay.model.review import (  # noqa: PLC0415
        LANGUAGE_ALIASES,
        MAIL_TYPE_ALIASES,
        AccountDetails,
        ContactLanguage,
        MailType,
    )
    from relay.store.catalog_reviews import read_contacts  # noqa: PLC0415

    if kept is None and (mail_type is None or website_url is None or use_case is None):
        raise UsageError("Give --mail-type, --website-url and --use-case; they are kept for the next time.")
    base = kept or AccountDetails(MailType.MARKETING, "", "")
    return AccountDetails(
        base.mail_type if mail_type is None else _one_of(MailType, MAIL_TYPE_ALIASES, mail_type, "mail type"),
        base.website_url if website_url is None else website_url,
        base.use_case if use_case is None else use_case,
        base.contacts if contacts is None else read_contacts(contacts),
        base.language if language is None else _one_of(ContactLanguage, LANGUAGE_ALIASES, language, "language"),
    )


def _one_of(kind: Any, aliases: dict[str, Any], text: str, what: str) -> Any:
    from relay.errors import UsageError  # noqa: PLC0415

    name = text.upper()
    try:
        return aliases.get(name) or kind(name)
    except ValueError:
        choices = ", ".join([*kind, *aliases])
        raise UsageError(f"A {what} is one of {choices}, not {text[:80]!r}.") from None


def details_object(details: "AccountDetails | None") -> dict[str, Any] | None:
    """Return details for programs, under the names of the API."""
    if details is None:
        return None
    return {
        "mailType": str(details.mail_type),
        "websiteURL": details.website_url,
        "useCaseDescription": details.use_case,
        "contactLanguage": str(details.language),
        "additionalContactEmailAddresses": list(details.contacts),
    }


def detail_fields(details: "AccountDetails | None") -> dict[str, object]:
    """Return details for people."""
    if details is None:
        return {}
    return {
        "mail type": details.mail_type,
        "website": details.website_url,
        "use case": details.use_case,
        "further contacts": ", ".join(details.contacts) or "-",
        "language": details.language,
    }
