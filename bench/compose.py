"""CPU microseconds a message costs in shaping, signing and payloads.

    python -m bench.compose [rounds]

A 10-KB message with 10 header fields. RSA itself is shown apart: it is the one thing that cannot be made cheaper.
"""

import sys
import time
from collections.abc import Callable

from relay.events import payload
from relay.mail.compose import Shaped, ShapeRules, shape
from relay.mail.returnpath import make, read
from relay.mail.scan import scan_body
from relay.model.content import Content
from relay.model.message import Protocol, Submission
from relay.ports import SigningKey
from relay.signing import keys
from relay.signing.dkim import sign

HEAD = (
    b"From: App <app@sender.example>\r\nTo: Somebody <someone@rcpt.example>\r\n"
    b"Subject: A message of the usual kind\r\nDate: Mon, 23 Nov 2026 03:38:23 +0000\r\n"
    b"Message-ID: <abc.123@sender.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 7bit\r\nX-Mailer: app 1.0\r\nReply-To: help@sender.example\r\n\r\n"
)
BODY = (b"x" * 76 + b"\r\n") * 128
MESSAGE_ID = "00010193abcdef01-01234567-89ab-4def-8123-456789abcdef-000000"
NOW_MS = 1_795_405_103_000


def measure(name: str, call: Callable[[], object], rounds: int) -> None:
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        for _ in range(rounds):
            call()
        best = min(best, (time.process_time() - begun) / rounds)
    print(f"{name:34} {best * 1e6:8.1f} us")


def main(rounds: int) -> None:
    submission = Submission(
        "000000000001", "user", "app@sender.example", ("someone@rcpt.example",), Content(HEAD, BODY),
        scan_body(BODY), Protocol.ESMTPSA, False, "192.0.2.1", "client.example",
    )  # fmt: skip
    rules = ShapeRules("relay.example")
    shaped = shape(submission, rules, MESSAGE_ID, NOW_MS)
    assert isinstance(shaped, Shaped)
    key = keys.load(keys.generate(keys.KeyKind.RSA))
    real = [SigningKey("sender.example", "s1", "rsa-sha256", keys.signer(key))]
    free = [SigningKey("sender.example", "s1", "rsa-sha256", lambda data: bytes(256) or data)]
    digest = shaped.facts.sha256_relaxed

    def mail() -> bytes:
        return payload.mail(
            shaped, timestamp_ms=NOW_MS, message_id=MESSAGE_ID, source="app@sender.example", source_arn="arn",
            account="000000000001", destination=submission.recipients, source_ip="192.0.2.1", caller="user",
        )  # fmt: skip

    rendered = mail()
    token = make(MESSAGE_ID, 0, b"k" * 32)
    measure("shape", lambda: shape(submission, rules, MESSAGE_ID, NOW_MS), rounds)
    measure("join head", lambda: shaped.head, rounds)
    measure("sign, without RSA", lambda: sign(shaped.fields, digest, free, NOW_MS // 1000), rounds)
    measure("sign, with RSA-2048", lambda: sign(shaped.fields, digest, real, NOW_MS // 1000), max(1, rounds // 20))
    measure("scan of the body", lambda: scan_body(BODY), rounds)
    measure("payload: mail object", mail, rounds)
    measure("payload: Send event", lambda: payload.send(rendered), rounds)
    measure("return path: make", lambda: make(MESSAGE_ID, 0, b"k" * 32), rounds)
    measure("return path: read", lambda: read(token, b"k" * 32), rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
