"""`relay configuration-set`: rules that mail can be sent with (CFG-001 to CFG-017)."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.runtime.cli.configuration_set_options import (
    EngagedOption,
    EngagementOption,
    HttpsOption,
    MetricsOption,
    NameArgument,
    OptimizedOption,
    PoolOption,
    PriorityOption,
    ReasonsOption,
    RedirectOption,
    SecondsOption,
    SendingOption,
    TagOption,
    TlsOption,
    WeightOption,
)
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, when, write_fields, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.configuration_set import ConfigurationSet

app = typer.Typer(help="Configuration sets: rules that mail is sent with.", no_args_is_help=True)


@app.command()
def create(
    name: NameArgument,
    *,
    sending: SendingOption = None,
    reputation_metrics: MetricsOption = None,
    tls: TlsOption = None,
    pool: PoolOption = None,
    max_delivery_seconds: SecondsOption = None,
    suppressed_reasons: ReasonsOption = None,
    redirect_domain: RedirectOption = None,
    https: HttpsOption = None,
    priority: PriorityOption = None,
    weight: WeightOption = None,
    engaged: EngagedOption = None,
    engagement_metrics: EngagementOption = None,
    optimized_delivery: OptimizedOption = None,
    tag: TagOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a configuration set; messages name it with the header X-SES-CONFIGURATION-SET."""
    from relay.model.configuration_set import ConfigurationSet  # noqa: PLC0415
    from relay.runtime.cli.identity import read_tags  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    wanted = _changed(
        ConfigurationSet(account, name),
        sending_enabled=sending,
        reputation_metrics=reputation_metrics,
        tls_policy=tls,
        sending_pool=pool,
        max_delivery_seconds=max_delivery_seconds,
        suppressed_reasons=suppressed_reasons,
        redirect_domain=redirect_domain,
        https_policy=https,
        priority=priority,
        weight=weight,
        engaged=engaged,
        engagement_metrics=engagement_metrics,
        optimized_delivery=optimized_delivery,
    )
    site = open_site(config)
    with site.catalog() as catalog:
        made = catalog.configuration_sets.create(wanted, read_tags(tag))
    site.audit("configuration-set.create", account, as_object(made))
    _told(made, f"Configuration set {name} created.", as_json=as_json)


