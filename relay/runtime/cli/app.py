"""The tree of commands, and what every way of leaving one means to the shell.

Exit codes are those of `relay.errors` (sysexits): 0 done, 64 wrong arguments, 69 refused for good, 75 try again,
78 configuration; 130 after Ctrl-C, 141 when whoever read the output went away. An error that Relay raises on
purpose is one sentence on standard error, never a traceback.
"""

import os
import sys
from collections.abc import Sequence
from copy import copy

import typer
from typer.main import get_command_name
from typer.models import CommandInfo

from relay.errors import EX_TEMPFAIL, EX_USAGE, RelayError
from relay.runtime.cli.account import app as account
from relay.runtime.cli.account_enforcement import register_account
from relay.runtime.cli.address import app as address
from relay.runtime.cli.alarm import app as alarm
from relay.runtime.cli.analyse import analyse
from relay.runtime.cli.auth_test import auth_test
from relay.runtime.cli.authentication import dmarc, spf
from relay.runtime.cli.check import check
from relay.runtime.cli.classify import classify
from relay.runtime.cli.configuration_set import app as configuration_set
from relay.runtime.cli.credentials import app as credentials
from relay.runtime.cli.demo import demo
from relay.runtime.cli.dkim import app as dkim
from relay.runtime.cli.dnsbl import app as dnsbl
from relay.runtime.cli.doctor import doctor
from relay.runtime.cli.event_destination import app as event_destination
from relay.runtime.cli.events import app as events
from relay.runtime.cli.help import Commands, list_whole_sentences
from relay.runtime.cli.identity import app as identity
from relay.runtime.cli.identity_dns import register as register_identity_dns
from relay.runtime.cli.identity_mail_from import app as mail_from
from relay.runtime.cli.identity_notifications import app as notifications
from relay.runtime.cli.initialise import init
from relay.runtime.cli.lint import lint
from relay.runtime.cli.messages import app as messages
from relay.runtime.cli.output import complain
from relay.runtime.cli.pool import app as pool
from relay.runtime.cli.privacy import app as privacy
from relay.runtime.cli.queue import app as queue
from relay.runtime.cli.quota import app as quota
from relay.runtime.cli.reputation import app as reputation
from relay.runtime.cli.reset import reset
from relay.runtime.cli.send import send
from relay.runtime.cli.serve import serve
from relay.runtime.cli.shaping import app as shaping
from relay.runtime.cli.sink import sink
from relay.runtime.cli.smtp_password import smtp_password
from relay.runtime.cli.snds import snds
from relay.runtime.cli.statistics import statistics
from relay.runtime.cli.suppression import app as suppression
from relay.runtime.cli.tls_policy import app as tls_policy
from relay.runtime.cli.topic import app as topic
from relay.runtime.cli.topic_dead import app as topic_dead
from relay.runtime.cli.topic_signature import register as register_topic_signature
from relay.runtime.cli.topic_subscription import register as register_topic_subscription
from relay.runtime.cli.trace import trace
from relay.runtime.cli.user import app as user
from relay.runtime.cli.verification import app as verification
from relay.runtime.cli.verification_template import app as verification_template
from relay.runtime.cli.warmup import app as warmup

EX_INTERRUPTED = 130
EX_BROKEN_PIPE = 141

_NO_SUCH_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)  # trying again changes nothing

