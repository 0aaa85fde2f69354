"""The 7-bit form of a message for a next hop without 8BITMIME, signed again (RFC 6152 section 3, MIME-008)."""

from relay.mail.encode import Unconvertible, downgrade, strip_own_signatures
from relay.mail.headers import parse_head
from relay.mail.scan import scan_body
from relay.model.content import Content
from relay.pipeline.promise import RELAY_ACCOUNT, AcceptRules
from relay.ports import Clock, Directory, SigningKey
from relay.signing.dkim import sign


class Downgrader:
    """Converts messages of this worker; the author's keys sign the converted form."""

    def __init__(self, directory: Directory, clock: Clock, rules: AcceptRules) -> None:
        self.rules = rules
        self._directory = directory
        self._clock = clock

    def convert(self, content: Content, account: str) -> Content | None:
        """Return the message in 7 bits; None where a signature of others, or its size, forbids that.

        Raise StorageError when the keys that sign it cannot be read now.
        """
        if not isinstance(content.body, bytes):
            return None
        head, domains = strip_own_signatures(content.head)
        converted = downgrade(head, content.body)
        if isinstance(converted, Unconvertible):
            return None
        head, body = converted
        fields = parse_head(head)
        if not isinstance(fields, list):
            return None
        keys = [key for domain in dict.fromkeys(domains) for key in self._keys(account, domain)]
        now_s, expire_s = self._clock.now_ms() // 1000, self.rules.dkim_expire_s
        signature = sign(fields, scan_body(body).sha256_relaxed, keys, now_s, expire_s=expire_s)
        return Content(signature + head, body)

    def _keys(self, account: str, domain: str) -> list[SigningKey]:
        """Return what signs for a domain that the first signature named: the account's keys, or the relay's own."""
        keys = self._directory.signing_keys(account, domain)
        if not keys and domain == self.rules.shape.hostname:
            keys = self._directory.signing_keys(RELAY_ACCOUNT, domain)
        return [key for key in keys if self.rules.ed25519 or key.algorithm != "ed25519-sha256"]
