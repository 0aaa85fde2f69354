"""What the commands that search history share: times, tags, types and where the files are."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import UsageError

if TYPE_CHECKING:
    from relay.runtime.cli.site import Site

LIMIT_MAX = 10_000_000
TIME = "A time ago (30m, 4h, 2d) or a moment (2026-11-26, 2026-11-26T08:00)"

SinceOption = Annotated[str, typer.Option("--since", metavar="TIME", help=f"Not before. {TIME}.")]
UntilOption = Annotated[str, typer.Option("--until", metavar="TIME", help="Before.")]
RecipientOption = Annotated[str, typer.Option("--recipient", metavar="ADDRESS", help="For this recipient.")]
AccountFilter = Annotated[str, typer.Option("--account", metavar="ID", help="Of this account.")]
SetOption = Annotated[
    str, typer.Option("--configuration-set", "--set", metavar="NAME", help="Sent with this configuration set.")
]
CursorOption = Annotated[str, typer.Option(help="Go on where an earlier search ended.")]


def moment_ms(option: str, text: str) -> int:
    """Return a moment in milliseconds since 1970: a time ago, or a date with or without a time, local unless it says.

    Raise UsageError that names the option.
    """
    from relay.runtime.config.values import parse_duration  # noqa: PLC0415

    try:
        return int((time.time() - parse_duration(text)) * 1000)
    except (ValueError, OverflowError):
        pass
    try:
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.astimezone()).astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r} is neither a time ago such as 4h nor a moment such as 2026-11-26."
        ) from None


def times(since: str, until: str) -> dict[str, Any]:
    """Return the bounds that are given, as a query takes them."""
    bounds = {"since_ms": ("--since", since), "until_ms": ("--until", until)}
    return {name: moment_ms(option, text) for name, (option, text) in bounds.items() if text}


def tag_of(text: str) -> tuple[str, str]:
    """Return name and value of a tag. Raise UsageError."""
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise UsageError(f"--tag {text!r} is no NAME=VALUE.")
    return name, value


def event_type(text: str) -> str:
    """Return the event type that a text means, without regard to case. Raise UsageError."""
    from relay.runtime.config.upkeep import EVENT_TYPES  # noqa: PLC0415

    if not text:
        return ""
    plain = text.replace("-", " ").replace("_", " ").lower()
    found = next((kind for kind in EVENT_TYPES if kind.lower() == plain), None)
    if found is None:
        raise UsageError(f"There is no event type {text!r}; there are {', '.join(EVENT_TYPES)}.")
    return found


def spools(site: "Site") -> dict[int, tuple[Path, Path]]:
    """Return spool file and history directory of every shard."""
    from relay.runtime.cli.shards import shard_numbers  # noqa: PLC0415
    from relay.store.adoption import shard_paths  # noqa: PLC0415

    found = {number: shard_paths(site.data_dir, number) for number in shard_numbers(site)}
    return {number: (paths.database, paths.history) for number, paths in found.items()}
