"""`relay send`: a real SMTP client for tests by hand and in scripts."""

from pathlib import Path
from typing import Annotated

import typer

from relay.runtime.cli.options import DEFAULT_ACCOUNT, ConfigOption, JsonOption

CONNECTIONS_MAX = 1000
COUNT_MAX = 10_000_000
DEFAULT_BODY = "This is a test message sent by `relay send`.\n"


def send(
    *,
    sender: Annotated[str, typer.Option("--from", metavar="ADDRESS", help="Sender [From of --file].")] = "",
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="ADDRESS", help="Recipient; may be repeated [To of --file].")
    ] = None,
    subject: Annotated[str, typer.Option(help="Subject.")] = "Test message",
    body: Annotated[str, typer.Option(help="Plain text; - reads standard input.")] = DEFAULT_BODY,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="HTML part.", show_default=False)] = None,
    attach: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Attach a file; may be repeated.", show_default=False)
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="Header field; may be repeated.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A whole message, sent as it is; - reads standard input.")
    ] = None,
    host: Annotated[str, typer.Option(help="Server [first submission listener of the configuration].")] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port [587, 465 with --tls implicit].")] = 0,
    tls: Annotated[str, typer.Option(help="starttls, implicit or none.")] = "",
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Believe certificates signed by this one.", show_default=False)
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Believe any certificate.")] = False,
    user: Annotated[str, typer.Option(envvar="RELAY_SMTP_USER", help="SMTP user name.")] = "",
    password: Annotated[
        str, typer.Option(envvar="RELAY_SMTP_PASSWORD", help="SMTP password (others may see it: prefer the file).")
    ] = "",
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File that holds the SMTP password.", show_default=False)
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=COUNT_MAX, help="Send this many messages.")] = 1,
    connections: Annotated[int, typer.Option(min=1, max=CONNECTIONS_MAX, help="Over this many sessions.")] = 1,
    from_address: Annotated[
        str,
        typer.Option(
            "--from-address",
            metavar="IP",
            help="Test a source address: the configured relay sends from it and from no other.",
        ),
    ] = "",
    account: Annotated[
        str, typer.Option("--account", metavar="ID", help="With --from-address: whose credential it is.")
    ] = DEFAULT_ACCOUNT,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Wait this long for each reply.")] = 60.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a message over SMTP and print the server's reply.

    Exit code 0 when every message was accepted for every recipient, 75 when something may be tried again (4xx, no
    connection), 69 when something was refused for good (5xx).
    """
    from relay.runtime.cli import send_run as sending  # noqa: PLC0415

    draft = sending.draft(
        sender=sender,
        to=to or [],
        subject=subject,
        body=body,
        html=html,
        attach=attach or [],
        header=[*sending.pinned(config, from_address, account, host=host, file=file), *(header or [])],
        file=file,
    )
    secret = password_file.read_text().strip() if password_file else password
    server = sending.server(
        config=config,
        host=host,
        port=port,
        tls=tls,
        user=user,
        password=secret,
        timeout_seconds=timeout,
        ca=ca,
        insecure=insecure,
    )
    code = sending.run(server, draft, count, connections, as_json=as_json)
    if code:
        raise typer.Exit(code)
