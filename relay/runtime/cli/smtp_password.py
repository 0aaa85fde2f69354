"""`relay smtp-password`: the SMTP password that belongs to an access key's secret (CRED-007)."""

import sys
from typing import Annotated

import typer

STANDARD_INPUT = "-"


def smtp_password(
    secret: Annotated[str, typer.Argument(help="The secret access key; - reads it from standard input.")],
    region: Annotated[str, typer.Argument(help="The region it is for; any name.")],
) -> None:
    """Print the SMTP password of an access key for a region, and nothing else.

    The SMTP user name is the access key's id. Arguments are visible to other users of the machine while the
    command runs: give - and pipe the secret in where that matters.
    """
    from relay.signing import secrets  # noqa: PLC0415

    given = sys.stdin.readline().strip() if secret == STANDARD_INPUT else secret
    typer.echo(secrets.smtp_password(given, region))
