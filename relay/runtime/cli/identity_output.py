"""What commands about an identity's records in DNS write, for people and for programs."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from relay.runtime.cli.identity import state_word, zone_line
from relay.runtime.cli.output import note, paint, printable, when, write_fields, write_table

if TYPE_CHECKING:
    from relay.model.check import Check
    from relay.policy.records import Expected, RecordReport
    from relay.store.catalog_identities import IdentityDetails

FOUND_SHOWN_MAX_CHARACTERS = 60
ASPECT_WORDS = {"VERIFICATION": "verification", "DKIM": "DKIM", "MAIL_FROM": "MAIL FROM"}


def fields(details: "IdentityDetails", *, arn: str, policies: Sequence[str]) -> dict[str, object]:
    """Return what an identity is and how its checks stand, for people."""
    identity = details.identity
    is_address = identity.kind == "EMAIL_ADDRESS"
    fields: dict[str, object] = {
        "identity": identity.name,
        "ARN": arn,
        "account": identity.account,
        "kind": "address" if is_address else "domain",
        "verified": "yes" if identity.verified else "no",
        "created": when(identity.created_ms),
    }
    for aspect, standing in details.checks.items():
        by_link = is_address and aspect == "VERIFICATION"
        fields[ASPECT_WORDS[aspect]] = _by_link(standing) if by_link else _standing(standing)
    if details.mail_from_domain:
        fields["MAIL FROM domain"] = details.mail_from_domain
    if details.configuration_set:
        fields["configuration set"] = details.configuration_set
    if policies:
        fields["policies"] = ", ".join(policies)
    if details.tags:
        fields["tags"] = ", ".join(f"{key}={value}" for key, value in details.tags.items())
    return fields


def _by_link(standing: "Check") -> str:
    """Return how the verification of an address stands, which a mailed link decides and not DNS (IDENT-017)."""
    from relay.model.verification import LINK_VALID_MS  # noqa: PLC0415

    text = f"{state_word(standing.state)} since {when(standing.since_ms)}"
    if standing.state != "PENDING":
        return text
    return f"{text}; the mailed link works until {when(standing.since_ms + LINK_VALID_MS)}"


def _standing(standing: "Check") -> str:
    """Return how a check stands, since when, and how it goes on."""
    from relay.policy.checks import ends_ms, is_vouched  # noqa: PLC0415

    parts = [f"{state_word(standing.state)} since {when(standing.since_ms)}"]
    if is_vouched(standing):
        parts.append("by an operator, not looked at in DNS")
    elif standing.checked_ms:
        parts.append(f"last looked at {when(standing.checked_ms)}")
    if ends_ms(standing):
        parts.append(f"fails {when(ends_ms(standing))}")
    if standing.error_text:
        parts.append(f"{standing.error_type}: {standing.error_text}")
    return "; ".join(parts)


def write_reports(reports: "Sequence[RecordReport]") -> None:
    """Write a table of what DNS answers for each record, and a note on each that differs."""
    write_table(
        ("Record", "Type", "In DNS now", "Difference"),
        (
            (
                report.expected.name,
                report.expected.question.kind,
                _short(" | ".join(report.found)) if report.found else "-",
                "none" if report.difference == "published" else _difference(report),
            )
            for report in reports
        ),
        empty="There is nothing to look for in DNS.",
    )
    for report in reports:
        if report.text and not report.expected.also_at:
            note(report.text)


def _difference(report: "RecordReport") -> str:
    return f"{report.difference} (not needed)" if report.expected.also_at else str(report.difference)


def _short(text: str) -> str:
    shown = FOUND_SHOWN_MAX_CHARACTERS
    return text if len(text) <= shown else f"{text[: shown - 3]}..."


def write_needed(wanted: "Iterable[Expected]") -> None:
    """Write the records to publish: name, type and value for a form, and a line for a zone file."""
    above = ""
    for record in wanted:
        title = "Or, instead of DKIM, publish in DNS:" if record.also_at else "Publish in DNS:"
        if title != above:
            typer.echo("")
            typer.echo(paint(title, "bold"))
        above = title
        write_fields({"  name": record.name, "  type": record.kind, "  value": _for_form(record)})
        typer.echo(f"  {paint('zone file', 'dim')}")
        typer.echo(f"  {zone_line(record)}")


def write_diagnosis(report: "RecordReport") -> None:
    """Write what is wrong with one record: what is wanted, and what was found."""
    good = report.difference == "published"
    unneeded = bool(report.expected.also_at) and not good
    sign, colour = ("✓", "green") if good else ("-", "dim") if unneeded else ("✗", "red")
    typer.echo(f"{paint(sign, colour)} {report.expected.name} {report.expected.question.kind}: {report.difference}")
    if unneeded:
        typer.echo("  Only needed to verify the domain without DKIM.")
    if good:
        return
    typer.echo(f"  {printable(report.text)}")
    typer.echo(f"  wanted  {report.expected.value}")
    for value in report.found:
        typer.echo(f"  found   {printable(value)}")


def _for_form(record: "Expected") -> str:
    """Return a value as forms of DNS providers want it: SPF in quotation marks (MFROM-004)."""
    return f'"{record.value}"' if record.value.startswith("v=spf1") else record.value


def write_csv(wanted: "Iterable[Expected]") -> None:
    """Write records as CSV, with names of the columns (IDENT-021)."""
    import csv  # noqa: PLC0415

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("Name", "Type", "Value"))
    writer.writerows((record.name, record.kind, _for_form(record)) for record in wanted)


def record_object(record: "Expected") -> dict[str, Any]:
    """Return a record for programs."""
    return {
        "name": record.name,
        "type": record.kind,
        "value": record.value,
        "aspect": str(record.aspect),
        "required": record.decides and not record.also_at,
    }


def report_object(report: "RecordReport") -> dict[str, Any]:
    """Return a record and what DNS answers for it, for programs."""
    return {
        **record_object(report.expected),
        "difference": str(report.difference),
        "found": list(report.found),
        "errorType": str(report.error_type) or None,
        "text": report.text or None,
    }
