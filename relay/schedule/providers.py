"""Which provider a mail host or a domain belongs to: hundreds of patterns, a few look-ups. Pure.

A pattern is a name, `*.name` for everything below a name, or a name with `*` and `?` in its first labels
(`mx*.example.com`). The closest pattern counts: the name itself, then patterns by how much of the name they spell
out, one with wildcards inside before `*.`; where two are equal, the one that was given first.
"""

from collections.abc import Iterable

from relay.policy.glob import Glob


class NameTable:
    """Patterns, each with the name of its provider."""

    __slots__ = ("_below", "_exact", "_globs")

    def __init__(self, patterns: Iterable[tuple[str, str]] = ()) -> None:
        self._exact: dict[str, tuple[str, str]] = {}
        self._below: dict[str, tuple[str, str]] = {}
        self._globs: dict[str, list[tuple[Glob, str]]] = {}
        for pattern, provider in patterns:
            self._add(pattern.lower(), provider)

    def _add(self, pattern: str, provider: str) -> None:
        if "*" not in pattern and "?" not in pattern:
            self._exact.setdefault(pattern, (provider, pattern))
            return
        labels = pattern.split(".")
        last = max(index for index, label in enumerate(labels) if "*" in label or "?" in label)
        rest = ".".join(labels[last + 1 :])
        if pattern == f"*.{rest}":
            self._below.setdefault(rest, (provider, pattern))
        else:
            self._globs.setdefault(rest, []).append((Glob(pattern), provider))

    def __bool__(self) -> bool:
        return bool(self._exact or self._below or self._globs)

    def find(self, name: str) -> tuple[str, str] | None:
        """Return the provider of a name (lower case) and the pattern that says so, None when no pattern fits."""
        found = self._exact.get(name)
        rest = name
        while found is None and rest:
            rest = rest.partition(".")[2]
            for glob, provider in self._globs.get(rest, ()):
                if glob.fits(name):
                    return provider, glob.pattern
            found = self._below.get(rest) if rest else None
        return found
