"""The run of `relay demo`: a relay and a mailbox on this machine, and a first message all the way."""

import asyncio
import contextlib
import ctypes
import json
import queue
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import typer

from relay.errors import RelayError, TemporaryError
from relay.runtime.cli.demo_site import DOMAIN, HOST, INBOX, Demo, prepare, require_free
from relay.runtime.cli.demo_text import snippets
from relay.runtime.cli.output import paint, printable, working
from relay.runtime.cli.send_client import Sent, Server, send_all
from relay.runtime.cli.send_defaults import pinned_context
from relay.runtime.cli.send_message import Draft
from relay.runtime.cli.sink_run import mail_line
from relay.runtime.cli.site import read_site
from relay.runtime.cli.trace import find, is_open, write_trace

START_SECONDS = 40.0
DELIVERY_SECONDS = 30.0
STOP_SECONDS = 40.0
POLL_SECONDS = 0.1
LOG_LINES_SHOWN = 5
MAILS_WAITING_MAX = 1000
_PR_SET_PDEATHSIG = 1


def run(directory: Path, port_base: int, *, once: bool) -> None:
    """Make or take up the demonstration, show a first message, go on until Ctrl-C."""
    stop = _on_stop_signals()
    with working("making keys"):
        ready = prepare(directory, port_base)
    require_free(ready)
    _title(ready)
    with contextlib.ExitStack() as stack:
        mails = _start_sink(ready, stack)
        relay = _start_relay(ready, stack)
        _first_message(ready, relay, mails)
        _lines_to_copy(ready)
        if not once:
            _run_on(relay, mails, stop)
        _say("stopping", "sessions and deliveries end first")
    _say("stopped", f"`make run` goes on from here; rm -r {ready.directory} starts afresh")


def _on_stop_signals() -> threading.Event:
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
    return stop


def _title(ready: Demo) -> None:
    what = "made" if ready.created else "kept"
    _say("relay", f"{ready.config} ({what})")


# --- the two processes -----------------------------------------------------------------------------------------


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "relay.runtime.cli", *arguments]


