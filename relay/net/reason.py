"""One printable line about an error of the network: for outcomes and logs."""

import os
import ssl

from relay.smtp.client.reply import printable


def reason(error: BaseException) -> str:
    """Return what went wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return printable(f"certificate: {error.verify_message}".encode())
    if isinstance(error, ssl.SSLError) and error.reason:
        return printable(error.reason.replace("_", " ").lower().encode())
    number = error.errno if isinstance(error, OSError) else None
    text = os.strerror(number) if number is not None and number > 0 else str(error) or type(error).__name__
    return printable(str(text).encode())
