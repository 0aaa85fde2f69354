"""What every group of settings has in common, and how one setting is declared."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

REQUIRED = ...


class Section(BaseModel):
    """A group of settings: immutable, without unknown keys, its defaults read like values from the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, regex_engine="python-re")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, data: Any) -> Any:
        """Read a known key without a value (`limits:` and nothing below it) as if it were not there."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


def setting(default: Any, about: str, *, restart: bool = False, shown: str = "", **limits: Any) -> Any:
    """Declare a setting. `about` is its documentation, in one or more whole sentences.

    `restart`: a change needs a restart, a reload refuses it. `shown`: what documents print as its default or as an
    example when the default cannot be written down. `limits` are pydantic's (ge, le, min_length, max_length).
    """
    extra: dict[str, Any] = {"restart": restart, "shown": shown}
    return Field(default, description=about, json_schema_extra=extra, **limits)
