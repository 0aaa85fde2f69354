"""The options by which every command of `relay queue` chooses deliveries, and what they come to.

`choosing` gives a command all of them: it declares a parameter `chosen` and gets a `Chosen`.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.errors import UsageError
from relay.runtime.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from pathlib import Path

    from relay.schedule.selection import Selection

ANYTHING = "Say which: message ids, --domain or another choice, or --all."


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the options of a command say. `selection` has no states where none were given."""

    selection: "Selection"
    states_given: bool
    every: bool
    config: "Path | None"
    as_json: bool

    def require(self) -> "Selection":
        """Return the selection of a command that changes something. Raise UsageError when nothing was chosen."""
        chosen = self.states_given or not self.selection.everything
        if not (chosen or self.every):
            raise UsageError(ANYTHING)
        if self.every and chosen:
            raise UsageError("--all goes with no other choice.")
        return self.selection


def _list(flag: str, text: str, *more: str) -> Any:
    return Annotated[list[str] | None, typer.Option(flag, *more, help=text, rich_help_panel=None)]


OPTIONS: dict[str, Any] = {
    "messages": Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Message ids.")],
    "message": _list("--message", "A message id, as the argument."),
    "account": _list("--account", "Messages of this account."),
    "configuration_set": _list("--configuration-set", "Messages sent with this configuration set."),
    "domain": _list("--domain", "Recipients of this domain; .example.com: and of all below it."),
    "recipient": _list("--recipient", "This recipient; * and ? stand for any text and any character."),
    "sender": _list("--sender", "Messages of this sender; * and ? as above."),
    "site": _list("--site", "Domains whose mail exchanger or provider has this name; below it, too."),
    "pool": _list("--pool", "Messages that leave from this pool."),
    "source": _list("--source", "Deliveries whose last attempt came from this address of ours."),
    "state": _list("--state", "queued, held, quarantined, or a final state."),
    "older": Annotated[str, typer.Option("--older-than", metavar="TIME", help="Accepted longer ago: 30m, 4h, 2d.")],
    "newer": Annotated[str, typer.Option("--newer-than", metavar="TIME", help="Accepted since then.")],
    "reply": Annotated[str, typer.Option("--reply", help="The last reply has this text in it.")],
    "reply_regex": Annotated[str, typer.Option("--reply-regex", help="It fits this regular expression.")],
}
LAST: dict[str, Any] = {"config": ConfigOption, "as_json": JsonOption}
ALL: dict[str, Any] = {"every": Annotated[bool, typer.Option("--all", help="Everything the action applies to.")]}
_EMPTY: dict[Any, Any] = {bool: False, str: ""}


def choosing(*, acts: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options; it takes `chosen` and its own. `acts`: it changes something, so --all is there."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = OPTIONS | (ALL if acts else {}) | LAST

        @functools.wraps(command)
        def run(**given: Any) -> None:
            values = {name: given.pop(name) for name in options}
            command(chosen=_chosen(values), **given)

        own = [one for one in inspect.signature(command, eval_str=True).parameters.values() if one.name != "chosen"]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_default(kind), annotation=kind)
            for name, kind in options.items()
        ]
        parameters = [*shared[: -len(LAST)], *own, *shared[-len(LAST) :]]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        del run.__wrapped__
        return run

    return decorate


def _default(kind: Any) -> Any:
    return _EMPTY.get(kind.__origin__) if hasattr(kind, "__metadata__") else None


def _chosen(values: dict[str, Any]) -> Chosen:
    from relay.model.delivery import OPEN_STATES, DeliveryState  # noqa: PLC0415
    from relay.model.ids import is_message_id  # noqa: PLC0415
    from relay.schedule.selection import Selection  # noqa: PLC0415

    names = values["state"] or []
    for name in names:
        if name not in set(DeliveryState):
            raise UsageError(f"There is no state {name!r}; there are {', '.join(DeliveryState)}.")
    ids = [*(values["messages"] or []), *(values["message"] or [])]
    for message_id in ids:
        if not is_message_id(message_id):
            raise UsageError(f"{message_id!r} is no message id.")
    selection = Selection(
        states=frozenset(map(DeliveryState, names)) or OPEN_STATES,
        message_ids=tuple(ids),
        accounts=tuple(values["account"] or ()),
        configuration_sets=tuple(values["configuration_set"] or ()),
        domains=tuple(_domain(text) for text in values["domain"] or ()),
        recipients=tuple(values["recipient"] or ()),
        senders=tuple(values["sender"] or ()),
        pools=tuple(values["pool"] or ()),
        sites=tuple(text.rstrip(".").lower() for text in values["site"] or ()),
        sources=tuple(_source(text) for text in values["source"] or ()),
        older_ms=_milliseconds("--older-than", values["older"]),
        newer_ms=_milliseconds("--newer-than", values["newer"]),
        reply=values["reply"],
        reply_pattern=values["reply_regex"],
    )
    return Chosen(selection, bool(names), values.get("every", False), values["config"], values["as_json"])


def _domain(text: str) -> str:
    from relay.mail.address import BadAddress, normal_domain  # noqa: PLC0415

    name = normal_domain(text.removeprefix("."))
    if isinstance(name, BadAddress):
        raise UsageError(f"{text!r} is no domain.")
    return "." + name if text.startswith(".") else name


def _source(text: str) -> str:
    import ipaddress  # noqa: PLC0415

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(f"--source {text!r} is no IP address.") from None


def milliseconds(option: str, text: str) -> int:
    """Return a duration such as `2h` in milliseconds. Raise UsageError that names the option."""
    from relay.runtime.config.values import parse_duration  # noqa: PLC0415
    from relay.schedule.standing import LASTING_MAX_MS  # noqa: PLC0415

    try:
        found = int(parse_duration(text) * 1000)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option} {error}.") from None
    if not 0 < found <= LASTING_MAX_MS:
        raise UsageError(f"{option} must be between 1ms and ten years.")
    return found


def _milliseconds(option: str, text: str) -> int:
    return milliseconds(option, text) if text else 0


def deliveries(number: int) -> str:
    """Return the word for so many."""
    return "delivery" if number == 1 else "deliveries"
