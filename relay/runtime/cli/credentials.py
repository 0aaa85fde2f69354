"""`relay credentials`: who may log in. Secrets are shown once, when they are made, and never again."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, when, write_fields, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.store.catalog_credentials import Credential, NewCredential

app = typer.Typer(help="SMTP credentials and access keys.", no_args_is_help=True)

SECRET_MAX_CHARACTERS = 1024


@app.command()
def create(
    *,
    name: Annotated[str, typer.Option(help="What it is for, to find it again in the list.")] = "",
    access_key: Annotated[
        bool, typer.Option("--access-key", help="An access key for the API, with an SMTP password.")
    ] = False,
    username: Annotated[str, typer.Option(help="A user name of your choice, instead of a random one.")] = "",
    user: Annotated[
        str,
        typer.Option(
            metavar="USER",
            help="Whose policies it acts under. SMTP credentials make a user of their own that may send; an access "
            "key without one may do everything.",
            show_default=False,
        ),
    ] = "",
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an SMTP user, or an access key; the password is shown now and never again."""
    from relay.errors import UsageError  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.clock import SteadyClock  # noqa: PLC0415

    if access_key and username:
        raise UsageError("An access key's id is always random; leave --username out.")
    site = open_site(config)
    with site.catalog() as catalog:
        if access_key:
            made = catalog.credentials.create_access_key(account, name, user=user)
        else:
            owner = user or new_user_name(SteadyClock().now_ms())
            made = catalog.credentials.create_smtp_user(account, name, username=username, user=owner)
    site.audit("credentials.create", account, as_object(made.credential))
    _show_once(made, site.config.region, as_json=as_json)


def _show_once(made: "NewCredential", region: str, *, as_json: bool) -> None:
    from relay.store.catalog_credentials import CredentialKind  # noqa: PLC0415

    credential = made.credential
    is_key = credential.kind is CredentialKind.ACCESS_KEY
    password = made.smtp_password(region)
    if as_json:
        keys = {"access_key": {"id": credential.username, "secret": made.secret}} if is_key else {}
        write_json({**as_object(credential), "smtp": {"username": credential.username, "password": password}, **keys})
        return
    fields = {"account": credential.account}
    if credential.user:
        fields["user"] = credential.user
    if is_key:
        fields |= {"access key id": credential.username, "secret access key": made.secret}
    write_fields({**fields, "SMTP user name": credential.username, "SMTP password": password})
    note("Keep it now: it cannot be shown again.")


@app.command("list")
def list_(
    *,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Only this account.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List credentials, without their secrets."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        found = catalog.credentials.list(account)
    if as_json:
        write_json_lines(as_object(credential) for credential in found)
        return
    write_table(
        ("User name", "Kind", "Account", "User", "Name", "Created", "Revoked"),
        (
            (
                one.username,
                one.kind,
                one.account,
                one.user or "-",
                one.name or "-",
                when(one.created_ms),
                when(one.revoked_ms),
            )
            for one in found
        ),
        empty="There are no credentials.",
    )


@app.command()
def revoke(
    username: Annotated[str, typer.Argument(metavar="USERNAME", help="SMTP user name or access key id.")],
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a credential for good; its open sessions end before their next message."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        revoked = catalog.credentials.revoke(username)
    site.audit("credentials.revoke", revoked.account, as_object(revoked))
    if as_json:
        write_json(as_object(revoked))
    else:
        typer.echo(f"{username} is revoked.")


@app.command("import")
def import_(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The access key id.")],
    *,
    secret_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the secret access key [standard input].", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take over an existing access key, so that applications keep the SMTP passwords they have.

    The secret comes from a file or standard input, never from the command line, where others could see it.
    """
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    if secret_file is not None:
        with secret_file.open() as stream:
            secret = stream.readline(SECRET_MAX_CHARACTERS).strip()
    elif sys.stdin.isatty():
        secret = typer.prompt("Secret access key", hide_input=True, err=True).strip()
    else:
        secret = sys.stdin.readline(SECRET_MAX_CHARACTERS).strip()
    site = open_site(config)
    with site.catalog() as catalog:
        imported = catalog.credentials.import_access_key(account, key_id, secret, name)
    site.audit("credentials.import", account, as_object(imported))
    if as_json:
        write_json(as_object(imported))
    else:
        typer.echo(f"{key_id} is imported into account {account}; its SMTP passwords work as before.")


def as_object(credential: "Credential") -> dict[str, Any]:
    """Return a credential for programs, without any secret."""
    return {
        "username": credential.username,
        "kind": str(credential.kind),
        "account": credential.account,
        "user": credential.user or None,
        "name": credential.name or None,
        "created": iso(credential.created_ms),
        "revoked": iso(credential.revoked_ms),
    }


def new_user_name(now_ms: int) -> str:
    """Return a name for a user that comes with SMTP credentials: the time it was made, and what keeps it apart."""
    import secrets  # noqa: PLC0415
    import time  # noqa: PLC0415

    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_ms / 1000))
    return f"ses-smtp-user.{moment}.{secrets.token_hex(2)}"
