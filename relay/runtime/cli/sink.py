"""`relay sink`: a mailbox for development that takes everything, and the DNS of the domains under development."""

from pathlib import Path
from typing import Annotated

import typer

from relay.runtime.cli.options import ConfigOption, JsonOption, read_endpoint

SIZE_MAX_BYTES = 50 * 1024 * 1024


def sink(
    *,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to take mail; port 0 picks a free one.")
    ] = "127.0.0.1:2600",
    maildir: Annotated[Path, typer.Option(metavar="DIR", help="The Maildir that keeps the mails.")] = Path("sink"),
    keep: Annotated[int, typer.Option(min=1, max=1_000_000, help="Mails kept; the oldest go first.")] = 10_000,
    dns: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Answer DNS too: MX and A lead here, TXT has the DKIM keys."),
    ] = "",
    domain: Annotated[
        list[str] | None, typer.Option(metavar="DOMAIN", help="Answer DNS for this domain too; may be repeated.")
    ] = None,
    config: ConfigOption = None,
    tls: Annotated[bool, typer.Option(help="Offer STARTTLS with a certificate made at start.")] = True,
    size_max: Annotated[int, typer.Option(min=1, metavar="BYTES", help="Largest mail taken.")] = SIZE_MAX_BYTES,
    count: Annotated[int, typer.Option(min=0, metavar="N", help="Leave after N mails; 0: at Ctrl-C.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Take every mail and keep it in a Maildir; answer DNS for the domains under development.

    With --dns the domains of the relay's identities (those in the catalog of --config) and of --domain resolve to
    this sink, their DKIM keys are published, every other name does not exist, and the signature of each mail is
    checked with the key fetched over DNS.
    """
    from relay.runtime.cli.sink_run import Wanted, run  # noqa: PLC0415

    run(
        Wanted(
            smtp_at=read_endpoint(listen),
            dns_at=read_endpoint(dns) if dns else None,
            maildir=maildir,
            keep=keep,
            domains=tuple(domain or ()),
            config=config,
            tls=tls,
            size_max_bytes=size_max,
            count=count,
            as_json=as_json,
        )
    )