app = typer.Typer(
    name="relay",
    cls=Commands,
    help="A mail relay: applications submit over SMTP, it checks, signs, queues and delivers.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawing the help with rich takes longer than all the rest
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(*, show: bool) -> None:
    if not show:
        return
    from relay import __version__  # noqa: PLC0415

    typer.echo(f"relay {__version__}")
    raise typer.Exit


@app.callback()
def _root(
    *,
    version: bool = typer.Option(
        False, "--version", help="Print the version and leave.", is_eager=True, callback=lambda v: _version(show=v)
    ),
) -> None:
    del version


RUNNING = "Set up and run"
SENDERS = "Who may send"
MAIL = "Mail under way"
TOOLS = "Development and diagnosis"

app.command("init", short_help="Make a relay: configuration, keys, first account.", rich_help_panel=RUNNING)(init)
app.command("serve", short_help="Run the relay.", rich_help_panel=RUNNING)(serve)
app.command("check", short_help="Check the configuration and this machine.", rich_help_panel=RUNNING)(check)
app.command("doctor", short_help="Look for what usually goes wrong.", rich_help_panel=RUNNING)(doctor)
app.command("reset", short_help="Wipe all state of a stopped relay.", rich_help_panel=RUNNING)(reset)
register_account(account)
app.add_typer(account, name="account", rich_help_panel=SENDERS)
app.add_typer(credentials, name="credentials", rich_help_panel=SENDERS)
app.add_typer(user, name="user", rich_help_panel=SENDERS)
register_identity_dns(identity)
identity.add_typer(mail_from, name="mail-from")
identity.add_typer(notifications, name="notifications")
app.add_typer(identity, name="identity", rich_help_panel=SENDERS)
app.add_typer(verification, name="verification", rich_help_panel=SENDERS)
app.add_typer(verification_template, name="verification-template", rich_help_panel=SENDERS)
app.add_typer(dkim, name="dkim", rich_help_panel=SENDERS)
app.add_typer(dmarc, name="dmarc", rich_help_panel=SENDERS)
app.command("spf", short_help="Print the SPF record to publish.", rich_help_panel=SENDERS)(spf)
app.command("auth-test", short_help="Send a message and judge SPF, DKIM, DMARC.", rich_help_panel=SENDERS)(auth_test)
app.add_typer(configuration_set, name="configuration-set", rich_help_panel=SENDERS)
app.add_typer(event_destination, name="event-destination", rich_help_panel=SENDERS)
register_topic_subscription(topic)
register_topic_signature(topic)
topic.add_typer(topic_dead, name="dead-letters")
app.add_typer(topic, name="topic", rich_help_panel=SENDERS)
app.add_typer(reputation, name="reputation", rich_help_panel=SENDERS)
app.add_typer(alarm, name="alarm", rich_help_panel=SENDERS)
app.add_typer(quota, name="quota", rich_help_panel=SENDERS)
app.add_typer(suppression, name="suppression", rich_help_panel=SENDERS)
app.command("smtp-password", short_help="Print the SMTP password of an access key.", rich_help_panel=SENDERS)(
    smtp_password
)
app.add_typer(address, name="address", rich_help_panel=MAIL)
app.add_typer(pool, name="pool", rich_help_panel=MAIL)
app.add_typer(warmup, name="warmup", rich_help_panel=MAIL)
app.add_typer(queue, name="queue", rich_help_panel=MAIL)
app.add_typer(dnsbl, name="dnsbl", rich_help_panel=MAIL)
app.add_typer(shaping, name="shaping", rich_help_panel=MAIL)
app.command("trace", short_help="Show a message and every attempt.", rich_help_panel=MAIL)(trace)
app.command("snds", short_help="Show what Microsoft says of our addresses.", rich_help_panel=MAIL)(snds)
app.command("statistics", short_help="Show what was sent and what became of it.", rich_help_panel=MAIL)(statistics)
app.add_typer(messages, name="messages", rich_help_panel=MAIL)
app.add_typer(events, name="events", rich_help_panel=MAIL)
app.add_typer(privacy, name="privacy", rich_help_panel=MAIL)
app.command("analyse", short_help="Query events with SQL.", rich_help_panel=MAIL)(analyse)
app.add_typer(tls_policy, name="tls-policy", rich_help_panel=MAIL)
app.command("send", short_help="Send a message over SMTP.", rich_help_panel=TOOLS)(send)
app.command("sink", short_help="Take every mail and keep it, for development.", rich_help_panel=TOOLS)(sink)
app.command("lint", short_help="Say what is wrong with a message.", rich_help_panel=TOOLS)(lint)
app.command("classify", short_help="Say what a bounce or complaint means.", rich_help_panel=TOOLS)(classify)
app.command("demo", short_help="Run a relay and a mailbox, and show a message.", rich_help_panel=TOOLS)(demo)
list_whole_sentences(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; whatever it raises has been told to the user by then."""
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _silence_stdout()
        return EX_BROKEN_PIPE
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except RelayError as error:
        complain(str(error))
        return error.exit_code
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return EX_USAGE if isinstance(error, _NO_SUCH_FILE) else EX_TEMPFAIL


def _invoke(arguments: Sequence[str]) -> int:
    try:
        _only(app, arguments)(args=list(arguments), prog_name="relay")
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # caught there and turned into a plain 1
            return EX_BROKEN_PIPE
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        return EX_USAGE if code == 2 else code  # noqa: PLR2004 (what the argument parser leaves with)
    return 0


def _only(group: typer.Typer, words: Sequence[str]) -> typer.Typer:
    """Return the commands that the words name, all where they name none.

    To make the parsers of 150 commands takes longer than what most of them do.
    """
    if not words:
        return group
    found = copy(group)
    found.registered_commands = [one for one in group.registered_commands if _name(one) == words[0]]
    found.registered_groups = [copy(one) for one in group.registered_groups if one.name == words[0]]
    for one in found.registered_groups:
        if one.typer_instance is not None:
            one.typer_instance = _only(one.typer_instance, words[1:])
    return found if found.registered_commands or found.registered_groups else group


def _name(command: CommandInfo) -> str | None:
    return command.name or (command.callback and get_command_name(command.callback.__name__))


def _silence_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's last flush does not complain."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
