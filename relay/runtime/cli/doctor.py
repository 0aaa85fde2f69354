"""`relay doctor`: look at everything that usually goes wrong, and say the next step for what did."""

from typing import TYPE_CHECKING, Annotated

import typer

from relay.errors import EX_CONFIG, EX_TEMPFAIL
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import paint, printable, working, write_json_lines

if TYPE_CHECKING:
    from relay.runtime.cli.doctor_checks import Check

SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red"), "skipped": ("-", "dim")}
NAME_WIDTH = 20


def doctor(
    *,
    network: Annotated[
        bool, typer.Option("--network", help="Also connect to a mail server on the internet, port 25.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, files, processes, ports, DNS, certificate, clock, spool, scanners and consumers of events.

    Exit code 0 when nothing is wrong (warnings included), 75 when something is, 78 when the configuration is.
    """
    checks = _collect(config, network=network)
    if as_json:
        write_json_lines(
            {"check": one.name, "result": one.result, "detail": one.detail, "next": one.next_step or None}
            for one in checks
        )
    else:
        for one in checks:
            sign, colour = SIGNS[one.result]
            typer.echo(f"{paint(sign, colour)} {one.name:<{NAME_WIDTH}} {printable(one.detail)}")
            if one.next_step:
                typer.echo(f"  {'':<{NAME_WIDTH}} {paint(printable(one.next_step), 'dim')}")
    wrong = [one for one in checks if one.result == "error"]
    if wrong:
        raise typer.Exit(EX_CONFIG if any(one.name == "configuration" for one in wrong) else EX_TEMPFAIL)


def _collect(config: object, *, network: bool) -> "list[Check]":
    from pathlib import Path  # noqa: PLC0415

    from relay.errors import RelayError  # noqa: PLC0415
    from relay.runtime.cli import doctor_checks, doctor_events  # noqa: PLC0415
    from relay.runtime.cli.site import become_run_as, read_site  # noqa: PLC0415

    assert config is None or isinstance(config, Path)
    try:
        site = read_site(config)
    except RelayError as error:
        return [
            doctor_checks.Check("configuration", "error", line, "Correct the file; `relay check` lists every fault.")
            for line in str(error).splitlines()
        ]
    # Certificate, key and ports are looked at with the rights that the start would have, the data without them.
    checks = list(doctor_checks.environment(site))
    become_run_as(site)
    for look in (*doctor_checks.LOOKS, doctor_events.events):
        with working(f"checking {look.__name__.replace('_', ' ')}"):
            checks += doctor_checks.guarded(look, site)
    if network:
        with working("connecting to the internet"):
            checks += doctor_checks.guarded(doctor_checks.outbound_port, site)
    return checks
