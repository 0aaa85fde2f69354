"""The run of `relay send`: from options to a draft and a server, and what is told about each reply."""

import asyncio
import ssl
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import typer

from relay.errors import EX_UNAVAILABLE, UsageError
from relay.runtime.cli import send_message as build
from relay.runtime.cli.options import endpoint
from relay.runtime.cli.output import counting, note, paint, printable, write_json
from relay.runtime.cli.send_client import Sent, Server, send_all
from relay.runtime.cli.send_message import Draft

TLS_MODES = ("starttls", "implicit", "none")
FAILURES_SHOWN = 10
TIMES_KEPT = 100_000


def draft(
    *,
    sender: str,
    to: list[str],
    subject: str,
    body: str,
    html: Path | None,
    attach: list[Path],
    header: list[str],
    file: Path | None,
) -> Draft:
    """Return what the options say to send; UsageError when they do not say enough."""
    raw = b""
    if file is not None:
        raw = build.with_crlf(
            sys.stdin.buffer.read(build.INPUT_MAX_BYTES) if str(file) == "-" else build.read_limited(file)
        )
        sender = sender or build.sender_of(raw)
        to = to or list(build.recipients_of(raw))
    if not sender or not to:
        raise UsageError("Give --from and --to, or a --file that names them.")
    return Draft(
        sender=sender,
        recipients=tuple(to),
        subject=subject,
        body=sys.stdin.read(build.INPUT_MAX_BYTES) if body == "-" else body,
        html=build.read_limited(html).decode("utf-8", "replace") if html else "",
        attachments=tuple(attach),
        headers=tuple(build.parse_header(one) for one in header),
        raw=raw,
    )


def pinned(config: Path | None, address: str, account: str, *, host: str, file: Path | None) -> list[str]:
    """Return the header field that asks the configured relay for one source address; none without an address.

    The right to ask for it is made with the relay's master key, so that nobody but an administrator has it.
    """
    if not address:
        return []
    if host or file is not None:
        raise UsageError("--from-address is for the configured relay and a message made here: no --host, no --file.")
    from relay.policy import pin  # noqa: PLC0415
    from relay.runtime.cli.site import open_site  # noqa: PLC0415
    from relay.runtime.settings import PIN_PURPOSE  # noqa: PLC0415
    from relay.signing.secrets import derive  # noqa: PLC0415
    from relay.store.catalog_address_values import canonical  # noqa: PLC0415

    key = derive(open_site(config).master_key(), PIN_PURPOSE)
    return [f"{pin.FIELD}: {pin.make(key, canonical(address), account, int(time.time()))}"]


def server(
    *,
    config: Path | None,
    host: str,
    port: int,
    tls: str,
    user: str,
    password: str,
    timeout_seconds: float,
    ca: Path | None,
    insecure: bool,
) -> Server:
    """Return where the options say to send: the named server, or the configured relay."""
    if tls not in ("", *TLS_MODES):
        raise UsageError(f"--tls takes {', '.join(TLS_MODES)}, not {tls!r}.")
    if not host:
        from relay.runtime.cli.send_defaults import configured_server  # noqa: PLC0415

        return configured_server(config, port=port, tls=tls, login=(user, password), timeout_seconds=timeout_seconds)
    tls = tls or "starttls"
    return Server(
        host=host,
        port=port or (465 if tls == "implicit" else 587),
        tls=tls,
        username=user,
        password=password,
        context=_context(ca, insecure=insecure),
        timeout_seconds=timeout_seconds,
    )


def _context(ca: Path | None, *, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _Tally:
    """Counts results and tells about them: each one when there are few, the failures and a sum when many."""

    def __init__(self, server: Server, count: int, *, as_json: bool) -> None:
        self._server = server
        self._count = count
        self._as_json = as_json
        self._times: list[float] = []
        self.done = self.failed = self.worst = 0

    def add(self, sent: Sent) -> None:
        self.done += 1
        code = sent.exit_code
        self.failed += code != 0
        # A final refusal outranks one that may pass: 69 over 75.
        self.worst = code if self.worst == 0 or code == EX_UNAVAILABLE else self.worst
        if len(self._times) < TIMES_KEPT:
            self._times.append(sent.seconds)
        if self._as_json:
            write_json(_as_object(sent))
        elif self._count == 1 or (code and self.failed <= FAILURES_SHOWN):
            self._tell(sent)

    def _tell(self, sent: Sent) -> None:
        if sent.accepted:
            typer.echo(f"{paint('accepted', 'green')}  {printable(sent.reply)}")
        elif sent.code:
            typer.echo(f"{paint('refused', 'red')}  {sent.code} {printable(sent.reply)}")
        else:
            at = endpoint(self._server.host, self._server.port)
            typer.echo(f"{paint('failed', 'red')}  {at}: {printable(sent.reply)}")
        for address, reply in sent.refused.items():
            typer.echo(f"{paint('refused', 'red')}  {printable(address)}: {printable(reply)}")

    def summary(self, seconds: float) -> str:
        """One line about a run of several messages."""
        times = sorted(self._times)
        middle = statistics.median(times) * 1000
        slow = times[min(len(times) - 1, len(times) * 99 // 100)] * 1000
        rate = self.done / seconds if seconds else 0.0
        return (
            f"{self.done - self.failed} accepted, {self.failed} failed in {seconds:.1f} s, {rate:.0f} a second, "
            f"reply after {middle:.0f} ms (median), {slow:.0f} ms (99 %)"
        )


def run(server: Server, draft: Draft, count: int, connections: int, *, as_json: bool) -> int:
    """Send, tell, and return the exit code."""
    tally = _Tally(server, count, as_json=as_json)
    started = time.monotonic()
    with counting("sending", count) as advance:

        def on_result(sent: Sent) -> None:
            tally.add(sent)
            advance()

        asyncio.run(send_all(server, draft, count=count, connections=connections, on_result=on_result))
    if count > 1:
        note(tally.summary(time.monotonic() - started))
    return tally.worst


def _as_object(sent: Sent) -> dict[str, Any]:
    return {
        "number": sent.number,
        "accepted": sent.accepted,
        "code": sent.code,
        "reply": sent.reply,
        "messageId": sent.message_id or None,
        "refused": sent.refused,
        "seconds": round(sent.seconds, 4),
    }
