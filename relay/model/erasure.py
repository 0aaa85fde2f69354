"""Taking an address out of what is kept: which texts mention it, and what they say without it. Pure.

An address is found as a whole, without regard to case, in JSON and in plain text: `ann@example.org` is not found in
`joann@example.org` or in `ann@example.org.uk`.
"""

import re
from typing import Final

import orjson

ERASED: Final = b"erased@erased.invalid"
_BEFORE: Final = rb"(?<![A-Za-z0-9+_.\-\x80-\xff])"  # others may stand in an address, but rather are around one
_AFTER: Final = rb"(?![A-Za-z0-9\x80-\xff_-])(?!\.[A-Za-z0-9\x80-\xff])"
_LONE: Final = re.compile(r"""[^\s"<>(),;:=/\\\[\]{}@]+@[^\s"<>(),;:=/\\\[\]{}@]+""")


class Erasure:
    """One address that is to be erased."""

    def __init__(self, address: str) -> None:
        """Raise ValueError for what is no address: nearly everything might be mentioned then."""
        if "@" not in address[1:-1]:
            raise ValueError(f"{address!r} is no address")
        self.address = address
        plain = address.encode("utf-8", "surrogateescape")
        forms = {plain, orjson.dumps(address)[1:-1]} if plain.isascii() else {plain}
        either = b"|".join(re.escape(form) for form in sorted(forms))
        self._pattern = re.compile(_BEFORE + b"(?:" + either + b")" + _AFTER, re.IGNORECASE)

    def is_value(self, value: str) -> bool:
        """Say whether a stored value mentions the address; one that is an address as a whole is it or another."""
        if _LONE.fullmatch(value):
            return self.is_it(value)
        return self.mentioned(value.encode("utf-8", "surrogateescape"))

    def is_it(self, address: str) -> bool:
        """Say whether an address is the one."""
        return address.lower() == self.address.lower()

    def mentioned(self, data: bytes) -> bool:
        """Say whether a text mentions the address."""
        return self._pattern.search(data) is not None

    def erased(self, data: bytes) -> bytes:
        """Return a text with another address in the place of each mention; JSON stays JSON."""
        return self._pattern.sub(ERASED, data)
