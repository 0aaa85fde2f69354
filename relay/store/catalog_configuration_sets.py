"""Configuration sets of the catalog, and which one is an identity's default (CFG-001 to 010, CFG-014)."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from relay.errors import AlreadyExistsError, LimitExceededError, NotFoundError, UsageError
from relay.mail.address import BadAddress, normal_domain
from relay.model.configuration_set import MAX_DELIVERY_SECONDS, ConfigurationSet, HttpsPolicy, Priority, TlsPolicy
from relay.model.finding import Enforcement
from relay.policy.suppression import checked_reasons
from relay.store.catalog_accounts import checked_weight
from relay.store.catalog_pools import require_pool
from relay.store.catalog_tables import Row, Tables

SETS_MAX = 10_000  # of one account (QUOTA-009)
TAGS_MAX = 50  # of one set (CFG-004)
PAGE_SIZE_MAX = 1000
NAMED_MAX = 5  # identities that a sentence names
POOL_MAX_CHARACTERS = 64

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")  # CFG-003
_TAG_KEY = re.compile(r"[\w .:/=+@-]{1,128}\Z")
_TAG_VALUE = re.compile(r"[\w .:/=+@-]{0,256}\Z")
_NO_TAGS: Mapping[str, str] = {}


class ConfigurationSets:
    """Makes, changes, lists and deletes configuration sets. Unknown names raise NotFoundError."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def create(self, wanted: ConfigurationSet, tags: Mapping[str, str] = _NO_TAGS) -> ConfigurationSet:
        """Add a configuration set and its tags, both or nothing (CFG-001)."""
        _check_tags(tags)
        if not _NAME.match(wanted.name):
            raise UsageError(
                "A configuration set has a name of 1 to 64 letters, digits, - and _; "
                f"{wanted.name[:80]!r} does not fit."
            )
        values = _values(_checked(replace(wanted, created_ms=self._tables.now_ms())))
        with self._tables.writing(wanted.account):
            self._tables.require_account(wanted.account)
            require_pool(self._tables, wanted.account, wanted.sending_pool)
            self._require_verified(wanted.account, str(values["redirect_domain"]))
            row = self._tables.row("count_configuration_sets", {"account": wanted.account})
            if row is not None and row[0] >= SETS_MAX:
                raise LimitExceededError(
                    f"Account {wanted.account} has {SETS_MAX} configuration sets already; delete one first."
                )
            if not self._tables.run("create_configuration_set", values):
                raise AlreadyExistsError(f"Configuration set {wanted.name} exists already.")
            self._put_tags({"account": wanted.account, "name": wanted.name}, tags)
        return self.require(wanted.account, wanted.name)

    def get(self, account: str, name: str) -> ConfigurationSet | None:
        """Return a configuration set, None when there is none of this name."""
        row = self._tables.row("get_configuration_set", {"account": account, "name": name})
        return configuration_set_of(row) if row else None

    def require(self, account: str, name: str) -> ConfigurationSet:
        """Return a configuration set that must exist."""
        found = self.get(account, name)
        if found is None:
            raise NotFoundError(f"Account {account} has no configuration set {name}.")
        return found

    def list(self, account: str, *, after: str = "", limit: int = PAGE_SIZE_MAX) -> list[ConfigurationSet]:
        """Return up to `limit` sets (at most 1,000) that follow `after`, by name (CFG-010)."""
        self._tables.require_account(account)
        size = max(1, min(limit, PAGE_SIZE_MAX))
        rows = self._tables.rows("list_configuration_sets", {"account": account, "after": after, "limit": size})
        return [configuration_set_of(row) for row in rows]

    def update(self, changed: ConfigurationSet) -> ConfigurationSet:
        """Replace everything about a set but its name; it holds from the next request on."""
        with self._tables.writing(changed.account):
            before, values = self.get(changed.account, changed.name), _values(_checked(changed))
            if before is not None and before.sending_pool != changed.sending_pool:
                require_pool(self._tables, changed.account, changed.sending_pool)
            if before is not None and before.redirect_domain != values["redirect_domain"]:
                self._require_verified(changed.account, str(values["redirect_domain"]))
            if not self._tables.run("update_configuration_set", values):
                raise NotFoundError(f"Account {changed.account} has no configuration set {changed.name}.")
        return self.require(changed.account, changed.name)

    def delete(self, account: str, name: str) -> None:
        """Remove a set. Mail from identities whose default it was is refused until they have another (CFG-017)."""
        with self._tables.writing(account):
            if not self._tables.run("delete_configuration_set", {"account": account, "name": name}):
                raise NotFoundError(f"Account {account} has no configuration set {name}.")

    def tags(self, account: str, name: str) -> dict[str, str]:
        """Return the tags of a set."""
        self.require(account, name)
        rows = self._tables.rows("list_configuration_set_tags", {"account": account, "name": name})
        return {str(key): str(value) for key, value in rows}

    def change_tags(
        self, account: str, name: str, add: Mapping[str, str], remove: Sequence[str] = ()
    ) -> dict[str, str]:
        """Add or replace tags and remove others, all or none (CFG-004); return those there are then."""
        _check_tags(add)
        of = {"account": account, "name": name}
        with self._tables.writing(account):
            self.require(account, name)
            for key in remove:
                if not self._tables.run("delete_configuration_set_tag", {**of, "key": key}):
                    raise NotFoundError(f"Configuration set {name} has no tag {key}.")
            self._put_tags(of, add)
        return self.tags(account, name)

    def _put_tags(self, of: Mapping[str, str], tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._tables.run("put_configuration_set_tag", {**of, "key": key, "value": value})
        if len(self.tags(**of)) > TAGS_MAX:
            raise LimitExceededError(f"A configuration set has at most {TAGS_MAX} tags.")

    def _require_verified(self, account: str, domain: str) -> None:
        """Raise UsageError unless a domain of links, or a parent of it, is verified in the account (CFG-007)."""
        if not domain:
            return
        labels = domain.split(".")
        for count in range(len(labels)):
            values = {"account": account, "name": ".".join(labels[count:])}
            row = self._tables.row("get_identity", values)
            if row is not None and row[3]:
                return
        raise UsageError(
            f"Neither {domain} nor a parent of it is a verified identity of account {account}; links can lead only "
            "to domains that are."
        )

    def set_default(self, account: str, identity: str, name: str) -> None:
        """Make a set the default of an identity in its stored form, "" for none (CFG-014, CFG-018)."""
        values = {"account": account, "name": identity, "configuration_set": name}
        with self._tables.writing(account):
            if name:
                self.require(account, name)
            if not self._tables.run("set_default_configuration_set", values):
                raise NotFoundError(f"Account {account} has no identity {identity}.")

    def default_of(self, account: str, name: str, *, limit: int = PAGE_SIZE_MAX) -> tuple[str, ...]:
        """Return the identities whose default a set is, which need not exist any more."""
        values = {"account": account, "configuration_set": name, "limit": limit}
        return tuple(row[0] for row in self._tables.rows("identities_of_configuration_set", values))


def configuration_set_of(row: Row) -> ConfigurationSet:
    """Return the set of a row of `get_configuration_set`."""
    (account, name, sending, metrics, tls, pool, seconds, reasons, redirect, https, created_ms, priority, weight,
     engaged, enforcement, fresh_start_ms, metrics_of_engagement, optimized) = row  # fmt: skip
    return ConfigurationSet(
        account=account,
        name=name,
        sending_enabled=bool(sending),
        reputation_metrics=bool(metrics),
        tls_policy=TlsPolicy(tls),
        sending_pool=pool,
        max_delivery_seconds=seconds,
        suppressed_reasons=None if reasons is None else tuple(json.loads(reasons)),
        redirect_domain=redirect,
        https_policy=HttpsPolicy(https),
        created_ms=created_ms,
        priority=Priority(priority),
        weight=weight,
        engaged=bool(engaged),
        enforcement=Enforcement(enforcement),
        fresh_start_ms=fresh_start_ms,
        engagement_metrics=None if metrics_of_engagement is None else bool(metrics_of_engagement),
        optimized_delivery=None if optimized is None else bool(optimized),
    )


def _values(one: ConfigurationSet) -> dict[str, object]:
    reasons = one.suppressed_reasons
    return {
        "account": one.account,
        "name": one.name,
        "sending_enabled": int(one.sending_enabled),
        "reputation_metrics": int(one.reputation_metrics),
        "tls_policy": str(one.tls_policy),
        "sending_pool": one.sending_pool,
        "max_delivery_seconds": one.max_delivery_seconds,
        "suppressed_reasons": None if reasons is None else json.dumps(reasons),
        "redirect_domain": one.redirect_domain,
        "https_policy": str(one.https_policy),
        "created_ms": one.created_ms,
        "priority": str(one.priority),
        "weight": one.weight,
        "engaged": int(one.engaged),
        "engagement_metrics": one.engagement_metrics,
        "optimized_delivery": one.optimized_delivery,
    }


def _check_tags(tags: Mapping[str, str]) -> None:
    """Raise UsageError for tags that cannot be (CFG-004)."""
    for key, value in tags.items():
        if not _TAG_KEY.match(key) or not _TAG_VALUE.match(value):
            raise UsageError(
                "A tag has a key of 1 to 128 and a value of 0 to 256 letters, digits, spaces and .:/=+@_-; "
                f"{key[:80]!r} = {value[:80]!r} does not fit."
            )


def _checked(one: ConfigurationSet) -> ConfigurationSet:
    """Return a set in the form it is kept in. Raise UsageError for what cannot be."""
    checked_weight(one.weight)
    low, high = MAX_DELIVERY_SECONDS
    if one.max_delivery_seconds and not low <= one.max_delivery_seconds <= high:
        raise UsageError(
            f"The longest delivery time is {low} to {high} seconds, or 0 for the relay's own lifetime; "
            f"{one.max_delivery_seconds} does not fit."
        )
    if one.sending_pool and (len(one.sending_pool) > POOL_MAX_CHARACTERS or not _NAME.match(one.sending_pool)):
        raise UsageError(f"A pool has a name of 1 to 64 letters, digits, - and _, not {one.sending_pool[:80]!r}.")
    if one.suppressed_reasons is not None:
        one = replace(one, suppressed_reasons=checked_reasons(one.suppressed_reasons))
    if not one.redirect_domain:
        return one
    domain = normal_domain(one.redirect_domain)
    if isinstance(domain, BadAddress):
        raise UsageError(f"{one.redirect_domain[:80]!r} is not a domain name.")
    return replace(one, redirect_domain=domain)
