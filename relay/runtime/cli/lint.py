"""`relay lint`: advice about a message before it is sent (DLV-001, DNSBL-004)."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.errors import EX_DATAERR
from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import note, paint, printable, working, write_json_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.mail.lint import Advice
    from relay.runtime.cli.site import Site


def lint(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A whole message [standard input].", show_default=False)
    ] = None,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no block list about links.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what receivers and readers will hold against a message: addresses, parts, links.

    The domains of links are looked up in `own_checks.domain_lists`. Exit code 65 when there is something to mend.
    """
    from relay.mail.lint import lint as advise  # noqa: PLC0415
    from relay.runtime.cli.send_message import INPUT_MAX_BYTES, read_limited  # noqa: PLC0415
    from relay.runtime.cli.site import read_site  # noqa: PLC0415

    content = sys.stdin.buffer.read(INPUT_MAX_BYTES) if file is None or str(file) == "-" else read_limited(file)
    found = advise(content)
    if not offline:
        with working("asking block lists"):
            found += _listed(read_site(config), content)
    if as_json:
        write_json_lines({"rule": one.rule, "subject": one.subject, "advice": one.text} for one in found)
    else:
        for one in found:
            typer.echo(f"{paint(f'{one.rule:<16}', 'yellow')} {printable(one.subject)}: {printable(one.text)}")
        if not found:
            note("Nothing to mend.")
    if found:
        raise typer.Exit(EX_DATAERR)


def _listed(site: "Site", content: bytes) -> "Sequence[Advice]":
    import asyncio  # noqa: PLC0415

    from relay.mail.lint import Advice, linked_domains  # noqa: PLC0415
    from relay.runtime.cli.lookup import asking  # noqa: PLC0415
    from relay.runtime.domain_look import listings  # noqa: PLC0415

    async def ask() -> "list[Advice]":
        found = await listings(asking(site.config).records, linked_domains(content), site.config)
        return [
            Advice(
                "listed-link", domain, f"It is on {each.name}; mail that links to it is refused. {each.about}".strip()
            )
            for domain, each in found
        ]

    return asyncio.run(ask())
