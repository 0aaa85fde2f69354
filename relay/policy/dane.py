"""DANE for SMTP (RFC 7672, RFC 7671, RFC 6698): which TLSA records count, and whether a host's certificates fit.

Pure: takes records, the certificates of the handshake, names and the time. Usages 2 (DANE-TA) and 3 (DANE-EE) count;
0 and 1 cannot be used with mail exchangers (RFC 7672 section 3.1.3). Anything a stranger sends is bounded: ten
certificates, a path of at most ten.
"""

import datetime as dt
import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import ExtensionOID, NameOID

from relay.model.tls import Tlsa

DANE_TA, DANE_EE = 2, 3
WHOLE, KEY = 0, 1
EXACT, SHA256, SHA512 = 0, 1, 2
CHAIN_MAX = 10
RECORDS_MAX = 50

_DIGEST_BYTES = {SHA256: 32, SHA512: 64}
_FAULTS = (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion)


def usable(records: Sequence[Tlsa]) -> tuple[Tlsa, ...]:
    """Return the records that something can be checked with, the strongest digest of each kind only.

    Digest agility (RFC 7671 section 9): of one usage and selector, records with SHA-512 hide those with SHA-256;
    exact data always counts.
    """
    sound = [record for record in records[:RECORDS_MAX] if _sound(record)]
    best: dict[tuple[int, int], int] = {}
    for record in sound:
        kind = record.usage, record.selector
        best[kind] = max(best.get(kind, EXACT), record.matching)
    return tuple(
        dict.fromkeys(record for record in sound if record.matching in (EXACT, best[record.usage, record.selector]))
    )


def _sound(record: Tlsa) -> bool:
    if record.usage not in (DANE_TA, DANE_EE) or record.selector not in (WHOLE, KEY):
        return False
    if record.matching in _DIGEST_BYTES:
        return len(record.data) == _DIGEST_BYTES[record.matching]
    if record.matching != EXACT:
        return False
    try:
        if record.selector == WHOLE:
            x509.load_der_x509_certificate(record.data)
        else:
            load_der_public_key(record.data)
    except _FAULTS:
        return False
    return True


def mismatch(records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str], now_s: float) -> str:
    """Return "" when the certificates of a handshake (DER, leaf first) fit one of the usable records, else why not.

    For DANE-EE neither names nor dates count (RFC 7672 section 3.1.1); for DANE-TA both do, and the trust anchor has
    to be among what the host sent (section 3.1.2).
    """
    if not chain:
        return "the host showed no certificate"
    leaf = chain[0]
    ends = [record for record in records if record.usage == DANE_EE]
    anchors = [record for record in records if record.usage == DANE_TA]
    try:
        if any(_fits(record, leaf) for record in ends):
            return ""
        if not anchors:
            return "the certificate fits none of the TLSA records"
        return _anchored(anchors, [x509.load_der_x509_certificate(one) for one in chain[:CHAIN_MAX]], names, now_s)
    except Exception:  # noqa: BLE001 - whatever a stranger's certificate does to the library, it proves nothing
        return "a certificate of the host cannot be read"


def _fits(record: Tlsa, certificate: bytes) -> bool:
    if record.selector == WHOLE:
        selected = certificate
    else:
        key = x509.load_der_x509_certificate(certificate).public_key()
        selected = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if record.matching == SHA256:
        return hashlib.sha256(selected).digest() == record.data
    if record.matching == SHA512:
        return hashlib.sha512(selected).digest() == record.data
    return selected == record.data


def _anchored(anchors: Sequence[Tlsa], chain: Sequence[x509.Certificate], names: Sequence[str], now_s: float) -> str:
    """Follow the issuers of the leaf among what was sent, until one of them fits a record."""
    now = dt.datetime.fromtimestamp(now_s, dt.UTC)
    current, path = chain[0], 1
    while path < CHAIN_MAX:
        if not current.not_valid_before_utc <= now <= current.not_valid_after_utc:
            return "certificate has expired or is not valid yet"
        issuer = next((one for one in chain[1:] if _issued(current, one)), None)
        if issuer is None:
            break
        if any(_fits(record, issuer.public_bytes(Encoding.DER)) for record in anchors):
            if not issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc:
                return "certificate has expired or is not valid yet"
            return "" if names_match(chain[0], names) else "hostname mismatch: the certificate is for another name"
        if issuer == current:
            break
        current, path = issuer, path + 1
    return "no issuer of the certificate fits the TLSA records"


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject or not _is_authority(issuer):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except _FAULTS:
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return found.value.ca


def names_match(certificate: x509.Certificate, names: Sequence[str]) -> bool:
    """Say whether a certificate is for one of some names; a wildcard is a whole first label (RFC 7672 3.2.3)."""
    wanted = {name.lower().rstrip(".") for name in names}
    return any(_names(presented.lower().rstrip("."), wanted) for presented in _presented(certificate))


def _names(presented: str, wanted: set[str]) -> bool:
    if not presented.startswith("*."):
        return presented in wanted
    return presented.count(".") > 1 and any(name.partition(".")[2] == presented[2:] for name in wanted)


def _presented(certificate: x509.Certificate) -> Sequence[str]:
    try:
        found = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        assert isinstance(found, x509.SubjectAlternativeName)
        if names := found.get_values_for_type(x509.DNSName):
            return names
    except x509.ExtensionNotFound:
        pass
    return [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[:1]]
