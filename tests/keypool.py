"""Private keys for tests that make many domains: real ones, made once a process and given out in turn."""

import itertools
from functools import cache

from relay.signing.keys import KeyKind, generate

RSA_KEYS = 6  # two domains of three keys have no key in common


@cache
def _turns():
    return itertools.cycle([generate(KeyKind.RSA) for _ in range(RSA_KEYS)])


def new_key(kind):
    """Stand in for `relay.signing.keys.generate`; Ed25519 keys cost nothing and are always new."""
    return next(_turns()) if kind is KeyKind.RSA else generate(kind)
