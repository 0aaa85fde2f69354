"""Signatures of topic notifications: what is signed, with which scheme, and how to verify it (TOPIC-110 to 112).

The string to sign has a line with the name and a line with the value of each signed field, in the order of the
alphabet. Version 1 is SHA1withRSA, version 2 SHA256withRSA, both PKCS#1 v1.5, in base64.

`verify` is for consumers too: it needs only the parsed body and the certificate that `SigningCertURL` leads to. From
where that certificate may come is decided before it is fetched: see `cert_url_fault`.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

NOTIFICATION: Final = "Notification"
SUBSCRIPTION_CONFIRMATION: Final = "SubscriptionConfirmation"
UNSUBSCRIBE_CONFIRMATION: Final = "UnsubscribeConfirmation"
VERSIONS: Final = ("1", "2")

_CONFIRMATION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED: Final[Mapping[str, tuple[str, ...]]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION_CONFIRMATION: _CONFIRMATION,
    UNSUBSCRIBE_CONFIRMATION: _CONFIRMATION,
}
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "1": hashes.SHA1(),  # noqa: S303 - what version 1 is
    "2": hashes.SHA256(),
}
_CERT_URL = re.compile(r"https?://(?P<host>[A-Za-z0-9.\[\]:-]+)/SimpleNotificationService-[0-9a-f]{8,64}\.pem\Z")


def string_to_sign(fields: Mapping[str, str]) -> bytes:
    """Return what is signed of a body, whose `Type` is one of three. Raise ValueError for what is none."""
    names = SIGNED.get(fields.get("Type", ""))
    if names is None:
        raise ValueError("the Type is none of Notification, SubscriptionConfirmation, UnsubscribeConfirmation")
    lines: list[str] = []
    for name in names:
        value = fields.get(name)
        if value is None and name == "Subject":
            continue
        if not isinstance(value, str):
            raise ValueError(f"the field {name} is missing or no text")  # noqa: TRY004 - one error for all that is wrong
        lines += (name, value)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")


def sign(key: rsa.RSAPrivateKey, version: str, fields: Mapping[str, str]) -> str:
    """Return the signature of a body in base64."""
    return base64.b64encode(key.sign(string_to_sign(fields), padding.PKCS1v15(), _HASHES[version])).decode()


def verify(fields: Mapping[str, str], certificate_pem: bytes) -> str:
    """Return why a body was not signed with the key of a certificate, "" when it was. Never raises."""
    try:
        public = x509.load_pem_x509_certificate(certificate_pem).public_key()
        signature = base64.b64decode(fields.get("Signature", ""), validate=True)
        algorithm = _HASHES[fields.get("SignatureVersion", "")]
        data = string_to_sign(fields)
    except KeyError:
        return "the SignatureVersion is neither 1 nor 2"
    except binascii.Error:
        return "the Signature is no base64"
    except (ValueError, TypeError) as error:
        return str(error) or "the certificate cannot be read"
    if not isinstance(public, rsa.RSAPublicKey):
        return "the certificate has no RSA key"
    try:
        public.verify(signature, data, padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        return "the signature is not that of this text and certificate"
    return ""


def cert_url_fault(url: str, host: str) -> str:
    """Return why a `SigningCertURL` must not be fetched, "" when it leads to `host` (with its port, if any).

    A body names the place of its own certificate, so a forger would name his: only the relay's host is right.
    """
    match = _CERT_URL.match(url)
    if match is None:
        return "the SigningCertURL has not the form of one"
    if match["host"].lower() != host.lower():
        return f"the SigningCertURL leads to {match['host']}, not to {host}"
    return ""
