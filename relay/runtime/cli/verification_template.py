"""`relay verification-template`: verification mails in words of your own."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import UsageError
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, write_fields, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.verification import VerificationTemplate

app = typer.Typer(help="Verification mails in words of your own.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The template.")]
FromOption = Annotated[str, typer.Option("--from", metavar="ADDRESS", help="A verified address, without a name.")]
SubjectOption = Annotated[str, typer.Option("--subject", help="The subject line.")]
ContentOption = Annotated[str, typer.Option("--content", metavar="FILE", help="A file of HTML; - is standard input.")]
SuccessOption = Annotated[str, typer.Option("--success-url", metavar="URL", help="Where a reader goes afterwards.")]
FailureOption = Annotated[str, typer.Option("--failure-url", metavar="URL", help="Where a reader goes in vain.")]


@app.command()
def create(
    name: NameArgument,
    *,
    sender: FromOption,
    subject: SubjectOption,
    content: ContentOption,
    success_url: SuccessOption,
    failure_url: FailureOption,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a template."""
    from relay.model.verification import VerificationTemplate  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    template = VerificationTemplate(name, sender, subject, _read(content), success_url, failure_url)
    site = open_site(config)
    with site.catalog() as catalog:
        made = catalog.verification_templates.create(account, template)
    site.audit("verification-template.create", account, as_object(made))
    _told(made, f"Template {name} is created.", as_json=as_json)


@app.command()
def update(
    name: NameArgument,
    *,
    sender: FromOption = "",
    subject: SubjectOption = "",
    content: ContentOption = "",
    success_url: SuccessOption = "",
    failure_url: FailureOption = "",
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is given of a template."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    given = {
        "from_address": sender,
        "subject": subject,
        "content": _read(content) if content else "",
        "success_url": success_url,
        "failure_url": failure_url,
    }
    changes = {key: value for key, value in given.items() if value}
    site = open_site(config)
    with site.catalog() as catalog:
        made = catalog.verification_templates.update(account, name, **changes)
    site.audit("verification-template.update", account, as_object(made))
    _told(made, f"Template {name} is changed.", as_json=as_json)


@app.command("list")
def list_(
    *, account: AccountOption = DEFAULT_ACCOUNT, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the templates of an account."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        templates = catalog.verification_templates.list(account)
    if as_json:
        write_json_lines(as_object(template) for template in templates)
        return
    write_table(
        ("Template", "From", "Subject", "Success", "Failure"),
        ((one.name, one.from_address, one.subject, one.success_url, one.failure_url) for one in templates),
        empty=f"Account {account} has no verification templates.",
    )


@app.command()
def show(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a template; its content goes to standard output last."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        template = catalog.verification_templates.require(account, name)
    if as_json:
        write_json({**as_object(template), "content": template.content})
        return
    write_fields(
        {
            "template": template.name,
            "from": template.from_address,
            "subject": template.subject,
            "success": template.success_url,
            "failure": template.failure_url,
        }
    )
    typer.echo("")
    typer.echo(template.content)


@app.command()
def delete(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
) -> None:
    """Delete a template; links that were mailed with it go on working."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        catalog.verification_templates.delete(account, name)
    site.audit("verification-template.delete", account, {"name": name})
    typer.echo(f"Template {name} is deleted.")


def _read(file: str) -> str:
    """Return the text of a file, before the rights of its user are given up. UsageError when it is no content."""
    from relay.mail.custom_verification import CONTENT_MAX_BYTES  # noqa: PLC0415

    if file == "-":
        data = sys.stdin.buffer.read(CONTENT_MAX_BYTES + 1)
    else:
        with Path(file).open("rb") as stream:
            data = stream.read(CONTENT_MAX_BYTES + 1)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 (or larger than {CONTENT_MAX_BYTES} octets).") from None


def _told(template: "VerificationTemplate", sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json(as_object(template))
    else:
        typer.echo(sentence)


def as_object(template: "VerificationTemplate") -> dict[str, Any]:
    """Return a template, without its content, for programs."""
    return {
        "template": template.name,
        "from": template.from_address,
        "subject": template.subject,
        "successUrl": template.success_url,
        "failureUrl": template.failure_url,
        "updated": iso(template.updated_ms),
    }
