"""A directory and an authenticator in memory, by the same rules as the ones on disk."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from relay.model.account import (
    UNLIMITED,
    Account,
    AccountState,
    CoveringIdentity,
    Identity,
    IdentityKind,
    PolicyTexts,
    Principal,
    SuppressionEntry,
)
from relay.model.configuration_set import ConfigurationSet
from relay.model.feedback import DEFAULT_FEEDBACK, FeedbackSettings
from relay.model.pool import NO_POOLS, PoolSnapshot
from relay.model.refusal import Reason, Refusal
from relay.policy.identity import covering_addresses, covering_domains, covering_names, split_address
from relay.policy.suppression import SuppressionReason, fold
from relay.ports import SigningKey


@dataclass(slots=True)
class MemoryDirectory:
    """Directory for tests: fill the mappings, or use the `add_*` functions. Keys are the port's arguments.

    `principals` maps user names to accounts, `users` to the users they belong to; set `changed` after filling them.
    """

    accounts: dict[str, Account] = field(default_factory=dict)
    principals: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    policies_of_users: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    policies_of_identities: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    configuration_sets: dict[tuple[str, str], ConfigurationSet] = field(default_factory=dict)
    identities: dict[tuple[str, str], Identity] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[SigningKey, ...]] = field(default_factory=dict)
    signing: dict[tuple[str, str], bool] = field(default_factory=dict)
    suppression: dict[tuple[str, str], SuppressionEntry] = field(default_factory=dict)
    feedback_settings: dict[tuple[str, str], FeedbackSettings] = field(default_factory=dict)
    published: set[tuple[str, str, str]] = field(default_factory=set)
    mail_from_domains: set[str] = field(default_factory=set)
    snapshot: PoolSnapshot = NO_POOLS
    changed: bool = False

    def add_account(
        self,
        account_id: str = "000000000001",
        *,
        state: AccountState = AccountState.ENABLED,
        daily_quota: int = UNLIMITED,
        send_rate: float = UNLIMITED,
    ) -> Account:
        """Add an account, or replace it."""
        account = Account(account_id, state, sandbox=False, daily_quota=daily_quota, send_rate=send_rate)
        self.accounts[account_id] = account
        self.changed = True
        return account

    def add_identity(
        self, account: str, name: str, *keys: SigningKey, verified: bool = True, configuration_set: str = ""
    ) -> Identity:
        """Add a domain, or an address when the name has an `@`; keys belong to domains."""
        kind = IdentityKind.ADDRESS if "@" in name else IdentityKind.DOMAIN
        identity = Identity(account, name, kind, verified, created_ms=0, configuration_set=configuration_set)
        self.identities[account, name] = identity
        if keys:
            self.keys[account, name] = keys
        self.changed = True
        return identity

    def add_suppressed(self, account: str, address: str, reason: str = SuppressionReason.BOUNCE) -> None:
        """Put an address on a list."""
        self.suppression[account, fold(address)] = SuppressionEntry(account, address, str(reason), updated_ms=0)
        self.changed = True

    def refresh(self) -> bool:
        """Say whether something was added since the last call."""
        changed, self.changed = self.changed, False
        return changed

    def account(self, account_id: str) -> Account | None:
        """Return the account, None when there is none."""
        return self.accounts.get(account_id)

    def principal(self, username: str) -> Principal | None:
        """Return who a user name belongs to, None when nobody or the account is closed."""
        account = self.accounts.get(self.principals.get(username, ""))
        if account is None or account.state is AccountState.CLOSED:
            return None
        return Principal(username, account.account_id, self.users.get(username, ""))

    def configuration_set(self, account_id: str, name: str) -> ConfigurationSet | None:
        """Return a configuration set, None when there is none."""
        return self.configuration_sets.get((account_id, name))

    def feedback(self, account_id: str, key: str) -> FeedbackSettings:
        """Return the settings there are, else the defaults."""
        return self.feedback_settings.get((account_id, key), DEFAULT_FEEDBACK)

    def publishes(self, account_id: str, configuration_set: str, kind: str) -> bool:
        """Return whether a set was said to publish a kind."""
        return (account_id, configuration_set, kind) in self.published

    def pools(self) -> PoolSnapshot:
        """Return the snapshot there is."""
        return self.snapshot

    def user_policies(self, account_id: str, user: str) -> PolicyTexts:
        """Return the policies of a user."""
        return tuple(sorted(self.policies_of_users.get((account_id, user), {}).items()))

    def covering(self, account_id: str, address: str) -> Sequence[CoveringIdentity]:
        """Return all identities that cover an address, with their policies; none when the account is closed."""
        account = self.accounts.get(account_id)
        if account is None or account.state is AccountState.CLOSED:
            return ()
        keys = [(account_id, name) for name in covering_names(address) if (account_id, name) in self.identities]
        governing = next((key for key in keys if self.policies_of_identities.get(key)), None)
        texts = tuple(sorted(self.policies_of_identities[governing].items())) if governing is not None else ()
        return [CoveringIdentity(self.identities[key], texts if key == governing else ()) for key in keys]

    def sending_identity(self, account_id: str, address: str) -> Identity | None:
        """Return the most specific verified identity that covers an address."""
        parts = split_address(address)
        if parts is None:
            return None
        domains = self._verified(account_id, covering_domains(parts[1]))
        found = [*self._verified(account_id, covering_addresses(address)), *domains]
        if not found:
            return None
        signs = next((identity.name for identity in domains if (account_id, identity.name) in self.keys), "")
        settings = (self.signing.get((account_id, identity.name)) for identity in found)
        if not next((setting for setting in settings if setting is not None), True):
            signs = ""
        has_policies = any(one.policies for one in self.covering(account_id, address))
        return replace(found[0], dkim_domain=signs, has_policies=has_policies)

    def is_mail_from_domain(self, domain: str) -> bool:
        """Return whether a domain is somebody's MAIL FROM domain."""
        return domain in self.mail_from_domains

    def signing_keys(self, account_id: str, domain: str) -> Sequence[SigningKey]:
        """Return the keys of a domain identity."""
        return self.keys.get((account_id, domain), ())

    def suppressed(self, account_id: str, address: str) -> SuppressionEntry | None:
        """Return the entry of an address, compared without case."""
        return self.suppression.get((account_id, fold(address)))

    def _verified(self, account_id: str, names: Sequence[str]) -> list[Identity]:
        found = (self.identities.get((account_id, name)) for name in names)
        return [identity for identity in found if identity is not None and identity.verified]


@dataclass(slots=True)
class MemoryAuthenticator:
    """Authenticator for tests: `passwords` maps names to (password, account); `unavailable` fails every check."""

    passwords: dict[str, tuple[str, str]] = field(default_factory=dict)
    unavailable: bool = False

    def check(self, username: str, password: str) -> str | Refusal:
        """Return the account id, or the refusal."""
        if self.unavailable:
            return Refusal(Reason.AUTH_TEMPORARY)
        known = self.passwords.get(username)
        if known is None or known[0] != password:
            return Refusal(Reason.CREDENTIALS_INVALID)
        return known[1]
