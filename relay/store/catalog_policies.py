"""Policies of identities in the catalog: who else may send for them (AUTHZ-001, AUTHZ-022).

Only a text that can be read whole is kept, word for word. A change holds from the next request on. Policies go with
their identity; they can be read and taken away also while it is not verified, so that a permission never sticks.
"""

from collections.abc import Collection

from relay.errors import InvalidPolicyError, UsageError
from relay.policy.arn import IdentityArn
from relay.policy.document import Faults, check_room, parse_identity_policy
from relay.store.catalog_identities import canonical_name
from relay.store.catalog_tables import Tables
from relay.store.catalog_users import StoredPolicy


class IdentityPolicies:
    """Keeps, lists and removes policies of identities. Unknown names raise UsageError."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def put(  # noqa: PLR0917 - the key of a policy, and what it is read with
        self, account: str, identity: str, name: str, document: str, region: str, services: Collection[str] = ()
    ) -> None:
        """Add a policy to a verified identity, or replace the one of this name.

        Raise InvalidPolicyError, with every fault, for a text that is none, or one too many.
        """
        kept, _ = canonical_name(identity)
        with self._tables.writing(account):
            row = self._tables.row("get_identity", {"account": account, "name": kept})
            if row is None:
                raise UsageError(f"Account {account} has no identity {identity}.")
            if not row[3]:
                raise UsageError(f"{kept} is not verified; verify it before you let others send for it.")
            read = parse_identity_policy(name, document, IdentityArn(region, account, kept), services)
            if isinstance(read, Faults):
                raise InvalidPolicyError(read)
            full = check_room([one.name for one in self._of(account, kept)], name)
            if full is not None:
                raise InvalidPolicyError(Faults((full,)))
            values = {"account": account, "identity": kept, "name": name, "document": document}
            self._tables.run("put_identity_policy", {**values, "updated_ms": self._tables.now_ms()})

    def list(self, account: str, identity: str) -> tuple[StoredPolicy, ...]:
        """Return the policies of an identity, by name."""
        return self._of(account, self._require(account, identity))

    def require(self, account: str, identity: str, name: str) -> StoredPolicy:
        """Return a policy that must exist."""
        kept = self._require(account, identity)
        row = self._tables.row("get_identity_policy", {"account": account, "identity": kept, "name": name})
        if row is None:
            raise UsageError(f"{kept} has no policy {name[:80]}.")
        return StoredPolicy(*row)

    def delete(self, account: str, identity: str, name: str) -> None:
        """Remove a policy; what it allowed is refused from the next request on."""
        kept = self._require(account, identity)
        with self._tables.writing(account):
            values = {"account": account, "identity": kept, "name": name}
            if not self._tables.run("delete_identity_policy", values):
                raise UsageError(f"{kept} has no policy {name[:80]}.")

    def _of(self, account: str, kept: str) -> tuple[StoredPolicy, ...]:
        rows = self._tables.rows("list_identity_policies", {"account": account, "identity": kept})
        return tuple(StoredPolicy(*row) for row in rows)

    def _require(self, account: str, identity: str) -> str:
        kept, _ = canonical_name(identity)
        if self._tables.row("get_identity", {"account": account, "name": kept}) is None:
            raise UsageError(f"Account {account} has no identity {identity}.")
        return kept
