"""Shape, sign, convert for a next hop without 8BITMIME, sign again: the signature verifies in both forms (L08)."""

import dkim as dkimpy
import pytest

from relay.mail.compose import ShapeRules, shape
from relay.mail.encode import downgrade, strip_own_signatures
from relay.mail.headers import parse_head
from relay.mail.scan import scan_body
from relay.ports import SigningKey
from relay.signing import keys
from relay.signing.dkim import sign
from tests.unit.mail.messages import HEAD, MESSAGE_ID, NOW_MS, submission


@pytest.mark.req("MIME-008")
def test_signature_verifies_before_and_after_conversion():
    key = keys.load(keys.generate(keys.KeyKind.RSA))
    signing = [SigningKey("sender.example", "s1", keys.algorithm_of(key), keys.signer(key))]

    def verified(message):
        return dkimpy.verify(message, dnsfunc=lambda name, timeout=5: keys.public_record(key).encode())

    head = b"Bcc: x@y.example\r\nX-SES-CONFIGURATION-SET: one\r\n" + HEAD
    body = "Grüße ".encode() * 100 + b"\r\n"
    shaped = shape(submission(head, body), ShapeRules("relay.example"), MESSAGE_ID, NOW_MS)
    signed = sign(shaped.fields, shaped.facts.sha256_relaxed, signing, NOW_MS // 1000) + shaped.head
    assert verified(signed + shaped.body)

    stripped, domains = strip_own_signatures(signed)
    assert (stripped, domains) == (shaped.head, ["sender.example"])
    new_head, new_body = downgrade(stripped, shaped.body)
    assert new_body.isascii()
    again = sign(parse_head(new_head), scan_body(new_body).sha256_relaxed, signing, NOW_MS // 1000)
    assert verified(again + new_head + new_body)
