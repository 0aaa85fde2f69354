"""Users of the catalog: whom credentials belong to, and the policies that say what they may do (AUTHZ-013).

What a policy means is decided elsewhere; here its text is kept whole, when it can be read. A user without any
policy may do nothing.
"""

import json
import re
from dataclasses import dataclass

from relay.errors import InvalidPolicyError, UsageError
from relay.policy.document import Faults, parse_user_policy
from relay.store.catalog_tables import Tables

USERS_MAX = 5000  # of one account
POLICIES_MAX = 20  # of one user
DOCUMENTS_MAX_BYTES = 10_240  # of one user, together
PAGE_SIZE_MAX = 1000
SENDING_POLICY_NAME = "AmazonSesSendingAccess"
SENDING_POLICY = json.dumps(  # smtp-credentials.md
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "ses:SendRawEmail", "Resource": "*"}],
    }
)

_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}\Z")
_ANY_NAME = "policy"  # names of policies of identities are narrower
_POLICY_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class User:
    """A user as lists show it, with how many policies and active credentials it has."""

    account: str
    name: str
    created_ms: int
    policies: int = 0
    credentials: int = 0


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy: its name and its text as it was given."""

    name: str
    document: str
    updated_ms: int


class Users:
    """Makes, lists and deletes users and their policies. Unknown names raise UsageError."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def create(self, account: str, name: str) -> User:
        """Add a user that may do nothing yet."""
        with self._tables.writing(account):
            self._tables.require_account(account)
            add_user(self._tables, account, name)
        return self.require(account, name)

    def require(self, account: str, name: str) -> User:
        """Return a user that must exist."""
        row = self._tables.row("get_user", {"account": account, "name": name})
        if row is None:
            raise UsageError(f"Account {account} has no user {name}.")
        return User(*row)

    def list(self, account: str, *, after: str = "", limit: int = PAGE_SIZE_MAX) -> list[User]:
        """Return up to `limit` users (at most 1,000) that follow `after`, by name."""
        self._tables.require_account(account)
        size = max(1, min(limit, PAGE_SIZE_MAX))
        rows = self._tables.rows("list_users", {"account": account, "after": after, "limit": size})
        return [User(*row) for row in rows]

    def delete(self, account: str, name: str) -> int:
        """Remove a user with its policies and end its credentials (CRED-011); return how many those were."""
        with self._tables.writing(account):
            if not self._tables.run("delete_user", {"account": account, "name": name}):
                raise UsageError(f"Account {account} has no user {name}.")
            values = {"account": account, "user": name, "now_ms": self._tables.now_ms()}
            return self._tables.run("revoke_credentials_of", values)

    def put_policy(self, account: str, user: str, name: str, document: str) -> None:
        """Add a policy, or replace the one of this name; it holds from the next request on.

        Raise InvalidPolicyError, with every fault, for a text that is no policy of a user.
        """
        if not _POLICY_NAME.match(name):
            raise UsageError(f"A policy name has 1 to 128 letters, digits and +=,.@_-; {name[:80]!r} does not fit.")
        read = parse_user_policy(_ANY_NAME, document)
        if isinstance(read, Faults):
            raise InvalidPolicyError(read)
        values = {"account": account, "user": user, "name": name, "document": document}
        with self._tables.writing(account):
            self.require(account, user)
            self._tables.run("put_user_policy", {**values, "updated_ms": self._tables.now_ms()})
            kept = self.policies(account, user)
            if len(kept) > POLICIES_MAX:
                raise UsageError(f"A user has at most {POLICIES_MAX} policies; delete one first.")
            if sum(len(policy.document.encode()) for policy in kept) > DOCUMENTS_MAX_BYTES:
                raise UsageError(f"The policies of a user have at most {DOCUMENTS_MAX_BYTES} bytes together.")

    def policies(self, account: str, user: str) -> tuple[StoredPolicy, ...]:
        """Return the policies of a user, by name."""
        self.require(account, user)
        rows = self._tables.rows("list_user_policies", {"account": account, "user": user})
        return tuple(StoredPolicy(*row) for row in rows)

    def delete_policy(self, account: str, user: str, name: str) -> None:
        """Remove a policy; what it allowed is refused from the next request on."""
        with self._tables.writing(account):
            self.require(account, user)
            if not self._tables.run("delete_user_policy", {"account": account, "user": user, "name": name}):
                raise UsageError(f"User {user} has no policy {name}.")


def add_user(tables: Tables, account: str, name: str) -> None:
    """Add a user, inside a transaction. Raise UsageError for names that cannot be, second ones, and too many."""
    if not _NAME.match(name):
        raise UsageError(f"A user has a name of 1 to 64 letters, digits and +=,.@_-; {name[:80]!r} does not fit.")
    row = tables.row("count_users", {"account": account})
    if row is not None and row[0] >= USERS_MAX:
        raise UsageError(f"Account {account} has {USERS_MAX} users already; delete one first.")
    values = {"account": account, "name": name, "created_ms": tables.now_ms()}
    if not tables.run("create_user", values):
        raise UsageError(f"User {name} of account {account} exists already.")
