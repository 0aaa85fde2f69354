"""The nearest known word: for an unknown key the setting that was probably meant, for a value the choice."""

import types
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from relay.runtime.config.faults import Path, dotted


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word most like this one, "" when none is."""
    plain = {name.lower().replace("-", "_"): name for name in known}
    found = get_close_matches(word[:100].lower().replace("-", "_"), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else ""


def section_at(root: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """Return the model of the section at a path, None when the path is none."""
    current: type[BaseModel] | None = root
    for part in path:
        if isinstance(part, int):
            continue  # a list item has the model of its list
        field = current.model_fields.get(part) if current else None
        current = model_in(field.annotation) if field else None
    return current


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside an annotation such as `tuple[Route, ...]` or `Trust | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) not in (tuple, Union, types.UnionType, Annotated):
        return None
    return next((model for model in map(model_in, get_args(annotation)) if model), None)


def settings(root: type[BaseModel], prefix: Path = ()) -> Iterator[Path]:
    """Yield the path of every setting, without list positions."""
    for name, field in root.model_fields.items():
        yield (*prefix, name)
        inner = model_in(field.annotation)
        if inner:
            yield from settings(inner, (*prefix, name))


def unknown_key(root: type[BaseModel], path: Path) -> str:
    """Return what to say about a key that is not a setting."""
    key = str(path[-1])
    section = section_at(root, path[:-1])
    here = nearest(key, section.model_fields) if section else ""
    if here:
        return f"there is no such setting; did you mean `{here}`?"
    parents = tuple(part for part in path[:-1] if isinstance(part, str))
    elsewhere = [known for known in settings(root) if known[-1] == key and known[:-1] != parents]
    if elsewhere:
        return f"there is no such setting here; did you mean `{dotted(elsewhere[0])}`?"
    known = ", ".join(section.model_fields) if section else ""
    return f"there is no such setting; known here: {known}" if known else "there is no such setting"
