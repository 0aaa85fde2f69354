"""Commands of `relay identity` about DNS: look now, show and export records, say what is wrong, begin again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import EX_TEMPFAIL, TemporaryError, UsageError
from relay.runtime.cli.authentication import outlook_fields, outlook_object, outlook_of
from relay.runtime.cli.identity import NameArgument, details_object, zone_line
from relay.runtime.cli.identity_output import (
    ASPECT_WORDS,
    fields,
    record_object,
    report_object,
    write_csv,
    write_diagnosis,
    write_needed,
    write_reports,
)
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import note, printable, working, write_fields, write_json, write_json_lines

if TYPE_CHECKING:
    from pathlib import Path

    from relay.model.check import Aspect
    from relay.policy.records import Expected, RecordReport
    from relay.runtime.cli.site import Site
    from relay.store.catalog import Catalog
    from relay.store.catalog_identities import IdentityDetails

LOOK_SECONDS = 12.0  # a person waits


class RecordFormat(StrEnum):
    """How records are written."""

    BIND = "bind"
    JSON = "json"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `relay identity`."""
    for command in (show, verify, check, records, restart):
        app.command()(command)


# --- commands --------------------------------------------------------------------------------------------------


def show(
    name: NameArgument,
    *,
    dns: Annotated[bool, typer.Option("--dns/--no-dns", help="Ask DNS what is published.")] = True,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an identity: its ARN and states, the records to publish, what DNS answers now and what differs."""
    seen = _see(config, account, name)
    reports = _ask(seen.site, seen.records) if dns else ()
    silent = bool(reports) and all(report.difference == "no answer" for report in reports)
    outlook = outlook_of(seen.site, account, seen.details.identity.name) if dns and not silent else None
    if as_json:
        write_json({**_shown_object(seen, reports), "dmarc": outlook_object(outlook) if outlook else None})
        return
    write_fields(
        {
            **fields(seen.details, arn=seen.arn, policies=seen.policies),
            **(outlook_fields(outlook) if outlook else {}),
        }
    )
    if seen.details.warning:
        note(seen.details.warning)
    if reports:
        typer.echo("")
        write_reports(reports)
    write_needed(seen.records)


def verify(
    name: NameArgument,
    *,
    force: Annotated[bool, typer.Option("--force", help="Vouch for it: do not ask DNS, now or later.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look in DNS now, and mark a domain as verified when its records are there; anything with --force.

    Exit code 0 when the identity is verified by what DNS answers, 75 when it is not.
    """
    if force:
        seen = _vouch(config, account, name)
        sentence = ""
    else:
        seen, sentence = _look_now(config, account, name)
    if as_json:
        write_json(details_object(seen.details))
    if sentence:
        raise TemporaryError(sentence)
    if not as_json:
        typer.echo(f"{printable(seen.details.identity.name)} is verified.")


def check(
    name: NameArgument,
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is wrong with the records of an identity in DNS, and what to do about it; nothing is changed.

    Exit code 0 when every record that decides is published, 75 when one is not.
    """
    seen = _see(config, account, name)
    if not seen.records:
        raise UsageError(f"{seen.details.identity.name} has nothing in DNS to look for.")
    reports = _ask(seen.site, seen.records)
    if as_json:
        write_json_lines(report_object(report) for report in reports)
    else:
        for report in reports:
            write_diagnosis(report)
    if _wrong(reports):
        raise typer.Exit(EX_TEMPFAIL)


def records(
    name: NameArgument,
    *,
    form: Annotated[RecordFormat, typer.Option("--format", help="A zone file, JSON, or CSV.")] = RecordFormat.BIND,
    txt: Annotated[bool, typer.Option("--txt", help="Also the token that verifies a domain without DKIM.")] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
) -> None:
    """Write the records to publish for an identity, for copying into a zone file or a form."""
    seen = _see(config, account, name)
    wanted = [record for record in seen.records if txt or not record.also_at]
    if not wanted:
        raise UsageError(f"{seen.details.identity.name} has no records to publish.")
    if form is RecordFormat.JSON:
        write_json_lines(record_object(record) for record in wanted)
    elif form is RecordFormat.CSV:
        write_csv(wanted)
    else:
        for record in wanted:
            typer.echo(zone_line(record))


def restart(
    name: NameArgument,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also what is verified now: mail is refused until it is found again.")
    ] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Begin to look for the records of an identity again, for 72 hours."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        details = catalog.identities.require(account, name)
        kept = details.identity.name
        aspects = [one for one in _aspects(details) if force or not _holds(details, one)]
        if not aspects:
            text = "is verified; --force begins again" if _aspects(details) else "has nothing in DNS to look for"
            raise UsageError(f"{kept} {text}.")
        catalog.checks.start(account, kept, aspects)
        started = catalog.identities.require(account, kept)
    site.audit("identity.restart", account, {"identity": kept, "aspects": [str(one) for one in aspects]})
    if as_json:
        write_json(details_object(started))
    else:
        words = " and ".join(ASPECT_WORDS[one] for one in aspects)
        typer.echo(f"{printable(kept)}: {words} begins again; its records are looked for during 72 hours.")


# --- looking ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """An identity of a relay, the records it wants, and the names of its policies."""

    site: "Site"
    details: "IdentityDetails"
    records: "tuple[Expected, ...]"
    policies: tuple[str, ...] = ()

    @property
    def arn(self) -> str:
        """What other accounts name it by (AUTHZ-024)."""
        from relay.policy.arn import IdentityArn  # noqa: PLC0415

        identity = self.details.identity
        return str(IdentityArn(self.site.config.region, identity.account, identity.name))


def _see(config: "Path | None", account: str, name: str) -> _Seen:
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        seen = _seen(site, catalog.identities.require(account, name))
        policies = catalog.identity_policies.list(account, name)
    return replace(seen, policies=tuple(one.name for one in policies))


def _seen(site: "Site", details: "IdentityDetails") -> _Seen:
    from relay.runtime.identity_look import records_of  # noqa: PLC0415

    return _Seen(site, details, records_of(site.config, details))


def _ask(site: "Site", wanted: "tuple[Expected, ...]") -> "tuple[RecordReport, ...]":
    """Ask DNS for records, with the product's own resolver."""
    import asyncio  # noqa: PLC0415

    from relay.runtime.cli.lookup import asking  # noqa: PLC0415
    from relay.runtime.identity_look import look  # noqa: PLC0415

    resolver = asking(site.config)
    with working("asking DNS"):
        return asyncio.run(look(resolver.records, wanted, seconds=LOOK_SECONDS))


def _vouch(config: "Path | None", account: str, name: str) -> _Seen:
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        details = catalog.identities.set_verified(account, name)
        if details.identity.kind == "EMAIL_ADDRESS":
            catalog.verifications.settle(account, details.identity.name)
        site.audit("identity.verify", account, {"identity": details.identity.name, "force": True})
        return _seen(site, details)


def _look_now(config: "Path | None", account: str, name: str) -> tuple[_Seen, str]:
    """Look, keep what was found, and return the identity as it is then, with what is wrong or ""."""
    import random  # noqa: PLC0415
    import time  # noqa: PLC0415

    from relay.model.check import Aspect  # noqa: PLC0415
    from relay.policy.checks import Result  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.identity_look import dns_checks, letters, looked_at  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        seen = _seen(site, _with_started_checks(catalog, account, name))
        reports = _ask(site, seen.records)
        done = looked_at(seen.details, dns_checks(seen.details), reports)
        catalog.checks.settle([done], letters(site.config, int(time.time() * 1000)), random.random)
        seen = _seen(site, catalog.identities.require(account, name))
    finding = done.findings.get(Aspect.VERIFICATION) or next(iter(done.findings.values()))
    if finding.result is Result.FOUND:
        return seen, ""
    kept = seen.details.identity.name
    standing = "stays verified" if seen.details.identity.verified else "is not verified"
    return seen, f"{finding.text} {kept} {standing}; `relay identity check {kept}` says what to do."


def _with_started_checks(catalog: "Catalog", account: str, name: str) -> "IdentityDetails":
    """Return an identity whose checks are under way: whoever asks to verify it wants them begun."""
    from relay.model.check import Aspect, CheckState  # noqa: PLC0415

    details = catalog.identities.require(account, name)
    aspects = _aspects(details)
    if not aspects:
        raise UsageError(f"{details.identity.name} has nothing in DNS to look for; use --force.")
    over = (CheckState.FAILED, CheckState.NOT_STARTED)
    idle = [one for one in aspects if details.state(one) in over and one is not Aspect.MAIL_FROM]
    if idle:
        catalog.checks.start(account, details.identity.name, idle)
    return catalog.identities.require(account, name)


def _aspects(details: "IdentityDetails") -> "list[Aspect]":
    """Return what of an identity is looked for in DNS."""
    from relay.model.check import Aspect  # noqa: PLC0415

    found = []
    if details.identity.kind == "DOMAIN":
        found.append(Aspect.VERIFICATION)
        if details.keys:
            found.append(Aspect.DKIM)
    if details.mail_from_domain:
        found.append(Aspect.MAIL_FROM)
    return found


def _holds(details: "IdentityDetails", aspect: "Aspect") -> bool:
    standing = details.checks.get(aspect)
    return standing is not None and standing.holds


def _wrong(reports: "Iterable[RecordReport]") -> bool:
    from relay.policy.checks import Result  # noqa: PLC0415
    from relay.policy.record_judgement import findings  # noqa: PLC0415

    return any(finding.result is not Result.FOUND for finding in findings(reports).values())


def _shown_object(seen: _Seen, reports: "Sequence[RecordReport]") -> dict[str, Any]:
    """Return an identity with its records and what DNS answers, when it was asked."""
    listed = [report_object(report) for report in reports] or [record_object(record) for record in seen.records]
    token = {record.name for record in seen.records if record.also_at}
    return {
        **details_object(seen.details),
        "arn": seen.arn,
        "policies": list(seen.policies),
        "records": [one for one in listed if one["name"] not in token],
        "alternative": next((one for one in listed if one["name"] in token), None),
    }
