"""TLS contexts for connections that we open.

Opportunistic TLS takes any certificate and TLS 1.0 on (TLS-003): weak encryption is better than the clear text that
would follow. Where TLS is required and verified, 1.2 on, with the host's name in a trusted certificate. The oldest
version is the caller's choice.

Sessions are not resumed. Connections are reused instead; a resumed TLS 1.3 handshake takes as many round trips and
as much time as a full one (measured, both ends together: 1.2 ms against 1.1 ms), and would skip the certificate.
"""

import ssl
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

_ENCODING_DER = 2  # of OpenSSL, as `ssl` itself uses it

VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


@lru_cache(maxsize=16)
def opportunistic(minimum: str = "1.0") -> ssl.SSLContext:
    """Return a context that encrypts to anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = VERSIONS[minimum]
    if VERSIONS[minimum] < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL 3 has no TLS 1.0 above this level
    return context


def verified(ca_file: str = "", minimum: str = "1.2") -> ssl.SSLContext:
    """Return a context that insists on a trusted certificate for the host's name; "" trusts the system's list."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = max(VERSIONS[minimum], ssl.TLSVersion.TLSv1_2)
    return context


def trusting_also(ca_file: str = "") -> ssl.SSLContext:
    """Return a context as `verified`, that trusts the authorities of a file beside those of the system."""
    context = verified()
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context


def chain(tls: ssl.SSLObject) -> Sequence[bytes]:
    """Return the certificates that the host sent, DER, its own first.

    `SSLObject.get_unverified_chain` is public from Python 3.13 on. 3.11 and 3.12 have the same function one layer
    below, where the public one calls it. Should neither be there, only the host's own certificate is known: DANE-EE
    works, DANE-TA finds no issuer and defers, and nothing is ever taken for authenticated that is not.
    """
    public: Any = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return list(public())
    below: Any = getattr(getattr(tls, "_sslobj", None), "get_unverified_chain", None)
    if below is not None:
        return [one.public_bytes(_ENCODING_DER) for one in below() or ()]
    leaf = tls.getpeercert(binary_form=True)
    return [leaf] if leaf else []
