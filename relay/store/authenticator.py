"""Checks SMTP user names and passwords against the catalog (CRED-001 to 008; port `Authenticator`).

Every check is the same work whatever the user: one keyed hash of name and password, and one constant-time comparison
for each accepted region. What is compared with are keyed hashes too: for an access key those of the passwords derived
from its secret, for a stand-alone user the stored one between random ones, for an unknown user random ones. They are
made once for each credential, known or unknown alike, and kept in bounded caches; a later login costs a few
microseconds (decision 22). A password with another version byte than 0x04 equals none of them (CRED-008).
"""

import hmac
import os
from collections.abc import Sequence

from relay.errors import RelayError
from relay.model.account import AccountState
from relay.model.refusal import Reason, Refusal
from relay.signing import secrets
from relay.store.catalog_credentials import VERIFIER_PURPOSE, CredentialKind, owner_of, verifier
from relay.store.directory import CatalogDirectory, StoredCredential
from relay.store.directory_cache import Cache

KNOWN_MAX = 4096
UNKNOWN_MAX = 1024

_DUMMY_OWNER = owner_of("000000000000", "nobody")

_Hashes = tuple[bytes, ...]


class CatalogAuthenticator:
    """Answers AUTH from a directory. `regions` are the names that derived passwords may be bound to (CRED-005)."""

    def __init__(self, directory: CatalogDirectory, master_key: bytes, regions: Sequence[str]) -> None:
        self._directory = directory
        self._regions = tuple(dict.fromkeys(regions))
        self._key = secrets.derive(master_key, VERIFIER_PURPOSE)
        self._sealer = secrets.Sealer(master_key)
        self._dummy = self._sealer.seal(secrets.new_access_key_secret().encode(), _DUMMY_OWNER)
        self._known: Cache[str, tuple[bytes, _Hashes]] = Cache(KNOWN_MAX)
        self._unknown: Cache[str, tuple[bytes, _Hashes]] = Cache(UNKNOWN_MAX)

    def check(self, username: str, password: str) -> str | Refusal:
        """Return the account id, or the refusal.

        AUTH_TEMPORARY while the catalog cannot be read (SMTP-012), ACCOUNT_CLOSED for valid credentials of a closed
        account (SMTP-011), CREDENTIALS_INVALID for everything else.
        """
        try:
            self._directory.refresh()
            credential = self._directory.credential(username)
            candidates = self._candidates(username, credential)
            account = self._directory.account(credential.account if credential else "")
        except RelayError:
            return Refusal(Reason.AUTH_TEMPORARY)
        given = verifier(self._key, username, password)
        matched = False
        for candidate in candidates:
            matched |= hmac.compare_digest(given, candidate)
        if not matched or credential is None or account is None:
            return Refusal(Reason.CREDENTIALS_INVALID)
        return Refusal(Reason.ACCOUNT_CLOSED) if account.state is AccountState.CLOSED else account.account_id

    def _candidates(self, username: str, credential: StoredCredential | None) -> _Hashes:
        """Return the hashes a right password would have, as many for every kind of user."""
        cache = self._known if credential is not None else self._unknown
        name = username[:256]
        protected = credential.protected if credential is not None else b""
        cached = cache.get(name)
        if cached is not None and cached[0] == protected:
            return cached[1]
        hashes = self._derive(username, credential)
        cache.put(name, (protected, hashes))
        return hashes

    def _derive(self, username: str, credential: StoredCredential | None) -> _Hashes:
        is_key = credential is not None and credential.kind is CredentialKind.ACCESS_KEY
        sealed, owner = self._dummy, _DUMMY_OWNER
        if credential is not None and is_key:
            sealed, owner = credential.protected, owner_of(credential.account, credential.username)
        secret = self._sealer.open(sealed, owner).decode()
        derived = secrets.smtp_passwords(secret, self._regions)
        hashes = [verifier(self._key, username, password) for password in derived]
        if is_key:
            return tuple(hashes)
        hashes = [os.urandom(32) for _ in hashes]
        if credential is not None:
            hashes[-1:] = [credential.protected]
        return tuple(hashes)