@app.command("set")
def set_(
    name: NameArgument,
    *,
    sending: SendingOption = None,
    reputation_metrics: MetricsOption = None,
    tls: TlsOption = None,
    pool: PoolOption = None,
    max_delivery_seconds: SecondsOption = None,
    suppressed_reasons: ReasonsOption = None,
    redirect_domain: RedirectOption = None,
    https: HttpsOption = None,
    priority: PriorityOption = None,
    weight: WeightOption = None,
    engaged: EngagedOption = None,
    engagement_metrics: EngagementOption = None,
    optimized_delivery: OptimizedOption = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is given; it holds for messages submitted from now on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        wanted = _changed(
            catalog.configuration_sets.require(account, name),
            sending_enabled=sending,
            reputation_metrics=reputation_metrics,
            tls_policy=tls,
            sending_pool=pool,
            max_delivery_seconds=max_delivery_seconds,
            suppressed_reasons=suppressed_reasons,
            redirect_domain=redirect_domain,
            https_policy=https,
            priority=priority,
            weight=weight,
            engaged=engaged,
            engagement_metrics=engagement_metrics,
            optimized_delivery=optimized_delivery,
        )
        made = catalog.configuration_sets.update(wanted)
    site.audit("configuration-set.set", account, as_object(made))
    _told(made, f"Configuration set {name} changed.", as_json=as_json)


@app.command("list")
def list_(
    *, account: AccountOption = DEFAULT_ACCOUNT, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the configuration sets of an account."""
    from relay.runtime.cli.paging import all_pages  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        sets = catalog.configuration_sets
        found = list(all_pages(lambda after: sets.list(account, after=after), lambda one: one.name))
    if as_json:
        write_json_lines(as_object(one) for one in found)
        return
    write_table(
        ("Name", "Sending", "TLS", "Pool", "Created"),
        (
            (
                one.name,
                "yes" if one.sending_enabled else "no",
                one.tls_policy,
                one.sending_pool or "-",
                when(one.created_ms),
            )
            for one in found
        ),
        empty=f"Account {account} has no configuration sets.",
    )


@app.command()
def show(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a configuration set, its tags, and the identities whose default it is."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        found = catalog.configuration_sets.require(account, name)
        tags = catalog.configuration_sets.tags(account, name)
        identities = catalog.configuration_sets.default_of(account, name)
    if as_json:
        write_json({**as_object(found), "tags": tags, "defaultOf": list(identities)})
        return
    write_fields(
        {
            "name": found.name,
            "account": found.account,
            "sending": "yes" if found.sending_enabled else "no",
            "enforcement": found.enforcement,
            "TLS": found.tls_policy,
            "longest delivery": f"{found.max_delivery_seconds} s" if found.max_delivery_seconds else "as all mail",
            "suppressed reasons": _reasons_text(found.suppressed_reasons),
            "pool": found.sending_pool or "-",
            "reputation metrics": "yes" if found.reputation_metrics else "no",
            "last fresh start": when(found.fresh_start_ms),
            "redirect domain": found.redirect_domain or "-",
            "HTTPS": found.https_policy,
            "priority": found.priority,
            "weight": found.weight,
            "engaged recipients": "yes" if found.engaged else "no",
            "engagement metrics": _state_text(found.engagement_metrics) or "as the account",
            "optimized delivery": _state_text(found.optimized_delivery) or "as the account",
            "default of": ", ".join(identities) or "-",
            "tags": ", ".join(f"{key}={value}" for key, value in tags.items()) or "-",
            "created": when(found.created_ms),
        }
    )


@app.command()
def delete(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a configuration set; identities whose default it is are refused until they get another."""
    from relay.runtime.cli.output import note  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        identities = catalog.configuration_sets.default_of(account, name, limit=SHOWN_MAX)
        catalog.configuration_sets.delete(account, name)
    site.audit("configuration-set.delete", account, {"name": name})
    if as_json:
        write_json({"account": account, "name": name, "defaultOf": list(identities)})
        return
    typer.echo(f"Configuration set {name} is deleted.")
    if identities:
        note(
            f"Mail from {', '.join(identities)} is refused from now on: choose another default with "
            "`relay configuration-set default`."
        )


@app.command()
def default(
    identity: Annotated[str, typer.Argument(metavar="IDENTITY", help="A domain or address of the account.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The configuration set; none: no default.")] = "",
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the configuration set of mail from an identity that names none."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        kept = catalog.identities.require(account, identity).identity.name
        catalog.configuration_sets.set_default(account, kept, name)
    site.audit("configuration-set.default", account, {"identity": kept, "name": name})
    if as_json:
        write_json({"account": account, "identity": kept, "configurationSet": name or None})
    else:
        typer.echo(f"The default configuration set of {kept} is {name}." if name else f"{kept} has no default now.")


@app.command()
def tag(
    name: NameArgument,
    tags: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Tags to add or replace.")] = None,
    *,
    remove: Annotated[list[str] | None, typer.Option("--remove", metavar="KEY", help="A tag to remove.")] = None,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add and remove tags, all or none of them; show those there are."""
    from relay.runtime.cli.identity import read_tags  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    add = read_tags(tags)
    site = open_site(config)
    with site.catalog() as catalog:
        kept = catalog.configuration_sets.change_tags(account, name, add, remove or ())
    if add or remove:
        site.audit("configuration-set.tag", account, {"name": name, "add": add, "remove": remove})
    if as_json:
        write_json({"account": account, "name": name, "tags": kept})
        return
    write_table(("Key", "Value"), kept.items(), empty=f"Configuration set {name} has no tags.")


SHOWN_MAX = 5


def _changed(one: "ConfigurationSet", **given: Any) -> "ConfigurationSet":
    """Return a set with the options that were given. Raise UsageError for words that are none."""
    from relay.model.configuration_set import HttpsPolicy, Priority, TlsPolicy  # noqa: PLC0415

    changes = {name: value for name, value in given.items() if value is not None}
    if "tls_policy" in changes:
        changes["tls_policy"] = _word(TlsPolicy, changes["tls_policy"], "TLS policy")
    if "https_policy" in changes:
        changes["https_policy"] = _word(HttpsPolicy, changes["https_policy"], "HTTPS policy")
    if "priority" in changes:
        changes["priority"] = _word(Priority, changes["priority"], "priority")
    for name in ("engagement_metrics", "optimized_delivery"):
        if name in changes:
            changes[name] = _state(changes[name], name.replace("_", " "))
    if "suppressed_reasons" in changes:
        changes["suppressed_reasons"] = _reasons(changes["suppressed_reasons"])
    return replace(one, **changes)


def _word(kind: Any, text: str, what: str) -> Any:
    from relay.errors import UsageError  # noqa: PLC0415

    try:
        return kind(text.upper())
    except ValueError:
        raise UsageError(f"A {what} is one of {', '.join(kind)}, not {text[:80]!r}.") from None


def _state(text: str, what: str) -> bool | None:
    """Return a switch of VdmOptions, None where the account decides (VDM-003)."""
    from relay.errors import UsageError  # noqa: PLC0415

    states = {"ENABLED": True, "DISABLED": False, "ACCOUNT": None}
    if text.upper() not in states:
        raise UsageError(f"{what.capitalize()} are ENABLED, DISABLED or `account`, not {text[:80]!r}.")
    return states[text.upper()]


def _state_text(state: bool | None) -> str | None:  # noqa: FBT001 (three states, not a switch)
    return None if state is None else "ENABLED" if state else "DISABLED"


def _reasons(text: str) -> tuple[str, ...] | None:
    if text.lower() == "account":
        return None
    if text.lower() == "none":
        return ()
    return tuple(dict.fromkeys(part.strip().upper() for part in text.split(",")))


def _reasons_text(reasons: tuple[str, ...] | None) -> str:
    return "as the account" if reasons is None else ", ".join(reasons) or "none"


def _told(one: "ConfigurationSet", sentence: str, *, as_json: bool) -> None:
    if as_json:
        write_json(as_object(one))
    else:
        typer.echo(sentence)


def as_object(one: "ConfigurationSet") -> dict[str, Any]:
    """Return a configuration set for programs."""
    return {
        "account": one.account,
        "name": one.name,
        "sendingEnabled": one.sending_enabled,
        "tlsPolicy": str(one.tls_policy),
        "sendingPool": one.sending_pool or None,
        "maxDeliverySeconds": one.max_delivery_seconds or None,
        "suppressedReasons": None if one.suppressed_reasons is None else list(one.suppressed_reasons),
        "reputationMetrics": one.reputation_metrics,
        "lastFreshStart": iso(one.fresh_start_ms),
        "enforcement": str(one.enforcement),
        "redirectDomain": one.redirect_domain or None,
        "httpsPolicy": str(one.https_policy),
        "priority": str(one.priority),
        "weight": one.weight,
        "engaged": one.engaged,
        "engagementMetrics": _state_text(one.engagement_metrics),
        "optimizedDelivery": _state_text(one.optimized_delivery),
        "created": iso(one.created_ms),
    }
