"""`relay check`: is the configuration right, and can this machine do what it says."""

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import EX_CONFIG
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import paint, printable, write_json

if TYPE_CHECKING:
    from relay.runtime.cli.site import Site
    from relay.runtime.config.faults import Finding
    from relay.runtime.config.model import Config


def check(
    *,
    ports: Annotated[bool, typer.Option(help="Try the ports too (not those of this relay while it runs).")] = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the configuration and what it needs of this machine; list every fault at once.

    Exit code 0 when the relay can start, 78 when it cannot. Warnings do not count.
    """
    from relay.runtime.cli.site import read_site  # noqa: PLC0415
    from relay.runtime.config.faults import InvalidConfigurationError  # noqa: PLC0415

    try:
        site = read_site(config)
    except InvalidConfigurationError as error:
        _write(list(error.findings), None, as_json=as_json)
        raise typer.Exit(EX_CONFIG) from None
    findings = findings_of(site, ports=ports)
    _write(findings, site, as_json=as_json)
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(EX_CONFIG)


def findings_of(site: "Site", *, ports: bool) -> "list[Finding]":
    """Return what this machine has against a configuration; its own ports are not tried while it runs."""
    from relay.runtime.cli.processes import is_running  # noqa: PLC0415
    from relay.runtime.config import environment  # noqa: PLC0415

    now_ms = time.time_ns() // 1_000_000
    return environment.check(site.loaded, now_ms=now_ms, ports=ports and not is_running(site))


def _write(findings: "list[Finding]", site: "Site | None", *, as_json: bool) -> None:
    faults = [finding for finding in findings if finding.severity == "error"]
    if as_json:
        write_json({"ok": not faults, "findings": [_as_object(finding) for finding in findings]})
        return
    for finding in findings:
        colour = "red" if finding.severity == "error" else "yellow"
        typer.echo(f"{paint(finding.severity, colour)}  {printable(finding)}")
    if faults or site is None:
        typer.echo(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}; the relay cannot start.")
    else:
        typer.echo(f"{paint('ok', 'green')}  {printable(site.loaded.file)}: {summary(site.config)}")


def summary(config: "Config") -> str:
    """One line about a configuration."""
    listeners = ", ".join(f"{one.kind} {one.address}:{one.port}" for one in config.listeners)
    workers = config.worker_count(len(os.sched_getaffinity(0)))
    count = "1 worker" if workers == 1 else f"{workers} workers"
    return f"{config.hostname}, {count}, data in {config.data_dir}; {listeners}"


def _as_object(finding: "Finding") -> dict[str, Any]:
    return {
        "severity": finding.severity,
        "file": finding.file,
        "line": finding.line or None,
        "key": finding.key or None,
        "text": finding.text,
    }
