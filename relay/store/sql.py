"""Named SQL: every statement lives in a `.sql` file under a line `-- name: ...` and a sentence about it.

Loaded once. Statements that insert several rows mark their row with `/*row*/ ... /*row*/`; `repeated` makes
the few fixed sizes that the writer uses, from the file's text alone: no value ever becomes SQL.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_ROW: Final = re.compile(r"/\*row\*/(.*?)/\*row\*/", re.DOTALL)


@cache
def queries(file_name: str) -> Mapping[str, str]:
    """Return the statements of `relay/store/queries/<file_name>` by name. Raise ValueError on a repeated name."""
    text = (_package() / "queries" / file_name).read_text(encoding="utf-8")
    parts = _NAME.split(text)
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{file_name} names a statement twice")
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}


def repeated(statement: str, rows: int) -> str:
    """Return the statement with its marked row written `rows` times. Raise ValueError when none is marked."""
    match = _ROW.search(statement)
    if match is None:
        raise ValueError("the statement marks no row")
    row = match.group(1).strip()
    return statement[: match.start()] + ", ".join([row] * rows) + statement[match.end() :]


@cache
def migrations(schema: str) -> tuple[str, ...]:
    """Return the scripts of `relay/store/schema/<schema>/` in the order of their numbers, from 1, without gaps."""
    scripts = sorted(
        (entry for entry in (_package() / "schema" / schema).iterdir() if entry.name.endswith(".sql")),
        key=lambda entry: entry.name,
    )
    numbers = [int(script.name.partition("_")[0]) for script in scripts]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ValueError(f"the migrations of {schema} are not numbered from 1 without gaps")
    return tuple(script.read_text(encoding="utf-8") for script in scripts)


def _package() -> Traversable:
    return files("relay.store")
