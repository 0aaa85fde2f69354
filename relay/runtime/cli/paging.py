"""All pages of a list of the catalog, one after the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def all_pages(page: Callable[[str], Sequence[T]], name: Callable[[T], str]) -> Iterator[T]:
    """Yield what is on each page; `page(after)` returns what follows a name, an empty one when there is no more."""
    found = page("")
    while found:
        yield from found
        found = page(name(found[-1]))
