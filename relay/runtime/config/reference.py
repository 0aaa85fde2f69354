"""The reference page of all settings, as Markdown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from relay.runtime.config.model import Config
from relay.runtime.config.section import Section
from relay.runtime.config.suggest import model_in
from relay.runtime.config.values import Kind

_HEAD = """\
# Configuration

One YAML file holds all settings. It is found by `-c FILE`, else the variable `RELAY_CONFIG`, else `./relay.yaml`,
else `/etc/relay/relay.yaml`. `relay init DIR` writes a first one; [config/relay.yaml](../../config/relay.yaml) shows
every setting. This page is generated from the program (`make docs`).

Only `hostname` has no default. Relative paths start from the directory of the file.

## How values are written
| kind | written as |
|---|---|
| duration | a number and a unit: `500ms`, `30s`, `5m`, `14h`, `30d`, `1h30m`; a number without a unit is refused |
| size | bytes, or with a unit: `500KB`, `40MB`, `2GB`, counted in 1024 |
| true or false | `true` or `false`; `yes` and `on` are refused |
| domain | a name in ASCII form (`xn--...` for others) |
| domain pattern | a domain, `*.domain` for every name below it, or `*` |
| host:port | `mail.example:587`, `10.0.0.5`, `[2001:db8::1]:25` |
| network | `10.0.0.0/8`, `2001:db8::/32`, or one address |
| account | 12 digits: `"000000000001"` |

Only these plain values exist: no tags, no dates, and a key may be given once.

## What is checked
The file is checked whole: all faults come in one list, one a line, as `file:line: key: what is wrong`, with the
nearest known setting for a name that does not exist. `relay check` also looks at this machine: certificate and key
(readable, private, belonging together, in date), `data_dir`, `run_as`, ports, source addresses. With an error the
relay does not start (exit code 78) and a reload keeps the old configuration; a warning is only told.

## Reload
HUP (`systemctl reload relay`) reads and checks the file, then applies it whole or not at all. Open sessions go on
with what they began with; the next session, message and attempt use the new values. Certificates are read again.
A change of one of these needs a restart, and a reload that contains it is refused: {restart}.
"""


def reference() -> str:
    """Return the page."""
    restart = ", ".join(f"`{name}`" for name, field in Config.model_fields.items() if extra(field, "restart"))
    lines = [_HEAD.format(restart=restart), "## Settings", *table(Config, "")]
    for name, field in Config.model_fields.items():
        lines += section_tables(name, field)
    return "\n".join(lines) + "\n"


def section_tables(name: str, field: FieldInfo) -> Iterator[str]:
    """Yield the tables of a setting that is a section, and of those inside."""
    section = model_in(field.annotation)
    if section is None:
        return
    title = f"{name}[]" if get_origin(field.annotation) is tuple else name
    yield from ("", f"## {title}", str(field.description), "", *table(section, f"{title}."))
    for inner_name, inner in section.model_fields.items():
        yield from section_tables(f"{title}.{inner_name}", inner)


def table(section: type[Any], prefix: str) -> Iterator[str]:
    """Yield the table of the settings of a section."""
    yield "| setting | value | default | |"
    yield "|---|---|---|---|"
    for name, field in section.model_fields.items():
        restart = " *Needs a restart.*" if extra(field, "restart") else ""
        default = default_text(field).replace("|", "\\|")
        yield f"| `{prefix}{name}` | {kind_text(field)} | {default} | {field.description}{restart} |"


def kind_text(field: FieldInfo) -> str:
    """Return what kind of value a setting takes."""
    for item in field.metadata:
        if isinstance(item, Kind):
            return item.name
    return _kind(field.annotation)


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "group"
    if annotation is SecretStr:
        return "text"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is Annotated:
        return next(item.name for item in arguments[1:] if isinstance(item, Kind))
    if origin is tuple:
        return f"list: {_kind(arguments[0])}"
    return next(_kind(argument) for argument in arguments if argument is not type(None))


def default_text(field: FieldInfo) -> str:
    """Return how a default is told, "" when there is nothing to tell."""
    if field.is_required():
        return "required"
    words = str(extra(field, "shown") or "")
    value = field.default
    if words or value is None or value in ("", {}, ()) or isinstance(value, SecretStr):
        return words
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple) and isinstance(value[0], dict):
        named = all("name" in entry for entry in value)
        return "; ".join(
            entry["name"] if named else f"{entry['kind']} {entry['address']}:{entry['port']}" for entry in value
        )
    if isinstance(value, tuple):
        return f"`[{', '.join(str(item) for item in value)}]`"
    return f"`{value.as_posix() if isinstance(value, Path) else value}`"


def extra(field: FieldInfo, key: str) -> Any:
    """Return what `setting` noted about a field."""
    return field.json_schema_extra.get(key) if isinstance(field.json_schema_extra, dict) else None
