"""`relay topic verify` and `certificate`: is this notification ours, and what it is signed with (TOPIC-112, 113)."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from relay.runtime.cli.options import ConfigOption, JsonOption
from relay.runtime.cli.output import iso, when, write_fields, write_json

BODY_MAX_BYTES = 4 << 20


def register(app: typer.Typer) -> None:
    """Add these commands to `relay topic`."""
    app.command("verify")(verify)
    app.command("certificate")(certificate)


def verify(
    body: Annotated[Path, typer.Argument(metavar="FILE", help="The body of a notification; -: standard input.")],
    *,
    certificate_file: Annotated[
        Path | None,
        typer.Option("--certificate", metavar="FILE", help="Verify with this certificate, without a relay."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a notification was signed by this relay; leaves with 65 when it was not."""
    from relay.errors import EX_DATAERR  # noqa: PLC0415
    from relay.signing.notification import verify as fault_of  # noqa: PLC0415

    data = sys.stdin.buffer.read(BODY_MAX_BYTES) if str(body) == "-" else body.read_bytes()[:BODY_MAX_BYTES]
    fields = _fields(data)
    if fields is None:
        fault = "it is not a JSON object"
    elif certificate_file is not None:
        fault = fault_of(fields, certificate_file.read_bytes())
    else:
        found, fault = _certificate_of(fields, config)
        fault = fault or fault_of(fields, found)
    if as_json:
        write_json({"valid": not fault, "reason": fault or None})
    else:
        typer.echo(f"The signature is not good: {fault}." if fault else "The signature is good.")
    if fault:
        raise typer.Exit(EX_DATAERR)


def certificate(
    *,
    authority: Annotated[bool, typer.Option("--authority", help="Write that of the relay's own authority.")] = False,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new key and certificate first.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the certificate that notifications are signed with, as PEM; make it when there is none yet."""
    import time  # noqa: PLC0415

    from relay.events.envelope import certificate_url  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.topic_keys import TopicKeys  # noqa: PLC0415

    site = open_site(config)
    keys = TopicKeys(site.data_dir, site.config.hostname)
    now_ms = time.time_ns() // 1_000_000
    signer = keys.signer(site.config, now_ms)
    if rotate:
        signer = keys.rotate(now_ms)
        site.audit("topic.certificate.rotate", "", {"certificate": signer.name})
    state = keys.state()
    if as_json:
        write_json(
            {
                "certificate": signer.name,
                "url": certificate_url(site.config.http.public_url, signer.name),
                "origin": state.origin,
                "since": iso(state.since_ms),
                "retired": [{"certificate": name, "since": iso(ms)} for name, ms in state.retired.items()],
            }
        )
    elif authority:
        typer.echo((keys.authority() or b"").decode().rstrip("\n"))
    elif sys.stdout.isatty():
        url = certificate_url(site.config.http.public_url, signer.name)
        write_fields({"certificate": signer.name, "address": url, "signs since": when(state.since_ms)})
    else:
        typer.echo(signer.certificate.decode().rstrip("\n"))


def _fields(data: bytes) -> dict[str, str] | None:
    import json  # noqa: PLC0415

    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return {name: value for name, value in read.items() if isinstance(value, str)} if isinstance(read, dict) else None


def _certificate_of(fields: dict[str, str], config: Path | None) -> tuple[bytes, str]:
    """Return the certificate that a body names, of this relay only, or why there is none."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.topic_keys import TopicKeys  # noqa: PLC0415
    from relay.signing.notification import cert_url_fault  # noqa: PLC0415

    site = open_site(config)
    url = fields.get("SigningCertURL", "")
    fault = cert_url_fault(url, urlsplit(site.config.http.public_url).netloc)
    if fault:
        return b"", fault
    name = url.rpartition("-")[2].removesuffix(".pem")
    found = TopicKeys(site.data_dir, site.config.hostname).certificate(name)
    return (found, "") if found is not None else (b"", "this relay has no such certificate")
