"""What a reload changes: which settings apply to the running relay, and which wait for a restart.

Settings declared with `restart=True` are fixed for the life of the processes: names and places that everything
already on disk and in flight was derived from. Everything else applies on reload: listeners are opened and closed,
sessions go on with what they began with, the next session, message and attempt use the new values.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from relay.runtime.config.faults import Path, dotted
from relay.runtime.config.model import Config
from relay.runtime.config.section import Section


@dataclass(frozen=True, slots=True)
class ReloadChanges:
    """Dotted keys whose values differ, by what they need."""

    applied: tuple[str, ...]
    restart: tuple[str, ...]

    @property
    def refusal(self) -> str:
        """Return why the reload cannot be done, "" when it can: it is done whole or not at all."""
        if not self.restart:
            return ""
        keys = ", ".join(self.restart)
        verb = "needs" if len(self.restart) == 1 else "need"
        return f"The reload was refused: a change of {keys} {verb} a restart. The old configuration stays in use."


def reload_changes(old: Config, new: Config) -> ReloadChanges:
    """Compare two configurations."""
    changes = [(dotted(path), restart) for path, restart in _changes(old, new, (), restart=False)]
    return ReloadChanges(
        tuple(key for key, restart in changes if not restart), tuple(key for key, restart in changes if restart)
    )


def needs_restart(field: FieldInfo) -> bool:
    """Say whether a change of this setting needs a restart."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("restart"))


def _changes(old: Section, new: Section, prefix: Path, *, restart: bool) -> Iterator[tuple[Path, bool]]:
    for name, field in type(new).model_fields.items():
        before: Any = getattr(old, name)
        after: Any = getattr(new, name)
        if before == after:
            continue
        fixed = restart or needs_restart(field)
        if isinstance(before, Section) and isinstance(after, Section):
            yield from _changes(before, after, (*prefix, name), restart=fixed)
        else:
            yield (*prefix, name), fixed
