"""The read side of the catalog: accounts, identities, keys, suppression, pools; and who may log in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.model.account import Account, CoveringIdentity, Identity, PolicyTexts, Principal, SuppressionEntry
from relay.model.configuration_set import ConfigurationSet
from relay.model.feedback import FeedbackSettings
from relay.model.pool import PoolSnapshot
from relay.model.refusal import Refusal


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One DKIM key ready to sign: `algorithm` is rsa-sha256 or ed25519-sha256; `sign` takes the data to be signed."""

    domain: str
    selector: str
    algorithm: str
    sign: Callable[[bytes], bytes]


class Directory(Protocol):
    """The read side of the catalog, from bounded caches.

    `refresh` compares versions with the files on disk (a few microseconds) and drops what changed; call it once
    before the checks of a request. All other calls are synchronous and answer from what the last refresh saw.
    """

    def refresh(self) -> bool:
        """Drop what changed since the last call; say whether anything did."""
        ...

    def account(self, account_id: str) -> Account | None:
        """Return the account, None when there is none."""
        ...

    def principal(self, username: str) -> Principal | None:
        """Return who a user name belongs to while the credential is active and its account is not closed."""
        ...

    def configuration_set(self, account_id: str, name: str) -> ConfigurationSet | None:
        """Return a configuration set of an account, None when there is none of this name."""
        ...

    def pools(self) -> PoolSnapshot:
        """Return all source addresses and pools, the same object until one of them changes."""
        ...

    def user_policies(self, account_id: str, user: str) -> PolicyTexts:
        """Return the policies of a user; empty when it has none."""
        ...

    def covering(self, account_id: str, address: str) -> Sequence[CoveringIdentity]:
        """Return all identities of an account that cover an address, most specific first; none when it is closed.

        Identities that are not verified are among them: what their owner denies stays denied. Only the first that has
        policies comes with them.
        """
        ...

    def sending_identity(self, account_id: str, address: str) -> Identity | None:
        """Return the most specific verified identity that covers `address` (IDENT-002, 004 to 006), or None."""
        ...

    def is_mail_from_domain(self, domain: str) -> bool:
        """Return whether a lower-case domain is the MAIL FROM domain of any account (MFROM-011)."""
        ...

    def signing_keys(self, account_id: str, domain: str) -> Sequence[SigningKey]:
        """Return the active keys of a domain identity, RSA first; empty when it has none."""
        ...

    def feedback(self, account_id: str, key: str) -> FeedbackSettings:
        """Return an account's settings about an identity; `key` is that of `relay.policy.feedback.settings_key`."""
        ...

    def publishes(self, account_id: str, configuration_set: str, kind: str) -> bool:
        """Return whether a configuration set has an enabled destination for a kind of event (its `eventType`)."""
        ...

    def suppressed(self, account_id: str, address: str) -> SuppressionEntry | None:
        """Return the account's suppression entry for an address, compared without case (SUPP-018)."""
        ...


class Authenticator(Protocol):
    """Checks SMTP user names and passwords in constant time (CRED-005, CRED-008)."""

    def check(self, username: str, password: str) -> str | Refusal:
        """Return the account id, or the refusal; unknown users cost the same time as known ones."""
        ...
