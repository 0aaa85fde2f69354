"""`relay identity policy`: who else may send for an identity (AUTHZ-001, AUTHZ-022, AUTHZ-023)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.errors import InvalidPolicyError, UsageError
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, when, write_json, write_json_lines, write_table
from relay.runtime.cli.policy_text import DocumentArgument, read_policy, telling_faults

if TYPE_CHECKING:
    from relay.policy.arn import IdentityArn
    from relay.policy.generator import StatementParts
    from relay.runtime.cli.site import Site

app = typer.Typer(help="Who else may send for an identity.", no_args_is_help=True)

IdentityArgument = Annotated[str, typer.Argument(metavar="IDENTITY", help="A domain or an address of the account.")]
PolicyArgument = Annotated[str, typer.Argument(metavar="POLICY", help="The policy.")]


@app.command()
def put(
    identity: IdentityArgument,
    name: PolicyArgument,
    document: DocumentArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a verified identity a policy, or replace the one of this name; it holds from the next request on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    text = read_policy(document)
    kept = _put(open_site(config), account, identity, name, text, as_json=as_json)
    _told(account, kept, name, f"{kept} has the policy {name}.", as_json=as_json)


@app.command("list")
def list_(
    identity: IdentityArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the policies of an identity, and whether each can still be read."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        kept = catalog.identities.require(account, identity).identity.name
        found = catalog.identity_policies.list(account, kept)
    arn = _arn(site, account, kept)
    rows = [(one, _state(arn, one.name, one.document)) for one in found]
    if as_json:
        write_json_lines(
            {"policy": one.name, "updated": iso(one.updated_ms), "readable": not state, "document": one.document}
            for one, state in rows
        )
        return
    write_table(
        ("Policy", "Changed", "Bytes", "State"),
        ((one.name, when(one.updated_ms), len(one.document.encode()), state or "in force") for one, state in rows),
        empty=f"{kept} has no policies: only account {account} may send for it.",
    )


@app.command()
def show(
    identity: IdentityArgument,
    name: PolicyArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the text of a policy as it was given, ready to be edited and put back."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        found = catalog.identity_policies.require(account, identity, name)
        kept = catalog.identities.require(account, identity).identity.name
    state = _state(_arn(site, account, kept), name, found.document)
    if as_json:
        write_json(
            {
                "policy": found.name,
                "updated": iso(found.updated_ms),
                "readable": not state,
                "document": found.document,
            }
        )
        return
    typer.echo(found.document.rstrip("\n"))
    if state:
        note(f"This policy {state}: put it again with the ARN {_arn(site, account, kept)}.")


@app.command()
def delete(
    identity: IdentityArgument,
    name: PolicyArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a policy from an identity; what it allowed is refused from the next request on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        kept = catalog.identities.require(account, identity).identity.name
        catalog.identity_policies.delete(account, kept, name)
    site.audit("identity.policy.delete", account, {"identity": kept, "policy": name})
    _told(account, kept, name, f"{kept} no longer has the policy {name}.", as_json=as_json)


@app.command()
def generate(
    identity: IdentityArgument,
    name: PolicyArgument,
    *,
    principal: Annotated[
        list[str],
        typer.Option(
            "--principal",
            metavar="WHO",
            help="An account id, the ARN of a user, or * for everybody; may be repeated.",
        ),
    ],
    effect: Annotated[str, typer.Option("--effect", metavar="EFFECT", help="Allow or Deny.")] = "Allow",
    action: Annotated[
        list[str] | None,
        typer.Option(
            "--action", metavar="ACTION", help="Such as SendRawEmail; may be repeated.", show_default="all that send"
        ),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            metavar="OPERATOR:KEY=VALUE",
            help="Such as 'StringLike:ses:FromAddress=news*'; may be repeated. Those of one operator and key are "
            "alternatives, all others must hold together.",
            show_default=False,
        ),
    ] = None,
    sid: Annotated[str, typer.Option("--sid", metavar="SID", help="A name for the statement.")] = "",
    append: Annotated[
        Path | None,
        typer.Option(
            "--append",
            metavar="FILE",
            help="Add the statement to this policy; -: standard input.",
            show_default=False,
        ),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Put it at once.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a policy from its parts: review it, then give it to `put`, or use --apply."""
    from relay.policy.generator import StatementParts  # noqa: PLC0415
    from relay.policy.statements import SEND_ACTIONS  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    parts = StatementParts(
        principal, effect, action or SEND_ACTIONS, [_condition(text) for text in condition or ()], sid
    )
    existing = read_policy(append) if append is not None else ""
    site = open_site(config)
    with site.catalog() as catalog:
        kept = catalog.identities.require(account, identity).identity.name
    text = _generated(name, _arn(site, account, kept), parts, existing, as_json=as_json)
    if apply:
        _put(site, account, kept, name, text, as_json=as_json)
        note(f"{kept} has the policy {name}.")
    if as_json:
        write_json({"account": account, "identity": kept, "policy": name, "document": text, "applied": apply})
    else:
        typer.echo(text)


def _generated(name: str, arn: "IdentityArn", parts: "StatementParts", existing: str, *, as_json: bool) -> str:
    from relay.policy.document import Faults  # noqa: PLC0415
    from relay.policy.generator import generate as written  # noqa: PLC0415

    text = written(name, arn, [parts], existing=existing)
    if isinstance(text, Faults):
        with telling_faults(as_json=as_json):
            raise InvalidPolicyError(text)
    return text


def _condition(text: str) -> tuple[str, str, str]:
    """Return operator, key and value; operator and key may hold a colon themselves."""
    left, equals, value = text.partition("=")
    words = left.split(":")
    if not equals or len(words) < 3:  # noqa: PLR2004 - an operator, and the two words of a key
        raise UsageError(f"{text[:80]!r} is no condition; write one as 'StringLike:ses:FromAddress=news*'.")
    return ":".join(words[:-2]), ":".join(words[-2:]), value


def _put(site: "Site", account: str, identity: str, name: str, text: str, *, as_json: bool) -> str:
    """Store a policy and return the name of its identity as it is kept."""
    with site.catalog() as catalog, telling_faults(as_json=as_json):
        kept = catalog.identities.require(account, identity).identity.name
        catalog.identity_policies.put(account, kept, name, text, site.config.region)
    site.audit("identity.policy.put", account, {"identity": kept, "policy": name, "document": text})
    return kept


def _arn(site: "Site", account: str, name: str) -> "IdentityArn":
    from relay.policy.arn import IdentityArn  # noqa: PLC0415

    return IdentityArn(site.config.region, account, name)


def _state(arn: "IdentityArn", name: str, document: str) -> str:
    """Return what is wrong with a stored policy, "" when it can be read."""
    from relay.policy.document import Faults, parse_identity_policy  # noqa: PLC0415

    read = parse_identity_policy(name, document, arn)
    return f"cannot be read and denies everything ({read.faults[0]})" if isinstance(read, Faults) else ""


def _told(account: str, identity: str, name: str, sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json({"account": account, "identity": identity, "policy": name})
    else:
        typer.echo(sentence)
