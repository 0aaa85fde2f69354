"""The reference page of the command line, made from the commands themselves.

`python -m relay.runtime.cli.reference > docs/reference/cli.md` writes it; a test says when it is out of date.
"""

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import typer.main

from relay.runtime.cli.app import app

_HEAD = """\
# The command line

Made from the commands themselves; `relay COMMAND --help` says the same.

Every command finds the configuration by `-c FILE`, else `RELAY_CONFIG`, else `./relay.yaml`, else
`/etc/relay/relay.yaml`. Standard output carries the result only, notes and errors go to standard error; with `--json`
the result is one JSON object a line. When root runs a command, it becomes `run_as` before it opens any data.

| exit code | meaning |
|---|---|
| 0 | done |
| 64 | the arguments cannot work, or name what does not exist; nothing was changed |
| 65 | data fails its checks, or an import had bad lines |
| 69 | refused for good, or the relay does not run and is needed |
| 75 | not now: try again |
| 78 | the configuration or the environment cannot be used |
| 130, 141 | ended by Ctrl-C; the reader of the output went away |
"""


def page() -> str:
    """Return the whole page."""
    root: Any = typer.main.get_command(app)
    lines = [_HEAD]
    for name, command in root.commands.items():
        lines += _command(f"relay {name}", command)
    return "\n".join(lines).rstrip() + "\n"


def _command(name: str, command: Any) -> Iterator[str]:
    children = getattr(command, "commands", {})
    yield f"## `{name}`" if name.count(" ") == 1 else f"### `{name}`"
    yield inspect.cleandoc(command.help or "") + "\n"
    if not children:
        yield f"```\n{name} {_usage(command)}".rstrip() + "\n```\n"
        yield from _options(command)
    for child, inner in children.items():
        yield from _command(f"{name} {child}", inner)


def _usage(command: Any) -> str:
    arguments = [_argument(one) for one in command.params if one.param_type_name == "argument"]
    options = ["[OPTIONS]"] if any(one.param_type_name == "option" for one in command.params) else []
    return " ".join([*options, *arguments])


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name.upper())
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _options(command: Any) -> Iterator[str]:
    rows = [_row(one) for one in command.params if getattr(one, "help", None)]
    if rows:
        yield "| | |\n|---|---|\n" + "\n".join(rows) + "\n"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = _argument(parameter)
    else:
        names = ", ".join((*parameter.opts, *parameter.secondary_opts))
        if not parameter.is_flag and not parameter.count:
            names += f" {parameter.metavar or _value(parameter)}"
    text = parameter.help
    shown = parameter.default
    if isinstance(parameter.show_default, str):
        shown = parameter.show_default
    if parameter.envvar:
        text += f" Environment: `{parameter.envvar}`."
    if parameter.show_default and shown not in (None, "", False, True, 0) and not parameter.required:
        text += f" Default: `{str(shown).strip()}`."
    return f"| `{names}` | {text} |".replace("\n", " ")


def _value(parameter: Any) -> str:
    """Return what stands for an option's value: N for numbers."""
    return "N" if isinstance(parameter.default, int | float) or parameter.min is not None else "TEXT"


if __name__ == "__main__":
    sys.stdout.write(page())
