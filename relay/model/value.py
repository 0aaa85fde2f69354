"""`dataclass` for values that every message makes: frozen for the type checker, plain while the relay runs. Pure.

A frozen dataclass sets each field by a call, 0.1 us; the values of one message have 180 fields. Nobody changes them
all the same: mypy refuses it, as for every other value, and they are compared and hashed by their fields.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - given on
else:

    def dataclass(*, frozen: bool = False, slots: bool = False) -> Callable[[type], type]:
        """Return the decorator that `dataclasses.dataclass` returns, without the guard of frozen ones."""
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)
