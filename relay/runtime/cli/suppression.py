"""`relay suppression`: addresses an account does not send to."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from relay.errors import EX_DATAERR, UsageError
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import iso, note, when, working, write_json, write_json_lines, write_table

if TYPE_CHECKING:
    from relay.model.account import SuppressionEntry
    from relay.store.suppression import Form, ImportReport

app = typer.Typer(help="Addresses that are not sent to.", no_args_is_help=True)

LIMIT_DEFAULT = 1000
LIMIT_MAX = 100_000_000
LINE_MAX_CHARACTERS = 8192

FormOption = Annotated[str, typer.Option("--format", help="csv or json [by the file's name, else csv].")]


@app.command()
def add(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="Addresses.")],
    *,
    reason: Annotated[str, typer.Option(help="BOUNCE or COMPLAINT.")] = "BOUNCE",
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put addresses on the list; nothing is sent to them from now on."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        catalog.accounts.require(account)
        entries = [catalog.suppression.add(account, address, reason) for address in addresses]
    site.audit("suppression.add", account, {"addresses": addresses, "reason": reason})
    if as_json:
        write_json_lines(as_object(entry) for entry in entries)
    else:
        typer.echo(f"{_addresses(len(entries))} on the list of account {account}.")


@app.command()
def remove(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="Addresses.")],
    *,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
) -> None:
    """Take addresses off the list; mail to them flows again at once."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    site = open_site(config)
    with site.catalog() as catalog:
        for address in addresses:
            catalog.suppression.remove(account, address)
    site.audit("suppression.remove", account, {"addresses": addresses})
    typer.echo(f"{_addresses(len(addresses))} taken off the list of account {account}.")


@app.command("list")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most this many.")] = LIMIT_DEFAULT,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List addresses with reason and time."""
    from itertools import islice  # noqa: PLC0415

    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        catalog.accounts.require(account)
        entries = islice(catalog.suppression.entries(account), limit)
        if as_json:
            write_json_lines(as_object(entry) for entry in entries)
        else:
            write_table(
                ("Address", "Reason", "Since"),
                ((entry.address, entry.reason, when(entry.updated_ms)) for entry in entries),
                empty="The list is empty.",
            )
        total = catalog.suppression.count(account)
    if total > limit:
        note(f"{limit} of {total}; --limit shows more, `relay suppression export` writes all.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSON lines; - reads standard input.")],
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Take the addresses off the list instead.")] = False,
    form: FormOption = "",
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add (or remove) the addresses of a file: "address,REASON" or {"emailAddress": ..., "reason": ...} a line.

    Bad lines are counted and shown, the good ones applied; exit code 65 when there were bad ones. The same file may
    be imported again without harm.
    """
    chosen = _form(form, file)
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with _reading(file) as stream:
        site = open_site(config)
        with site.catalog() as catalog, working("importing"):
            catalog.accounts.require(account)
            report = catalog.suppression.import_lines(account, _lines(stream), chosen, delete=delete)
    change = {"file": str(file), "delete": delete, "processed": report.processed, "failed": report.failed}
    site.audit("suppression.import", account, change)
    _report(report, as_json=as_json)
    if report.failed:
        raise typer.Exit(EX_DATAERR)


@app.command()
def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write; - is standard output.", show_default=True)
    ] = Path("-"),
    *,
    form: FormOption = "",
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
) -> None:
    """Write the whole list in the form that an import reads."""
    chosen = _form(form, file)
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with _writing(file) as stream, open_site(config).catalog() as catalog, working("exporting"):
        catalog.accounts.require(account)
        stream.writelines(catalog.suppression.export(account, chosen))


def _form(given: str, file: Path) -> "Form":
    from relay.store.suppression import Form  # noqa: PLC0415

    name = given or ("json" if file.suffix in (".json", ".jsonl") else "csv")
    if name not in set(Form):
        raise UsageError(f"--format takes csv or json, not {name!r}.")
    return Form(name)


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[TextIO]:
    if str(file) == "-":
        yield sys.stdin
        return
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        yield stream


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[TextIO]:
    if str(file) == "-":
        yield sys.stdout
        return
    with file.open("w", encoding="utf-8") as stream:
        yield stream


def _lines(stream: TextIO) -> Iterator[str]:
    """Yield lines; one that is too long comes in pieces, which count as bad lines."""
    while line := stream.readline(LINE_MAX_CHARACTERS):
        yield line


def _report(report: "ImportReport", *, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "processed": report.processed,
                "changed": report.changed,
                "failed": report.failed,
                "failures": [{"line": line, "error": error} for line, error in report.failures],
            }
        )
        return
    for line, error in report.failures:
        note(f"line {line}: {error}")
    typer.echo(f"{report.processed} good lines, {report.changed} changed the list; {report.failed} refused.")


def _addresses(count: int) -> str:
    return "1 address" if count == 1 else f"{count} addresses"


def as_object(entry: "SuppressionEntry") -> dict[str, Any]:
    """Return an entry for programs, in the form an import reads."""
    return {"emailAddress": entry.address, "reason": entry.reason, "updated": iso(entry.updated_ms)}
