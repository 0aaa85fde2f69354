"""Verifies DKIM signatures as a receiver does (RFC 6376 section 6), with dkimpy; the caller looks names up."""

from collections.abc import Callable

import dkim

KEY_MIN_BITS = 1024
SIGNATURES_MAX = 8


def dkim_results(content: bytes, lookup: Callable[..., bytes | None]) -> list[tuple[str, str, str]]:
    """Return (pass or fail, domain, selector) for each DKIM-Signature of a message, newest first."""
    results = []
    try:
        verifier = dkim.DKIM(content, minkey=KEY_MIN_BITS)
    except Exception:  # noqa: BLE001 (the parser raises whatever it likes on hostile headers)
        return []
    count = sum(1 for name, _ in verifier.headers if name.lower() == b"dkim-signature")
    for index in range(min(count, SIGNATURES_MAX)):
        verifier.signature_fields = {}
        try:
            passed = verifier.verify(idx=index, dnsfunc=lookup)
        except Exception:  # noqa: BLE001 (hostile signatures raise whatever they like in the parser)
            passed = False
        tags: dict[bytes, bytes] = verifier.signature_fields or {}
        domain = tags.get(b"d", b"?").decode("ascii", "replace")
        selector = tags.get(b"s", b"?").decode("ascii", "replace")
        results.append(("pass" if passed else "fail", domain, selector))
    return results
