"""Public suffixes: names under which anybody may register, such as `co.uk` or `github.io`.

The list comes with the library and is read from its file at the first question; nothing is fetched. The private
section counts too: whoever holds `github.io` says that each name below it belongs to somebody else. A top-level
domain that the list does not know counts as a suffix itself.
"""

from functools import cache

from publicsuffixlist import PublicSuffixList


def is_public_suffix(domain: str) -> bool:
    """Return whether a lower-case A-label domain is itself a public suffix."""
    return domain == _suffixes().publicsuffix(domain)


def registrable_domain(domain: str) -> str:
    """Return the organizational domain of a name (RFC 7489 section 3.2), or the name when it is a suffix itself."""
    return _suffixes().privatesuffix(domain) or domain


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=True, only_icann=False)
