"""What a certificate says about whom it is for and who vouches: for people, not for decisions."""

from cryptography import x509

NAME_MAX_CHARACTERS = 250


def names_of(der: bytes) -> tuple[str, str]:
    """Return subject and issuer of a certificate (RFC 4514), each cut; empty when it cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = (certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string())
    except (ValueError, TypeError, x509.InvalidVersion):
        return "", ""
    subject, issuer = (_printable(name)[:NAME_MAX_CHARACTERS] for name in names)
    return subject, issuer


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
