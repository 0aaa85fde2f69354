"""`relay shaping`: what is known of receivers; `shaping_lanes` says why a lane is slow, `shaping_try` what if."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import EX_CONFIG, UsageError
from relay.runtime.cli import shaping_lanes, shaping_try
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import (
    note,
    printable,
    write_fields,
    write_json,
    write_json_lines,
    write_table,
)
from relay.runtime.cli.shaping_try import FileArgument

if TYPE_CHECKING:
    from relay.schedule.shaping_rules import ProviderRules, Response

app = typer.Typer(help="How much each receiver bears, and what its replies mean.", no_args_is_help=True)


@app.command("list")
def list_(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="One provider, with all its rules.")] = "",
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the providers that are known, or show the rules of one."""
    from relay.runtime.cli.site import read_site  # noqa: PLC0415
    from relay.runtime.shaping import load_rules  # noqa: PLC0415

    site = read_site(config)
    if not site.config.shaping.enabled:
        note("Shaping is off (shaping.enabled): no rule is used.")
    rules = load_rules(site.config.shaping).providers
    if name:
        if name not in rules:
            raise UsageError(f"There are no rules named {name}; `relay shaping list` names all.")
        _show(rules[name], as_json=as_json)
        return
    found = [rules[key] for key in sorted(rules)]
    if as_json:
        write_json_lines(_provider(one) for one in found)
        return
    rows = [
        (one.name, ", ".join((*one.hosts, *one.domains)) or "everybody", _limits(one), len(one.responses))
        for one in found
    ]
    write_table(("Provider", "Hosts and domains", "Limits", "Replies"), rows, empty="There are no rules.")


@app.command()
def check(file: FileArgument, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check a file with rules, together with those in force; list every fault at once.

    Exit code 0 when it can be used, 78 when it cannot.
    """
    from relay.runtime.cli.site import read_site  # noqa: PLC0415
    from relay.runtime.shaping import InvalidRulesError, load_rules, read_file  # noqa: PLC0415

    try:
        load_rules(read_site(config).config.shaping, [file])
    except InvalidRulesError as error:
        findings = list({str(one): one for one in error.findings}.values())  # the file may be in force itself
        if as_json:
            write_json({"ok": False, "findings": [_finding(one) for one in findings]})
        else:
            for one in findings:
                typer.echo(f"error  {printable(one)}")
            typer.echo(f"{len(findings)} {'fault' if len(findings) == 1 else 'faults'}.")
        raise typer.Exit(EX_CONFIG) from None
    made = read_file(file).rules
    assert made is not None
    if as_json:
        write_json({"ok": True, "findings": [], "provider": made.name, "responses": len(made.responses)})
    else:
        rules = "1 rule" if len(made.responses) == 1 else f"{len(made.responses)} rules"
        typer.echo(f"ok  {printable(file)}: {made.name}, {rules} about replies")


app.command()(shaping_lanes.explain)
app.command()(shaping_lanes.lift)
app.command("try")(shaping_try.try_)


def _limits(one: "ProviderRules") -> str:
    return ", ".join(f"{name} {value}" for name, value in one.limits.given.items()) or "-"


def _provider(one: "ProviderRules") -> "dict[str, Any]":
    return {
        "name": one.name,
        "about": one.about,
        "file": one.file,
        "source": one.source or None,
        "hosts": list(one.hosts),
        "domains": list(one.domains),
        "routes": list(one.routes),
        "rollup": one.rollup,
        "limits": one.limits.given,
        "exceptions": [
            {"source": each.source or None, "pool": each.pool or None, "limits": each.limits.given}
            for each in one.exceptions
        ],
        "responses": [_response(each) for each in one.responses],
    }


def _response(one: "Response") -> "dict[str, Any]":
    return {
        "name": one.name,
        "about": one.about,
        "source": one.source or None,
        "codes": sorted(one.codes),
        "enhanced": list(one.enhanced),
        "stages": sorted(one.stages),
        "text": list(one.texts),
        "effects": [str(effect) for effect in one.effects],
        "retryAfter": one.wait_seconds or None,
        "retry": one.retries,
        "blocklist": one.blocklist or None,
        "examples": list(one.examples),
    }


def _show(one: "ProviderRules", *, as_json: bool) -> None:
    if as_json:
        write_json(_provider(one))
        return
    write_fields(
        {
            "provider": one.name,
            "about": one.about,
            "file": one.file,
            "source": one.source or "-",
            "hosts": ", ".join(one.hosts) or "-",
            "domains": ", ".join(one.domains) or "-",
            "limits": _limits(one),
            "shared": "by all its destinations" if one.rollup else "by none: each set of hosts has its own",
        }
    )
    typer.echo("")
    rows = [(each.name, each.about, _doing(each)) for each in one.responses]
    write_table(("Rule", "Means", "Does"), rows, empty="It has no rules about replies of its own.")


def _doing(one: "Response") -> str:
    parts = [str(effect) for effect in one.effects]
    parts += [f"try again after {one.wait_seconds:g} s"] if one.wait_seconds else []
    parts += [f"up to {one.retries} more attempts"] if one.retries else []
    return "; ".join(parts) or "name the list"


def _finding(one: "Any") -> "dict[str, Any]":
    return {"file": one.file, "line": one.line or None, "key": one.key or None, "text": one.text}
