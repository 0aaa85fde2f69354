"""`relay user`: whom credentials belong to, and what their policies say they may do."""

from typing import Annotated

import typer

from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, when, write_json, write_json_lines, write_table
from relay.runtime.cli.policy_text import DocumentArgument, read_policy, telling_faults

app = typer.Typer(help="Users and their policies.", no_args_is_help=True)
policy = typer.Typer(help="What a user may do.", no_args_is_help=True)
app.add_typer(policy, name="policy")

NameArgument = Annotated[str, typer.Argument(metavar="USER", help="The user.")]
PolicyArgument = Annotated[str, typer.Argument(metavar="POLICY", help="The policy.")]


@app.command()
def create(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a user that may do nothing yet; give it policies and credentials."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        made = catalog.users.create(account, name)
    site.audit("user.create", account, {"user": name})
    if as_json:
        write_json({"account": account, "user": made.name, "created": iso(made.created_ms)})
    else:
        typer.echo(f"User {name} of account {account} created.")


@app.command("list")
def list_(
    *, account: AccountOption = DEFAULT_ACCOUNT, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the users of an account, with the ARNs that policies of others name them by."""
    from relay.policy.arn import UserArn  # noqa: PLC0415
    from relay.runtime.cli.paging import all_pages  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        found = list(all_pages(lambda after: catalog.users.list(account, after=after), lambda user: user.name))
    if as_json:
        write_json_lines(
            {
                "account": user.account,
                "user": user.name,
                "arn": str(UserArn(user.account, user.name)),
                "created": iso(user.created_ms),
                "policies": user.policies,
                "credentials": user.credentials,
            }
            for user in found
        )
        return
    write_table(
        ("User", "ARN", "Policies", "Credentials", "Created"),
        (
            (
                user.name,
                UserArn(user.account, user.name),
                user.policies,
                user.credentials,
                when(user.created_ms),
            )
            for user in found
        ),
        empty=f"Account {account} has no users.",
    )


@app.command()
def delete(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a user with its policies; its credentials end for good, open sessions before their next message."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        revoked = catalog.users.delete(account, name)
    site.audit("user.delete", account, {"user": name, "revoked": revoked})
    if as_json:
        write_json({"account": account, "user": name, "revoked": revoked})
    else:
        typer.echo(f"User {name} is deleted; {revoked} of its credentials ended.")


@policy.command()
def put(
    user: NameArgument,
    name: PolicyArgument,
    document: DocumentArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a user a policy, or replace the one of this name; it holds from the next request on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    text = read_policy(document)
    site = open_site(config)
    with site.catalog() as catalog, telling_faults(as_json=as_json):
        catalog.users.put_policy(account, user, name, text)
    site.audit("user.policy.put", account, {"user": user, "policy": name, "document": text})
    _told(account, user, name, f"User {user} has the policy {name}.", as_json=as_json)


@policy.command("list")
def list_policies(
    user: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the policies of a user with their documents."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        found = catalog.users.policies(account, user)
    if as_json:
        write_json_lines(
            {"policy": one.name, "updated": iso(one.updated_ms), "document": one.document} for one in found
        )
        return
    write_table(
        ("Policy", "Changed", "Document"),
        ((one.name, when(one.updated_ms), " ".join(one.document.split())) for one in found),
        empty=f"User {user} has no policies: it may do nothing.",
    )


@policy.command("delete")
def delete_policy(
    user: NameArgument,
    name: PolicyArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a policy from a user; what it allowed is refused from the next request on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        catalog.users.delete_policy(account, user, name)
    site.audit("user.policy.delete", account, {"user": user, "policy": name})
    _told(account, user, name, f"User {user} no longer has the policy {name}.", as_json=as_json)


def _told(account: str, user: str, name: str, sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json({"account": account, "user": user, "policy": name})
    else:
        typer.echo(sentence)
