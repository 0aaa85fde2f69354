"""`relay suppression import|export|jobs`: whole lists from and to files."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TextIO

import typer

from relay.errors import EX_DATAERR, UsageError
from relay.runtime.cli.options import DEFAULT_ACCOUNT, AccountOption, ConfigOption, JsonOption
from relay.runtime.cli.output import (
    console,
    iso,
    note,
    when,
    working,
    write_fields,
    write_json,
    write_json_lines,
    write_table,
)

if TYPE_CHECKING:
    from relay.model.import_job import ImportJob
    from relay.store.suppression import Form
    from relay.store.suppression_import import Read

jobs = typer.Typer(help="Imports, those that wait, run and ended.", no_args_is_help=True)

JOBS_DEFAULT = 20
JOBS_MAX = 1000

FormOption = Annotated[str, typer.Option("--format", help="csv or json [by the file's name, else csv].")]


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSON lines; - reads standard input.")],
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Take the addresses off the list instead.")] = False,
    form: FormOption = "",
    background: Annotated[
        bool, typer.Option("--background", help="Let the running relay do it; see `relay suppression jobs show`.")
    ] = False,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add (or remove) the addresses of a file: "address,REASON" or {"emailAddress": ..., "reason": ...} a line.

    Bad lines are counted, shown and kept in a file, and the good ones applied; exit code 65 when there were bad ones.
    The same file may be imported again without harm.
    """
    from relay.model.import_job import ImportAction  # noqa: PLC0415
    from relay.policy.suppression import refuse_in_sandbox  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.store.suppression_import import read_lines  # noqa: PLC0415

    chosen, action = _form(form, file), ImportAction.DELETE if delete else ImportAction.PUT
    read: Read | None = None
    with _reading(file) as stream:
        site = open_site(config)
        with site.catalog() as catalog:
            refuse_in_sandbox(catalog.accounts.require(account))
            kept = catalog.import_jobs
            if background:
                job = kept.create_for_later(account, action, chosen, str(file), stream)
            else:
                job = kept.create(account, action, chosen, str(file))
                with _telling() as tell:
                    read = kept.run(job, read_lines(stream), tell)
            job = kept.get(job.job_id)
            failures = kept.failures(job)
    change = {"file": str(file), "delete": delete, "job": job.job_id}
    site.audit("suppression.import", account, change | {"processed": job.processed, "failed": job.failed})
    _report(job, read, failures, as_json=as_json)
    if job.failed:
        raise typer.Exit(EX_DATAERR)


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
        stream.writelines(catalog.suppression.export_lines(account, chosen))


@jobs.command("list")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, max=JOBS_MAX, help="At most this many.")] = JOBS_DEFAULT,
    account: AccountOption = DEFAULT_ACCOUNT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List imports of an account, newest first; they are forgotten 30 days after their end."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        catalog.accounts.require(account)
        kept = catalog.import_jobs
        found = [(job, kept.failures(job)) for job in kept.page(account, limit)]
    if as_json:
        write_json_lines(as_object(job, failures) for job, failures in found)
        return
    write_table(
        ("Job", "Action", "State", "Created", "Processed", "Failed", "File"),
        (
            (job.job_id, job.action, job.state, when(job.created_ms), job.processed, job.failed, job.source)
            for job, _ in found
        ),
        empty="There are no imports.",
    )


@jobs.command()
def show(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The id of the import.")],
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far an import is, or how it ended."""
    from relay.runtime.cli.site import open_site  # noqa: PLC0415

    with open_site(config).catalog() as catalog:
        job = catalog.import_jobs.get(job_id)
        failures = catalog.import_jobs.failures(job)
    if as_json:
        write_json(as_object(job, failures))
        return
    write_fields(
        {
            "job": job.job_id,
            "account": job.account,
            "action": job.action,
            "state": job.state,
            "file": job.source,
            "created": when(job.created_ms),
            "completed": when(job.completed_ms),
            "processed": job.processed,
            "changed": job.changed,
            "failed": job.failed,
            "failed rows": failures or "-",
            "error": job.error or "-",
        }
    )


def as_object(job: "ImportJob", failures: Path | None) -> dict[str, Any]:
    """Return a job for programs, with the members of SUPP-026."""
    info = {"FailedRecordsS3Url": str(failures) if failures else None, "ErrorMessage": job.error or None}
    return {
        "JobId": job.job_id,
        "ImportDestination": {"SuppressionListDestination": {"SuppressionListImportAction": str(job.action)}},
        "ImportDataSource": {"S3Url": job.source, "DataFormat": job.form.upper()},
        "JobStatus": str(job.state),
        "CreatedTimestamp": iso(job.created_ms),
        "CompletedTimestamp": iso(job.completed_ms),
        "ProcessedRecordsCount": job.processed,
        "FailedRecordsCount": job.failed,
        **({"FailureInfo": info} if any(info.values()) else {}),
    }


def _form(given: str, file: Path) -> "Form":
    from relay.store.suppression import Form  # noqa: PLC0415

    name = given or ("json" if file.suffix in (".json", ".jsonl") else "csv")
    if name not in set(Form):
        raise UsageError(f"--format takes csv or json, not {name!r}.")
    return Form(name)


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    with file.open("rb") as stream:
        yield stream


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[TextIO]:
    if str(file) == "-":
        yield sys.stdout
        return
    with file.open("w", encoding="utf-8") as stream:
        yield stream


@contextlib.contextmanager
def _telling() -> Iterator[Callable[[str, int], object]]:
    """Show how far an import is, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _what, _rows: None
        return
    with console(stderr=True).status("reading") as status:
        yield lambda what, rows: status.update(f"{what}, {rows:,} rows")


def _report(job: "ImportJob", read: "Read | None", failures: Path | None, *, as_json: bool) -> None:
    bad = read.failures if read else []
    if as_json:
        write_json(
            {
                "jobId": job.job_id,
                "jobStatus": str(job.state),
                "processed": job.processed,
                "changed": job.changed,
                "failed": job.failed,
                "failures": [{"line": line, "error": error} for line, error in bad],
                "failedRecords": str(failures) if failures else None,
            }
        )
        return
    if read is None:
        typer.echo(f"Import {job.job_id} waits for the relay; `relay suppression jobs show {job.job_id}` follows it.")
        return
    for line, error in bad:
        note(f"line {line}: {error}")
    if failures:
        note(f"All refused lines are in {failures}.")
    typer.echo(f"{job.processed} good lines, {job.changed} changed the list; {job.failed} refused.")
