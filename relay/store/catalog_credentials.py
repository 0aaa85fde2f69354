"""Credentials of the catalog: access keys, whose secret is sealed, and stand-alone SMTP users (decision 22).

An access key's secret must be known to compute the passwords derived from it (CRED-003) and to check signatures. Of
an SMTP user's password only a keyed hash is kept. Both are shown once, when they are made.
"""

import hmac
import re
from dataclasses import dataclass
from enum import StrEnum

from relay.errors import UsageError
from relay.signing import secrets
from relay.store.catalog_tables import Row, Tables
from relay.store.catalog_users import SENDING_POLICY, SENDING_POLICY_NAME, add_user

NAME_MAX_CHARACTERS = 128
VERIFIER_PURPOSE = "relay smtp verifier v1"

_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+=,-]{0,127}\Z")


class CredentialKind(StrEnum):
    """What a credential is (CRED-001)."""

    ACCESS_KEY = "access-key"
    SMTP_USER = "smtp-user"


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential as lists show it. `username` is the key id of an access key; times are ms since 1970.

    `user` is whose policies it acts under, "" for the account itself, which may do everything.
    """

    username: str
    kind: CredentialKind
    account: str
    name: str
    created_ms: int
    revoked_ms: int | None = None
    user: str = ""


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential just made, with what can never be shown again: an access key's secret or a user's password."""

    credential: Credential
    secret: str

    def smtp_password(self, region: str) -> str:
        """Return the password for SMTP: derived for `region` from an access key's secret, or the user's own."""
        if self.credential.kind is CredentialKind.SMTP_USER:
            return self.secret
        return secrets.smtp_password(self.secret, region)


class Credentials:
    """Makes, lists and revokes credentials."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def create_access_key(self, account: str, name: str = "", *, user: str = "") -> NewCredential:
        """Make an access key for the API, with SMTP passwords derived from its secret for each region."""
        secret = secrets.new_access_key_secret()
        key_id = secrets.new_access_key_id()
        return NewCredential(self._add(key_id, CredentialKind.ACCESS_KEY, account, name, secret, user), secret)

    def create_smtp_user(self, account: str, name: str = "", *, username: str = "", user: str = "") -> NewCredential:
        """Make stand-alone SMTP credentials with a random password; without `username` the name is random too.

        A `user` that does not exist is made, with a policy that allows sending (CRED-010).
        """
        if username and (not _USERNAME.match(username) or secrets.is_access_key_id(username)):
            msg = (
                "A user name has 1 to 128 letters, digits and ._@+=,- and does not look like a key id "
                f"(20 upper-case letters and digits); {username!r} does not fit."
            )
            raise UsageError(msg)
        password = secrets.new_smtp_user_password()
        chosen = username or secrets.new_smtp_user()
        return NewCredential(self._add(chosen, CredentialKind.SMTP_USER, account, name, password, user), password)

    def import_access_key(self, account: str, key_id: str, secret: str, name: str = "") -> Credential:
        """Take over an existing key, so that applications keep the SMTP passwords they have (CRED-003).

        A key that was revoked here comes back, in the account it belonged to.
        """
        if not secrets.is_access_key_id(key_id):
            msg = "An access key id has 20 upper-case letters and digits."
            raise UsageError(msg)
        if not secrets.is_access_key_secret(secret):
            msg = "A secret access key has 40 letters, digits, / and +; an SMTP password cannot replace it."
            raise UsageError(msg)
        return self._add(key_id, CredentialKind.ACCESS_KEY, account, name, secret)

    def get(self, username: str) -> Credential | None:
        """Return a credential, None when there is none."""
        row = self._tables.row("get_credential", {"username": username})
        return credential_of(row) if row else None

    def list(self, account: str | None = None) -> list[Credential]:
        """Return the credentials of an account, or of all; revoked ones have `revoked_ms`."""
        if account is None:
            return [credential_of(row) for row in self._tables.rows("list_all_credentials", {})]
        self._tables.require_account(account)
        return [credential_of(row) for row in self._tables.rows("list_credentials", {"account": account})]

    def revoke(self, username: str) -> Credential:
        """End a credential for good; open sessions of it end before their next message (CRED-011)."""
        credential = self.get(username)
        if credential is None:
            raise UsageError(f"There is no credential {username}.")
        with self._tables.writing(credential.account):
            if not self._tables.run("revoke_credential", {"username": username, "now_ms": self._tables.now_ms()}):
                raise UsageError(f"Credential {username} is revoked already.")
        return self.get(username) or credential

    def _add(  # noqa: PLR0917 - what a credential is made of
        self, username: str, kind: CredentialKind, account: str, name: str, secret: str, user: str = ""
    ) -> Credential:
        if len(name) > NAME_MAX_CHARACTERS or not name.isprintable():
            raise UsageError(f"A credential's name has at most {NAME_MAX_CHARACTERS} printable characters.")
        values = {
            "username": username,
            "kind": str(kind),
            "account": account,
            "name": name,
            "sealed": self._protected(username, kind, account, secret),
            "created_ms": self._tables.now_ms(),
            "user": user,
        }
        with self._tables.writing(account):
            self._tables.require_account(account)
            if user:
                self._belong(account, user, kind)
            if not self._tables.run("create_credential", values) and not self._restore(values):
                raise UsageError(f"Credential {username} exists already.")
        row = self._tables.row("get_credential", {"username": username})
        assert row is not None
        return credential_of(row)

    def _belong(self, account: str, user: str, kind: CredentialKind) -> None:
        """Make sure of a user, inside a transaction: new SMTP credentials bring theirs along, a key does not."""
        if self._tables.row("get_user", {"account": account, "name": user}) is not None:
            return
        if kind is not CredentialKind.SMTP_USER:
            raise UsageError(f"Account {account} has no user {user}.")
        add_user(self._tables, account, user)
        values = {"account": account, "user": user, "name": SENDING_POLICY_NAME, "document": SENDING_POLICY}
        self._tables.run("put_user_policy", {**values, "updated_ms": self._tables.now_ms()})

    def _restore(self, values: dict[str, object]) -> bool:
        if values["kind"] != CredentialKind.ACCESS_KEY:
            return False
        names = ("username", "account", "kind", "sealed", "name", "user")
        return bool(self._tables.run("restore_credential", {name: values[name] for name in names}))

    def _protected(self, username: str, kind: CredentialKind, account: str, secret: str) -> bytes:
        if kind is CredentialKind.SMTP_USER:
            return verifier(secrets.derive(self._tables.master_key, VERIFIER_PURPOSE), username, secret)
        return self._tables.sealer.seal(secret.encode(), owner_of(account, username))


def credential_of(row: Row) -> Credential:
    """Return the credential of a row; a sealed secret at its end is left out."""
    username, kind, account, name, created_ms, revoked_ms, user = row[:7]
    return Credential(username, CredentialKind(kind), account, name, created_ms, revoked_ms, user)


def owner_of(account: str, username: str) -> str:
    """Return what an access key's sealed secret belongs to."""
    return f"credential {account} {username}"


def verifier(key: bytes, username: str, password: str) -> bytes:
    """Return the keyed hash a password is checked by; the user name is part of it."""
    message = f"{username}\0{password}".encode(errors="surrogatepass")
    return hmac.digest(key, message, "sha256")
