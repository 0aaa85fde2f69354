"""placeholder until relay.signing.keys."""

import base64
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa


def generate_rsa() -> bytes:
    k = rsa.generate_private_key(65537, 2048)
    return k.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())


def generate_ed25519() -> bytes:
    k = ed25519.Ed25519PrivateKey.generate()
    return k.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())


def public_txt(pem: bytes) -> str:
    k = ser.load_pem_private_key(pem, None)
    if isinstance(k, ed25519.Ed25519PrivateKey):
        return (
            "v=DKIM1; k=ed25519; p="
            + base64.b64encode(k.public_key().public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)).decode()
        )
    return (
        "v=DKIM1; k=rsa; p="
        + base64.b64encode(
            k.public_key().public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
        ).decode()
    )


def load_signer(pem: bytes) -> Callable[[bytes], bytes]:
    k = ser.load_pem_private_key(pem, None)
    if isinstance(k, ed25519.Ed25519PrivateKey):
        return k.sign
    return lambda data: k.sign(data, padding.PKCS1v15(), hashes.SHA256())