def _die_with_us() -> None:
    """In the child: be told to stop when this process dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def _spawn(command: list[str], stdout: Any, stderr: Any) -> "subprocess.Popen[bytes]":
    # A session of its own: Ctrl-C reaches this process alone, which then stops the relay before its mailbox.
    return subprocess.Popen(  # noqa: S603 (our own command)
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=_die_with_us,  # noqa: PLW1509 (no thread of ours runs yet that could hold a lock)
    )


@contextlib.contextmanager
def _stopped_at_the_end(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start_relay(ready: Demo, stack: contextlib.ExitStack) -> "subprocess.Popen[bytes]":
    log = ready.directory / "relay.log"
    stream: IO[bytes] = stack.enter_context(log.open("ab"))
    start = stream.tell()
    process = _spawn(_command("serve", "-c", str(ready.config)), stream, stream)
    stack.enter_context(_stopped_at_the_end(process))
    deadline = time.monotonic() + START_SECONDS
    with working("starting the relay"):
        while not _greets(ready.ports.submission):
            if process.poll() is not None:
                raise TemporaryError(f"The relay did not start.\n{_end_of(log, start)}")
            if time.monotonic() > deadline:
                raise TemporaryError(f"The relay gave no greeting in {START_SECONDS:.0f} s.\n{_end_of(log, start)}")
            time.sleep(POLL_SECONDS)
    _say("started", f"SMTP on 127.0.0.1:{ready.ports.submission}, log in {log}")
    return process


def _greets(port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
            return client.noop()[0] == 250  # noqa: PLR2004
    except (OSError, smtplib.SMTPException):
        return False


def _end_of(log: Path, start: int) -> str:
    with log.open("rb") as stream:
        stream.seek(start)
        lines = stream.read(1 << 20).decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-LOG_LINES_SHOWN:])


def _start_sink(ready: Demo, stack: contextlib.ExitStack) -> "queue.Queue[dict[str, Any]]":
    log = ready.directory / "sink.log"
    stream: IO[bytes] = stack.enter_context(log.open("ab"))
    start = stream.tell()
    maildir = ready.directory / "mail"
    command = _command(
        "sink",
        *("--listen", f"{HOST}:{ready.ports.sink}", "--dns", f"{HOST}:{ready.ports.dns}"),
        *("--maildir", str(maildir), "--domain", INBOX, "--config", str(ready.config), "--json"),
    )
    process = _spawn(command, subprocess.PIPE, stream)
    stack.enter_context(_stopped_at_the_end(process))
    assert process.stdout is not None
    with working("starting the mailbox"):
        first = process.stdout.readline()
    if not first:
        process.wait()
        raise TemporaryError(f"The mailbox did not start.\n{_end_of(log, start)}")
    mails: queue.Queue[dict[str, Any]] = queue.Queue(MAILS_WAITING_MAX)
    threading.Thread(target=_read_mails, args=(process.stdout, mails), daemon=True).start()
    _say("mailbox", f"all mail ends in {maildir}, nothing leaves this machine")
    return mails


def _read_mails(stream: IO[bytes], mails: "queue.Queue[dict[str, Any]]") -> None:
    for line in stream:
        mails.put(json.loads(line))


# --- the first message -----------------------------------------------------------------------------------------


def _first_message(ready: Demo, relay: "subprocess.Popen[bytes]", mails: "queue.Queue[dict[str, Any]]") -> None:
    sent = _send(ready)
    if not sent.accepted:
        raise RelayError(f"The first message was refused: {sent.code} {sent.reply}")
    _tick("accepted", f"STARTTLS and AUTH as {ready.username}, {sent.code} {sent.reply}")
    mail = _next_mail(mails, relay)
    signatures = [f"{one['selector']}._domainkey.{one['domain']}" for one in mail["dkim"] if one["result"] == "pass"]
    if not signatures:
        raise RelayError(f"The message arrived without a valid DKIM signature: {mail['dkim']}")
    _tick("signed", f"DKIM verified by dkimpy, key from DNS: {', '.join(signatures)}")
    found = _traced(ready, sent.message_id)
    attempt = found["deliveries"][0]["attempts"][-1]
    _tick("delivered", f"hello@{DOMAIN} -> first@{INBOX}, {attempt['remoteAddress']}, {attempt['tls']}")
    _show_trace(found)


def _send(ready: Demo) -> Sent:
    context = pinned_context(read_site(ready.config).config.tls.certificate)
    server = Server("127.0.0.1", ready.ports.submission, "starttls", ready.username, ready.password, context)
    body = "This message was submitted, signed, queued and delivered by the relay on this machine.\n"
    draft = Draft(f"Relay <hello@{DOMAIN}>", (f"first@{INBOX}",), "A first message", body)
    results: list[Sent] = []
    with working("sending a first message"):
        asyncio.run(send_all(server, draft, count=1, connections=1, on_result=results.append))
    return results[0]


def _next_mail(mails: "queue.Queue[dict[str, Any]]", relay: "subprocess.Popen[bytes]") -> dict[str, Any]:
    deadline = time.monotonic() + DELIVERY_SECONDS
    with working("waiting for the delivery"):
        while time.monotonic() < deadline and relay.poll() is None:
            with contextlib.suppress(queue.Empty):
                return mails.get(timeout=POLL_SECONDS)
    raise TemporaryError(
        f"The message did not arrive in {DELIVERY_SECONDS:.0f} s; see relay.log and `relay queue list`."
    )


def _traced(ready: Demo, message_id: str) -> dict[str, Any]:
    """Return the trace once it shows the delivery: the sink had the mail before the relay had settled it."""
    deadline = time.monotonic() + DELIVERY_SECONDS
    while time.monotonic() < deadline:
        found = find(ready.config, message_id)
        if found is not None and not is_open(found) and found["deliveries"][0]["attempts"]:
            return found
        time.sleep(POLL_SECONDS)
    raise TemporaryError(f"`relay trace {message_id}` does not show the delivery after {DELIVERY_SECONDS:.0f} s.")


def _show_trace(found: dict[str, Any]) -> None:
    typer.echo("")
    typer.echo(paint(f"$ relay trace {found['messageId']}", "bold"))
    write_trace(found)


# --- lines to copy, and the rest of the day --------------------------------------------------------------------


def _lines_to_copy(ready: Demo) -> None:
    for title, text in snippets(ready):
        typer.echo("")
        typer.echo(paint(title, "bold"))
        typer.echo(text)
    typer.echo("")


def _run_on(relay: "subprocess.Popen[bytes]", mails: "queue.Queue[dict[str, Any]]", stop: threading.Event) -> None:
    _say("running", "Ctrl-C ends it; each mail that arrives is a line:")
    with contextlib.suppress(KeyboardInterrupt):
        while not stop.is_set():
            if relay.poll() is not None:
                raise TemporaryError(f"The relay ended with exit code {relay.returncode}; see relay.log.")
            with contextlib.suppress(queue.Empty):
                typer.echo(mail_line(mails.get(timeout=0.5)))
    typer.echo("")


def _tick(what: str, detail: str) -> None:
    typer.echo(f"{paint('✓', 'green')} {what:<10}{printable(detail)}")


def _say(what: str, detail: str) -> None:
    typer.echo(f"  {paint(f'{what:<10}', 'cyan')}{printable(detail)}")
    sys.stdout.flush()
