"""`relay init`: a directory with a configuration, a certificate, keys, a first account and its credentials."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.runtime.cli.options import JsonOption
from relay.runtime.cli.output import note, working, write_fields, write_json

if TYPE_CHECKING:
    from relay.runtime.setup import InitResult


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to make it; may exist.")],
    *,
    hostname: Annotated[str, typer.Option(help="The relay's own name [the machine's].")] = "",
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Start with the sandbox limits.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Queue and catalog [DIR/data].", show_default=False)
    ] = None,
    run_as: Annotated[str, typer.Option(metavar="USER", help="User to become when root starts it.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a relay: configuration, self-signed certificate, keys, the first account and its credentials.

    It listens on loopback and unprivileged ports. The credentials are shown now and never again.
    """
    from relay.runtime.setup import init as make  # noqa: PLC0415

    with working("making keys"):
        result = make(directory, hostname=hostname, sandbox=sandbox, data_dir=data_dir, run_as=run_as)
    if as_json:
        write_json(result.as_json())
    else:
        _tell(result)


def _tell(result: "InitResult") -> None:
    made = result.credentials
    write_fields(
        {
            "configuration": result.config,
            "certificate": f"{result.certificate} (self-signed)",
            "account": made.account,
            "SMTP user name": made.smtp_username,
            "SMTP password": made.smtp_password,
            "access key id": made.access_key_id,
            "secret access key": made.access_key_secret,
        }
    )
    note("Keep the password and the secret now: they cannot be shown again.")
    note(f"Next: relay serve -c {result.config}")
    note(f"      relay identity create example.com -c {result.config}")
