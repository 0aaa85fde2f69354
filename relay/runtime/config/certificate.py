"""Checks of the certificate and key that listeners show: readable, private, matching, in date, for this host.

One that is out of date is a warning: clients that check it stay away, but a relay that did not start, or took on no
new settings, would neither serve the others nor deliver what it has; and a clock may be wrong.
"""

import datetime as dt
import stat
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from relay.runtime.config.faults import Path as KeyPath
from relay.runtime.config.faults import Severity
from relay.runtime.config.model import Config

EXPIRY_WARNING_DAYS = 14
_FILE_SIZE_MAX_BYTES = 1 << 20
_CERTIFICATE: KeyPath = ("tls", "certificate")
_KEY: KeyPath = ("tls", "key")
_Found = Iterator[tuple[Severity, KeyPath, str]]


def certificate_findings(config: Config, now_ms: int) -> _Found:
    """Yield what is wrong with `tls`, when a listener uses it."""
    if all(listener.tls == "none" for listener in config.listeners):
        return
    chain, wrong = _chain(config.tls.certificate)
    if wrong:
        yield "error", _CERTIFICATE, wrong
    key, wrong = _key(config.tls.key)
    if wrong:
        yield "error", _KEY, wrong
    if not chain:
        return
    if key and _public(chain[0].public_key()) != _public(key.public_key()):
        yield "error", _KEY, "does not belong to the certificate; name the key it was made with"
    yield from _dates(chain[0], now_ms)
    if not _covers(chain[0], config.hostname):
        yield "warning", _CERTIFICATE, f"is not for {config.hostname}; clients that check names will refuse it"


def _chain(path: Path) -> tuple[list[x509.Certificate], str]:
    try:
        return x509.load_pem_x509_certificates(_content(path)), ""
    except OSError as error:
        return [], f"cannot be read: {path}: {error.strerror}"
    except ValueError:
        return [], f"is not a certificate in PEM form: {path}"


def _key(path: Path) -> tuple[PrivateKeyTypes | None, str]:
    try:
        key = load_pem_private_key(_content(path), password=None)
        everybody = path.stat().st_mode & stat.S_IROTH
    except OSError as error:
        return None, f"cannot be read: {path}: {error.strerror}"
    except TypeError:
        return None, f"is encrypted: {path}; write it without a password"
    except (ValueError, UnsupportedAlgorithm):
        return None, f"is not a private key in PEM form: {path}"
    return key, f"can be read by everybody; `chmod 600 {path}`" if everybody else ""


def _dates(certificate: x509.Certificate, now_ms: int) -> _Found:
    now = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC)
    until = certificate.not_valid_after_utc
    if until <= now:
        yield "warning", _CERTIFICATE, f"expired on {until:%Y-%m-%d}; renew it: clients that check it refuse it"
    elif until - now < dt.timedelta(days=EXPIRY_WARNING_DAYS):
        yield "warning", _CERTIFICATE, f"expires on {until:%Y-%m-%d}; renew it"
    if certificate.not_valid_before_utc > now:
        text = f"is valid from {certificate.not_valid_before_utc:%Y-%m-%d} only; check the clock"
        yield "warning", _CERTIFICATE, text


def _covers(certificate: x509.Certificate, hostname: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    wildcard = "*." + hostname.partition(".")[2]
    return any(name.lower() in (hostname, wildcard) for name in names.get_values_for_type(x509.DNSName))


def _public(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]


def _content(path: Path) -> bytes:
    """Return a file's bytes; raise OSError for what is no regular file of sensible size."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "not a regular file")
    with path.open("rb") as stream:
        data = stream.read(_FILE_SIZE_MAX_BYTES + 1)
    if len(data) > _FILE_SIZE_MAX_BYTES:
        raise OSError(0, "larger than 1 MiB")
    return data
